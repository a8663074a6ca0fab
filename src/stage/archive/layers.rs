//! Layers: a snapshot of a large table holds only what changed, and names the layers of earlier snapshots below it.
//!
//! What changed is told by *scope*: a record of staging by its key, a canonical row by its contact. A layer lists the
//! scopes that changed (`replaced`) and holds all rows that these have now (`parts`); whatever older layers say of them is
//! void. So a row that is gone needs no mark of its own, and a reader asks one question of a row: does a newer layer list
//! its scope? The bottom layer holds all rows of its instant. When the layers grow many or large, all rows are written
//! again ([`Limits`]), which bounds what a reader holds: 16 bytes of each scope that is listed.
//!
//! Wrong answers avoided: partitions that are written anew as a whole (a few hundred changes hit nearly every one of a
//! hundred partitions by key), and layers of changed rows alone, which could not say what is gone.

use super::entities::{CHANGES, Entity};
use super::manifest::{Manifest, ManifestPart};
use super::place::Place;
use super::reading::{self, part_failed};
use super::writer::Limits;
use crate::error::{Error, Kind, Result};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::row::{RowConverter, Rows, SortField};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::HashSet;
use std::fs::File;
use tokio_postgres::Transaction;
use xxhash_rust::xxh3::xxh3_128;

/// Canonical tables whose rows hang on a contact that the change feed names.
const BY_CONTACT: [&str; 5] = ["contact_sources", "contact_tags", "contacts", "order_items", "orders"];

/// What changed of a table since a snapshot.
pub(super) struct Delta {
    /// The columns that name a scope.
    pub scope: Vec<String>,
    /// The statement that streams the scopes that changed.
    pub replaced: String,
    /// The statement that streams all rows of these.
    pub rows: String,
    /// Rows of the table.
    pub total: u64,
}

/// What changed since `before`, the entity's current snapshot; `None` where all rows have to be written: because it cannot
/// be told, or because it would be no less.
///
/// # Errors
/// Those of the database and of the place.
pub(super) async fn delta(
    transaction: &Transaction<'_>,
    place: &Place,
    entity: &Entity,
    before: &Manifest,
    schema_version: Option<i64>,
    limits: &Limits,
) -> Result<Option<Delta>> {
    // A migration may have changed rows without a trace.
    if before.rows < limits.layered_from_rows || before.schema_version != schema_version {
        return Ok(None);
    }
    let Some((scope, changed)) = changed_scopes(transaction, entity, before.watermark).await? else { return Ok(None) };
    let table = entity.table();
    let counted = format!("select (select count(*) from ({changed}) as scope), (select count(*) from {table})");
    let row = transaction.query_one(&counted, &[]).await?;
    let (count, total): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (count, total) = (u64::try_from(count).unwrap_or_default(), u64::try_from(total).unwrap_or_default());
    let layers = before.layers();
    let (bottom, above) = match layers.split_last() {
        Some((bottom, above)) => (bottom.rows, above),
        None => return Ok(None),
    };
    let replaced: u64 = above.iter().flat_map(|layer| &layer.replaced).map(|part| part.rows).sum::<u64>() + count;
    let layered: u64 = above.iter().map(|layer| layer.rows).sum::<u64>();
    if layers.len() >= limits.layers || replaced > limits.replaced || replaced.max(layered) > bottom / 2 {
        return Ok(None);
    }
    for layer in &layers {
        if place.manifest(&entity.name, &layer.snapshot).await?.is_none() {
            return Ok(None);
        }
    }
    let list = |names: &[String]| {
        let columns = entity.columns.iter().filter(|column| names.contains(&column.name));
        columns.map(super::column::Column::expression).collect::<Vec<_>>().join(", ")
    };
    let all: Vec<String> = entity.columns.iter().map(|column| column.name.clone()).collect();
    let key = scope.join(", ");
    Ok(Some(Delta {
        replaced: format!("copy (select {} from ({changed}) as scope) to stdout (format binary)", list(&scope)),
        rows: format!(
            "copy (
                 select {} from {table} where ({key}) in (select {key} from ({changed}) as scope)
             ) to stdout (format binary)",
            list(&all)
        ),
        scope,
        total,
    }))
}

