//! Restore: a snapshot of everything back into an empty database, which then goes on as if nothing had happened.
//!
//! What comes back: raw records, everything canonical, the change feed as far as its retention kept it, the ledger and
//! the queue, cursors, consumers, settings of connections, and the salt, without which the same person would get another
//! contact id and be sent to every target again. What does not: phones and texts as libraries read them and marts (both
//! are worked out again), leases, budgets, the history of runs. A walk in progress starts anew.
//!
//! Everything is copied in one transaction: whoever kills it finds the database as empty as before, and begins again. The
//! tables are truncated before it, so that what an undone copy wrote takes no room. It is a run like others, with a lease
//! and a step for every table, so that `wharf status` tells of it; while it is at work, no other run is begun here.
//!
//! Canonical rows are copied as they were. [`Mode::Rebuild`] brings back only what no shop could tell again (which
//! consent was seen when, which contact became which) and leaves the rest to the next transform: for a mapping that was
//! wrong, or canonical tables that were damaged before they were archived.
//!
//! Wrong answers avoided: working canonical rows out from staging alone (a withdrawn consent without a date would be
//! dated today and could outrank, or lose against, what it must not), keeping the identity of the database the archive
//! came from (both would call their next snapshots its own), and going on with run numbers that are taken.

mod encode;
mod odd;
mod table;

use super::entities::{self, CHANGES, Entity, FEED, SETTINGS};
use super::manifest::{Latest, Manifest};
use super::place::Place;
use crate::error::{Error, Exit, Kind, Result};
use crate::failpoint::{self, Point};
use crate::progress::Progress;
use crate::sql;
use crate::store::lease::Lease;
use crate::store::{Database, Outcome, Run, migrate};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio_postgres::{Client, Transaction};
use tokio_util::sync::CancellationToken;

/// The command of the run that a restore is, and its lease.
const COMMAND: &str = "restore";
/// Tables that have their rows from the beginning.
const HAVE_ROWS: [&str; 2] = [SETTINGS, FEED];

/// How canonical rows come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As they were.
    Exact,
    /// Worked out from staging by the next transform; only what staging cannot tell is copied.
    Rebuild,
}

/// What was restored, or would be.
#[derive(Debug, Clone, Serialize)]
pub struct RestoreReport {
    /// The root of the archive.
    pub place: String,
    /// The snapshot.
    pub snapshot: String,
    /// The instant that it shows.
    pub taken_at: Timestamp,
    /// Where it went, without the password.
    pub database: String,
    /// How canonical rows come back.
    pub mode: Mode,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Every table.
    pub entities: Vec<RestoredEntity>,
    /// What to know before going on.
    pub notes: Vec<String>,
}

/// One table of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoredEntity {
    /// `schema.table`.
    pub entity: String,
    /// The snapshot that it comes from; of the change feed, the last of them.
    pub snapshot: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of its data files.
    pub bytes: u64,
}

/// Restores the last snapshot not after `wanted` (a name or a time), or the current one, into an empty database.
///
/// # Errors
/// [`Kind::Guard`] if the database is not empty; [`Kind::LeaseHeld`] if another restore into it is at work; [`Kind::Io`] if
/// the archive is not whole; [`Kind::DatabaseNewer`] if a later Wharf wrote it; [`Kind::Interrupted`]; those of the
/// database. No row is changed then.
pub async fn restore(
    db: &Database,
    from: &str,
    wanted: Option<&str>,
    mode: Mode,
    dry_run: bool,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<RestoreReport> {
    let place = Place::open_existing(from).await?;
    let page = place.page_at(wanted).await?;
    let mut source = Source::open(&place, page, mode).await?;
    let mut report = source.report(place.shown(), db.shown(), mode, dry_run);
    empty_tables(&mut db.dedicated().await?, None, db.shown()).await?;
    if dry_run {
        return Ok(report);
    }
    let run = begin(db, &source.page).await?;
    let restored = async {
        let lease = Lease::take_within(db, &run, COMMAND, Duration::ZERO).await?;
        failpoint::reach(Point::RestoreAfterLease)?;
        let work = Work { db, run: &run, place: &place, lease: &lease, mode, progress, stop };
        let filled = work.fill(&mut source, &mut report).await;
        let released = lease.release().await;
        filled.and(released)
    };
    let restored = restored.await;
    let outcome = match &restored {
        Ok(()) => Outcome::Done,
        Err(error) if error.kind().exit() == Exit::Stopped => Outcome::Stopped,
        Err(_) => Outcome::Failed,
    };
    let ended = run.finish(outcome, restored.as_ref().err()).await;
    restored?;
    ended?;
    Ok(report)
}

/// Begins the run that a restore is: with a number after all that the archive knows of, so that the runs that follow come
/// after those that the rows name.
async fn begin(db: &Database, page: &Latest) -> Result<Run> {
    let known = page.last_run.max(page.run_id);
    let client = db.client().await?;
    client
        .execute(
            "select setval(
                 pg_get_serial_sequence('ops.runs', 'run_id'),
                 greatest($1, (select coalesce(max(run_id), 0) from ops.runs))
             )",
            &[&known],
        )
        .await?;
    drop(client);
    Run::begin(db, "archive", COMMAND).await
}

