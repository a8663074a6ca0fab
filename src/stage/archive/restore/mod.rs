//! Restore: a snapshot of everything back into an empty database, which then goes on as if nothing had happened.
//!
//! What comes back: raw records, everything canonical, the change feed as far as its retention kept it, the ledger and
//! the queue, cursors, consumers, settings of connections, and the salt, without which the same person would get another
//! contact id and be sent to every target again. What does not: phones and texts as libraries read them and marts (both
//! are worked out again), leases, budgets, the history of runs. A walk in progress starts anew.
//!
//! Everything happens in one transaction: whoever kills it finds the database as empty as before, and begins again. The
//! tables are truncated in it first, so that what an undone copy wrote takes no room.
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
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::sql;
use crate::store::{Database, migrate, run};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use tokio_postgres::Transaction;
use tokio_util::sync::CancellationToken;

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
/// [`Kind::Guard`] if the database is not empty; [`Kind::Io`] if the archive is not whole; [`Kind::DatabaseNewer`] if a
/// later Wharf wrote it; [`Kind::Interrupted`]; those of the database. Nothing is changed then.
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
    let mut client = db.dedicated().await?;
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local lock_timeout = '30s'; set local jit = off").await?;
    let tables: BTreeMap<String, Entity> =
        entities::all(&transaction).await?.into_iter().map(|entity| (entity.name.clone(), entity)).collect();
    refuse_unless_empty(&transaction, &tables, db.shown()).await?;

    let mut report = source.report(place.shown(), db.shown(), mode, dry_run);
    for (entity, manifests) in &source.entities {
        let rows = manifests.iter().map(|manifest| manifest.rows).sum();
        let bytes = manifests.iter().flat_map(|manifest| &manifest.parts).map(|part| part.bytes).sum();
        let Some(last) = manifests.last() else { continue };
        let restored = RestoredEntity { entity: entity.clone(), snapshot: last.snapshot.clone(), rows, bytes };
        report.entities.push(restored);
    }
    if dry_run {
        return Ok(report);
    }
    // How far the feed had been pruned is known before it is copied.
    report.entities.sort_by_key(|restored| restored.entity != FEED);
    truncate(&transaction, &tables).await?;
    for restored in &mut report.entities {
        let (Some(manifests), Some(entity)) = (source.entities.get(&restored.entity), tables.get(&restored.entity))
        else {
            report.notes.push(format!("{} is left out: this database has no such table", restored.entity));
            continue;
        };
        let meter = progress.meter(format!("restore {}", restored.entity), Some(restored.rows));
        restored.rows = source.copy(&transaction, &place, entity, manifests, &meter, stop).await?;
        if restored.rows > 1_000 {
            transaction.batch_execute(&format!("analyze {}", entity.table())).await?;
        }
        meter.finish(format_args!("{} rows", restored.rows));
        if restored.entity == FEED {
            source.pruned_run =
                transaction.query_one("select coalesce(max(pruned_run), 0) from ops.feed", &[]).await?.try_get(0)?;
        }
    }
    report.entities.sort_by(|a, b| a.entity.cmp(&b.entity));
    finish(&transaction, &source.page, &tables, mode).await?;
    if stop.is_cancelled() {
        return Err(interrupted());
    }
    transaction.commit().await?;
    Ok(report)
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
            "the ledger ends at {taken_at}: what a target was sent after that would be sent again; where that must not be, look at `wharf plan` before the first run"
        )];
        if self.is_mid_run() {
            notes.push(format!(
                "runs {} to {} were at work at that instant: deliveries are compared as a whole at the next load, and named consumers miss their changes",
                self.page.watermark + 1,
                self.page.last_run
            ));
        }
        RestoreReport {
            place: place.to_owned(),
            snapshot: snapshot.clone(),
            taken_at: *taken_at,
            database: database.to_owned(),
            mode,
            dry_run,
            entities: Vec::new(),
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
    database: &str,
) -> Result<()> {
    let mut found = Vec::new();
    let ours = tables.values().filter(|entity| entities::is_restored(&entity.name));
    // These have their rows from the beginning.
    let mut names: Vec<String> =
        ours.filter(|entity| ![SETTINGS, FEED].contains(&entity.name.as_str())).map(Entity::table).collect();
    if !names.is_empty() {
        names.push("ops.runs".to_owned());
    }
    for name in names {
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
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Guard, format!("the database {database} is not empty: {}", found.join(", ")))
        .hint("restore into a fresh one: create database wharf_restored encoding 'UTF8' template template0"))
}

async fn truncate(transaction: &Transaction<'_>, tables: &BTreeMap<String, Entity>) -> Result<()> {
    let names: Vec<String> =
        tables.values().filter(|entity| entities::is_restored(&entity.name)).map(Entity::table).collect();
    // Nobody may begin a run here before everything is there.
    transaction.batch_execute(&format!("truncate ops.runs, {}", names.join(", "))).await?;
    Ok(())
}

/// What makes the rows a database that goes on.
async fn finish(
    transaction: &Transaction<'_>,
    page: &Latest,
    tables: &BTreeMap<String, Entity>,
    mode: Mode,
) -> Result<()> {
    let last_run = page.last_run.max(page.run_id) + 1;
    let identity = uuid::Uuid::new_v4().simple().to_string();
    transaction.execute(sql::file("archive/restored_run.sql")?, &[&last_run, &run::holder()]).await?;
    transaction
        .execute(
            "insert into ops.settings (name, value) values ('restored', $1)
             on conflict (name) do update set value = excluded.value",
            &[&identity],
        )
        .await?;
    // The keys that a walk has seen are not archived.
    transaction.execute("update ops.cursors set walk = null where walk is not null", &[]).await?;
    transaction.execute("update ops.feed set closed_run = $1", &[&last_run]).await?;
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
