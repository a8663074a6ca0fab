//! Rejects of all stages, as people work through them: counted, listed, shown, tried again, dropped.
//!
//! `ops.rejects` is the one view over them; each stage keeps its own table, and "again" means what that stage means by it.

use crate::error::Exit;
use crate::stage::load::codes;
use crate::stage::load::ledger::{OPT_OUT_KEPT, OUTCOME_UNKNOWN};
use crate::store::{Database, Run};
use crate::{Error, Kind, Result, sql};
use serde::Serialize;
use std::ops::AddAssign;
use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

/// Where something was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// It could not be stored as received.
    Staging,
    /// A value could not be read.
    Canonical,
    /// The target, or a rule before it, refused it.
    Delivery,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Canonical => "canonical",
            Self::Delivery => "delivery",
        }
    }
}

/// Which rejects are meant; what is left out does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The stage.
    pub stage: Option<Stage>,
    /// The code.
    pub code: Option<String>,
    /// The record: source key, `contact_id` or `order_id`.
    pub key: Option<String>,
}

impl Filter {
    fn stage(&self) -> Option<&'static str> {
        self.stage.map(Stage::name)
    }

    fn covers(&self, stage: Stage) -> bool {
        self.stage.is_none_or(|wanted| wanted == stage)
    }
}

/// One row of `ops.rejects`.
#[derive(Debug, Clone, Serialize)]
pub struct Reject {
    /// `staging`, `canonical` or `delivery`.
    pub stage: String,
    /// The connection, or target account and pipeline.
    pub scope: String,
    /// The stream, table or object.
    pub entity: String,
    /// The record.
    pub key: String,
    /// The column, for a single value.
    pub field: Option<String>,
    /// Stable code.
    pub code: String,
    /// What is wrong.
    pub reason: String,
    /// The value as received, where it could not be read; of what was to be sent, whose it is: address, phone or number.
    pub value: Option<String>,
    /// How often.
    pub times: i32,
    /// When last, UTC.
    pub last_at: String,
}

/// How many rejects of a kind there are.
#[derive(Debug, Clone, Serialize)]
pub struct Count {
    /// `staging`, `canonical` or `delivery`.
    pub stage: String,
    /// The connection, or target account and pipeline.
    pub scope: String,
    /// The stream, table or object.
    pub entity: String,
    /// Stable code.
    pub code: String,
    /// How many.
    pub n: i64,
    /// What to do about them, where that is known.
    pub solution: Option<&'static str>,
}

/// What a retry set going.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Retried {
    /// Records that are pending again.
    pub delivery: u64,
    /// Values that the next transform reads again.
    pub canonical: u64,
    /// Records that only the shop can give again.
    pub staging: u64,
}

/// The rejects of what a run worked on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rejects {
    /// Found by this run, and not by one before.
    pub new: u64,
    /// All that stand, new ones included.
    pub standing: u64,
}

impl Rejects {
    /// The exit code that they ask for: old ones have been told of before, unless `strict` asks for all.
    pub fn exit(self, strict: bool) -> Exit {
        let counted = if strict { self.standing } else { self.new };
        if counted > 0 { Exit::Rejected } else { Exit::Done }
    }

    /// Records of a connection that could not be stored as received.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of_staging(client: &impl GenericClient, run: &Run, connection: &str) -> Result<Self> {
        let statement = "select count(*) filter (where run_id = $2 and first_at >= $3), count(*)
             from staging.rejects where connection = $1";
        Ok(Self::of(&client.query_one(statement, &[&connection, &run.id, &run.began()]).await?))
    }

    /// Values of a connection that could not be read; `run_id` is the number that the transform wrote with.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of_canonical(client: &impl GenericClient, run_id: i64, connection: &str) -> Result<Self> {
        let statement =
            "select count(*) filter (where run_id = $2), count(*) from canonical.rejects where connection = $1";
        Ok(Self::of(&client.query_one(statement, &[&connection, &run_id]).await?))
    }

    /// Records of a pipeline that its target or a rule refused.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of_delivery(db: &Database, run: &Run, target: &str, pipeline: &str) -> Result<Self> {
        let statement = "select count(*) filter (where run_id = $3 and first_at >= $4), count(*)
             from delivery.rejects where target = $1 and pipeline = $2";
        let client = db.client().await?;
        Ok(Self::of(&client.query_one(statement, &[&target, &pipeline, &run.id, &run.began()]).await?))
    }

    fn of(row: &Row) -> Self {
        let count = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or(0);
        Self { new: count(0), standing: count(1) }
    }
}

impl AddAssign for Rejects {
    fn add_assign(&mut self, more: Self) {
        self.new += more.new;
        self.standing += more.standing;
    }
}

/// How many there are, by stage, scope, entity and code.
///
/// # Errors
/// Those of the database.
pub async fn counts(db: &Database) -> Result<Vec<Count>> {
    let client = db.client().await?;
    let rows = client
        .query(
            "select stage, scope, entity, code, count(*) from ops.rejects
             group by 1, 2, 3, 4 order by 1, 2, 3, 4",
            &[],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let (stage, code): (String, String) = (row.get(0), row.get(3));
            let solution = if stage == Stage::Delivery.name() { codes::solution(&code) } else { None };
            Count { scope: row.get(1), entity: row.get(2), n: row.get(4), stage, code, solution }
        })
        .collect())
}

