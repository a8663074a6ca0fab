//! Calls in flight: several at a time, in an order that does no harm.
//!
//! ```text
//!   bench ──slice──▶ lanes (one per operation) ──full batches──▶ aloft ──▶ landed ──┐
//!                      ▲   halves of refused batches come first                     │
//!                      └───────────────────────── turn ◀────────────────────────────┘
//! ```
//!
//! A **turn** is one transaction: the outcomes of all calls that have landed and the intents of all that depart next. So
//! an intent is always committed before its call, and the book-keeping costs one commit however many calls land at once.
//! The next slice is rendered meanwhile, one ahead and no more.
//!
//! No two calls in flight carry the same contact, and what a contact has in a lane goes in the order in which it was put
//! there: a record whose contact is aloft, or was passed over, is passed over too. Records fly together where the call says
//! the same for all of them (their envelope). A rename flies alone, because what is right for other cards depends on it.
//! Where an operation goes first, nothing of those behind it departs before all of it has landed. Where anything is in
//! doubt (an answer was lost, the target could not take a record yet), everything lands first, then that is settled, then
//! it goes on.
//!
//! Calls are tasks of their own: a call that waits for its turn in the account's budget must be woken in time, whatever
//! the book-keeping does. When the load is asked to stop, or a call fails, nothing departs any more, what is aloft lands,
//! and its outcomes are written.
//!
//! A call that starts a **job** stays aloft until the job has ended ([`super::jobs`]), its contacts with it, but takes no
//! place among the calls. Jobs that an earlier load has left open are aloft from the start. A job that goes on for too long
//! is left alone: its contacts stay behind, all else goes on.

use super::bench::{Object, Rendered};
use super::jobs::{JobEnd, OpenJob, Waiting};
use super::ledger::{BatchEnd, BegunJob, Departure, Ended, Refusal};
use super::send::{item, sort_out, stopped};
use super::tally::Tally;
use super::{Load, Share};
use crate::failpoint::{self, Point};
use crate::target::{BatchOutcome, Item, Manner, Operation, Outcome};
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Code of a record that the target refused as a call of its own.
pub const REFUSED: &str = "refused";

/// With so many records in lanes of which none fills a call, the fullest departs: memory is bounded.
const CROWDED: usize = 6000;
/// Answers of jobs lost in a row beyond which a load stops: the platform does not keep up.
const LOST_IN_A_ROW: u32 = 3;

/// The operation's place in the order of the target's operations, and what the call says for all its records.
type LaneKey = (usize, String);

/// The calls of one pass through a queue.
pub(super) struct Flight<'l, 'a> {
    load: &'l Load<'a>,
    object: Object,
    share: Share,
    lanes: BTreeMap<LaneKey, Lane>,
    aloft: JoinSet<Landing>,
    /// How many of these are jobs that are waited for.
    waiting: usize,
    /// How many are jobs, those included whose call has not been answered yet.
    jobs: usize,
    /// By operation, how many calls are aloft.
    by_operation: BTreeMap<usize, usize>,
    /// Jobs whose id is to be written before they are waited for.
    begun: Vec<Begun>,
    /// Ends the waiting for jobs: the load stops.
    give_up: CancellationToken,
    /// Answers of calls that start jobs, lost in a row.
    lost: u32,
    /// The contacts of what is aloft.
    in_air: HashSet<Uuid>,
    /// The contacts of jobs that go on without being waited for: whatever goes first still goes.
    left: HashSet<Uuid>,
    ended: Vec<Ended>,
    /// Batches whose answer was lost.
    open: Vec<(i64, Operation, Instant)>,
    /// What the target could not take yet.
    later: Vec<(LaneKey, Rendered)>,
    error: Option<Error>,
    /// Whether what is aloft flies alone.
    is_closed: bool,
}

struct Lane {
    operation: Operation,
    /// Parts of refused batches, the next one last.
    parts: Vec<Vec<Rendered>>,
    ready: VecDeque<Rendered>,
}

impl Lane {
    fn has_records(&self) -> bool {
        !self.ready.is_empty() || !self.parts.is_empty()
    }
}

struct Landing {
    lane: LaneKey,
    batch: i64,
    operation: Operation,
    records: Vec<Rendered>,
    began: Instant,
    answer: Answer,
}

