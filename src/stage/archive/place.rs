//! Where snapshots go: a local folder or an object store, and how one appears there whole or not at all.
//!
//! ```text
//! <root>/_latest.json                                              the current snapshot of every entity
//! <root>/_snapshots/<name>.json                                    the same of an earlier instant
//! <root>/<entity>/snapshot=<name>/part-00000.parquet, …, _manifest.json   its own files; older layers lie in theirs
//! <root>/_writing/<database>/<name>/<entity>/…                     a run at work, or what a killed one left
//! ```
//!
//! Everything is written below `_writing` first. On a local folder the entity's folder is then renamed into place, which
//! is one step for every reader. Object stores cannot rename a folder: there the files are copied by the store into place,
//! the manifest last, so a snapshot without manifest is none. What killed runs left is removed by the next run of the
//! same database, which the archive's lease protects.
//!
//! Wrong answers avoided: parts written in place (a reader's glob sees half a snapshot), and a temporary folder elsewhere
//! (a rename across file systems is a copy).

use super::manifest::{self, LATEST, Latest, MANIFEST, Manifest, PAGES};
use super::remote::{self, Remote};
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::error::Error as StdError;
use std::io::ErrorKind;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) const WRITING: &str = "_writing";
/// Rights of what is written to a disk.
const PRIVATE_FOLDER: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
/// Bytes gathered per write; on object stores the size of an upload's parts.
const WRITE_BUFFER: usize = 8 << 20;
const WRITE_BUFFER_ON_DISK: usize = 1 << 20;
const CONCURRENT_UPLOADS: usize = 2;

/// A place for snapshots. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The root within the store.
    pub(super) base: Path,
    /// The root as a folder, where the store is the local file system.
    pub(super) folder: Option<PathBuf>,
    /// The root as the user wrote it.
    shown: String,
    /// Which kind of object store it is.
    remote: Option<Remote>,
}

/// One run's unpublished work in a place.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    place: Place,
    database: String,
    snapshot: String,
}

impl Place {
    /// Opens `to`: a folder, which is created if missing, or the URL of an object store.
    ///
    /// # Errors
    /// [`Kind::Io`] if the folder cannot be created; [`Kind::PipelineFile`] for a URL that this program cannot use.
    pub(super) async fn open(to: &str) -> Result<Self> {
        Self::open_in(to, true).await
    }

