//! Rows of a binary COPY into the Parquet files of one entity's snapshot.
//!
//! Memory is bounded by a batch being decoded, a row group being encoded and the buffers of the store, whatever the size
//! of the table: a batch ends at a number of rows or bytes, so that ten rows of 10 MB weigh as much as a thousand small
//! ones.

use super::builder::ColumnBuilder;
use super::column::Column;
use super::manifest::{ManifestPart, ODD_VALUES, OddValue};
use super::parquet_schema;
use super::place::{Draft, failed};
use crate::error::{Error, Kind, Result};
use crate::failpoint::{self, Point};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::buffered::BufWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::async_writer::{AsyncArrowWriter, AsyncFileWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio_postgres::binary_copy::BinaryCopyOutRow;
use tokio_postgres::types::{FromSql, Type};

/// How much is held, and how large files grow.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Rows decoded before they are encoded.
    pub batch_rows: usize,
    /// Bytes received before they are encoded.
    pub batch_bytes: usize,
    /// Rows of a row group.
    pub row_group_rows: usize,
    /// Encoded bytes of a row group; the larger part of the memory needed.
    pub row_group_bytes: usize,
    /// Rows of a part.
    pub part_rows: u64,
    /// Bytes after which a part is closed.
    pub part_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_rows: 8_192,
            batch_bytes: 4 << 20,
            row_group_rows: 250_000,
            row_group_bytes: 32 << 20,
            part_rows: 5_000_000,
            part_bytes: 512 << 20,
        }
    }
}

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    pub rows: u64,
    pub bytes: u64,
    pub parts: Vec<ManifestPart>,
    /// Column → values that its type could not hold.
    pub odd_values: BTreeMap<String, u64>,
    /// SHA-256 of the list of them.
    pub odd_values_sha256: Option<String>,
}

/// The snapshot of one entity in the making.
pub(super) struct SnapshotWriter<'a> {
    draft: &'a Draft,
    entity: &'a str,
    columns: &'a [Column],
    limits: &'a Limits,
    schema: SchemaRef,
    parquet_schema: SchemaDescriptor,
    builders: Vec<ColumnBuilder>,
    batched_rows: usize,
    batched_bytes: usize,
    part: Option<Part>,
    parts: Vec<ManifestPart>,
    odd_lines: Vec<u8>,
    odd_file: Option<Hashing>,
    odd_values: BTreeMap<String, u64>,
}

struct Part {
    file: String,
    rows: u64,
    writer: AsyncArrowWriter<Hashing>,
}

