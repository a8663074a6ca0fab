//! Rows of a binary COPY into the bytes of Parquet files, on a thread of its own, so that the server reads, this encodes
//! and the place stores at the same time.
//!
//! Memory is bounded by a batch being decoded, a row group being encoded and the pieces on their way, whatever the size
//! of the table: a batch ends at a number of rows or bytes, so that ten rows of 10 MB weigh as much as a thousand small
//! ones.
//!
//! Documents are neither collected into a dictionary nor given a smallest and a largest value: they never repeat, and
//! nobody looks for a range of them.

use super::builder::ColumnBuilder;
use super::column::{Column, Kind as ColumnKind};
use super::copy_rows::{self, CopyRows};
use super::manifest::{ManifestPart, ODD_VALUES, OddValue};
use super::parquet_schema;
use super::writer::{Limits, Written, encode_failed};
use crate::error::{Error, Kind, Result};
use crate::progress::Meter;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::{Bytes, BytesMut};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_128;

/// Bytes of a file that travel together.
const PIECE: usize = 1 << 20;

/// Some bytes of a file of the snapshot, or its end.
#[derive(Debug)]
pub(super) struct Piece {
    /// The file's name.
    pub file: Arc<str>,
    /// The next bytes of it; `None` when it is whole.
    pub bytes: Option<Bytes>,
}

/// What the files of a COPY are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// Rows: `part-00000.parquet`.
    Rows,
    /// What a layer replaces in older ones: `_replaced-00000.pq`, which neither a reader of folders nor a glob
    /// `*.parquet` takes for rows.
    Replaced,
}

impl Files {
    fn name(self, number: usize) -> String {
        match self {
            Self::Rows => format!("part-{number:05}.parquet"),
            Self::Replaced => format!("_replaced-{number:05}.pq"),
        }
    }
}

/// The snapshot of one entity in the making.
pub(super) struct Encoder {
    entity: String,
    files: Files,
    columns: Vec<Column>,
    content: u128,
    limits: Limits,
    meter: Meter,
    pieces: mpsc::Sender<Piece>,
    schema: SchemaRef,
    parquet_schema: SchemaDescriptor,
    properties: WriterProperties,
    rows: CopyRows,
    builders: Vec<ColumnBuilder>,
    batched_rows: usize,
    batched_bytes: usize,
    part: Option<Part>,
    parts: Vec<ManifestPart>,
    odd_list: Option<Outlet>,
    odd_values: BTreeMap<String, u64>,
}

struct Part {
    file: Arc<str>,
    rows: u64,
    writer: ArrowWriter<Outlet>,
}

