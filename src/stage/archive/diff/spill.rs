//! Records in partitions on disk, so that a comparison of any size holds one partition at a time in memory.
//!
//! The files have no names: they are gone with the process, however that ends.

use super::super::reading::{nameless_file, spool_failed};
use crate::error::Result;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};

/// Bytes held per partition before they are written.
const BUFFER: usize = 64 << 10;

/// What is compared of a row: 128 bits of its key and of everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hashes {
    pub key: u128,
    pub row: u128,
}

/// Partitions being written.
pub(super) struct Spill {
    files: Vec<BufWriter<File>>,
}

impl Spill {
    /// Empty partitions.
    pub(super) fn new(partitions: usize) -> Result<Self> {
        let open = |_| Ok(BufWriter::with_capacity(BUFFER, nameless_file()?));
        Ok(Self { files: (0..partitions.max(1)).map(open).collect::<Result<_>>()? })
    }

    /// Equal keys meet in one partition.
    fn file(&mut self, key: u128) -> &mut BufWriter<File> {
        let count = self.files.len();
        &mut self.files[partition_of(key, count)]
    }

    /// Adds the hashes of a row.
    pub(super) fn add(&mut self, hashes: Hashes) -> Result<()> {
        let file = self.file(hashes.key);
        file.write_all(&hashes.key.to_le_bytes()).map_err(spool_failed)?;
        file.write_all(&hashes.row.to_le_bytes()).map_err(spool_failed)
    }

    /// Adds a row's values.
    pub(super) fn add_values(&mut self, key: u128, values: &[Option<String>]) -> Result<()> {
        let bytes = serde_json::to_vec(values).map_err(std::io::Error::from)?;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let file = self.file(key);
        file.write_all(&key.to_le_bytes()).map_err(spool_failed)?;
        file.write_all(&length.to_le_bytes()).map_err(spool_failed)?;
        file.write_all(&bytes).map_err(spool_failed)
    }

    /// The partitions, to be read from their beginnings.
    pub(super) fn finish(self) -> Result<Vec<Partition>> {
        let wind_back = |file: BufWriter<File>| -> Result<Partition> {
            let mut file = file.into_inner().map_err(|error| spool_failed(error.into_error()))?;
            file.rewind().map_err(spool_failed)?;
            Ok(Partition(BufReader::with_capacity(BUFFER, file)))
        };
        self.files.into_iter().map(wind_back).collect()
    }
}

/// Where a key goes.
fn partition_of(key: u128, count: usize) -> usize {
    let high = u64::try_from(key >> 64).unwrap_or(0);
    usize::try_from(high % count as u64).unwrap_or(0)
}

/// A partition being read.
pub(super) struct Partition(BufReader<File>);

impl Partition {
    /// The next row's hashes.
    pub(super) fn next_hashes(&mut self) -> Result<Option<Hashes>> {
        let Some(key) = self.number()? else { return Ok(None) };
        let Some(row) = self.number()? else { return Ok(None) };
        Ok(Some(Hashes { key, row }))
    }

    /// The next row's values.
    pub(super) fn next_values(&mut self) -> Result<Option<(u128, Vec<Option<String>>)>> {
        let Some(key) = self.number()? else { return Ok(None) };
        let mut length = [0; 4];
        self.0.read_exact(&mut length).map_err(spool_failed)?;
        let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap_or(0)];
        self.0.read_exact(&mut bytes).map_err(spool_failed)?;
        Ok(Some((key, serde_json::from_slice(&bytes).map_err(std::io::Error::from)?)))
    }

    fn number(&mut self) -> Result<Option<u128>> {
        let mut bytes = [0; 16];
        match self.0.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(u128::from_le_bytes(bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(spool_failed(error)),
        }
    }
}
