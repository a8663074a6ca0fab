//! Arrow batches into PostgreSQL's binary COPY format: the way back of `builder`. Nothing enters but arrays and the
//! columns they are for.
//!
//! A value that was listed beside the data because its type had no place for it is put back from the list ([`super::odd`]).
//! Wrong answers avoided: a detour over text (slow, and floats lose digits), and one call per row.

use super::super::column::{Column, Kind};
use super::super::time;
use super::odd::{self, OddValues};
use crate::error::{Error, Kind as ErrorKind, Result};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use bytes::BytesMut;
use std::collections::HashMap;

const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// A column of the table and where the file has it.
#[derive(Debug, Clone)]
pub(super) struct Mapped {
    /// The table's column.
    pub column: Column,
    /// Its place in the file.
    pub index: usize,
}

/// Whether values of a file's type can be put into a column; a decimal's digits and places may differ.
pub(super) fn fits(column: &Column, file_type: &DataType) -> bool {
    let wanted = column.kind.data_type();
    !column.as_text
        && match (&wanted, file_type) {
            (DataType::Decimal128(..), DataType::Decimal128(..)) => true,
            (DataType::List(wanted), DataType::List(found)) => match (wanted.data_type(), found.data_type()) {
                (DataType::Decimal128(..), DataType::Decimal128(..)) => true,
                (wanted, found) => wanted == found,
            },
            (wanted, found) => wanted == found,
        }
}

/// Appends the rows of a batch. `first_row` is the number of its first row in the part.
///
/// # Errors
/// [`ErrorKind::Internal`] if an array is not of the type that was looked at before; [`ErrorKind::Io`] for a listed odd
/// value that cannot be read.
pub(super) fn rows(
    batch: &RecordBatch,
    columns: &[Mapped],
    odd_values: &OddValues,
    first_row: u64,
    out: &mut BytesMut,
) -> Result<()> {
    let count = i16::try_from(columns.len()).map_err(|_| wrong("a table has more columns than COPY can carry"))?;
    let cells: Vec<Cells<'_>> = columns
        .iter()
        .map(|mapped| Cells::new(&mapped.column.kind, &mapped.column, batch.column(mapped.index)))
        .collect::<Result<_>>()?;
    for row in 0..batch.num_rows() {
        out.extend_from_slice(&count.to_be_bytes());
        let odd = odd_values.of_row(first_row + row as u64);
        for (cells, mapped) in cells.iter().zip(columns) {
            let words = odd.and_then(|odd| odd.get(&mapped.column.name));
            match words {
                Some(words) => odd::write(cells, row, &mapped.column, words, out)?,
                None => cells.write(row, out),
            }
        }
    }
    Ok(())
}