/// The tables of a database that holds nothing yet. `own_run` is the restore itself.
///
/// # Errors
/// [`Kind::Guard`] if it holds anything.
async fn empty_tables(client: &mut Client, own_run: Option<i64>, shown: &str) -> Result<BTreeMap<String, Entity>> {
    let transaction = client.transaction().await?;
    let entities = entities::all(&transaction).await?;
    let tables = entities.into_iter().map(|entity| (entity.name.clone(), entity)).collect();
    refuse_unless_empty(&transaction, &tables, own_run, shown).await?;
    Ok(tables)
}

/// A restore at work.
struct Work<'a> {
    db: &'a Database,
    run: &'a Run,
    place: &'a Place,
    lease: &'a Lease,
    mode: Mode,
    progress: &'a Progress,
    stop: &'a CancellationToken,
}

impl Work<'_> {
    async fn fill(&self, source: &mut Source, report: &mut RestoreReport) -> Result<()> {
        let mut client = self.db.dedicated().await?;
        // Looked at again: from now on no other run begins here.
        let tables = empty_tables(&mut client, Some(self.run.id), self.db.shown()).await?;
        truncate(&client, &tables).await?;
        failpoint::reach(Point::RestoreAfterClear)?;
        let transaction = client.transaction().await?;
        transaction.batch_execute("set local lock_timeout = '30s'; set local jit = off").await?;
        self.lease.assert(&transaction).await?;
        // How far the feed had been pruned is known before it is copied.
        report.entities.sort_by_key(|restored| restored.entity != FEED);
        for restored in &mut report.entities {
            let (Some(manifests), Some(entity)) = (source.entities.get(&restored.entity), tables.get(&restored.entity))
            else {
                report.notes.push(format!("{} is left out: this database has no such table", restored.entity));
                continue;
            };
            restored.rows = self.copy(&transaction, source, entity, manifests, restored.rows).await?;
            failpoint::reach(Point::RestoreTableCopied)?;
            if restored.entity == FEED {
                source.pruned_run = transaction
                    .query_one("select coalesce(max(pruned_run), 0) from ops.feed", &[])
                    .await?
                    .try_get(0)?;
            }
        }
        report.entities.sort_by(|a, b| a.entity.cmp(&b.entity));
        finish(&transaction, &source.page, &tables, self.run.id, self.mode).await?;
        if self.stop.is_cancelled() {
            return Err(interrupted());
        }
        failpoint::reach(Point::RestoreBeforeCommit)?;
        transaction.commit().await?;
        failpoint::reach(Point::RestoreAfterCommit)
    }

    async fn copy(
        &self,
        transaction: &Transaction<'_>,
        source: &Source,
        entity: &Entity,
        manifests: &[Manifest],
        expected: u64,
    ) -> Result<u64> {
        let step = self.run.step("archive", &format!("restore of {}", entity.name)).await?;
        let meter = self.progress.meter(format!("restore {}", entity.name), Some(expected));
        if HAVE_ROWS.contains(&entity.name.as_str()) {
            transaction.execute(&format!("delete from {}", entity.table()), &[]).await?;
        }
        let rows = source.copy(transaction, self.place, entity, manifests, &meter, self.stop).await?;
        if rows > 1_000 {
            transaction.batch_execute(&format!("analyze {}", entity.table())).await?;
        }
        meter.finish(format_args!("{rows} rows"));
        step.finish(serde_json::json!({ "rows": rows })).await?;
        Ok(rows)
    }
}

