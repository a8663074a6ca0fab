//! Archive: Parquet snapshots of staging, canonical and marts, all of one instant, in a folder or an object store.
//!
//! One repeatable-read transaction streams every entity (binary COPY → Arrow batches → Parquet), so an order is never
//! without its contact. What did not change since its last snapshot is not written again: `_latest.json` at the root names
//! the snapshot that shows each entity's present state. Of a large table only what changed is written ([`layers`]). Only
//! when all entities are written are they published, one rename each; a run that is killed leaves nothing that a reader
//! could take for a snapshot.
//!
//! May enter: the database, the place that `archive.to` names. The types are listed in `column`, the layout in `place`.

mod builder;
mod column;
mod copy_rows;
mod counts;
mod diff;
mod encoder;
mod entities;
mod feed;
mod layers;
mod manifest;
mod numeric;
mod parquet_schema;
mod place;
mod prune;
mod reading;
mod remote;
mod report;
mod restore;
mod time;
mod verify;
mod views;
mod writer;

pub use counts::{Comparison, compare_counts};
pub use diff::{DiffOptions, DiffReport, EntityDiff, Op, RowDiff, diff};
pub use feed::{feed_held, identity};
pub use manifest::{Latest, Manifest, ManifestColumn, ManifestPart};
pub use prune::{Keep, PruneReport, Pruned, prune};
pub use report::{ArchiveReport, EntityReport, Outcome};
pub use restore::{Mode, RestoreReport, RestoredEntity, restore};
pub use verify::{EntityCheck, Finding, Scope, Snapshots, VerifyReport, verify};
pub use views::{Views, views};
pub use writer::Limits;

use crate::config::pipeline::{Archive, ArchiveEvery, ArchiveKeep};
use crate::error::{Error, Kind, Result};
use crate::failpoint::{self, Bug, Point};
use crate::progress::Meter;
use crate::sql;
use crate::stage::Context;
use crate::store::lease::Lease;
use crate::store::migrate;
use column::Column;
use encoder::Files;
use entities::{Before, CHANGES, Entity, RunRange};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use place::{Draft, Place};
use std::sync::{Mutex, PoisonError};
use tokio_postgres::{Client, IsolationLevel, Transaction};
use tokio_util::sync::CancellationToken;
use writer::Written;

/// Whether the pipeline's `archive.every` is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Write if `archive.every` says so: at the end of a run.
    IfDue,
    /// Write now: the command `wharf archive`.
    Now,
}

/// Writes snapshots of every entity that changed since its last one.
///
/// # Errors
/// [`Kind::Io`] if the place cannot be written (disk full, no permission), with nothing half-written left visible;
/// [`Kind::Interrupted`] when asked to stop, likewise; those of the database and of the lease.
pub async fn run(ctx: &Context, settings: &Archive, when: When) -> Result<ArchiveReport> {
    run_with(ctx, settings, when, &Limits::default()).await
}

/// [`run`] with other sizes of batches and files.
///
/// # Errors
/// As [`run`].
pub async fn run_with(ctx: &Context, settings: &Archive, when: When, limits: &Limits) -> Result<ArchiveReport> {
    let place = Place::open(&settings.to).await?;
    let every = match when {
        When::Now => ArchiveEvery::Run,
        When::IfDue => settings.every,
    };
    let lease = Lease::take(&ctx.db, &ctx.run, &format!("archive:{}", place.identity())).await?;
    failpoint::reach(Point::ArchiveAfterLease)?;
    let outcome = archive(ctx, &place, every, settings.keep, limits).await;
    let released = lease.release().await;
    let report = outcome?;
    released?;
    Ok(report)
}

/// One instant of one database.
struct Frame {
    taken_at: Timestamp,
    database: String,
    watermark: i64,
    last_run: i64,
    schema_version: Option<i64>,
}