impl Encoder {
    /// A snapshot without rows yet, whose files leave by `pieces`; `files` says how they are named.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the columns have no Parquet schema.
    pub(super) fn new(
        entity: &str,
        snapshot: &str,
        files: Files,
        columns: &[Column],
        limits: &Limits,
        meter: &Meter,
        pieces: mpsc::Sender<Piece>,
    ) -> Result<Self> {
        let schema = Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()));
        Ok(Self {
            entity: entity.to_owned(),
            files,
            columns: columns.to_vec(),
            content: 0,
            limits: limits.clone(),
            meter: meter.clone(),
            pieces,
            parquet_schema: parquet_schema::of(&schema)?,
            schema,
            properties: properties(entity, snapshot, columns, limits),
            rows: CopyRows::new(columns.len()),
            builders: columns.iter().map(|column| ColumnBuilder::new(&column.kind)).collect(),
            batched_rows: 0,
            batched_bytes: 0,
            part: None,
            parts: Vec::new(),
            odd_list: None,
            odd_values: BTreeMap::new(),
        })
    }

    /// Encodes what comes, to the end of the COPY.
    ///
    /// # Errors
    /// [`Kind::Io`] if nobody stores the pieces any more; [`Kind::Internal`] if a value is not of its column's type, or the
    /// messages end before the COPY does. Whoever made them stop knows the true reason.
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Vec<Bytes>>) -> Result<Written> {
        while let Some(some) = messages.blocking_recv() {
            for message in some {
                self.take(&message)?;
            }
        }
        if !self.rows.has_ended() {
            return Err(Error::new(Kind::Internal, format!("the rows of {} ended before their end", self.entity)));
        }
        self.finish()
    }

    fn take(&mut self, message: &[u8]) -> Result<()> {
        self.batched_bytes += message.len();
        let mut rest = message;
        while self.rows.next_row(&mut rest)? {
            if self.part.is_none() {
                self.part = Some(self.open_part()?);
            }
            let row = rest;
            for index in 0..self.builders.len() {
                let bytes = copy_rows::field(&mut rest)?;
                let odd = self.builders[index]
                    .push(bytes)
                    .map_err(|error| error.context(format!("{}.{}", self.entity, self.columns[index].name)))?;
                if let Some(value) = odd {
                    self.note_odd(index, &value)?;
                }
            }
            // In any order: nobody tells a mart in which one to come.
            self.content = self.content.wrapping_add(xxh3_128(&row[..row.len() - rest.len()]));
            self.batched_rows += 1;
            let rows_of_part = self.part.as_ref().map_or(0, |part| part.rows) + self.batched_rows as u64;
            if self.batched_rows >= self.limits.batch_rows
                || self.batched_bytes >= self.limits.batch_bytes
                || rows_of_part >= self.limits.part_rows
            {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn note_odd(&mut self, column: usize, value: &str) -> Result<()> {
        let column = &self.columns[column].name;
        *self.odd_values.entry(column.clone()).or_default() += 1;
        let (file, rows_before) = self.part.as_ref().map_or(("", 0), |part| (&*part.file, part.rows));
        let line = OddValue {
            part: file.into(),
            row: rows_before + self.batched_rows as u64,
            column: column.as_str().into(),
            value: value.into(),
        };
        let list = self.odd_list.get_or_insert_with(|| Outlet::new(ODD_VALUES, self.pieces.clone()));
        serde_json::to_writer(&mut *list, &line).map_err(std::io::Error::from)?;
        Ok(list.write_all(b"\n")?)
    }

    fn flush(&mut self) -> Result<()> {
        let rows = self.batched_rows as u64;
        if rows == 0 {
            return Ok(());
        }
        let arrays = self.builders.iter_mut().map(ColumnBuilder::finish).collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(|error| {
            Error::new(Kind::Internal, "a batch for the archive does not fit its schema").because(error)
        })?;
        self.batched_rows = 0;
        self.batched_bytes = 0;
        if let Some(part) = &mut self.part {
            part.writer.write(&batch).map_err(|error| encode_failed(&self.entity, error))?;
            part.rows += rows;
            if part.rows >= self.limits.part_rows || part.writer.bytes_written() >= self.limits.part_bytes {
                self.close_part()?;
            }
        }
        self.meter.advance(rows);
        Ok(())
    }

    /// Writes what is left and closes the files. A table without rows gets one part without rows: its columns and types
    /// are worth reading too.
    fn finish(mut self) -> Result<Written> {
        self.flush()?;
        if self.part.is_none() && self.parts.is_empty() {
            self.part = Some(self.open_part()?);
        }
        self.close_part()?;
        let odd_values_sha256 = match self.odd_list.take() {
            Some(list) => Some(list.close()?.1),
            None => None,
        };
        Ok(Written {
            rows: self.parts.iter().map(|part| part.rows).sum(),
            bytes: self.parts.iter().map(|part| part.bytes).sum(),
            parts: self.parts,
            odd_values: self.odd_values,
            odd_values_sha256,
            content: format!("{:032x}", self.content),
        })
    }

    fn open_part(&self) -> Result<Part> {
        let name = self.files.name(self.parts.len());
        let outlet = Outlet::new(&name, self.pieces.clone());
        let options = ArrowWriterOptions::new()
            .with_properties(self.properties.clone())
            .with_parquet_schema(self.parquet_schema.clone());
        let writer = ArrowWriter::try_new_with_options(outlet, self.schema.clone(), options)
            .map_err(|error| encode_failed(&self.entity, error))?;
        Ok(Part { file: name.into(), rows: 0, writer })
    }

    fn close_part(&mut self) -> Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let outlet = part.writer.into_inner().map_err(|error| encode_failed(&self.entity, error))?;
        let (bytes, sha256) = outlet.close()?;
        self.parts.push(ManifestPart { file: part.file.to_string(), rows: part.rows, bytes, sha256 });
        Ok(())
    }
}

fn properties(entity: &str, snapshot: &str, columns: &[Column], limits: &Limits) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(limits.row_group_rows))
        .set_max_row_group_bytes(Some(limits.row_group_bytes))
        .set_created_by(format!("wharf {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![
            KeyValue::new("wharf.entity".into(), entity.to_owned()),
            KeyValue::new("wharf.snapshot".into(), snapshot.to_owned()),
        ]));
    for column in columns.iter().filter(|column| column.kind == ColumnKind::Json) {
        let path = ColumnPath::from(column.name.as_str());
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    properties.build()
}

/// A file that is hashed and measured while its bytes leave for the place.
struct Outlet {
    file: Arc<str>,
    pieces: mpsc::Sender<Piece>,
    waiting: BytesMut,
    hash: Sha256,
    bytes: u64,
}

impl Outlet {
    fn new(file: &str, pieces: mpsc::Sender<Piece>) -> Self {
        Self { file: file.into(), pieces, waiting: BytesMut::new(), hash: Sha256::new(), bytes: 0 }
    }

    /// Sends the rest; size and SHA-256 of the file.
    fn close(mut self) -> Result<(u64, String)> {
        self.flush()?;
        self.send(None)?;
        Ok((self.bytes, hex::encode(self.hash.finalize())))
    }

    fn send(&self, bytes: Option<Bytes>) -> std::io::Result<()> {
        let piece = Piece { file: self.file.clone(), bytes };
        self.pieces.blocking_send(piece).map_err(|_| std::io::Error::other("nobody stores the archive any more"))
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    /// The writer of Parquet flushes after every row group, which may be a small one.
    fn flush(&mut self) -> std::io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let bytes = self.waiting.split().freeze();
        self.hash.update(&bytes);
        self.bytes += bytes.len() as u64;
        self.send(Some(bytes))
    }
}
