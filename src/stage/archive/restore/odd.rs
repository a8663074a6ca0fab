//! Values that a Parquet type has no place for, from the words of `_odd-values.jsonl` back into PostgreSQL's binary format.
//!
//! The words are those of `builder`: numbers and infinities as PostgreSQL writes them, times beyond the other scale as a
//! count since 2000-01-01, an array of arrays as it was sent, elements of a list with their place. What cannot be read
//! ends the restore: no value is dropped in silence.

use super::super::column::{Column, Kind};
use super::super::manifest::OddValue;
use super::encode::{self, Cells};
use crate::error::{Error, Kind as ErrorKind, Result};
use bytes::BytesMut;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// The odd values of one part: row → column → words.
#[derive(Debug, Default)]
pub(super) struct OddValues(HashMap<u64, HashMap<String, String>>);

impl OddValues {
    /// Reads those of one part from the list.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the list cannot be read.
    pub(super) fn read(list: impl Read, part: &str) -> Result<Self> {
        let mut rows: HashMap<u64, HashMap<String, String>> = HashMap::new();
        for line in BufReader::new(list).lines() {
            let line = line?;
            let odd: OddValue<'_> = serde_json::from_str(&line)
                .map_err(|error| Error::new(ErrorKind::Io, "the list of odd values cannot be read").because(error))?;
            if odd.part == part {
                rows.entry(odd.row).or_default().insert(odd.column.into_owned(), odd.value.into_owned());
            }
        }
        Ok(Self(rows))
    }

    /// The odd values of a row, if it has any.
    pub(super) fn of_row(&self, row: u64) -> Option<&HashMap<String, String>> {
        if self.0.is_empty() { None } else { self.0.get(&row) }
    }
}

/// Appends the value that `words` describe.
pub(super) fn write(cells: &Cells<'_>, row: usize, column: &Column, words: &str, out: &mut BytesMut) -> Result<()> {
    let unreadable = || {
        Error::new(ErrorKind::Io, format!("an odd value of column {} cannot be read from its list", column.name))
            .hint("`wharf archive verify` says whether the list is as it was written")
    };
    if let Kind::List(element) = &column.kind {
        if let Some((_, sent)) = words.split_once("as sent: ") {
            encode::sized(&hex::decode(sent).map_err(|_| unreadable())?, out);
            return Ok(());
        }
        let mut replaced = HashMap::new();
        for item in words.split(", [") {
            let (place, value) = item.trim_start_matches('[').split_once("] ").ok_or_else(unreadable)?;
            let place: usize = place.parse().map_err(|_| unreadable())?;
            replaced.insert(place, scalar(element, value).ok_or_else(unreadable)?);
        }
        return cells.write_list_with(row, &replaced, out);
    }
    encode::sized(&scalar(&column.kind, words).ok_or_else(unreadable)?, out);
    Ok(())
}

/// The binary form of one value; `None` if the words are none of ours.
fn scalar(kind: &Kind, words: &str) -> Option<Vec<u8>> {
    match kind {
        Kind::Decimal { .. } => numeric(words),
        Kind::Timestamp | Kind::TimestampUtc => {
            let microseconds = match words {
                "infinity" => i64::MAX,
                "-infinity" => i64::MIN,
                counted => counted.strip_suffix(" microseconds since 2000-01-01")?.parse().ok()?,
            };
            Some(microseconds.to_be_bytes().to_vec())
        }
        Kind::Date => {
            let days = match words {
                "infinity" => i32::MAX,
                "-infinity" => i32::MIN,
                counted => counted.strip_suffix(" days since 2000-01-01")?.parse().ok()?,
            };
            Some(days.to_be_bytes().to_vec())
        }
        _ => None,
    }
}

/// `numeric_send` of a number of any size, written as PostgreSQL writes it.
fn numeric(text: &str) -> Option<Vec<u8>> {
    let special = match text {
        "NaN" => Some(0xC000_u16),
        "Infinity" => Some(0xD000),
        "-Infinity" => Some(0xF000),
        _ => None,
    };
    let build = |digits: &[u16], weight: i16, sign: u16, scale: u16| -> Option<Vec<u8>> {
        let mut bytes = i16::try_from(digits.len()).ok()?.to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        Some(bytes)
    };
    if let Some(sign) = special {
        return build(&[], 0, sign, 0);
    }
    let (sign, plain) = text.strip_prefix('-').map_or((0, text), |plain| (0x4000, plain));
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    if whole.is_empty() || !plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let filled = format!(
        "{}{whole}{fraction}{}",
        "0".repeat((4 - whole.len() % 4) % 4),
        "0".repeat((4 - fraction.len() % 4) % 4)
    );
    let mut digits: Vec<u16> =
        filled.as_bytes().chunks(4).map(|four| std::str::from_utf8(four).ok()?.parse().ok()).collect::<Option<_>>()?;
    let mut weight = i16::try_from(whole.len().div_ceil(4)).ok()? - 1;
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..leading);
    weight -= i16::try_from(leading).ok()?;
    while digits.last() == Some(&0) {
        digits.pop();
    }
    build(&digits, if digits.is_empty() { 0 } else { weight }, sign, u16::try_from(fraction.len()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::super::numeric::Numeric;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_of_any_size_reads_as_it_was_written(whole in "[1-9][0-9]{0,60}", fraction in "[0-9]{0,60}", minus: bool) {
            let point = if fraction.is_empty() { "" } else { "." };
            let text = format!("{}{whole}{point}{fraction}", if minus { "-" } else { "" });
            let bytes = numeric(&text).unwrap();
            prop_assert_eq!(Numeric::read(&bytes).unwrap().text(), text);
        }
    }

    #[test]
    fn what_is_no_number_is_told_apart() {
        for text in ["NaN", "Infinity", "-Infinity", "0.00", "-0.000012"] {
            assert_eq!(Numeric::read(&numeric(text).unwrap()).unwrap().text(), text);
        }
        for text in ["", "-", ".5", "1e30", "one"] {
            assert_eq!(numeric(text), None, "{text}");
        }
    }
}