async fn archive(
    ctx: &Context,
    place: &Place,
    every: ArchiveEvery,
    keep: Option<ArchiveKeep>,
    limits: &Limits,
) -> Result<ArchiveReport> {
    let (mut client, mut second) = (ctx.db.dedicated().await?, ctx.db.dedicated().await?);
    // Asked before the instant is fixed: rows of a run that is complete by then are all in it.
    let complete_run: i64 = client.query_one("select canonical.complete_run($1)", &[&ctx.run.id]).await?.try_get(0)?;
    let first = Reader::begin(&mut client, None).await?;
    let frame = Frame::of(&first.transaction, ctx.run.id, complete_run).await?;
    let latest = place.latest().await?;
    let snapshot = next_name(frame.taken_at, latest.as_ref());
    // Another database's snapshots say nothing of ours.
    let latest = latest.filter(|latest| latest.database == frame.database);
    if every == ArchiveEvery::Day
        && let Some(latest) = &latest
        && day(latest.taken_at) == day(frame.taken_at)
    {
        return Ok(ArchiveReport {
            place: place.shown().to_owned(),
            snapshot: None,
            not_due: Some(format!("today's snapshot is {}", latest.snapshot)),
            entities: Vec::new(),
            pruned: None,
        });
    }

    let draft = place.begin(&frame.database, &snapshot).await?;
    let work = Work { ctx, place, limits, frame: &frame, draft: &draft, latest: latest.as_ref() };
    let instant: String = first.transaction.query_one("select pg_export_snapshot()", &[]).await?.try_get(0)?;
    let readers = [first, Reader::begin(&mut second, Some(&instant)).await?];
    let written = work.write_all(&readers).await;
    if written.is_err() {
        cancel(ctx, &readers).await;
    }
    let published = match written {
        Ok(entities) => work.publish(entities).await,
        Err(error) => Err(error),
    };
    let discarded = draft.discard().await;
    let mut report = published?;
    discarded?;
    // Only what a later snapshot has taken the place of may go.
    if let Some(keep) = keep.filter(|_| report.written() > 0) {
        let pruned = prune::prune_in(place, keep.into(), Some(&frame.database), false, &ctx.stop).await;
        let told =
            |error: Error| error.context("the snapshots are written; what archive.keep does not want is not removed");
        report.pruned = Some(pruned.map_err(told)?);
    }
    Ok(report)
}

/// A session that reads one instant.
struct Reader<'a> {
    transaction: Transaction<'a>,
    /// Process of the server that serves it.
    backend: i32,
}

impl<'a> Reader<'a> {
    /// Begins to read a new instant, or the one that another session has exported.
    async fn begin(client: &'a mut Client, instant: Option<&str>) -> Result<Self> {
        let transaction =
            client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
        if let Some(instant) = instant {
            transaction.batch_execute(&format!("set transaction snapshot '{instant}'")).await?;
        }
        transaction
            .batch_execute("set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0")
            .await?;
        let backend = transaction.query_one("select pg_backend_pid()", &[]).await?.try_get(0)?;
        Ok(Self { transaction, backend })
    }
}

impl Frame {
    async fn of(transaction: &Transaction<'_>, run_id: i64, complete_run: i64) -> Result<Self> {
        let row = transaction.query_one(sql::file("archive/database.sql")?, &[&run_id, &complete_run]).await?;
        let statement = format!("select max(version)::bigint from {}", migrate::TABLE);
        let schema_version = transaction.query_one(&statement, &[]).await?.try_get(0)?;
        Ok(Self {
            taken_at: row.try_get("taken_at")?,
            database: row.try_get("database")?,
            watermark: row.try_get("watermark")?,
            last_run: row.try_get("last_run")?,
            schema_version,
        })
    }
}

/// One archive run at work.
struct Work<'a> {
    ctx: &'a Context,
    place: &'a Place,
    limits: &'a Limits,
    frame: &'a Frame,
    draft: &'a Draft,
    latest: Option<&'a Latest>,
}

