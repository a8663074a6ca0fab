//! Rows on their way into a table by binary COPY.
//!
//! Typed values enter, large messages leave. The wrong answer would be many small ones: each is a task switch on our side
//! and a wake-up of the server, which small records pay for again and again.

use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use jiff::Timestamp;
use std::pin::Pin;
use tokio_postgres::{CopyInSink, Error, Transaction};
use uuid::Uuid;

/// What a binary COPY begins with: signature, no flags, no extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with: a row of -1 columns.
pub const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// A message leaves when it has this many bytes.
const MESSAGE: usize = 128 << 10;
/// Postgres counts its microseconds from 2000-01-01.
const EPOCH: i64 = 946_684_800_000_000;

/// A COPY being written. Dropped before [`CopyWriter::finish`], it is undone.
pub struct CopyWriter {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    out: BytesMut,
}

impl CopyWriter {
    /// Begins `statement`, a `copy … from stdin binary`.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn begin(tx: &Transaction<'_>, statement: &str) -> Result<Self, Error> {
        let sink = Box::pin(tx.copy_in(statement).await?);
        let mut out = BytesMut::with_capacity(MESSAGE);
        out.put_slice(HEADER);
        Ok(Self { sink, out })
    }

    /// Begins a row, whose values follow in the order of the statement's columns.
    pub fn row(&mut self, columns: i16) -> Values<'_> {
        self.out.put_i16(columns);
        Values { out: &mut self.out }
    }

    /// Sends what there is if it is a message's worth; to be called between rows.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn send_when_full(&mut self) -> Result<(), Error> {
        if self.out.len() < MESSAGE {
            return Ok(());
        }
        let message = self.out.split().freeze();
        self.sink.send(message).await
    }

    /// Ends the COPY. Gives how many rows it was.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn finish(mut self) -> Result<u64, Error> {
        self.out.put_slice(&TRAILER);
        self.sink.send(self.out.split().freeze()).await?;
        self.sink.as_mut().finish().await
    }
}

/// The values of a row. A value longer than Postgres can take at all (1 GB) makes it refuse the COPY.
pub struct Values<'a> {
    out: &'a mut BytesMut,
}

impl Values<'_> {
    /// Of any type.
    pub fn null(&mut self) -> &mut Self {
        self.out.put_i32(-1);
        self
    }

    /// `text`.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.value(value.len(), |out| out.put_slice(value.as_bytes()))
    }

    /// `jsonb`, from the text: a version, which is 1, and the text, which Postgres parses itself.
    pub fn jsonb(&mut self, text: &[u8]) -> &mut Self {
        self.value(text.len() + 1, |out| {
            out.put_u8(1);
            out.put_slice(text);
        })
    }

    /// `uuid`.
    pub fn uuid(&mut self, value: Uuid) -> &mut Self {
        self.value(16, |out| out.put_slice(value.as_bytes()))
    }

    /// `bigint`.
    pub fn bigint(&mut self, value: i64) -> &mut Self {
        self.value(8, |out| out.put_i64(value))
    }

    /// `timestamptz`; what is finer than a microsecond is cut off.
    pub fn timestamptz(&mut self, value: Timestamp) -> &mut Self {
        self.value(8, |out| out.put_i64(value.as_microsecond() - EPOCH))
    }

    /// A value or null.
    pub fn maybe<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T) -> &mut Self) -> &mut Self {
        match value {
            Some(value) => put(self, value),
            None => self.null(),
        }
    }

    fn value(&mut self, length: usize, put: impl FnOnce(&mut BytesMut)) -> &mut Self {
        self.out.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
        put(self.out);
        self
    }
}
