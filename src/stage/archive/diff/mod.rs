//! Diff: what changed between two snapshots, row by row and field by field, without a database.
//!
//! Snapshots are written in the table's own order, because sorting millions of wide rows would cost more than writing
//! them. So both sides are read once and only the hashes of their keys and values go to disk, in partitions that fit into
//! memory ([`spill`]); joined, they say what was added, removed and changed. Where rows are to be shown, both sides are
//! read a second time and the values of just those rows are put beside each other, partition by partition again. Memory
//! is the same for a thousand rows and for a hundred million; the disk holds 32 bytes per row.
//!
//! Wrong answers avoided: a merge of two streams that are not sorted alike, and one map of all keys.

mod rows;
mod spill;

use super::entities::CHANGES;
use super::manifest::{Latest, Manifest};
use super::place::Place;
use crate::error::{Error, Kind, Result};
use crate::progress::{Meter, Progress};
use rows::{Columns, Hasher, Layer, Side};
use serde::Serialize;
use spill::{Hashes, Partition, Spill};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use tokio_util::sync::CancellationToken;

/// Rows of a partition of hashes: 32 bytes each, and as much again for the map.
const ROWS_PER_PARTITION: u64 = 500_000;
/// Rows of a partition of values.
const VALUES_PER_PARTITION: u64 = 4_000;
const MOST_PARTITIONS: u64 = 512;

/// What is to be compared and shown.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// Only these entities; all if empty.
    pub entities: Vec<String>,
    /// How many rows of each entity are shown at most; `None` for all.
    pub limit: Option<u64>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Only the later snapshot has it.
    Added,
    /// Only the earlier one has it.
    Removed,
    /// Both have it, with other values.
    Changed,
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowDiff {
    /// `schema.table`.
    pub entity: String,
    /// What became of it.
    pub op: Op,
    /// Its key, column → value.
    pub key: BTreeMap<String, Option<String>>,
    /// The fields that differ, column → (earlier, later); for a row that one side lacks, all its fields.
    pub fields: BTreeMap<String, (Option<String>, Option<String>)>,
}

/// How many rows of an entity differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EntityDiff {
    /// `schema.table`.
    pub entity: String,
    /// Its earlier snapshot; null if it had none.
    pub from: Option<String>,
    /// Its later one.
    pub to: Option<String>,
    /// Rows that only the later one has.
    pub added: u64,
    /// Rows that only the earlier one has.
    pub removed: u64,
    /// Rows with other values.
    pub changed: u64,
    /// Columns that only one side has, or with another type: these are not compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
}

/// What differs between two instants.
#[derive(Debug, Clone, Serialize)]
pub struct DiffReport {
    /// The root of the archive.
    pub place: String,
    /// The earlier snapshot.
    pub from: String,
    /// The later one.
    pub to: String,
    /// Every entity.
    pub entities: Vec<EntityDiff>,
}

/// Compares the last snapshots not after `from` and `to` (names or times). Rows that differ go to `show` as they are found.
///
/// # Errors
/// [`Kind::Command`] for an instant or entity that the archive does not have; [`Kind::Io`] for a damaged part;
/// [`Kind::Interrupted`].
pub async fn diff(
    at: &str,
    (from, to): (&str, &str),
    options: &DiffOptions,
    progress: &Progress,
    stop: &CancellationToken,
    show: &mut (dyn FnMut(RowDiff) -> Result<()> + Send),
) -> Result<DiffReport> {
    let place = Place::open_existing(at).await?;
    let (from, to) = (place.page_at(Some(from)).await?, place.page_at(Some(to)).await?);
    let mut names: Vec<String> = from.entities.keys().chain(to.entities.keys()).cloned().collect();
    names.sort();
    names.dedup();
    if let Some(unknown) = options.entities.iter().find(|name| !names.contains(name)) {
        return Err(Error::new(Kind::Command, format!("neither snapshot has an entity `{unknown}`"))
            .hint(format!("there are {}", names.join(", "))));
    }
    // The feed is a history by itself: its snapshots hold what came between.
    names.retain(|name| if options.entities.is_empty() { name != CHANGES } else { options.entities.contains(name) });
    let mut entities = Vec::new();
    for name in names {
        entities.push(compare(&place, &name, (&from, &to), options.limit, progress, stop, show).await?);
    }
    Ok(DiffReport { place: place.shown().to_owned(), from: from.snapshot, to: to.snapshot, entities })
}

