//! Where a walk and staging do not agree: the platform is asked by key before anything is believed.
//!
//! The model: a complete walk leaves keys in **doubt** (`ops.doubtful_keys`): records that staging holds and the walk has
//! not seen, and, of a walk over keys, keys that have not landed. Where the platform gives records by key it is asked for
//! them, batch after batch; what it gives lands as any record does, what it does not give is gone. Each batch is one
//! transaction with its answer, so that a killed run goes on behind it. Where it cannot be asked, the next complete walk
//! must miss the same records.

use crate::error::Kind;
use crate::failpoint::{self, Point};
use crate::source::{Absence, Walk};
use crate::stage::extract::due::WalkState;
use crate::stage::extract::fetch::{FIRST_PAUSE, Received, TRIES, receive};
use crate::stage::extract::walk::{StreamWalker, not_json};
use crate::store::doubts::Doubt;
use crate::store::staging::Batch;
use crate::store::statistics;
use crate::{Error, Result};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

/// So many keys in doubt change what the planner should think of their table.
const MANY: u64 = 1_000;
/// So many keys that could not be fetched are named.
const NAMED: usize = 20;

impl StreamWalker<'_> {
    /// Settles what a complete walk has left doubtful, as far as the platform can be asked. The inner error says that the
    /// walk is not to be believed.
    pub(super) async fn settle(&mut self, state: &mut WalkState) -> Result<Result<()>> {
        let is_whole = state.walk == Walk::Keys || self.reading.stream.parent.is_none();
        if is_whole && !state.doubted {
            let guarded = self.doubt(state).await?;
            if guarded.is_err() {
                return Ok(guarded);
            }
        }
        match self.reading.absence {
            Absence::AskedByKey(at_once) => self.ask(state, at_once.max(1)).await,
            Absence::SecondWalk | Absence::OneDocument => Ok(Ok(())),
        }
    }

    /// Notes what a walk through a whole stream leaves doubtful.
    async fn doubt(&mut self, state: &mut WalkState) -> Result<Result<()>> {
        statistics::analyze(&*self.client, "ops.walk_keys").await?;
        let mut after = state.clone();
        after.doubted = true;
        let mut cursor = self.cursor.clone();
        let mut counts = self.counts;
        let tx = self.client.transaction().await?;
        self.reading.lease.assert(&tx).await?;
        let guarded = self.reading.check_count(&tx, state).await?.and(self.reading.guard_empty(state));
        if guarded.is_err() {
            return Ok(guarded);
        }
        let missing = state.total.unwrap_or(0).saturating_sub(state.seen + state.keyless);
        let can_ask = matches!(self.reading.absence, Absence::AskedByKey(_));
        let mut noted = 0;
        if missing == 0 || can_ask {
            noted += self.reading.doubts.note_unseen(&tx, None).await?;
        }
        if missing > 0 {
            // A page may have been given twice instead of another; the next walk will tell.
            counts.incomplete += missing;
            let then = if can_ask { "what is missed is asked for by key" } else { "none is marked deleted" };
            self.meter.note(&format!("{missing} records of the list were not given; {then}"));
        }
        if state.walk == Walk::Keys {
            noted += self.reading.doubts.note_unlanded(&tx).await?;
        }
        cursor.walk = Some(serde_json::to_value(&after).map_err(not_json)?);
        cursor.save(&tx, &self.reading.connection.connection, self.reading.stream.name).await?;
        tx.commit().await?;
        self.cursor = cursor;
        self.counts = counts;
        *state = after;
        if noted >= MANY {
            statistics::analyze(&*self.client, "ops.doubtful_keys").await?;
        }
        Ok(Ok(()))
    }

    /// Asks for what is in doubt, batch after batch, until all has been asked for or more is gone than may be.
    async fn ask(&mut self, state: &mut WalkState, at_once: usize) -> Result<Result<()>> {
        let pace = self.reading.pace.of(&self.cursor, state);
        let mut last: Option<Doubt> = None;
        loop {
            let mut doubts = self.reading.doubts.next(&*self.client, last.as_ref(), at_once).await?;
            let Some(parent) = doubts.first().map(|doubt| doubt.parent.clone()) else { return Ok(Ok(())) };
            doubts.retain(|doubt| doubt.parent == parent);
            let began = Instant::now();
            let given = tokio::select! {
                biased;
                () = self.reading.ctx.stop.cancelled() => {
                    return Err(Error::new(Kind::Interrupted, format!("stopped while {}", self.asking(state)))
                        .hint("run the command again; it continues where it stopped"));
                }
                given = self.given(&parent, &doubts) => given.map_err(|error| error.context(self.asking(state)))?,
            };
            let pause = pace.pause(began.elapsed(), doubts.len() as u64);
            self.store_asked(state, &doubts, given).await?;
            let guarded = self.reading.guard(state.live, state.deleted);
            if guarded.is_err() {
                return Ok(guarded);
            }
            last = doubts.pop();
            tokio::time::sleep(pause).await;
        }
    }

    fn asking(&self, state: &WalkState) -> String {
        format!("asking for records of {} by key ({})", self.reading.name(), state.name())
    }

    /// What the platform gives of these; none where it does not know their parent (any more), which proves nothing.
    async fn given(&self, parent: &str, doubts: &[Doubt]) -> Result<Option<Vec<Bytes>>> {
        let keys: Vec<String> = doubts.iter().map(|doubt| doubt.key.clone()).collect();
        let parent = self.reading.stream.parent.as_ref().map(|_| parent);
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            match self.reading.source.by_key(self.reading.stream, parent, &keys).await {
                Ok(records) => return Ok(Some(records)),
                Err(error) if parent.is_some() && error.kind() == Kind::Refused => {
                    self.meter.note(&format!("{}: {error}; left in doubt", self.reading.name()));
                    return Ok(None);
                }
                // The body ended in the middle; whatever comes before a body the HTTP client has tried again itself.
                Err(error) if tries < TRIES && matches!(error.kind(), Kind::Truncated | Kind::NotJson) => {
                    tries += 1;
                    self.meter.note(&format!("{}: {error}; asking again", self.reading.name()));
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    pause *= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Lands what was given and notes what was not: one transaction.
    async fn store_asked(&mut self, state: &mut WalkState, doubts: &[Doubt], given: Option<Vec<Bytes>>) -> Result<()> {
        let wanted: HashSet<&str> = doubts.iter().map(|doubt| doubt.key.as_str()).collect();
        let parent: Option<Arc<str>> = match &self.reading.stream.parent {
            Some(_) => doubts.first().map(|doubt| Arc::from(doubt.parent.as_str())),
            None => None,
        };
        let proves = given.is_some();
        let mut batch = Batch::default();
        for raw in given.unwrap_or_default() {
            match receive(self.reading.source.as_ref(), self.reading.stream, parent.as_ref(), raw) {
                Received::Record(record) if wanted.contains(record.key.as_str()) => batch.push(record),
                Received::Record(record) => {
                    let detail =
                        format!("asked for some records by key, the shop gives others, such as {}", record.key);
                    return Err(Error::new(Kind::Protocol, detail)
                        .hint("a plug-in or proxy drops what a call asks for; none is marked deleted")
                        .context(self.asking(state)));
                }
                // What has no key is not what was asked for.
                Received::Reject(_) | Received::NoRecord => {}
            }
        }
        let came: HashSet<String> = batch.records.iter().map(|record| record.key.clone()).collect();
        let mut counts = self.counts;
        let mut after = state.clone();
        let mut not_landed = Vec::new();
        for doubt in doubts {
            match (doubt.listed, came.contains(&doubt.key)) {
                (true, true) => counts.fetched += 1,
                (true, false) => not_landed.push(doubt.key.clone()),
                (false, true) => counts.kept += 1,
                (false, false) => after.deleted += u64::from(proves),
            }
        }
        counts.not_landed += not_landed.len() as u64;
        counts.read += batch.len() as u64;
        let (settled, missed): (Vec<&str>, Vec<&str>) = wanted.iter().partition(|key| !proves || came.contains(**key));
        let mut cursor = self.cursor.clone();
        let tx = self.client.transaction().await?;
        self.reading.lease.assert(&tx).await?;
        counts.landed += self.reading.landing.land(&tx, batch).await?;
        self.reading.doubts.forget(&tx, &settled).await?;
        self.reading.doubts.note_asked(&tx, &missed).await?;
        cursor.walk = Some(serde_json::to_value(&after).map_err(not_json)?);
        cursor.save(&tx, &self.reading.connection.connection, self.reading.stream.name).await?;
        tx.commit().await?;
        failpoint::reach(Point::ExtractAfterAsked)?;
        self.cursor = cursor;
        self.counts = counts;
        let room = NAMED.saturating_sub(self.not_landed.len());
        self.not_landed.extend(not_landed.into_iter().take(room));
        *state = after;
        Ok(())
    }
}
