//! A target in memory that does what a test tells it to: loses answers, refuses, dies in the middle.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use uuid::Uuid;
use wharf::http::Budget;
use wharf::source::Finding;
use wharf::target::{BatchOutcome, ContactState, Found, Item, Operation, Outcome, Target};
use wharf::tenant::{Credential, Tenant};
use wharf::{Error, Kind, Result};

/// What becomes of one call that writes. Without a script every call is done and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Done and answered.
    Do,
    /// The caller dies before anything is done.
    DieBefore,
    /// Done, then the caller dies.
    DieAfter,
    /// Done, but the answer is lost.
    LoseAfter,
    /// Not done, and nobody can tell.
    LoseBefore,
    /// Certainly not done: an error of this kind.
    Fail(Kind),
    /// Not taken now.
    Later,
}

/// One call that wrote, or tried to.
#[derive(Debug, Clone)]
pub struct Call {
    pub operation: &'static str,
    pub requests: Vec<Value>,
    pub first_load: bool,
}

/// One card.
#[derive(Debug, Clone, Default)]
pub struct Card {
    pub email_opted_out: bool,
    pub sms_opted_out: bool,
    pub created_at: Option<Timestamp>,
    pub modified_at: Option<Timestamp>,
    pub is_deleted: bool,
    pub tags: Vec<String>,
}

#[derive(Default)]
pub struct State {
    pub cards: BTreeMap<String, Card>,
    /// Address and request of each event, as often as it arrived.
    pub events: Vec<(String, Value)>,
    pub calls: Vec<Call>,
    pub script: VecDeque<Act>,
    /// A batch that carries one of these is refused as a whole.
    pub spoiled: Vec<String>,
    /// Cards of these never appear.
    pub invisible: Vec<String>,
    /// What a look-up says instead of the truth.
    pub cannot_tell: bool,
    pub looks: u64,
    pub batch: usize,
    pub check_existing: bool,
    /// Calls that wait to be let go; none waits while this is `None`.
    pub held: Option<Vec<Held>>,
}

/// A call that has arrived and is not done yet.
pub struct Held {
    pub contacts: Vec<Uuid>,
    go: oneshot::Sender<()>,
}

impl Held {
    /// Lets it be done and answered.
    pub fn go(self) {
        // A caller that has died meanwhile does not listen.
        let _ = self.go.send(());
    }
}

pub struct FakeTarget {
    state: Mutex<State>,
}

impl FakeTarget {
    pub fn new() -> Self {
        Self { state: Mutex::new(State { batch: 3, check_existing: true, ..State::default() }) }
    }