/// What is to be read.
struct Source {
    page: Latest,
    /// Table → the snapshots that make it up, oldest first: one, but of the change feed any number.
    entities: BTreeMap<String, Vec<Manifest>>,
    /// Changes of runs up to this one had been pruned.
    pruned_run: i64,
}

impl Source {
    async fn open(place: &Place, page: Latest, mode: Mode) -> Result<Self> {
        if !page.entities.contains_key(SETTINGS) {
            return Err(Error::new(Kind::Io, format!("snapshot {} has no {SETTINGS}", page.snapshot)).hint(
                "it was written before restores were thought of, or without the salt: contact ids would differ and everything be sent again; write one with this wharf",
            ));
        }
        let known = migrate::known().last().map_or(0, |migration| i64::from(migration.version()));
        let mut entities = BTreeMap::new();
        for (entity, snapshot) in &page.entities {
            if !entities::is_restored(entity) || (mode == Mode::Rebuild && is_worked_out(entity)) {
                continue;
            }
            let manifest = place.manifest_of(entity, snapshot).await?;
            if manifest.schema_version.is_some_and(|version| version > known) {
                let detail = format!("the archive was written by a later wharf ({})", manifest.wharf_version);
                return Err(Error::new(Kind::DatabaseNewer, detail).hint("restore it with that version or a newer one"));
            }
            let manifests = match entity == CHANGES {
                true => place.feed_chain(&page.database, snapshot).await?,
                false => vec![manifest],
            };
            entities.insert(entity.clone(), manifests);
        }
        Ok(Self { page, entities, pruned_run: 0 })
    }

    fn report(&self, place: &str, database: &str, mode: Mode, dry_run: bool) -> RestoreReport {
        let Latest { snapshot, taken_at, .. } = &self.page;
        let mut notes = vec![format!(
            "the ledger ends at {taken_at}: events of orders from before this restore are looked for at the target before they are sent, contacts are sent again; look at `wharf plan` before the first run"
        )];
        if self.is_mid_run() {
            notes.push(format!(
                "runs {} to {} were at work at that instant: deliveries are compared as a whole at the next load, and named consumers miss their changes",
                self.page.watermark + 1,
                self.page.last_run
            ));
        }
        let entities = self.entities.iter().filter_map(|(entity, manifests)| {
            Some(RestoredEntity {
                entity: entity.clone(),
                snapshot: manifests.last()?.snapshot.clone(),
                rows: manifests.iter().map(|manifest| manifest.rows).sum(),
                bytes: manifests.iter().flat_map(|manifest| &manifest.parts).map(|part| part.bytes).sum(),
            })
        });
        RestoreReport {
            place: place.to_owned(),
            snapshot: snapshot.clone(),
            taken_at: *taken_at,
            database: database.to_owned(),
            mode,
            dry_run,
            entities: entities.collect(),
            notes,
        }
    }

    fn is_mid_run(&self) -> bool {
        self.page.watermark < self.page.last_run
    }

    async fn copy(
        &self,
        transaction: &Transaction<'_>,
        place: &Place,
        entity: &Entity,
        manifests: &[Manifest],
        meter: &crate::progress::Meter,
        stop: &CancellationToken,
    ) -> Result<u64> {
        let mut rows = 0;
        // Two snapshots of the feed may tell of the same runs, where one had been lost and was written again.
        let mut through = (entity.name == CHANGES).then_some(self.pruned_run);
        for manifest in manifests {
            rows += table::copy_in(transaction, place, entity, manifest, through, meter, stop)
                .await
                .map_err(|error| error.context(&entity.name))?;
            through = through.map(|through| through.max(manifest.watermark));
        }
        Ok(rows)
    }
}

/// Whether a transform works it out, given the statements of consent, what the sources said last, and the moves.
fn is_worked_out(entity: &str) -> bool {
    const KEPT: [&str; 3] = ["canonical.consent_statements", "canonical.contact_moves", "canonical.contact_sources"];
    entity.starts_with("canonical.") && entity != CHANGES && !KEPT.contains(&entity)
}

