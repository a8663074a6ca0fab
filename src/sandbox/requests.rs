//! The log of calls: what was asked, when, and how it was answered; with counts per route that never forget.
//!
//! Secrets in queries are blanked out. The list of calls is bounded; the counts are not.

use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many calls the list keeps.
const KEPT_CALLS: usize = 20_000;

/// The name under which a call is counted; put into an answer's extensions by a handler.
#[derive(Debug, Clone)]
pub struct Route(pub String);

/// One call as it was received and answered.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Position in the log, from 1, growing by one.
    pub number: u64,
    /// When it came (UTC, from the machine's clock).
    pub at: Timestamp,
    /// When it came, in microseconds of a clock that never jumps: for checks of a rate.
    pub at_micros: u64,
    /// The platform.
    pub platform: &'static str,
    /// The HTTP method.
    pub method: String,
    /// The path as asked.
    pub path: String,
    /// The query as asked, with secrets blanked out.
    pub query: String,
    /// The route it was counted under.
    pub route: String,
    /// The status answered; 0 where no answer was given.
    pub status: u16,
    /// The fault that was applied.
    pub fault: Option<String>,
}

#[derive(Debug, Default)]
struct Log {
    calls: VecDeque<Call>,
    counts: BTreeMap<String, u64>,
    total: u64,
}

/// The calls of all platforms of a sandbox.
#[derive(Debug)]
pub struct Requests {
    began: Instant,
    log: Mutex<Log>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { began: Instant::now(), log: Mutex::default() }
    }
}

impl Requests {
    /// Microseconds since the sandbox began.
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Notes a call; its number is set here.
    pub(super) fn note(&self, mut call: Call) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.total += 1;
        call.number = log.total;
        *log.counts.entry(format!("{} {} {}", call.platform, call.method, call.route)).or_default() += 1;
        if log.calls.len() == KEPT_CALLS {
            log.calls.pop_front();
        }
        log.calls.push_back(call);
    }

    /// Calls per `platform METHOD route`, for example `woocommerce GET /wp-json/wc/v3/orders`.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }

    /// The calls of a platform (all platforms: an empty name) whose path matches a pattern with `*` (all: an empty one),
    /// oldest first.
    pub fn calls(&self, platform: &str, path: &str) -> Vec<Call> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.calls
            .iter()
            .filter(|call| platform.is_empty() || call.platform == platform)
            .filter(|call| path.is_empty() || super::faults::matches(path, &call.path))
            .cloned()
            .collect()
    }

    /// All calls so far, forgotten ones included.
    pub fn total(&self) -> u64 {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Log::default();
    }
}

/// Blanks the values of secret parameters in a query.
pub(super) fn without_secrets(query: &str) -> String {
    const SECRET: [&str; 4] = ["consumer_secret", "oauth_signature", "sha", "api_key"];
    let mut parts = Vec::new();
    for part in query.split('&') {
        match part.split_once('=') {
            Some((name, _)) if SECRET.contains(&name) => parts.push(format!("{name}=…")),
            _ => parts.push(part.to_owned()),
        }
    }
    parts.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_query_are_blanked_and_the_rest_is_kept() {
        assert_eq!(
            without_secrets("page=2&consumer_secret=cs_1&oauth_signature=x%3D&order=asc"),
            "page=2&consumer_secret=…&oauth_signature=…&order=asc"
        );
        assert_eq!(without_secrets(""), "");
    }
}