    /// As [`Place::open`], for reading: a folder must be there.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub(super) async fn open_existing(to: &str) -> Result<Self> {
        Self::open_in(to, false).await
    }

    async fn open_in(to: &str, create: bool) -> Result<Self> {
        let url = to.contains("://").then(|| url::Url::parse(to)).transpose().map_err(|error| {
            Error::new(Kind::PipelineFile, format!("archive.to: `{to}` is neither a folder nor a URL"))
                .hint("write a folder such as ./archive, or a URL such as s3://bucket/folder")
                .because(error)
        })?;
        match url {
            Some(url) if url.scheme() != "file" => Self::remote(&url),
            Some(url) => {
                let folder = url.to_file_path().map_err(|()| {
                    Error::new(Kind::PipelineFile, format!("archive.to: `{to}` names no folder of this machine"))
                        .hint("file URLs have three slashes: file:///srv/archive")
                })?;
                Self::local(folder, create).await
            }
            None => Self::local(PathBuf::from(to), create).await,
        }
    }

    async fn local(folder: PathBuf, create: bool) -> Result<Self> {
        let shown = folder.display().to_string();
        if !create && !tokio::fs::try_exists(&folder).await.unwrap_or(true) {
            return Err(Error::new(Kind::Io, format!("there is no archive at {shown}: no such folder")).hint(
                "name the folder or URL that the pipeline's `archive.to` names; a pipeline's folder is relative to its file, PLACE to where wharf runs",
            ));
        }
        let opened = async {
            if create {
                private_folder(&folder)?;
            }
            tokio::fs::canonicalize(&folder).await
        };
        let folder =
            opened.await.map_err(|error| failed(&format!("the archive folder {shown} cannot be used"), error))?;
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| failed(&format!("the archive folder {shown} cannot be used"), error))?
            .with_fsync(true);
        Ok(Self { store: Arc::new(store), base: Path::default(), folder: Some(folder), shown, remote: None })
    }

    fn remote(url: &url::Url) -> Result<Self> {
        crate::tls::install_crypto();
        // A URL may carry credentials; they are never shown.
        let mut shown = url.clone();
        let _ = shown.set_password(None);
        let _ = shown.set_username("");
        shown.set_query(None);
        let (remote, store, base) = Remote::open(url, shown.as_str(), remote::environment())?;
        Ok(Self { store, base, folder: None, shown: shown.to_string(), remote: Some(remote) })
    }

    /// A place in a store that is already open.
    #[cfg(test)]
    pub(super) fn in_store(store: Arc<dyn ObjectStore>, base: Path, shown: String) -> Self {
        Self { store, base, folder: None, shown, remote: Some(Remote::Memory) }
    }

    /// The root as the user wrote it, without credentials.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// What two spellings of the same place have in common.
    pub(super) fn identity(&self) -> String {
        self.folder.as_ref().map_or_else(|| self.shown.clone(), |folder| folder.display().to_string())
    }

    pub(super) fn at(&self, parts: &[&str]) -> Path {
        Path::from_iter(self.base.parts().chain(parts.iter().map(|part| (*part).into())))
    }

    /// `snapshot=<name>`, as readers of partitioned data expect it.
    pub(super) fn snapshot_folder(snapshot: &str) -> String {
        format!("snapshot={snapshot}")
    }

    /// The page at the root, if there is one.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be read; one that is damaged counts as none, so everything is written again.
    pub(super) async fn latest(&self) -> Result<Option<Latest>> {
        self.document(&[LATEST]).await
    }

    /// The manifest of a published snapshot, if it is still there.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be read.
    pub(super) async fn manifest(&self, entity: &str, snapshot: &str) -> Result<Option<Manifest>> {
        self.document(&[entity, &Self::snapshot_folder(snapshot), MANIFEST]).await
    }

    async fn document<T: serde::de::DeserializeOwned>(&self, parts: &[&str]) -> Result<Option<T>> {
        Ok(self.bytes(parts).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// A small file, if it is there.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be read.
    pub(super) async fn bytes(&self, parts: &[&str]) -> Result<Option<Bytes>> {
        let path = self.at(parts);
        let read = async { self.store.get(&path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.read_failed(&path, error)),
        }
    }

    /// Adds the page of an archive run, which stays when the page at the root goes on.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn put_page(&self, page: &Latest) -> Result<()> {
        self.put(&self.at(&[PAGES, &format!("{}.json", page.snapshot)]), page).await
    }

    /// Replaces the page at the root.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn put_latest(&self, latest: &Latest) -> Result<()> {
        self.put(&self.at(&[LATEST]), latest).await
    }

    async fn put(&self, path: &Path, document: &impl serde::Serialize) -> Result<()> {
        let json = serde_json::to_vec_pretty(document).map_err(|error| {
            Error::new(Kind::Internal, format!("{path} for the archive cannot be written as JSON")).because(error)
        })?;
        let Some(file) = self.on_disk(path) else {
            self.store.put(path, PutPayload::from(json)).await.map_err(|error| self.write_failed(path, error))?;
            return Ok(());
        };
        let written = tokio::task::spawn_blocking(move || write_privately(&file, &json)).await;
        written
            .map_err(|error| Error::new(Kind::Internal, "writing a page was cut short").because(error))?
            .map_err(|error| self.write_failed(path, error))
    }

    /// Removes what killed runs of this database left, and begins a new draft.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn begin(&self, database: &str, snapshot: &str) -> Result<Draft> {
        self.sweep(database).await?;
        if let Some(folder) = self.on_disk(&self.at(&[WRITING])) {
            // What is written below it is for nobody else from its first byte on.
            private_folder(&folder).map_err(|error| self.write_failed(&self.at(&[WRITING]), error))?;
        }
        Ok(Draft { place: self.clone(), database: database.to_owned(), snapshot: snapshot.to_owned() })
    }

    /// Removes unpublished work of this database, and on object stores the half-published snapshots it belongs to.
    async fn sweep(&self, database: &str) -> Result<()> {
        if self.folder.is_none() {
            for snapshot in self.children(&self.at(&[WRITING, database])).await? {
                for entity in self.children(&self.at(&[WRITING, database, &snapshot])).await? {
                    // The manifest is the last file to leave the draft, so a draft that is still there was not published,
                    // unless the end came between copying the manifest and removing the original.
                    if self.manifest(&entity, &snapshot).await?.is_none() {
                        self.remove_all(&self.at(&[&entity, &Self::snapshot_folder(&snapshot)])).await?;
                    }
                }
            }
        }
        self.remove_all(&self.at(&[WRITING, database])).await
    }

    pub(super) async fn children(&self, prefix: &Path) -> Result<Vec<String>> {
        let listed =
            self.store.list_with_delimiter(Some(prefix)).await.map_err(|error| self.read_failed(prefix, error))?;
        Ok(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    pub(super) async fn remove_all(&self, prefix: &Path) -> Result<()> {
        if let Some(folder) = self.on_disk(prefix) {
            return match tokio::fs::remove_dir_all(&folder).await {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(failed(&format!("{} cannot be removed", folder.display()), error)),
            };
        }
        let found = futures::StreamExt::boxed(self.store.list(Some(prefix)).map_ok(|object| object.location));
        match self.store.delete_stream(found).try_collect::<Vec<_>>().await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.remove_failed(prefix, error)),
        }
    }

    pub(super) async fn remove_file(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.remove_failed(path, error)),
        }
    }

    pub(super) fn on_disk(&self, path: &Path) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| path.parts().fold(folder.clone(), |folder, part| folder.join(part.as_ref())))
    }

    pub(super) fn read_failed(&self, path: &Path, error: impl StdError + Send + Sync + 'static) -> Error {
        self.failed(&format!("{path} in the archive {} cannot be read", self.shown), error)
    }

    fn write_failed(&self, path: &Path, error: impl StdError + Send + Sync + 'static) -> Error {
        self.failed(&format!("{path} in the archive {} cannot be written", self.shown), error)
    }

    fn remove_failed(&self, path: &Path, error: impl StdError + Send + Sync + 'static) -> Error {
        self.failed(&format!("{path} in the archive {} cannot be removed", self.shown), error)
    }

    /// An error of reading or writing here, with the line that says what to do.
    pub(super) fn failed(&self, what: &str, error: impl StdError + Send + Sync + 'static) -> Error {
        match self.remote.and_then(|remote| remote.explain(&error)) {
            Some((kind, hint)) => Error::new(kind, what).hint(hint).because(error),
            None => failed(what, error),
        }
    }
}

