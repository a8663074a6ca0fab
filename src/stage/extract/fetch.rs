//! Asking for pages, one page ahead of the storing.
//!
//! A task of its own walks from page to page, cuts keys out of the records and hands them over in small lots through a
//! channel that holds about as much as is stored at once: while one batch is being stored the next is being received, and
//! no more than that is in memory. Nothing here touches staging; what a page was worth is decided where it is stored.

use crate::error::Kind;
use crate::failpoint::{self, Point};
use crate::source::{Next, PageRequest, Position, Seen, Source, StreamSpec, Walk};
use crate::stage::extract::fingerprint;
use crate::stage::extract::pace::Pace;
use crate::stage::extract::parents::Parents;
use crate::store::staging::{Record, Reject, RejectCode};
use crate::store::storable::storable;
use crate::{Error, Result};
use bytes::Bytes;
use futures::StreamExt;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// What the channel holds: small pages, or lots of large ones.
const AHEAD: usize = 12;
/// And no more bytes than this, unless one lot alone has more: a lot is as large as its largest record.
const AHEAD_BYTES: u32 = 3 << 20;
/// A lot ends with this many bytes or records.
const LOT_BYTES: usize = 256 << 10;
const LOT_RECORDS: usize = 200;
/// How often a page that broke off is asked for again; the HTTP client has its own tries before a body begins.
pub(super) const TRIES: u32 = 4;
/// The pause before the second try; it doubles with each further one.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// No platform makes us wait longer than this within a walk; it is continued later instead.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// Of so many records the keys are remembered, to count those that are given again. Pages overlap, and a walk goes back
/// where a list has changed.
const REMEMBERED: usize = 1_000;
/// How often a page that holds nothing but the records of the page before it is asked for again. A cache may have given
/// the wrong page; or the list is short of one, and the source went back on purpose.
const REPEATED_TRIES: u32 = 2;
/// So many parents in a row whose lists are refused are no coincidence.
const REFUSED_IN_A_ROW: u32 = 3;

/// Where a walk stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The parent whose list is being walked.
    pub parent: Option<Arc<str>>,
    /// The page to ask for next.
    pub position: Position,
    /// Nothing is left to ask for.
    pub complete: bool,
}

/// What a walk leaves behind for the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// Opaque to all but the source.
    pub bookmark: Value,
    /// Whether every record was given.
    pub whole: bool,
}

/// What is asked for.
pub struct Order {
    /// The stream.
    pub stream: StreamSpec,
    /// The pass.
    pub walk: Walk,
    /// What the walk before has left behind.
    pub bookmark: Value,
    /// How much of its time the shop may be asked.
    pub pace: Pace,
}

/// What the task hands over.
#[derive(Debug)]
pub enum Arrival {
    /// A page begins. How many records the walk has, where the platform tells, and how many of them stand before the page,
    /// where that is not what was received so far.
    Page { total: Option<u64>, before: Option<u64> },
    /// Some records of the page.
    Lot(Vec<Received>),
    /// The page has been read to its end.
    PageEnd {
        /// The parent whose list ended with this page.
        list_ended: Option<Arc<str>>,
        /// How many of its records pages before it held.
        repeated: u64,
        /// The next page does not follow this one: the list begins anew, or the source goes back in it.
        turns_back: bool,
        /// What comes next.
        next: Standing,
        /// What the walk that ends here leaves behind.
        ending: Option<Ending>,
    },
    /// The page broke off and will be asked for again.
    Again(Error),
    /// The platform refuses the list of this parent; the walk goes on without it.
    ListRefused {
        /// Why.
        error: Error,
        /// What comes next.
        next: Standing,
    },
    /// The walk cannot go on.
    Failed(Error),
}

impl Arrival {
    fn bytes(&self) -> usize {
        match self {
            Arrival::Lot(lot) => lot.iter().map(Received::len).sum(),
            _ => 0,
        }
    }
}

/// One record of a page, with or without a key.
#[derive(Debug)]
pub enum Received {
    /// It has a key.
    Record(Record),
    /// It has none, or is not JSON.
    Reject(Reject),
    /// It is none: the list holds it besides its records.
    NoRecord,
}

