//! Values in PostgreSQL's binary format into Arrow arrays, one builder per column.
//!
//! Nothing is lost and nothing bent: a value that the column's type has no place for (not a number, an infinite time, a
//! number of too many digits, an array of arrays) becomes null, one with more decimal places than the type is rounded,
//! and both are handed back as [`Odd`] with the exact value in words, to be listed beside the data.

use super::column::Kind;
use super::numeric::{Fitted, Numeric};
use super::time;
use crate::error::{Error, Kind as ErrorKind, Result};
use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// What the type of a column could not hold, exactly, in words. `None` is the usual case.
pub(super) type Odd = Option<String>;

/// The array of one column in the making.
pub(super) struct ColumnBuilder {
    kind: Kind,
    values: Values,
}

enum Values {
    Text(StringBuilder),
    Json(StringBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Decimal(Decimal128Builder, u8, i8),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Binary(BinaryBuilder),
    List { lengths: Vec<usize>, present: Vec<bool>, elements: Box<ColumnBuilder> },
}

impl ColumnBuilder {
    /// An empty builder for a column of this kind.
    pub(super) fn new(kind: &Kind) -> Self {
        let values = match kind {
            Kind::Text => Values::Text(StringBuilder::new()),
            Kind::Json => Values::Json(StringBuilder::new()),
            Kind::Uuid => Values::Uuid(FixedSizeBinaryBuilder::new(16)),
            Kind::Decimal { precision, scale } => Values::Decimal(
                Decimal128Builder::new().with_data_type(DataType::Decimal128(*precision, *scale)),
                *precision,
                *scale,
            ),
            Kind::TimestampUtc => Values::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::Timestamp => Values::Timestamp(TimestampMicrosecondBuilder::new()),
            Kind::Date => Values::Date(Date32Builder::new()),
            Kind::Boolean => Values::Boolean(BooleanBuilder::new()),
            Kind::Int16 => Values::Int16(Int16Builder::new()),
            Kind::Int32 => Values::Int32(Int32Builder::new()),
            Kind::Int64 => Values::Int64(Int64Builder::new()),
            Kind::Float32 => Values::Float32(Float32Builder::new()),
            Kind::Float64 => Values::Float64(Float64Builder::new()),
            Kind::Binary => Values::Binary(BinaryBuilder::new()),
            Kind::List(element) => Values::List {
                lengths: Vec::new(),
                present: Vec::new(),
                elements: Box::new(ColumnBuilder::new(element)),
            },
        };
        Self { kind: kind.clone(), values }
    }

