//! Giving the change feed out: to whoever asks once, or line by line as changes become complete.
//!
//! What is given out is given at least once: a position moves on when the lines before it have left. Memory holds a page.

mod prune;

pub use prune::{PruneOptions, PruneReport, prune};

use crate::stage::transform::CHANNEL;
use crate::store::Database;
use crate::store::feed::{self, Beginning, Change, Consumer, Position};
use crate::{Error, Kind, Result};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Changes in a page.
const PAGE: u64 = 1_000;

/// How often is looked without having been told: notifications may be lost, and a run that ends otherwise than by
/// transforming tells nobody.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);

/// What is to be given out.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Go on as changes become complete, until stopped.
    pub follow: bool,
    /// Read as this consumer, whose place is kept.
    pub consumer: Option<String>,
    /// Where to begin; left out: where the consumer stands, else with everything.
    pub beginning: Option<Beginning>,
    /// These entities alone; empty for all.
    pub entities: Vec<String>,
    /// At most so many changes.
    pub limit: Option<u64>,
}

/// Whether a reader takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The lines have left.
    All,
    /// The reader has gone; nothing of this page counts as read.
    Gone,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// How many changes were given out.
    pub changes: u64,
    /// How far the feed has been read.
    pub position: Position,
    /// Changes up to this run had been pruned before some were read; `None` where none can be missing.
    pub pruned: Option<i64>,
}

/// Gives changes out, page by page, to `take`.
///
/// # Errors
/// Those of the database and of `take`; [`Kind::LeaseHeld`] if another process reads as the consumer;
/// [`Kind::Interrupted`] when stopped, except where it follows: there, being stopped is the usual end.
pub async fn give(
    db: &Database,
    options: &Options,
    stop: &CancellationToken,
    mut take: impl FnMut(&[Change]) -> Result<Taken>,
) -> Result<Given> {
    let listener = db.listen(CHANNEL).await?;
    let session = &listener.client;
    let entities = Some(options.entities.as_slice()).filter(|entities| !entities.is_empty());
    let mut consumer = match &options.consumer {
        Some(name) => Some(Consumer::take(session, name, options.beginning, entities).await?),
        None => None,
    };
    let mut position = match &consumer {
        Some(consumer) => consumer.position,
        None => options.beginning.unwrap_or(Beginning::Everything).position(session).await?,
    };
    let pruned = Some(feed::pruned_run(session).await?).filter(|pruned| position.run_id < *pruned);
    let mut given = Given { changes: 0, position, pruned };
    loop {
        let through = feed::complete_run(session).await?;
        loop {
            let room = options.limit.map_or(PAGE, |limit| PAGE.min(limit - given.changes));
            let page = feed::page(session, position, through, entities, room).await?;
            if !page.is_empty() && take(&page)? == Taken::Gone {
                return Ok(given);
            }
            // A page that is not full is the last up to that run.
            let is_last = (page.len() as u64) < room;
            let here = page.last().map_or(position, |change| change.position);
            position = if is_last { here.max_run(through) } else { here };
            if let Some(consumer) = &mut consumer {
                consumer.move_to(session, position).await?;
            }
            given = Given { changes: given.changes + page.len() as u64, position, pruned };
            let is_enough = options.limit.is_some_and(|limit| given.changes >= limit);
            if is_enough || (stop.is_cancelled() && options.follow) {
                return Ok(given);
            }
            if is_last {
                break;
            }
            if stop.is_cancelled() {
                return Err(Error::new(Kind::Interrupted, "stopped before the feed had been read to its end")
                    .hint("run the command again; with --consumer it goes on where it stopped"));
            }
        }
        if !options.follow {
            return Ok(given);
        }
        tokio::select! {
            () = listener.notified(LOOK_ANYWAY) => {}
            () = stop.cancelled() => return Ok(given),
        }
    }
}

impl Position {
    /// Behind the whole of `run_id`, unless this is further.
    fn max_run(self, run_id: i64) -> Self {
        if self.run_id > run_id { self } else { Self::after(run_id) }
    }
}
