//! What is archived: tables and marts with their columns, from the catalog, and whether they changed since a snapshot.
//!
//! "Changed" costs a few pages, never a scan of a large table: staging rows carry the run that last changed them, the
//! change feed names every change of a canonical row (as far as it has not been pruned since the last look), a mart may
//! change with the tables it reads, and with the day, because it may speak of "days since". The ledger may change when a run
//! loads, and is hashed then. Small tables of Wharf's own state are told by a hash of their rows. What cannot be told
//! cheaply counts as changed.
//!
//! Two lists besides `staging` and `marts`: what analysts read, and what a restore needs on top, so that the database goes
//! on where it was. Left out is what can be worked out again (phones and texts as libraries read them), what belongs to
//! processes at work (leases, keys of a walk, turns of a budget), and the history of runs.

use super::column::{CatalogType, Column, quoted};
use crate::error::Result;
use crate::sql;
use tokio_postgres::{Row, Transaction};

/// Canonical tables whose changes the feed names.
const IN_FEED: [&str; 8] = [
    "categories",
    "contact_sources",
    "contact_tags",
    "contacts",
    "order_items",
    "orders",
    "product_categories",
    "products",
];

/// All else outside of `staging` and `marts`.
const STATE: [&str; 15] = [
    CHANGES,
    "canonical.consent_statements",
    "canonical.contact_moves",
    "canonical.rejects",
    "delivery.batches",
    "delivery.consumers",
    "delivery.ledger",
    "delivery.pending",
    "delivery.rejects",
    "ops.connections",
    "ops.consumers",
    "ops.cursors",
    FEED,
    SETTINGS,
    "ops.tenants",
];

/// The change feed: each snapshot holds what came since the one before, so that nothing is written twice and what the
/// database has pruned is still there.
pub(super) const CHANGES: &str = "canonical.changes";
/// The settings of the database, the salt of contact ids among them.
pub(super) const SETTINGS: &str = "ops.settings";

/// How far the feed has been written and pruned.
pub(super) const FEED: &str = "ops.feed";

/// Small tables without a trace of their changes: their rows are hashed.
const HASHED: [&str; 10] = [
    "canonical.rejects",
    "delivery.consumers",
    "delivery.pending",
    "delivery.rejects",
    "ops.connections",
    "ops.consumers",
    "ops.cursors",
    FEED,
    SETTINGS,
    "ops.tenants",
];

/// What only a run that loads adds to or changes, and who removes a row without a run is found out by counting. Whether
/// one really did is told by a hash of the rows, as for small tables: a load with nothing to send leaves them as they were.
const WRITTEN_BY_LOADS: [&str; 2] = ["delivery.batches", "delivery.ledger"];

/// Tables whose rows carry their run, but of which some are removed without a trace of the run that did it: their
/// rows are counted as well.
const COUNTED: [&str; 3] = ["staging.rejects", "canonical.consent_statements", "canonical.contact_moves"];

/// One table or view to be archived.
#[derive(Debug, Clone)]
pub(super) struct Entity {
    schema: String,
    relation: String,
    is_view: bool,
    /// `schema.relation`: the folder in the archive.
    pub name: String,
    /// What the planner believes.
    pub estimated_rows: Option<u64>,
    /// Its size on the server's disk; none for a view.
    pub stored_bytes: Option<i64>,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The columns of its primary key, in the key's order; empty for a mart.
    pub key: Vec<String>,
}

/// Whether a table is part of what a restore brings back; marts are views, or other people's tables.
pub(super) fn is_restored(entity: &str) -> bool {
    let canonical = entity.strip_prefix("canonical.").is_some_and(|relation| IN_FEED.contains(&relation));
    entity.starts_with("staging.") || canonical || STATE.contains(&entity)
}

/// All entities in the order of their names.
///
/// # Errors
/// Those of the database.
pub(super) async fn all(transaction: &Transaction<'_>) -> Result<Vec<Entity>> {
    let mut named: Vec<String> = IN_FEED.iter().map(|relation| format!("canonical.{relation}")).collect();
    named.extend(STATE.map(str::to_owned));
    let rows = transaction.query(sql::file("archive/columns.sql")?, &[&named]).await?;
    let mut entities: Vec<Entity> = Vec::new();
    for row in &rows {
        let schema: String = row.try_get("schema")?;
        let relation: String = row.try_get("relation")?;
        let column = column(row)?;
        match entities.last_mut() {
            Some(last) if last.schema == schema && last.relation == relation => last.columns.push(column),
            _ => entities.push(Entity {
                name: format!("{schema}.{relation}"),
                schema,
                relation,
                is_view: row.try_get("is_view")?,
                estimated_rows: row.try_get::<_, Option<i64>>("estimated_rows")?.and_then(|n| u64::try_from(n).ok()),
                stored_bytes: row.try_get("stored_bytes")?,
                columns: vec![column],
                key: row.try_get("key_columns")?,
            }),
        }
    }
    Ok(entities)
}

fn column(row: &Row) -> Result<Column> {
    let catalog = CatalogType {
        name: row.try_get("type_name")?,
        is_enum: row.try_get("is_enum")?,
        is_array: row.try_get("is_array")?,
        modifier: row.try_get("modifier")?,
        oid: row.try_get("type_oid")?,
    };
    Ok(Column::new(row.try_get("column_name")?, row.try_get("written_type")?, &catalog))
}

