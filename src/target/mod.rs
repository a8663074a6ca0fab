//! Platform writes: one file per platform, each declaring its operations and how a batch of them is sent.
//!
//! The model: an **operation** is one kind of call that changes something. SQL in `sql/deliver/<platform>/` renders, for
//! objects that may have changed, the desired state and the request that brings the target there; the load stage cuts
//! requests into batches, writes the intent, calls [`Target::send`], and writes the outcome. A target knows nothing of
//! Postgres: it may touch `http` and nothing else.

mod address;
pub mod esputnik;
pub mod registry;
pub mod salesmanago;

use crate::config::formats::Rate;
use crate::http::Budget;
use crate::json::Json;
use crate::source::Finding;
use crate::tenant::Tenant;
use crate::{Error, Kind, Result};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How the calls of an operation carry its records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manner {
    /// One call carries the whole batch, and its answer is the outcome.
    #[default]
    Whole,
    /// One call starts a **job** at the target, which goes on after the answer and may take minutes. The contacts of a job
    /// are in no other call until it has ended, also after a crash.
    Job,
    /// A call for each record of the batch, side by side, those of one contact one after the other.
    Each,
}

/// One kind of call that changes something at a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operation {
    /// Its name in ledgers, plans and messages: `upsert contacts`.
    pub name: &'static str,
    /// What the ledger calls the objects it writes: `contact`, `purchase`, …
    pub object: &'static str,
    /// The most records one call takes.
    pub batch: usize,
    /// Whether the target deduplicates: a repeated call does no harm. What gives a card another address is never that: after
    /// the next change of address a repeat would look for it in vain. So renames go by an operation that is not, or by jobs.
    pub idempotent: bool,
    /// Whether the target must be seen to hold the contact before this operation (its contact writes are asynchronous).
    pub needs_contact: bool,
    /// How its calls carry their records.
    pub manner: Manner,
    /// Whether nothing of the operations behind it departs while records of it wait or are in flight: an opt-out, which
    /// must have arrived before anything is imported.
    pub goes_first: bool,
}

impl Operation {
    /// How many records one call carries.
    pub fn per_call(&self) -> usize {
        if self.manner == Manner::Each { 1 } else { self.batch.max(1) }
    }
}

/// One record of a batch: what `sql/deliver` rendered.
#[derive(Debug, Clone)]
pub struct Item {
    /// `contact_id` or `order_id`.
    pub key: Uuid,
    /// The contact it hangs on.
    pub contact_id: Uuid,
    /// How the target addresses the contact (an e-mail, mostly).
    pub address: String,
    /// What one call says once for all its records, where the platform has such: equal for all items of a call.
    pub envelope: Json,
    /// The request that brings the target to the desired state.
    pub request: Json,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target has it; its own id of it, where it gave one.
    Acknowledged(Option<String>),
    /// The target has it and was seen to hold it; its own id, where it gave one.
    There(Option<String>),
    /// A job was started for it; [`Target::job`] tells what became of it. Only of [`Manner::Job`].
    Started,
    /// The target will never take it as it is: a stable code and its words.
    Refused {
        /// Stable code of the reason.
        code: &'static str,
        /// The target's words.
        reason: String,
    },
    /// Not taken, nothing done, may be tried again: the contact is not there yet, for example.
    Later(String),
    /// Nobody knows whether it was done. Only for operations that the target does not deduplicate, and for jobs: then
    /// nobody knows whether one was started.
    Unknown(String),
}

/// What the target says of a whole call.
#[derive(Debug, Clone)]
pub struct BatchOutcome {
    /// One outcome per item, in the order of the items.
    pub outcomes: Vec<Outcome>,
    /// The target's id of the call, where it gave one.
    pub reference: Option<String>,
}

impl BatchOutcome {
    /// Of a call with one record.
    pub fn one(outcome: Outcome) -> Self {
        Self { outcomes: vec![outcome], reference: None }
    }
}

/// How patient one is with the jobs of a target.
#[derive(Debug, Clone, Copy)]
pub struct JobPatience {
    /// The first pause before a job is asked for; it doubles.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How long after its call a job that goes on is left alone: its contacts wait, all else goes on, and each load asks for
    /// it once more.
    pub give_up: Duration,
    /// How long after its call a job that has not ended counts as lost, and its contacts go again.
    pub lost: Duration,
    /// How long a job is taken to go on whose id was never learned, because the answer that named it was lost.
    pub grace: Duration,
    /// Most jobs at once.
    pub at_once: usize,
}

