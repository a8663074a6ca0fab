//! Events: oldest first, each only when its contact has been seen at the target.

use super::Load;
use super::bench::{Bench, Object, Rendered};
use super::ledger::Refusal;
use super::tally::Tally;
use crate::Result;
use crate::target::Operation;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Code, and reason, of an event whose contact never appeared.
const NOT_THERE: &str = "contact-not-there";

impl Load<'_> {
    pub(super) async fn events(&mut self, bench: &mut Bench) -> Result<()> {
        let mut ready: BTreeMap<&'static str, (Operation, Vec<Rendered>)> = BTreeMap::new();
        while let Some(rendered) = bench.next_events().await? {
            self.gate.check()?;
            let to_send = self.settle_unsent(Object::Order, rendered).await?;
            let to_send = self.with_contact_there(to_send).await?;
            for record in to_send {
                let operation = self.event_operation(&record.object)?;
                ready.entry(operation.name).or_insert_with(|| (operation, Vec::new())).1.push(record);
            }
            for (operation, records) in ready.values_mut() {
                while records.len() >= operation.batch.max(1) {
                    let batch: Vec<Rendered> = records.drain(..operation.batch.max(1)).collect();
                    self.send_with_patience(operation, batch).await?;
                }
            }
        }
        for (operation, records) in ready.into_values() {
            if !records.is_empty() {
                self.send_with_patience(&operation, records).await?;
            }
        }
        Ok(())
    }

    /// Sends events, and offers again what the target could not take yet; what it does not take stays pending.
    async fn send_with_patience(&mut self, operation: &Operation, records: Vec<Rendered>) -> Result<()> {
        let mut later = self.send(operation, Object::Order, records).await?;
        let mut pause = self.patience.pause;
        for _ in 1..self.patience.offers {
            if later.is_empty() || Instant::now() >= self.wait_until {
                break;
            }
            self.meter.note(&format!("the target cannot take {} records yet, trying again", later.len()));
            self.pause(&mut pause).await?;
            later = self.send(operation, Object::Order, later).await?;
        }
        self.leave(later).await
    }

    /// Sees to it that the contacts of events are at the target; gives the events that can go.
    async fn with_contact_there(&mut self, records: Vec<Rendered>) -> Result<Vec<Rendered>> {
        let mut open: HashMap<String, HashSet<Uuid>> = HashMap::new();
        for record in records.iter().filter(|record| !record.is_confirmed) {
            if self.event_operation(&record.object)?.needs_contact {
                open.entry(record.address.to_lowercase()).or_default().insert(record.contact_id);
            }
        }
        let mut pause = self.patience.pause;
        while !open.is_empty() {
            let mut addresses: Vec<String> = open.keys().cloned().collect();
            addresses.sort_unstable();
            for chunk in addresses.chunks(self.target.contacts_per_call().max(1)) {
                let states = self.look_at(chunk).await?;
                let mut there = Vec::new();
                let mut ids = Vec::new();
                for (address, state) in chunk.iter().zip(states) {
                    let Some(state) = state else { continue };
                    for contact in open.remove(address).unwrap_or_default() {
                        there.push(contact);
                        ids.push(state.target_id.clone());
                    }
                }
                if !there.is_empty() {
                    self.ledger.confirm(&there, &ids).await?;
                }
            }
            if open.is_empty() || Instant::now() >= self.wait_until {
                break;
            }
            self.meter.note(&format!("waiting for {} contacts to appear at the target", open.len()));
            self.pause(&mut pause).await?;
        }
        let missing: HashSet<Uuid> = open.into_values().flatten().collect();
        let (absent, there): (Vec<Rendered>, Vec<Rendered>) =
            records.into_iter().partition(|record| missing.contains(&record.contact_id));
        self.leave(absent).await?;
        Ok(there)
    }

    /// Leaves events for the next load, or gives them up after too many.
    async fn leave(&mut self, records: Vec<Rendered>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.ledger.postpone(Object::Order, &records).await?;
        let attempts = self.ledger.attempts(Object::Order, &records).await?;
        let mut refused = Vec::new();
        for (record, attempts) in records.into_iter().zip(attempts) {
            if attempts >= self.patience.loads {
                Tally::add(&mut self.summary.tally.rejected, NOT_THERE, 1);
                refused.push(Refusal {
                    record,
                    code: NOT_THERE.to_owned(),
                    reason:
                        "the target took the contact but never showed it, so it takes no event for it; look there for \
                             the address, then `wharf rejects retry`"
                            .to_owned(),
                });
            } else {
                Tally::add(&mut self.summary.tally.waiting, "contact not at the target yet", 1);
            }
        }
        self.ledger.settle(Object::Order, &[], &refused).await
    }

    async fn pause(&self, pause: &mut Duration) -> Result<()> {
        self.gate.wait(*pause).await?;
        *pause = (*pause * 2).min(self.patience.pause * 16);
        Ok(())
    }
}
