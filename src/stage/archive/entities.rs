//! What is archived: tables and marts with their columns, from the catalog, and whether they changed since a snapshot.
//!
//! "Changed" costs a few pages, never a scan of a large table: staging rows carry the run that last changed them, the
//! change feed names every change of a canonical row, a mart changes with the tables it reads, and with the day, because
//! it may speak of "days since". What cannot be told cheaply counts as changed.

use super::column::{CatalogType, Column, quoted};
use crate::error::Result;
use crate::sql;
use tokio_postgres::{Row, Transaction};

/// The canonical tables that are archived. The change feed, rejects and look-ups of the transform are not: the feed is a
/// history by itself, the others can be worked out again.
const CANONICAL: [&str; 10] = [
    "categories",
    "consent_statements",
    "contact_moves",
    "contact_sources",
    "contact_tags",
    "contacts",
    "order_items",
    "orders",
    "product_categories",
    "products",
];

/// Small tables whose rows carry their run, but of which some are removed without a trace of the run that did it: their
/// rows are counted as well.
const COUNTED: [&str; 2] = ["staging.rejects", "canonical.contact_moves"];

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
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The columns of its primary key, in the key's order; empty for a mart.
    pub key: Vec<String>,
}

/// All entities in the order of their names.
///
/// # Errors
/// Those of the database.
pub(super) async fn all(transaction: &Transaction<'_>) -> Result<Vec<Entity>> {
    let rows = transaction.query(sql::file("archive/columns.sql")?, &[&CANONICAL.as_slice()]).await?;
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
    };
    Ok(Column::new(row.try_get("column_name")?, row.try_get("written_type")?, &catalog))
}

/// What is known of an entity's last snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    /// Changes of runs up to this one are in it.
    pub watermark: i64,
    /// Its rows.
    pub rows: u64,
    /// Whether it was taken on the present day (UTC).
    pub same_day: bool,
}

impl Entity {
    /// The statement that streams it.
    pub(super) fn copy_statement(&self) -> String {
        let list: Vec<String> = self.columns.iter().map(Column::expression).collect();
        format!(
            "copy (select {} from {}.{}) to stdout (format binary)",
            list.join(", "),
            quoted(&self.schema),
            quoted(&self.relation)
        )
    }

    /// Whether anything may have changed since a snapshot; for a mart also whether the day is another one.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn changed_since(&self, transaction: &Transaction<'_>, before: &Before) -> Result<bool> {
        if !self.is_view {
            return table_changed(transaction, &self.schema, &self.relation, before.watermark, Some(before.rows)).await;
        }
        if !before.same_day {
            return Ok(true);
        }
        let read = transaction.query(sql::file("archive/read_by_view.sql")?, &[&self.schema, &self.relation]).await?;
        for row in &read {
            let table: String = row.try_get("entity")?;
            let Some((schema, relation)) = table.split_once('.') else { return Ok(true) };
            if table_changed(transaction, schema, relation, before.watermark, None).await? {
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
    watermark: i64,
    rows_before: Option<u64>,
) -> Result<bool> {
    let table = format!("{schema}.{}", quoted(relation));
    if COUNTED.contains(&format!("{schema}.{relation}").as_str()) {
        let statement = format!("select coalesce(max(run_id) > $1, false), count(*) from {table}");
        let row = transaction.query_one(&statement, &[&watermark]).await?;
        let rows = u64::try_from(row.try_get::<_, i64>(1)?).ok();
        return Ok(row.try_get(0)? || rows != rows_before);
    }
    let statement = match (schema, relation) {
        ("staging", _) => sql::file("archive/staging_changed.sql")?.replace("{table}", &quoted(relation)),
        // Statements of consent are only ever added.
        ("canonical", "consent_statements") => format!("select exists (select from {table} where run_id > $1)"),
        ("canonical", _) if CANONICAL.contains(&relation) => {
            format!("select exists (select from canonical.changes where run_id > $1 and entity = '{relation}')")
        }
        _ => return Ok(true),
    };
    Ok(transaction.query_one(&statement, &[&watermark]).await?.try_get(0)?)
}