async fn refuse_unless_empty(
    transaction: &Transaction<'_>,
    tables: &BTreeMap<String, Entity>,
    own_run: Option<i64>,
    database: &str,
) -> Result<()> {
    let is_set_up = tables.contains_key(SETTINGS);
    let restored = "select exists (select from ops.settings where name = 'restored')";
    if is_set_up && transaction.query_one(restored, &[]).await?.try_get(0)? {
        return Err(Error::new(Kind::Guard, format!("the database {database} has been restored already, completely"))
            .hint("go on with `wharf plan`; to restore another instant, take a fresh database"));
    }
    let mut found = Vec::new();
    let ours = tables.values().filter(|entity| entities::is_restored(&entity.name));
    for name in ours.filter(|entity| !HAVE_ROWS.contains(&entity.name.as_str())).map(Entity::table) {
        let count: i64 = transaction
            .query_one(&format!("select count(*) from (select from {name} limit 1000) as sample"), &[])
            .await?
            .try_get(0)?;
        match count {
            0 => {}
            1000 => found.push(format!("{name} (1000 rows or more)")),
            n => found.push(format!("{name} ({n} rows)")),
        }
    }
    if is_set_up {
        let runs: i64 = transaction.query_one(sql::file("archive/other_runs.sql")?, &[&own_run]).await?.try_get(0)?;
        if runs > 0 {
            found.push(format!("\"ops\".\"runs\" ({runs} rows)"));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Guard, format!("the database {database} is not empty: {}", found.join(", ")))
        .hint("restore into a fresh one: create database wharf_restored encoding 'UTF8' template template0"))
}

async fn truncate(client: &Client, tables: &BTreeMap<String, Entity>) -> Result<()> {
    let ours = tables.values().filter(|entity| entities::is_restored(&entity.name));
    let names: Vec<String> =
        ours.filter(|entity| !HAVE_ROWS.contains(&entity.name.as_str())).map(Entity::table).collect();
    client
        .batch_execute(&format!("set lock_timeout = '30s'; truncate {}; reset lock_timeout", names.join(", ")))
        .await?;
    Ok(())
}

/// What makes the rows a database that goes on.
async fn finish(
    transaction: &Transaction<'_>,
    page: &Latest,
    tables: &BTreeMap<String, Entity>,
    own_run: i64,
    mode: Mode,
) -> Result<()> {
    let identity = uuid::Uuid::new_v4().simple().to_string();
    transaction
        .execute(
            "insert into ops.settings (name, value) values ('restored', $1), ('restored_at', now()::text)
             on conflict (name) do update set value = excluded.value",
            &[&identity],
        )
        .await?;
    // The keys that a walk has seen are not archived.
    transaction.execute("update ops.cursors set walk = null where walk is not null", &[]).await?;
    transaction.execute("update ops.feed set closed_run = $1", &[&own_run]).await?;
    if page.watermark < page.last_run {
        transaction.execute("update delivery.consumers set settings_hash = null", &[]).await?;
    }
    if mode == Mode::Rebuild {
        transaction.batch_execute(sql::file("archive/rebuild.sql")?).await?;
    }
    let names: Vec<&str> = tables.keys().map(String::as_str).collect();
    for row in transaction.query(sql::file("archive/numbered.sql")?, &[&names]).await? {
        let (table, column, sequence): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let statement =
            format!("select setval($1::text::regclass, coalesce(max({column}), 0) + 1, false) from {table}");
        transaction.query_one(&statement, &[&sequence]).await?;
    }
    Ok(())
}

pub(super) fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "stopped before everything was restored; the database is as empty as before")
        .hint("run the command again; it begins anew")
}

impl fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.entities.iter().map(|entity| entity.entity.len()).max().unwrap_or(0);
        for RestoredEntity { entity, snapshot, rows, bytes } in &self.entities {
            let size = indicatif::HumanBytes(*bytes).to_string();
            writeln!(f, "{entity:width$}  {rows:>12} rows  {size:>11}  of {snapshot}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let (snapshot, place, database) = (&self.snapshot, &self.place, &self.database);
        match self.dry_run {
            true => write!(f, "{database} is empty: {place} as of {snapshot} can be restored into it"),
            false => write!(f, "restored {place} as of {snapshot} into {database}"),
        }
    }
}
