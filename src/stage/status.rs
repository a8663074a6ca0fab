//! Status: what Wharf's own books say of the work on this database, without a call to any platform.

use crate::store::Database;
use crate::{Error, Kind, Result, sql};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// All that `wharf status` shows.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The last runs, the newest first.
    pub runs: Vec<RunStatus>,
    /// How far each stream has been read.
    pub streams: Vec<StreamStatus>,
    /// What each target holds, and what waits for it.
    pub targets: Vec<TargetStatus>,
    /// What stands rejected.
    pub rejects: Vec<RejectCount>,
    /// Who works on what at this moment.
    pub working: Vec<Working>,
}

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunStatus {
    /// Its number.
    pub run_id: i64,
    /// The pipeline.
    pub pipeline: String,
    /// `extract`, `transform`, `load`, `archive`, `run`, …
    pub command: String,
    /// When it began, UTC.
    pub started_at: String,
    /// How long it took; null while it runs.
    pub seconds: Option<f64>,
    /// `done`, `rejects`, `waits`, `stopped`, `decision`, `failed`, `died`; null while it runs.
    pub outcome: Option<String>,
    /// What it ended with, or waits for.
    pub error: Option<String>,
    /// What it did, in order.
    pub steps: Vec<StepStatus>,
}

/// One stream, entity or operation of a run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StepStatus {
    /// `extract`, `transform`, `load` or `archive`.
    pub stage: String,
    /// The stream (connection/stream), connection, object or entity.
    pub subject: String,
    /// How long it took; null if it has not ended.
    pub seconds: Option<f64>,
    /// What was counted; the members differ from stage to stage.
    pub counts: Map<String, Value>,
}

/// One stream of a shop.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StreamStatus {
    /// The shop.
    pub connection: String,
    /// The stream; of a stretch of time that is read again, with the days: `orders 2024-01-01..2024-02-01`.
    pub stream: String,
    /// The newest change at the shop that has landed, UTC.
    pub watermark: Option<String>,
    /// Whether a walk is not at its end: it is at work, or the next run continues it.
    pub walking: bool,
    /// When the last reading began that ended well, UTC: what staging holds is as fresh as that.
    pub read_at: Option<String>,
    /// How long ago that was.
    pub age_seconds: Option<f64>,
    /// `fresh_within` of the pipelines that read the shop, the strictest.
    pub fresh_within_seconds: Option<f64>,
    /// Whether it is older than that.
    pub stale: bool,
}

/// One target account, as a pipeline sees it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TargetStatus {
    /// The account.
    pub target: String,
    /// Its platform, if that is known.
    pub platform: Option<String>,
    /// The pipeline.
    pub pipeline: String,
    /// Up to which run the change feed has been taken over; null before the first load.
    pub taken_over_through_run: Option<i64>,
    /// Whether the first load is not complete yet.
    pub first_load: bool,
    /// Contacts that wait to be compared and sent.
    pub pending_contacts: u64,
    /// Orders that wait.
    pub pending_orders: u64,
    /// What the account has acknowledged, by object, from all pipelines.
    pub ledger: BTreeMap<String, u64>,
    /// When it last acknowledged something, UTC.
    pub last_sent_at: Option<String>,
    /// Records whose outcome nobody could find out: never sent again by themselves.
    pub held: u64,
    /// Contacts that the guard holds back until a person decides.
    pub guarded: u64,
    /// Since when, UTC.
    pub guarded_since: Option<String>,
}

/// How many rejects of a kind stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RejectCount {
    /// `staging`, `canonical` or `delivery`.
    pub stage: String,
    /// The connection, or target account and pipeline.
    pub scope: String,
    /// Stable code.
    pub code: String,
    /// How many.
    pub n: u64,
}

/// A lease in use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Working {
    /// What is being worked on: `extract:CONNECTION`, `transform`, `target:ACCOUNT`, `load:ACCOUNT/PIPELINE`.
    pub name: String,
    /// Host, process and a random word.
    pub holder: String,
    /// The run.
    pub run_id: i64,
    /// Since when, UTC.
    pub since: String,
}

impl Status {
    /// Whether some stream is older than its pipelines allow.
    pub fn is_stale(&self) -> bool {
        self.streams.iter().any(|stream| stream.stale)
    }
}

/// Reads the books; `pipeline` is the name of one or none for all.
///
/// # Errors
/// [`Kind::Command`] for a name that nothing in this database has; those of the database.
pub async fn read(db: &Database, pipeline: Option<&str>, runs: u32) -> Result<Status> {
    let client = db.client().await?;
    if let Some(name) = pipeline {
        let row = client
            .query_one(
                "select array_agg(pipeline order by pipeline) from (
                    select pipeline from ops.pipelines union select pipeline from ops.runs) as known",
                &[],
            )
            .await?;
        let known: Vec<String> = row.get::<_, Option<_>>(0).unwrap_or_default();
        if !known.iter().any(|known| known == name) {
            let hint = match known.as_slice() {
                [] => "nothing has run on it yet".to_owned(),
                known => format!("it knows: {}", known.join(", ")),
            };
            return Err(Error::new(Kind::Command, format!("this database knows no pipeline `{name}`")).hint(hint));
        }
    }
    let row = client.query_one(sql::file("deliver/status.sql")?, &[&pipeline, &i64::from(runs)]).await?;
    serde_json::from_value(row.get(0)).map_err(|error| {
        Error::new(Kind::Internal, "the books are not of the shape that status expects").because(error)
    })
}
