//! The book-keeping around a call: intent before, outcome after, each in one transaction that first asserts the lease.
//!
//! What the ledger promises: a row `acknowledged` was taken by the target; a row `sending` may have been; a row `held` may
//! have been and nobody can tell. Operations that the target does not deduplicate write `sending`, so for those the ledger
//! knows of every record that can be at the target. So do renames, whatever carries them: a repeat under the address of
//! before would find no card and create a second one.

use super::bench::{Object, Rendered};
use super::settings::Settings;
use crate::failpoint::{self, Bug, Point};
use crate::json::Json;
use crate::store::Database;
use crate::store::lease::Lease;
use crate::target::{ContactState, Item, Manner, Operation};
use crate::{Error, Kind, Result, sql};
use deadpool_postgres::{GenericClient, Transaction};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use uuid::Uuid;

/// Codes of delivery rejects that tell of something without keeping the record from being sent.
pub const NOTES: [&str; 1] = [OPT_OUT_KEPT];
/// An opt-out found at the target was kept.
pub const OPT_OUT_KEPT: &str = "opt-out-kept";
/// Nobody can tell whether it arrived.
pub const OUTCOME_UNKNOWN: &str = "outcome-unknown";

/// A record refused, with the code and the words.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The record.
    pub record: Rendered,
    /// Stable code.
    pub code: String,
    /// Words for people.
    pub reason: String,
}

/// How a batch ended.
#[derive(Debug, Default)]
pub struct BatchEnd {
    /// Taken.
    pub acknowledged: Vec<Acknowledged>,
    /// Refused for good.
    pub refused: Vec<Refusal>,
    /// Not taken, may be tried again.
    pub later: Vec<Rendered>,
    /// Keys of a batch that was refused as a whole and is sent again in parts.
    pub freed: Vec<Uuid>,
    /// State of the batch: acknowledged, partial, refused or unknown.
    pub state: &'static str,
    /// Whether some outcome is open, so that the batch is looked into again.
    pub is_open: bool,
    /// The target's id of the call.
    pub reference: Option<String>,
    /// What the target said.
    pub detail: Option<String>,
}

impl BatchEnd {
    /// Of a call whose records are sent again by another, because the target deduplicates.
    pub fn superseded() -> Self {
        Self { state: "superseded", ..Self::default() }
    }
}

/// A record that the target took.
#[derive(Debug)]
pub struct Acknowledged {
    /// The record.
    pub record: Rendered,
    /// The target's own id, where it gave one.
    pub target_id: Option<String>,
    /// Whether the target was seen to hold it.
    pub is_seen: bool,
}

/// A job that has begun: its id is written before it is waited for.
#[derive(Debug)]
pub struct BegunJob {
    /// Its batch.
    pub batch: i64,
    /// The target's id of it; none where the answer that named it was lost.
    pub reference: Option<String>,
}

/// A call about to be made: its intent is written first.
#[derive(Debug)]
pub struct Departure {
    /// What kind of call.
    pub operation: Operation,
    /// What it carries.
    pub records: Vec<Rendered>,
}

/// A call that has ended, and how.
#[derive(Debug)]
pub struct Ended {
    /// Its batch.
    pub batch: i64,
    /// What kind of call it was.
    pub operation: Operation,
    /// How it ended.
    pub end: BatchEnd,
}

/// A record that the target took, and by which call.
struct Taken<'r> {
    batch: i64,
    taken: &'r Acknowledged,
}

/// A record of a batch whose outcome is open.
#[derive(Debug, Clone)]
pub struct OpenRecord {
    /// What was sent.
    pub item: Item,
    /// What the ledger calls it.
    pub object: String,
    /// What the ledger says.
    pub payload: Value,
    /// Of a rename, the target's own id of the card, where it is known.
    pub card_id: Option<String>,
}

/// What a look-up found of a batch's open records.
#[derive(Debug, Default)]
pub struct Findings {
    /// There, with the target's own id.
    pub present: Vec<(OpenRecord, Option<String>)>,
    /// Not there: to be sent again.
    pub absent: Vec<OpenRecord>,
    /// Nobody can tell.
    pub unclear: Vec<(OpenRecord, String)>,
}

