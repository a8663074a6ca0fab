//! What is used of each limit, counted always; and whether a call is within it.

use super::options::{Limits, Second};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// A limit that calls count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// All methods together, events apart: their limit is the higher one.
    All,
    /// Events.
    Events,
    /// Past events.
    PastEvents,
    /// Deletions of past events.
    PastDeletes,
    /// Search for contacts.
    ContactSearch,
    /// Messages of a contact, single letters.
    Messages,
}

const BUCKETS: [Bucket; 6] =
    [Bucket::All, Bucket::Events, Bucket::PastEvents, Bucket::PastDeletes, Bucket::ContactSearch, Bucket::Messages];

impl Bucket {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Events => "events",
            Self::PastEvents => "past_events",
            Self::PastDeletes => "past_deletes",
            Self::ContactSearch => "contact_search",
            Self::Messages => "messages",
        }
    }

    fn of(self, limits: &Limits) -> u32 {
        match self {
            Self::All => limits.all,
            Self::Events => limits.events,
            Self::PastEvents => limits.past_events,
            Self::PastDeletes => limits.past_deletes,
            Self::ContactSearch => limits.contact_search,
            Self::Messages => limits.messages,
        }
    }

    /// The buckets that a call counts in, given its own.
    fn with_all(self) -> Vec<Self> {
        match self {
            Self::All | Self::Events => vec![self],
            other => vec![Self::All, other],
        }
    }
}

#[derive(Debug, Default)]
struct Meter {
    /// Calls of the last second (µs).
    recent: VecDeque<u64>,
    /// The second that is counted by windows, and its calls.
    window: (u64, u32),
    most: usize,
    most_in_window: u32,
    taken: u64,
    refused: u64,
    first: Option<u64>,
    last: u64,
}

const SECOND: u64 = 1_000_000;

impl Meter {
    fn pass(&mut self, at: u64) {
        while self.recent.front().is_some_and(|first| first + SECOND <= at) {
            self.recent.pop_front();
        }
        if self.window.0 != at / SECOND {
            self.window = (at / SECOND, 0);
        }
    }

    fn is_full(&self, limit: u32, second: Second) -> bool {
        match second {
            Second::Any => self.recent.len() >= limit as usize,
            Second::Window => self.window.1 >= limit,
        }
    }

    fn take(&mut self, at: u64) {
        self.recent.push_back(at);
        self.window.1 += 1;
        self.taken += 1;
        self.most = self.most.max(self.recent.len());
        self.most_in_window = self.most_in_window.max(self.window.1);
        self.first.get_or_insert(at);
        self.last = at;
    }
}

/// The meters of all limits.
#[derive(Debug)]
pub struct Meters {
    began: Instant,
    meters: BTreeMap<Bucket, Meter>,
}

impl Default for Meters {
    fn default() -> Self {
        Self { began: Instant::now(), meters: BUCKETS.into_iter().map(|bucket| (bucket, Meter::default())).collect() }
    }
}

impl Meters {
    /// Whether a call is within every limit that it counts in; it is counted as taken or refused.
    pub fn admits(&mut self, bucket: Bucket, limits: Option<&Limits>) -> bool {
        let at = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.admits_at(at, bucket, limits)
    }

    fn admits_at(&mut self, at: u64, bucket: Bucket, limits: Option<&Limits>) -> bool {
        let buckets = bucket.with_all();
        let mut full = false;
        for bucket in &buckets {
            let meter = self.meters.entry(*bucket).or_default();
            meter.pass(at);
            full |= limits.is_some_and(|limits| meter.is_full(bucket.of(limits), limits.second));
        }
        for bucket in buckets {
            let meter = self.meters.entry(bucket).or_default();
            if full { meter.refused += 1 } else { meter.take(at) }
        }
        !full
    }

    /// What was used of each: the most calls within any second and within a window, taken and refused ones, and over how
    /// many seconds.
    pub fn report(&self, limits: Option<&Limits>) -> Value {
        let reports = self.meters.iter().map(|(bucket, meter)| {
            let micros = meter.first.map_or(0, |first| meter.last - first);
            let report = json!({
                "limit": limits.map(|limits| bucket.of(limits)),
                "most_in_any_second": meter.most,
                "most_in_a_window": meter.most_in_window,
                "taken": meter.taken,
                "refused": meter.refused,
                "from_first_to_last_ms": micros / 1000,
            });
            (bucket.name().to_owned(), report)
        });
        Value::Object(reports.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_in_its_own_limit_and_in_the_common_one_but_events_apart() {
        let limits = Limits { all: 2, events: 3, contact_search: 1, ..Limits::default() };
        let mut meters = Meters::default();
        let mut admits = |at, bucket| meters.admits_at(at, bucket, Some(&limits));
        assert!(admits(0, Bucket::ContactSearch));
        assert!(!admits(1, Bucket::ContactSearch), "its own limit is one");
        assert!(admits(2, Bucket::All));
        assert!(!admits(3, Bucket::PastEvents), "the common limit is two");
        assert!(admits(4, Bucket::Events) && admits(5, Bucket::Events) && admits(6, Bucket::Events));
        assert!(!admits(7, Bucket::Events));
        assert!(!admits(999_999, Bucket::ContactSearch), "a second is not over");
        assert!(admits(SECOND, Bucket::ContactSearch));
        let report = meters.report(Some(&limits));
        assert_eq!(report["all"]["most_in_any_second"], 2);
        assert_eq!(report["events"]["refused"], 1);
    }
}
