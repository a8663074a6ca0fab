//! Verify: is every snapshot what its manifest says? Every byte is read and hashed, every page decoded.
//!
//! May enter: the place, and, when asked, the database, for a comparison of counts that judges nothing. What is found is
//! told apart by one question: can a reader or a restore get a wrong answer from it? Then it is broken; all else (what a
//! killed run left, files of others that no reader takes for data) is a note.
//!
//! Wrong answers avoided: believing the manifest where the file says otherwise, decoding a file whose checksum is wrong
//! (what comes of it proves nothing), and stopping at the first finding.

use super::layers::Replaced;
use super::manifest::{
    self, LATEST, Latest, MANIFEST, Manifest, ManifestColumn, ManifestPart, ODD_VALUES, OddValue, PAGES,
};
use super::place::Place;
use super::reading::{self, Shelf};
use crate::error::{Error, Kind, Result};
use crate::progress::{Meter, Progress};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use tokio_util::sync::CancellationToken;

/// Bytes hashed at once.
const HASH_BUFFER: usize = 1 << 20;

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only these entities; all if empty.
    pub entities: Vec<String>,
    /// Which of their snapshots.
    pub snapshots: Snapshots,
}

/// Which snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Snapshots {
    /// Every one.
    #[default]
    All,
    /// Those that `_latest.json` names.
    Latest,
    /// Those of the last archive run not after this name or time.
    At(String),
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    /// The root.
    pub place: String,
    /// What was read, by entity.
    pub entities: Vec<EntityCheck>,
    /// What is wrong, broken things first.
    pub findings: Vec<Finding>,
    /// Rows of the latest snapshots against the database's now, if it was asked; informative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Vec<super::counts::Comparison>>,
}

/// What was read of one entity.
#[derive(Debug, Clone, Default, Serialize, PartialEq, Eq)]
pub struct EntityCheck {
    /// `schema.table`.
    pub entity: String,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Parts that are as their manifest says.
    pub parts: u64,
    /// Rows in these.
    pub rows: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Finding {
    /// Whether a reader or a restore can get a wrong answer from it.
    pub broken: bool,
    /// A stable word for it: `checksum-differs`.
    pub code: &'static str,
    /// What it is about, from the root: `canonical.orders/snapshot=…/part-00000.parquet`.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub advice: String,
}

const WRITE_AGAIN: &str = "remove this snapshot's folder, or take it from a back-up; `wharf archive PIPELINE` writes a new one if it is the current one";

/// Reads what `scope` names and says what is not as it should be.
///
/// # Errors
/// [`Kind::Io`] if the place itself cannot be read; [`Kind::Interrupted`]; [`Kind::Command`] for a time before all
/// snapshots. What is wrong in the archive is no error here but a finding.
pub async fn verify(to: &str, scope: &Scope, progress: &Progress, stop: &CancellationToken) -> Result<VerifyReport> {
    verify_in(&Place::open_existing(to).await?, scope, progress, stop).await
}

pub(super) async fn verify_in(
    place: &Place,
    scope: &Scope,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<VerifyReport> {
    let mut check = Check { place, progress, stop, findings: Vec::new(), entities: Vec::new() };
    let wanted = check.wanted(&scope.snapshots).await?;
    let root = place.root().await?;
    if root.entities.is_empty() && wanted.is_none() && place.latest().await?.is_none() {
        return Err(Error::new(Kind::Io, format!("there is no archive at {}: nothing but other files", place.shown()))
            .hint("name the folder or URL that the pipeline's `archive.to` names"));
    }
    for name in &root.foreign {
        let advice = "leave it, or move it elsewhere: no reader of an entity's folder sees it";
        check.note("foreign", name.clone(), "not a part of the archive".into(), advice);
    }
    if let Some(unknown) = scope.entities.iter().find(|name| !root.entities.contains(name)) {
        return Err(Error::new(Kind::Command, format!("{} has no entity `{unknown}`", place.shown()))
            .hint(format!("it has {}", root.entities.join(", "))));
    }
    let mut published = BTreeMap::new();
    for entity in &root.entities {
        let shelf = place.shelf(entity).await?;
        if scope.entities.is_empty() || scope.entities.contains(entity) {
            let only = wanted.as_ref().map(|page| page.entities.get(entity).map(String::as_str));
            check.entity(entity, &shelf, only).await?;
        }
        let whole = shelf.snapshots.into_iter().filter(|(_, files)| files.contains_key(MANIFEST)).map(|(name, _)| name);
        published.insert(entity.clone(), whole.collect::<BTreeSet<String>>());
    }
    check.pages(&published).await?;
    check.leftovers().await?;
    let mut findings = check.findings;
    findings.sort_by_key(|finding| !finding.broken);
    Ok(VerifyReport { place: place.shown().to_owned(), entities: check.entities, findings, database: None })
}

impl VerifyReport {
    /// How many findings are broken things.
    pub fn broken(&self) -> usize {
        self.findings.iter().filter(|finding| finding.broken).count()
    }
}

/// One verification at work.
struct Check<'a> {
    place: &'a Place,
    progress: &'a Progress,
    stop: &'a CancellationToken,
    findings: Vec<Finding>,
    entities: Vec<EntityCheck>,
}

impl Check<'_> {
    fn broken(&mut self, code: &'static str, path: String, problem: String, advice: &str) {
        self.findings.push(Finding { broken: true, code, path, problem, advice: advice.to_owned() });
    }