enum Answer {
    /// A call's.
    Call(Result<BatchOutcome>),
    /// What became of a job.
    Job(JobEnd<BatchOutcome>),
    /// What became of a job of an earlier load.
    Former(Former, JobEnd<()>),
}

/// A job that an earlier load began.
struct Former {
    contacts: HashSet<Uuid>,
    looks: bool,
}

/// A job that has begun.
struct Begun {
    lane: LaneKey,
    batch: i64,
    operation: Operation,
    records: Vec<Rendered>,
    began: Instant,
    /// What the first answer said; outcomes that are [`Outcome::Started`] are open.
    first: BatchOutcome,
}

impl<'l, 'a> Flight<'l, 'a> {
    pub(super) fn new(load: &'l Load<'a>, object: Object, share: Share) -> Self {
        Self {
            load,
            object,
            share,
            lanes: BTreeMap::new(),
            aloft: JoinSet::new(),
            waiting: 0,
            jobs: 0,
            by_operation: BTreeMap::new(),
            begun: Vec::new(),
            give_up: CancellationToken::new(),
            lost: 0,
            in_air: HashSet::new(),
            left: if object == Object::Contact { load.in_left_jobs() } else { HashSet::new() },
            ended: Vec::new(),
            open: Vec::new(),
            later: Vec::new(),
            error: None,
            is_closed: false,
        }
    }

    /// Puts a record behind the others of its operation.
    pub(super) fn add(&mut self, operation: &Operation, record: Rendered) {
        let number = self.load.operations.iter().position(|known| known.name == operation.name).unwrap_or(usize::MAX);
        let key = (number, envelope(&record));
        let lane = self.lanes.entry(key).or_insert_with(|| Lane {
            operation: operation.clone(),
            parts: Vec::new(),
            ready: VecDeque::new(),
        });
        lane.ready.push_back(record);
    }

    /// Whether more records are wanted before another call can be full.
    pub(super) fn is_hungry(&self) -> bool {
        !self.is_crowded()
            && self.lanes.values().all(|lane| lane.parts.is_empty() && lane.ready.len() < lane.operation.batch.max(1))
    }

    fn is_crowded(&self) -> bool {
        self.lanes.len() > 1 && self.lanes.values().map(|lane| lane.ready.len()).sum::<usize>() >= CROWDED
    }

    /// Whether something is in doubt and has to be settled by [`Flight::calm`].
    pub(super) fn has_trouble(&self) -> bool {
        !self.open.is_empty() || !self.later.is_empty()
    }

    /// Whether nothing departs any more.
    pub(super) fn is_over(&self) -> bool {
        self.error.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.aloft.is_empty() && self.begun.is_empty()
    }

    /// Whether something is in hand that could depart.
    pub(super) fn has_ready(&self) -> bool {
        self.lanes.values().any(|lane| !lane.parts.is_empty() || !lane.ready.is_empty())
    }

