//! What is written beside the data: one manifest per snapshot, one page per archive run that names the snapshot of every
//! entity that shows its instant, and the same page at the root for the present.
//!
//! A manifest ends with its seal, a hash of everything else in it: whoever edits one by hand, or flips a bit, is found out.

use crate::error::{Error, Kind, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Version of the two documents below. A reader refuses what is newer; 1 had no layers, so that its snapshots are read as
/// snapshots of one layer.
pub(super) const FORMAT: u32 = 2;
/// The manifest's name in a snapshot's folder. Readers of a whole folder (pyarrow, Spark, pandas) take every file for data
/// whose name does not begin with an underscore.
pub(super) const MANIFEST: &str = "_manifest.json";
/// The list of values that a column's type has no place for, in a snapshot's folder; only there if there are any.
pub(super) const ODD_VALUES: &str = "_odd-values.jsonl";
/// The page at the root.
pub(super) const LATEST: &str = "_latest.json";
/// The folder of the pages of all archive runs that wrote anything: `_snapshots/<name>.json`.
pub(super) const PAGES: &str = "_snapshots";
/// The manifest's member that holds its own hash.
const SEAL: &str = "seal";

/// `_manifest.json`: what a snapshot of one entity holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document.
    pub format: u32,
    /// Schema and name of the table or view: `canonical.orders`.
    pub entity: String,
    /// Name of the snapshot: `20260131T235959_123456Z`.
    pub snapshot: String,
    /// The instant that the snapshot shows; all entities of one archive run show the same.
    pub taken_at: Timestamp,
    /// The run that wrote it.
    pub run_id: i64,
    /// Which database it was taken from: a fingerprint that says nothing of its contents.
    pub database: String,
    /// Changes of runs up to this one are in the snapshot.
    pub watermark: i64,
    /// Latest migration of the database.
    pub schema_version: Option<i64>,
    /// The Wharf that wrote it.
    pub wharf_version: String,
    /// Rows of the entity at that instant: those of all layers that no newer layer replaces.
    pub rows: u64,
    /// The columns, in order.
    pub columns: Vec<ManifestColumn>,
    /// Names of the columns of the primary key, in its order; empty for a mart, whose rows have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// The data files of this snapshot: all rows, or, where `older` names layers, those that changed since.
    pub parts: Vec<ManifestPart>,
    /// The columns by whose values rows of older layers are replaced; empty if this snapshot holds all rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// Files with the values of `scope` that changed: rows of older layers with any of these are no more, and `parts` has
    /// what took their place, if anything did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<ManifestPart>,
    /// The layers below this one, newest first; the last one holds all rows of its instant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<Layer>,
    /// Hash of the rows in any order, by which a mart that was worked out again and came out the same is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Values per column that its type has no place for (null in the data) or that were rounded; each is listed in
    /// `_odd-values.jsonl` with part, row and exact value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub odd_values: BTreeMap<String, u64>,
    /// Hash of the rows of a small table, by which its changes are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// For the change feed, of which every snapshot holds only what came since the one before: the last run of that one.
    /// Changes of runs after it and up to `watermark` are in this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_run: Option<i64>,
    /// SHA-256 of `_odd-values.jsonl`, hexadecimal; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odd_values_sha256: Option<String>,
}

/// The files of an earlier snapshot of the same entity that a snapshot is made of, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The snapshot in whose folder they are.
    pub snapshot: String,
    /// Its data files.
    pub parts: Vec<ManifestPart>,
    /// Its files of what it replaces in the layers below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<ManifestPart>,
    /// Its values that their type has no place for, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub odd_values: BTreeMap<String, u64>,
}

impl Manifest {
    /// This snapshot's own files as a layer of a later one.
    pub(super) fn as_layer(&self) -> Layer {
        Layer {
            snapshot: self.snapshot.clone(),
            parts: self.parts.clone(),
            replaced: self.replaced.clone(),
            odd_values: self.odd_values.clone(),
        }
    }

    /// What the snapshot is made of, newest first: for each layer a manifest that speaks of its files alone.
    pub(super) fn layers(&self) -> Vec<Manifest> {
        let of_layer = |layer: Layer| Manifest {
            snapshot: layer.snapshot,
            rows: layer.parts.iter().map(|part| part.rows).sum(),
            parts: layer.parts,
            replaced: layer.replaced,
            odd_values: layer.odd_values,
            older: Vec::new(),
            ..self.clone()
        };
        std::iter::once(self.as_layer()).chain(self.older.iter().cloned()).map(of_layer).collect()
    }
}

/// One column of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestColumn {
    /// Its name.
    pub name: String,
    /// Its type in PostgreSQL.
    pub postgres_type: String,
    /// Its type in Arrow.
    pub arrow_type: String,
}

/// One data file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPart {
    /// File name within the snapshot's folder.
    pub file: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// `_latest.json`: the current snapshot of every entity, as of the last complete archive run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    /// Version of this document.
    pub format: u32,
    /// The instant that the last complete archive run shows.
    pub taken_at: Timestamp,
    /// That run's snapshot name, whether or not any entity had changed.
    pub snapshot: String,
    /// The run.
    pub run_id: i64,
    /// The last run that had begun in the database; a restored one goes on after it.
    #[serde(default)]
    pub last_run: i64,
    /// Changes of runs up to this one are complete in it.
    #[serde(default)]
    pub watermark: i64,
    /// The database.
    pub database: String,
    /// Entity → the snapshot that shows its state at `taken_at`.
    pub entities: BTreeMap<String, String>,
}

