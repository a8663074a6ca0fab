//! What a plan notes for itself in place of what a load would have written by then, so that what follows is rendered alike.

use super::{Bench, Object, Rendered, Verdict};
use crate::Result;
use crate::json::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// How a payload, as PostgreSQL writes it, says that an order is DELIVERED.
const DELIVERED: &str = "\"status\": \"DELIVERED\"";

impl Bench {
    /// Notes, in a plan, what a load would have done by now: verdicts, and the orders that this would wake.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_planned(&self, rendered: &[Rendered]) -> Result<()> {
        self.note_verdicts(rendered).await?;
        self.note_woken(rendered).await
    }

    /// Notes what a load would have done with contacts by now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_verdicts(&self, rendered: &[Rendered]) -> Result<()> {
        let settled: Vec<&Rendered> =
            rendered.iter().filter(|row| !matches!(row.verdict, Verdict::Hold | Verdict::Wait)).collect();
        let keys: Vec<Uuid> = settled.iter().map(|row| row.key).collect();
        let verdicts: Vec<&str> = settled
            .iter()
            .map(|row| match row.verdict {
                Verdict::Reject => "reject",
                Verdict::Skip => "skip",
                _ => "send",
            })
            .collect();
        let formers: Vec<Option<Uuid>> = settled.iter().map(|row| row.former_id).collect();
        self.client
            .execute(
                "insert into pg_temp.deliver_verdicts (contact_id, verdict, former_id)
                 select * from unnest($1::uuid[], $2::text[], $3::uuid[])
                 on conflict do nothing",
                &[&keys, &verdicts, &formers],
            )
            .await?;
        Ok(())
    }

    /// Forgets what was noted of contacts.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_verdicts(&self) -> Result<()> {
        Ok(self.client.batch_execute("truncate pg_temp.deliver_verdicts").await?)
    }

    async fn note_woken(&self, rendered: &[Rendered]) -> Result<()> {
        let woken: Vec<Uuid> = rendered.iter().filter(|row| row.wakes_orders).map(|row| row.key).collect();
        if woken.is_empty() {
            return Ok(());
        }
        self.client
            .execute(
                "insert into pg_temp.deliver_pending (object, key, run_id, is_expected)
                 select 'order', orders.order_id, 0, bool_or(contact.is_expected)
                 from canonical.orders
                 join pg_temp.deliver_pending as contact
                     on contact.object = 'contact' and contact.key = orders.contact_id
                 where orders.contact_id = any ($1) and orders.connection = any ($2)
                 group by orders.order_id
                 on conflict (object, key) do update set is_expected = true
                 where excluded.is_expected and not deliver_pending.is_expected",
                &[&woken, &self.settings.connections],
            )
            .await?;
        Ok(())
    }

    /// Notes, in a plan, which orders the target would have as DELIVERED, and which not any more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_scored(&self, rendered: &[Rendered]) -> Result<()> {
        // One order may be there twice, by two ways of orders: both say the same status.
        let scored: BTreeMap<Uuid, bool> = rendered
            .iter()
            .filter(|record| record.verdict == Verdict::Send)
            .map(|record| (record.key, record.payload.text().contains(DELIVERED)))
            .collect();
        let (keys, delivered): (Vec<Uuid>, Vec<bool>) = scored.into_iter().unzip();
        self.client
            .execute(
                "insert into pg_temp.deliver_scored (key, is_delivered)
                 select * from unnest($1::uuid[], $2::boolean[])
                 on conflict (key) do update set is_delivered = excluded.is_delivered",
                &[&keys, &delivered],
            )
            .await?;
        Ok(())
    }

    /// Notes, in a plan, what a load would have had acknowledged by now of records that take another call.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_steps(&self, rendered: &[Rendered]) -> Result<()> {
        let is_step = |record: &&Rendered| record.has_next && record.verdict == Verdict::Send;
        let steps: Vec<&Rendered> = rendered.iter().filter(is_step).collect();
        if steps.is_empty() {
            return Ok(());
        }
        let keys: Vec<Uuid> = steps.iter().map(|step| step.key).collect();
        let objects: Vec<&str> = steps.iter().map(|step| step.object.as_str()).collect();
        let payloads: Vec<&Json> = steps.iter().map(|step| &step.payload).collect();
        self.client
            .execute(
                "insert into pg_temp.deliver_steps (key, object, payload, is_open)
                 select *, true from unnest($1::uuid[], $2::text[], $3::jsonb[])
                 on conflict (key, object) do update set payload = excluded.payload, is_open = true",
                &[&keys, &objects, &payloads],
            )
            .await?;
        Ok(())
    }

    /// Leaves only those pending, in a plan, that take another call; how many that is.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep_steps(&self, object: Object) -> Result<u64> {
        self.client
            .execute(
                "delete from pg_temp.deliver_pending as pending
                 where object = $1 and key not in (select key from pg_temp.deliver_steps where is_open)",
                &[&object.name()],
            )
            .await?;
        Ok(self.client.execute("update pg_temp.deliver_steps set is_open = false where is_open", &[]).await?)
    }

    /// Notes, in a plan, contacts that a load would have seen at the target by now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_confirmed(&self, contacts: &[Uuid]) -> Result<()> {
        self.client
            .execute(
                "insert into pg_temp.deliver_verdicts (contact_id, verdict, is_confirmed)
                 select contact_id, 'send', true from unnest($1::uuid[]) as seen (contact_id)
                 on conflict (contact_id) do update set is_confirmed = true",
                &[&contacts],
            )
            .await?;
        Ok(())
    }
}