/// An array, ready to be written value by value.
pub(super) enum Cells<'a> {
    Text(&'a StringArray),
    Jsonb(&'a StringArray),
    Uuid(&'a FixedSizeBinaryArray),
    /// With its decimal places, and whether the column declares any.
    Decimal {
        decimals: &'a Decimal128Array,
        scale: u16,
        is_declared: bool,
    },
    Timestamp(&'a TimestampMicrosecondArray),
    Date(&'a Date32Array),
    Boolean(&'a BooleanArray),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Binary(&'a BinaryArray),
    List {
        list: &'a ListArray,
        elements: Box<Cells<'a>>,
        element_oid: u32,
    },
}

impl<'a> Cells<'a> {
    fn new(kind: &Kind, column: &Column, array: &'a ArrayRef) -> Result<Self> {
        fn cast<T: Array + 'static>(array: &ArrayRef) -> Result<&T> {
            array.as_any().downcast_ref().ok_or_else(|| wrong("an array is not of its column's type"))
        }
        Ok(match kind {
            Kind::Text => Cells::Text(cast(array)?),
            Kind::Json if column.type_name == "jsonb" => Cells::Jsonb(cast(array)?),
            Kind::Json => Cells::Text(cast(array)?),
            Kind::Uuid => Cells::Uuid(cast(array)?),
            Kind::Decimal { .. } => {
                let decimals: &Decimal128Array = cast(array)?;
                let scale = u16::try_from(decimals.scale()).map_err(|_| wrong("a decimal of negative scale"))?;
                Cells::Decimal {
                    decimals,
                    scale,
                    is_declared: !["numeric", "numeric[]"].contains(&column.postgres_type.as_str()),
                }
            }
            Kind::TimestampUtc | Kind::Timestamp => Cells::Timestamp(cast(array)?),
            Kind::Date => Cells::Date(cast(array)?),
            Kind::Boolean => Cells::Boolean(cast(array)?),
            Kind::Int16 => Cells::Int16(cast(array)?),
            Kind::Int32 => Cells::Int32(cast(array)?),
            Kind::Int64 => Cells::Int64(cast(array)?),
            Kind::Float32 => Cells::Float32(cast(array)?),
            Kind::Float64 => Cells::Float64(cast(array)?),
            Kind::Binary => Cells::Binary(cast(array)?),
            Kind::List(element) => {
                let list: &ListArray = cast(array)?;
                let elements = Box::new(Cells::new(element, column, list.values())?);
                Cells::List { list, elements, element_oid: column.type_oid }
            }
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Text(array) | Cells::Jsonb(array) => array.is_null(row),
            Cells::Uuid(array) => array.is_null(row),
            Cells::Decimal { decimals, .. } => decimals.is_null(row),
            Cells::Timestamp(array) => array.is_null(row),
            Cells::Date(array) => array.is_null(row),
            Cells::Boolean(array) => array.is_null(row),
            Cells::Int16(array) => array.is_null(row),
            Cells::Int32(array) => array.is_null(row),
            Cells::Int64(array) => array.is_null(row),
            Cells::Float32(array) => array.is_null(row),
            Cells::Float64(array) => array.is_null(row),
            Cells::Binary(array) => array.is_null(row),
            Cells::List { list, .. } => list.is_null(row),
        }
    }

    /// Appends one value with its length.
    pub(super) fn write(&self, row: usize, out: &mut BytesMut) {
        if self.is_null(row) {
            out.extend_from_slice(&NULL);
            return;
        }
        match self {
            Cells::Text(array) => sized(array.value(row).as_bytes(), out),
            Cells::Jsonb(array) => {
                let text = array.value(row).as_bytes();
                out.extend_from_slice(&length(text.len() + 1));
                // Version of the format.
                out.extend_from_slice(&[1]);
                out.extend_from_slice(text);
            }
            Cells::Uuid(array) => sized(array.value(row), out),
            Cells::Decimal { decimals, scale, is_declared: true } => numeric(decimals.value(row), *scale, out),
            Cells::Decimal { decimals, scale, is_declared: false } => {
                // The file's places are not the value's: zeros at its end were never there, as far as anybody can tell.
                let (mut unscaled, mut scale) = (decimals.value(row), *scale);
                while scale > 0 && unscaled % 10 == 0 {
                    unscaled /= 10;
                    scale -= 1;
                }
                numeric(unscaled, scale, out);
            }
            Cells::Timestamp(array) => sized(&time::to_postgres_timestamp(array.value(row)).to_be_bytes(), out),
            Cells::Date(array) => sized(&time::to_postgres_date(array.value(row)).to_be_bytes(), out),
            Cells::Boolean(array) => sized(&[u8::from(array.value(row))], out),
            Cells::Int16(array) => sized(&array.value(row).to_be_bytes(), out),
            Cells::Int32(array) => sized(&array.value(row).to_be_bytes(), out),
            Cells::Int64(array) => sized(&array.value(row).to_be_bytes(), out),
            Cells::Float32(array) => sized(&array.value(row).to_be_bytes(), out),
            Cells::Float64(array) => sized(&array.value(row).to_be_bytes(), out),
            Cells::Binary(array) => sized(array.value(row), out),
            Cells::List { list, elements, element_oid } => {
                let offsets = list.value_offsets();
                let range = position(offsets[row])..position(offsets[row + 1]);
                array_of(range, *element_oid, |element, out| elements.write(element, out), out);
            }
        }
    }

    /// Appends a list whose elements at some places are replaced.
    pub(super) fn write_list_with(
        &self,
        row: usize,
        replaced: &HashMap<usize, Vec<u8>>,
        out: &mut BytesMut,
    ) -> Result<()> {
        let Cells::List { list, elements, element_oid } = self else {
            return Err(wrong("elements are listed of a column that is no list"));
        };
        let offsets = list.value_offsets();
        let (from, to) = (position(offsets[row]), position(offsets[row + 1]));
        let write = |element: usize, out: &mut BytesMut| match replaced.get(&(element - from)) {
            Some(bytes) => sized(bytes, out),
            None => elements.write(element, out),
        };
        array_of(from..to, *element_oid, write, out);
        Ok(())
    }
}

/// An array as `array_recv` reads it; see `builder` for the layout.
fn array_of(range: std::ops::Range<usize>, element_oid: u32, write: impl Fn(usize, &mut BytesMut), out: &mut BytesMut) {
    let begins = out.len();
    out.extend_from_slice(&[0; 4]);
    let dimensions = i32::from(!range.is_empty());
    out.extend_from_slice(&dimensions.to_be_bytes());
    // NULLs may be among them; PostgreSQL finds out by itself.
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&element_oid.to_be_bytes());
    if !range.is_empty() {
        out.extend_from_slice(&length(range.len()));
        out.extend_from_slice(&1_i32.to_be_bytes());
        for element in range {
            write(element, out);
        }
    }
    let size = length(out.len() - begins - 4);
    out[begins..begins + 4].copy_from_slice(&size);
}

/// A decimal as `numeric_recv` reads it; see `numeric` for the layout.
pub(super) fn numeric(unscaled: i128, scale: u16, out: &mut BytesMut) {
    let magnitude = unscaled.unsigned_abs();
    let sign: u16 = if unscaled < 0 { 0x4000 } else { 0 };
    // Filled up to whole digits of base 10,000, from the last to the first; 39 decimal digits and padding fit into 12.
    let padding = u32::from((4 - scale % 4) % 4);
    let places = scale.div_ceil(4) as i32;
    let mut digits = [0_u16; 12];
    let mut count = 0;
    let first = 10_u128.pow(4 - padding);
    let mut rest = magnitude;
    // The last digit has fewer decimal places of the value than the others, unless nothing is padded.
    digits[count] = (rest % first) as u16 * 10_u16.pow(padding);
    rest /= first;
    count += 1;
    while rest > 0 && count < digits.len() {
        digits[count] = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    // Zeros at the end and at the beginning are not sent.
    let skipped = digits[..count].iter().take_while(|digit| **digit == 0).count();
    let weight = count as i32 - 1 - places;
    let sent = &digits[skipped.min(count)..count];
    let trimmed = sent.iter().rev().take_while(|digit| **digit == 0).count();
    let sent = &sent[..sent.len() - trimmed];
    let weight = if sent.is_empty() { 0 } else { weight - trimmed as i32 };
    out.extend_from_slice(&length(8 + 2 * sent.len()));
    out.extend_from_slice(&(sent.len() as i16).to_be_bytes());
    out.extend_from_slice(&(weight as i16).to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    for digit in sent.iter().rev() {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

/// Bytes with their length before them.
pub(super) fn sized(bytes: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(&length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// A length as COPY writes it. PostgreSQL holds no value of two gigabytes.
fn length(bytes: usize) -> [u8; 4] {
    i32::try_from(bytes).unwrap_or(i32::MAX).to_be_bytes()
}

/// An offset of Arrow's, which is never negative.
fn position(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

pub(super) fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Internal, what)
}

#[cfg(test)]
mod tests {
    use super::super::super::numeric::{Fitted, Numeric};
    use super::*;
    use proptest::prelude::*;

    const LARGEST: i128 = 10_i128.pow(38) - 1;

    proptest! {
        #[test]
        fn a_decimal_is_read_back_as_it_was(unscaled in -LARGEST..=LARGEST, small in any::<i64>(), scale in 0_u8..=38) {
            for unscaled in [unscaled, i128::from(small), i128::from(small % 1000) * 10_000] {
                let mut out = BytesMut::new();
                numeric(unscaled, u16::from(scale), &mut out);
                let sent = i32::from_be_bytes(out[..4].try_into().unwrap());
                prop_assert_eq!(usize::try_from(sent).unwrap(), out.len() - 4);
                let read = Numeric::read(&out[4..]).unwrap();
                prop_assert_eq!(read.fit(38, i8::try_from(scale).unwrap()), Fitted::Exact(unscaled));
                // PostgreSQL keeps neither zeros at the ends.
                let digits: Vec<u8> = out[12..].to_vec();
                if let (Some(first), Some(last)) = (digits.chunks(2).next(), digits.chunks(2).last()) {
                    prop_assert!(first != [0, 0] && last != [0, 0]);
                }
            }
        }
    }
}
