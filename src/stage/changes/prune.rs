//! Forgetting old changes: what every consumer has read, what is older than it shall be kept, and what the archive holds.
//!
//! The archive comes first, the deletion after it: killed in between, the next prune finds the changes archived and goes
//! on with deleting. Whole runs go, because runs are what readers and the archive go by. `ops.feed.pruned_run` is moved
//! before the first change is deleted, so that nobody takes a feed with holes for a whole one.
//!
//! The wrong answers avoided: pruning by age alone (a consumer that was away for a while misses changes and cannot know),
//! and believing the note of an archive run in the database when its files may be gone.

use crate::config::pipeline::{Archive, ArchiveEvery};
use crate::stage::Context;
use crate::stage::archive::{self, When};
use crate::store::Lease;
use crate::store::feed::{self, Blocking, Prunable};
use crate::{Error, Kind, Result};
use jiff::SignedDuration;
use serde::Serialize;

/// The lease of whoever prunes.
const LEASE: &str = "changes:prune";

/// Changes deleted in one transaction.
const BATCH: u64 = 20_000;

/// What is to be pruned.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Changes younger than this stay.
    pub keep: SignedDuration,
    /// The place of the archive that must hold what is deleted, a folder or URL; `None` deletes without an archive.
    pub archive: Option<String>,
    /// Say what would be done; delete and archive nothing.
    pub dry_run: bool,
    /// Changes deleted in one transaction; `None` for the usual number.
    pub batch: Option<u64>,
}

/// What was pruned, or would be.
#[derive(Debug, Clone, Serialize)]
pub struct PruneReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Changes of runs up to this one are old enough.
    pub old_run: i64,
    /// Changes of runs up to this one went, or would; `None` if there are none.
    pub through_run: Option<i64>,
    /// How many.
    pub changes: u64,
    /// The place that holds them now; `None` without an archive.
    pub archive: Option<String>,
    /// Whether the archive was behind, and was written first (or would be).
    pub archived_first: bool,
    /// Consumers that keep changes from being pruned, the one furthest behind first.
    pub blocked_by: Vec<Blocking>,
    /// Other places whose archive lacks some of the changes: place, and the last run of the feed there.
    pub behind: Vec<(String, i64)>,
}

/// Prunes the feed.
///
/// # Errors
/// [`Kind::Guard`] if the archive does not hold what would be deleted and cannot be given it; those of the archive, of the
/// database and of the lease; [`Kind::Interrupted`] between two batches.
pub async fn prune(ctx: &Context, options: &PruneOptions) -> Result<PruneReport> {
    let lease = Lease::take(&ctx.db, &ctx.run, LEASE).await?;
    let outcome = prune_under(ctx, &lease, options).await;
    let released = lease.release().await;
    let report = outcome?;
    released?;
    Ok(report)
}

async fn prune_under(ctx: &Context, lease: &Lease, options: &PruneOptions) -> Result<PruneReport> {
    let mut session = ctx.db.dedicated().await?;
    let complete: i64 = session.query_one("select canonical.complete_run($1)", &[&ctx.run.id]).await?.get(0);
    let old_run = feed::old_run(&session, options.keep, complete).await?;
    let blocked_by = feed::blocking(&session, old_run).await?;
    let bound = blocked_by.first().map_or(old_run, |consumer| consumer.passed_run.min(old_run));
    let mut report = PruneReport {
        dry_run: options.dry_run,
        old_run,
        through_run: None,
        changes: 0,
        archive: options.archive.clone(),
        archived_first: false,
        blocked_by,
        behind: Vec::new(),
    };
    let Some(Prunable { first_run, last_run, changes }) = feed::prunable(&session, bound).await? else {
        return Ok(report);
    };
    report.through_run = Some(last_run);
    report.changes = changes;
    if let Some(to) = &options.archive {
        report.archived_first = archive::feed_held(ctx, to, first_run - 1).await? < last_run;
        if report.archived_first && !options.dry_run {
            bring_archive_up(ctx, to, first_run, last_run).await?;
        }
    }
    // This one holds them, or would by then.
    let own = match &options.archive {
        Some(to) => Some(archive::identity(to).await?),
        None => None,
    };
    report.behind = feed::archives_behind(&session, last_run).await?;
    report.behind.retain(|(place, _)| Some(place) != own.as_ref());
    if !options.dry_run {
        report.changes = delete(ctx, lease, &mut session, last_run, options.batch.unwrap_or(BATCH)).await?;
    }
    Ok(report)
}

/// Writes the archive, and refuses if it lacks some of the runs even then.
async fn bring_archive_up(ctx: &Context, to: &str, first_run: i64, last_run: i64) -> Result<()> {
    let settings = Archive { to: to.to_owned(), every: ArchiveEvery::Run, keep: None };
    archive::run(ctx, &settings, When::Now).await?;
    let held = archive::feed_held(ctx, to, first_run - 1).await?;
    if held < last_run {
        return Err(Error::new(
            Kind::Guard,
            format!(
                "nothing was pruned: the archive {to} lacks changes of runs {} to {last_run}, which the database has",
                held + 1
            ),
        )
        .hint(
            "snapshots of canonical.changes were removed or damaged there (`wharf archive verify` tells): put them back, \
             give --to another place, which then gets all that is left, or --without-archive",
        ));
    }
    Ok(())
}

/// Deletes changes of runs up to `last_run` in batches; how many there were.
async fn delete(
    ctx: &Context,
    lease: &Lease,
    session: &mut tokio_postgres::Client,
    last_run: i64,
    batch: u64,
) -> Result<u64> {
    let noting = session.transaction().await?;
    lease.assert(&noting).await?;
    feed::note_pruned(&noting, last_run).await?;
    noting.commit().await?;
    let meter = ctx.progress.meter("prune canonical.changes", None);
    let mut deleted = 0;
    loop {
        if ctx.stop.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, format!("stopped after {deleted} changes were pruned"))
                .hint("run the command again; it goes on where it stopped"));
        }
        let transaction = session.transaction().await?;
        lease.assert(&transaction).await?;
        let gone = feed::delete_oldest(&transaction, last_run, batch).await?;
        transaction.commit().await?;
        deleted += gone;
        meter.advance(gone);
        if gone < batch {
            meter.finish(format_args!("{deleted} changes"));
            return Ok(deleted);
        }
    }
}
