//! Reading a place: what is in it, which instants it shows, and its files one by one. Nothing here writes to the place.
//!
//! Files are read from disk. What lies in an object store is fetched once, part by part, into a nameless file of the
//! temporary folder: it takes the room of one part (half a gigabyte at most), and is gone with the process however that
//! ends.

use super::entities::CHANGES;
use super::manifest::{self, LATEST, Latest, Manifest, ManifestPart, PAGES};
use super::place::{Place, WRITING, failed};
use crate::error::{Error, Kind, Result};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

/// Rows decoded at once at most.
const BATCH_ROWS: u64 = 8_192;
/// Bytes decoded at once, as far as the file's own sizes tell.
const BATCH_BYTES: u64 = 8 << 20;

/// What lies at the root.
#[derive(Debug, Default)]
pub(super) struct Root {
    /// Folders of entities, in order.
    pub entities: Vec<String>,
    /// Files and folders that are none of the archive's.
    pub foreign: Vec<String>,
}

/// What lies in an entity's folder.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Snapshot → its files with their sizes, in order.
    pub snapshots: BTreeMap<String, BTreeMap<String, u64>>,
    /// Files that belong to no snapshot, relative to the entity's folder.
    pub foreign: Vec<String>,
}

/// Unpublished work: of a run that writes now, or left by one that was killed.
#[derive(Debug)]
pub(super) struct Leftover {
    /// Fingerprint of the database.
    pub database: String,
    /// Name of the snapshot it was to become.
    pub snapshot: String,
    /// Its files.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

impl Place {
    /// What lies at the root.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn root(&self) -> Result<Root> {
        let mut root = Root::default();
        let listed =
            self.store.list_with_delimiter(Some(&self.base)).await.map_err(|e| self.read_failed(&self.base, e))?;
        for path in listed.common_prefixes {
            let Some(name) = path.filename() else { continue };
            if [WRITING, PAGES].contains(&name) {
                continue;
            }
            // An entity is `schema.relation`.
            let is_entity = name.contains('.') && !name.starts_with(['_', '.']);
            if is_entity { &mut root.entities } else { &mut root.foreign }.push(name.to_owned());
        }
        let files = listed.objects.iter().filter_map(|object| object.location.filename());
        root.foreign.extend(files.filter(|name| *name != LATEST).map(str::to_owned));
        root.entities.sort();
        root.foreign.sort();
        Ok(root)
    }

