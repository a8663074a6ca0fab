//! What is written beside the data: one manifest per snapshot, and one page at the root that names the current
//! snapshot of every entity.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the two documents below; a reader refuses what it does not know.
pub(super) const FORMAT: u32 = 1;
/// The manifest's name in a snapshot's folder. Readers of a whole folder (pyarrow, Spark, pandas) take every file for data
/// whose name does not begin with an underscore.
pub(super) const MANIFEST: &str = "_manifest.json";
/// The list of values that a column's type has no place for, in a snapshot's folder; only there if there are any.
pub(super) const ODD_VALUES: &str = "_odd-values.jsonl";
/// The page at the root.
pub(super) const LATEST: &str = "_latest.json";

/// `_manifest.json`: what a snapshot of one entity holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document.
    pub format: u32,
    /// Schema and name of the table or view: `canonical.orders`.
    pub entity: String,
    /// Name of the snapshot: `20260131T235959.123456Z`.
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
    /// Rows in all parts.
    pub rows: u64,
    /// The columns, in order.
    pub columns: Vec<ManifestColumn>,
    /// The data files.
    pub parts: Vec<ManifestPart>,
    /// Values per column that its type has no place for (null in the data) or that were rounded; each is listed in
    /// `_odd-values.jsonl` with part, row and exact value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub odd_values: BTreeMap<String, u64>,
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
    /// The database.
    pub database: String,
    /// Entity → the snapshot that shows its state at `taken_at`.
    pub entities: BTreeMap<String, String>,
}

/// One line of `_odd-values.jsonl`.
#[derive(Debug, Serialize)]
pub(super) struct OddValue<'a> {
    /// The part's file name.
    pub part: &'a str,
    /// Row in that part, from 0.
    pub row: u64,
    /// The column.
    pub column: &'a str,
    /// The exact value, as PostgreSQL writes it.
    pub value: &'a str,
}

/// The sortable, file-name-safe name of the snapshot of an instant: `20260131T235959.123456Z`.
pub(super) fn snapshot_name(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%S.%6fZ").to_string()
}

/// A name that sorts right after `name`, for a clock that was set back.
pub(super) fn name_after(name: &str) -> String {
    const FORMAT: &str = "%Y%m%dT%H%M%S%.fZ";
    let later = jiff::civil::DateTime::strptime(FORMAT, name)
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
    fn a_name_after_another_sorts_after_it() {
        assert_eq!(name_after("20261231T235959.999999Z"), "20270101T000000.000000Z");
        assert_eq!(name_after("odd"), "odd+");
    }

    #[test]
    fn a_name_is_safe_in_any_file_system() {
        let at: Timestamp = "2026-01-31T23:59:59.1234Z".parse().unwrap();
        assert_eq!(snapshot_name(at), "20260131T235959.123400Z");
    }
}