impl Findings {
    /// Whether nothing was found out.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty() && self.absent.is_empty() && self.unclear.is_empty()
    }
}

/// Writes for one target account under its lease.
pub struct Ledger<'a> {
    /// The database.
    pub db: &'a Database,
    /// `target:ACCOUNT`; a back-fill gives it away for a while.
    pub lease: std::sync::RwLock<Arc<Lease>>,
    /// The pipeline's.
    pub settings: &'a Settings,
    /// The run at work.
    pub run_id: i64,
}

impl Ledger<'_> {
    /// The lease that every transaction asserts.
    pub fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.lease.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another lease of the same name, after the former was given away for a while.
    pub fn go_on_under(&self, lease: Arc<Lease>) {
        *self.lease.write().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    /// Writes outcomes of calls that have landed and intents of the calls that come next, in one transaction; the numbers
    /// of the latter, in order. No call may be made before this has returned.
    ///
    /// # Errors
    /// Those of the database; [`crate::Kind::LeaseLost`].
    pub async fn turn(
        &self,
        pending: Object,
        ended: &[Ended],
        begun: &[BegunJob],
        next: &[Departure],
    ) -> Result<Vec<i64>> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        self.lease().assert(&transaction).await?;
        let is_forgettable = |operation: &Operation| operation.idempotent && operation.manner != Manner::Job;
        let is_harmless = begun.is_empty()
            && ended.iter().all(|ended| is_forgettable(&ended.operation))
            && next.iter().all(|departure| is_forgettable(&departure.operation));
        // Should the server lose the last of the harmless ones, calls are repeated that the target deduplicates. Should it
        // lose an intent, an event would be sent again, or a job's contacts in another job, so those wait for the disk also
        // where the server is set not to.
        let durability = match is_harmless {
            true => "set local synchronous_commit = off",
            false => {
                "select set_config('synchronous_commit', 'on', true)
                 where current_setting('synchronous_commit') = 'off'"
            }
        };
        transaction.batch_execute(durability).await?;
        if !ended.is_empty() {
            self.conclude(&transaction, pending, ended).await?;
            failpoint::reach(Point::LoadBeforeOutcomeCommit)?;
        }
        if !begun.is_empty() {
            self.note_jobs(&transaction, begun).await?;
        }
        let mut batches = Vec::with_capacity(next.len());
        for departure in next {
            batches.push(self.intend(&transaction, departure).await?);
        }
        transaction.commit().await?;
        if !ended.is_empty() {
            failpoint::reach(Point::LoadAfterOutcome)?;
        }
        Ok(batches)
    }

    /// The ids of jobs that have begun, before anybody waits for them.
    async fn note_jobs(&self, transaction: &Transaction<'_>, begun: &[BegunJob]) -> Result<()> {
        let batches: Vec<i64> = begun.iter().map(|job| job.batch).collect();
        let references: Vec<Option<&str>> = begun.iter().map(|job| job.reference.as_deref()).collect();
        GenericClient::execute(
            transaction,
            "update delivery.batches
             set state = case when job.reference is null then 'unknown' else 'job' end, target_reference = job.reference
             from unnest($1::bigint[], $2::text[]) as job (batch_id, reference)
             where batches.batch_id = job.batch_id",
            &[&batches, &references],
        )
        .await?;
        Ok(())
    }

    async fn intend(&self, transaction: &Transaction<'_>, departure: &Departure) -> Result<i64> {
        let Departure { operation, records } = departure;
        let keys = keys(records);
        let items = i32::try_from(records.len()).unwrap_or(i32::MAX);
        let batch: i64 = GenericClient::query_one(
            transaction,
            "insert into delivery.batches (target, pipeline, operation, run_id, items, keys, state)
             values ($1, $2, $3, $4, $5, $6, 'intent')
             returning batch_id",
            &[&self.settings.target, &self.settings.pipeline, &operation.name, &self.run_id, &items, &keys],
        )
        .await?
        .get(0);
        let noted: Vec<&Rendered> =
            records.iter().filter(|record| !operation.idempotent || record.former_id.is_some()).collect();
        if operation.idempotent && operation.manner != Manner::Job && !noted.is_empty() {
            // Its failures are taken for something to repeat, which a rename is not.
            return Err(Error::new(Kind::Internal, format!("{}: no operation for a rename", operation.name)));
        }
        if !noted.is_empty() && !failpoint::is_planted(Bug::SkipIntent) {
            let keys: Vec<Uuid> = noted.iter().map(|record| record.key).collect();
            let objects: Vec<&str> = noted.iter().map(|record| record.object.as_str()).collect();
            let contacts: Vec<Uuid> = noted.iter().map(|record| record.contact_id).collect();
            let payloads: Vec<Json> = noted.iter().map(|record| sending_payload(record)).collect();
            let noted = GenericClient::execute(
                transaction,
                sql::file("deliver/ledger/intend.sql")?,
                &[&self.settings.target, &batch, &self.run_id, &objects, &keys, &contacts, &payloads],
            )
            .await?;
            if noted != u64::try_from(keys.len()).unwrap_or(0) {
                return Err(Error::new(Kind::Internal, "a record whose outcome is open was about to be sent again"));
            }
        }
        if failpoint::is_planted(Bug::AcknowledgeBeforeCall) {
            let too_early = "update delivery.ledger set state = 'acknowledged' where batch_id = $1";
            GenericClient::execute(transaction, too_early, &[&batch]).await?;
        }
        Ok(batch)
    }

    async fn conclude(&self, transaction: &Transaction<'_>, pending: Object, ended: &[Ended]) -> Result<()> {
        let taken: Vec<Taken<'_>> = ended
            .iter()
            .flat_map(|ended| ended.end.acknowledged.iter().map(|taken| Taken { batch: ended.batch, taken }))
            .collect();
        if !taken.is_empty() {
            self.acknowledge(transaction, &taken).await?;
            let taken: Vec<&Rendered> = taken.iter().map(|taken| &taken.taken.record).collect();
            // Of what takes several calls, the next one is rendered when this one has been acknowledged.
            let last: Vec<&Rendered> = taken.iter().copied().filter(|record| !record.has_next).collect();
            self.no_longer_pending(transaction, pending, &last).await?;
            self.clear_rejects(transaction, &taken).await?;
            self.note_kept_opt_outs(transaction, &taken).await?;
            let woken: Vec<Uuid> = taken.iter().filter(|record| record.wakes_orders).map(|record| record.key).collect();
            self.wake_orders(transaction, &woken).await?;
        }
        let refused: Vec<&Refusal> = ended.iter().flat_map(|ended| &ended.end.refused).collect();
        if !refused.is_empty() {
            self.reject(transaction, &refused).await?;
            let refused: Vec<&Rendered> = refused.iter().map(|refusal| &refusal.record).collect();
            self.no_longer_pending(transaction, pending, &refused).await?;
        }
        let mut free: (Vec<i64>, Vec<Uuid>) = (Vec::new(), Vec::new());
        for ended in ended {
            let refused = ended.end.refused.iter().map(|refusal| &refusal.record);
            let keys = refused.chain(&ended.end.later).map(|record| record.key).chain(ended.end.freed.iter().copied());
            free.1.extend(keys);
            free.0.resize(free.1.len(), ended.batch);
        }
        if !free.0.is_empty() {
            GenericClient::execute(transaction, sql::file("deliver/ledger/free.sql")?, &[&free.0, &free.1]).await?;
        }
        let batches: Vec<i64> = ended.iter().map(|ended| ended.batch).collect();
        let states: Vec<&str> = ended.iter().map(|ended| ended.end.state).collect();
        let references: Vec<Option<&str>> = ended.iter().map(|ended| ended.end.reference.as_deref()).collect();
        let details: Vec<Option<&str>> = ended.iter().map(|ended| ended.end.detail.as_deref()).collect();
        let are_open: Vec<bool> = ended.iter().map(|ended| ended.end.is_open).collect();
        GenericClient::execute(
            transaction,
            "update delivery.batches
             set state = ended.state,
                 target_reference = coalesce(ended.reference, batches.target_reference),
                 detail = ended.detail,
                 finished_at = case when ended.is_open then null else clock_timestamp() end
             from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::boolean[])
                 as ended (batch_id, state, reference, detail, is_open)
             where batches.batch_id = ended.batch_id",
            &[&batches, &states, &references, &details, &are_open],
        )
        .await?;
        Ok(())
    }

    /// Settles records that are not sent: what needs nothing leaves the queue, what is refused is noted.
    ///
    /// # Errors
    /// Those of the database; [`crate::Kind::LeaseLost`].
    pub async fn settle(&self, pending: Object, done: &[&Rendered], refused: &[Refusal]) -> Result<()> {
        if done.is_empty() && refused.is_empty() {
            return Ok(());
        }
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        self.lease().assert(&transaction).await?;
        self.no_longer_pending(&transaction, pending, done).await?;
        self.clear_rejects(&transaction, done).await?;
        let records: Vec<&Rendered> = refused.iter().map(|refusal| &refusal.record).collect();
        self.reject(&transaction, &refused.iter().collect::<Vec<_>>()).await?;
        self.no_longer_pending(&transaction, pending, &records).await?;
        transaction.commit().await?;
        failpoint::reach(Point::LoadAfterSettle)
    }

    /// Counts a failed attempt of records that stay pending.
    ///
    /// # Errors
    /// Those of the database; [`crate::Kind::LeaseLost`].
    pub async fn postpone(&self, pending: Object, records: &[Rendered]) -> Result<()> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        self.lease().assert(&transaction).await?;
        GenericClient::execute(
            &transaction,
            "update delivery.pending set attempts = attempts + 1
             where target = $1 and pipeline = $2 and object = $3 and key = any ($4)",
            &[&self.settings.target, &self.settings.pipeline, &pending.name(), &keys(records)],
        )
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// How often records have been tried since their last change, in their order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn attempts(&self, pending: Object, records: &[Rendered]) -> Result<Vec<i32>> {
        let client = self.db.client().await?;
        let rows = GenericClient::query(
            &client,
            "select key, attempts from delivery.pending
             where target = $1 and pipeline = $2 and object = $3 and key = any ($4)",
            &[&self.settings.target, &self.settings.pipeline, &pending.name(), &keys(records)],
        )
        .await?;
        let attempts: std::collections::HashMap<Uuid, i32> =
            rows.into_iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(records.iter().map(|record| attempts.get(&record.key).copied().unwrap_or(0)).collect())
    }

    /// Notes that the target has been seen to hold contacts, and which of them are opted in there.
    ///
    /// # Errors
    /// Those of the database; [`crate::Kind::LeaseLost`].
    pub async fn confirm(&self, contacts: &[Uuid], states: &[Option<ContactState>]) -> Result<()> {
        let target_ids: Vec<Option<&str>> =
            states.iter().map(|state| state.as_ref().and_then(|state| state.target_id.as_deref())).collect();
        let are_in = |is_out: fn(&ContactState) -> bool| -> Vec<bool> {
            let shows = |state: &ContactState| state.modified_at.is_some() && !is_out(state);
            states.iter().map(|state| state.as_ref().is_some_and(shows)).collect()
        };
        let (email_in, sms_in) = (are_in(|state| state.email_opted_out), are_in(|state| state.sms_opted_out));
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        self.lease().assert(&transaction).await?;
        GenericClient::execute(
            &transaction,
            "update delivery.ledger
             set confirmed_at = now(),
                 target_id = coalesce(seen.target_id, ledger.target_id),
                 opted_in = array(
                     select unnest(ledger.opted_in)
                     union select 'email' where seen.email_in
                     union select 'sms' where seen.sms_in
                     order by 1
                 )
             from unnest($2::uuid[], $3::text[], $4::boolean[], $5::boolean[]) as seen (key, target_id, email_in, sms_in)
             where ledger.contact_id = seen.key and ledger.target = $1 and ledger.object = 'contact'
                 and ledger.key = seen.key",
            &[&self.settings.target, &contacts, &target_ids, &email_in, &sms_in],
        )
        .await?;
        transaction.commit().await?;
        failpoint::reach(Point::LoadAfterConfirm)
    }

    /// Opens batches of unknown outcome again that may have left a card at an address of before.
    ///
    /// # Errors
    /// Those of the database; [`crate::Kind::LeaseLost`].
    pub async fn reopen_moved(&self) -> Result<()> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        self.lease().assert(&transaction).await?;
        let text = sql::file("deliver/ledger/reopen_moved.sql")?;
        GenericClient::execute(&transaction, text, &[&self.settings.target]).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Marks contacts of an open batch that have another address by now as open too; whether any record of it is open.
    ///
    /// # Errors
    /// Those of the database; [`crate::Kind::LeaseLost`].
    pub async fn claim_moved(&self, batch: i64) -> Result<bool> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        self.lease().assert(&transaction).await?;
        GenericClient::execute(
            &transaction,
            sql::file("deliver/ledger/claim_moved.sql")?,
            &[&self.settings.target, &batch, &self.run_id],
        )
        .await?;
        let row = GenericClient::query_one(
            &transaction,
            "select exists (select from delivery.ledger where batch_id = $1 and state = 'sending')",
            &[&batch],
        )
        .await?;
        transaction.commit().await?;
        Ok(row.get(0))
    }

    /// The open records of a batch.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open_records(&self, batch: i64) -> Result<Vec<OpenRecord>> {
        let client = self.db.client().await?;
        let rows = GenericClient::query(
            &client,
            "select open.key, open.contact_id, open.object, open.payload, former.target_id
             from delivery.ledger as open
             left join delivery.ledger as former
                 on former.contact_id = (open.payload #>> '{sending,former_id}')::uuid
                 and former.target = open.target
                 and former.object = 'contact'
                 and former.key = former.contact_id
             where open.batch_id = $1 and open.state = 'sending'
             order by open.object, open.key",
            &[&batch],
        )
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let payload: Value = row.get(3);
                let sending = &payload["sending"];
                OpenRecord {
                    item: Item {
                        key: row.get(0),
                        contact_id: row.get(1),
                        address: sending["address"].as_str().unwrap_or_default().to_owned(),
                        envelope: sending["envelope"].clone().into(),
                        request: sending["request"].clone().into(),
                    },
                    object: row.get(2),
                    payload,
                    card_id: row.get(4),
                }
            })
            .collect())
    }

    /// Writes what a look-up found; the batch is finished when nothing is left open.
    ///
    /// # Errors
    /// Those of the database; [`crate::Kind::LeaseLost`].
    pub async fn resolve(&self, batch: i64, pipeline: &str, findings: &Findings) -> Result<()> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        self.lease().assert(&transaction).await?;
        self.resolve_present(&transaction, batch, &findings.present).await?;
        let cards: Vec<Uuid> = findings
            .present
            .iter()
            .filter(|(record, _)| record.object == Object::Contact.name())
            .map(|(record, _)| record.item.key)
            .collect();
        if pipeline == self.settings.pipeline {
            self.wake_orders(&transaction, &cards).await?;
        }
        let absent: Vec<Uuid> = findings.absent.iter().map(|record| record.item.key).collect();
        let absent_objects = findings.absent.iter().map(|record| pending_object(&record.object));
        // Of a card that is there, what changed since is compared with what is known of it now.
        let again: Vec<Uuid> = absent.iter().chain(&cards).copied().collect();
        let again_objects: Vec<&str> = absent_objects.chain(cards.iter().map(|_| Object::Contact.name())).collect();
        GenericClient::execute(
            &transaction,
            "insert into delivery.pending (target, pipeline, object, key, run_id)
             select $1, $2, record.object, record.key, $3
             from unnest($4::text[], $5::uuid[]) as record (object, key)
             on conflict (target, pipeline, object, key) do nothing",
            &[&self.settings.target, &pipeline, &self.run_id, &again_objects, &again],
        )
        .await?;
        let batches = vec![batch; absent.len()];
        GenericClient::execute(&transaction, sql::file("deliver/ledger/free.sql")?, &[&batches, &absent]).await?;
        let unclear: Vec<Uuid> = findings.unclear.iter().map(|(record, _)| record.item.key).collect();
        let unclear_objects: Vec<&str> = findings.unclear.iter().map(|(record, _)| record.object.as_str()).collect();
        let reasons: Vec<String> = findings
            .unclear
            .iter()
            .map(|(_, why)| {
                format!(
                    "the answer to this call was lost and the target cannot tell whether it was done ({why}); look there, \
                     then `wharf rejects retry` sends it again, `wharf rejects drop` leaves it"
                )
            })
            .collect();
        let payloads: Vec<&Value> = findings.unclear.iter().map(|(record, _)| &record.payload).collect();
        GenericClient::execute(
            &transaction,
            "with held as (
                update delivery.ledger set state = 'held' where batch_id = $1 and state = 'sending' and key = any ($5)
             )
             insert into delivery.rejects (target, pipeline, object, key, code, reason, payload, run_id)
             select $2, $3, record.object, record.key, $8, record.reason, record.payload, $4
             from unnest($6::text[], $5::uuid[], $7::text[], $9::jsonb[]) as record (object, key, reason, payload)
             on conflict (target, pipeline, object, key, code) do update
             set reason = excluded.reason, run_id = excluded.run_id, last_at = now(), times = rejects.times + 1",
            &[
                &batch,
                &self.settings.target,
                &pipeline,
                &self.run_id,
                &unclear,
                &unclear_objects,
                &reasons,
                &OUTCOME_UNKNOWN,
                &payloads,
            ],
        )
        .await?;
        GenericClient::execute(&transaction, sql::file("deliver/ledger/close_batch.sql")?, &[&batch]).await?;
        failpoint::reach(Point::LoadBeforeResolveCommit)?;
        transaction.commit().await?;
        failpoint::reach(Point::LoadAfterResolve)
    }

    async fn resolve_present(
        &self,
        transaction: &Transaction<'_>,
        batch: i64,
        present: &[(OpenRecord, Option<String>)],
    ) -> Result<()> {
        let (formers, successors): (Vec<Uuid>, Vec<Uuid>) =
            present.iter().filter_map(|(record, _)| Some((former_of(&record.payload)?, record.item.key))).unzip();
        if !formers.is_empty() {
            self.move_ledger(transaction, &formers, &successors).await?;
        }
        let keys: Vec<Uuid> = present.iter().map(|(record, _)| record.item.key).collect();
        let ids: Vec<&Option<String>> = present.iter().map(|(_, id)| id).collect();
        GenericClient::execute(
            transaction,
            "update delivery.ledger
             set state = 'acknowledged',
                 payload = payload - 'sending',
                 target_id = coalesce(found.target_id, ledger.target_id),
                 sent_at = now()
             from unnest($2::uuid[], $3::text[]) as found (key, target_id)
             where ledger.batch_id = $1 and ledger.key = found.key and ledger.state = 'sending'",
            &[&batch, &keys, &ids],
        )
        .await?;
        Ok(())
    }

    async fn acknowledge(&self, transaction: &Transaction<'_>, taken: &[Taken<'_>]) -> Result<()> {
        let (formers, successors): (Vec<Uuid>, Vec<Uuid>) =
            taken.iter().filter_map(|taken| Some((taken.taken.record.former_id?, taken.taken.record.key))).unzip();
        if !formers.is_empty() {
            self.move_ledger(transaction, &formers, &successors).await?;
        }
        let batches: Vec<i64> = taken.iter().map(|taken| taken.batch).collect();
        let records = || taken.iter().map(|taken| &taken.taken.record);
        let objects: Vec<&str> = records().map(|record| record.object.as_str()).collect();
        let keys: Vec<Uuid> = records().map(|record| record.key).collect();
        let contacts: Vec<Uuid> = records().map(|record| record.contact_id).collect();
        let payloads: Vec<&Json> = records().map(|record| &record.payload).collect();
        let ids: Vec<&Option<String>> = taken.iter().map(|taken| &taken.taken.target_id).collect();
        let are_seen: Vec<bool> = taken.iter().map(|taken| taken.taken.is_seen).collect();
        GenericClient::execute(
            transaction,
            sql::file("deliver/ledger/acknowledge.sql")?,
            &[&self.settings.target, &batches, &self.run_id, &objects, &keys, &contacts, &payloads, &ids, &are_seen],
        )
        .await?;
        Ok(())
    }

    /// What the ledger holds of contacts that were renamed hangs on their new ids from now on.
    async fn move_ledger(&self, transaction: &Transaction<'_>, formers: &[Uuid], successors: &[Uuid]) -> Result<()> {
        GenericClient::execute(
            transaction,
            sql::file("deliver/ledger/move_events.sql")?,
            &[&self.settings.target, &formers, &successors],
        )
        .await?;
        Ok(())
    }

    async fn no_longer_pending(
        &self,
        transaction: &Transaction<'_>,
        pending: Object,
        records: &[&Rendered],
    ) -> Result<()> {
        let keys: Vec<Uuid> = records.iter().map(|record| record.key).collect();
        let runs: Vec<i64> = records.iter().map(|record| record.run_id).collect();
        // What changed since it was rendered stays.
        GenericClient::execute(
            transaction,
            "delete from delivery.pending
             using unnest($4::uuid[], $5::bigint[]) as done (key, run_id)
             where pending.target = $1 and pending.pipeline = $2 and pending.object = $3
                 and pending.key = done.key and pending.run_id = done.run_id",
            &[&self.settings.target, &self.settings.pipeline, &pending.name(), &keys, &runs],
        )
        .await?;
        Ok(())
    }

    async fn clear_rejects(&self, transaction: &Transaction<'_>, records: &[&Rendered]) -> Result<()> {
        let keys: Vec<Uuid> = records.iter().map(|record| record.key).collect();
        let still_respected: Vec<Uuid> =
            records.iter().filter(|record| is_respected(&record.payload)).map(|record| record.key).collect();
        // An unknown outcome is cleared by a person alone.
        GenericClient::execute(
            transaction,
            "delete from delivery.rejects
             where target = $1 and pipeline = $2 and key = any ($3) and code <> $5
                 and (code <> $6 or not key = any ($4))",
            &[&self.settings.target, &self.settings.pipeline, &keys, &still_respected, &OUTCOME_UNKNOWN, &OPT_OUT_KEPT],
        )
        .await?;
        Ok(())
    }

    async fn reject(&self, transaction: &Transaction<'_>, refused: &[&Refusal]) -> Result<()> {
        let objects: Vec<&str> = refused.iter().map(|refusal| refusal.record.object.as_str()).collect();
        let keys: Vec<Uuid> = refused.iter().map(|refusal| refusal.record.key).collect();
        let codes: Vec<&str> = refused.iter().map(|refusal| refusal.code.as_str()).collect();
        let reasons: Vec<&str> = refused.iter().map(|refusal| refusal.reason.as_str()).collect();
        let payloads: Vec<&Json> = refused.iter().map(|refusal| &refusal.record.payload).collect();
        // What it was refused for before is over, but for what a person alone clears and what tells of an earlier sending.
        GenericClient::execute(
            transaction,
            "with record as (
                select *
                from unnest($4::text[], $5::uuid[], $6::text[], $7::text[], $8::jsonb[])
                    as record (object, key, code, reason, payload)
             ),
             over as (
                delete from delivery.rejects
                using record
                where rejects.target = $1 and rejects.pipeline = $2 and rejects.object = record.object
                    and rejects.key = record.key and rejects.code <> record.code and not rejects.code = any ($9)
             )
             insert into delivery.rejects (target, pipeline, object, key, code, reason, payload, run_id)
             select $1, $2, record.object, record.key, record.code, record.reason, record.payload, $3
             from record
             on conflict (target, pipeline, object, key, code) do update
             set reason = excluded.reason,
                 payload = excluded.payload,
                 run_id = excluded.run_id,
                 last_at = now(),
                 times = rejects.times + 1",
            &[
                &self.settings.target,
                &self.settings.pipeline,
                &self.run_id,
                &objects,
                &keys,
                &codes,
                &reasons,
                &payloads,
                &[OUTCOME_UNKNOWN, OPT_OUT_KEPT].as_slice(),
            ],
        )
        .await?;
        Ok(())
    }

    async fn note_kept_opt_outs(&self, transaction: &Transaction<'_>, taken: &[&Rendered]) -> Result<()> {
        let notes: Vec<Refusal> = taken
            .iter()
            .filter_map(|record| {
                let channels = record.kept.as_deref()?;
                Some(Refusal {
                    record: (*record).clone(),
                    code: OPT_OUT_KEPT.to_owned(),
                    reason: format!(
                        "opted out of {channels} at the target, and the shop's opt-in is not known to be later; the card \
                         was sent, its consent left alone"
                    ),
                })
            })
            .collect();
        if notes.is_empty() { Ok(()) } else { self.reject(transaction, &notes.iter().collect::<Vec<_>>()).await }
    }

    /// Has the orders of contacts looked at again.
    async fn wake_orders(&self, transaction: &Transaction<'_>, woken: &[Uuid]) -> Result<()> {
        if woken.is_empty() {
            return Ok(());
        }
        GenericClient::execute(
            transaction,
            "insert into delivery.pending (target, pipeline, object, key, run_id)
             select distinct $1::text, $2::text, 'order', order_id, $5::bigint from canonical.orders
             where contact_id = any ($3) and connection = any ($4)
                 -- Dearer to find out by the conflict.
                 and not exists (
                     select from delivery.pending
                     where pending.target = $1::text and pending.pipeline = $2::text and pending.object = 'order'
                         and pending.key = orders.order_id)
             on conflict (target, pipeline, object, key) do nothing",
            &[&self.settings.target, &self.settings.pipeline, &woken, &self.settings.connections, &self.run_id],
        )
        .await?;
        Ok(())
    }
}

