//! Runs and steps: what a command did, written so that analysts can read it and other processes can rely on it.
//!
//! A run lives as long as its **session**: a connection of its own that holds an advisory lock named after the run, and
//! every lease the run takes. The lock ends with the process, however it ends. So any process can tell a run that works
//! from one that died, and closes the dead ones whenever it begins a run or takes a lease; a reader of the change feed
//! never waits for a run that will not come back. Closing a run first raises the fencing numbers of its leases: should it
//! only have lost its connection, it cannot commit any more.

use super::Database;
use super::lease;
use crate::failpoint::{self, Point};
use crate::{Error, Kind, Result, sql};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tokio_postgres::Client;
use uuid::Uuid;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Done, but some records were rejected for the first time.
    Rejects,
    /// Nothing is wrong, but it is not all done: the load window is closed, or another process is at the same work.
    Waits,
    /// Stopped early; the next run continues.
    Stopped,
    /// A person has to decide something first.
    Decision,
    /// Ended with an error.
    Failed,
}

impl Outcome {
    /// As stored in `ops.runs.outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Rejects => "rejects",
            Self::Waits => "waits",
            Self::Stopped => "stopped",
            Self::Decision => "decision",
            Self::Failed => "failed",
        }
    }
}

/// One command at work on a pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Run {
    /// Number of the run; staging rows and changes carry it.
    pub id: i64,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub db: Database,
    /// Holds the run's lock and the locks of its leases; dropping it frees them all.
    pub session: Client,
    /// The leases that this run holds: a session lock may be taken twice by the session that has it.
    pub leases: Mutex<HashSet<String>>,
    step: AtomicI32,
    /// What the run waits for although nothing is wrong.
    waits_for: Mutex<Option<String>>,
    /// The database's time when the run began, and that moment by this machine's monotonic clock.
    began: (Timestamp, Instant),
}

/// Host, process and a random word: who holds what, for people.
pub fn holder() -> &'static str {
    static HOLDER: OnceLock<String> = OnceLock::new();
    HOLDER.get_or_init(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .or_else(|| std::env::var("HOSTNAME").ok())
            .or_else(|| {
                let output = std::process::Command::new("hostname").output().ok()?;
                String::from_utf8(output.stdout).ok()
            })
            .map(|host| host.trim().to_owned())
            .filter(|host| !host.is_empty())
            .unwrap_or_else(|| "unknown-host".to_owned());
        let word = Uuid::new_v4().simple().to_string();
        format!("{host}/{}/{}", std::process::id(), &word[..8])
    })
}