    /// Adds one value as PostgreSQL sent it; `None` is NULL.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if the bytes are not of the type that the catalog named.
    pub(super) fn push(&mut self, bytes: Option<&[u8]>) -> Result<Odd> {
        let Some(bytes) = bytes else {
            self.push_null();
            return Ok(None);
        };
        match &mut self.values {
            Values::Text(builder) => builder.append_value(text(bytes)?),
            Values::Json(builder) => {
                // jsonb comes with one byte that names the version of its format, json without.
                let json = bytes.strip_prefix(&[1]).unwrap_or(bytes);
                builder.append_value(text(json)?);
            }
            Values::Uuid(builder) => builder.append_value(fixed::<16>(bytes)?).map_err(malformed)?,
            Values::Decimal(builder, precision, scale) => {
                let numeric = Numeric::read(bytes).ok_or_else(|| unexpected("numeric", bytes))?;
                match numeric.fit(*precision, *scale) {
                    Fitted::Exact(value) => builder.append_value(value),
                    Fitted::Rounded(value) => {
                        builder.append_value(value);
                        return Ok(Some(numeric.text()));
                    }
                    Fitted::Impossible => {
                        builder.append_null();
                        return Ok(Some(numeric.text()));
                    }
                }
            }
            Values::Timestamp(builder) => match time::timestamp(i64::from_be_bytes(fixed(bytes)?)) {
                Ok(microseconds) => builder.append_value(microseconds),
                Err(words) => {
                    builder.append_null();
                    return Ok(Some(words));
                }
            },
            Values::Date(builder) => match time::date(i32::from_be_bytes(fixed(bytes)?)) {
                Ok(days) => builder.append_value(days),
                Err(words) => {
                    builder.append_null();
                    return Ok(Some(words));
                }
            },
            Values::Boolean(builder) => builder.append_value(fixed::<1>(bytes)? != [0]),
            Values::Int16(builder) => builder.append_value(i16::from_be_bytes(fixed(bytes)?)),
            Values::Int32(builder) => builder.append_value(i32::from_be_bytes(fixed(bytes)?)),
            Values::Int64(builder) => builder.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Values::Float32(builder) => builder.append_value(f32::from_be_bytes(fixed(bytes)?)),
            Values::Float64(builder) => builder.append_value(f64::from_be_bytes(fixed(bytes)?)),
            Values::Binary(builder) => builder.append_value(bytes),
            Values::List { lengths, present, elements } => {
                let array = PostgresArray::read(bytes).ok_or_else(|| unexpected("array", bytes))?;
                if array.dimensions > 1 {
                    lengths.push(0);
                    present.push(false);
                    return Ok(Some(format!(
                        "an array of {} dimensions, as sent: {}",
                        array.dimensions,
                        hex::encode(bytes)
                    )));
                }
                let mut length = 0;
                let mut odd: Vec<String> = Vec::new();
                for element in array {
                    let element = element.ok_or_else(|| unexpected("array", bytes))?;
                    if let Some(words) = elements.push(element)? {
                        odd.push(format!("[{length}] {words}"));
                    }
                    length += 1;
                }
                lengths.push(length);
                present.push(true);
                return Ok((!odd.is_empty()).then(|| odd.join(", ")));
            }
        }
        Ok(None)
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Text(builder) | Values::Json(builder) => builder.append_null(),
            Values::Uuid(builder) => builder.append_null(),
            Values::Decimal(builder, ..) => builder.append_null(),
            Values::Timestamp(builder) => builder.append_null(),
            Values::Date(builder) => builder.append_null(),
            Values::Boolean(builder) => builder.append_null(),
            Values::Int16(builder) => builder.append_null(),
            Values::Int32(builder) => builder.append_null(),
            Values::Int64(builder) => builder.append_null(),
            Values::Float32(builder) => builder.append_null(),
            Values::Float64(builder) => builder.append_null(),
            Values::Binary(builder) => builder.append_null(),
            Values::List { lengths, present, .. } => {
                lengths.push(0);
                present.push(false);
            }
        }
    }

    /// The array of what was added since the last call.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if the parts of a list do not fit, which would be a defect here.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match &mut self.values {
            Values::Text(builder) | Values::Json(builder) => Arc::new(builder.finish()),
            Values::Uuid(builder) => Arc::new(builder.finish()),
            Values::Decimal(builder, ..) => Arc::new(builder.finish()),
            Values::Timestamp(builder) => Arc::new(builder.finish()),
            Values::Date(builder) => Arc::new(builder.finish()),
            Values::Boolean(builder) => Arc::new(builder.finish()),
            Values::Int16(builder) => Arc::new(builder.finish()),
            Values::Int32(builder) => Arc::new(builder.finish()),
            Values::Int64(builder) => Arc::new(builder.finish()),
            Values::Float32(builder) => Arc::new(builder.finish()),
            Values::Float64(builder) => Arc::new(builder.finish()),
            Values::Binary(builder) => Arc::new(builder.finish()),
            Values::List { lengths, present, elements } => {
                let DataType::List(field) = self.kind.data_type() else {
                    return Err(Error::new(ErrorKind::Internal, "a list builder for a column that is no list"));
                };
                let offsets = OffsetBuffer::<i32>::from_lengths(std::mem::take(lengths));
                let nulls = NullBuffer::from(std::mem::take(present));
                let list = ListArray::try_new(field, offsets, elements.finish()?, Some(nulls)).map_err(malformed)?;
                Arc::new(list)
            }
        })
    }
}

/// An array value as `array_send` writes it: dimensions, a flag for NULLs, the element type, per dimension length and
/// lower bound, then the elements, each with its length, -1 for NULL.
struct PostgresArray<'a> {
    dimensions: i32,
    left: i32,
    rest: &'a [u8],
}

impl<'a> PostgresArray<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (dimensions, rest) = split_i32(bytes)?;
        let (_has_nulls, rest) = split_i32(rest)?;
        let (_element_type, rest) = split_i32(rest)?;
        match dimensions {
            0 => Some(Self { dimensions, left: 0, rest }),
            1 => {
                let (length, rest) = split_i32(rest)?;
                // Where counting starts has no counterpart outside PostgreSQL.
                let (_lower_bound, rest) = split_i32(rest)?;
                Some(Self { dimensions, left: length, rest })
            }
            2..=6 => Some(Self { dimensions, left: 0, rest }),
            _ => None,
        }
    }
}

