//! What a load did, or a plan says it would do, in numbers: the same counts, so that the two can be compared.

use crate::error::Exit;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Counts by name.
pub type Counts = BTreeMap<String, u64>;

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Records sent and acknowledged, by what it was: `contacts new`, `contacts changed`, `contacts rename`,
    /// `contacts untag`, `contacts opt out`, `purchase`, `cancellation`, `return`.
    pub sent: Counts,
    /// Records that the target holds already just so.
    pub unchanged: u64,
    /// Records that need nothing or that a filter leaves out, by reason.
    pub skipped: Counts,
    /// Records that need a person first, by reason.
    pub held: Counts,
    /// Records that stay for the next load, by reason.
    pub waiting: Counts,
    /// Contacts that the guard holds back, because too many would lose the same at once.
    pub guarded: u64,
    /// Records that the target or a rule refused, by code.
    pub rejected: Counts,
    /// Opt-outs found at the target and kept against an earlier opt-in of the shop.
    pub opt_outs_kept: u64,
    /// Calls by name.
    pub calls: Counts,
}

impl Tally {
    /// Counts `n` more under `name`.
    pub fn add(counts: &mut Counts, name: impl Into<String>, n: u64) {
        if n > 0 {
            *counts.entry(name.into()).or_default() += n;
        }
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.sent, &other.sent),
            (&mut self.skipped, &other.skipped),
            (&mut self.held, &other.held),
            (&mut self.waiting, &other.waiting),
            (&mut self.rejected, &other.rejected),
            (&mut self.calls, &other.calls),
        ];
        for (counts, others) in pairs {
            for (name, n) in others {
                Self::add(counts, name.clone(), *n);
            }
        }
        self.unchanged += other.unchanged;
        self.guarded += other.guarded;
        self.opt_outs_kept += other.opt_outs_kept;
    }

    /// All calls.
    pub fn all_calls(&self) -> u64 {
        self.calls.values().sum()
    }

    /// All records sent.
    pub fn all_sent(&self) -> u64 {
        self.sent.values().sum()
    }

    /// How a load that ended like this ends the command, refusals aside: a person has to decide what the guard holds back; what
    /// waits at the target goes with the next run. What was refused counts by whether it was refused before:
    /// [`crate::stage::rejects::Rejects::exit`].
    pub fn exit(&self) -> Exit {
        match (self.guarded > 0, self.waiting.is_empty()) {
            (true, _) => Exit::Decision,
            (false, false) => Exit::Stopped,
            (false, true) => Exit::Done,
        }
    }

    /// The counts in groups, for people: `(heading, counts)`; empty groups are left out.
    pub fn groups(&self) -> Vec<(&'static str, Counts)> {
        let mut kept = Counts::new();
        Self::add(&mut kept, "opt-out at the target is later", self.opt_outs_kept);
        let mut guarded = Counts::new();
        Self::add(&mut guarded, "contacts, by the guard", self.guarded);
        let mut unchanged = Counts::new();
        Self::add(&mut unchanged, "held by the target already", self.unchanged);
        [
            ("send", self.sent.clone()),
            ("unchanged", unchanged),
            ("skipped", self.skipped.clone()),
            ("held", self.held.clone()),
            ("held back", guarded),
            ("waiting", self.waiting.clone()),
            ("rejected", self.rejected.clone()),
            ("opt-outs kept", kept),
            ("calls", self.calls.clone()),
        ]
        .into_iter()
        .filter(|(_, counts)| !counts.is_empty())
        .collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |counts: &Counts| counts.iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ");
        let parts: Vec<String> =
            self.groups().into_iter().map(|(heading, counts)| format!("{heading}: {}", list(&counts))).collect();
        f.write_str(if parts.is_empty() { "nothing to do".to_owned() } else { parts.join("; ") }.as_str())
    }
}
