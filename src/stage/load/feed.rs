//! From the change feed to `delivery.pending`.
//!
//! A reader of the feed must not skip a row that commits late, so it takes what belongs to runs below the oldest run that
//! is unfinished and may still write. Run numbers are given out before a run's row can be seen, and rows can become
//! visible out of order; so the bound is read while no run can be begun (a share lock, held for that one statement).

use super::bench::Object;
use super::fingerprints::Fingerprints;
use super::settings::Settings;
use crate::failpoint::{self, Point};
use crate::store::Database;
use crate::store::lease::Lease;
use crate::{Result, sql};
use deadpool_postgres::GenericClient;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Client;

/// Every contact.
const ALL_CONTACTS: &str = "deliver/feed/all_contacts.sql";

/// What the feed says has changed.
const CHANGED: [(Object, &str); 2] =
    [(Object::Contact, "deliver/feed/changed_contacts.sql"), (Object::Order, "deliver/feed/changed_orders.sql")];

/// Why everything is compared with the ledger, and not only what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// This pipeline has never been loaded into this account.
    First,
    /// Settings that shape payloads have changed.
    Settings,
    /// RFM scores move without any change; contacts are compared once a day.
    Rfm,
    /// It was asked for: an audit.
    Asked,
}

/// Whether a pipeline has something to send that changed; a first load has not.
///
/// # Errors
/// Those of the database.
pub async fn has_changes(db: &Database, settings: &Settings) -> Result<bool> {
    let client = db.client().await?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&settings.target, &settings.pipeline];
    Ok(client.query_one(sql::file("deliver/feed/has_changes.sql")?, &parameters).await?.get(0))
}

/// Which part of the feed is taken over.
#[derive(Debug, Clone)]
pub struct Part {
    /// The last run taken over before.
    pub after: i64,
    /// The last run to take over now.
    pub through: i64,
    /// Whether everything is taken over instead, and why.
    pub baseline: Option<Baseline>,
    /// Whether the first backlog has not been gone through yet.
    pub first_load: bool,
    /// Seconds since everything was last compared; `None` if it never was.
    pub since_full: Option<f64>,
    /// Which settings have changed since the last load: `tags.always`, `fields.ltv`; empty where nobody knows.
    pub changed_settings: Vec<String>,
}