/// What a ledger row in state `sending` carries besides the desired state: enough to ask for it by.
fn sending_payload(record: &Rendered) -> Json {
    let rest = serde_json::json!({"address": record.address, "former_id": record.former_id});
    let sending =
        Json::from(rest).with_member("envelope", record.envelope.text()).with_member("request", record.request.text());
    record.payload.with_member("sending", sending.text())
}

fn former_of(payload: &Value) -> Option<Uuid> {
    payload["sending"]["former_id"].as_str()?.parse().ok()
}

/// The object in `delivery.pending` behind one in the ledger.
fn pending_object(object: &str) -> &'static str {
    if object == Object::Contact.name() { Object::Contact.name() } else { Object::Order.name() }
}

fn is_respected(payload: &Json) -> bool {
    // Most payloads need no closer look.
    if !payload.text().contains("\"respected\"") {
        return false;
    }
    let payload = payload.value();
    ["email", "sms"].iter().any(|channel| payload["consent"][channel]["respected"] == true)
}

fn keys(records: &[Rendered]) -> Vec<Uuid> {
    records.iter().map(|record| record.key).collect()
}

/// Keys that appear twice would be a defect of rendering; a batch never carries a record twice.
pub fn without_doubles(records: Vec<Rendered>) -> Vec<Rendered> {
    let mut seen = HashSet::new();
    records.into_iter().filter(|record| seen.insert((record.object.clone(), record.key))).collect()
}
