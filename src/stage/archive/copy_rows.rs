//! The rows of a binary COPY, field by field, read where they lie: nothing is copied or allocated for a row.
//!
//! What may enter are the messages of one `copy … to stdout (format binary)` in order. The server puts every row into a
//! message of its own; several in one are read as well, a row cut in two is refused rather than guessed at.

use crate::error::{Error, Kind, Result};

/// Signature, flags, length of an extension.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Where in the stream the reading is.
#[derive(Debug)]
pub(super) struct CopyRows {
    columns: usize,
    has_begun: bool,
    has_ended: bool,
}

impl CopyRows {
    /// A stream of rows of so many columns, from its beginning.
    pub(super) fn new(columns: usize) -> Self {
        Self { columns, has_begun: false, has_ended: false }
    }

    /// Goes to the next row of a message; whether there is one. Then as many [`field`]s as there are columns follow.
    ///
    /// # Errors
    /// [`Kind::Internal`] if this is no binary COPY of so many columns.
    pub(super) fn next_row(&mut self, message: &mut &[u8]) -> Result<bool> {
        if !self.has_begun {
            let rest = message.strip_prefix(SIGNATURE).ok_or_else(|| malformed("no signature"))?;
            let (_flags, rest) = split_i32(rest)?;
            let (extension, rest) = split_i32(rest)?;
            *message = split_at(rest, extension)?.1;
            self.has_begun = true;
        }
        if message.is_empty() || self.has_ended {
            return Ok(false);
        }
        let (count, rest) = message.split_first_chunk::<2>().ok_or_else(|| malformed("a row cut short"))?;
        *message = rest;
        match i16::from_be_bytes(*count) {
            -1 => {
                self.has_ended = true;
                Ok(false)
            }
            count if usize::try_from(count) == Ok(self.columns) => Ok(true),
            count => Err(malformed(&format!("a row of {count} fields instead of {}", self.columns))),
        }
    }

    /// Whether the last message said that there is no more.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// The next field of a row; `None` is NULL.
///
/// # Errors
/// [`Kind::Internal`] if the message ends before it.
pub(super) fn field<'a>(message: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    let (length, rest) = split_i32(message)?;
    if length == -1 {
        *message = rest;
        return Ok(None);
    }
    let (field, rest) = split_at(rest, length)?;
    *message = rest;
    Ok(Some(field))
}

fn split_i32(bytes: &[u8]) -> Result<(i32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| malformed("a row cut short"))?;
    Ok((i32::from_be_bytes(*head), rest))
}

fn split_at(bytes: &[u8], length: i32) -> Result<(&[u8], &[u8])> {
    usize::try_from(length)
        .ok()
        .and_then(|length| bytes.split_at_checked(length))
        .ok_or_else(|| malformed("a field cut short"))
}

fn malformed(what: &str) -> Error {
    Error::new(Kind::Internal, format!("PostgreSQL sent what is no binary COPY: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = Vec<Option<Vec<u8>>>;

    /// What the server sends: the header with the first row, every other row by itself, the end by itself.
    fn messages(rows: &[Row], together: bool) -> Vec<Vec<u8>> {
        let mut header = SIGNATURE.to_vec();
        header.extend([0; 8]);
        let mut messages = vec![header];
        for (at, row) in rows.iter().enumerate() {
            if at > 0 && !together {
                messages.push(Vec::new());
            }
            let message = messages.last_mut().unwrap();
            message.extend(i16::try_from(row.len()).unwrap().to_be_bytes());
            for field in row {
                match field {
                    None => message.extend((-1_i32).to_be_bytes()),
                    Some(bytes) => {
                        message.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
                        message.extend(bytes);
                    }
                }
            }
        }
        messages.push((-1_i16).to_be_bytes().to_vec());
        messages
    }

    fn read(messages: &[Vec<u8>], columns: usize) -> Result<(Vec<Row>, bool)> {
        let mut rows = CopyRows::new(columns);
        let mut found = Vec::new();
        for message in messages {
            let mut rest = message.as_slice();
            while rows.next_row(&mut rest)? {
                let row: Row =
                    (0..columns).map(|_| Ok(field(&mut rest)?.map(<[u8]>::to_vec))).collect::<Result<_>>()?;
                found.push(row);
            }
        }
        Ok((found, rows.has_ended()))
    }

    proptest! {
        #[test]
        fn every_row_comes_back_however_the_messages_are_cut_between_rows(
            rows in proptest::collection::vec(
                proptest::collection::vec(
                    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)), 3), 0..9),
            together in any::<bool>(),
        ) {
            prop_assert_eq!(read(&messages(&rows, together), 3).unwrap(), (rows, true));
        }

        #[test]
        fn what_is_cut_short_is_refused_or_seen_not_to_have_ended(cut in 0_usize..60) {
            let whole = messages(&[vec![Some(b"word".to_vec()), None], vec![None, Some(vec![7; 9])]], true).concat();
            prop_assume!(cut < whole.len());
            if let Ok((_, has_ended)) = read(&[whole[..cut].to_vec()], 2) {
                prop_assert!(!has_ended);
            }
        }
    }

    #[test]
    fn rows_of_another_width_are_refused() {
        let error = read(&messages(&[vec![None, None]], true), 3).unwrap_err();
        assert!(error.detail().contains("2 fields instead of 3"), "{error}");
    }
}