impl Draft {
    /// The snapshot's name.
    pub(super) fn snapshot(&self) -> &str {
        &self.snapshot
    }

    fn path(&self, entity: &str, file: &str) -> Path {
        self.place.at(&[WRITING, &self.database, &self.snapshot, entity, file])
    }

    /// A new file of an entity's snapshot; it is there once the writer is shut down.
    pub(super) fn writer(&self, entity: &str, file: &str) -> BufWriter {
        let gathered = if self.place.folder.is_some() { WRITE_BUFFER_ON_DISK } else { WRITE_BUFFER };
        BufWriter::with_capacity(self.place.store.clone(), self.path(entity, file), gathered)
            .with_max_concurrency(CONCURRENT_UPLOADS)
    }

    /// An error of writing into it.
    pub(super) fn failed(&self, what: &str, error: impl StdError + Send + Sync + 'static) -> Error {
        self.place.failed(what, error)
    }

    /// Removes what was written of an entity: it came out as before.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn forget(&self, entity: &str) -> Result<()> {
        self.place.remove_all(&self.place.at(&[WRITING, &self.database, &self.snapshot, entity])).await
    }

    /// Adds the manifest, after all other files of the entity.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn put_manifest(&self, manifest: &Manifest) -> Result<()> {
        self.place.put(&self.path(&manifest.entity, MANIFEST), &manifest::sealed(manifest)?).await
    }

    /// Makes an entity's snapshot visible.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn publish(&self, entity: &str) -> Result<()> {
        let from = self.place.at(&[WRITING, &self.database, &self.snapshot, entity]);
        let to = self.place.at(&[entity, &Place::snapshot_folder(&self.snapshot)]);
        match (self.place.on_disk(&from), self.place.on_disk(&to)) {
            (Some(from), Some(folder)) => tokio::task::spawn_blocking(move || rename_durably(&from, &folder))
                .await
                .map_err(|error| Error::new(Kind::Internal, "publishing a snapshot was cut short").because(error))?
                .map_err(|error| self.place.write_failed(&to, error)),
            _ => self.publish_by_copy(&from, &to).await,
        }
    }

    async fn publish_by_copy(&self, from: &Path, to: &Path) -> Result<()> {
        let store = &self.place.store;
        let wrong = |error| self.place.write_failed(to, error);
        let mut files: Vec<String> = store
            .list(Some(from))
            .map_ok(|object| object.location.filename().unwrap_or_default().to_owned())
            .try_collect()
            .await
            .map_err(wrong)?;
        files.sort_by_key(|file| file == MANIFEST);
        for file in &files {
            store.copy(&from.clone().join(file.as_str()), &to.clone().join(file.as_str())).await.map_err(wrong)?;
        }
        for file in &files {
            store.delete(&from.clone().join(file.as_str())).await.map_err(wrong)?;
        }
        Ok(())
    }

    /// Removes what was not published.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) async fn discard(&self) -> Result<()> {
        self.place.remove_all(&self.place.at(&[WRITING, &self.database])).await?;
        if let Some(folder) = self.place.on_disk(&self.place.at(&[WRITING])) {
            // Another database may be at work beside us: only an empty folder goes.
            let _ = tokio::fs::remove_dir(folder).await;
        }
        Ok(())
    }
}

