//! Loads of a database that was restored from an archive: its ledger does not know what was sent between the snapshot and
//! the restore.
//!
//! An event of an order from before the restore may have been sent already, so it is treated as one whose answer was
//! lost: its intent is written, it is looked for at the target, and sent only if it is not there. Where the target cannot
//! tell, it is held for a person. Contacts are simply sent again.

use super::Load;
use super::bench::{Object, Rendered};
use super::ledger::Departure;
use crate::store::Database;
use crate::{Result, sql};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// Whether the database was restored.
pub(super) async fn is_restored(db: &Database) -> Result<bool> {
    let restored = "select exists (select from ops.settings where name = 'restored_at')";
    Ok(db.client().await?.query_one(restored, &[]).await?.get(0))
}

impl Load<'_> {
    /// Of events that are to be sent, in their order, those of which it is certain that no earlier life of this database
    /// has sent them.
    pub(super) async fn not_sent_before_restore(&self, records: Vec<Rendered>) -> Result<Vec<Rendered>> {
        if !self.is_restored || records.is_empty() {
            return Ok(records);
        }
        let keys: Vec<Uuid> = records.iter().map(|record| record.key).collect();
        let client = self.context.db.client().await?;
        let rows = client.query(sql::file("deliver/before_restore.sql")?, &[&keys]).await?;
        drop(client);
        let old: HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();

        let mut doubtful: BTreeMap<&str, Vec<&Rendered>> = BTreeMap::new();
        for record in records.iter().filter(|record| old.contains(&record.key)) {
            doubtful.entry(record.object.as_str()).or_default().push(record);
        }
        let mut settled = HashSet::new();
        for (object, doubtful) in doubtful {
            let operation = self.event_operation(object)?;
            if operation.idempotent {
                continue;
            }
            for chunk in doubtful.chunks(self.target.contacts_per_call().max(1)) {
                self.gate.check()?;
                let records = chunk.iter().copied().cloned().collect();
                let departure = Departure { operation: operation.clone(), records };
                for batch in self.ledger.turn(Object::Order, &[], &[], &[departure]).await? {
                    let open = self.ledger.open_records(batch).await?;
                    let (findings, _) = self.look(&operation, open, true).await?;
                    self.ledger.resolve(batch, &self.settings.pipeline, &findings).await?;
                    settled.extend(findings.present.iter().map(|(record, _)| (record.object.clone(), record.item.key)));
                    settled.extend(findings.unclear.iter().map(|(record, _)| (record.object.clone(), record.item.key)));
                }
            }
        }
        if !settled.is_empty() {
            self.note(&format!("{} events had been sent before the restore, or may have been", settled.len()));
            // They leave the queue when they are next rendered, as the same or as held.
            self.has_more.store(true, Ordering::Relaxed);
        }
        let is_certain = |record: &Rendered| !settled.contains(&(record.object.clone(), record.key));
        Ok(records.into_iter().filter(is_certain).collect())
    }
}