    fn note(&mut self, code: &'static str, path: String, problem: String, advice: &str) {
        self.findings.push(Finding { broken: false, code, path, problem, advice: advice.to_owned() });
    }

    async fn wanted(&self, snapshots: &Snapshots) -> Result<Option<Latest>> {
        Ok(match snapshots {
            Snapshots::All => None,
            Snapshots::Latest => Some(self.place.page_at(None).await?),
            Snapshots::At(time) => Some(self.place.page_at(Some(time)).await?),
        })
    }

    /// `only`: the one snapshot to look at, or none of them.
    async fn entity(&mut self, entity: &str, shelf: &Shelf, only: Option<Option<&str>>) -> Result<()> {
        for file in &shelf.foreign {
            let advice = "move it away: readers of the entity's folder may take it for data";
            self.broken("foreign-file", format!("{entity}/{file}"), "belongs to no snapshot".into(), advice);
        }
        let mut sum = EntityCheck { entity: entity.to_owned(), ..EntityCheck::default() };
        let meter = self.progress.meter(format!("verify {entity}"), None);
        let mut total = 0;
        let mut checked = BTreeSet::new();
        for (snapshot, files) in &shelf.snapshots {
            if only.is_some_and(|only| only != Some(snapshot.as_str())) {
                continue;
            }
            sum.snapshots += 1;
            let findings = self.findings.len();
            let Some(manifest) = self.manifest(entity, snapshot, files).await? else { continue };
            total += manifest.rows;
            meter.set_total(total);
            self.files(&manifest, files);
            for layer in manifest.layers() {
                let Some(files) = shelf.snapshots.get(&layer.snapshot) else {
                    let path = format!("{entity}/{}", Place::snapshot_folder(&layer.snapshot));
                    let problem = format!("snapshot {snapshot} needs the layer in it, which is not there");
                    self.broken("layer-missing", path, problem, WRITE_AGAIN);
                    continue;
                };
                for part in layer.parts.iter().chain(&layer.replaced) {
                    if checked.insert((layer.snapshot.clone(), part.file.clone())) {
                        self.part(&layer, part, files, &meter, &mut sum).await?;
                    }
                }
            }
            self.odd_values(&manifest, files).await?;
            if only.is_some() && self.findings.len() == findings {
                self.rows_of_layers(&manifest).await?;
            }
        }
        meter.finish(format_args!("{} snapshots, {} rows", sum.snapshots, sum.rows));
        self.entities.push(sum);
        Ok(())
    }