impl Part {
    /// Finds out what is to be taken over: everything if that is `asked` for. `own_run` counts as finished: its own changes
    /// are committed before it loads.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find(
        client: &mut deadpool_postgres::Client,
        settings: &Settings,
        own_run: Option<i64>,
        asked: bool,
    ) -> Result<Self> {
        let transaction = client.transaction().await?;
        transaction.batch_execute("set local lock_timeout = '30s'; lock table ops.runs in share mode").await?;
        let through: i64 =
            transaction.query_one(sql::file("deliver/feed/last_complete_run.sql")?, &[&own_run]).await?.get(0);
        transaction.commit().await?;
        let consumer = client
            .query_opt(
                "select run_id, settings_hash, extract(epoch from now() - full_at)::double precision, first_load, settings
                 from delivery.consumers where target = $1 and pipeline = $2",
                &[&settings.target, &settings.pipeline],
            )
            .await?;
        let Some(row) = consumer else {
            return Ok(Self {
                after: 0,
                through,
                baseline: Some(Baseline::First),
                first_load: true,
                since_full: None,
                changed_settings: Vec::new(),
            });
        };
        let hash: Option<String> = row.get(1);
        let since_full: Option<f64> = row.get(2);
        let is_old = since_full.is_none_or(|seconds| seconds >= 24.0 * 3600.0);
        let baseline = match hash {
            None => Some(Baseline::First),
            Some(hash) if hash != settings.hash => Some(Baseline::Settings),
            Some(_) if asked => Some(Baseline::Asked),
            Some(_) if settings.fields.use_rfm() && is_old => Some(Baseline::Rfm),
            Some(_) => None,
        };
        let after: i64 = row.get(0);
        let before: Option<Value> = row.get(4);
        // A shop that was added has a first backlog of its own; who waits for a change of another shop waits with it.
        let has_new_shop = before.as_ref().is_some_and(|before| {
            let known = before["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
            settings.connections.iter().any(|name| !known.iter().any(|known| known.as_str() == Some(name)))
        });
        let first_load = row.get::<_, bool>(3) || has_new_shop;
        let changed_settings = match (baseline, &before) {
            (Some(Baseline::Settings), Some(before)) => settings.changes_since(before),
            _ => Vec::new(),
        };
        Ok(Self { after, through: through.max(after), baseline, first_load, since_full, changed_settings })
    }

    /// The statements that select what becomes pending: `(key, run_id)` rows of an object.
    fn selections(&self) -> Vec<(Object, &'static str)> {
        match self.baseline {
            Some(Baseline::First | Baseline::Settings | Baseline::Asked) => {
                vec![(Object::Contact, ALL_CONTACTS), (Object::Order, "deliver/feed/all_orders.sql")]
            }
            Some(Baseline::Rfm) => {
                let all = (Object::Contact, ALL_CONTACTS);
                [all].into_iter().chain(CHANGED).collect()
            }
            None => CHANGED.to_vec(),
        }
    }

    /// Takes it over into `delivery.pending` and moves the watermark, in one transaction.
    ///
    /// # Errors
    /// Those of the database; [`crate::Kind::LeaseLost`].
    pub async fn take_over(
        &self,
        client: &mut deadpool_postgres::Client,
        lease: &Lease,
        settings: &Settings,
    ) -> Result<u64> {
        let transaction = client.transaction().await?;
        lease.assert(&transaction).await?;
        let mut taken = 0;
        for (object, file) in self.selections() {
            let text = format!(
                "insert into delivery.pending (target, pipeline, object, key, run_id, is_backfill)
                 select $1, $5, $6, selected.key, selected.run_id, $7 from (\n{}\n) as selected
                 on conflict (target, pipeline, object, key) do update
                 set run_id = excluded.run_id,
                     attempts = 0,
                     is_backfill = pending.is_backfill and excluded.is_backfill
                 where pending.run_id < excluded.run_id",
                sql::file(file)?
            );
            taken += GenericClient::execute(
                &transaction,
                &text,
                &[
                    &settings.target,
                    &settings.connections,
                    &self.after,
                    &self.through,
                    &settings.pipeline,
                    &object.name(),
                    &file.starts_with("deliver/feed/all_"),
                ],
            )
            .await?;
        }
        GenericClient::execute(
            &transaction,
            sql::file("deliver/feed/note_consumer.sql")?,
            &[
                &settings.target,
                &settings.pipeline,
                &self.through,
                &settings.hash,
                &self.baseline.is_some(),
                &settings.named,
                &self.first_load,
                &settings.connections,
            ],
        )
        .await?;
        if self.baseline.is_some() {
            GenericClient::execute(
                &transaction,
                "delete from delivery.fingerprints
                 where target = $1 and pipeline = $2
                     and not exists (select from canonical.contacts where contacts.contact_id = fingerprints.contact_id)",
                &[&settings.target, &settings.pipeline],
            )
            .await?;
        }
        failpoint::reach(Point::LoadBeforeTakeoverCommit)?;
        transaction.commit().await?;
        Ok(taken)
    }

    /// Copies what is pending, and what would be taken over, into a plan's `deliver_pending`. Where everything is compared
    /// because that was asked for, it notes what would have been looked at anyway, and takes only those contacts whose
    /// `fingerprints` do not hold; how many of the others there are.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn copy_for_plan(
        &self,
        session: &Client,
        settings: &Settings,
        fingerprints: Option<&Fingerprints>,
    ) -> Result<u64> {
        session
            .execute(
                "insert into pg_temp.deliver_pending (object, key, run_id)
                 select object, key, run_id from delivery.pending where target = $1 and pipeline = $2",
                &[&settings.target, &settings.pipeline],
            )
            .await?;
        if self.baseline == Some(Baseline::Asked) {
            // Later changes too: they are on their way, and a load takes them over once their runs are finished.
            for (object, file) in CHANGED {
                self.copy(session, settings, object, file, (self.after, i64::MAX), true).await?;
            }
        }
        let is_expected = self.baseline != Some(Baseline::Asked);
        let fingerprints = fingerprints.filter(|_| self.baseline == Some(Baseline::Asked));
        let unchanged = match fingerprints {
            Some(fingerprints) => fingerprints.find_differing(session, settings, self.through).await?,
            None => 0,
        };
        for (object, file) in self.selections() {
            if fingerprints.is_some() && file == ALL_CONTACTS {
                continue;
            }
            self.copy(session, settings, object, file, (self.after, self.through), is_expected).await?;
        }
        Ok(unchanged)
    }

    async fn copy(
        &self,
        session: &Client,
        settings: &Settings,
        object: Object,
        file: &str,
        (after, through): (i64, i64),
        is_expected: bool,
    ) -> Result<()> {
        let text = format!(
            "insert into pg_temp.deliver_pending (object, key, run_id, is_expected)
             select $5, selected.key, selected.run_id, $6 from (\n{}\n) as selected
             on conflict do nothing",
            sql::file(file)?
        );
        session
            .execute(&text, &[&settings.target, &settings.connections, &after, &through, &object.name(), &is_expected])
            .await?;
        Ok(())
    }
}
