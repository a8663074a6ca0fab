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
        /// Rows in it.
        rows: u64,
        /// Size of its data files.
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

impl fmt::Display for ArchiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = &self.not_due {
            return write!(f, "{}: {reason}", self.place);
        }
        let width = self.entities.iter().map(|entity| entity.entity.len()).max().unwrap_or(0);
        for entity in &self.entities {
            match &entity.outcome {
                Outcome::Written { rows, bytes, odd_values, .. } => {
                    write!(f, "{:width$}  {rows:>10} rows  {:>10}", entity.entity, size(*bytes))?;
                    if *odd_values > 0 {
                        write!(f, "  {odd_values} values beyond their type, see _odd-values.jsonl")?;
                    }
                    writeln!(f)?;
                }
                Outcome::Unchanged { since } => writeln!(f, "{:width$}  unchanged since {since}", entity.entity)?,
            }
        }
        if let Some(pruned) = &self.pruned {
            writeln!(f, "{}", pruned.summary())?;
        }
        match &self.snapshot {
            Some(snapshot) if self.written() > 0 => write!(f, "{}/<entity>/snapshot={snapshot}/", self.place),
            _ => write!(f, "{}: nothing changed", self.place),
        }
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
            snapshot: Some("20260131T235959.123456Z".into()),
            not_due: None,
            entities: vec![
                EntityReport {
                    entity: "canonical.orders".into(),
                    outcome: Outcome::Written { rows: 12, bytes: 2048, parts: 1, odd_values: 0 },
                },
                EntityReport {
                    entity: "marts.rfm".into(),
                    outcome: Outcome::Unchanged { since: "20260130T000000.000000Z".into() },
                },
            ],
            pruned: None,
        };
        let text = report.to_string();
        assert!(text.contains("canonical.orders          12 rows    2.00 KiB"), "{text}");
        assert!(text.contains("marts.rfm         unchanged since 20260130T000000.000000Z"), "{text}");
        assert!(text.ends_with("archive/<entity>/snapshot=20260131T235959.123456Z/"), "{text}");
    }
}