impl Work<'_> {
    /// Writes what changed into the draft, several entities at a time: while one is compressed, the server reads another.
    async fn write_all(&self, readers: &[Reader<'_>]) -> Result<Vec<EntityReport>> {
        let Some(first) = readers.first() else { return Ok(Vec::new()) };
        let mut entities = entities::all(&first.transaction).await?;
        // The longest work first, so that all readers end at about the same time; what a view costs nobody knows.
        entities.sort_by_key(|entity| entity.stored_bytes.unwrap_or(i64::MAX));
        let waiting = Mutex::new(entities);
        // Who fails stops the others; what they store ends in order.
        let stop = self.ctx.stop.child_token();
        let at_work = readers.iter().map(|reader| async {
            let outcome = self.work_off(&reader.transaction, &waiting, &stop).await;
            if outcome.is_err() {
                stop.cancel();
            }
            outcome
        });
        let (mut reports, mut failures) = (Vec::new(), Vec::new());
        for outcome in futures::future::join_all(at_work).await {
            match outcome {
                Ok(written) => reports.extend(written),
                Err(error) => failures.push(error),
            }
        }
        // The one that made the others stop says why.
        failures.sort_by_key(|error| error.kind() == Kind::Interrupted);
        if let Some(error) = failures.into_iter().next() {
            return Err(if self.ctx.stop.is_cancelled() { interrupted() } else { error });
        }
        reports.sort_by(|a: &EntityReport, b| a.entity.cmp(&b.entity));
        Ok(reports)
    }

    async fn work_off(
        &self,
        reader: &Transaction<'_>,
        waiting: &Mutex<Vec<Entity>>,
        stop: &CancellationToken,
    ) -> Result<Vec<EntityReport>> {
        let mut reports = Vec::new();
        loop {
            if stop.is_cancelled() {
                return Err(interrupted());
            }
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(entity) = next else { return Ok(reports) };
            let before = heed(stop, self.before(&entity)).await?;
            let outcome = match heed(stop, self.unchanged_since(reader, &entity, before.as_ref())).await? {
                Some(since) => Outcome::Unchanged { since },
                None => self.write(reader, &entity, before.as_ref(), stop).await?,
            };
            reports.push(EntityReport { entity: entity.name, outcome });
        }
    }

    /// The current snapshot of an entity, if it is one of this database's with the columns that the entity has now.
    async fn before(&self, entity: &Entity) -> Result<Option<Manifest>> {
        let Some(snapshot) = self.latest.and_then(|latest| latest.entities.get(&entity.name)) else { return Ok(None) };
        let manifest = self.place.manifest(&entity.name, snapshot).await?;
        Ok(manifest
            .filter(|manifest| manifest.database == self.frame.database && manifest.columns == columns_of(entity)))
    }

    /// The name of the snapshot that shows the entity as it is now, if there is one.
    async fn unchanged_since(
        &self,
        transaction: &Transaction<'_>,
        entity: &Entity,
        before: Option<&Manifest>,
    ) -> Result<Option<String>> {
        let Some(manifest) = before else { return Ok(None) };
        let snapshot = &manifest.snapshot;
        if entity.name == CHANGES {
            let range = RunRange { after: manifest.watermark, through: self.frame.watermark };
            return Ok((!entities::feed_has(transaction, range).await?).then(|| snapshot.clone()));
        }
        let before = Before {
            watermark: manifest.watermark,
            looked_at: self.latest.map_or(0, |latest| latest.watermark),
            rows: manifest.rows,
            same_day: day(manifest.taken_at) == day(self.frame.taken_at),
            fingerprint: manifest.fingerprint.clone(),
        };
        let changed = entity.changed_since(transaction, &before).await?;
        Ok((!changed).then(|| snapshot.clone()))
    }

    /// Writes what changed since `before`, or all rows, into the draft.
    async fn write(
        &self,
        transaction: &Transaction<'_>,
        entity: &Entity,
        before: Option<&Manifest>,
        stop: &CancellationToken,
    ) -> Result<Outcome> {
        let step = self.ctx.run.step("archive", &entity.name).await?;
        let range = match entity.name == CHANGES {
            true => Some(RunRange { after: self.feed_archived().await?, through: self.frame.watermark }),
            false => None,
        };
        let (schema_version, limits) = (self.frame.schema_version, self.limits);
        let delta = match before {
            Some(before) => {
                heed(stop, layers::delta(transaction, self.place, entity, before, schema_version, limits)).await?
            }
            None => None,
        };
        let meter = self
            .ctx
            .progress
            .meter(format!("archive {}", entity.name), if delta.is_some() { None } else { entity.estimated_rows });
        let stream = Stream { draft: self.draft, limits, entity, transaction, meter: &meter, stop };
        let (written, replaced) = match &delta {
            Some(delta) => {
                let scope: Vec<Column> =
                    entity.columns.iter().filter(|column| delta.scope.contains(&column.name)).cloned().collect();
                let replaced = stream.store(Files::Replaced, &scope, &delta.replaced).await?;
                (stream.store(Files::Rows, &entity.columns, &delta.rows).await?, Some(replaced))
            }
            None => (stream.store(Files::Rows, &entity.columns, &entity.copy_statement(range)).await?, None),
        };
        let bytes = written.bytes + replaced.as_ref().map_or(0, |replaced| replaced.bytes);
        let rows = written.rows;
        let mut manifest = self.manifest(entity, written);
        manifest.fingerprint = entity.fingerprint(transaction).await?;
        manifest.after_run = range.map(|range| range.after);
        if let (Some(delta), Some(replaced), Some(before)) = (delta, replaced, before) {
            manifest.rows = delta.total;
            manifest.scope = delta.scope;
            manifest.replaced = replaced.parts;
            manifest.content = None;
            manifest.older = before.layers().iter().map(Manifest::as_layer).collect();
        }
        let is_as_before = before.is_some_and(|before| {
            manifest.content.is_some() && manifest.content == before.content && entity.name != CHANGES
        });
        let outcome = match before.filter(|_| is_as_before) {
            Some(before) => {
                self.draft.forget(&entity.name).await?;
                meter.finish("as before");
                Outcome::Unchanged { since: before.snapshot.clone() }
            }
            None => {
                self.draft.put_manifest(&manifest).await?;
                failpoint::reach(Point::ArchiveManifestWritten)?;
                meter.finish(format_args!("{rows} rows, {}", indicatif::HumanBytes(bytes)));
                Outcome::Written {
                    rows,
                    total: manifest.rows,
                    bytes,
                    parts: manifest.parts.len() as u64,
                    odd_values: manifest.odd_values.values().sum(),
                }
            }
        };
        step.finish(outcome.counts()).await?;
        Ok(outcome)
    }

    /// The last run whose changes are in this database's snapshots of the feed.
    async fn feed_archived(&self) -> Result<i64> {
        let Some(snapshot) = self.latest.and_then(|latest| latest.entities.get(CHANGES)) else { return Ok(0) };
        if let Some(manifest) = self.place.manifest(CHANGES, snapshot).await? {
            return Ok(manifest.watermark);
        }
        // Somebody removed the last one: what it held is written again as far as the database still has it.
        let chain = self.place.feed_chain(&self.frame.database, self.draft.snapshot()).await?;
        Ok(chain.iter().map(|manifest| manifest.watermark).max().unwrap_or(0))
    }

    fn manifest(&self, entity: &Entity, written: Written) -> Manifest {
        Manifest {
            format: manifest::FORMAT,
            entity: entity.name.clone(),
            snapshot: self.draft.snapshot().to_owned(),
            taken_at: self.frame.taken_at,
            run_id: self.ctx.run.id,
            database: self.frame.database.clone(),
            watermark: self.frame.watermark,
            schema_version: self.frame.schema_version,
            wharf_version: env!("CARGO_PKG_VERSION").to_owned(),
            rows: written.rows,
            columns: columns_of(entity),
            key: entity.key.clone(),
            parts: written.parts,
            scope: Vec::new(),
            replaced: Vec::new(),
            older: Vec::new(),
            content: Some(written.content),
            odd_values: written.odd_values,
            fingerprint: None,
            after_run: None,
            odd_values_sha256: written.odd_values_sha256,
        }
    }

    /// Publishes what was written, then says at the root what is current.
    async fn publish(&self, entities: Vec<EntityReport>) -> Result<ArchiveReport> {
        failpoint::reach(Point::ArchiveBeforePublish)?;
        let latest = self.page(&entities);
        if failpoint::is_planted(Bug::LatestBeforePublish) {
            self.place.put_latest(&latest).await?;
        }
        for EntityReport { entity, outcome } in &entities {
            if let Outcome::Written { .. } = outcome {
                self.draft.publish(entity).await?;
                failpoint::reach(Point::ArchiveBetweenPublishes)?;
            }
        }
        // A run that wrote nothing has nothing to show that an earlier page does not.
        if entities.iter().any(|entity| matches!(entity.outcome, Outcome::Written { .. })) {
            self.place.put_page(&latest).await?;
        }
        failpoint::reach(Point::ArchiveBeforeLatest)?;
        self.place.put_latest(&latest).await?;
        failpoint::reach(Point::ArchiveAfterLatest)?;
        let (place, snapshot_name) = (self.place.identity(), latest.snapshot.clone());
        let client = self.ctx.db.client().await?;
        client
            .execute(
                sql::file("archive/note_place.sql")?,
                &[&place, &snapshot_name, &self.frame.taken_at, &self.frame.watermark],
            )
            .await?;
        Ok(ArchiveReport {
            place: self.place.shown().to_owned(),
            snapshot: Some(latest.snapshot),
            not_due: None,
            entities,
            pruned: None,
        })
    }

    /// What the root says when all is published.
    fn page(&self, entities: &[EntityReport]) -> Latest {
        let snapshot = self.draft.snapshot();
        let shown_by = |report: &EntityReport| match &report.outcome {
            Outcome::Written { .. } => (report.entity.clone(), snapshot.to_owned()),
            Outcome::Unchanged { since } => (report.entity.clone(), since.clone()),
        };
        Latest {
            format: manifest::FORMAT,
            taken_at: self.frame.taken_at,
            snapshot: snapshot.to_owned(),
            run_id: self.ctx.run.id,
            last_run: self.frame.last_run,
            watermark: self.frame.watermark,
            database: self.frame.database.clone(),
            entities: entities.iter().map(shown_by).collect(),
        }
    }
}