impl<'a> SnapshotWriter<'a> {
    /// A snapshot without rows yet.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the columns have no Parquet schema.
    pub(super) fn new(draft: &'a Draft, entity: &'a str, columns: &'a [Column], limits: &'a Limits) -> Result<Self> {
        let schema = Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()));
        Ok(Self {
            draft,
            entity,
            columns,
            limits,
            parquet_schema: parquet_schema::of(&schema)?,
            schema,
            builders: columns.iter().map(|column| ColumnBuilder::new(&column.kind)).collect(),
            batched_rows: 0,
            batched_bytes: 0,
            part: None,
            parts: Vec::new(),
            odd_lines: Vec::new(),
            odd_file: None,
            odd_values: BTreeMap::new(),
        })
    }

    /// Adds a row; returns how many rows were encoded by this call (none, or a batch).
    ///
    /// # Errors
    /// [`Kind::Io`] if the place cannot be written; [`Kind::Internal`] if a value is not of its column's type.
    pub(super) async fn push(&mut self, row: &BinaryCopyOutRow) -> Result<u64> {
        if self.part.is_none() {
            self.part = Some(self.open_part()?);
        }
        let (file, rows_before) = match &self.part {
            Some(part) => (part.file.as_str(), part.rows),
            None => ("", 0),
        };
        for (index, (builder, column)) in self.builders.iter_mut().zip(self.columns).enumerate() {
            let Raw(bytes) = row.try_get(index)?;
            self.batched_bytes += bytes.map_or(0, <[u8]>::len) + size_of::<u32>();
            let odd = builder.push(bytes).map_err(|error| error.context(format!("{}.{}", self.entity, column.name)))?;
            if let Some(value) = odd {
                *self.odd_values.entry(column.name.clone()).or_default() += 1;
                let row = rows_before + self.batched_rows as u64;
                let line = OddValue {
                    part: file.into(),
                    row,
                    column: column.name.as_str().into(),
                    value: value.as_str().into(),
                };
                serde_json::to_writer(&mut self.odd_lines, &line).map_err(std::io::Error::from)?;
                self.odd_lines.push(b'\n');
            }
        }
        self.batched_rows += 1;
        let full = self.batched_rows >= self.limits.batch_rows
            || self.batched_bytes >= self.limits.batch_bytes
            || rows_before + self.batched_rows as u64 >= self.limits.part_rows;
        if full { self.flush().await } else { Ok(0) }
    }

    async fn flush(&mut self) -> Result<u64> {
        let rows = self.batched_rows as u64;
        if rows == 0 {
            return Ok(0);
        }
        let arrays = self.builders.iter_mut().map(ColumnBuilder::finish).collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(|error| {
            Error::new(Kind::Internal, "a batch for the archive does not fit its schema").because(error)
        })?;
        self.batched_rows = 0;
        self.batched_bytes = 0;
        self.flush_odd_lines().await?;
        let Some(part) = &mut self.part else { return Ok(rows) };
        part.writer.write(&batch).await.map_err(|error| write_failed(self.entity, error))?;
        part.rows += rows;
        if part.rows >= self.limits.part_rows || part.writer.bytes_written() >= self.limits.part_bytes {
            self.close_part().await?;
        }
        Ok(rows)
    }

    /// Writes what is left and closes the files. A table without rows gets one part without rows: its columns and types
    /// are worth reading too.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn finish(mut self) -> Result<Written> {
        self.flush().await?;
        if self.part.is_none() && self.parts.is_empty() {
            self.part = Some(self.open_part()?);
        }
        self.close_part().await?;
        let mut odd_values_sha256 = None;
        if let Some(mut file) = self.odd_file.take() {
            file.complete().await.map_err(|error| write_failed(self.entity, error))?;
            odd_values_sha256 = Some(hex::encode(file.hash.finalize()));
        }
        Ok(Written {
            rows: self.parts.iter().map(|part| part.rows).sum(),
            bytes: self.parts.iter().map(|part| part.bytes).sum(),
            parts: self.parts,
            odd_values: self.odd_values,
            odd_values_sha256,
        })
    }

    fn open_part(&self) -> Result<Part> {
        let file = format!("part-{:05}.parquet", self.parts.len());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(self.limits.row_group_rows))
            .set_max_row_group_bytes(Some(self.limits.row_group_bytes))
            .set_created_by(format!("wharf {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(vec![
                KeyValue::new("wharf.entity".into(), self.entity.to_owned()),
                KeyValue::new("wharf.snapshot".into(), self.draft.snapshot().to_owned()),
            ]))
            .build();
        let options =
            ArrowWriterOptions::new().with_properties(properties).with_parquet_schema(self.parquet_schema.clone());
        let destination = Hashing::new(self.draft.writer(self.entity, &file));
        let writer = AsyncArrowWriter::try_new_with_options(destination, self.schema.clone(), options)
            .map_err(|error| write_failed(self.entity, error))?;
        Ok(Part { file, rows: 0, writer })
    }

    async fn close_part(&mut self) -> Result<()> {
        let Some(mut part) = self.part.take() else { return Ok(()) };
        part.writer.finish().await.map_err(|error| write_failed(self.entity, error))?;
        let destination = part.writer.into_inner();
        self.parts.push(ManifestPart {
            file: part.file,
            rows: part.rows,
            bytes: destination.bytes,
            sha256: hex::encode(destination.hash.finalize()),
        });
        failpoint::reach(Point::ArchivePartWritten)
    }

    async fn flush_odd_lines(&mut self) -> Result<()> {
        if self.odd_lines.is_empty() {
            return Ok(());
        }
        let (draft, entity) = (self.draft, self.entity);
        let file = self.odd_file.get_or_insert_with(|| Hashing::new(draft.writer(entity, ODD_VALUES)));
        let lines = Bytes::from(std::mem::take(&mut self.odd_lines));
        file.write(lines).await.map_err(|error| write_failed(entity, error))
    }
}

fn write_failed(entity: &str, error: ParquetError) -> Error {
    failed(&format!("the snapshot of {entity} cannot be written"), error)
}

/// A value's bytes, whatever its type.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A file that is hashed and measured while it is written.
struct Hashing {
    file: BufWriter,
    hash: Sha256,
    bytes: u64,
}

impl Hashing {
    fn new(file: BufWriter) -> Self {
        Self { file, hash: Sha256::new(), bytes: 0 }
    }
}

impl AsyncFileWriter for Hashing {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, std::result::Result<(), ParquetError>> {
        Box::pin(async move {
            self.hash.update(&bytes);
            self.bytes += bytes.len() as u64;
            self.file.put(bytes).await.map_err(|error| ParquetError::External(Box::new(error)))
        })
    }

    fn complete(&mut self) -> BoxFuture<'_, std::result::Result<(), ParquetError>> {
        Box::pin(async { self.file.shutdown().await.map_err(|error| ParquetError::External(Box::new(error))) })
    }
}
