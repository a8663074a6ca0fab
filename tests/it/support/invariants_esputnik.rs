//! What must hold of an emulated eSputnik that a world feeds.

use super::invariants::{Found, Invariant};
use super::naive::{Contact, Expected};
use super::world::World;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wharf::sandbox::Platform as _;
use wharf::sandbox::esputnik::account::{Account, By, MadeBy};
use wharf::sandbox::esputnik::card::Text;
use wharf::sandbox::esputnik::events::status_name;
use wharf::sandbox::esputnik::{inspect, rules};

/// What may never be, the program dead or at work.
pub fn at_any_time(world: &World, found: &mut Found) {
    let platform = world.sandbox.esputnik().unwrap();
    let state = platform.state();
    if state["violations"] != json!({}) {
        let first = platform.account().violations.first().cloned();
        found.note(Invariant::InOrder, format!("the account complains: {} {first:?}", state["violations"]));
    }
    let account = platform.account();
    let ignored = inspect::ignored(&account);
    if ignored["counts"] != json!({}) {
        let first = &ignored["events"][0];
        found.note(Invariant::InOrder, format!("events were ignored: {} {first}", ignored["counts"]));
    }
    for ((order, kind, status), starts) in inspect::starts(&account) {
        if starts.unchanged > 0 {
            let order = account.orders.get(order).map(|order| order.id.to_string());
            let kind = account.events.kind_name(kind);
            let status = status_name(status);
            found.note(Invariant::NoEventTwice, format!("order {order:?}, {kind} {status:?}: {starts:?}"));
        }
    }
    for lifted in account.lifted.iter().filter(|lifted| lifted.by_person) {
        if world.opted_out.contains(&lifted.email) && !account.unsubscribed.contains_key(&*lifted.email) {
            found.note(Invariant::OptOutKept, format!("{} opted out there and is opted in again", lifted.email));
        }
    }
    for card in account.cards.iter().filter(|card| card.made_by == MadeBy::Order) {
        let id = card.details().text(Text::ExternalId).map(str::to_owned);
        found.note(Invariant::InOrder, format!("an order came before its contact {id:?}"));
    }
    if world.expects_oldest_first {
        oldest_first(&account, found);
    }
}

/// Each contact's orders must have come in the order in which they were placed, when they came for the first time.
fn oldest_first(account: &Account, found: &mut Found) {
    let (mut newest, mut met) = (BTreeMap::new(), BTreeSet::new());
    for number in 0..u32::try_from(account.events.list.len()).unwrap() {
        let event = account.shown_event(number);
        let order = event["order"].as_str().unwrap_or_default().to_owned();
        let placed = event.get("body").and_then(|body| body["date"].as_str()?.parse::<Timestamp>().ok());
        let Some(placed) = placed.filter(|_| met.insert(order.clone())) else { continue };
        let last = newest.entry(event["contact"].to_string()).or_insert(placed);
        if *last > placed {
            found.note(Invariant::InOrder, format!("order {order} came after a younger one of its contact"));
        }
        *last = placed.max(*last);
    }
}

/// What holds when the program has come to rest. `rejected`: what waits for a person.
pub fn at_rest(world: &World, wanted: &Expected, rejected: &BTreeSet<String>, found: &mut Found) {
    let account = world.sandbox.esputnik().unwrap().account();
    for (email, contact) in &wanted.contacts {
        if !rejected.contains(email) {
            contact_holds(world, &account, email, contact, found);
        }
    }
    let mut seen = 0;
    for (key, order) in &wanted.orders {
        let Some(email) = &order.email else { continue };
        let consent = wanted.contacts.get(email).map(|contact| contact.consent);
        let is_wanted = consent == Some("opt_in")
            && order.status.is_some_and(|status| status != "ABANDONED_SHOPPING_CART")
            && order.lines > 0
            && !rejected.contains(key)
            && !rejected.contains(email)
            && !world.former.contains(email);
        if !is_wanted {
            continue;
        }
        let there = account.orders.find(&order.number).and_then(|number| account.orders.get(number));
        let status = there.and_then(|there| status_name(there.status));
        if status != order.status {
            let words = format!("order {key} of {email} should be {:?}, is {status:?}", order.status);
            found.note(Invariant::TargetHolds, words);
        }
        seen += 1;
    }
    if seen == 0 {
        found.note(Invariant::TargetHolds, "no order could be expected there, which proves nothing");
    }
}

fn contact_holds(world: &World, account: &Account, email: &str, wanted: &Contact, found: &mut Found) {
    if world.former.contains(email) || world.undecided.contains(email) {
        return;
    }
    let is_out = world.opted_out.contains(email);
    let is_listed = account.unsubscribed.contains_key(email);
    if is_out && !is_listed {
        found.note(Invariant::OptOutKept, format!("{email} opted out there and is not on the list"));
    }
    let number = account.find_present(By::Email, email);
    match (wanted.consent, number) {
        ("opt_in", None) => found.note(Invariant::TargetHolds, format!("contact {email} is missing")),
        ("opt_in", Some(number)) => {
            if !is_out && !account.is_mailable(number) {
                found.note(Invariant::TargetHolds, format!("{email} agreed and cannot be mailed"));
            }
            card_holds(account, number, email, wanted, found);
        }
        ("opt_out", Some(number)) if account.is_mailable(number) => {
            found.note(Invariant::OptOutKept, format!("{email} opted out at the shop and can be mailed"));
        }
        ("unknown", Some(number)) if account.is_mailable(number) => {
            found.note(Invariant::OptOutKept, format!("{email} never agreed and can be mailed"));
        }
        _ => {}
    }
}

fn card_holds(account: &Account, number: u32, email: &str, wanted: &Contact, found: &mut Found) {
    let details = account.card(number).details();
    for (text, name, limited) in
        [(Text::FirstName, &wanted.first_name, true), (Text::LastName, &wanted.last_name, false)]
    {
        let name = name.as_deref().map(str::trim).filter(|name| rules::is_name(name, limited)).unwrap_or_default();
        if !name.is_empty() && details.text(text) != Some(name) {
            let words = format!("{email}: {text:?} should be {name}, is {:?}", details.text(text));
            found.note(Invariant::TargetHolds, words);
        }
    }
    if let Some(key) = &wanted.account
        && details.text(Text::ExternalId) != Some(key)
    {
        let words = format!("{email} should be {key}, is {:?}", details.text(Text::ExternalId));
        found.note(Invariant::TargetHolds, words);
    }
}

/// Calls that may change something, so far.
pub fn writes(world: &World) -> usize {
    let calls = world.sandbox.requests().calls("esputnik", "");
    calls.iter().filter(|call| call.method != "GET").count()
}

/// Every event that arrived: order, type, status, way.
pub fn arrived(world: &World) -> Vec<(String, String, Value, Value)> {
    let account = world.sandbox.esputnik().unwrap().account();
    let count = u32::try_from(account.events.list.len()).unwrap();
    (0..count)
        .map(|number| {
            let mut event = account.shown_event(number);
            let mut take = |name: &str| event.remove(name).unwrap_or_default();
            let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
            (text(take("order")), text(take("type")), take("status"), take("via"))
        })
        .collect()
}