    /// The state, to be looked at or changed.
    pub fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        // A caller that died in the middle of a call has left a state as good as any.
        with(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub fn script(&self, acts: &[Act]) {
        self.state(|state| state.script.extend(acts));
    }

    /// The calls since the last time this was asked.
    pub fn take_calls(&self) -> Vec<Call> {
        self.state(|state| std::mem::take(&mut state.calls))
    }

    /// The contact requests since the last time calls were asked for, by address.
    pub fn take_contact_requests(&self) -> BTreeMap<String, Value> {
        let calls = self.take_calls();
        let requests =
            calls.into_iter().filter(|call| call.operation.contains("contact")).flat_map(|call| call.requests);
        requests.map(|request| (request["contact"]["email"].as_str().unwrap().to_owned(), request)).collect()
    }

    /// `(externalId, type)` of every event, sorted.
    pub fn events(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut events: Vec<_> = self.state(|state| {
            let named =
                |(_, event): &(String, Value)| (text(&event["externalId"]), text(&event["contactExtEventType"]));
            state.events.iter().map(named).collect()
        });
        events.sort();
        events
    }
}

fn apply(state: &mut State, operation: &Operation, items: &[Item]) {
    for item in items {
        let request = &item.request.value();
        if operation.object != "contact" {
            state.events.push((item.address.clone(), request.clone()));
            // An event changes the card that it hangs on, and nothing of its consent.
            if let Some(card) = state.cards.get_mut(&item.address) {
                card.modified_at = Some(Timestamp::now());
            }
            continue;
        }
        let flag = |name: &str| request[name] == true;
        let address = request["contact"]["email"].as_str().unwrap().to_owned();
        let now = Some(Timestamp::now());
        let new = Card { email_opted_out: true, sms_opted_out: true, created_at: now, ..Card::default() };
        let mut card = state.cards.remove(&address).unwrap_or(new);
        card.email_opted_out = flag("forceOptOut") || (card.email_opted_out && !flag("forceOptIn"));
        card.sms_opted_out = flag("forcePhoneOptOut") || (card.sms_opted_out && !flag("forcePhoneOptIn"));
        card.modified_at = now;
        card.is_deleted = false;
        let list = |name: &str| {
            let texts = request[name].as_array().into_iter().flatten();
            texts.map(|tag| tag.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        card.tags.retain(|tag| !list("removeTags").contains(tag));
        card.tags.extend(list("tags"));
        card.tags.sort();
        card.tags.dedup();
        let name = request["newEmail"].as_str().unwrap_or(&address).to_owned();
        state.cards.insert(name, card);
    }
}

#[async_trait]
impl Target for FakeTarget {
    fn operations(&self) -> Vec<Operation> {
        let batch = self.state(|state| state.batch);
        let event = |name, object| Operation { name, object, batch, needs_contact: true, ..Operation::default() };
        let card = |name, batch| Operation { name, object: "contact", batch, idempotent: true, ..Operation::default() };
        vec![
            Operation { idempotent: false, ..card("rename contact", 1) },
            card("upsert contacts", batch),
            event("add purchases", "purchase"),
            event("add cancellations", "cancellation"),
            event("add returns", "return"),
        ]
    }

    async fn send(&self, operation: &Operation, items: &[Item], first_load: bool) -> Result<BatchOutcome> {
        assert!(!items.is_empty() && items.len() <= operation.batch, "{} items", items.len());
        let waits = self.state(|state| {
            let held = state.held.as_mut()?;
            let (go, gone) = oneshot::channel();
            held.push(Held { contacts: items.iter().map(|item| item.contact_id).collect(), go });
            Some(gone)
        });
        if let Some(gone) = waits {
            // Dropped by a test that holds no more, it goes too.
            let _ = gone.await;
        }
        self.state(|state| {
            state.calls.push(Call {
                operation: operation.name,
                requests: items.iter().map(|item| item.request.value()).collect(),
                first_load,
            });
            if items.iter().any(|item| state.spoiled.contains(&item.address)) {
                return Err(Error::new(Kind::Refused, "one of these is not to my taste"));
            }
            let all = |outcome: Outcome| Ok(BatchOutcome { outcomes: vec![outcome; items.len()], reference: None });
            match state.script.pop_front().unwrap_or(Act::Do) {
                Act::Do => {
                    apply(state, operation, items);
                    all(Outcome::Acknowledged(None))
                }
                Act::DieBefore => panic!("dies before the work is done"),
                Act::DieAfter => {
                    apply(state, operation, items);
                    panic!("dies after the work was done")
                }
                Act::LoseAfter => {
                    apply(state, operation, items);
                    lost(operation, items)
                }
                Act::LoseBefore => lost(operation, items),
                Act::Fail(kind) => Err(Error::new(kind, "told to fail")),
                Act::Later => all(Outcome::Later("not now".into())),
            }
        })
    }

    async fn look_up(&self, operation: &Operation, items: &[Item]) -> Result<Vec<Found>> {
        if operation.object == "contact" {
            return Ok(self.state(|state| {
                let found = items.iter().map(|item| {
                    let request = item.request.value();
                    let new = request["newEmail"].as_str().unwrap_or(&item.address);
                    let old = request["contact"]["email"].as_str().filter(|old| *old != new);
                    match state.cards.contains_key(new) && !old.is_some_and(|old| state.cards.contains_key(old)) {
                        true => Found::Present(None),
                        false => Found::Absent,
                    }
                });
                found.collect()
            }));
        }
        Ok(self.state(|state| {
            let found = items.iter().map(|item| {
                let wanted = item.request.value();
                let is_it = |(address, request): &&(String, Value)| *address == item.address && *request == wanted;
                match state.events.iter().find(is_it) {
                    _ if state.cannot_tell => Found::CannotTell("my memory fails me".into()),
                    Some(_) => Found::Present(Some(format!("found-{}", wanted["externalId"]))),
                    None => Found::Absent,
                }
            });
            found.collect()
        }))
    }

    async fn contacts(&self, addresses: &[String]) -> Result<Vec<Option<ContactState>>> {
        assert!(addresses.len() <= self.contacts_per_call());
        Ok(self.state(|state| {
            state.looks += 1;
            let look = |address: &String| {
                let card = state.cards.get(address).filter(|_| !state.invisible.contains(address))?;
                Some(ContactState {
                    target_id: Some(format!("id-{address}")),
                    email_opted_out: card.email_opted_out,
                    sms_opted_out: card.sms_opted_out,
                    created_at: card.created_at,
                    modified_at: card.modified_at,
                    is_deleted: card.is_deleted,
                })
            };
            addresses.iter().map(look).collect()
        }))
    }

    fn contacts_per_call(&self) -> usize {
        2
    }

    fn keep_to(&self, _: Arc<dyn Budget>) {}

    fn first_load(&self) -> String {
        "automations stay still".to_owned()
    }

    async fn tenant(&self) -> Result<Tenant> {
        Ok(Tenant::known_by(Credential::Public("the fake account".into())))
    }

    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    fn deliver_settings(&self) -> Value {
        json!({ "location": "shop_pl", "shop_domain": "shop.example", "check_existing": self.state(|s| s.check_existing) })
    }
}

fn lost(operation: &Operation, items: &[Item]) -> Result<BatchOutcome> {
    if operation.idempotent {
        return Err(Error::new(Kind::Unreachable, "the answer was lost"));
    }
    Ok(BatchOutcome { outcomes: vec![Outcome::Unknown("the answer was lost".into()); items.len()], reference: None })
}
