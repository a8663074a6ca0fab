//! Calls whose outcome is open: their answer was lost, or the process died between intent and outcome.
//!
//! What the target deduplicates is simply rendered and sent again. What it does not is looked for at the target: there, it
//! is acknowledged; not there once the time has passed in which the call may still take effect (or because not even the
//! contact is there), it is sent again; where the target cannot tell, it is held for a person. Never a blind repeat. Jobs
//! are waited for by the flight ([`super::jobs`]).
//!
//! A rename is looked for whatever carried it, and so is the card of a contact that a repeatable call carried and that has
//! another address by now: until that is known, nothing is rendered for that person (`deliver_unsettled`).

use super::Load;
use super::bench::Object;
use super::jobs::OpenJob;
use super::ledger::{Findings, OpenRecord};
use super::tally::Tally;
use crate::failpoint::{self, Bug, Point};
use crate::target::{Found, Item, Manner, Operation};
use crate::{Error, Kind, Result};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// What a look-up is called in counts.
const LOOK_UP_CALL: &str = "look up outcomes";

/// A batch whose outcome is open.
pub(super) struct OpenBatch {
    batch: i64,
    pipeline: String,
    operation: Option<Operation>,
    began: Instant,
}

impl Load<'_> {
    /// Settles what earlier loads left open, without waiting; gives the batches that need more time.
    pub(super) async fn recover(&self) -> Result<Vec<OpenBatch>> {
        self.ledger.reopen_moved().await?;
        let client = self.context.db.client().await?;
        let rows = client
            .query(
                "select batch_id, pipeline, operation,
                    extract(epoch from clock_timestamp() - started_at)::double precision,
                    keys, target_reference
                 from delivery.batches
                 where target = $1 and finished_at is null
                 order by batch_id",
                &[&self.settings.target],
            )
            .await?;
        let mut open = Vec::new();
        for row in rows {
            let (batch, name, age): (i64, String, f64) = (row.get(0), row.get(2), row.get(3));
            let operation = self.operations.iter().find(|operation| operation.name == name).cloned();
            let began = Instant::now().checked_sub(Duration::from_secs_f64(age.max(0.0))).unwrap_or_else(Instant::now);
            let is_contacts = operation.as_ref().is_some_and(|operation| operation.object == Object::Contact.name());
            let looks = is_contacts && self.ledger.claim_moved(batch).await?;
            match &operation {
                Some(operation) if operation.manner == Manner::Job && !failpoint::is_planted(Bug::ForgetJob) => {
                    let contacts = row.get::<_, Vec<Uuid>>(4).into_iter().collect();
                    self.note_open_job(OpenJob {
                        batch,
                        operation: operation.clone(),
                        contacts,
                        reference: row.get(5),
                        began,
                        looks,
                    });
                    continue;
                }
                Some(operation) if operation.idempotent && !looks => {
                    self.supersede(batch).await?;
                    continue;
                }
                _ => {}
            }
            let batch = OpenBatch { batch, pipeline: row.get(1), operation, began };
            if !self.try_settle(&batch).await? {
                open.push(batch);
            }
        }
        Ok(open)
    }

    /// Waits until every open batch can be settled, and settles it.
    pub(super) async fn settle_all(&self, open: &mut Vec<OpenBatch>) -> Result<()> {
        for batch in open.drain(..) {
            self.settle_in_time(&batch).await?;
        }
        Ok(())
    }

    /// Settles a batch of this load whose answer was lost.
    pub(super) async fn settle_now(&self, batch: i64, operation: &Operation, began: Instant) -> Result<()> {
        let batch =
            OpenBatch { batch, pipeline: self.settings.pipeline.clone(), operation: Some(operation.clone()), began };
        self.settle_in_time(&batch).await
    }

    async fn settle_in_time(&self, batch: &OpenBatch) -> Result<()> {
        while !self.try_settle(batch).await? {
            let left = (batch.began + self.patience.grace).saturating_duration_since(Instant::now());
            self.note(&format!(
                "the answer to a call was lost; looking again in {} s whether it was done",
                left.as_secs() + 1
            ));
            self.gate.wait(left).await?;
        }
        Ok(())
    }

    /// Looks a batch's open records up once; true if none is left open.
    async fn try_settle(&self, batch: &OpenBatch) -> Result<bool> {
        let records = self.ledger.open_records(batch.batch).await?;
        let Some(operation) = &batch.operation else {
            let unclear = records
                .into_iter()
                .map(|record| (record, "this version of Wharf does not know the operation".to_owned()))
                .collect();
            let findings = Findings { unclear, ..Findings::default() };
            self.ledger.resolve(batch.batch, &batch.pipeline, &findings).await?;
            return Ok(true);
        };
        if records.is_empty() {
            self.ledger.resolve(batch.batch, &batch.pipeline, &Findings::default()).await?;
            return Ok(true);
        }
        let is_final = batch.began.elapsed() >= self.patience.grace;
        let (findings, undecided) = self.look(operation, records, is_final).await?;
        let present = u64::try_from(findings.present.len()).unwrap_or(0);
        self.count(|tally| Tally::add(&mut tally.sent, operation.object, present));
        self.ledger.resolve(batch.batch, &batch.pipeline, &findings).await?;
        if operation.idempotent && undecided == 0 {
            self.supersede(batch.batch).await?;
        }
        // They are pending: what is there now is seen to be the same, what is not is sent again, the rest is held.
        if batch.pipeline == self.settings.pipeline && !findings.is_empty() {
            self.has_more.store(true, Ordering::Relaxed);
        }
        Ok(undecided == 0)
    }

    /// Sorts records by what the target says of them; the count is of those that may still appear.
    pub(super) async fn look(
        &self,
        operation: &Operation,
        records: Vec<OpenRecord>,
        is_final: bool,
    ) -> Result<(Findings, usize)> {
        if failpoint::is_planted(Bug::ResendUnknown) {
            return Ok((Findings { absent: records, ..Findings::default() }, 0));
        }
        let items: Vec<Item> = records.iter().map(|record| record.item.clone()).collect();
        let found = self.target.look_up(operation, &items).await?;
        failpoint::reach(Point::LoadAfterLookUp)?;
        self.count(|tally| Tally::add(&mut tally.calls, LOOK_UP_CALL, 1));
        if found.len() != items.len() {
            return Err(Error::new(
                Kind::Protocol,
                format!("{} records were looked up and {} answers came", items.len(), found.len()),
            ));
        }
        let mut findings = Findings::default();
        let mut absent = Vec::new();
        for (record, found) in records.into_iter().zip(found) {
            match found {
                // Somebody else's card stands at the new address.
                Found::Present(Some(id)) if record.card_id.as_ref().is_some_and(|card| *card != id) => {
                    absent.push(record);
                }
                Found::Present(id) => findings.present.push((record, id)),
                Found::Absent => absent.push(record),
                Found::CannotTell(why) => findings.unclear.push((record, why)),
            }
        }
        let mut undecided = 0;
        if is_final {
            findings.absent = absent;
        } else {
            let per_call = self.target.contacts_per_call().max(1);
            for chunk in absent.chunks(per_call) {
                let addresses: Vec<String> = chunk.iter().map(|record| record.item.address.to_lowercase()).collect();
                let states = self.look_at(&addresses).await?;
                for (record, state) in chunk.iter().zip(states) {
                    // Without its contact the target cannot have taken the event.
                    if state.is_none() && operation.needs_contact {
                        findings.absent.push(record.clone());
                    } else {
                        undecided += 1;
                    }
                }
            }
        }
        Ok((findings, undecided))
    }

    async fn supersede(&self, batch: i64) -> Result<()> {
        let mut client = self.context.db.client().await?;
        let transaction = client.transaction().await?;
        self.ledger.lease().assert(&transaction).await?;
        transaction
            .execute(
                "update delivery.batches set state = 'superseded', finished_at = now() where batch_id = $1",
                &[&batch],
            )
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
