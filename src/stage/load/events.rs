//! Events: oldest first, each only when its contact has been seen at the target.

use super::Load;
use super::bench::{Object, Rendered};
use super::ledger::Refusal;
use super::tally::Tally;
use crate::Result;
use crate::failpoint::{self, Bug};
use futures::StreamExt;
use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Code, and reason, of an event whose contact never appeared.
const NOT_THERE: &str = "contact-not-there";

impl Load<'_> {
    /// Of rendered events those that can be sent, in their order; what cannot is settled or left.
    pub(super) async fn sort_events(&self, rendered: Vec<Rendered>) -> Result<Vec<Rendered>> {
        let to_send = self.settle_unsent(Object::Order, rendered).await?;
        let to_send = self.with_contact_there(to_send).await?;
        let mut to_send = self.not_sent_before_restore(to_send).await?;
        if failpoint::is_planted(Bug::NewestFirst) {
            to_send.reverse();
        }
        Ok(to_send)
    }

    /// Sees to it that the contacts of events are at the target; gives the events that can go.
    async fn with_contact_there(&self, records: Vec<Rendered>) -> Result<Vec<Rendered>> {
        let mut open: HashMap<String, HashSet<Uuid>> = HashMap::new();
        for record in records.iter().filter(|record| !record.is_confirmed) {
            if self.event_operation(&record.object)?.needs_contact {
                open.entry(record.address.to_lowercase()).or_default().insert(record.contact_id);
            }
        }
        // Rendered one slice ahead, so the slice before may have confirmed some of them since.
        let mut confirmed = std::mem::take(&mut *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner));
        open.retain(|_, contacts| {
            contacts.retain(|contact| !confirmed.contains(contact));
            !contacts.is_empty()
        });
        confirmed.clear();
        let mut pause = self.patience.pause;
        let mut looked_again = false;
        while !open.is_empty() {
            let mut addresses: Vec<String> = open.keys().cloned().collect();
            addresses.sort_unstable();
            let mut looks = self.looks(&addresses);
            let mut there = Vec::new();
            let mut shown = Vec::new();
            while let Some(look) = looks.next().await {
                let (chunk, states) = look?;
                for (address, state) in chunk.iter().zip(states) {
                    let Some(state) = state.filter(|state| !state.is_deleted) else { continue };
                    for contact in open.remove(address).unwrap_or_default() {
                        there.push(contact);
                        shown.push(Some(state.clone()));
                    }
                }
            }
            if !there.is_empty() {
                self.ledger.confirm(&there, &shown).await?;
                confirmed.extend(there);
            }
            if open.is_empty() || Instant::now() >= self.wait_until() {
                break;
            }
            self.note(&format!("waiting for {} contacts to appear at the target", open.len()));
            // Of the contacts sent last a few are often but a moment late; to ask for many again at once wastes calls.
            let is_cheap = open.len() <= self.target.contacts_per_call().saturating_mul(self.parallel);
            if is_cheap && !std::mem::replace(&mut looked_again, true) {
                self.gate.wait(pause / 20).await?;
            } else {
                self.pause(&mut pause).await?;
            }
        }
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = confirmed;
        let missing: HashSet<Uuid> = open.into_values().flatten().collect();
        let (absent, there): (Vec<Rendered>, Vec<Rendered>) =
            records.into_iter().partition(|record| missing.contains(&record.contact_id));
        self.leave(Object::Order, absent).await?;
        Ok(there)
    }

    /// Leaves records for the next load; events are given up after too many.
    pub(super) async fn leave(&self, object: Object, records: Vec<Rendered>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if object == Object::Contact {
            let n = u64::try_from(records.len()).unwrap_or(0);
            self.count(|tally| Tally::add(&mut tally.waiting, "not taken yet", n));
            return self.ledger.postpone(object, &records).await;
        }
        self.ledger.postpone(Object::Order, &records).await?;
        let attempts = self.ledger.attempts(Object::Order, &records).await?;
        let mut refused = Vec::new();
        for (record, attempts) in records.into_iter().zip(attempts) {
            if attempts >= self.patience.loads {
                self.count(|tally| Tally::add(&mut tally.rejected, NOT_THERE, 1));
                refused.push(Refusal {
                    record,
                    code: NOT_THERE.to_owned(),
                    reason:
                        "the target took the contact but never showed it, so it takes no event for it; look there for \
                             the address, then `wharf rejects retry`"
                            .to_owned(),
                });
            } else {
                self.count(|tally| Tally::add(&mut tally.waiting, "contact not at the target yet", 1));
            }
        }
        self.ledger.settle(Object::Order, &[], &refused).await
    }

    pub(super) async fn pause(&self, pause: &mut Duration) -> Result<()> {
        self.gate.wait(*pause).await?;
        *pause = (*pause * 2).min(self.patience.pause * 16);
        Ok(())
    }
}