impl Received {
    fn len(&self) -> usize {
        match self {
            Received::Record(record) => record.raw.len(),
            Received::Reject(reject) => reject.raw.len(),
            Received::NoRecord => 0,
        }
    }
}

/// What crosses the channel at once, with the room that its bytes take.
type Message = (Vec<Arrival>, OwnedSemaphorePermit);

/// The task at work. Dropped, it ends.
pub struct Arrivals {
    receiver: Receiver<Message>,
    inbox: VecDeque<Arrival>,
    /// For the bytes of the inbox.
    room: Option<OwnedSemaphorePermit>,
    /// Where each page is to be judged before the next is asked for.
    permits: Option<Arc<Semaphore>>,
    _task: JoinSet<()>,
}

impl Arrivals {
    /// The next arrival; the task always ends with the page that completes the walk, or with [`Arrival::Failed`].
    pub async fn next(&mut self) -> Arrival {
        let gone = || Arrival::Failed(Error::new(Kind::Internal, "the task that asks for pages ended too early"));
        if self.inbox.is_empty() {
            self.room = None;
            let message = self.receiver.recv().await;
            self.take(message);
        }
        self.inbox.pop_front().unwrap_or_else(gone)
    }

    /// Lets the task ask for the next page, where it waits for that.
    pub fn go_on(&self) {
        if let Some(permits) = &self.permits {
            permits.add_permits(1);
        }
    }

    /// An arrival that is there already.
    pub fn at_hand(&mut self) -> Option<Arrival> {
        if self.inbox.is_empty() {
            self.room = None;
            let message = self.receiver.try_recv().ok();
            self.take(message);
        }
        self.inbox.pop_front()
    }

    fn take(&mut self, message: Option<Message>) {
        if let Some((arrivals, room)) = message {
            self.inbox.extend(arrivals);
            self.room = Some(room);
        }
    }
}

/// Begins to ask for pages from `standing` on. `parents` for a list with parents.
pub fn start(source: Arc<dyn Source>, order: Order, standing: Standing, parents: Option<Parents>) -> Arrivals {
    let (sender, receiver) = channel(AHEAD);
    // What is asked for ahead would mostly be asked for in vain.
    let permits = (order.walk == Walk::NewestUntilKnown).then(|| Arc::new(Semaphore::new(0)));
    let fetch = Fetch {
        source,
        order: Arc::new(order),
        parents,
        sender,
        outbox: Vec::new(),
        room: Arc::new(Semaphore::new(AHEAD_BYTES as usize)),
        permits: permits.clone(),
        refused: 0,
        pages_before: VecDeque::new(),
        reached: 0,
        repeated: 0,
        records: 0,
    };
    let mut task = JoinSet::new();
    task.spawn(fetch.run(standing));
    Arrivals { receiver, inbox: VecDeque::new(), room: None, permits, _task: task }
}

struct Fetch {
    source: Arc<dyn Source>,
    order: Arc<Order>,
    parents: Option<Parents>,
    sender: Sender<Message>,
    /// What goes with the next that is sent: each message wakes the side that stores, which small pages would pay for three
    /// times.
    outbox: Vec<Arrival>,
    /// For the bytes of what has been sent and not been taken.
    room: Arc<Semaphore>,
    permits: Option<Arc<Semaphore>>,
    refused: u32,
    /// The marks of the keys of the pages before in this list, the latest first: of that one all, of others as many as
    /// are remembered.
    pages_before: VecDeque<HashSet<u64>>,
    /// How far those reached in the list, where pages say where they stand.
    reached: u64,
    /// How many records of the last page the pages before held.
    repeated: u64,
    /// How many records the last page held.
    records: u64,
}

/// A page that was read to its end.
struct Read {
    next: Next,
    /// The marks of its keys.
    keys: HashSet<u64>,
    /// How many records of the walk stand before it, where it says so.
    before: Option<u64>,
}

/// Why a page did not come to its end.
enum Broken {
    /// The storing side has ended; nobody is interested any more.
    Unwanted,
    /// Another try may help: the body ended in the middle.
    InBody(Error),
    /// The HTTP client has tried what could be tried.
    Failed(Error),
}

impl Fetch {
    async fn run(mut self, standing: Standing) {
        if let Err(Broken::InBody(error) | Broken::Failed(error)) = self.walk(standing).await {
            let _ = self.send(Arrival::Failed(error)).await;
        }
    }

