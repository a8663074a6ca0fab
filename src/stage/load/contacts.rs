//! Contacts: rendered slice by slice, cards looked at where a first opt-in would be forced.

use super::Load;
use super::bench::{Bench, Object, Rendered, Verdict};
use super::ledger::{Refusal, without_doubles};
use super::tally::Tally;
use crate::Result;
use crate::failpoint::{self, Bug};
use crate::target::ContactState;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use std::collections::HashSet;

/// What a look at cards is called in counts.
pub(in crate::stage) const CHECK_CALL: &str = "look at contacts";

/// The addresses of one call, and what it said of them.
pub(super) type Look<'a> = (&'a [String], Vec<Option<ContactState>>);

impl Load<'_> {
    /// The contacts in hand, rendered with what the target says of those who would be opted in.
    pub(super) async fn render_contacts(&self, bench: &mut Bench) -> Result<Vec<Rendered>> {
        bench.work_out_contacts().await?;
        let mut looked = HashSet::new();
        let mut rendered = if self.is_planned {
            // A plan says what is sent where no card objects, so it is compared with what is rendered before any look.
            let rendered = bench.render_contacts().await?;
            bench.stay_true(&rendered).await?;
            rendered
        } else {
            if self.looks_first() {
                let addresses = bench.addresses_to_check().await?;
                self.look_before_opt_in(bench, &addresses).await?;
                looked.extend(addresses);
            }
            bench.render_contacts().await?
        };
        self.gate.check()?;
        let mut missed = addresses_to_check(&rendered);
        missed.retain(|address| !looked.contains(address));
        if self.looks_first() && !missed.is_empty() {
            self.look_before_opt_in(bench, &missed).await?;
            rendered = bench.render_contacts().await?;
        }
        bench.note_fingerprints(&rendered).await?;
        Ok(rendered)
    }

    /// Whether cards are looked at before an opt-in.
    pub(super) fn looks_first(&self) -> bool {
        self.settings.check_existing && !failpoint::is_planted(Bug::LiftOptOut)
    }

    /// Asks the target for the cards of those who would be opted in.
    async fn look_before_opt_in(&self, bench: &Bench, addresses: &[String]) -> Result<()> {
        if addresses.is_empty() {
            return Ok(());
        }
        let mut seen = Vec::with_capacity(addresses.len());
        let mut looks = self.looks(addresses);
        while let Some(look) = looks.next().await {
            let (_, states) = look?;
            seen.extend(states);
        }
        bench.note_seen(addresses, &seen).await
    }

    /// What the target holds at addresses, call by call, several calls at once.
    pub(super) fn looks<'s>(&'s self, addresses: &'s [String]) -> BoxStream<'s, Result<Look<'s>>> {
        let look = |chunk: &'s [String]| -> BoxFuture<'s, Result<Look<'s>>> {
            Box::pin(async move { Ok((chunk, self.look_at(chunk).await?)) })
        };
        let looks: Vec<_> = addresses.chunks(self.target.contacts_per_call().max(1)).map(look).collect();
        stream::iter(looks).buffered(self.parallel).boxed()
    }

    /// What the target holds at no more addresses than one call takes.
    pub(super) async fn look_at(&self, addresses: &[String]) -> Result<Vec<Option<ContactState>>> {
        self.gate.check()?;
        let states = self.target.contacts(addresses).await?;
        self.count(|tally| Tally::add(&mut tally.calls, CHECK_CALL, 1));
        if states.len() == addresses.len() {
            return Ok(states);
        }
        Err(crate::Error::new(
            crate::Kind::Protocol,
            format!("{} addresses were asked for and {} answers came", addresses.len(), states.len()),
        ))
    }

    /// Counts and settles what is not sent; gives what is.
    pub(super) async fn settle_unsent(&self, object: Object, rendered: Vec<Rendered>) -> Result<Vec<Rendered>> {
        let mut tally = Tally::default();
        let mut to_send = Vec::new();
        let mut done = Vec::new();
        let mut refused = Vec::new();
        let mut stays = 0;
        for record in without_doubles(rendered) {
            count_unsent(&mut tally, &record);
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
        self.count(|counts| counts.merge(&tally));
        self.advance(done.len() + refused.len() + stays);
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
