//! Transform: staging → canonical, by the SQL files in `sql/map/<platform>` and `sql/canonical`.
//!
//! One transaction per connection maps the staging rows that changed since the last transform, works out what depends on
//! them, writes what differs together with the change feed, and moves the watermark. Killed at any instant it has done
//! nothing; run again it does it all. Only one transform works on a database at a time: contacts of all shops are one
//! table, and one writer keeps the feed in order.
//!
//! Nothing of what a value means may enter here. The only values Rust touches are those that SQL cannot read and a
//! library can, once per distinct text: see [`readings`].

mod feed;
mod readings;

use crate::failpoint::{self, Bug, Point};
use crate::stage::Context;
use crate::stage::rejects::Rejects;
use crate::store::Lease;
use crate::{Error, Kind, Result, sql};
pub use feed::CHANNEL;
use feed::FeedNumber;
use serde::Serialize;
use tokio_postgres::Transaction;

/// The SQL of a transform, in order. `map/` files are the platform's own and may be missing for entities it does not have.
const STEPS: &[Step] = &[
    Step::Map("statuses"),
    Step::Map("categories"),
    Step::Canonical("10_categories"),
    Step::Map("products"),
    Step::Map("product_categories"),
    Step::Canonical("20_products"),
    Step::Map("consents"),
    Step::Map("accounts"),
    Step::Map("subscribers"),
    Step::Canonical("30_accounts"),
    Step::Canonical("sources"),
    Step::ReadFeed,
    Step::Canonical("40_orders_open"),
    // Again, for the orders that the step before has added.
    Step::Map("consents"),
    Step::Map("orders"),
    Step::Map("order_items"),
    Step::Map("buyers"),
    Step::Canonical("50_buyers"),
    Step::Canonical("sources"),
    Step::Canonical("60_orders"),
    Step::Map("problems"),
    Step::ReadFeed,
    Step::Canonical("70_contacts"),
    Step::ReadFeed,
    Step::Canonical("80_tags"),
    Step::Canonical("90_close"),
    Step::Canonical("note_walks"),
];

#[derive(Debug, Clone, Copy)]
enum Step {
    Map(&'static str),
    Canonical(&'static str),
    /// Brings `pg_temp.run_changes` up to date, for the step after it.
    ReadFeed,
}

/// What a transform did to one entity.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct EntityCounts {
    /// The canonical table.
    pub entity: String,
    /// Rows inserted.
    pub inserted: i64,
    /// Rows updated, moved ones included.
    pub updated: i64,
    /// Rows deleted.
    pub deleted: i64,
}

/// What a transform did.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct TransformReport {
    /// The connection.
    pub connection: String,
    /// Staging rows that were mapped.
    pub mapped: i64,
    /// What changed, by entity; entities without a change are left out.
    pub entities: Vec<EntityCounts>,
    /// Values of this connection that could not be taken as the shop gave them.
    pub rejects: Rejects,
}

/// Maps what changed in each of `connections`. With `full`, everything is mapped again; what is equal is still not written.
///
/// # Errors
/// [`Kind::LeaseHeld`] if another transform works on this database; [`Kind::Database`] with the file that failed;
/// [`Kind::Interrupted`] when stopped, with nothing done of the connection in hand.
pub async fn run(ctx: &Context, connections: &[String], full: bool) -> Result<Vec<TransformReport>> {
    let lease = Lease::take(&ctx.db, &ctx.run, "transform").await?;
    failpoint::reach(Point::TransformAfterLease)?;
    let number = FeedNumber::take(ctx, &lease).await?;
    let result = transform_all(ctx, &lease, &number, connections, full).await;
    let closed = number.close(ctx, &lease, result.as_ref().err()).await;
    let reports = result?;
    closed?;
    lease.release().await?;
    Ok(reports)
}