async fn compare(
    place: &Place,
    entity: &str,
    (from, to): (&Latest, &Latest),
    limit: Option<u64>,
    progress: &Progress,
    stop: &CancellationToken,
    show: &mut (dyn FnMut(RowDiff) -> Result<()> + Send),
) -> Result<EntityDiff> {
    let snapshots = (from.entities.get(entity), to.entities.get(entity));
    let mut report = EntityDiff {
        entity: entity.to_owned(),
        from: snapshots.0.cloned(),
        to: snapshots.1.cloned(),
        ..EntityDiff::default()
    };
    if report.from == report.to {
        return Ok(report);
    }
    let old = open(place, entity, snapshots.0).await?;
    let new = open(place, entity, snapshots.1).await?;
    let columns = columns(&old, &new, &mut report);
    let meter = progress.meter(format!("diff {entity}"), Some(rows_of(&old) + rows_of(&new)));
    let stop = stop.clone();
    // What is found travels back in pieces, so that whoever prints it slowly holds the reading up.
    let (found, mut arriving) = tokio::sync::mpsc::channel::<RowDiff>(256);
    let worker = tokio::task::spawn_blocking(move || {
        let work = Comparison { columns: &columns, old: &old, new: &new, meter: &meter, stop: &stop };
        work.run(&mut report, limit, &found)?;
        meter.finish(&report);
        Ok::<_, Error>(report)
    });
    let mut shown = Ok(());
    while let Some(row) = arriving.recv().await {
        shown = show(row);
        if shown.is_err() {
            break;
        }
    }
    drop(arriving);
    let report =
        worker.await.map_err(|error| Error::new(Kind::Internal, "a comparison was cut short").because(error))?;
    shown?;
    report
}

async fn open(place: &Place, entity: &str, snapshot: Option<&String>) -> Result<Side> {
    let Some(snapshot) = snapshot else { return Ok(Side { snapshot: None }) };
    let manifest = place.manifest_of(entity, snapshot).await?;
    let mut layers = Vec::new();
    for manifest in manifest.layers() {
        let (mut files, mut replaced) = (Vec::new(), Vec::new());
        for part in &manifest.parts {
            files.push(place.open_part(entity, &manifest.snapshot, &part.file).await?);
        }
        for part in &manifest.replaced {
            replaced.push(place.open_part(entity, &manifest.snapshot, &part.file).await?);
        }
        layers.push(Layer { manifest, files, replaced });
    }
    Ok(Side { snapshot: Some((manifest, layers)) })
}

fn rows_of(side: &Side) -> u64 {
    side.snapshot.as_ref().map_or(0, |(manifest, _)| manifest.rows)
}

/// The columns that both sides have alike, and the later side's key if all of it is among them.
fn columns(old: &Side, new: &Side, report: &mut EntityDiff) -> Columns {
    let of = |side: &Side| -> Option<Manifest> { side.snapshot.as_ref().map(|(manifest, _)| manifest.clone()) };
    let (all, key) = match (of(old), of(new)) {
        (Some(old), Some(new)) => {
            let alike = |name: &String| {
                let find = |manifest: &Manifest| {
                    manifest.columns.iter().find(|column| column.name == *name).map(|column| column.arrow_type.clone())
                };
                find(&old) == find(&new)
            };
            let names = old.columns.iter().chain(&new.columns).map(|column| column.name.clone());
            let mut all: Vec<String> = Vec::new();
            for name in names {
                if !all.contains(&name) && !report.not_compared.contains(&name) {
                    if alike(&name) { &mut all } else { &mut report.not_compared }.push(name);
                }
            }
            (all, new.key)
        }
        (Some(only), None) | (None, Some(only)) => {
            (only.columns.into_iter().map(|column| column.name).collect(), only.key)
        }
        (None, None) => (Vec::new(), Vec::new()),
    };
    let key = match !key.is_empty() && key.iter().all(|name| all.contains(name)) {
        true => key,
        // Rows without a key are what they hold.
        false => all.clone(),
    };
    Columns { key, all }
}

