//! Fingerprints: how an audit compares every contact with the ledger without rendering every contact.
//!
//! When a load renders a contact, one number of 64 bits is noted in `delivery.fingerprints`: of what rendering read of it,
//! and of the payload that the ledger will hold. Where the canonical rows and the ledger as they are give that number
//! later, rendering would call for nothing, so an audit renders only the others. A note that came to nothing, because the
//! call was not made or the contact has changed since, does not fit what is there; then the contact is rendered.
//!
//! A platform has them where it has a `fingerprints.sql` for what it reads besides what all do. Fields that can change
//! although the contact does not (RFM scores, the time of day) have none: then everything is rendered.

use super::bench::{Rendered, Verdict};
use super::settings::Settings;
use crate::{Result, sql};
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

/// The statements of one pipeline.
#[derive(Debug, Clone)]
pub struct Fingerprints {
    all: String,
    of_candidates: String,
}

impl Fingerprints {
    /// Those of a pipeline; `None` where its platform or its fields allow none. `session` needs `pg_temp`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn new(session: &Client, settings: &Settings) -> Result<Option<Self>> {
        let path = format!("deliver/{}/fingerprints.sql", settings.platform);
        if !sql::exists(&path) || settings.fields.move_by_themselves(session).await? {
            return Ok(None);
        }
        let connections: Vec<String> = settings.connections.iter().map(|name| literal(name)).collect();
        // Of the hash over all settings and over the files that render, so that a change of either holds for all contacts.
        let number = u64::from_str_radix(settings.hash.get(..16).unwrap_or_default(), 16).unwrap_or_default();
        let text = format!("{}union all\n{}", sql::file("deliver/fingerprints.sql")?, sql::file(&path)?)
            .replace("/*settings*/", &format!("({})::bigint", number.cast_signed()))
            .replace("/*target*/", &literal(&settings.target))
            .replace("/*connections*/", &format!("array[{}]::text[]", connections.join(", ")));
        let among = "and contact_id in (select candidate.key from pg_temp.deliver_candidates as candidate)";
        Ok(Some(Self { all: text.replace("/*among*/", ""), of_candidates: text.replace("/*among*/", among) }))
    }

    /// Works out what the candidates in hand are rendered from, into `pg_temp.deliver_inputs`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take(&self, transaction: &Transaction<'_>) -> Result<()> {
        let text = format!(
            "insert into pg_temp.deliver_inputs (contact_id, inputs)
             select contact_id, bit_xor(part) from (\n{}\n) as parts group by contact_id having bit_or(says) = 3",
            self.of_candidates
        );
        Ok(transaction.batch_execute(&text).await?)
    }

    /// Adds all contacts that may differ to `pg_temp.deliver_pending`, as of run `run_id` and not expected; how many of the
    /// pipeline's contacts are not in there then.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find_differing(&self, session: &Client, settings: &Settings, run_id: i64) -> Result<u64> {
        let text = sql::file("deliver/feed/differing_contacts.sql")?
            .replace("/*parts*/", &self.all)
            .replace("/*target*/", &literal(&settings.target))
            .replace("/*pipeline*/", &literal(&settings.pipeline));
        // The hash tables of a million contacts fit; those of more go to disk.
        session.batch_execute("set work_mem = '128MB'").await?;
        session.batch_execute(&text).await?;
        session.batch_execute("reset work_mem").await?;
        session
            .execute(
                "insert into pg_temp.deliver_pending (object, key, run_id, is_expected)
                 select 'contact', key, $1::bigint, false from pg_temp.deliver_differing
                 on conflict do nothing",
                &[&run_id],
            )
            .await?;
        session.batch_execute("analyze pg_temp.deliver_pending").await?;
        let row = session.query_one(sql::file("deliver/feed/not_pending.sql")?, &[&settings.connections]).await?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }
}

/// Notes what rendering gave: of what the ledger holds already, and of what takes one more call.
///
/// # Errors
/// Those of the database.
pub async fn note(session: &Client, settings: &Settings, rendered: &[Rendered]) -> Result<()> {
    let mut keys: Vec<Uuid> = Vec::new();
    let mut fingerprints: Vec<i64> = Vec::new();
    for record in rendered {
        let is_last = record.verdict == Verdict::Same || (record.verdict == Verdict::Send && !record.has_next);
        if let (true, Some(fingerprint)) = (is_last, record.fingerprint) {
            keys.push(record.key);
            fingerprints.push(fingerprint);
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let text = sql::file("deliver/note_fingerprints.sql")?;
    session.execute(text, &[&settings.target, &settings.pipeline, &keys, &fingerprints]).await?;
    Ok(())
}

fn literal(text: &str) -> String {
    // In a plain string literal a backslash is itself (standard_conforming_strings).
    format!("'{}'", text.replace('\'', "''"))
}
