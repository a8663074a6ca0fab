//! One walk: pages arrive, land, and the position moves with them in one transaction.
//!
//! Pages that come quickly are stored together: a small page of its own costs as many round trips as ten. What waits is
//! never more than a batch, and never waits for a slow shop.
//!
//! The wrong answers avoided here: a position stored before its records (a kill loses them), a position moved by half a
//! page, deletions concluded from a walk that has not seen everything.

use crate::config::pipeline::Connection;
use crate::error::Kind;
use crate::failpoint::{self, Bug, Point};
use crate::progress::Meter;
use crate::source::{Absence, Deletions, Source, StreamSpec, Walk};
use crate::stage::Context;
use crate::stage::extract::Options;
use crate::stage::extract::due::{Due, WalkState};
use crate::stage::extract::fetch::{self, Arrival, Ending, Order, Received, Standing};
use crate::stage::extract::pace::Spacing;
use crate::stage::extract::parents::Parents;
use crate::stage::extract::report::Counts;
use crate::store::Lease;
use crate::store::cursor::Cursor;
use crate::store::doubts::Doubts;
use crate::store::staging::{Batch, Landing};
use crate::store::statistics::Statistics;
use crate::store::walk_keys::WalkKeys;
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// A batch is stored when it has this many records or bytes, or when its page ends and no other is at hand.
const BATCH_RECORDS: usize = 2_000;
const BATCH_BYTES: usize = 8 << 20;
/// Whole pages wait for the next one no longer than this before they are stored.
const PAGE_WAIT: Duration = Duration::from_millis(100);

/// How a page ended.
enum PageEnd {
    /// More pages of the same list follow, or the list has no parent.
    GoesOn,
    /// The list of this parent has been read to its end.
    Ended(Arc<str>),
    /// The platform refused the list.
    Refused,
}

/// Whole pages that wait in a batch, and what follows them.
struct Held {
    pages: u64,
    /// Records in them that pages before them held.
    repeated: u64,
    /// The next page does not follow the last of them.
    turns_back: bool,
    end: PageEnd,
    next: Standing,
    ending: Option<Ending>,
}

/// One stream being read: all that does not change on the way.
pub struct Reading<'a> {
    /// The run, the database, the stop token.
    pub ctx: &'a Context,
    /// The shop's settings.
    pub connection: &'a Connection,
    /// The options of the command.
    pub options: &'a Options,
    /// The shop.
    pub source: &'a Arc<dyn Source>,
    /// The list.
    pub stream: &'a StreamSpec,
    /// Keeps other processes away.
    pub lease: &'a Lease,
    /// The stream's table.
    pub landing: Landing,
    /// The keys that walks have seen.
    pub keys: WalkKeys,
    /// The keys on which walks and staging do not agree.
    pub doubts: Doubts,
    /// What shows that a record is gone.
    pub absence: Absence,
    /// How the shop is spared.
    pub pace: Spacing,
}

/// One stream being read: how far it has come.
pub struct StreamWalker<'a> {
    /// What is read.
    pub reading: Reading<'a>,
    /// The session that stores.
    pub client: &'a mut Client,
    /// How far the stream has been read, as stored.
    pub cursor: Cursor,
    /// What has been counted.
    pub counts: Counts,
    /// Some of the keys that are on the list and could not be fetched.
    pub not_landed: Vec<String>,
    /// Keeps the planner informed of what lands.
    pub statistics: Statistics,
    /// Shows it.
    pub meter: Meter,
    /// Records of the present page that the meter has counted; what is read again is not counted twice.
    pub shown: u64,
}