impl Run {
    /// Begins a run, and closes those that died.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(db: &Database, pipeline: &str, command: &str) -> Result<Self> {
        let mut session = db.dedicated().await?;
        let transaction = session.transaction().await?;
        // The lock is taken before anybody can see the row, so a run that is seen without it is dead.
        let row = transaction
            .query_one(
                "insert into ops.runs (pipeline, command, holder) values ($1, $2, $3)
                 returning run_id, clock_timestamp()",
                &[&pipeline, &command, &holder()],
            )
            .await?;
        let (id, began): (i64, Timestamp) = (row.get(0), row.get(1));
        let began = (began, Instant::now());
        transaction.execute("select pg_advisory_lock(hashtextextended($1, 0))", &[&run_lock(id)]).await?;
        transaction.commit().await?;
        session.batch_execute(&format!("set lock_timeout = '{}'", lease::WAIT)).await?;
        let shared = Shared {
            db: db.clone(),
            session,
            leases: Mutex::new(HashSet::new()),
            step: AtomicI32::new(0),
            waits_for: Mutex::new(None),
            began,
        };
        let run = Self { id, shared: Arc::new(shared) };
        failpoint::reach(Point::RunBegun)?;
        close_dead(db).await?;
        run.refuse_while_restoring().await?;
        Ok(run)
    }

    /// When the run began, by the database's clock.
    pub fn began(&self) -> Timestamp {
        self.shared.began.0
    }

    /// Notes what is left undone for now although nothing is wrong: that the load window is closed, for example.
    pub fn waits_for(&self, what: &Error) {
        let text = format!("{}: {}", what.kind().code(), what.detail());
        *self.shared.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// The time by the database's clock, which is one for all processes: what it showed when the run began, and what has
    /// passed since. This machine's own clock may be wrong, and may jump.
    pub fn now(&self) -> Timestamp {
        let (began, instant) = self.shared.began;
        let passed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        began.saturating_add(passed).unwrap_or(began)
    }

    /// Ends the run at once if the database is being filled from an archive. Both make their row seen first and look for
    /// the other then, so that at least one of them sees the other.
    async fn refuse_while_restoring(&self) -> Result<()> {
        let statement = "select holder from ops.runs
                         where command = 'restore' and finished_at is null and run_id <> $1
                         limit 1";
        let Some(row) = self.shared.session.query_opt(statement, &[&self.id]).await? else { return Ok(()) };
        let holder: String = row.get(0);
        let error = Error::new(Kind::LeaseHeld, format!("{holder} is filling this database from an archive"))
            .hint("let it finish: `wharf status` shows how far it is");
        self.finish(Outcome::Stopped, Some(&error)).await?;
        Err(error)
    }

    /// Begins another run of the same pipeline, for work that needs a number higher than all there are.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_next(&self, command: &str) -> Result<Self> {
        let client = self.shared.db.client().await?;
        let row = client.query_one("select pipeline from ops.runs where run_id = $1", &[&self.id]).await?;
        Self::begin(&self.shared.db, row.get(0), command).await
    }

    /// Notes which connections' staging rows this run may write, before it writes any: transforms of other shops then
    /// need not wait for it with their watermark.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn will_extract(&self, connections: &[&str]) -> Result<()> {
        let client = self.shared.db.client().await?;
        client.execute("update ops.runs set extracts = $2 where run_id = $1", &[&self.id, &connections]).await?;
        Ok(())
    }

    /// Begins a step. `stage` is extract, transform, load or archive; `subject` the stream, entity or operation.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&self, stage: &str, subject: &str) -> Result<Step> {
        let number = self.shared.step.fetch_add(1, Ordering::Relaxed) + 1;
        let client = self.shared.db.client().await?;
        client
            .execute(
                "insert into ops.run_steps (run_id, step, stage, subject) values ($1, $2, $3, $4)",
                &[&self.id, &number, &stage, &subject],
            )
            .await?;
        Ok(Step { run: self.clone(), number })
    }

    /// Ends the run. A run that another process has closed as died stays so.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn finish(&self, outcome: Outcome, error: Option<&Error>) -> Result<()> {
        failpoint::reach(Point::RunBeforeFinish)?;
        let waits = self.shared.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (outcome, message) = match (error, waits) {
            (Some(error), _) => (outcome, Some(format!("{}: {}", error.kind().code(), error.detail()))),
            (None, Some(waits)) if outcome == Outcome::Done => (Outcome::Waits, Some(waits)),
            (None, waits) => (outcome, waits),
        };
        let client = self.shared.db.client().await?;
        client
            .execute(
                "update ops.runs set finished_at = now(), outcome = $2, error = $3
                 where run_id = $1 and finished_at is null",
                &[&self.id, &outcome.name(), &message],
            )
            .await?;
        Ok(())
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Run").field(&self.id).finish()
    }
}

/// One stream, entity or operation of a run.
#[derive(Debug)]
pub struct Step {
    run: Run,
    number: i32,
}

impl Step {
    /// Ends the step with what was counted: `{"read": 10, "new": 2, …}`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn finish(self, counts: Value) -> Result<()> {
        let client = self.run.shared.db.client().await?;
        client
            .execute(
                "update ops.run_steps set finished_at = now(), counts = $3 where run_id = $1 and step = $2",
                &[&self.run.id, &self.number, &counts],
            )
            .await?;
        Ok(())
    }
}

/// Name of the lock that a run holds while it lives; `sql/store/close_dead_runs.sql` spells it alike.
fn run_lock(id: i64) -> String {
    format!("wharf run {id}")
}

/// Closes the runs whose process is gone and takes their leases away. Waits a while for a transaction of theirs that the
/// server is still ending; where that takes longer, the next run closes them.
pub(super) async fn close_dead(db: &Database) -> Result<()> {
    let mut client = db.client().await?;
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local lock_timeout = '20s'").await?;
    match transaction.query(sql::file("store/close_dead_runs.sql")?, &[]).await {
        Ok(rows) => {
            transaction.commit().await?;
            for row in rows {
                let (run, holder): (i64, String) = (row.get(0), row.get(1));
                tracing::info!("run {run} of {holder} had died; closed it");
            }
            Ok(())
        }
        Err(error) if lease::is_lock_timeout(&error) => {
            tracing::warn!("a run that died is still ending inside PostgreSQL; a later run will close it");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
