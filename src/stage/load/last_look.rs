//! A last look at cards that were written to and are not opted in.
//!
//! Where a target applies writes by and by, the card's last change is some time after the answer, and nobody could tell it
//! from somebody else's later on: an opt-in of the shop would then be held for a withdrawal that never was. So the ledger
//! notes (`confirmed_at`) when the write was seen to be done. Of a load that has written to more than [`MOST`] such cards the
//! first are looked at: the opt-ins of the others are held in doubt, which is listed, rather than the load made several times
//! as long.

use super::bench::{Object, Rendered};
use super::{Load, lock};
use crate::target::ContactState;
use crate::{Result, sql};
use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Most cards that are looked at after a load.
const MOST: usize = 5_000;

/// How often: what is not done by then is left in doubt.
const LOOKS: u32 = 3;

/// A contact whose write is to be seen at its card: who, and when the call began.
type Unseen = (Uuid, Timestamp);

impl Load<'_> {
    /// Notes a record that was taken, if its card is to be looked at in the end.
    pub(super) fn note_written(&self, record: &Rendered) {
        if record.object != Object::Contact.name() || record.before.is_none() || !self.looks_first() {
            return;
        }
        let mut written = lock(&self.written);
        if written.len() < MOST {
            written.insert(record.key);
        }
    }

    /// Looks at the cards that were written to.
    pub(super) async fn look_after(&self) -> Result<()> {
        let written: Vec<Uuid> = std::mem::take(&mut *lock(&self.written)).into_iter().collect();
        if written.is_empty() {
            return Ok(());
        }
        let client = self.context.db.client().await?;
        let query = sql::file("deliver/ledger/unseen_writes.sql")?;
        let rows = GenericClient::query(&client, query, &[&self.settings.target, &written]).await?;
        drop(client);
        let mut open: BTreeMap<String, Unseen> =
            rows.iter().map(|row| (row.get("address"), (row.get("contact_id"), row.get("started_at")))).collect();
        let mut pause = self.patience.pause;
        for look in 0..LOOKS {
            if open.is_empty() {
                break;
            }
            if look > 0 {
                self.pause(&mut pause).await?;
            }
            self.look_for(&mut open).await?;
        }
        Ok(())
    }

    /// Looks at cards once; those that show the write are open no more.
    async fn look_for(&self, open: &mut BTreeMap<String, Unseen>) -> Result<()> {
        let addresses: Vec<String> = open.keys().cloned().collect();
        let mut there = Vec::new();
        for chunk in addresses.chunks(self.target.contacts_per_call().max(1)) {
            let states = self.look_at(chunk).await?;
            for (address, state) in chunk.iter().zip(states) {
                let is_done = |state: &ContactState, (_, called_at): &Unseen| {
                    // Cards tell their times to the millisecond.
                    state.modified_at.is_some_and(|at| at.as_millisecond() >= called_at.as_millisecond())
                };
                if state.as_ref().zip(open.get(address)).is_some_and(|(state, unseen)| is_done(state, unseen))
                    && let Some((contact, _)) = open.remove(address)
                {
                    there.push((contact, state));
                }
            }
        }
        let (contacts, states): (Vec<Uuid>, Vec<Option<ContactState>>) = there.into_iter().unzip();
        if contacts.is_empty() { Ok(()) } else { self.ledger.confirm(&contacts, &states).await }
    }
}