impl Default for JobPatience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(60),
            give_up: Duration::from_secs(30 * 60),
            lost: Duration::from_secs(6 * 3600),
            grace: Duration::from_secs(10 * 60),
            at_once: 4,
        }
    }
}

/// A class of calls that has a limit of its own at the platform, beside that of all calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Its name: `events`.
    pub class: &'static str,
    /// Most calls per time.
    pub rate: Rate,
}

/// How far back opt-outs made at the platform are read, and in what parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptOutReading {
    /// The longest time that one question covers.
    pub window: Duration,
    /// How far back the first reading goes.
    pub back: Duration,
}

/// An opt-out made at the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOut {
    /// The e-mail address, or the phone as the platform writes it.
    pub address: String,
    /// `email` or `sms`.
    pub channel: &'static str,
    /// When.
    pub at: Timestamp,
}

/// A part of the opt-outs of a stretch of time.
#[derive(Debug, Clone, Default)]
pub struct OptOutPage {
    /// Those that could be read.
    pub opt_outs: Vec<OptOut>,
    /// Where the next part begins; none at the end.
    pub next: Option<String>,
}

/// What a look-up says of a record whose outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The target holds it; its id, where it gave one.
    Present(Option<String>),
    /// The target would show it, and does not.
    Absent,
    /// The target's answer does not tell.
    CannotTell(String),
}

/// What a target says of a contact address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactState {
    /// The target's own id.
    pub target_id: Option<String>,
    /// Whether the person has withdrawn e-mail consent there.
    pub email_opted_out: bool,
    /// Whether the person has withdrawn consent to text messages there.
    pub sms_opted_out: bool,
    /// When the card was made there.
    pub created_at: Option<Timestamp>,
    /// When the card was last changed there.
    pub modified_at: Option<Timestamp>,
    /// Whether the card is shown and yet deleted: it takes no events, but an opt-out on it counts.
    pub is_deleted: bool,
}

/// What the ledger says the target holds of one object.
#[derive(Debug, Clone)]
pub struct Held {
    /// `contact_id` or `order_id`.
    pub key: Uuid,
    /// `contact`, or the kind of event.
    pub object: String,
    /// How the target addresses the contact.
    pub address: String,
    /// The target's own id of it, where it gave one.
    pub target_id: Option<String>,
    /// The payload that was acknowledged, as `sql/deliver` rendered it.
    pub payload: Value,
    /// When it was acknowledged.
    pub sent_at: Timestamp,
}

/// What a target shows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It is there; the fields that differ, of those that can be seen.
    There(Vec<Difference>),
    /// As [`Shown::There`], of a person who has withdrawn a consent there that was sent: no difference, because the target
    /// says that first.
    Withdrawn(Vec<Difference>),
    /// The target would show it, and does not.
    Missing,
    /// The target's answer does not tell.
    CannotTell(String),
}

/// A field of which the ledger and the target say different things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// As the payload calls it: `address.city`.
    pub field: String,
    /// What was sent.
    pub ledger: Option<String>,
    /// What is there.
    pub target: Option<String>,
}

/// A marketing or CRM platform. One value serves one account of one pipeline.
///
/// The contract:
/// - [`Target::send`] returns an outcome per item. It returns `Err` only when it is certain that nothing was done, or
///   when the operation is idempotent. For an operation that is not, a call whose fate is open (time-out, cut answer,
///   5xx after the request was sent) gives [`Outcome::Unknown`] for every item: never an error, never a silent repeat.
/// - The client below it keeps the account's rate; `send` makes exactly one call that changes something, of
///   [`Manner::Each`] one for each item.
/// - Of [`Manner::Job`], `send` never repeats a call whose fate is open by itself: a second job would meet the first.
#[async_trait]
pub trait Target: Send + Sync {
    /// The operations, in the order in which they are to be done.
    fn operations(&self) -> Vec<Operation>;

    /// Sends one batch of at most [`Operation::batch`] items. `first_load`: this pipeline's first load into the account
    /// lasts; automations must not be fired, as far as the platform allows ([`Target::first_load`]).
    async fn send(&self, operation: &Operation, items: &[Item], first_load: bool) -> Result<BatchOutcome>;

