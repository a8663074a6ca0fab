//! The calls that a target account allows, kept in one row for all pipelines and all processes.
//!
//! The row holds the first turn that nobody has reserved. A block is reserved by one statement that locks the row, reads
//! the server's clock and moves that turn on, so blocks never overlap, whoever dies between them; a process that starts
//! anew goes on where the last block ended. Nobody's clock is compared with anybody's: only lengths of time come back
//! (see [`crate::http::budget`]). Should the server's clock be set back, the row moves back with it; should it be set
//! forward, blocks that other processes have in hand may fall together with a new one, half a second's worth each.
//!
//! Every pipeline says what its file allows whenever it begins to call, else what the platform does; the lowest holds for
//! all. A class of calls that has a limit of its own at the platform has a row of its own: `crm/events`.

use super::Database;
use crate::config::Pipeline;
use crate::config::pipeline::Rate;
use crate::http::Budget;
use crate::http::budget::{Block, Grant, Spacing};
use crate::target::Target;
use crate::{Error, Kind, Result};
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// By how much a call may miss its turn where only the calls of a day are counted.
const LATE_WITHOUT_RATE: Duration = Duration::from_secs(5);

/// The budget of one account.
#[derive(Clone)]
pub struct AccountBudget {
    db: Database,
    account: String,
    /// What the pipeline's file allows.
    rate: Option<Rate>,
    /// What another pipeline asks for that is lower than what this one does.
    lower: Option<String>,
    /// Those of classes of calls.
    classes: Vec<(&'static str, AccountBudget)>,
}

impl AccountBudget {
    /// The budget of a pipeline's account; says what the pipeline's file allows, or what the platform does.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open(db: &Database, pipeline: &Pipeline, target: &dyn Target) -> Result<Self> {
        let account = &pipeline.target.account;
        let calls_per_day = pipeline.load.calls_per_day.map(|calls| i32::try_from(calls).unwrap_or(i32::MAX));
        let rate = pipeline.load.rate.or_else(|| target.rate());
        let mut budget = Self::say(db, account, &pipeline.name, rate, calls_per_day).await?;
        for limit in target.limits() {
            let class = format!("{account}/{}", limit.class);
            let class = Self::say(db, &class, &pipeline.name, Some(limit.rate), None).await?;
            budget.classes.push((limit.class, class));
        }
        Ok(budget)
    }

    async fn say(
        db: &Database,
        account: &str,
        pipeline: &str,
        rate: Option<Rate>,
        calls_per_day: Option<i32>,
    ) -> Result<Self> {
        let spacing = rate.map(Spacing::of);
        let between = spacing.map_or(0.0, |spacing| spacing.between.as_secs_f64());
        let late = spacing.map_or(0.0, |spacing| spacing.late.as_secs_f64());
        let client = db.client().await?;
        let row = client
            .query_one(
                "select pipeline, rate, spacing from ops.say_rate($1, $2, $3, $4, $5, $6)",
                &[&account, &pipeline, &rate.map(written), &between, &late, &calls_per_day],
            )
            .await?;
        let (other, other_rate): (String, Option<String>) = (row.get(0), row.get(1));
        let lower = (row.get::<_, f64>(2) > between).then(|| {
            let own = rate.map_or("no limit".to_owned(), written);
            let rate = other_rate.unwrap_or_default();
            format!("{account} is called at {rate} at most, as the pipeline {other} asks; this one names {own}")
        });
        Ok(Self { db: db.clone(), account: account.to_owned(), rate, lower, classes: Vec::new() })
    }

    /// Has a target draw from this budget; says where another pipeline's limit is lower.
    pub fn keep(mut self, target: &dyn Target) {
        for (class, budget) in std::mem::take(&mut self.classes) {
            target.keep_class_to(class, Arc::new(budget));
        }
        if let Some(lower) = &self.lower {
            tracing::info!("{lower}");
        }
        target.keep_to(Arc::new(self));
    }

    /// Where another pipeline asks for less than this one does: who, and what holds therefore.
    pub fn lower(&self) -> Option<&str> {
        self.lower.as_deref()
    }
}

impl fmt::Debug for AccountBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccountBudget").field(&self.account).finish()
    }
}

#[async_trait]
impl Budget for AccountBudget {
    async fn reserve(&self, wanted: u32, pad: Duration) -> Result<Grant> {
        let client = self.db.client().await?;
        let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
        let reserve = client
            .prepare_cached("select verdict, seconds, spacing, late, turns, serial from ops.reserve_turns($1, $2, $3)")
            .await?;
        let row = client.query_one(&reserve, &[&self.account, &wanted, &pad.as_secs_f64()]).await?;
        let verdict: &str = row.get(0);
        let wait = length(row.get(1));
        Ok(match verdict {
            "turns" => {
                let between = length(row.get(2));
                let late = if between.is_zero() { LATE_WITHOUT_RATE } else { length(row.get(3)) };
                let turns = u32::try_from(row.get::<_, i32>(4)).unwrap_or(0);
                let spacing = Spacing { between, late };
                // What another pipeline's file asks for may count in other stretches of time.
                let rate = self.rate.filter(|rate| is_of(spacing, *rate));
                Grant::Turns(Block { starts_in: wait, spacing, turns, rate, serial: row.get(5) })
            }
            "unlimited" => Grant::Unlimited(wait),
            "quiet" => Grant::Quiet(wait),
            "spent" => Grant::Spent(wait),
            other => return Err(Error::new(Kind::Internal, format!("ops.reserve_turns says `{other}`"))),
        })
    }

    async fn hold(&self, wait: Duration) -> Result<()> {
        let client = self.db.client().await?;
        client.execute("select ops.hold_turns($1, $2)", &[&self.account, &wait.as_secs_f64()]).await?;
        Ok(())
    }

    async fn give_back(&self, serial: i64, unused: u32) -> Result<()> {
        let client = self.db.client().await?;
        let unused = i32::try_from(unused).unwrap_or(0);
        client.execute("select ops.return_turns($1, $2, $3)", &[&self.account, &serial, &unused]).await?;
        Ok(())
    }
}

/// Whether a spacing is that of a rate, but for what seconds as numbers lose.
fn is_of(spacing: Spacing, rate: Rate) -> bool {
    let own = Spacing::of(rate);
    let differ = |one: Duration, other: Duration| one.abs_diff(other) > Duration::from_nanos(100);
    !differ(spacing.between, own.between) && !differ(spacing.late, own.late)
}

/// A length of time that SQL gives in seconds.
fn length(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A rate as people write it.
fn written(rate: Rate) -> String {
    let unit = match rate.per.as_secs() {
        1 => "s".to_owned(),
        60 => "min".to_owned(),
        3600 => "h".to_owned(),
        86_400 => "d".to_owned(),
        seconds => format!("{seconds} s"),
    };
    format!("{}/{unit}", rate.calls)
}
