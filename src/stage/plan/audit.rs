//! The audit: everything was compared, so which records differ that the change feed would not have led us to?
//!
//! There must be none. A record that differs is expected if it was pending or named by the feed, however new; refused ones
//! wait for `wharf rejects retry` and are known; fields that move by themselves (RFM scores, the time of day) differ without
//! any change. All else has been lost on the way, and `wharf load --full` sends it.

use super::record::Record;
use crate::stage::load::bench::{Bench, Rendered, Verdict};
use crate::stage::load::feed::Part;
use crate::stage::load::settings::Settings;
use crate::{Error, Kind, Result, sql};
use serde::Serialize;
use std::collections::HashSet;
use uuid::Uuid;

/// How many keys a report names.
const EXAMPLES: i64 = 5;

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Contacts and orders compared with the ledger.
    pub compared: u64,
    /// Of these, the ones that need no call.
    pub unchanged: u64,
    /// Of these, the ones that would be sent.
    pub differing: u64,
    /// Of the differing, those that were refused before.
    pub refused_before: u64,
    /// Of the differing, those that differ only in fields that move by themselves.
    pub moving: u64,
    /// Of the differing, those that would not have been looked at and should have been: must be 0.
    pub missed: u64,
    /// A few of those missed: `contact KEY`, `order KEY`.
    pub examples: Vec<String>,
    #[serde(skip)]
    fields_move: bool,
}

impl Audit {
    /// Prepares the session for [`Audit::see`]; fingerprints vouch for so many contacts that are `unchanged`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(bench: &Bench, settings: &Settings, unchanged: u64) -> Result<Self> {
        bench
            .client()
            .batch_execute(
                "create temporary table deliver_unexpected (object text, key uuid, primary key (object, key))",
            )
            .await?;
        let fields_move = settings.fields.move_by_themselves(bench.client()).await?;
        Ok(Self { compared: unchanged, unchanged, fields_move, ..Self::default() })
    }

    /// Counts a slice, and notes what differs and was not expected to be looked at.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn see(&mut self, bench: &Bench, settings: &Settings, rendered: &[Rendered]) -> Result<()> {
        let Some(object) = rendered.first().map(|record| record.pending_object()) else { return Ok(()) };
        self.compared += count(rendered.len());
        let differing: Vec<&Rendered> = rendered.iter().filter(|record| record.verdict == Verdict::Send).collect();
        self.differing += count(differing.len());
        self.unchanged += count(rendered.len() - differing.len());
        if differing.is_empty() {
            return Ok(());
        }
        let keys: Vec<Uuid> = differing.iter().map(|record| record.key).collect();
        let rows = bench
            .client()
            .query(
                "select
                    pending.key,
                    exists (
                        select from delivery.rejects
                        where rejects.target = $3 and rejects.pipeline = $4 and rejects.key = pending.key
                            and rejects.code <> 'opt-out-kept'
                    )
                 from pg_temp.deliver_pending as pending
                 where pending.object = $1 and pending.key = any ($2) and not pending.is_expected",
                &[&object, &keys, &settings.target, &settings.pipeline],
            )
            .await?;
        let mut refused: HashSet<Uuid> = HashSet::new();
        let mut unexpected: HashSet<Uuid> = HashSet::new();
        for row in rows {
            if row.get(1) { &mut refused } else { &mut unexpected }.insert(row.get(0));
        }
        self.refused_before += count(refused.len());
        let mut missed: Vec<&Rendered> = Vec::new();
        for record in differing.into_iter().filter(|record| unexpected.contains(&record.key)) {
            if self.fields_move && only_properties_differ(record) {
                self.moving += 1;
            } else {
                missed.push(record);
            }
        }
        let keys: Vec<Uuid> = missed.iter().map(|record| record.key).collect();
        bench
            .client()
            .execute(
                "insert into pg_temp.deliver_unexpected (object, key)
                 select $1, * from unnest($2::uuid[]) on conflict do nothing",
                &[&object, &keys],
            )
            .await?;
        Ok(())
    }

    /// Counts what stays unexplained now that everything was looked at.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end(&mut self, bench: &Bench, part: &Part, settings: &Settings) -> Result<()> {
        let client = bench.client();
        client
            .execute(sql::file("deliver/feed/explained.sql")?, &[&settings.target, &settings.pipeline, &part.after])
            .await?;
        let missed: i64 = client.query_one("select count(*) from pg_temp.deliver_unexpected", &[]).await?.get(0);
        self.missed = u64::try_from(missed).unwrap_or(0);
        let examples = client
            .query(
                "select object || ' ' || key from pg_temp.deliver_unexpected order by object, key limit $1",
                &[&EXAMPLES],
            )
            .await?;
        self.examples = examples.iter().map(|row| row.get(0)).collect();
        Ok(())
    }

    /// The error that says that records were missed, if any were.
    ///
    /// # Errors
    /// [`Kind::Missed`].
    pub fn check(&self) -> Result<()> {
        if self.missed == 0 {
            return Ok(());
        }
        let detail = format!(
            "{} records differ from what the target holds, and the change feed would not have led to them: {}",
            self.missed,
            self.examples.join(", ")
        );
        Err(Error::new(Kind::Missed, detail).hint(
            "`wharf load PIPELINE --full` compares everything and sends them; please report this as a defect of Wharf, unless \
             somebody has changed the ledger or canonical rows by hand",
        ))
    }
}

fn only_properties_differ(record: &Rendered) -> bool {
    let fields = Record::new(record).fields;
    record.before.is_some() && fields.iter().all(|change| change.field.starts_with("properties."))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