    /// Asks what became of items whose outcome is unknown. One answer per item, in order. Changes nothing. Of contacts:
    /// whether the card stands at the address that the item was to give it, with its id; after a rename nothing may be left at
    /// the address of before. An item without a request is only its address.
    async fn look_up(&self, operation: &Operation, items: &[Item]) -> Result<Vec<Found>>;

    /// What the target holds at these addresses; `None` where it holds nothing. One answer per address, in order.
    async fn contacts(&self, addresses: &[String]) -> Result<Vec<Option<ContactState>>>;

    /// Reads objects back and compares them with what was sent. One answer per object, in order. Changes nothing. Only
    /// fields that the payload names and the platform shows are compared: what others have added is no difference, and a
    /// field that no answer shows is named by [`Target::not_shown`], never guessed. A target that cannot be read back says
    /// so of every object.
    async fn read_back(&self, held: &[Held]) -> Result<Vec<Shown>> {
        Ok(vec![Shown::CannotTell("this target cannot be read back".to_owned()); held.len()])
    }

    /// The fields that [`Target::read_back`] never sees: `contact.lang`.
    fn not_shown(&self) -> &'static [&'static str] {
        &[]
    }

    /// What a first load starts at the target and what not (automations, workflows, letters), as far as that is known and as
    /// the settings have it; for people, before they load.
    fn first_load(&self) -> String;

    /// How many addresses one call of [`Target::contacts`] takes; for plans.
    fn contacts_per_call(&self) -> usize;

    /// How many calls the platform takes at once, as far as that is known; [`crate::config::pipeline::Load::parallel`]
    /// overrides it.
    fn parallel(&self) -> usize {
        4
    }

    /// Whose credentials these are: one cheap call that changes nothing, or none. What the platform does not tell reliably
    /// is left out, and address and credentials stand for it.
    async fn tenant(&self) -> Result<Tenant>;

    /// Tests address, credentials and rights with harmless calls.
    async fn check(&self) -> Vec<Finding>;

    /// What `sql/deliver` needs to know of the pipeline's target settings (never a secret).
    fn deliver_settings(&self) -> Value;

    /// What `sql/deliver` needs to know and only the account can tell, such as the ids of fields. `properties` are the names
    /// of `contacts.fields`. Harmless calls; null where there is nothing to learn.
    async fn learn(&self, properties: &[&str]) -> Result<Value> {
        let _ = properties;
        Ok(Value::Null)
    }

    /// What became of the records of a job; `None` while it goes on. Without items the question is only whether it has
    /// ended.
    async fn job(&self, operation: &Operation, reference: &str, items: &[Item]) -> Result<Option<BatchOutcome>> {
        let _ = (reference, items);
        Err(Error::new(Kind::Internal, format!("{}: this target has no jobs", operation.name)))
    }

    /// How patient one is with its jobs.
    fn job_patience(&self) -> JobPatience {
        JobPatience::default()
    }

    /// How opt-outs made there are read; `None` where they show on the cards.
    fn opt_out_reading(&self) -> Option<OptOutReading> {
        None
    }

    /// The opt-outs made there in a stretch of time, from `offset` on.
    async fn opt_outs(&self, from: Timestamp, until: Timestamp, offset: Option<&str>) -> Result<OptOutPage> {
        let _ = (from, until, offset);
        Ok(OptOutPage::default())
    }

    /// Whether the target scores customers by their DELIVERED orders, so that a plan says how many it will see.
    fn scores_delivered(&self) -> bool {
        false
    }

    /// The limit of all calls where the pipeline file names none.
    fn rate(&self) -> Option<Rate> {
        None
    }

    /// Classes of calls that have limits of their own.
    fn limits(&self) -> Vec<Limit> {
        Vec::new()
    }

    /// From now on every call of a class draws from `budget`.
    fn keep_class_to(&self, class: &'static str, budget: Arc<dyn Budget>) {
        let _ = (class, budget);
    }

    /// How long a contact write that was accepted may take to show in [`Target::contacts`], for operations that need the
    /// contact first. What has not shown by then waits for the next run.
    fn confirm_within(&self) -> Duration {
        Duration::ZERO
    }

    /// From now on every call draws from `budget`. A target that makes calls over [`crate::http::Client`] hands it on.
    fn keep_to(&self, budget: Arc<dyn Budget>);

    /// The work is done: turns reserved and not used are given back.
    async fn rest(&self) {}

    /// How many calls this value has made to the platform so far, tries included; for reports.
    fn calls(&self) -> u64 {
        0
    }
}