/// The newest, at most `limit`.
///
/// # Errors
/// Those of the database.
pub async fn list(db: &Database, filter: &Filter, limit: i64) -> Result<Vec<Reject>> {
    let client = db.client().await?;
    let parameters: [&(dyn ToSql + Sync); 4] = [&filter.stage(), &filter.code, &filter.key, &limit];
    let rows = client.query(sql::file("deliver/rejects/list.sql")?, &parameters).await?;
    Ok(rows
        .into_iter()
        .map(|row| Reject {
            stage: row.get(0),
            scope: row.get(1),
            entity: row.get(2),
            key: row.get(3),
            field: row.get(4),
            code: row.get(5),
            reason: row.get(6),
            value: row.get(7),
            times: row.get(8),
            last_at: row.get(9),
        })
        .collect())
}

/// What was received, or was to be sent: `(name, text)`.
///
/// # Errors
/// Those of the database.
pub async fn content(db: &Database, reject: &Reject) -> Result<Vec<(String, String)>> {
    let client = db.client().await?;
    let rows = client
        .query(
            sql::file("deliver/rejects/content.sql")?,
            &[&reject.stage, &reject.scope, &reject.entity, &reject.key, &reject.code],
        )
        .await?;
    Ok(rows.into_iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Has rejects tried again. A delivery reject becomes pending; one whose outcome is unknown is given free, because a
/// person has looked. Shops with canonical rejects are mapped again whole by the next transform, which writes only what
/// then differs.
///
/// # Errors
/// Those of the database.
pub async fn retry(db: &Database, filter: &Filter) -> Result<Retried> {
    let mut client = db.client().await?;
    let transaction = client.transaction().await?;
    let mut retried = Retried::default();
    let key = filter.key.as_deref().and_then(|key| key.parse::<Uuid>().ok());
    if filter.covers(Stage::Delivery) && (filter.key.is_none() || key.is_some()) {
        let row = transaction
            .query_one(sql::file("deliver/rejects/retry.sql")?, &[&filter.code, &key, &OUTCOME_UNKNOWN, &OPT_OUT_KEPT])
            .await?;
        retried.delivery = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    }
    if filter.covers(Stage::Canonical) {
        let row = transaction
            .query_one(
                "with wanted as (
                    select connection, count(*) as n from canonical.rejects
                    where ($1::text is null or code = $1) and ($2::text is null or key = $2)
                    group by connection
                 ),
                 again as (
                    -- Differs from any settings, so that the whole connection is mapped again.
                    update ops.connections set mapped_settings = null
                    where connection in (select connection from wanted)
                 )
                 select coalesce(sum(n), 0)::bigint from wanted",
                &[&filter.code, &filter.key],
            )
            .await?;
        retried.canonical = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    }
    if filter.covers(Stage::Staging) {
        let row = transaction
            .query_one(
                "select count(*) from staging.rejects
                 where ($1::text is null or code = $1) and ($2::text is null or source_key = $2)",
                &[&filter.code, &filter.key],
            )
            .await?;
        retried.staging = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    }
    transaction.commit().await?;
    Ok(retried)
}

/// Follows opt-ins although the target shows an opt-out (`opt-out-kept`), because a person has decided so; of how many
/// contacts. The decision is written to `delivery.consent_decisions`, and covers what the target showed when it was made.
///
/// # Errors
/// [`Kind::Command`] where `filter` names other rejects; those of the database.
pub async fn opt_in(db: &Database, filter: &Filter) -> Result<u64> {
    let key = filter.key.as_deref().map(str::parse::<Uuid>).transpose();
    let is_about_these =
        filter.covers(Stage::Delivery) && filter.code.as_deref().is_none_or(|code| code == OPT_OUT_KEPT);
    let (true, Ok(key)) = (is_about_these, key) else {
        return Err(Error::new(Kind::Command, "--opt-in is about opt-outs that were kept at a target")
            .hint("name a contact by --key, or all of them by --code opt-out-kept"));
    };
    let client = db.client().await?;
    let row = client.query_one(sql::file("deliver/rejects/opt_in.sql")?, &[&OPT_OUT_KEPT, &key]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Forgets rejects; how many. A record whose outcome is unknown stays held: it is never sent again.
///
/// # Errors
/// Those of the database.
pub async fn drop(db: &Database, filter: &Filter) -> Result<u64> {
    let mut client = db.client().await?;
    let transaction = client.transaction().await?;
    let mut dropped = 0;
    let tables = [
        (
            Stage::Staging,
            "delete from staging.rejects where ($1::text is null or code = $1) and ($2::text is null or source_key = $2)",
        ),
        (
            Stage::Canonical,
            "delete from canonical.rejects where ($1::text is null or code = $1) and ($2::text is null or key = $2)",
        ),
        (
            Stage::Delivery,
            "delete from delivery.rejects where ($1::text is null or code = $1) and ($2::text is null or key::text = $2)",
        ),
    ];
    for (stage, text) in tables {
        if filter.covers(stage) {
            dropped += transaction.execute(text, &[&filter.code, &filter.key]).await?;
        }
    }
    transaction.commit().await?;
    Ok(dropped)
}