/// One entity being compared.
struct Comparison<'a> {
    columns: &'a Columns,
    old: &'a Side,
    new: &'a Side,
    meter: &'a Meter,
    stop: &'a CancellationToken,
}

impl Comparison<'_> {
    fn run(
        &self,
        report: &mut EntityDiff,
        limit: Option<u64>,
        found: &tokio::sync::mpsc::Sender<RowDiff>,
    ) -> Result<()> {
        let rows = rows_of(self.old).max(rows_of(self.new));
        let partitions = usize::try_from((rows / ROWS_PER_PARTITION + 1).min(MOST_PARTITIONS)).unwrap_or(1);
        let old = self.hashes(self.old, partitions)?;
        let new = self.hashes(self.new, partitions)?;
        let limit = limit.unwrap_or(u64::MAX);
        // Eight bytes for each row that is to be shown; a row that shares them by chance is sorted out below.
        let mut wanted: Vec<u64> = Vec::new();
        for (old, new) in old.into_iter().zip(new) {
            join(old, new, |op, key| {
                match op {
                    Op::Added => report.added += 1,
                    Op::Removed => report.removed += 1,
                    Op::Changed => report.changed += 1,
                }
                if (wanted.len() as u64) < limit {
                    wanted.push(short(key));
                }
            })?;
        }
        if wanted.is_empty() {
            return Ok(());
        }
        wanted.sort_unstable();
        wanted.dedup();
        self.meter.set_total(2 * (rows_of(self.old) + rows_of(self.new)));
        let partitions = (wanted.len() as u64 / VALUES_PER_PARTITION + 1).min(MOST_PARTITIONS);
        let partitions = usize::try_from(partitions).unwrap_or(1);
        let old = self.values(self.old, partitions, &wanted)?;
        let new = self.values(self.new, partitions, &wanted)?;
        let mut left = limit;
        for (old, new) in old.into_iter().zip(new) {
            self.show(&report.entity, old, new, &mut left, found)?;
        }
        Ok(())
    }

    fn hashes(&self, side: &Side, partitions: usize) -> Result<Vec<Partition>> {
        let mut spill = Spill::new(partitions)?;
        let hasher = Hasher::new(self.columns);
        side.each(self.columns, self.meter, self.stop, |arrays, _| {
            hasher.hash(arrays)?.into_iter().try_for_each(|hashes| spill.add(hashes))
        })?;
        spill.finish()
    }

    fn values(&self, side: &Side, partitions: usize, wanted: &[u64]) -> Result<Vec<Partition>> {
        let mut spill = Spill::new(partitions)?;
        let hasher = Hasher::new(self.columns);
        side.each(self.columns, self.meter, self.stop, |arrays, _| {
            for (row, Hashes { key, .. }) in hasher.hash(arrays)?.into_iter().enumerate() {
                if wanted.binary_search(&short(key)).is_ok() {
                    let values: Vec<Option<String>> = arrays.iter().map(|array| rows::text(array, row)).collect();
                    spill.add_values(key, &values)?;
                }
            }
            Ok(())
        })?;
        spill.finish()
    }

    fn show(
        &self,
        entity: &str,
        mut old: Partition,
        mut new: Partition,
        left: &mut u64,
        found: &tokio::sync::mpsc::Sender<RowDiff>,
    ) -> Result<()> {
        let mut before: HashMap<u128, Vec<Vec<Option<String>>>> = HashMap::new();
        while let Some((key, values)) = old.next_values()? {
            before.entry(key).or_default().push(values);
        }
        let mut send = |old: Option<Vec<Option<String>>>, new: Option<Vec<Option<String>>>| {
            if *left == 0 || old == new {
                return;
            }
            *left -= 1;
            // Whoever listens has gone: it has an error of its own.
            let _ = found.blocking_send(self.row(entity, old, new));
        };
        while let Some((key, values)) = new.next_values()? {
            let old = before.get_mut(&key).and_then(Vec::pop);
            send(old, Some(values));
        }
        for old in before.into_values().flatten() {
            send(Some(old), None);
        }
        Ok(())
    }

    fn row(&self, entity: &str, old: Option<Vec<Option<String>>>, new: Option<Vec<Option<String>>>) -> RowDiff {
        let op = match (&old, &new) {
            (None, _) => Op::Added,
            (_, None) => Op::Removed,
            _ => Op::Changed,
        };
        let value =
            |side: &Option<Vec<Option<String>>>, index: usize| side.as_ref().and_then(|values| values[index].clone());
        let mut row = RowDiff { entity: entity.to_owned(), op, key: BTreeMap::new(), fields: BTreeMap::new() };
        for (index, name) in self.columns.all.iter().enumerate() {
            let (old, new) = (value(&old, index), value(&new, index));
            if self.columns.key.contains(name) {
                row.key.insert(name.clone(), if op == Op::Removed { old } else { new });
            } else if old != new {
                row.fields.insert(name.clone(), (old, new));
            }
        }
        row
    }
}

