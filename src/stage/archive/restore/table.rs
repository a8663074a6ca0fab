//! One table: its parts, checked, decoded and encoded on a thread of their own, and copied into the database as they come.
//!
//! Memory is bounded by a batch and a few chunks on their way, whatever the size of the part.

use super::super::column::Column;
use super::super::entities::Entity;
use super::super::layers::Replaced;
use super::super::manifest::{Manifest, ManifestPart, ODD_VALUES};
use super::super::place::Place;
use super::super::reading::{self, part_failed};
use super::super::verify::sha256_of;
use super::encode::{self, Mapped};
use super::odd::OddValues;
use crate::error::{Error, Kind, Result};
use crate::progress::Meter;
use crate::store::copy::{HEADER, TRAILER};
use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Schema;
use bytes::{Bytes, BytesMut};
use futures::SinkExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_postgres::Transaction;
use tokio_util::sync::CancellationToken;

/// Bytes of a chunk on its way to the server.
const CHUNK: usize = 1 << 20;
/// Chunks that may wait.
const CHUNKS_WAITING: usize = 4;

/// Copies the rows of a snapshot into its table; of the change feed only those of runs after `after_run`.
///
/// # Errors
/// [`Kind::Io`] for a part that is not as its manifest says; [`Kind::Interrupted`]; those of the database.
pub(super) async fn copy_in(
    transaction: &Transaction<'_>,
    place: &Place,
    entity: &Entity,
    manifest: &Manifest,
    after_run: Option<i64>,
    meter: &Meter,
    stop: &CancellationToken,
) -> Result<u64> {
    let mut rows = 0;
    let mut replaced = Arc::new(Replaced::of(manifest));
    for layer in manifest.layers() {
        rows += copy_layer(transaction, place, entity, &layer, &replaced, after_run, meter, stop).await?;
        for part in &layer.replaced {
            let file = place.open_part(&layer.entity, &layer.snapshot, &part.file).await?;
            replaced = read_replaced(replaced, layer.clone(), part.clone(), file, stop.clone()).await?;
        }
    }
    if rows != manifest.rows && after_run.is_none() {
        let Manifest { entity, snapshot, rows: expected, .. } = manifest;
        let detail = format!("{entity}/snapshot={snapshot} has {rows} rows in its layers instead of {expected}");
        return Err(Error::new(Kind::Io, detail)
            .hint("restore an earlier instant, and let `wharf archive verify` list what is wrong"));
    }
    Ok(rows)
}

/// Adds what a file of a layer lists to what its older layers are asked for.
async fn read_replaced(
    mut replaced: Arc<Replaced>,
    layer: Manifest,
    part: ManifestPart,
    mut file: File,
    stop: CancellationToken,
) -> Result<Arc<Replaced>> {
    let read = tokio::task::spawn_blocking(move || {
        if sha256_of(&mut file, &stop)? != part.sha256 {
            return Err(part_failed(&layer, &part, "its checksum is not that of the manifest"));
        }
        Arc::make_mut(&mut replaced).add(&layer, &part, file)?;
        Ok(replaced)
    });
    read.await.map_err(|error| Error::new(Kind::Internal, "reading a layer was cut short").because(error))?
}

#[expect(clippy::too_many_arguments, reason = "what one layer needs, once")]
async fn copy_layer(
    transaction: &Transaction<'_>,
    place: &Place,
    entity: &Entity,
    manifest: &Manifest,
    replaced: &Arc<Replaced>,
    after_run: Option<i64>,
    meter: &Meter,
    stop: &CancellationToken,
) -> Result<u64> {
    let mut rows = 0;
    for part in &manifest.parts {
        let file = place.open_part(&manifest.entity, &manifest.snapshot, &part.file).await?;
        let odd_values = match manifest.odd_values.is_empty() {
            true => OddValues::default(),
            false => {
                let list = place.open_part(&manifest.entity, &manifest.snapshot, ODD_VALUES).await?;
                OddValues::read(list, &part.file)?
            }
        };
        rows +=
            copy_part(transaction, entity, manifest, part, file, odd_values, replaced, after_run, meter, stop).await?;
    }
    Ok(rows)
}

#[expect(clippy::too_many_arguments, reason = "what one part needs, once")]
async fn copy_part(
    transaction: &Transaction<'_>,
    entity: &Entity,
    manifest: &Manifest,
    part: &ManifestPart,
    file: File,
    odd_values: OddValues,
    replaced: &Arc<Replaced>,
    after_run: Option<i64>,
    meter: &Meter,
    stop: &CancellationToken,
) -> Result<u64> {
    let (ready, mut is_ready) = mpsc::channel(1);
    let (chunks, mut arriving) = mpsc::channel(CHUNKS_WAITING);
    let source = Source {
        manifest: manifest.clone(),
        part: part.clone(),
        columns: entity.columns.clone(),
        odd_values,
        replaced: replaced.clone(),
        after_run,
        meter: meter.clone(),
        stop: stop.clone(),
    };
    let producer = tokio::task::spawn_blocking(move || source.send(file, &ready, &chunks));
    // The file says which columns it has.
    if let Some(columns) = is_ready.recv().await {
        let names: Vec<String> = columns;
        let statement = format!("copy {} ({}) from stdin (format binary)", entity.table(), names.join(", "));
        let mut sink = pin!(transaction.copy_in::<_, Bytes>(&statement).await?);
        while let Some(chunk) = arriving.recv().await {
            sink.send(chunk).await?;
        }
        // Whether the last chunk was the end or a failure is known only now.
        let expected = joined(producer.await)?;
        let copied = sink.finish().await?;
        if copied != expected {
            return Err(part_failed(manifest, part, format!("{copied} rows arrived of {expected}")));
        }
        return Ok(copied);
    }
    joined(producer.await)
}