/// Renames a folder whose files are synced already, so that the rename outlives a power cut too. People's data is for the
/// user alone who runs wharf.
fn rename_durably(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    for file in std::fs::read_dir(from)? {
        std::fs::set_permissions(file?.path(), std::fs::Permissions::from_mode(PRIVATE_FILE))?;
    }
    std::fs::set_permissions(from, std::fs::Permissions::from_mode(PRIVATE_FOLDER))?;
    std::fs::File::open(from)?.sync_all()?;
    let Some(parent) = to.parent() else { return Err(ErrorKind::InvalidInput.into()) };
    private_folder(parent)?;
    std::fs::rename(from, to)?;
    std::fs::File::open(parent)?.sync_all()
}

/// Writes a file that appears whole or not at all.
fn write_privately(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let Some(parent) = path.parent() else { return Err(ErrorKind::InvalidInput.into()) };
    private_folder(parent)?;
    let mut aside = path.as_os_str().to_owned();
    // Such as the store itself leaves when it is killed: a name that no reader takes for a page.
    aside.push(format!("#{}", std::process::id()));
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(PRIVATE_FILE).open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    std::fs::File::open(parent)?.sync_all()
}

/// Makes a folder, and those above it that are missing, for the user alone; one that is there stays as it is.
fn private_folder(path: &std::path::Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(path)
}

/// An error of reading or writing, with the line that says what to do where the system's reason is known.
pub(super) fn failed(what: &str, error: impl StdError + Send + Sync + 'static) -> Error {
    let hint = match system_reason(&error) {
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Some(
            "the disk is full: free some space, or let archive.to name another place; nothing half-written is visible",
        ),
        Some(ErrorKind::PermissionDenied) => {
            Some("the user that runs wharf may not write there: change the folder's owner or archive.to")
        }
        Some(ErrorKind::ReadOnlyFilesystem) => Some("the file system is read-only: let archive.to name another place"),
        Some(ErrorKind::NotADirectory | ErrorKind::AlreadyExists) => {
            Some("a file stands where a folder is needed: move it, or change archive.to")
        }
        _ => None,
    };
    let reason = system_error(&error).map_or_else(String::new, |reason| format!(": {reason}"));
    let wrapped = Error::new(Kind::Io, format!("{what}{reason}")).because(error);
    match hint {
        Some(hint) => wrapped.hint(hint),
        None => wrapped,
    }
}

fn system_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a std::io::Error> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            // A writer may wrap a store's error in one of the system's: the innermost says why.
            return io.get_ref().and_then(|inner| system_error(inner)).or(Some(io));
        }
        next = current.source();
    }
    None
}

