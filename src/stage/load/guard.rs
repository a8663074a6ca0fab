//! The guard before the first call: a load must not change, empty or unsubscribe most of what the account holds, because
//! a shop that was read half and a slip in the pipeline file look just like that.
//!
//! What counts is decided by rendering, not by looking at the feed: a contact may be pending and come out the same. That
//! costs a pass, so it is only made where what is pending could exceed a limit at all. A first load meets an account that
//! holds nothing of this pipeline, so it is never held up; a changed mapping is, unless it stays below the limits.

use super::bench::{Bench, Object, Purpose, Rendered, Verdict};
use super::settings::Settings;
use crate::config::pipeline::LoadGuard;
use crate::store::Database;
use crate::{Error, Kind, Result, sql};
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many contacts a message names.
const EXAMPLES: usize = 3;

/// What a load would do to the contacts that the account holds already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Toll {
    /// Contacts of this pipeline that the account holds; not counted where fewer are pending than the guard asks about.
    pub held: Option<u64>,
    /// Of these, how many would change in any way.
    pub changed: u64,
    /// Of these, how many would lose tags or consent, or be given up because no shop has them any more.
    pub removed: u64,
    /// A few of those removed, else of those changed.
    pub examples: Vec<Uuid>,
}

impl Toll {
    /// Counts a rendered contact.
    pub fn add(&mut self, record: &Rendered) {
        let Some(before) = record.before.as_ref().filter(|_| record.verdict == Verdict::Send) else { return };
        let removes = removes(&record.payload.value(), &before.value());
        self.changed += 1;
        if removes {
            if self.removed == 0 {
                self.examples.clear();
            }
            self.removed += 1;
        }
        if self.examples.len() < EXAMPLES && (removes || self.removed == 0) {
            self.examples.push(record.key);
        }
    }

    /// Which limit is exceeded, in words, if one is.
    pub fn excess(&self, limits: &LoadGuard) -> Option<String> {
        let held = self.held.unwrap_or(0).max(self.changed);
        // Counts of rows are far below 2^53.
        let exceeds = |n: u64, share: f64| n >= limits.at_least.max(1) && n as f64 > held as f64 * share;
        if exceeds(self.removed, limits.max_removed_share) {
            return Some(format!(
                "{} of {held} contacts that the account holds would lose tags or consent, or be given up, more than the \
                 allowed share of {} (load.guard.max_removed_share)",
                self.removed, limits.max_removed_share
            ));
        }
        exceeds(self.changed, limits.max_changed_share).then(|| {
            format!(
                "{} of {held} contacts that the account holds would change, more than the allowed share of {} \
                 (load.guard.max_changed_share)",
                self.changed, limits.max_changed_share
            )
        })
    }

    /// The error that stops a load, if a limit is exceeded.
    ///
    /// # Errors
    /// [`Kind::Guard`].
    pub fn check(&self, limits: &LoadGuard) -> Result<()> {
        let Some(excess) = self.excess(limits) else { return Ok(()) };
        let examples: Vec<String> = self.examples.iter().map(Uuid::to_string).collect();
        Err(Error::new(Kind::Guard, format!("{excess}; nothing was sent")).hint(format!(
            "look at `wharf plan PIPELINE --verbose`, for example at contacts {}; if all that is meant, run again with \
             --allow-mass-change",
            examples.join(", ")
        )))
    }
}

/// Whether the account's card loses something that people miss.
fn removes(payload: &Value, before: &Value) -> bool {
    let withdraws = |channel: &str| {
        let state = |payload: &Value| payload["consent"][channel]["state"] == "opt_in";
        state(before) && !state(payload)
    };
    let kept: Vec<&Value> = payload["tags"].as_array().into_iter().flatten().collect();
    let loses_tags = before["tags"].as_array().into_iter().flatten().any(|tag| !kept.contains(&tag));
    payload["gone"] == true || loses_tags || withdraws("email") || withdraws("sms")
}

/// How many contacts of this pipeline the account holds.
///
/// # Errors
/// Those of the database.
pub async fn held(client: &tokio_postgres::Client, settings: &Settings) -> Result<u64> {
    let row = client.query_one(sql::file("deliver/guard_held.sql")?, &[&settings.target, &settings.pipeline]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Stops a load that would do too much to what the account holds; to be asked before its first call.
///
/// # Errors
/// [`Kind::Guard`]; [`Kind::Interrupted`]; [`Kind::PipelineFile`] for a field expression that fails; those of the database.
pub async fn check(db: &Database, settings: &Settings, limits: &LoadGuard, stop: &CancellationToken) -> Result<()> {
    let mut bench = Bench::open(db, settings, Purpose::Plan).await?;
    let pending = bench
        .client()
        .execute(sql::file("deliver/guard_pending.sql")?, &[&settings.target, &settings.pipeline])
        .await?;
    if pending < limits.at_least.max(1) {
        return Ok(());
    }
    let held = held(bench.client(), settings).await?;
    let smallest_share = limits.max_removed_share.min(limits.max_changed_share);
    if pending as f64 <= held as f64 * smallest_share {
        return Ok(());
    }
    let mut toll = Toll { held: Some(held), ..Toll::default() };
    bench.queue(Object::Contact).await?;
    while let Some(rendered) = bench.next_contacts().await? {
        if stop.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "stopped on request"));
        }
        bench.note_planned(&rendered).await?;
        rendered.iter().for_each(|record| toll.add(record));
    }
    toll.check(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toll(held: u64, changed: u64, removed: u64) -> Toll {
        Toll { held: Some(held), changed, removed, examples: Vec::new() }
    }

    #[test]
    fn a_limit_is_exceeded_by_more_than_its_share_and_never_by_few() {
        let limits = LoadGuard { max_removed_share: 0.1, max_changed_share: 0.5, at_least: 10 };
        assert_eq!(toll(1000, 500, 100).excess(&limits), None);
        assert!(toll(1000, 500, 101).excess(&limits).is_some_and(|words| words.contains("max_removed_share")));
        assert!(toll(1000, 501, 0).excess(&limits).is_some_and(|words| words.contains("max_changed_share")));
        assert_eq!(toll(9, 9, 9).excess(&limits), None);
        assert_eq!(toll(0, 0, 0).excess(&LoadGuard { at_least: 0, ..limits }), None);
    }
}
