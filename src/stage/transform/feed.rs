//! The run number that a transform writes changes with, and the word that the feed is complete up to it.
//!
//! Readers of the feed go by run number. A long extract may begin before other runs and transform after them: writing
//! with its own, lower number would put a key's changes out of order, or below what a reader has passed. So a transform
//! that has been overtaken begins a run of its own to write with, and numbers in the feed never fall as transactions
//! commit. `canonical.complete_run()` relies on it: a run that has been overtaken holds no reader up.

use crate::Result;
use crate::error::Error;
use crate::stage::Context;
use crate::store::{Lease, Outcome, Run};
use tokio_postgres::Transaction;

/// Whom the feed's readers listen to.
pub const CHANNEL: &str = "wharf_changes";

/// The number that changes are written with, for as long as the lease `transform` is held.
#[derive(Debug)]
pub(super) struct FeedNumber {
    run_id: i64,
    /// Begun because the run at work had been overtaken.
    fresh: Option<Run>,
}

impl FeedNumber {
    /// The run's own number if it may be written with, else one that is higher than all there are.
    pub(super) async fn take(ctx: &Context, lease: &Lease) -> Result<Self> {
        let client = ctx.db.client().await?;
        let row = client
            .query_opt(
                "select ops.may_write_feed(runs) and run_id > closed_run and run_id >= written_run
                 from ops.runs, ops.feed where run_id = $1",
                &[&ctx.run.id],
            )
            .await?;
        if row.is_some_and(|row| row.get(0)) {
            return Ok(Self { run_id: ctx.run.id, fresh: None });
        }
        let run = ctx.run.begin_next("transform").await?;
        lease.stands_for(&ctx.db, &run).await?;
        tracing::debug!("run {} writes changes as run {}: later runs have written before it", ctx.run.id, run.id);
        Ok(Self { run_id: run.id, fresh: Some(run) })
    }

    /// The number.
    pub(super) fn run_id(&self) -> i64 {
        self.run_id
    }

    /// Says that nothing is written with this number any more, and wakes who waits for changes.
    pub(super) async fn close(&self, ctx: &Context, lease: &Lease, error: Option<&Error>) -> Result<()> {
        let mut client = ctx.db.client().await?;
        let transaction = client.transaction().await?;
        lease.assert(&transaction).await?;
        transaction.execute("update ops.feed set closed_run = $1 where closed_run < $1", &[&self.run_id]).await?;
        transaction.commit().await?;
        if let Some(run) = &self.fresh {
            run.finish(error.map_or(Outcome::Done, |_| Outcome::Failed), error).await?;
        }
        // After all that makes the changes readable.
        client.execute("select pg_notify($1, $2)", &[&CHANNEL, &self.run_id.to_string()]).await?;
        Ok(())
    }
}

/// Notes, in the transaction that writes them, that changes with this number are about to be there.
pub(super) async fn note_writing(transaction: &Transaction<'_>, run_id: i64) -> Result<()> {
    transaction.execute("update ops.feed set written_run = $1 where written_run < $1", &[&run_id]).await?;
    Ok(())
}