/// Where the rows of one entity go.
struct Stream<'a> {
    draft: &'a Draft,
    limits: &'a Limits,
    entity: &'a Entity,
    transaction: &'a Transaction<'a>,
    meter: &'a Meter,
    stop: &'a CancellationToken,
}

impl Stream<'_> {
    /// Writes what a COPY sends into files of the draft.
    async fn store(&self, files: Files, columns: &[Column], statement: &str) -> Result<Written> {
        let Self { draft, limits, entity, transaction, meter, stop } = self;
        let copy = heed(stop, async { Ok(transaction.copy_out(statement).await?) }).await?;
        writer::write(draft, &entity.name, files, columns, limits, copy, meter, stop).await
    }
}

fn columns_of(entity: &Entity) -> Vec<ManifestColumn> {
    let describe = |column: &Column| ManifestColumn {
        name: column.name.clone(),
        postgres_type: column.postgres_type.clone(),
        arrow_type: column.kind.data_type().to_string(),
    };
    entity.columns.iter().map(describe).collect()
}

/// A name after every earlier one, even where the database's clock was set back.
fn next_name(taken_at: Timestamp, latest: Option<&Latest>) -> String {
    let name = manifest::snapshot_name(taken_at);
    match latest {
        Some(latest) if latest.snapshot >= name => {
            tracing::warn!(latest = %latest.snapshot, now = %name, "the clock was set back; snapshot names go on from the latest");
            manifest::name_after(&latest.snapshot)
        }
        _ => name,
    }
}

fn day(at: Timestamp) -> jiff::civil::Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Waits for the server, but not when asked to stop: it may be waiting for a lock itself.
async fn heed<T>(stop: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = stop.cancelled() => Err(interrupted()),
    }
}

/// Ends what the server still computes for us: a mart may go on for minutes until it has a row to send.
async fn cancel(ctx: &Context, readers: &[Reader<'_>]) {
    let backends: Vec<i32> = readers.iter().map(|reader| reader.backend).collect();
    let statement = "select pg_cancel_backend(backend) from unnest($1::integer[]) as backend";
    let cancelled = async { Ok::<_, Error>(ctx.db.client().await?.execute(statement, &[&backends]).await?) };
    if let Err(error) = cancelled.await {
        tracing::debug!("the statements in progress could not be cancelled: {error}");
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "the archive was stopped before its snapshots were complete")
        .hint("run the command again; nothing half-written is visible")
}