fn joined(ended: std::result::Result<Result<u64>, tokio::task::JoinError>) -> Result<u64> {
    ended.map_err(|error| Error::new(Kind::Internal, "reading a part was cut short").because(error))?
}

/// A part on its way, on a thread of its own.
struct Source {
    manifest: Manifest,
    part: ManifestPart,
    columns: Vec<Column>,
    odd_values: OddValues,
    replaced: Arc<Replaced>,
    after_run: Option<i64>,
    meter: Meter,
    stop: CancellationToken,
}

impl Source {
    /// Checks the file, says which columns it has, then sends its rows in chunks; gives how many rows.
    fn send(&self, mut file: File, ready: &mpsc::Sender<Vec<String>>, chunks: &mpsc::Sender<Bytes>) -> Result<u64> {
        let failed = |error: &dyn std::fmt::Display| part_failed(&self.manifest, &self.part, error);
        if sha256_of(&mut file, &self.stop)? != self.part.sha256 {
            return Err(failed(&"its checksum is not that of the manifest"));
        }
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(&error))?;
        let columns = self.columns_of(builder.schema())?;
        let names = columns.iter().map(|mapped| super::super::column::quoted(&mapped.column.name)).collect();
        if ready.blocking_send(names).is_err() {
            return Ok(0);
        }
        let mut out = BytesMut::with_capacity(CHUNK + CHUNK / 4);
        out.extend_from_slice(HEADER);
        let (mut read, mut sent) = (0, 0);
        for batch in reading::batches(builder).map_err(|error| failed(&error))? {
            if self.stop.is_cancelled() {
                return Err(super::interrupted());
            }
            let batch = batch.map_err(|error| failed(&error))?;
            let rows = batch.num_rows() as u64;
            // A large batch leaves in pieces, so that what is written of it does not pile up.
            let piece = (CHUNK / (batch.get_array_memory_size() / batch.num_rows().max(1)).max(1)).max(1);
            for (mut from, to) in self.wanted(&batch)? {
                sent += (to - from) as u64;
                while from < to {
                    let length = piece.min(to - from);
                    let slice = batch.slice(from, length);
                    encode::rows(&slice, &columns, &self.odd_values, read + from as u64, &mut out)?;
                    from += length;
                    if out.len() >= CHUNK && chunks.blocking_send(out.split().freeze()).is_err() {
                        return Ok(0);
                    }
                }
            }
            read += rows;
            self.meter.advance(rows);
        }
        if read != self.part.rows {
            return Err(failed(&format!("{read} rows instead of {}", self.part.rows)));
        }
        out.extend_from_slice(&TRAILER);
        // Who waits for it sees whether all came.
        let _ = chunks.blocking_send(out.freeze());
        Ok(sent)
    }

    /// The table's columns that the file has. One that the file lacks keeps its default.
    fn columns_of(&self, schema: &Schema) -> Result<Vec<Mapped>> {
        let mut mapped = Vec::new();
        for column in &self.columns {
            let Some((index, field)) = schema.column_with_name(&column.name) else { continue };
            if !encode::fits(column, field.data_type()) {
                return Err(Error::new(
                    Kind::Io,
                    format!(
                        "column {} of {} is {} in the archive, which cannot become {}",
                        column.name,
                        self.manifest.entity,
                        field.data_type(),
                        column.postgres_type
                    ),
                )
                .hint(format!("restore it with wharf {}, which wrote it, then upgrade", self.manifest.wharf_version)));
            }
            mapped.push(Mapped { column: column.clone(), index });
        }
        Ok(mapped)
    }

    /// The rows of a batch that count, as ranges: a row's place tells which odd values are its own.
    fn wanted(&self, batch: &RecordBatch) -> Result<Vec<(usize, usize)>> {
        let wanted: BooleanArray = match self.after_run {
            Some(after_run) => {
                let runs = batch.column_by_name("run_id").and_then(|runs| runs.as_any().downcast_ref::<Int64Array>());
                let runs = runs.ok_or_else(|| encode::wrong("the feed has no column of runs"))?;
                runs.iter().map(|run| Some(run.is_some_and(|run| run > after_run))).collect()
            }
            None if self.replaced.is_empty() => return Ok(vec![(0, batch.num_rows())]),
            None => self.replaced.current(batch)?,
        };
        Ok(wanted.values().set_slices().collect())
    }
}