/// Whether the change feed has anything of these runs.
///
/// # Errors
/// Those of the database.
pub(super) async fn feed_has(transaction: &Transaction<'_>, range: RunRange) -> Result<bool> {
    let statement = "select exists (select from canonical.changes where run_id > $1 and run_id <= $2)";
    Ok(transaction.query_one(statement, &[&range.after, &range.through]).await?.try_get(0)?)
}

/// What is known of an entity's last snapshot.
#[derive(Debug, Clone)]
pub(super) struct Before {
    /// Changes of runs up to this one are in it.
    pub watermark: i64,
    /// Changes of runs up to this one had been looked at when it was last found to be current.
    pub looked_at: i64,
    /// Its rows.
    pub rows: u64,
    /// Whether it was taken on the present day (UTC).
    pub same_day: bool,
    /// Hash of its rows, where that is how changes are found.
    pub fingerprint: Option<String>,
}

/// Changes of runs after one, up to and with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunRange {
    pub after: i64,
    pub through: i64,
}

impl Entity {
    /// The statement that streams it; for the change feed, what belongs to the runs of `range`.
    pub(super) fn copy_statement(&self, range: Option<RunRange>) -> String {
        let list: Vec<String> = self.columns.iter().map(Column::expression).collect();
        let rows = match range {
            Some(RunRange { after, through }) => {
                format!(" where run_id > {after} and run_id <= {through} order by run_id, seq")
            }
            None => String::new(),
        };
        format!("copy (select {} from {}{rows}) to stdout (format binary)", list.join(", "), self.table())
    }

    /// Its quoted name.
    pub(super) fn table(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.relation))
    }

    /// A hash of its rows in any order, where that is how changes are found.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn fingerprint(&self, transaction: &Transaction<'_>) -> Result<Option<String>> {
        if !HASHED.contains(&self.name.as_str()) && !WRITTEN_BY_LOADS.contains(&self.name.as_str()) {
            return Ok(None);
        }
        let statement = format!(
            "select count(*) || ':' || coalesce(sum(hashtextextended(t::text, 0)), 0) from {} as t",
            self.table()
        );
        Ok(Some(transaction.query_one(&statement, &[]).await?.try_get(0)?))
    }

    /// Whether anything may have changed since a snapshot; for a mart also whether the day is another one.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn changed_since(&self, transaction: &Transaction<'_>, before: &Before) -> Result<bool> {
        let is_table_of_loads = WRITTEN_BY_LOADS.contains(&self.name.as_str());
        if is_table_of_loads
            && !table_changed(transaction, &self.schema, &self.relation, before, Some(before.rows)).await?
        {
            return Ok(false);
        }
        if let Some(fingerprint) = self.fingerprint(transaction).await? {
            return Ok(before.fingerprint != Some(fingerprint));
        }
        if !self.is_view {
            return table_changed(transaction, &self.schema, &self.relation, before, Some(before.rows)).await;
        }
        if !before.same_day {
            return Ok(true);
        }
        let read = transaction.query(sql::file("archive/read_by_view.sql")?, &[&self.schema, &self.relation]).await?;
        for row in &read {
            let table: String = row.try_get("entity")?;
            let Some((schema, relation)) = table.split_once('.') else { return Ok(true) };
            if table_changed(transaction, schema, relation, before, None).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// `rows_before` is only known for the archived tables themselves, not for those that a mart reads.
async fn table_changed(
    transaction: &Transaction<'_>,
    schema: &str,
    relation: &str,
    before: &Before,
    rows_before: Option<u64>,
) -> Result<bool> {
    let watermark = before.watermark;
    let table = format!("{schema}.{}", quoted(relation));
    let name = format!("{schema}.{relation}");
    if COUNTED.contains(&name.as_str()) {
        let statement = format!("select coalesce(max(run_id) > $1, false), count(*) from {table}");
        let row = transaction.query_one(&statement, &[&watermark]).await?;
        let rows = u64::try_from(row.try_get::<_, i64>(1)?).ok();
        return Ok(row.try_get(0)? || rows != rows_before);
    }
    if WRITTEN_BY_LOADS.contains(&name.as_str()) {
        let statement = format!(
            "select exists (select from ops.run_steps where run_id > $1 and stage = 'load'), count(*) from {table}"
        );
        let row = transaction.query_one(&statement, &[&watermark]).await?;
        let rows = u64::try_from(row.try_get::<_, i64>(1)?).ok();
        return Ok(row.try_get(0)? || rows != rows_before);
    }
    if schema == "canonical" && IN_FEED.contains(&relation) {
        // What has been pruned since the last look can tell nothing any more.
        let statement = format!(
            "select pruned_run > $2 or exists (
                 select from canonical.changes where run_id > $1 and entity = '{relation}'
             )
             from ops.feed"
        );
        return Ok(transaction.query_one(&statement, &[&watermark, &before.looked_at]).await?.try_get(0)?);
    }
    let statement = match (schema, relation) {
        ("staging", _) => sql::file("archive/staging_changed.sql")?.replace("{table}", &quoted(relation)),
        _ => return Ok(true),
    };
    Ok(transaction.query_one(&statement, &[&watermark]).await?.try_get(0)?)
}