    async fn walk(&mut self, mut standing: Standing) -> Result<(), Broken> {
        if let Some(parents) = &mut self.parents {
            let first = parents.from(standing.parent.as_deref()).await.map_err(Broken::Failed)?;
            if first != standing.parent {
                standing.position = Position::Null;
            }
            standing.parent = first;
            if standing.parent.is_none() {
                let next = Standing { parent: None, position: Position::Null, complete: true };
                let end = Arrival::PageEnd { list_ended: None, repeated: 0, turns_back: false, next, ending: None };
                return self.send(end).await;
            }
        }
        while !standing.complete {
            let asked = Instant::now();
            let arrival = match self.page_with_tries(&standing).await {
                Ok(Next::Page(position)) => {
                    let turns_back = !self.source.follows(&position);
                    let next = Standing { position, ..standing.clone() };
                    Arrival::PageEnd { list_ended: None, repeated: self.repeated, turns_back, next, ending: None }
                }
                Ok(ended) => {
                    self.refused = 0;
                    let ending = match ended {
                        Next::EndAt { bookmark, whole } => Some(Ending { bookmark, whole }),
                        Next::End | Next::Page(_) => None,
                    };
                    Arrival::PageEnd {
                        list_ended: standing.parent.clone(),
                        repeated: self.repeated,
                        turns_back: false,
                        next: self.after_list().await?,
                        ending,
                    }
                }
                Err(Broken::Failed(error)) if self.may_skip(&error) => {
                    Arrival::ListRefused { error, next: self.after_list().await? }
                }
                Err(broken) => return Err(broken),
            };
            if let Arrival::PageEnd { next, .. } | Arrival::ListRefused { next, .. } = &arrival {
                standing = next.clone();
            }
            self.send(arrival).await?;
            if !standing.complete {
                tokio::time::sleep(self.order.pace.pause(asked.elapsed(), self.records)).await;
            }
            if let Some(permits) = &self.permits {
                permits.acquire().await.map_err(|_| Broken::Unwanted)?.forget();
            }
        }
        Ok(())
    }

    /// A parent may vanish while the lists of others are walked; then the platform does not know it any more.
    fn may_skip(&mut self, error: &Error) -> bool {
        if self.parents.is_none() || error.kind() != Kind::Refused {
            return false;
        }
        self.refused += 1;
        self.refused < REFUSED_IN_A_ROW
    }

    /// Where to go after the end of a list.
    async fn after_list(&mut self) -> Result<Standing, Broken> {
        self.pages_before.clear();
        self.reached = 0;
        let parent = match &mut self.parents {
            Some(parents) => parents.next().await.map_err(Broken::Failed)?,
            None => None,
        };
        Ok(Standing { complete: parent.is_none(), parent, position: Position::Null })
    }