impl<'a> Iterator for PostgresArray<'a> {
    /// The outer option is `None` where the bytes end too early.
    type Item = Option<Option<&'a [u8]>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let element = split_i32(self.rest).and_then(|(length, rest)| {
            if length == -1 {
                self.rest = rest;
                return Some(None);
            }
            let (element, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            self.rest = rest;
            Some(Some(element))
        });
        if element.is_none() {
            self.left = 0;
        }
        Some(element)
    }
}

fn split_i32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*head), rest))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| unexpected(&format!("value of {N} bytes"), bytes))
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| unexpected("text in UTF-8", bytes))
}

fn unexpected(what: &str, bytes: &[u8]) -> Error {
    Error::new(ErrorKind::Internal, format!("PostgreSQL sent {} bytes that are no {what}", bytes.len()))
}

fn malformed(error: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "an array for the archive could not be put together").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray, StringArray};
    use proptest::prelude::*;

    fn array_send(elements: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = i32::try_from(elements.len()).unwrap();
        for word in [i32::from(length > 0), 1, 25] {
            bytes.extend(word.to_be_bytes());
        }
        if length > 0 {
            bytes.extend(length.to_be_bytes());
            bytes.extend(1_i32.to_be_bytes());
        }
        for element in elements {
            match element {
                None => bytes.extend((-1_i32).to_be_bytes()),
                Some(text) => {
                    bytes.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }

    fn text_list() -> ColumnBuilder {
        ColumnBuilder::new(&Kind::List(Box::new(Kind::Text)))
    }

    proptest! {
        #[test]
        fn lists_of_text_come_back_as_they_went_in(
            rows in proptest::collection::vec(
                proptest::option::of(proptest::collection::vec(proptest::option::of(".{0,12}"), 0..5)),
                0..20,
            ),
        ) {
            let mut builder = text_list();
            for row in &rows {
                let sent = row.as_ref().map(|row| array_send(&row.iter().map(Option::as_deref).collect::<Vec<_>>()));
                prop_assert_eq!(builder.push(sent.as_deref()).unwrap(), None);
            }
            let array = builder.finish().unwrap();
            let list = array.as_list::<i32>();
            let read: Vec<Option<Vec<Option<String>>>> = (0..list.len())
                .map(|i| {
                    list.is_valid(i).then(|| {
                        let elements = list.value(i);
                        let strings: &StringArray = elements.as_string();
                        strings.iter().map(|s| s.map(str::to_owned)).collect()
                    })
                })
                .collect();
            prop_assert_eq!(read, rows);
        }

        #[test]
        fn no_bytes_make_a_builder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for kind in [
                Kind::Json,
                Kind::Uuid,
                Kind::Decimal { precision: 18, scale: 4 },
                Kind::TimestampUtc,
                Kind::Boolean,
                Kind::List(Box::new(Kind::Decimal { precision: 18, scale: 4 })),
            ] {
                let _ = ColumnBuilder::new(&kind).push(Some(&bytes));
            }
        }
    }

    #[test]
    fn an_array_cut_short_is_an_error() {
        let whole = array_send(&[Some("one"), Some("two")]);
        for length in 0..whole.len() {
            assert!(text_list().push(Some(&whole[..length])).is_err(), "{length} bytes were taken");
        }
    }

    #[test]
    fn an_array_of_arrays_is_null_and_named() {
        let mut bytes = Vec::new();
        for word in [2_i32, 0, 25, 1, 1, 1, 1, 1] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.push(b'x');
        let mut builder = text_list();
        let words = builder.push(Some(&bytes)).unwrap().unwrap();
        assert!(words.starts_with("an array of 2 dimensions, as sent: 00000002"), "{words}");
        assert!(builder.finish().unwrap().is_null(0));
    }

    #[test]
    fn a_builder_starts_anew_after_each_batch() {
        let mut builder = text_list();
        builder.push(Some(&array_send(&[Some("one")]))).unwrap();
        assert_eq!(builder.finish().unwrap().len(), 1);
        builder.push(None).unwrap();
        assert_eq!(builder.finish().unwrap().len(), 1);
    }
}