/// One line of `_odd-values.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OddValue<'a> {
    /// The part's file name.
    #[serde(borrow)]
    pub part: Cow<'a, str>,
    /// Row in that part, from 0.
    pub row: u64,
    /// The column.
    #[serde(borrow)]
    pub column: Cow<'a, str>,
    /// The exact value, as PostgreSQL writes it.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
}

/// A manifest with its seal, as it is written.
///
/// # Errors
/// [`Kind::Internal`] if it cannot be written as JSON, which would be a defect here.
pub(super) fn sealed(manifest: &Manifest) -> Result<Value> {
    let mut document = serde_json::to_value(manifest)
        .map_err(|error| Error::new(Kind::Internal, "a manifest cannot be written as JSON").because(error))?;
    let seal = seal_of(&document);
    if let Value::Object(members) = &mut document {
        members.insert(SEAL.to_owned(), Value::String(seal));
    }
    Ok(document)
}

/// Whether a manifest is as Wharf wrote it; `None` for one without a seal, from before there were any.
pub(super) fn is_unbroken(document: &Value) -> Option<bool> {
    let seal = document.get(SEAL)?;
    Some(*seal == Value::String(seal_of(document)))
}

/// SHA-256 of a document without its seal, its members in the order of their names, so that it depends neither on how
/// the text was laid out nor on which members this Wharf knows.
fn seal_of(document: &Value) -> String {
    fn write(value: &Value, is_root: bool, out: &mut Sha256) {
        match value {
            Value::Object(members) => {
                let sorted: BTreeMap<&String, &Value> =
                    members.iter().filter(|(name, _)| !is_root || *name != SEAL).collect();
                out.update(b"{");
                for (name, member) in sorted {
                    out.update(Value::String(name.clone()).to_string());
                    out.update(b":");
                    write(member, false, out);
                    out.update(b",");
                }
                out.update(b"}");
            }
            Value::Array(elements) => {
                out.update(b"[");
                for element in elements {
                    write(element, false, out);
                    out.update(b",");
                }
                out.update(b"]");
            }
            scalar => out.update(scalar.to_string()),
        }
    }
    let mut hash = Sha256::new();
    write(document, true, &mut hash);
    hex::encode(hash.finalize())
}

/// The sortable, file-name-safe name of the snapshot of an instant: `20260131T235959_123456Z`. Every reader of partitioned
/// folders takes it for a text: with a point instead, Polars would make a time of it and DuckDB a text.
pub(super) fn snapshot_name(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%S_%6fZ").to_string()
}

/// A name that sorts right after `name`, for a clock that was set back.
pub(super) fn name_after(name: &str) -> String {
    const FORMAT: &str = "%Y%m%dT%H%M%S%.fZ";
    // Names of format 1 had the point.
    let later = jiff::civil::DateTime::strptime(FORMAT, name.replace('_', "."))
        .and_then(|at| at.checked_add(jiff::SignedDuration::from_micros(1)))
        .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC));
    match later {
        Ok(later) => snapshot_name(later.timestamp()),
        // Not a name of ours: it still sorts after it.
        Err(_) => format!("{name}+"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_sort_as_time_does(a in 0_i64..4_000_000_000_000_000, b in 0_i64..4_000_000_000_000_000) {
            let name = |microseconds| snapshot_name(Timestamp::from_microsecond(microseconds).unwrap());
            prop_assert_eq!(a.cmp(&b), name(a).cmp(&name(b)));
        }
    }

    #[test]
    fn a_seal_is_broken_by_any_change_and_by_no_other_layout() {
        let text = r#"{"rows": 12, "parts": [{"file": "a"}], "seal": "?"}"#;
        let mut document: Value = serde_json::from_str(text).unwrap();
        assert_eq!(is_unbroken(&document), Some(false));
        document["seal"] = Value::String(seal_of(&document));
        let again: Value = serde_json::from_str(&format!("{document:#}")).unwrap();
        assert_eq!(is_unbroken(&again), Some(true));
        document["parts"][0]["file"] = "b".into();
        assert_eq!(is_unbroken(&document), Some(false));
        assert_eq!(is_unbroken(&serde_json::json!({"rows": 12})), None);
    }

    #[test]
    fn a_name_after_another_sorts_after_it() {
        assert_eq!(name_after("20261231T235959_999999Z"), "20270101T000000_000000Z");
        assert_eq!(name_after("20261231T235959.999999Z"), "20270101T000000_000000Z");
        assert_eq!(name_after("odd"), "odd+");
    }

    #[test]
    fn a_name_is_safe_in_any_file_system() {
        let at: Timestamp = "2026-01-31T23:59:59.1234Z".parse().unwrap();
        assert_eq!(snapshot_name(at), "20260131T235959_123400Z");
    }
}
