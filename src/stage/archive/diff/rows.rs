//! The rows of one side of a comparison: hashed by key and value, or as texts for people.

use super::super::layers::{self, Replaced};
use super::super::manifest::Manifest;
use super::super::reading::{self, part_failed};
use super::interrupted;
use super::spill::Hashes;
use crate::error::Result;
use crate::progress::Meter;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_128;

/// One snapshot of an entity, its files open; nothing if the entity was not there.
pub(super) struct Side {
    pub snapshot: Option<(Manifest, Vec<Layer>)>,
}

/// One of its layers, newest first.
pub(super) struct Layer {
    pub manifest: Manifest,
    /// Its parts.
    pub files: Vec<File>,
    /// Its files of what it replaces.
    pub replaced: Vec<File>,
}

/// Which columns are compared, by name.
pub(super) struct Columns {
    /// The key's; all of them where the rows have none.
    pub key: Vec<String>,
    /// All that both sides have with one type, in order.
    pub all: Vec<String>,
}

impl Side {
    /// Hands every batch to `take`, with the columns of `columns.all` in their order.
    pub(super) fn each(
        &self,
        columns: &Columns,
        meter: &Meter,
        stop: &CancellationToken,
        mut take: impl FnMut(&[ArrayRef], usize) -> Result<()>,
    ) -> Result<()> {
        let Some((manifest, layers)) = &self.snapshot else { return Ok(()) };
        let mut replaced = Replaced::of(manifest);
        for layer in layers {
            layer.each(columns, &replaced, meter, stop, &mut take)?;
            for (part, file) in layer.manifest.replaced.iter().zip(&layer.replaced) {
                replaced.add(&layer.manifest, part, again(file)?)?;
            }
        }
        Ok(())
    }
}

/// A file that is read from its beginning, however often.
fn again(file: &File) -> Result<File> {
    Ok(file.try_clone()?)
}

impl Layer {
    /// Hands over the rows that no newer layer replaces.
    fn each(
        &self,
        columns: &Columns,
        replaced: &Replaced,
        meter: &Meter,
        stop: &CancellationToken,
        take: &mut impl FnMut(&[ArrayRef], usize) -> Result<()>,
    ) -> Result<()> {
        let manifest = &self.manifest;
        for (part, file) in manifest.parts.iter().zip(&self.files) {
            let failed = |error: &dyn std::fmt::Display| part_failed(manifest, part, error);
            let builder = ParquetRecordBatchReaderBuilder::try_new(again(file)?).map_err(|error| failed(&error))?;
            for batch in reading::batches(builder).map_err(|error| failed(&error))? {
                if stop.is_cancelled() {
                    return Err(interrupted());
                }
                let batch: RecordBatch = batch.map_err(|error| failed(&error))?;
                let batch = match replaced.is_empty() {
                    true => batch,
                    false => filter_record_batch(&batch, &replaced.current(&batch)?).map_err(|error| failed(&error))?,
                };
                let arrays = columns
                    .all
                    .iter()
                    .map(|name| batch.column_by_name(name).cloned().ok_or_else(|| failed(&format!("no column {name}"))))
                    .collect::<Result<Vec<_>>>()?;
                take(&arrays, batch.num_rows())?;
                meter.advance(batch.num_rows() as u64);
            }
        }
        Ok(())
    }
}

/// Turns batches into hashes.
pub(super) struct Hasher {
    keys: Vec<usize>,
}

impl Hasher {
    pub(super) fn new(columns: &Columns) -> Self {
        let keys = columns.key.iter().filter_map(|key| columns.all.iter().position(|name| name == key)).collect();
        Self { keys }
    }

    /// The hashes of a batch's rows. Values of one type that are equal have equal bytes here.
    pub(super) fn hash(&self, arrays: &[ArrayRef]) -> Result<Vec<Hashes>> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|index| arrays[*index].clone()).collect();
        let keys = layers::bytes_of(&keys)?;
        let all = layers::bytes_of(arrays)?;
        Ok(keys
            .iter()
            .zip(all.iter())
            .map(|(key, row)| Hashes { key: xxh3_128(key.as_ref()), row: xxh3_128(row.as_ref()) })
            .collect())
    }
}

/// A value for people; `None` is NULL.
pub(super) fn text(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::FixedSizeBinary(16) => uuid::Uuid::from_slice(array.as_fixed_size_binary().value(row))
            .map_or_else(|_| hex::encode(array.as_fixed_size_binary().value(row)), |uuid| uuid.to_string()),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Timestamp(_, zone) => {
            let microseconds = array.as_primitive::<TimestampMicrosecondType>().value(row);
            match jiff::Timestamp::from_microsecond(microseconds) {
                Ok(at) if zone.is_some() => at.to_string(),
                Ok(at) => at.to_string().trim_end_matches('Z').to_owned(),
                Err(_) => format!("{microseconds} microseconds since 1970-01-01"),
            }
        }
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            let epoch = jiff::civil::date(1970, 1, 1);
            epoch
                .checked_add(jiff::Span::new().try_days(days).unwrap_or_default())
                .map_or_else(|_| format!("{days} days since 1970-01-01"), |date| date.to_string())
        }
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Binary => hex::encode(array.as_binary::<i32>().value(row)),
        DataType::List(_) => {
            let elements = array.as_list::<i32>().value(row);
            let texts: Vec<String> = (0..elements.len())
                .map(|element| text(&elements, element).unwrap_or_else(|| "null".to_owned()))
                .collect();
            format!("[{}]", texts.join(", "))
        }
        other => format!("a value of type {other}"),
    })
}
