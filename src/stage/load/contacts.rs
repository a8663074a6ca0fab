//! Contacts: rendered slice by slice, cards looked at where a first opt-in would be forced, sent in full batches.

use super::Load;
use super::bench::{Bench, Object, Rendered, Verdict};
use super::ledger::{Refusal, without_doubles};
use super::tally::Tally;
use crate::Result;
use crate::target::{ContactState, Operation, Target};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// What a look at cards is called in counts.
pub(in crate::stage) const CHECK_CALL: &str = "look at contacts";

impl Load<'_> {
    pub(super) async fn contacts(&mut self, bench: &mut Bench) -> Result<()> {
        // Records wait here until a call is full; never more than one call's worth per operation stays.
        let mut ready: BTreeMap<String, Vec<Rendered>> = BTreeMap::new();
        while let Some(rendered) = bench.next_contacts().await? {
            self.gate.check()?;
            let rendered = self.look_before_opt_in(bench, rendered).await?;
            let to_send = self.settle_unsent(Object::Contact, rendered).await?;
            for record in to_send {
                let name = record.operation.clone().unwrap_or_default();
                ready.entry(name).or_default().push(record);
            }
            for (name, records) in &mut ready {
                let operation = self.operation(name)?;
                while records.len() >= operation.batch.max(1) {
                    let batch = records.drain(..operation.batch.max(1)).collect();
                    self.send_contacts(&operation, batch).await?;
                }
            }
        }
        for (name, records) in ready {
            if !records.is_empty() {
                let operation = self.operation(&name)?;
                self.send_contacts(&operation, records).await?;
            }
        }
        Ok(())
    }

    async fn send_contacts(&mut self, operation: &Operation, records: Vec<Rendered>) -> Result<()> {
        let later = self.send(operation, Object::Contact, records).await?;
        if !later.is_empty() {
            Tally::add(&mut self.summary.tally.waiting, "not taken yet", u64::try_from(later.len()).unwrap_or(0));
            self.ledger.postpone(Object::Contact, &later).await?;
        }
        // What was sent takes its time to appear, and events wait that long for it.
        self.wait_until = Instant::now() + self.patience.appear;
        Ok(())
    }

    /// Asks the target for the cards of those who would be opted in, and renders the slice again with what it says.
    async fn look_before_opt_in(&mut self, bench: &mut Bench, rendered: Vec<Rendered>) -> Result<Vec<Rendered>> {
        let addresses = addresses_to_check(&rendered);
        if !self.settings.check_existing || addresses.is_empty() {
            return Ok(rendered);
        }
        for chunk in addresses.chunks(self.target.contacts_per_call().max(1)) {
            let states = self.look_at(chunk).await?;
            bench.note_seen(chunk, &states).await?;
        }
        bench.render_contacts().await
    }

    /// What the target holds at no more addresses than one call takes.
    pub(super) async fn look_at(&mut self, addresses: &[String]) -> Result<Vec<Option<ContactState>>> {
        self.gate.check()?;
        let target: &dyn Target = self.target;
        let states = target.contacts(addresses).await?;
        Tally::add(&mut self.summary.tally.calls, CHECK_CALL, 1);
        if states.len() == addresses.len() {
            return Ok(states);
        }
        Err(crate::Error::new(
            crate::Kind::Protocol,
            format!("{} addresses were asked for and {} answers came", addresses.len(), states.len()),
        ))
    }

    /// Counts and settles what is not sent; gives what is.
    pub(super) async fn settle_unsent(&mut self, object: Object, rendered: Vec<Rendered>) -> Result<Vec<Rendered>> {
        let tally = &mut self.summary.tally;
        let mut to_send = Vec::new();
        let mut done = Vec::new();
        let mut refused = Vec::new();
        let mut stays = 0;
        for record in without_doubles(rendered) {
            count_unsent(tally, &record);
            match record.verdict {
                Verdict::Send => to_send.push(record),
                Verdict::Same | Verdict::Skip | Verdict::Hold => done.push(record),
                Verdict::Reject => refused.push(Refusal {
                    code: record.code.clone().unwrap_or_default(),
                    reason: record.reason.clone().unwrap_or_default(),
                    record,
                }),
                Verdict::Wait => stays += 1,
            }
        }
        let done: Vec<&Rendered> = done.iter().collect();
        self.ledger.settle(object, &done, &refused).await?;
        self.meter.advance(u64::try_from(done.len() + refused.len() + stays).unwrap_or(0));
        Ok(to_send)
    }
}

/// The addresses of a slice whose cards are to be looked at.
pub(in crate::stage) fn addresses_to_check(rendered: &[Rendered]) -> Vec<String> {
    let mut addresses: Vec<String> =
        rendered.iter().filter(|record| record.needs_check).map(|record| record.address.to_lowercase()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Counts a record that is not sent.
pub(in crate::stage) fn count_unsent(tally: &mut Tally, record: &Rendered) {
    let code = record.code.clone().unwrap_or_else(|| "nothing to do".to_owned());
    match record.verdict {
        Verdict::Send => {}
        Verdict::Same => tally.unchanged += 1,
        Verdict::Skip => Tally::add(&mut tally.skipped, code, 1),
        Verdict::Reject => Tally::add(&mut tally.rejected, code, 1),
        Verdict::Hold => Tally::add(&mut tally.held, code, 1),
        Verdict::Wait => Tally::add(&mut tally.waiting, code, 1),
    }
}