    /// The manifest, if it can be believed so far that its parts are worth reading.
    async fn manifest(
        &mut self,
        entity: &str,
        snapshot: &str,
        files: &BTreeMap<String, u64>,
    ) -> Result<Option<Manifest>> {
        let folder = Place::snapshot_folder(snapshot);
        let path = format!("{entity}/{folder}/{MANIFEST}");
        let Some(bytes) = self.place.bytes(&[entity, &folder, MANIFEST]).await? else {
            let problem = format!(
                "{} files without a manifest: what a killed run published half, or a manifest removed",
                files.len()
            );
            let advice = "remove the folder: it is no snapshot, but readers of the entity's folder see its files";
            self.broken("manifest-missing", path, problem, advice);
            return Ok(None);
        };
        let document: serde_json::Value = match serde_json::from_slice(&bytes) {
            Ok(document) => document,
            Err(error) => {
                self.broken("manifest-unreadable", path, format!("no JSON: {error}"), WRITE_AGAIN);
                return Ok(None);
            }
        };
        let format = document.get("format").and_then(serde_json::Value::as_u64);
        if !format.is_some_and(|format| (1..=u64::from(manifest::FORMAT)).contains(&format)) {
            let problem = match format {
                Some(format) => format!("of format {format}; this wharf knows {}", manifest::FORMAT),
                None => "it names no format".to_owned(),
            };
            self.broken("manifest-unknown", path, problem, "verify it with the wharf that wrote it, or a newer one");
            return Ok(None);
        }
        let manifest: Manifest = match serde_json::from_value(document.clone()) {
            Ok(manifest) => manifest,
            Err(error) => {
                self.broken("manifest-unreadable", path, format!("not a manifest: {error}"), WRITE_AGAIN);
                return Ok(None);
            }
        };
        if manifest::is_unbroken(&document) == Some(false) {
            let problem = "it is not as wharf wrote it: its seal is broken".to_owned();
            self.broken("manifest-changed", path.clone(), problem, WRITE_AGAIN);
        }
        if manifest.entity != entity || manifest.snapshot != snapshot {
            let problem = format!("it speaks of snapshot {} of {}", manifest.snapshot, manifest.entity);
            self.broken("manifest-misplaced", path.clone(), problem, "move the folder back to where it belongs");
        }
        let rows: u64 = manifest.parts.iter().map(|part| part.rows).sum();
        // How many rows of older layers count is known once they are read.
        if manifest.older.is_empty() && rows != manifest.rows {
            let problem = format!("it says {} rows, but {rows} are in its parts", manifest.rows);
            self.broken("rows-differ", path, problem, WRITE_AGAIN);
        }
        Ok(Some(manifest))
    }

    /// Files in the folder that the manifest does not know.
    fn files(&mut self, manifest: &Manifest, files: &BTreeMap<String, u64>) {
        for file in files.keys() {
            let is_known = file == MANIFEST
                || (file == ODD_VALUES && !manifest.odd_values.is_empty())
                || manifest.parts.iter().chain(&manifest.replaced).any(|part| part.file == *file);
            if is_known {
                continue;
            }
            let path = path_of(manifest, file);
            let problem = "the manifest does not know it".to_owned();
            // Readers of a folder pass over what begins so.
            if file.starts_with(['_', '.']) {
                self.note("foreign", path, problem, "leave it, or move it elsewhere: readers pass it over");
            } else {
                self.broken("foreign-file", path, problem, "move it away: readers of the folder take it for data");
            }
        }
    }