impl StreamWalker<'_> {
    /// The unfinished walk of an earlier run, if there is one that can be continued.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn unfinished(&self) -> Result<Option<WalkState>> {
        let Some(stored) = &self.cursor.walk else {
            return Ok(None);
        };
        // A walk written by another version of Wharf in another shape begins again.
        let Ok(state) = serde_json::from_value::<WalkState>(stored.clone()) else {
            return Ok(None);
        };
        if self.reading.options.full && !state.is_everything() {
            return Ok(None);
        }
        if state.compare && self.reading.keys.count(&*self.client).await? != state.seen {
            self.meter.note("the server lost the keys that the unfinished walk had seen; it begins again");
            let due = Due { walk: state.walk, parents_changed_after: state.parents_changed_after };
            return self.begin(due).await.map(Some);
        }
        Ok(Some(state))
    }

    /// A new walk.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn begin(&self, due: Due) -> Result<WalkState> {
        let mut state = WalkState::new(due, self.reading.ctx.run.now(), self.reading.ctx.run.id);
        let finds_deletions = match state.walk {
            Walk::Keys => true,
            Walk::Everything if self.reading.stream.parent.is_some() => {
                self.reading.stream.deletions != Deletions::None
            }
            Walk::Everything => self.reading.stream.deletions == Deletions::FullWalk,
            Walk::ModifiedSince(_) | Walk::CreatedSince(_) | Walk::NewestUntilKnown => false,
        };
        if finds_deletions {
            state.live = self.reading.keys.live(&*self.client).await?;
            // Where nothing has landed yet nothing can have been deleted, and a back-fill need not note its keys.
            state.compare = state.live > 0 || state.walk == Walk::Keys;
        }
        Ok(state)
    }

    /// Walks from where the state stands to the end.
    ///
    /// # Errors
    /// Those of the platform, with the page named; those of Postgres; [`Kind::Interrupted`], [`Kind::LeaseLost`],
    /// [`Kind::Guard`]. What has landed stays, and the next run continues.
    pub async fn walk(&mut self, mut state: WalkState) -> Result<()> {
        if state.compare && state.seen == 0 && state.pages == 0 {
            // Keys of a walk that was given up.
            let tx = self.client.transaction().await?;
            self.reading.lease.assert(&tx).await?;
            self.reading.keys.clear(&tx).await?;
            if matches!(self.reading.absence, Absence::AskedByKey(_)) {
                self.reading.doubts.clear(&tx).await?;
            }
            tx.commit().await?;
        }
        if !state.complete {
            self.reading.landing.expect(&*self.client).await?;
            self.pages(&mut state).await?;
        }
        if self.cursor.walk.is_some() {
            self.finish(state).await?;
        }
        Ok(())
    }

    /// Lands page after page. When it returns, the walk is complete; the cursor's walk is gone if that has been written.
    async fn pages(&mut self, state: &mut WalkState) -> Result<()> {
        let parents = match &self.reading.stream.parent {
            Some(parent) => {
                let after = state.parents_changed_after.unwrap_or(0);
                let parents = Parents::new(&self.reading.ctx.db, &self.reading.connection.connection, parent, after);
                self.meter.set_total(self.meter.count() + parents.count(state.parent.as_deref()).await?);
                Some(parents)
            }
            None => None,
        };
        let standing = Standing {
            parent: state.parent.as_deref().map(Arc::from),
            position: state.position.clone(),
            complete: state.complete,
        };
        let shown_before = self.meter.count();
        // What a walk that goes on had received counts, unless its pages say themselves where they stand.
        let mut received_before = Some(state.read);
        let order = Order {
            stream: self.reading.stream.clone(),
            walk: state.walk.clone(),
            bookmark: self.cursor.bookmark.clone().filter(|_| !self.reading.options.full).unwrap_or_default(),
            pace: self.reading.pace.of(&self.cursor, state),
        };
        let mut arrivals = fetch::start(self.reading.source.clone(), order, standing, parents);
        let mut batch = Batch::default();
        let mut in_page = 0;
        let mut page_open = false;
        // Where the walk stands after the whole pages in the batch.
        let mut held: Option<Held> = None;
        self.shown = 0;
        loop {
            let stop = &self.reading.ctx.stop;
            let arrival = match stop.is_cancelled() {
                // What has arrived of the page in hand is stored; nothing is waited for.
                true if page_open => arrivals.at_hand(),
                true => None,
                false => tokio::select! {
                    biased;
                    () = stop.cancelled() => continue,
                    arrival = arrivals.next() => Some(arrival),
                    () = tokio::time::sleep(PAGE_WAIT), if held.is_some() => {
                        self.store(state, &mut batch, held.take()).await?;
                        continue;
                    }
                },
            };
            let Some(arrival) = arrival else {
                self.store(state, &mut batch, held.take()).await?;
                return Err(Error::new(Kind::Interrupted, format!("stopped while {}", self.reading.place(state)))
                    .hint("run the command again; it continues where it stopped"));
            };
            let page_ended = matches!(arrival, Arrival::PageEnd { .. } | Arrival::ListRefused { .. });
            match arrival {
                Arrival::Page { total, before } => {
                    in_page = 0;
                    page_open = true;
                    state.total = total.or(state.total);
                    if self.reading.stream.parent.is_none() {
                        if let Some(before) = before.or(received_before) {
                            self.stand(shown_before + before);
                        }
                        received_before = None;
                        if let Some(total) = total {
                            self.meter.set_total(shown_before + total);
                        }
                    }
                }
                Arrival::Lot(lot) => {
                    in_page += lot.len() as u64;
                    for received in lot {
                        match received {
                            Received::Record(record) => batch.push(record),
                            Received::Reject(reject) => batch.push_reject(reject),
                            Received::NoRecord => batch.push_no_record(),
                        }
                        if batch.len() >= BATCH_RECORDS || batch.bytes() >= BATCH_BYTES {
                            self.store(state, &mut batch, held.take()).await?;
                        }
                    }
                    self.show(in_page);
                }
                Arrival::PageEnd { list_ended, repeated, turns_back, next, ending } => {
                    self.counts.pages += u64::from(std::mem::take(&mut page_open));
                    let end = list_ended.map_or(PageEnd::GoesOn, PageEnd::Ended);
                    // Whether a walk by newness goes on is decided page by page.
                    let decides = state.walk == Walk::NewestUntilKnown;
                    let may_wait = matches!(end, PageEnd::GoesOn) && !next.complete && !decides;
                    let (pages, before) = held.take().map_or((0, 0), |held| (held.pages, held.repeated));
                    let (pages, repeated) = (pages + 1, before + repeated);
                    held = Some(Held { pages, repeated, turns_back, end, next, ending });
                    let is_full = 2 * batch.len() >= BATCH_RECORDS || 2 * batch.bytes() >= BATCH_BYTES;
                    if is_full || !may_wait {
                        self.store(state, &mut batch, held.take()).await?;
                    }
                    self.shown = 0;
                }
                Arrival::ListRefused { error, next } => {
                    self.counts.lists_refused += 1;
                    self.meter.note(&format!("{}: {error}; left out", self.reading.place(state)));
                    self.store(state, &mut batch, held.take()).await?;
                    let end = PageEnd::Refused;
                    let refused = Held { pages: 1, repeated: 0, turns_back: false, end, next, ending: None };
                    self.store(state, &mut batch, Some(refused)).await?;
                    self.shown = 0;
                }
                Arrival::Again(error) => {
                    self.counts.retried += 1;
                    self.meter.note(&format!("{}: {error}; asking again", self.reading.place(state)));
                }
                Arrival::Failed(error) => {
                    self.store(state, &mut batch, held.take()).await?;
                    return Err(error.context(self.reading.place(state)));
                }
            }
            if state.complete {
                return Ok(());
            }
            if page_ended {
                arrivals.go_on();
            }
        }
    }

    /// Stores what is in hand and the position after the whole pages in it: one transaction.
    async fn store(&mut self, state: &mut WalkState, batch: &mut Batch, held: Option<Held>) -> Result<()> {
        if batch.is_empty() && held.is_none() {
            return Ok(());
        }
        let batch = std::mem::take(batch);
        let now = self.reading.ctx.run.now();
        let mut after = state.clone();
        let received = batch.len() as u64 + batch.no_records;
        after.read += received;
        let mut cursor = self.cursor.clone();
        let tx = self.client.transaction().await?;
        // If the server dies before this is on its disk, position and records are gone together and are read again. What
        // comes to depend on them is written after them, and waits for the disk.
        tx.batch_execute("set local synchronous_commit = off").await?;
        self.reading.lease.assert(&tx).await?;
        if after.compare {
            let keys: Vec<&str> = batch.records.iter().map(|record| record.key.as_str()).collect();
            after.seen += self.reading.keys.note(&tx, &keys).await?;
        }
        after.keyless += batch.rejects.len() as u64 + batch.no_records;
        let mut counts = self.counts;
        counts.read += received;
        if after.walk == Walk::Keys {
            counts.keys += received;
        } else {
            for record in &batch.records {
                after.note_change(record.updated_at, now);
            }
            if after.walk == Walk::NewestUntilKnown {
                // Before it lands: what has only changed was there before, and ends the walk as well as what has not.
                let keys = batch.distinct_keys();
                let known = self.reading.keys.known_before(&tx, &keys, after.started_run).await?;
                after.page_records += keys.len() as u64;
                after.page_fresh += (keys.len() as u64).saturating_sub(known);
            }
            if !failpoint::is_planted(Bug::CursorBeforePage) {
                counts.landed += self.reading.landing.land(&tx, batch).await?;
            }
        }
        failpoint::reach(Point::ExtractPageLandedBeforeCursor)?;
        let mut lists = 0;
        let mut is_torn = false;
        if let Some(Held { pages, repeated, turns_back, end, next, ending }) = held {
            if let Some(Ending { bookmark, whole }) = ending {
                is_torn = !whole;
                after.bookmark = Some(bookmark);
                // What was left out because it has not changed must not pass for deleted.
                after.compare = after.compare && whole;
            }
            after.pages += pages;
            after.repeated += repeated;
            // People are told of records, not of how often they came.
            counts.read = counts.read.saturating_sub(repeated);
            if after.walk == Walk::Keys {
                counts.keys = counts.keys.saturating_sub(repeated);
            }
            after.position = next.position;
            after.parent = next.parent.as_deref().map(str::to_owned);
            // A page of which this walk itself has landed a part is not known, nor is one that rows have moved to which it
            // has landed elsewhere: a stopped walk must not take its own traces for its end. Nor does a page end it that does
            // not join what was read before.
            let by_newness = after.walk == Walk::NewestUntilKnown && !turns_back;
            let is_known = by_newness && after.page_records > 0 && after.page_fresh == 0;
            after.complete = next.complete || is_known;
            (after.page_records, after.page_fresh) = (0, 0);
            if after.compare && after.walk == Walk::Everything {
                match end {
                    PageEnd::GoesOn => {}
                    PageEnd::Ended(parent) => self.reading.end_list(&tx, &mut after, &parent).await?,
                    // The keys seen are no complete list.
                    PageEnd::Refused => self.reading.forget_list(&tx, &mut after).await?,
                }
            }
            lists = u64::from(self.reading.stream.parent.is_some() && after.parent != state.parent);
        }
        if after.complete && !after.compare && self.reading.stream.parent.is_none() {
            let missing = after.not_given();
            counts.incomplete += missing;
            if missing > 0 {
                self.meter.note(&format!(
                    "{}: {missing} of {} records were not given",
                    self.reading.place(&after),
                    after.total.unwrap_or(0)
                ));
            }
            if (missing > 0 || is_torn) && after.is_filtered() {
                // What was not given would never be asked for again.
                cursor.walk = None;
            } else {
                after.complete_into(&mut cursor, self.reading.stream.deletions, now);
            }
        } else {
            cursor.walk = Some(serde_json::to_value(&after).map_err(not_json)?);
        }
        if cursor != self.cursor {
            cursor.save(&tx, &self.reading.connection.connection, self.reading.stream.name).await?;
        }
        failpoint::reach(Point::ExtractBeforeStoreCommit)?;
        tx.commit().await?;
        failpoint::reach(Point::ExtractAfterStore)?;
        self.cursor = cursor;
        self.counts = counts;
        *state = after;
        self.statistics.follow(self.client, self.counts.landed.new).await?;
        self.meter.advance(lists);
        Ok(())
    }

    /// Writes the end of a walk: what was deleted, how far the stream has been read. What it leaves doubtful is asked for
    /// by key before, where the platform can be asked.
    async fn finish(&mut self, mut state: WalkState) -> Result<()> {
        self.statistics.complete(self.client, self.counts.landed.new).await?;
        let mut guarded = if state.compare { self.settle(&mut state).await? } else { Ok(()) };
        let now = self.reading.ctx.run.now();
        let mut cursor = self.cursor.clone();
        let mut counts = self.counts;
        let tx = self.client.transaction().await?;
        self.reading.lease.assert(&tx).await?;
        if state.compare && guarded.is_ok() {
            let missing = self.reading.doubts.missing(&tx).await?;
            guarded = self.reading.guard(state.live, missing.gone);
            if guarded.is_ok() {
                counts.in_doubt += missing.doubtful;
                if missing.gone > 0 && !failpoint::is_planted(Bug::ForgetDelete) {
                    counts.deleted += self.reading.doubts.mark_gone(&tx).await?;
                }
                self.reading.doubts.forget_settled(&tx).await?;
            }
        }
        if let (Some(parent), Walk::Everything) = (&self.reading.stream.parent, &state.walk)
            && self.reading.stream.deletions != Deletions::None
        {
            let since = state.parents_changed_after.unwrap_or(0);
            counts.deleted += self.reading.keys.mark_orphans(&tx, parent.table, parent.condition, since).await?;
        }
        if guarded.is_ok() {
            state.complete_into(&mut cursor, self.reading.stream.deletions, now);
        } else {
            // The next run walks anew: what this one has seen is not to be believed.
            cursor.walk = None;
        }
        if state.compare {
            self.reading.keys.clear(&tx).await?;
        }
        cursor.save(&tx, &self.reading.connection.connection, self.reading.stream.name).await?;
        failpoint::reach(Point::ExtractBeforeWalkEndCommit)?;
        tx.commit().await?;
        failpoint::reach(Point::ExtractAfterWalkEnd)?;
        self.cursor = cursor;
        self.counts = counts;
        guarded
    }

    /// Lets the meter stand at the beginning of a page. What it has counted beyond that was counted when it was read before.
    fn stand(&mut self, at: u64) {
        let count = self.meter.count();
        self.meter.advance(at.saturating_sub(count));
        self.shown = count.saturating_sub(at);
    }

    /// Moves the meter by what has not been shown of the present page.
    fn show(&mut self, in_page: u64) {
        if self.reading.stream.parent.is_none() && in_page > self.shown {
            self.meter.advance(in_page - self.shown);
            self.shown = in_page;
        }
    }
}

pub(super) fn not_json(error: serde_json::Error) -> Error {
    Error::new(Kind::Internal, "the state of a walk cannot be written").because(error)
}
