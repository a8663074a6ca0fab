//! What an extract did, counted: for `ops.run_steps`, for people, for `--json`.

use crate::stage::rejects::Rejects;
use crate::store::staging::Landed;
use serde::Serialize;
use std::ops::AddAssign;
use std::time::Duration;

/// What was read from one connection.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ExtractReport {
    /// The connection.
    pub connection: String,
    /// Its streams, in the order read.
    pub streams: Vec<StreamReport>,
    /// Its records that could not be stored as received.
    pub rejects: Rejects,
}

impl ExtractReport {
    /// All streams together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for stream in &self.streams {
            total += stream.counts;
        }
        total
    }
}

/// What was read of one stream.
#[derive(Debug, Clone, Serialize)]
pub struct StreamReport {
    /// The stream.
    pub stream: &'static str,
    /// The walks made, or continued: `everything`, `modified`, `recent`, `changed parents`, `keys`.
    pub walks: Vec<&'static str>,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// Some of the keys that are on the shop's list and whose records it does not give.
    #[serde(rename = "not_landed_keys", skip_serializing_if = "Vec::is_empty")]
    pub not_landed: Vec<String>,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// The code of the error that ended it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
}

/// Records, pages and calls counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Pages read to their end.
    pub pages: u64,
    /// Calls made to the platform, tries included.
    pub calls: u64,
    /// Records received, those of repeated pages included.
    pub read: u64,
    /// What became of them.
    #[serde(flatten)]
    pub landed: Landed,
    /// Keys seen by walks over keys alone.
    pub keys: u64,
    /// Rows marked as deleted at the shop.
    pub deleted: u64,
    /// Pages that broke off and were asked for again.
    pub retried: u64,
    /// Parents whose lists the platform refused.
    pub lists_refused: u64,
    /// Records that the shop counts and has not given in a walk that was to find deletions, which therefore found none.
    pub incomplete: u64,
    /// Records that a walk has not seen, and that the platform still gives by key.
    pub kept: u64,
    /// Records that one walk has not seen; the next walk decides whether they are gone.
    pub in_doubt: u64,
    /// Records on the shop's list of keys that had not landed and were fetched by key.
    pub fetched: u64,
    /// Keys on the shop's list whose records it does not give by key either.
    pub not_landed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.pages += more.pages;
        self.calls += more.calls;
        self.read += more.read;
        self.landed += more.landed;
        self.keys += more.keys;
        self.deleted += more.deleted;
        self.retried += more.retried;
        self.lists_refused += more.lists_refused;
        self.incomplete += more.incomplete;
        self.kept += more.kept;
        self.in_doubt += more.in_doubt;
        self.fetched += more.fetched;
        self.not_landed += more.not_landed;
    }
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1_000.0).round() / 1_000.0)
}