/// Joins one partition of each side. Rows without a key may be there several times: they are counted against each other.
fn join(mut old: Partition, mut new: Partition, mut differs: impl FnMut(Op, u128)) -> Result<()> {
    let mut before: HashMap<u128, (u128, u32)> = HashMap::new();
    while let Some(Hashes { key, row }) = old.next_hashes()? {
        before.entry(key).or_insert((row, 0)).1 += 1;
    }
    while let Some(Hashes { key, row }) = new.next_hashes()? {
        match before.get_mut(&key).filter(|(_, count)| *count > 0) {
            Some((old_row, count)) => {
                *count -= 1;
                if *old_row != row {
                    differs(Op::Changed, key);
                }
            }
            None => differs(Op::Added, key),
        }
    }
    for (key, (_, count)) in before {
        (0..count).for_each(|_| differs(Op::Removed, key));
    }
    Ok(())
}

fn short(key: u128) -> u64 {
    u64::try_from(key & u128::from(u64::MAX)).unwrap_or(0)
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "stopped before everything was compared").hint("--entity makes it shorter")
}

impl fmt::Display for EntityDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, removed, changed, not_compared, .. } = self;
        match (added, removed, changed) {
            (0, 0, 0) => write!(f, "no difference")?,
            _ => write!(f, "{added} added, {removed} removed, {changed} changed")?,
        }
        if !not_compared.is_empty() {
            write!(f, "; not compared: {}", not_compared.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for RowDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        let key: Vec<String> = self.key.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
        let sign = match self.op {
            Op::Added => '+',
            Op::Removed => '-',
            Op::Changed => '~',
        };
        write!(f, "{sign} {} {}", self.entity, key.join(" "))?;
        if self.op == Op::Changed {
            for (name, (old, new)) in &self.fields {
                write!(f, "\n    {name}: {} -> {}", shown(old), shown(new))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for DiffReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.entities.iter().map(|entity| entity.entity.len()).max().unwrap_or(0);
        for entity in &self.entities {
            writeln!(f, "{:width$}  {entity}", entity.entity)?;
        }
        write!(f, "{}: from {} to {}", self.place, self.from, self.to)
    }
}
