//! What an archive run did, for people and for programs.

use super::prune::PruneReport;
use serde::Serialize;
use std::fmt;

/// What an archive run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArchiveReport {
    /// The root: a folder, or the URL of an object store without its credentials.
    pub place: String,
    /// The snapshot's name; null if none was due.
    pub snapshot: Option<String>,
    /// Why nothing was written, if nothing was due.
    pub not_due: Option<String>,
    /// Every entity in the order of names; empty if nothing was due.
    pub entities: Vec<EntityReport>,
    /// What `archive.keep` did not want any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<PruneReport>,
}

/// What became of one entity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntityReport {
    /// `schema.table`.
    pub entity: String,
    /// What was done.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A new snapshot was published.
    Written {
        /// Rows written: all of them, or those that changed.
        rows: u64,
        /// Rows of the entity.
        total: u64,
        /// Size of the files written.
        bytes: u64,
        /// Its data files.
        parts: u64,
        /// Values that their column's type has no place for; listed beside the data.
        odd_values: u64,
    },
    /// Nothing changed since the snapshot named here, so it stays the current one.
    Unchanged {
        /// Name of the current snapshot.
        since: String,
    },
}

impl ArchiveReport {
    /// How many entities were written.
    pub fn written(&self) -> usize {
        self.entities.iter().filter(|entity| matches!(entity.outcome, Outcome::Written { .. })).count()
    }

    /// Rows written, all entities together.
    pub fn rows(&self) -> u64 {
        self.entities
            .iter()
            .map(|entity| if let Outcome::Written { rows, .. } = entity.outcome { rows } else { 0 })
            .sum()
    }

    /// Values that their column's type has no place for, all entities together.
    pub fn odd_values(&self) -> u64 {
        let odd = |outcome: &Outcome| if let Outcome::Written { odd_values, .. } = outcome { *odd_values } else { 0 };
        self.entities.iter().map(|entity| odd(&entity.outcome)).sum()
    }
}

impl Outcome {
    /// What the history of runs keeps of it.
    pub(super) fn counts(&self) -> serde_json::Value {
        match self {
            Self::Written { rows, bytes, parts, odd_values, .. } => {
                serde_json::json!({ "rows": rows, "bytes": bytes, "parts": parts, "odd_values": odd_values })
            }
            Self::Unchanged { .. } => serde_json::json!({ "rows": 0, "bytes": 0 }),
        }
    }
}

impl ArchiveReport {
    /// Bytes written, all entities together.
    pub fn bytes(&self) -> u64 {
        self.entities
            .iter()
            .map(|entity| if let Outcome::Written { bytes, .. } = entity.outcome { bytes } else { 0 })
            .sum()
    }

    /// What became of each entity, one line each.
    pub fn details(&self) -> Vec<String> {
        let width = self.entities.iter().map(|entity| entity.entity.len()).max().unwrap_or(0);
        let line = |EntityReport { entity, outcome }: &EntityReport| match outcome {
            Outcome::Written { rows, total, bytes, odd_values, .. } => {
                let of = if rows == total { String::new() } else { format!(" of {total}") };
                let odd = match odd_values {
                    0 => String::new(),
                    odd => format!("  {odd} values beyond their type, see _odd-values.jsonl"),
                };
                format!("{entity:width$}  {:>10}  {rows} rows{of}{odd}", size(*bytes))
            }
            Outcome::Unchanged { since } => format!("{entity:width$}  unchanged since {since}"),
        };
        self.entities.iter().map(line).collect()
    }
}

/// In short; [`ArchiveReport::details`] has every entity.
impl fmt::Display for ArchiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = &self.not_due {
            return write!(f, "{}: {reason}", self.place);
        }
        match &self.snapshot {
            Some(snapshot) if self.written() > 0 => write!(
                f,
                "{}: snapshot {snapshot}, {} rows, {}; {} of {} entities changed",
                self.place,
                self.rows(),
                size(self.bytes()),
                self.written(),
                self.entities.len()
            )?,
            _ => write!(f, "{}: nothing changed", self.place)?,
        }
        if let Some(pruned) = self.pruned.as_ref().filter(|pruned| !pruned.removed.is_empty()) {
            write!(f, "\n{}", pruned.summary())?;
        }
        Ok(())
    }
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_was_written_and_what_was_left_alone() {
        let report = ArchiveReport {
            place: "archive".into(),
            snapshot: Some("20260131T235959_123456Z".into()),
            not_due: None,
            entities: vec![
                EntityReport {
                    entity: "canonical.orders".into(),
                    outcome: Outcome::Written { rows: 12, total: 400, bytes: 2048, parts: 1, odd_values: 0 },
                },
                EntityReport {
                    entity: "marts.rfm".into(),
                    outcome: Outcome::Unchanged { since: "20260130T000000_000000Z".into() },
                },
            ],
            pruned: None,
        };
        assert_eq!(
            report.details(),
            [
                "canonical.orders    2.00 KiB  12 rows of 400",
                "marts.rfm         unchanged since 20260130T000000_000000Z"
            ]
        );
        assert_eq!(
            report.to_string(),
            "archive: snapshot 20260131T235959_123456Z, 12 rows, 2.00 KiB; 1 of 2 entities changed"
        );
    }
}