    async fn part(
        &mut self,
        manifest: &Manifest,
        part: &ManifestPart,
        files: &BTreeMap<String, u64>,
        meter: &Meter,
        sum: &mut EntityCheck,
    ) -> Result<()> {
        let path = path_of(manifest, &part.file);
        let Some(size) = files.get(&part.file) else {
            self.broken("part-missing", path, format!("{} rows are missing with it", part.rows), WRITE_AGAIN);
            return Ok(());
        };
        if *size != part.bytes {
            let problem = format!("{size} bytes instead of {}", part.bytes);
            self.broken("size-differs", path, problem, WRITE_AGAIN);
            return Ok(());
        }
        if self.stop.is_cancelled() {
            return Err(interrupted());
        }
        let file = self.place.open_part(&manifest.entity, &manifest.snapshot, &part.file).await?;
        let mut columns = manifest.columns.clone();
        let is_rows = manifest.parts.contains(part);
        if !is_rows {
            columns.retain(|column| manifest.scope.contains(&column.name));
        }
        let part = part.clone();
        let (meter, stop) = (meter.clone(), self.stop.clone());
        let rows = part.rows;
        let bytes = part.bytes;
        let checked = tokio::task::spawn_blocking(move || check_part(file, &part, &columns, &meter, &stop)).await;
        match checked {
            Ok(Ok(None)) => {
                sum.parts += u64::from(is_rows);
                sum.rows += if is_rows { rows } else { 0 };
                sum.bytes += bytes;
            }
            Ok(Ok(Some(Wrong { code, problem }))) => self.broken(code, path, problem, WRITE_AGAIN),
            Ok(Err(error)) => return Err(error.context(path)),
            Err(_) => self.broken("not-decodable", path, "reading it ends in a panic".into(), WRITE_AGAIN),
        }
        Ok(())
    }

    /// Whether the layers together have the rows that the manifest counts. Only for one instant: every snapshot reads all
    /// its layers anew.
    async fn rows_of_layers(&mut self, manifest: &Manifest) -> Result<()> {
        if manifest.older.is_empty() {
            return Ok(());
        }
        let mut layers = Vec::new();
        for layer in manifest.layers() {
            let mut files = Vec::new();
            for part in layer.parts.iter().chain(&layer.replaced) {
                files.push(self.place.open_part(&layer.entity, &layer.snapshot, &part.file).await?);
            }
            layers.push((layer, files));
        }
        let (replaced, stop) = (Replaced::of(manifest), self.stop.clone());
        let counted = tokio::task::spawn_blocking(move || count_layers(replaced, layers, &stop)).await;
        let rows = counted.map_err(|error| Error::new(Kind::Internal, "a count was cut short").because(error))??;
        if rows != manifest.rows {
            let problem = format!("it says {} rows, but {rows} are in its layers", manifest.rows);
            self.broken("rows-differ", path_of(manifest, MANIFEST), problem, WRITE_AGAIN);
        }
        Ok(())
    }

    async fn odd_values(&mut self, manifest: &Manifest, files: &BTreeMap<String, u64>) -> Result<()> {
        if manifest.odd_values.is_empty() {
            return Ok(());
        }
        let path = path_of(manifest, ODD_VALUES);
        if !files.contains_key(ODD_VALUES) {
            let problem = format!("it lists {} values", manifest.odd_values.values().sum::<u64>());
            self.broken("odd-values-missing", path, problem, WRITE_AGAIN);
            return Ok(());
        }
        let file = self.place.open_part(&manifest.entity, &manifest.snapshot, ODD_VALUES).await?;
        let manifest = manifest.clone();
        let checked = tokio::task::spawn_blocking(move || check_odd_values(file, &manifest)).await;
        let checked = checked.map_err(|error| Error::new(Kind::Internal, "a check was cut short").because(error))?;
        if let Some(Wrong { code, problem }) = checked? {
            self.broken(code, path, problem, WRITE_AGAIN);
        }
        Ok(())
    }