/// The columns that name a scope, and the query of the scopes that runs after `watermark` changed, each once; `None` where
/// that leaves no trace, or where the trace has been pruned.
async fn changed_scopes(
    transaction: &Transaction<'_>,
    entity: &Entity,
    watermark: i64,
) -> Result<Option<(Vec<String>, String)>> {
    if entity.name == CHANGES {
        return Ok(None);
    }
    if entity.name.starts_with("staging.") && entity.name != "staging.rejects" {
        // Records are marked as deleted, never removed; whoever changes one leaves the run's number.
        let scope = vec!["connection".to_owned(), "source_key".to_owned()];
        let query = format!("select connection, source_key from {} where run_id > {watermark}", entity.table());
        return Ok((entity.key == scope).then_some((scope, query)));
    }
    let Some(relation) = entity.name.strip_prefix("canonical.").filter(|relation| BY_CONTACT.contains(relation)) else {
        return Ok(None);
    };
    let changes = format!("from canonical.changes where run_id > {watermark} and entity = '{relation}'");
    let known = format!(
        "select pruned_run <= {watermark} and not exists (select {changes} and contact_id is null) from ops.feed"
    );
    if !transaction.query_one(&known, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    // A row that moved to another contact belonged to one that has to let go of it.
    let query = format!(
        "select contact_id {changes}
         union
         select (old ->> 'contact_id')::uuid {changes} and old ->> 'contact_id' is not null"
    );
    Ok(Some((vec!["contact_id".to_owned()], query)))
}

/// The scopes that newer layers replace: what a row of an older one is asked for.
#[derive(Debug, Clone)]
pub(super) struct Replaced {
    scope: Vec<String>,
    hashes: HashSet<u128>,
}

impl Replaced {
    /// Of a snapshot: nothing yet.
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self { scope: manifest.scope.clone(), hashes: HashSet::new() }
    }

    /// Adds what a layer replaces, before the next older layer is read.
    ///
    /// # Errors
    /// [`Kind::Io`] for a file that cannot be read.
    pub(super) fn add(&mut self, layer: &Manifest, part: &ManifestPart, file: File) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| part_failed(layer, part, error);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(&error))?;
        for batch in reading::batches(builder).map_err(|error| failed(&error))? {
            let rows = self.scopes(&batch.map_err(|error| failed(&error))?)?;
            self.hashes.extend(rows.iter().map(|row| xxh3_128(row.as_ref())));
        }
        Ok(())
    }

    /// How many rows of a part count; only the columns of the scope are read.
    ///
    /// # Errors
    /// [`Kind::Io`] for a file that cannot be read.
    pub(super) fn count(&self, layer: &Manifest, part: &ManifestPart, file: File) -> Result<u64> {
        let failed = |error: &dyn std::fmt::Display| part_failed(layer, part, error);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(&error))?;
        let names = self.scope.iter().map(String::as_str);
        let builder = {
            let columns = ProjectionMask::columns(builder.parquet_schema(), names);
            builder.with_projection(columns)
        };
        let mut rows = 0;
        for batch in reading::batches(builder).map_err(|error| failed(&error))? {
            rows += self.current(&batch.map_err(|error| failed(&error))?)?.true_count() as u64;
        }
        Ok(rows)
    }

    /// Whether nothing is replaced: every row counts.
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Which rows of a batch count.
    ///
    /// # Errors
    /// [`Kind::Io`] if the batch lacks a column of the scope.
    pub(super) fn current(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let rows = self.scopes(batch)?;
        Ok(rows.iter().map(|row| Some(!self.hashes.contains(&xxh3_128(row.as_ref())))).collect())
    }

    fn scopes(&self, batch: &RecordBatch) -> Result<Rows> {
        let missing = |name: &String| Error::new(Kind::Io, format!("a file of the archive has no column {name}"));
        let column = |name: &String| batch.column_by_name(name).cloned().ok_or_else(|| missing(name));
        bytes_of(&self.scope.iter().map(column).collect::<Result<Vec<_>>>()?)
    }
}

/// The values of some columns as bytes, row by row: equal values of one type have equal bytes.
///
/// # Errors
/// [`Kind::Internal`] for a type that has no such form.
pub(super) fn bytes_of(columns: &[ArrayRef]) -> Result<Rows> {
    let wrong = |error| Error::new(Kind::Internal, "rows that cannot be compared").because(error);
    let fields = columns.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    RowConverter::new(fields).map_err(wrong)?.convert_columns(columns).map_err(wrong)
}
