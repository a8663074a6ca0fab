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
//! there: a record whose contact is aloft, or was passed over, is passed over too. A rename flies alone, because what is
//! right for other cards depends on it. Where anything is in doubt (an answer was lost, the target could not take a record
//! yet), everything lands first, then that is settled, then it goes on.
//!
//! Calls are tasks of their own: a call that waits for its turn in the account's budget must be woken in time, whatever
//! the book-keeping does. When the load is asked to stop, or a call fails, nothing departs any more, what is aloft lands,
//! and its outcomes are written.

use super::bench::{Object, Rendered};
use super::ledger::{BatchEnd, Departure, Ended, Refusal};
use super::send::{item, sort_out, stopped};
use super::tally::Tally;
use super::{Load, Share};
use crate::failpoint::{self, Point};
use crate::target::{BatchOutcome, Item, Operation};
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

/// Code of a record that the target refused as a call of its own.
pub const REFUSED: &str = "refused";

/// The calls of one pass through a queue.
pub(super) struct Flight<'l, 'a> {
    load: &'l Load<'a>,
    object: Object,
    share: Share,
    /// By the order of the target's operations.
    lanes: BTreeMap<usize, Lane>,
    aloft: JoinSet<Landing>,
    /// The contacts of what is aloft.
    in_air: HashSet<Uuid>,
    ended: Vec<Ended>,
    /// Batches whose answer was lost.
    open: Vec<(i64, Operation, Instant)>,
    /// What the target could not take yet.
    later: Vec<(usize, Rendered)>,
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

struct Landing {
    lane: usize,
    batch: i64,
    operation: Operation,
    records: Vec<Rendered>,
    began: Instant,
    answer: Result<BatchOutcome>,
}

impl<'l, 'a> Flight<'l, 'a> {
    pub(super) fn new(load: &'l Load<'a>, object: Object, share: Share) -> Self {
        Self {
            load,
            object,
            share,
            lanes: BTreeMap::new(),
            aloft: JoinSet::new(),
            in_air: HashSet::new(),
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
        let lane = self.lanes.entry(number).or_insert_with(|| Lane {
            operation: operation.clone(),
            parts: Vec::new(),
            ready: VecDeque::new(),
        });
        lane.ready.push_back(record);
    }

    /// Whether more records are wanted before another call can be full.
    pub(super) fn is_hungry(&self) -> bool {
        self.lanes.values().all(|lane| lane.parts.is_empty() && lane.ready.len() < lane.operation.batch.max(1))
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
        self.aloft.is_empty()
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
            self.error = Some(error);
        }
        let mut next = Vec::new();
        while self.error.is_none() && !self.has_trouble() && self.aloft.len() + next.len() < self.load.parallel {
            if self.due().is_some() {
                break;
            }
            let Some(departure) = self.pick(last, next.is_empty()) else { break };
            if self.share == Share::Rest {
                self.load.gate.depart();
            }
            next.push(departure);
        }
        self.write(next).await
    }

    async fn write(&mut self, next: Vec<(usize, Departure)>) -> Result<()> {
        let ended = std::mem::take(&mut self.ended);
        if ended.is_empty() && next.is_empty() {
            return Ok(());
        }
        let (lanes, departures): (Vec<usize>, Vec<Departure>) = next.into_iter().unzip();
        let batches = self.load.ledger.turn(self.object, &ended, &departures).await?;
        if !departures.is_empty() {
            failpoint::reach(Point::LoadAfterIntent)?;
        }
        for ((lane, departure), batch) in lanes.into_iter().zip(departures).zip(batches) {
            let Departure { operation, records } = departure;
            let (target, first_load) = (Arc::clone(&self.load.target), self.load.is_first_load());
            self.load.count(|tally| Tally::add(&mut tally.calls, operation.name, 1));
            self.aloft.spawn(async move {
                let items: Vec<Item> = records.iter().map(item).collect();
                let began = Instant::now();
                let answer = target.send(&operation, &items, first_load).await;
                Landing { lane, batch, operation, records, began, answer }
            });
        }
        Ok(())
    }

    /// The next batch that may depart now, and its lane.
    fn pick(&mut self, last: bool, is_first: bool) -> Option<(usize, Departure)> {
        let is_alone = self.aloft.is_empty() && is_first;
        if is_alone {
            self.is_closed = false;
        } else if self.is_closed {
            return None;
        }
        for (number, lane) in &mut self.lanes {
            let operation = &lane.operation;
            let size = operation.batch.max(1);
            if let Some(part) = lane.parts.last()
                && part.iter().all(|record| !self.in_air.contains(&record.contact_id))
                && let Some(records) = lane.parts.pop()
            {
                self.in_air.extend(records.iter().map(|record| record.contact_id));
                return Some((*number, Departure { operation: operation.clone(), records }));
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
                if self.in_air.contains(&record.contact_id) || passed.contains(&record.contact_id) {
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
            return Some((*number, Departure { operation: operation.clone(), records }));
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
        let Landing { lane, batch, operation, mut records, began, answer } = landing;
        for record in &records {
            self.in_air.remove(&record.contact_id);
        }
        let end = match answer {
            Ok(outcome) => {
                let end = sort_out(&operation, records, outcome)?;
                if end.is_open {
                    self.open.push((batch, operation.clone(), began));
                }
                self.later.extend(end.later.iter().cloned().map(|record| (lane, record)));
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
                self.error.get_or_insert(stopped(error));
                end
            }
        };
        if let Err(error) = self.load.count_end(self.object, &end) {
            self.error.get_or_insert(error);
        }
        self.ended.push(Ended { batch, operation, end });
        Ok(())
    }

    /// Waits until nothing is aloft and writes all outcomes; nothing departs.
    pub(super) async fn ground(&mut self) -> Result<()> {
        while !self.aloft.is_empty() {
            self.landing().await?;
            self.write(Vec::new()).await?;
        }
        self.write(Vec::new()).await
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
    async fn offer(&mut self, records: Vec<(usize, Rendered)>) -> Result<()> {
        let mut parts: BTreeMap<usize, Vec<Rendered>> = BTreeMap::new();
        for (lane, record) in records {
            parts.entry(lane).or_default().push(record);
        }
        let mut later = Vec::new();
        for (number, records) in parts {
            let Some(operation) = self.lanes.get(&number).map(|lane| lane.operation.clone()) else { continue };
            let mut records = records.into_iter().peekable();
            while records.peek().is_some() && self.error.is_none() {
                self.load.gate.pass().await?;
                let batch: Vec<Rendered> = records.by_ref().take(operation.batch.max(1)).collect();
                self.write(vec![(number, Departure { operation: operation.clone(), records: batch })]).await?;
                self.ground().await?;
                later.append(&mut self.later);
            }
            later.extend(records.map(|record| (number, record)));
        }
        self.later = later;
        Ok(())
    }

    /// The error that ended it, if one did.
    pub(super) fn finish(self) -> Result<()> {
        self.error.map_or(Ok(()), Err)
    }
}