    /// The page at the root and those of earlier instants.
    async fn pages(&mut self, published: &BTreeMap<String, BTreeSet<String>>) -> Result<()> {
        match self.place.bytes(&[LATEST]).await? {
            None => {
                let advice = "`wharf archive PIPELINE` writes it anew, and with it a snapshot of every entity";
                self.broken("latest-missing", LATEST.into(), "nothing says which snapshots are current".into(), advice);
            }
            Some(bytes) => self.page(LATEST.into(), &bytes, published),
        }
        for name in self.place.page_names().await? {
            if self.stop.is_cancelled() {
                return Err(interrupted());
            }
            let file = format!("{name}.json");
            if let Some(bytes) = self.place.bytes(&[PAGES, &file]).await? {
                self.page(format!("{PAGES}/{file}"), &bytes, published);
            }
        }
        Ok(())
    }

    fn page(&mut self, path: String, bytes: &[u8], published: &BTreeMap<String, BTreeSet<String>>) {
        let advice = if path == LATEST {
            "`wharf archive PIPELINE` writes it anew, and with it what is missing"
        } else {
            "remove this page: its instant can no longer be restored"
        };
        let page: Latest = match serde_json::from_slice::<Latest>(bytes) {
            Ok(page) if page.format <= manifest::FORMAT => page,
            Ok(page) => {
                let problem = format!("of format {}; this wharf knows {}", page.format, manifest::FORMAT);
                return self.broken(
                    "page-unknown",
                    path,
                    problem,
                    "verify it with the wharf that wrote it, or a newer one",
                );
            }
            Err(error) => return self.broken("page-unreadable", path, format!("not a page: {error}"), advice),
        };
        for (entity, snapshot) in &page.entities {
            if !published.get(entity).is_some_and(|snapshots| snapshots.contains(snapshot)) {
                let problem = format!("it names snapshot {snapshot} of {entity}, which is not there");
                self.broken("page-dangling", path.clone(), problem, advice);
            }
        }
    }

    async fn leftovers(&mut self) -> Result<()> {
        for left in self.place.leftovers().await? {
            let path = format!("{}/{}/{}", super::place::WRITING, left.database, left.snapshot);
            let problem =
                format!("{} files, {} bytes: a run at work, or what a killed one left", left.files, left.bytes);
            self.note("leftover", path, problem, "nothing: the next archive run of the same database removes it");
        }
        Ok(())
    }
}

fn path_of(manifest: &Manifest, file: &str) -> String {
    format!("{}/{}/{file}", manifest.entity, Place::snapshot_folder(&manifest.snapshot))
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "stopped before everything was verified")
        .hint("run it again; --entity, --latest and --snapshot make it shorter")
}

/// What is wrong with a file.
struct Wrong {
    code: &'static str,
    problem: String,
}

/// Reads a part twice, once for its hash, once decoding every value. `None` if nothing is wrong with it.
fn check_part(
    mut file: File,
    part: &ManifestPart,
    columns: &[ManifestColumn],
    meter: &Meter,
    stop: &CancellationToken,
) -> Result<Option<Wrong>> {
    let sha256 = sha256_of(&mut file, stop)?;
    if sha256 != part.sha256 {
        let problem = format!("SHA-256 {sha256} instead of {}", part.sha256);
        return Ok(Some(Wrong { code: "checksum-differs", problem }));
    }
    let not_decodable = |error: &dyn fmt::Display| Some(Wrong { code: "not-decodable", problem: error.to_string() });
    let builder = match ParquetRecordBatchReaderBuilder::try_new(file) {
        Ok(builder) => builder,
        Err(error) => return Ok(not_decodable(&error)),
    };
    let in_footer = builder.metadata().file_metadata().num_rows();
    let found: Vec<(&str, String)> =
        builder.schema().fields().iter().map(|field| (field.name().as_str(), field.data_type().to_string())).collect();
    let expected: Vec<(&str, String)> =
        columns.iter().map(|column| (column.name.as_str(), column.arrow_type.clone())).collect();
    if found != expected {
        let problem = match expected.iter().zip(&found).find(|(expected, found)| expected != found) {
            Some(((name, wanted), (other, got))) => format!("column {name} ({wanted}) is {other} ({got}) in the file"),
            None => format!("{} columns instead of {}", found.len(), expected.len()),
        };
        return Ok(Some(Wrong { code: "schema-differs", problem }));
    }
    let mut rows = 0;
    let batches = match reading::batches(builder) {
        Ok(batches) => batches,
        Err(error) => return Ok(not_decodable(&error)),
    };
    for batch in batches {
        if stop.is_cancelled() {
            return Err(interrupted());
        }
        match batch {
            Ok(batch) => {
                rows += batch.num_rows() as u64;
                meter.advance(batch.num_rows() as u64);
            }
            Err(error) => return Ok(not_decodable(&error)),
        }
    }
    if rows != part.rows || u64::try_from(in_footer) != Ok(part.rows) {
        let problem = format!("{rows} rows ({in_footer} by its footer) instead of {}", part.rows);
        return Ok(Some(Wrong { code: "rows-differ", problem }));
    }
    Ok(None)
}