fn system_reason(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    system_error(error).map(std::io::Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use tokio::io::AsyncWriteExt;

    fn manifest(entity: &str, snapshot: &str) -> Manifest {
        Manifest {
            format: 1,
            entity: entity.into(),
            snapshot: snapshot.into(),
            taken_at: jiff::Timestamp::UNIX_EPOCH,
            run_id: 1,
            database: "db".into(),
            watermark: 1,
            schema_version: None,
            wharf_version: "0".into(),
            rows: 0,
            columns: Vec::new(),
            key: Vec::new(),
            parts: Vec::new(),
            scope: Vec::new(),
            replaced: Vec::new(),
            older: Vec::new(),
            content: None,
            odd_values: std::collections::BTreeMap::new(),
            fingerprint: None,
            after_run: None,
            odd_values_sha256: None,
        }
    }

    async fn files(place: &Place) -> Vec<String> {
        let mut files: Vec<String> =
            place.store.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
        files.sort();
        files
    }

    async fn write_part(draft: &Draft, entity: &str) {
        let mut part = draft.writer(entity, "part-00000.parquet");
        part.put("rows".into()).await.unwrap();
        part.shutdown().await.unwrap();
        draft.put_manifest(&manifest(entity, draft.snapshot())).await.unwrap();
    }

    async fn folder() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::open(folder.path().join("new/archive").to_str().unwrap()).await.unwrap();
        (folder, place)
    }

    fn bucket() -> Place {
        Place::in_store(Arc::new(InMemory::new()), Path::from("some/prefix"), "memory:///some/prefix".into())
    }

    #[tokio::test]
    async fn a_snapshot_appears_in_a_folder_when_it_is_published_and_not_before() {
        let (_keep, place) = folder().await;
        let draft = place.begin("db", "T1").await.unwrap();
        write_part(&draft, "canonical.orders").await;
        assert!(files(&place).await.iter().all(|file| file.starts_with("_writing/")));
        draft.publish("canonical.orders").await.unwrap();
        draft.discard().await.unwrap();
        assert_eq!(
            files(&place).await,
            ["canonical.orders/snapshot=T1/_manifest.json", "canonical.orders/snapshot=T1/part-00000.parquet"]
        );
        assert!(!place.folder.as_ref().unwrap().join("_writing").exists());
    }

    #[tokio::test]
    async fn a_snapshot_appears_in_a_store_when_it_is_published_and_not_before() {
        let place = bucket();
        let draft = place.begin("db", "T1").await.unwrap();
        write_part(&draft, "canonical.orders").await;
        assert!(files(&place).await.iter().all(|file| file.starts_with("some/prefix/_writing/")));
        draft.publish("canonical.orders").await.unwrap();
        draft.discard().await.unwrap();
        assert_eq!(
            files(&place).await,
            [
                "some/prefix/canonical.orders/snapshot=T1/_manifest.json",
                "some/prefix/canonical.orders/snapshot=T1/part-00000.parquet"
            ]
        );
        assert_eq!(place.manifest("canonical.orders", "T1").await.unwrap(), Some(manifest("canonical.orders", "T1")));
    }

    #[tokio::test]
    async fn what_a_killed_run_copied_into_a_store_without_its_manifest_is_removed_by_the_next() {
        let place = bucket();
        let killed = place.begin("db", "T1").await.unwrap();
        write_part(&killed, "canonical.orders").await;
        let half = place.at(&["canonical.orders", "snapshot=T1", "part-00000.parquet"]);
        place.store.put(&half, "rows".into()).await.unwrap();

        place.begin("db", "T2").await.unwrap();
        assert_eq!(files(&place).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_a_killed_run_had_published_whole_is_kept() {
        let place = bucket();
        let killed = place.begin("db", "T1").await.unwrap();
        write_part(&killed, "canonical.orders").await;
        killed.publish("canonical.orders").await.unwrap();
        // The end came after the manifest was copied and before its original was removed.
        killed.put_manifest(&manifest("canonical.orders", "T1")).await.unwrap();

        place.begin("db", "T2").await.unwrap();
        assert_eq!(files(&place).await.len(), 2);
    }

    #[tokio::test]
    async fn leftovers_of_another_database_are_left_alone() {
        let (_keep, place) = folder().await;
        let other = place.begin("other", "T1").await.unwrap();
        write_part(&other, "canonical.orders").await;
        let ours = place.begin("db", "T2").await.unwrap();
        ours.discard().await.unwrap();
        assert_eq!(files(&place).await.len(), 2);
    }

    #[tokio::test]
    async fn a_file_where_the_folder_should_be_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Place::open(file.path().join("archive").to_str().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.detail().contains("cannot be used"), "{error}");
        assert!(error.hint_text().unwrap().contains("a file stands where a folder is needed"));
    }

    #[tokio::test]
    async fn a_url_that_this_program_cannot_use_is_named_without_its_credentials() {
        let error = Place::open("ftp://user:hidden@host/archive").await.unwrap_err();
        assert_eq!(error.kind(), Kind::PipelineFile);
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
    }

    #[test]
    fn a_full_disk_is_named_through_all_the_wrappings() {
        let system = std::io::Error::from(ErrorKind::StorageFull);
        let store = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(system) };
        let writer = std::io::Error::other(store);
        let error =
            failed("the snapshot of canonical.orders cannot be written", parquet::errors::ParquetError::from(writer));
        assert!(error.hint_text().unwrap().starts_with("the disk is full"), "{:?}", error.hint_text());
        assert_eq!(error.kind(), Kind::Io);
    }
}