/// Maps what changed in `connection` in one transaction with what `first` does to its staging rows.
///
/// # Errors
/// As [`run`], and those of `first`.
pub(in crate::stage) async fn run_after(
    ctx: &Context,
    connection: &str,
    first: impl AsyncFnOnce(&Transaction<'_>) -> Result<()>,
) -> Result<TransformReport> {
    let lease = Lease::take(&ctx.db, &ctx.run, "transform").await?;
    let number = FeedNumber::take(ctx, &lease).await?;
    let result = transform_after(ctx, &lease, number.run_id(), connection, false, first).await;
    let closed = number.close(ctx, &lease, result.as_ref().err()).await;
    let report = result.map_err(|error| error.context(format_args!("transform of {connection}")))?;
    closed?;
    lease.release().await?;
    Ok(report)
}

async fn transform_all(
    ctx: &Context,
    lease: &Lease,
    number: &FeedNumber,
    connections: &[String],
    full: bool,
) -> Result<Vec<TransformReport>> {
    let mut reports = Vec::new();
    for connection in connections {
        let step = ctx.run.step("transform", connection).await?;
        let report = transform(ctx, lease, number.run_id(), connection, full)
            .await
            .map_err(|error| error.context(format_args!("transform of {connection}")))?;
        step.finish(serde_json::to_value(&report).unwrap_or_default()).await?;
        reports.push(report);
    }
    Ok(reports)
}

async fn transform(ctx: &Context, lease: &Lease, run_id: i64, connection: &str, full: bool) -> Result<TransformReport> {
    transform_after(ctx, lease, run_id, connection, full, async |_| Ok(())).await
}

/// As [`transform`], in one transaction with what `first` does.
async fn transform_after(
    ctx: &Context,
    lease: &Lease,
    run_id: i64,
    connection: &str,
    full: bool,
    first: impl AsyncFnOnce(&Transaction<'_>) -> Result<()>,
) -> Result<TransformReport> {
    let mut client = ctx.db.dedicated().await?;
    let transaction = client.transaction().await?;
    lease.assert(&transaction).await?;
    first(&transaction).await?;
    // Compiling these statements takes longer than it saves.
    transaction.batch_execute("set local jit = off").await?;

    let Some(platform) = open(&transaction, ctx.run.id, run_id, connection, full).await? else {
        run_file(&transaction, "canonical/note_walks.sql").await?;
        let rejects = Rejects::of_canonical(&transaction, run_id, connection).await?;
        transaction.commit().await?;
        return Ok(TransformReport { connection: connection.to_owned(), mapped: 0, entities: Vec::new(), rejects });
    };
    feed::note_writing(&transaction, run_id).await?;
    let meter = ctx.progress.meter(format!("transform {connection}"), Some(STEPS.len() as u64 + 1));

    run_file(&transaction, "canonical/00_open.sql").await?;
    if failpoint::is_planted(Bug::DropBeforeMap) {
        let drop_one = "delete from changed_orders where source_key = (select min(source_key) from changed_orders)";
        transaction.batch_execute(drop_one).await?;
    }
    let mapped: i64 = transaction.query_one(sql::file("canonical/mapped_rows.sql")?, &[]).await?.get(0);
    readings::phones(&transaction, &platform, &ctx.stop).await?;
    readings::texts(&transaction, &platform, &ctx.stop).await?;
    meter.advance(1);

    for step in STEPS {
        if ctx.stop.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "stopped before it was complete; nothing of it was written")
                .hint("run the command again; it starts from the same staging rows"));
        }
        match step {
            Step::Map(name) => {
                let path = format!("map/{platform}/{name}.sql");
                if sql::exists(&path) {
                    run_file(&transaction, &path).await?;
                    failpoint::reach(Point::TransformAfterStep)?;
                }
            }
            Step::Canonical(name) => {
                run_file(&transaction, &format!("canonical/{name}.sql")).await?;
                failpoint::reach(Point::TransformAfterStep)?;
            }
            Step::ReadFeed => {
                transaction.execute(sql::file("canonical/run_changes.sql")?, &[&run_id]).await?;
                transaction.batch_execute("analyze run_changes").await?;
            }
        }
        meter.advance(1);
    }

    let entities = transaction
        .query(sql::file("canonical/counts.sql")?, &[&run_id])
        .await?
        .iter()
        .map(|row| EntityCounts { entity: row.get(0), inserted: row.get(1), updated: row.get(2), deleted: row.get(3) })
        .collect();
    let report = TransformReport {
        connection: connection.to_owned(),
        mapped,
        entities,
        rejects: Rejects::of_canonical(&transaction, run_id, connection).await?,
    };
    failpoint::reach(Point::TransformBeforeCommit)?;
    transaction.commit().await?;
    failpoint::reach(Point::TransformAfterCommit)?;
    meter.finish(format_args!("{mapped} records mapped"));
    Ok(report)
}

/// Prepares `pg_temp.mapping` and gives the platform, or nothing where there is nothing to map. Changes are written as
/// those of `run_id`; `own_run` is the run at work.
async fn open(
    transaction: &Transaction<'_>,
    own_run: i64,
    run_id: i64,
    connection: &str,
    full: bool,
) -> Result<Option<String>> {
    transaction.batch_execute(sql::file("canonical/mapping.sql")?).await?;
    // Before any staging row is read: what lands between the two is read now and again next time.
    let staged_run: i64 =
        transaction.query_one("select ops.staged_run($1, $2)", &[&connection, &own_run]).await?.get(0);
    let row = transaction
        .query_opt(
            "insert into mapping
             select connection, platform, $2, case when $3 or mapped_settings is distinct from settings then 0 else mapped_run end,
                 $4, settings, settings ->> 'default_country',
                 (select nullif(min(coalesce(mapped_full_at, '-infinity')), '-infinity') from ops.cursors
                  where cursors.connection = $1 and stream in ('customers', 'subscribers')),
                 (select coalesce(jsonb_object_agg(stream, full_at), '{}') from ops.cursors
                  where cursors.connection = $1 and full_at is not null),
                 mapped_settings -> 'tags' is distinct from settings -> 'tags',
                 (select value from ops.settings where name = 'identity_salt')
             from ops.connections where connection = $1
             returning platform, since_run = 0",
            &[&connection, &run_id, &full, &staged_run],
        )
        .await?;
    let Some(row) = row else {
        return Err(Error::new(Kind::Command, "nothing has been extracted from it yet")
            .hint("run `wharf extract` on the pipeline first"));
    };
    transaction.batch_execute("analyze mapping").await?;
    let everything: bool = row.get(1);
    let work: bool = everything || transaction.query_one(sql::file("canonical/any_change.sql")?, &[]).await?.get(0);
    Ok(work.then(|| row.get(0)))
}

async fn run_file(transaction: &Transaction<'_>, path: &str) -> Result<()> {
    let started = std::time::Instant::now();
    transaction
        .batch_execute(sql::file(path)?)
        .await
        .map_err(|error| Error::from(error).context(format_args!("sql/{path}")))?;
    tracing::debug!(path, elapsed = ?started.elapsed(), "ran");
    Ok(())
}
