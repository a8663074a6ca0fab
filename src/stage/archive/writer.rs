//! The snapshot of one entity: from the server's COPY through the encoder's thread into the place, all three at work at
//! once. Bounded channels between them keep the fastest from running ahead.
//!
//! Wrong answers avoided: encoding between two reads (the server waits while we compress, we wait while it reads), and an
//! upload left open when something fails, which a store would keep, and charge for, unseen.

use super::column::Column;
use super::encoder::{Encoder, Files, Piece};
use super::manifest::ManifestPart;
use super::place::{Draft, failed};
use crate::error::{Error, Kind, Result};
use crate::failpoint::{self, Point};
use crate::progress::Meter;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use object_store::buffered::BufWriter;
use parquet::errors::ParquetError;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Bytes and messages of the COPY that are handed to the encoder together, and how many such loads may wait.
const LOAD_BYTES: usize = 256 << 10;
const LOAD_MESSAGES: usize = 2_048;
const LOADS_WAITING: usize = 4;
/// Pieces of files that may wait to be stored.
const PIECES_WAITING: usize = 4;

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
    /// Rows of an entity from which on only what changed is written: a smaller one is written whole.
    pub layered_from_rows: u64,
    /// Layers of a snapshot, after which all rows are written again.
    pub layers: usize,
    /// Values that all layers of a snapshot replace together, after which all rows are written again: who reads it holds 16
    /// bytes of each.
    pub replaced: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_rows: 8_192,
            batch_bytes: 4 << 20,
            row_group_rows: 250_000,
            row_group_bytes: 16 << 20,
            part_rows: 5_000_000,
            part_bytes: 512 << 20,
            layered_from_rows: 5_000,
            layers: 60,
            replaced: 1_000_000,
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
    /// Hash of the rows in any order.
    pub content: String,
}

/// Writes what a binary COPY of these columns sends into the draft.
///
/// # Errors
/// [`Kind::Io`] if the place cannot be written; [`Kind::Interrupted`]; [`Kind::Internal`] if a value is not of its column's
/// type; those of the database.
#[expect(clippy::too_many_arguments, reason = "what one COPY needs, twice")]
pub(super) async fn write(
    draft: &Draft,
    entity: &str,
    files: Files,
    columns: &[Column],
    limits: &Limits,
    copy: impl Stream<Item = std::result::Result<Bytes, tokio_postgres::Error>>,
    meter: &Meter,
    stop: &CancellationToken,
) -> Result<Written> {
    let (loads, arriving) = mpsc::channel(LOADS_WAITING);
    let (pieces, leaving) = mpsc::channel(PIECES_WAITING);
    let encoder = Encoder::new(entity, draft.snapshot(), files, columns, limits, meter, pieces)?;
    let encoding = tokio::task::spawn_blocking(move || encoder.run(arriving));
    let (fed, stored) = tokio::join!(feed(copy, loads, stop), store(draft, entity, leaving));
    let encoded = encoding.await.map_err(|error| {
        Error::new(Kind::Internal, format!("the snapshot of {entity} was cut short")).because(error)
    })?;
    // Who fails first makes the others end: the place and the server know why, the encoder only that they are gone.
    stored?;
    fed?;
    encoded
}

/// Hands the messages of the COPY on; ends quietly if nobody takes them.
async fn feed(
    copy: impl Stream<Item = std::result::Result<Bytes, tokio_postgres::Error>>,
    loads: mpsc::Sender<Vec<Bytes>>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut copy = pin!(copy);
    let mut stopped = pin!(stop.cancelled());
    let (mut load, mut bytes) = (Vec::new(), 0);
    loop {
        let message = tokio::select! {
            message = copy.next() => message,
            () = &mut stopped => return Err(super::interrupted()),
        };
        let is_last = message.is_none();
        if let Some(message) = message {
            let message = message?;
            bytes += message.len();
            load.push(message);
        }
        if is_last || bytes >= LOAD_BYTES || load.len() >= LOAD_MESSAGES {
            bytes = 0;
            if loads.send(std::mem::take(&mut load)).await.is_err() || is_last {
                return Ok(());
            }
        }
    }
}

/// Stores the pieces of the files as they come.
async fn store(draft: &Draft, entity: &str, mut pieces: mpsc::Receiver<Piece>) -> Result<()> {
    let mut open: BTreeMap<Arc<str>, BufWriter> = BTreeMap::new();
    let mut stored = Ok(());
    while let Some(piece) = pieces.recv().await {
        stored = store_piece(draft, entity, &mut open, piece).await;
        if stored.is_err() {
            break;
        }
    }
    // Not whole any more: a store keeps the parts of an upload until they are withdrawn.
    for mut file in open.into_values() {
        let _ = file.abort().await;
    }
    stored
}

async fn store_piece(
    draft: &Draft,
    entity: &str,
    open: &mut BTreeMap<Arc<str>, BufWriter>,
    piece: Piece,
) -> Result<()> {
    let Piece { file, bytes } = piece;
    if let Some(bytes) = bytes {
        let writer = open.entry(file.clone()).or_insert_with(|| draft.writer(entity, &file));
        return writer.put(bytes).await.map_err(|error| draft.failed(&cannot_be_written(entity), error));
    }
    // Should this fail, the writer withdraws the upload itself.
    let Some(mut writer) = open.remove(&file) else { return Ok(()) };
    writer.shutdown().await.map_err(|error| draft.failed(&cannot_be_written(entity), error))?;
    failpoint::reach(Point::ArchivePartWritten)
}

/// The error of encoding a snapshot.
pub(super) fn encode_failed(entity: &str, error: ParquetError) -> Error {
    failed(&cannot_be_written(entity), error)
}

fn cannot_be_written(entity: &str) -> String {
    format!("the snapshot of {entity} cannot be written")
}