    /// When the next call may depart, if that is not now. What changed is not spread.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.share == Share::Rest { self.load.gate.due() } else { None }
    }

    /// One turn: writes what has ended, and lets as many calls depart as may be aloft. Batches that are not full stay,
    /// unless it is the `last` chance.
    pub(super) async fn turn(&mut self, last: bool) -> Result<()> {
        if self.error.is_none()
            && let Err(error) = self.load.gate.check()
        {
            self.stop(error);
        }
        self.adopt();
        let mut next = Vec::new();
        while self.error.is_none()
            && !self.has_trouble()
            && self.aloft.len() - self.waiting + self.begun.len() + next.len() < self.load.parallel
        {
            if self.due().is_some() {
                break;
            }
            let Some(departure) = self.pick(last, &next) else { break };
            if self.share == Share::Rest {
                let records = &departure.1.records;
                let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
                let another = records.iter().filter(|record| record.has_next).count();
                self.load.gate.depart(count(records.len()), count(another));
            }
            next.push(departure);
        }
        self.write(next).await
    }

    async fn write(&mut self, next: Vec<(LaneKey, Departure)>) -> Result<()> {
        let ended = std::mem::take(&mut self.ended);
        let begun = std::mem::take(&mut self.begun);
        if ended.is_empty() && begun.is_empty() && next.is_empty() {
            return Ok(());
        }
        let (lanes, departures): (Vec<LaneKey>, Vec<Departure>) = next.into_iter().unzip();
        let jobs: Vec<BegunJob> = begun
            .iter()
            .map(|begun| BegunJob { batch: begun.batch, reference: begun.first.reference.clone() })
            .collect();
        let batches = self.load.ledger.turn(self.object, &ended, &jobs, &departures).await?;
        if !departures.is_empty() {
            failpoint::reach(Point::LoadAfterIntent)?;
        }
        if !begun.is_empty() {
            failpoint::reach(Point::LoadAfterJob)?;
        }
        for begun in begun {
            self.wait_for(begun);
        }
        for ((lane, departure), batch) in lanes.into_iter().zip(departures).zip(batches) {
            let Departure { operation, records } = departure;
            let (target, first_load) = (Arc::clone(&self.load.target), self.load.is_first_load());
            let calls = u64::try_from(records.len().div_ceil(operation.per_call())).unwrap_or(u64::MAX);
            self.load.count(|tally| Tally::add(&mut tally.calls, operation.name, calls));
            self.jobs += usize::from(operation.manner == Manner::Job);
            *self.by_operation.entry(lane.0).or_default() += 1;
            self.aloft.spawn(async move {
                let items: Vec<Item> = records.iter().map(item).collect();
                let began = Instant::now();
                let answer = Answer::Call(target.send(&operation, &items, first_load).await);
                Landing { lane, batch, operation, records, began, answer }
            });
        }
        Ok(())
    }

    /// Has a job waited for whose id is written.
    fn wait_for(&mut self, begun: Begun) {
        let Begun { lane, batch, operation, records, began, first } = begun;
        let waiting = Waiting::new(self.load, &operation, first.reference.clone(), began, self.give_up.clone());
        self.waiting += 1;
        self.aloft.spawn(async move {
            let items: Vec<Item> = records.iter().map(item).collect();
            let answer = Answer::Job(waiting.until_ended(&items, first).await);
            Landing { lane, batch, operation, records, began, answer }
        });
    }

    /// Takes up jobs that an earlier load left open, with their contacts.
    fn adopt(&mut self) {
        if self.object != Object::Contact {
            return;
        }
        for job in self.load.take_open_jobs() {
            let OpenJob { batch, operation, contacts, reference, began, looks } = job;
            let waiting = Waiting::new(self.load, &operation, reference, began, self.give_up.clone());
            self.load.note(&format!("waiting for a job of an earlier load that carries {} contacts", contacts.len()));
            self.waiting += 1;
            self.jobs += 1;
            *self.by_operation.entry(usize::MAX).or_default() += 1;
            self.in_air.extend(contacts.iter().copied());
            let former = Former { contacts, looks };
            self.aloft.spawn(async move {
                let ended = waiting.until_over().await;
                let lane = (usize::MAX, String::new());
                Landing { lane, batch, operation, records: Vec::new(), began, answer: Answer::Former(former, ended) }
            });
        }
    }

    /// The next batch that may depart now, and its lane.
    fn pick(&mut self, last: bool, next: &[(LaneKey, Departure)]) -> Option<(LaneKey, Departure)> {
        let is_alone = self.aloft.is_empty() && self.begun.is_empty() && next.is_empty();
        let departs = |operation: usize| next.iter().any(|((number, _), _)| *number == operation);
        let jobs = self.jobs + next.iter().filter(|(_, departure)| departure.operation.manner == Manner::Job).count();
        if is_alone {
            self.is_closed = false;
        } else if self.is_closed {
            return None;
        }
        let fullest = if self.is_crowded() {
            self.lanes.iter().max_by_key(|(_, lane)| lane.ready.len()).map(|(key, _)| key.clone())
        } else {
            None
        };
        // The operation that goes first and is not done, if there is one; what is behind it waits.
        let mut barrier = None;
        let is_followed = self.lanes.iter().any(|(_, lane)| !lane.operation.goes_first && lane.has_records());
        for (key, lane) in &mut self.lanes {
            if barrier.is_some_and(|number| key.0 > number) {
                return None;
            }
            let operation = &lane.operation;
            let is_aloft = departs(key.0) || self.by_operation.get(&key.0).is_some_and(|n| *n > 0);
            if operation.goes_first && (lane.has_records() || is_aloft) {
                barrier = Some(key.0);
            }
            if operation.manner == Manner::Job && jobs >= self.load.job_patience.at_once {
                continue;
            }
            // What others wait for goes as it is.
            let last = last || fullest.as_ref() == Some(key) || (operation.goes_first && is_followed);
            let size = operation.batch.max(1);
            // A rename is in hand of whoever it was before, too.
            let is_in_hand = |record: &Rendered| {
                [Some(record.contact_id), record.former_id].into_iter().flatten().any(|contact| {
                    self.in_air.contains(&contact) || (!operation.goes_first && self.left.contains(&contact))
                })
            };
            if let Some(part) = lane.parts.last()
                && !part.iter().any(is_in_hand)
                && let Some(records) = lane.parts.pop()
            {
                self.in_air.extend(records.iter().map(|record| record.contact_id));
                return Some((key.clone(), Departure { operation: operation.clone(), records }));
            }
            if lane.ready.is_empty() || (!last && lane.ready.len() < size) {
                continue;
            }
            // What belongs to a part that has not departed yet comes before what stands behind it.
            let mut passed: HashSet<Uuid> = lane.parts.iter().flatten().map(|record| record.contact_id).collect();
            let flies_alone = lane.ready.front().is_some_and(|record| record.former_id.is_some());
            if flies_alone && !is_alone {
                continue;
            }
            let mut chosen = Vec::new();
            for (place, record) in lane.ready.iter().enumerate() {
                if chosen.len() == size || (record.former_id.is_some() && !flies_alone) {
                    break;
                }
                if is_in_hand(record) || passed.contains(&record.contact_id) {
                    passed.insert(record.contact_id);
                } else {
                    chosen.push(place);
                }
            }
            // Half a call is made only when waiting would not fill it.
            if chosen.is_empty() || (chosen.len() < size && !is_alone && (!last || chosen.len() < lane.ready.len())) {
                continue;
            }
            let mut records = Vec::with_capacity(chosen.len());
            if chosen.last() == Some(&(chosen.len() - 1)) {
                records.extend(lane.ready.drain(..chosen.len()));
            } else {
                let mut chosen = chosen.into_iter().peekable();
                let waiting = std::mem::take(&mut lane.ready);
                for (place, record) in waiting.into_iter().enumerate() {
                    if chosen.next_if_eq(&place).is_some() {
                        records.push(record);
                    } else {
                        lane.ready.push_back(record);
                    }
                }
            }
            self.is_closed = flies_alone;
            self.in_air.extend(records.iter().map(|record| record.contact_id));
            return Some((key.clone(), Departure { operation: operation.clone(), records }));
        }
        None
    }

    /// Waits for a call to land, and takes in those that have landed with it. Safe to be given up while it waits.
    pub(super) async fn landing(&mut self) -> Result<()> {
        let mut landed = self.aloft.join_next().await;
        while let Some(landing) = landed {
            match landing {
                Ok(landing) => self.land(landing)?,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => return Err(Error::new(Kind::Internal, "a call was given up").because(error)),
            }
            landed = self.aloft.try_join_next();
        }
        Ok(())
    }

    fn land(&mut self, landing: Landing) -> Result<()> {
        failpoint::reach(Point::LoadAfterCallBeforeOutcome)?;
        let Landing { lane, batch, operation, records, began, answer } = landing;
        let answer = match answer {
            Answer::Former(former, ended) => {
                self.leave_air(&lane, &operation, true);
                self.load.forget_left_job(&former.contacts);
                for contact in &former.contacts {
                    self.in_air.remove(contact);
                    self.left.remove(contact);
                }
                match ended {
                    JobEnd::Ended(Ok(())) if former.looks => self.open.push((batch, operation, began)),
                    // What became of it is found out by rendering its contacts again.
                    JobEnd::Ended(Ok(())) => self.ended.push(Ended { batch, operation, end: BatchEnd::superseded() }),
                    JobEnd::Ended(Err(error)) => self.stop(stopped(error)),
                    JobEnd::GoesOn(reference) => {
                        self.left.extend(former.contacts.iter().copied());
                        self.load.leave_job(batch, reference, began, former.contacts.into_iter());
                    }
                    JobEnd::Stopped => {}
                }
                return Ok(());
            }
            Answer::Call(Ok(outcome)) if operation.manner == Manner::Job && is_begun(&outcome) => {
                self.began(lane, batch, operation, records, began, outcome);
                return Ok(());
            }
            Answer::Call(Err(error)) => {
                self.leave_air(&lane, &operation, false);
                Err(error)
            }
            Answer::Call(Ok(outcome)) => {
                self.leave_air(&lane, &operation, false);
                Ok(outcome)
            }
            Answer::Job(ended) => {
                self.leave_air(&lane, &operation, true);
                match ended {
                    JobEnd::Ended(Err(error)) if error.kind() != Kind::Refused => {
                        // It may go on: the batch stays open, and the next load asks for it.
                        self.stop(stopped(error));
                        return Ok(());
                    }
                    JobEnd::Ended(answer) => answer,
                    JobEnd::GoesOn(reference) => {
                        let contacts = records.iter().map(|record| record.contact_id);
                        contacts.clone().for_each(|contact| {
                            self.in_air.remove(&contact);
                        });
                        self.left.extend(contacts.clone());
                        self.load.leave_job(batch, reference, began, contacts);
                        return Ok(());
                    }
                    JobEnd::Stopped => return Ok(()),
                }
            }
        };
        for record in &records {
            self.in_air.remove(&record.contact_id);
        }
        let end = self.end_of(lane, batch, &operation, records, began, answer)?;
        if let Err(error) = self.load.count_end(self.object, &end) {
            self.stop(error);
        }
        self.ended.push(Ended { batch, operation, end });
        Ok(())
    }

    /// A job has begun, or may have.
    fn began(
        &mut self,
        lane: LaneKey,
        batch: i64,
        operation: Operation,
        records: Vec<Rendered>,
        began: Instant,
        first: BatchOutcome,
    ) {
        if first.reference.is_some() {
            self.lost = 0;
        } else {
            self.lost += 1;
            self.load.note(&format!(
                "the answer to a call of {} contacts was lost; it may go on there, they wait",
                records.len()
            ));
            if self.lost >= LOST_IN_A_ROW {
                let error = Error::new(Kind::Unreachable, "the answers to several imports in a row were lost")
                    .hint("the platform is slow or down; run the command again, it continues where it stopped");
                self.stop(stopped(error));
            }
        }
        // The call is over; what is waited for takes no place among the calls.
        self.begun.push(Begun { lane, batch, operation, records, began, first });
    }

    fn leave_air(&mut self, lane: &LaneKey, operation: &Operation, was_waiting: bool) {
        self.waiting -= usize::from(was_waiting);
        self.jobs -= usize::from(operation.manner == Manner::Job);
        if let Some(aloft) = self.by_operation.get_mut(&lane.0) {
            *aloft = aloft.saturating_sub(1);
        }
    }

    fn stop(&mut self, error: Error) {
        self.give_up.cancel();
        self.error.get_or_insert(error);
    }

    fn end_of(
        &mut self,
        lane: LaneKey,
        batch: i64,
        operation: &Operation,
        mut records: Vec<Rendered>,
        began: Instant,
        answer: Result<BatchOutcome>,
    ) -> Result<BatchEnd> {
        Ok(match answer {
            Ok(outcome) if operation.manner == Manner::Job && records.len() > 1 && is_unknown(&outcome) => {
                // The time is over in which it may go on. Half of it may be answered in time; renames are looked for.
                let before = records.len();
                records.retain(|record| record.former_id.is_none());
                let is_open = records.len() < before;
                if is_open {
                    self.open.push((batch, operation.clone(), began));
                }
                let second = records.split_off(records.len() / 2);
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.parts.extend([second, records].into_iter().filter(|part| !part.is_empty()));
                }
                if is_open {
                    BatchEnd { state: "unknown", is_open, ..BatchEnd::default() }
                } else {
                    BatchEnd::superseded()
                }
            }
            Ok(outcome) => {
                let end = sort_out(operation, records, outcome)?;
                if end.is_open {
                    self.open.push((batch, operation.clone(), began));
                }
                self.later.extend(end.later.iter().cloned().map(|record| (lane.clone(), record)));
                end
            }
            Err(error) if error.kind() == Kind::Refused && records.len() > 1 => {
                let end = BatchEnd { state: "refused", detail: Some(error.to_string()), ..BatchEnd::default() };
                let second = records.split_off(records.len() / 2);
                let end = BatchEnd { freed: records.iter().chain(&second).map(|record| record.key).collect(), ..end };
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.parts.push(second);
                    lane.parts.push(records);
                }
                end
            }
            Err(error) if error.kind() == Kind::Refused => BatchEnd {
                state: "refused",
                detail: Some(error.to_string()),
                refused: records
                    .into_iter()
                    .map(|record| Refusal { record, code: REFUSED.to_owned(), reason: error.detail().to_owned() })
                    .collect(),
                ..BatchEnd::default()
            },
            Err(error) => {
                // Certain that nothing was done, or a repeat does no harm: everything stays pending.
                let state = if operation.idempotent { "unknown" } else { "refused" };
                let end = BatchEnd { state, detail: Some(error.to_string()), later: records, ..BatchEnd::default() };
                self.stop(stopped(error));
                end
            }
        })
    }

    /// Waits until nothing is aloft and writes all outcomes; nothing departs.
    pub(super) async fn ground(&mut self) -> Result<()> {
        self.write(Vec::new()).await?;
        while !self.aloft.is_empty() {
            self.landing().await?;
            self.write(Vec::new()).await?;
        }
        Ok(())
    }

    /// Lands everything, settles what is in doubt and offers again what the target could not take yet. What it still does
    /// not take is left for the next load.
    pub(super) async fn calm(&mut self) -> Result<()> {
        self.ground().await?;
        let mut pause = self.load.patience.pause;
        let mut offers = 1;
        loop {
            for (batch, operation, began) in std::mem::take(&mut self.open) {
                if self.error.is_some() {
                    // The next load asks; now there may be nobody who answers.
                    continue;
                }
                self.load.settle_now(batch, &operation, began).await?;
            }
            let later = std::mem::take(&mut self.later);
            if later.is_empty() {
                return Ok(());
            }
            let can_wait = self.object == Object::Order && Instant::now() < self.load.wait_until();
            if self.error.is_some() || offers >= self.load.patience.offers || !can_wait {
                return self.load.leave(self.object, later.into_iter().map(|(_, record)| record).collect()).await;
            }
            self.load.note(&format!("the target cannot take {} records yet, trying again", later.len()));
            self.load.pause(&mut pause).await?;
            offers += 1;
            self.offer(later).await?;
        }
    }

    /// Sends records once more, call after call.
    async fn offer(&mut self, records: Vec<(LaneKey, Rendered)>) -> Result<()> {
        let mut parts: BTreeMap<LaneKey, Vec<Rendered>> = BTreeMap::new();
        for (lane, record) in records {
            parts.entry(lane).or_default().push(record);
        }
        let mut later = Vec::new();
        for (key, records) in parts {
            let Some(operation) = self.lanes.get(&key).map(|lane| lane.operation.clone()) else { continue };
            let mut records = records.into_iter().peekable();
            while records.peek().is_some() && self.error.is_none() {
                self.load.gate.pass().await?;
                let batch: Vec<Rendered> = records.by_ref().take(operation.batch.max(1)).collect();
                self.write(vec![(key.clone(), Departure { operation: operation.clone(), records: batch })]).await?;
                self.ground().await?;
                later.append(&mut self.later);
            }
            later.extend(records.map(|record| (key.clone(), record)));
        }
        self.later = later;
        Ok(())
    }

    /// The error that ended it, if one did.
    pub(super) fn finish(self) -> Result<()> {
        self.error.map_or(Ok(()), Err)
    }
}

/// What the call says once for all its records.
fn envelope(record: &Rendered) -> String {
    match record.envelope.text() {
        "null" => String::new(),
        text => text.to_owned(),
    }
}

/// Whether a job was started, or may have been.
fn is_begun(outcome: &BatchOutcome) -> bool {
    outcome.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Started | Outcome::Unknown(_)))
}

/// Whether nobody knows of any record.
fn is_unknown(outcome: &BatchOutcome) -> bool {
    outcome.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Unknown(_)))
}