    /// What lies in an entity's folder.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn shelf(&self, entity: &str) -> Result<Shelf> {
        let folder = self.at(&[entity]);
        let mut shelf = Shelf::default();
        let mut objects = self.store.list(Some(&folder));
        while let Some(object) = objects.try_next().await.map_err(|error| self.read_failed(&folder, error))? {
            let Some(below) = object.location.prefix_match(&folder) else { continue };
            let parts: Vec<String> = below.map(|part| part.as_ref().to_owned()).collect();
            let snapshot = parts.first().and_then(|first| first.strip_prefix("snapshot="));
            match (snapshot, parts.as_slice()) {
                (Some(snapshot), [_, file]) => {
                    shelf.snapshots.entry(snapshot.to_owned()).or_default().insert(file.clone(), object.size);
                }
                _ => shelf.foreign.push(parts.join("/")),
            }
        }
        Ok(shelf)
    }

    /// What lies unpublished.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let folder = self.at(&[WRITING]);
        let mut found: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        let mut objects = self.store.list(Some(&folder));
        while let Some(object) = objects.try_next().await.map_err(|error| self.read_failed(&folder, error))? {
            let Some(below) = object.location.prefix_match(&folder) else { continue };
            let mut parts = below.map(|part| part.as_ref().to_owned());
            let key = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let (files, bytes) = found.entry(key).or_default();
            *files += 1;
            *bytes += object.size;
        }
        let leftover = |((database, snapshot), (files, bytes))| Leftover { database, snapshot, files, bytes };
        Ok(found.into_iter().map(leftover).collect())
    }

    /// Names of the instants that the place has pages of, oldest first.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn page_names(&self) -> Result<Vec<String>> {
        let folder = self.at(&[PAGES]);
        let listed =
            self.store.list_with_delimiter(Some(&folder)).await.map_err(|error| self.read_failed(&folder, error))?;
        let files = listed.objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = files.filter_map(|file| file.strip_suffix(".json")).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// The page of an instant, if it is there and whole.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn page(&self, name: &str) -> Result<Option<Latest>> {
        let bytes = self.bytes(&[PAGES, &format!("{name}.json")]).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// The page of the last instant not after `wanted` (a snapshot's name or a time), or of the present.
    ///
    /// # Errors
    /// [`Kind::Command`] if `wanted` is neither, or before all there is; [`Kind::Io`] if there is no archive here.
    pub(super) async fn page_at(&self, wanted: Option<&str>) -> Result<Latest> {
        let latest = self.latest().await?;
        let Some(wanted) = wanted else {
            return latest.ok_or_else(|| {
                Error::new(Kind::Io, format!("{} has no {LATEST}, or a damaged one", self.shown())).hint(
                    "is this the root of an archive? `wharf archive verify --at PLACE` lists what is wrong with it",
                )
            });
        };
        let limit = match wanted.parse::<jiff::Timestamp>() {
            Ok(at) => manifest::snapshot_name(at),
            Err(_) if wanted.len() >= 16 && wanted.starts_with(|c: char| c.is_ascii_digit()) => wanted.to_owned(),
            Err(_) => {
                return Err(Error::new(Kind::Command, format!("`{wanted}` is neither a snapshot's name nor a time"))
                    .hint("write 20260131T235959_123456Z, or 2026-01-31T23:59:59Z for the last snapshot before that"));
            }
        };
        let mut names = self.page_names().await?;
        names.extend(latest.as_ref().map(|latest| latest.snapshot.clone()));
        names.sort();
        let Some(name) = names.iter().rev().find(|name| **name <= limit) else {
            let first = names.first().map_or("there is none at all".to_owned(), |name| format!("the first is {name}"));
            return Err(
                Error::new(Kind::Command, format!("{} has no snapshot as old as {wanted}", self.shown())).hint(first)
            );
        };
        if let Some(latest) = latest.filter(|latest| latest.snapshot == *name) {
            return Ok(latest);
        }
        self.page(name).await?.ok_or_else(|| {
            Error::new(Kind::Io, format!("{PAGES}/{name}.json in the archive {} is damaged", self.shown()))
                .hint("choose another snapshot; the names are those of the files beside it")
        })
    }

    /// The manifest of a snapshot that must be there.
    ///
    /// # Errors
    /// [`Kind::Io`] if it is missing, damaged or of a later Wharf.
    pub(super) async fn manifest_of(&self, entity: &str, snapshot: &str) -> Result<Manifest> {
        let manifest = self.manifest(entity, snapshot).await?.ok_or_else(|| {
            Error::new(Kind::Io, format!("snapshot {snapshot} of {entity} has no readable manifest"))
                .hint(format!("`wharf archive verify --at {}` lists what is wrong with it", self.shown()))
        })?;
        if manifest.format > manifest::FORMAT {
            return Err(Error::new(Kind::Io, format!("snapshot {snapshot} of {entity} was written by a later wharf"))
                .hint(format!("use wharf {} or newer", manifest.wharf_version)));
        }
        Ok(manifest)
    }

    /// Manifests of a database's snapshots of the change feed, up to and with the one called `through`, oldest first.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn feed_chain(&self, database: &str, through: &str) -> Result<Vec<Manifest>> {
        let mut chain = Vec::new();
        for snapshot in self.shelf(CHANGES).await?.snapshots.keys().filter(|name| name.as_str() <= through) {
            let manifest = self.manifest(CHANGES, snapshot).await?;
            chain.extend(manifest.filter(|manifest| manifest.database == database && manifest.after_run.is_some()));
        }
        Ok(chain)
    }

    /// Opens a part, from the disk or fetched from the store.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn open_part(&self, entity: &str, snapshot: &str, file: &str) -> Result<File> {
        let path = self.at(&[entity, &Self::snapshot_folder(snapshot), file]);
        if let Some(on_disk) = self.on_disk(&path) {
            let opened = tokio::task::spawn_blocking(move || File::open(on_disk)).await;
            return opened
                .map_err(|error| Error::new(Kind::Internal, "opening a file was cut short").because(error))?
                .map_err(|error| self.read_failed(&path, error));
        }
        let wrong = |error| self.read_failed(&path, error);
        let mut bytes = self.store.get(&path).await.map_err(wrong)?.into_stream();
        let mut spool = nameless_file()?;
        while let Some(chunk) = bytes.try_next().await.map_err(wrong)? {
            spool.write_all(&chunk).map_err(spool_failed)?;
        }
        spool.rewind().map_err(spool_failed)?;
        Ok(spool)
    }
}

/// A file in the temporary folder that has no name any more.
///
/// # Errors
/// [`Kind::Io`].
pub(super) fn nameless_file() -> Result<File> {
    let path = std::env::temp_dir().join(format!("wharf-{}", uuid::Uuid::new_v4().simple()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(spool_failed)?;
    std::fs::remove_file(&path).map_err(spool_failed)?;
    Ok(file)
}

/// An error of the temporary folder.
pub(super) fn spool_failed(error: std::io::Error) -> Error {
    failed("a temporary file cannot be written", error).context(std::env::temp_dir().display())
}

/// Batches of a part: some thousand rows, fewer where rows are large.
///
/// # Errors
/// The library's, if the footer cannot be read.
pub(super) fn batches(
    builder: ParquetRecordBatchReaderBuilder<File>,
) -> std::result::Result<ParquetRecordBatchReader, ParquetError> {
    let groups = builder.metadata().row_groups();
    let widest = groups
        .iter()
        .filter_map(|group| {
            u64::try_from(group.total_byte_size()).ok()?.checked_div(u64::try_from(group.num_rows()).ok()?)
        })
        .max()
        .unwrap_or(1);
    let rows = (BATCH_BYTES / widest.max(1)).clamp(1, BATCH_ROWS);
    builder.with_batch_size(usize::try_from(rows).unwrap_or(1)).build()
}

/// A part that cannot be read, by entity, snapshot and name.
pub(super) fn part_failed(manifest: &Manifest, part: &ManifestPart, error: impl std::fmt::Display) -> Error {
    let Manifest { entity, snapshot, .. } = manifest;
    Error::new(Kind::Io, format!("{entity}/snapshot={snapshot}/{} cannot be read: {error}", part.file))
        .hint("`wharf archive verify` lists everything that is wrong with the archive")
}