    async fn page_with_tries(&mut self, standing: &Standing) -> Result<Next, Broken> {
        let mut pause = FIRST_PAUSE;
        let (mut tries, mut repeated) = (1, 0);
        let follows = self.source.follows(&standing.position);
        loop {
            let error = match self.page(standing).await {
                Ok(read) if repeated < REPEATED_TRIES && follows && self.is_page_before(&read) => {
                    repeated += 1;
                    Error::new(Kind::Protocol, "the page holds the records of the page before it")
                }
                Ok(read) => {
                    self.remember(read.keys, read.before);
                    return Ok(read.next);
                }
                Err(Broken::InBody(error)) if tries < TRIES && error.kind().is_retryable() => {
                    tries += 1;
                    error
                }
                Err(broken) => return Err(broken),
            };
            let wait = error.wait().unwrap_or(pause.mul_f64(rand::random_range(0.5..1.0)));
            if wait > LONGEST_PAUSE {
                return Err(Broken::Failed(error));
            }
            self.send(Arrival::Again(error)).await?;
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
    }

    /// One record alone may be the end of the list, given again because pages overlap.
    fn is_page_before(&self, read: &Read) -> bool {
        read.keys.len() > 1 && self.pages_before.front().is_some_and(|before| read.keys.is_subset(before))
    }

    /// Counts what is given again. Of several lists that a walk goes through each counts its own: a record of two of them is
    /// none that was given twice.
    fn remember(&mut self, keys: HashSet<u64>, before: Option<u64>) {
        let is_repeated = |key: &&u64| self.pages_before.iter().any(|page| page.contains(*key));
        let repeated = keys.iter().filter(is_repeated).count() as u64;
        self.repeated = before.map_or(repeated, |before| repeated.min(self.reached.saturating_sub(before)));
        self.reached = self.reached.max(before.unwrap_or(0).saturating_add(self.records));
        self.pages_before.push_front(keys);
        while self.pages_before.len() > 1 && self.pages_before.iter().map(HashSet::len).sum::<usize>() > REMEMBERED {
            self.pages_before.pop_back();
        }
    }

    /// Asks for one page and hands its records over.
    async fn page(&mut self, standing: &Standing) -> Result<Read, Broken> {
        let order = Arc::clone(&self.order);
        let request = PageRequest {
            stream: &order.stream,
            walk: &order.walk,
            parent: standing.parent.as_deref(),
            position: &standing.position,
            bookmark: &order.bookmark,
        };
        let mut page = match self.source.page(&request).await {
            Ok(page) => page,
            Err(error) if error.kind() == Kind::Truncated => return Err(Broken::InBody(error)),
            Err(error) => return Err(Broken::Failed(error)),
        };
        self.outbox.push(Arrival::Page { total: page.total, before: page.before });
        let mut seen = Seen::default();
        let mut lot = Vec::new();
        let mut lot_bytes = 0;
        let ended = loop {
            match page.records.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(Broken::InBody(error)),
                Some(Ok(raw)) => {
                    let received = receive(self.source.as_ref(), &order.stream, standing.parent.as_ref(), raw);
                    lot_bytes += received.len();
                    seen.note(match &received {
                        Received::Record(record) => Some(&record.key),
                        Received::Reject(_) | Received::NoRecord => None,
                    });
                    lot.push(received);
                }
            }
            if lot_bytes >= LOT_BYTES || lot.len() >= LOT_RECORDS {
                self.send(Arrival::Lot(std::mem::take(&mut lot))).await?;
                lot_bytes = 0;
            }
        };
        // What arrived whole is kept, even if the page ends in the middle.
        if !lot.is_empty() {
            self.outbox.push(Arrival::Lot(lot));
        }
        ended?;
        failpoint::reach(Point::ExtractPageReceived).map_err(Broken::Failed)?;
        let next = self.source.next(&request, &page.meta, &seen).map_err(Broken::Failed)?;
        self.records = seen.records as u64;
        Ok(Read { next, keys: seen.keys.into_iter().collect(), before: page.before })
    }

    async fn send(&mut self, arrival: Arrival) -> Result<(), Broken> {
        self.outbox.push(arrival);
        let bytes: usize = self.outbox.iter().map(Arrival::bytes).sum();
        let needed = u32::try_from(bytes).unwrap_or(u32::MAX).min(AHEAD_BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(needed).await.map_err(|_| Broken::Unwanted)?;
        self.sender.send((std::mem::take(&mut self.outbox), room)).await.map_err(|_| Broken::Unwanted)
    }
}

/// A record as staging takes it; `parent`: the key of the record in whose list it stands.
pub fn receive(source: &dyn Source, stream: &StreamSpec, parent: Option<&Arc<str>>, raw: Bytes) -> Received {
    let identity = source.identify(stream, &raw).or_else(|reason| {
        // A character that no JSON text may hold should not cost the whole record.
        let (text, replaced) = storable(&raw);
        if replaced.any() { source.identify(stream, &text) } else { Err(reason) }
    });
    match identity {
        Ok(identity) => {
            let parent = identity.parent.map(Arc::from).or_else(|| parent.cloned());
            let hash = fingerprint::of(&raw, &stream.compared);
            Received::Record(Record { key: identity.key, updated_at: identity.updated_at, parent, raw, hash })
        }
        Err(_) if source.is_no_record(stream, &raw) => Received::NoRecord,
        Err(reason) => {
            let is_json = serde_json::from_slice::<IgnoredAny>(&raw).is_ok();
            let code = if is_json { RejectCode::NoKey } else { RejectCode::NotJson };
            Received::Reject(Reject { key: None, code, reason, raw })
        }
    }
}