/// Rows of all layers, newest first, that no newer one replaces.
fn count_layers(mut replaced: Replaced, layers: Vec<(Manifest, Vec<File>)>, stop: &CancellationToken) -> Result<u64> {
    let mut rows = 0;
    for (layer, files) in layers {
        for (part, file) in layer.parts.iter().chain(&layer.replaced).zip(files) {
            if stop.is_cancelled() {
                return Err(interrupted());
            }
            if layer.replaced.contains(part) {
                replaced.add(&layer, part, file)?;
            } else {
                rows += replaced.count(&layer, part, file)?;
            }
        }
    }
    Ok(rows)
}

/// Hashes a file and winds it back.
pub(super) fn sha256_of(file: &mut File, stop: &CancellationToken) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER];
    loop {
        if stop.is_cancelled() {
            return Err(interrupted());
        }
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    file.rewind()?;
    Ok(hex::encode(hash.finalize()))
}

fn check_odd_values(mut file: File, manifest: &Manifest) -> Result<Option<Wrong>> {
    let mut text = String::new();
    let differ = |problem: String| Ok(Some(Wrong { code: "odd-values-differ", problem }));
    if let Err(error) = file.read_to_string(&mut text) {
        return differ(error.to_string());
    }
    let sha256 = hex::encode(Sha256::digest(&text));
    if manifest.odd_values_sha256.as_ref().is_some_and(|expected| *expected != sha256) {
        return differ("its SHA-256 is not that of the manifest".to_owned());
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let Ok(odd) = serde_json::from_str::<OddValue<'_>>(line) else {
            return differ(format!("line {} cannot be read", index + 1));
        };
        if !manifest.parts.iter().any(|part| part.file == odd.part && odd.row < part.rows) {
            return differ(format!("line {} speaks of a row that is not there", index + 1));
        }
        *counts.entry(odd.column.into_owned()).or_default() += 1;
    }
    if counts != manifest.odd_values {
        return differ("it does not list what the manifest counts".to_owned());
    }
    Ok(None)
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.entities.iter().map(|entity| entity.entity.len()).max().unwrap_or(0);
        for EntityCheck { entity, snapshots, rows, bytes, .. } in &self.entities {
            let size = indicatif::HumanBytes(*bytes).to_string();
            writeln!(f, "{entity:width$}  {snapshots:>6} snapshots  {rows:>12} rows  {size:>11}")?;
        }
        for comparison in self.database.iter().flatten() {
            writeln!(f, "{comparison}")?;
        }
        for finding in &self.findings {
            let Finding { broken, code, path, problem, advice } = finding;
            let head = if *broken { "broken" } else { "note  " };
            writeln!(f, "{head}  {code}: {path}: {problem}\n        {advice}")?;
        }
        match self.broken() {
            0 => write!(f, "{}: every snapshot is what its manifest says", self.place),
            n => write!(f, "{}: {n} things are broken", self.place),
        }
    }
}
