//! Load: what changed goes to the target, once, within its limits, and the ledger knows of it.
//!
//! One pass under the lease `target:ACCOUNT`:
//!
//! 1. [`look_up`]: calls of an earlier load whose outcome is open are settled: repeated where the target deduplicates,
//!    looked for at the target where it does not, never repeated blindly;
//! 2. [`feed`]: the change feed is taken over into `delivery.pending`, in one transaction;
//! 3. [`contacts`]: pending contacts are rendered ([`bench`]), compared with the ledger and sent in batches;
//! 4. [`events`]: contacts that events wait for are seen to be there, then events go, oldest first.
//!
//! Around every call [`ledger`] commits the intent before and the outcome after, so the pass may be killed anywhere. What
//! a target refuses leaves the queue for `delivery.rejects` and comes back when it changes or by `wharf rejects retry`.
//! What it cannot take now stays pending. [`pace`] says when a call may be made, [`tally`] counts.

pub mod bench;
mod contacts;
mod events;
pub mod feed;
pub mod fields;
pub mod guard;
pub mod ledger;
mod look_up;
pub mod pace;
mod send;
pub mod settings;
pub mod tally;

use self::bench::{Bench, Object, Purpose};
pub(in crate::stage) use self::contacts::{CHECK_CALL, addresses_to_check, count_unsent};
use self::feed::{Baseline, Part};
use self::ledger::Ledger;
use self::pace::Gate;
use self::settings::Settings;
use self::tally::Tally;
use super::Context;
use crate::config::Pipeline;
use crate::failpoint::{self, Point};
use crate::progress::{Meter, Progress};
use crate::store::Lease;
use crate::store::budget::AccountBudget;
use crate::target::{Operation, Target};
use crate::{Error, Kind, Result, sql};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a load goes through its queue, should answers be lost over and over.
const ROUNDS: u32 = 3;

/// How long a load waits for what a target does in its own time.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long after the last contact was sent events wait for contacts to appear.
    pub appear: Duration,
    /// How long after a call whose answer was lost a record that the target does not show may still appear there.
    pub grace: Duration,
    /// The first pause between two looks; it doubles up to sixteen times this.
    pub pause: Duration,
    /// How often in one load a record that the target could not take is offered again.
    pub offers: u32,
    /// After how many loads without success a record becomes a reject.
    pub loads: i32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            appear: Duration::from_secs(120),
            grace: Duration::from_secs(60),
            pause: Duration::from_millis(500),
            offers: 3,
            loads: 5,
        }
    }
}

impl Patience {
    /// As the pipeline file and the target say.
    pub fn of(pipeline: &Pipeline, target: &dyn Target) -> Self {
        let default = Self::default();
        let appear = target.confirm_within();
        Self {
            appear: if appear.is_zero() { default.appear } else { appear },
            grace: pipeline.load.grace.map_or(default.grace, |span| span.0.unsigned_abs()),
            ..default
        }
    }
}

/// What was asked of a load.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Compare everything with the ledger, not only what the feed names.
    pub full: bool,
    /// Let through what the guard would stop.
    pub allow_mass_change: bool,
}

/// What a load did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Why everything was compared, if it was.
    pub baseline: Option<Baseline>,
    /// Whether automations at the target were kept still.
    pub first_load: bool,
    /// Records that became pending from the change feed.
    pub taken_over: u64,
    /// The counts.
    pub tally: Tally,
}

/// Loads what is pending of a pipeline into its target.
///
/// # Errors
/// [`Kind::Guard`] where too much would change; [`Kind::Interrupted`] when asked to stop or outside the window; what the target answers where it stops the whole load
/// (throttled, unreachable, credentials); [`Kind::LeaseHeld`]; [`Kind::PipelineFile`] for a field expression; those of
/// the database. What was done until then is in the ledger, and counted in the run's steps.
pub async fn load(context: &Context, pipeline: &Pipeline, target: Arc<dyn Target>) -> Result<Summary> {
    let patience = Patience::of(pipeline, target.as_ref());
    load_with(context, pipeline, target, patience).await
}

/// As [`load`], waiting as long as `patience` says.
///
/// # Errors
/// As [`load`].
pub async fn load_with(
    context: &Context,
    pipeline: &Pipeline,
    target: Arc<dyn Target>,
    patience: Patience,
) -> Result<Summary> {
    load_as(context, pipeline, target, patience, &Options::default()).await
}

/// As [`load_with`], and as `options` ask for.
///
/// # Errors
/// As [`load`].
pub async fn load_as(
    context: &Context,
    pipeline: &Pipeline,
    target: Arc<dyn Target>,
    patience: Patience,
    options: &Options,
) -> Result<Summary> {
    let settings = Settings::new(pipeline, target.as_ref())?;
    let lease = Lease::take(&context.db, &context.run, &format!("target:{}", settings.target)).await?;
    failpoint::reach(Point::LoadAfterLease)?;
    let gate = Gate::new(pipeline.load.window.clone(), context.stop.clone());
    AccountBudget::open(&context.db, pipeline).await?.keep(target.as_ref());
    let ledger = Ledger { db: &context.db, lease: &lease, settings: &settings, run_id: context.run.id };
    let mut load = Load {
        context,
        target: target.as_ref(),
        operations: target.operations(),
        settings: &settings,
        ledger,
        gate,
        patience,
        first_load: false,
        has_more: false,
        wait_until: Instant::now() + patience.appear,
        meter: Progress::silent().meter("", None),
        summary: Summary::default(),
    };
    let result = load.run(pipeline, options).await;
    let summary = load.summary;
    target.rest().await;
    let released = lease.release().await;
    result?;
    released?;
    Ok(summary)
}

/// One load at work.
struct Load<'a> {
    context: &'a Context,
    target: &'a dyn Target,
    operations: Vec<Operation>,
    settings: &'a Settings,
    ledger: Ledger<'a>,
    gate: Gate,
    patience: Patience,
    first_load: bool,
    /// Whether a look-up has made something pending again that was done with.
    has_more: bool,
    /// Until when events may wait for contacts to appear.
    wait_until: Instant,
    meter: Meter,
    summary: Summary,
}

impl Load<'_> {
    async fn run(&mut self, pipeline: &Pipeline, options: &Options) -> Result<()> {
        self.gate.check()?;
        let mut open = self.recover().await?;
        failpoint::reach(Point::LoadAfterRecovery)?;
        let part = self.take_over(options).await?;
        failpoint::reach(Point::LoadAfterTakeover)?;
        if !options.allow_mass_change {
            guard::check(&self.context.db, self.settings, &pipeline.load.guard, &self.context.stop).await?;
        }
        let mut bench = Bench::open(&self.context.db, self.settings, Purpose::Load).await?;

        let contacts = bench.queue(Object::Contact).await?;
        self.spread(pipeline, &part, contacts).await?;
        for round in 0..ROUNDS {
            self.has_more = false;
            self.summary.tally.waiting.clear();
            let contacts = bench.queue(Object::Contact).await?;
            if contacts > 0 || round == 0 {
                self.step(Object::Contact, contacts, &mut bench).await?;
            }
            let orders = bench.queue(Object::Order).await?;
            self.step(Object::Order, orders, &mut bench).await?;
            // By now most of the time has passed in which a call of an earlier load may still show its work.
            self.settle_all(&mut open).await?;
            if !self.has_more {
                break;
            }
        }
        if self.has_more {
            Tally::add(&mut self.summary.tally.waiting, "answers keep being lost", 1);
        }
        if self.first_load {
            self.end_first_load().await?;
        }
        Ok(())
    }

    async fn take_over(&mut self, options: &Options) -> Result<Part> {
        let mut client = self.context.db.client().await?;
        let part = Part::find(&mut client, self.settings, Some(self.context.run.id), options.full).await?;
        self.summary.taken_over = part.take_over(&mut client, self.ledger.lease, self.settings).await?;
        self.summary.baseline = part.baseline;
        self.summary.first_load = part.first_load;
        self.first_load = part.first_load;
        if part.baseline.is_some() {
            analyze_stale(&client).await?;
        }
        Ok(part)
    }

    /// A first load is spread over the time that the pipeline file gives it, less what has passed since it began.
    async fn spread(&mut self, pipeline: &Pipeline, part: &Part, contacts: u64) -> Result<()> {
        let Some(spread) = pipeline.load.spread.filter(|_| part.first_load) else { return Ok(()) };
        let client = self.context.db.client().await?;
        let orders: i64 = client
            .query_one(
                "select count(*) from delivery.pending where target = $1 and pipeline = $2 and object = 'order'",
                &[&self.settings.target, &self.settings.pipeline],
            )
            .await?
            .get(0);
        let whole = spread.0.unsigned_abs();
        let passed = Duration::from_secs_f64(part.since_full.unwrap_or(0.0).max(0.0));
        let calls = calls_for(&self.operations, false, contacts)
            + calls_for(&self.operations, true, u64::try_from(orders).unwrap_or(0));
        self.gate.spread(calls, whole.saturating_sub(passed));
        Ok(())
    }

    /// Goes through a queue as a step of the run: its counts are kept however it ends.
    async fn step(&mut self, object: Object, total: u64, bench: &mut Bench) -> Result<()> {
        let subject = match object {
            Object::Contact => "contacts",
            Object::Order => "events",
        };
        let step = self.context.run.step("load", &format!("{}/{subject}", self.settings.target)).await?;
        let before = std::mem::take(&mut self.summary.tally);
        self.meter = self.context.progress.meter(format!("{} {subject}", self.settings.target), Some(total));
        let result = match object {
            Object::Contact => self.contacts(bench).await,
            Object::Order => self.events(bench).await,
        };
        let tally = std::mem::replace(&mut self.summary.tally, before);
        self.meter.finish(&tally);
        step.finish(json!(tally)).await?;
        self.summary.tally.merge(&tally);
        result
    }

    async fn end_first_load(&self) -> Result<()> {
        failpoint::reach(Point::LoadBeforeFirstLoadEnd)?;
        let mut client = self.context.db.client().await?;
        let transaction = client.transaction().await?;
        self.ledger.lease.assert(&transaction).await?;
        transaction
            .execute(
                "update delivery.consumers set first_load = false where target = $1 and pipeline = $2",
                &[&self.settings.target, &self.settings.pipeline],
            )
            .await?;
        transaction.commit().await?;
        failpoint::reach(Point::LoadAfterFirstLoadEnd)
    }

    fn operation(&self, name: &str) -> Result<Operation> {
        find_operation(&self.operations, |operation| operation.name == name, name)
    }

    fn event_operation(&self, object: &str) -> Result<Operation> {
        find_operation(&self.operations, |operation| operation.object == object, object)
    }
}

/// Gathers statistics of tables that rendering reads where they are missing or far off, as after a first extract.
pub(in crate::stage) async fn analyze_stale(client: &tokio_postgres::Client) -> Result<()> {
    for row in client.query(sql::file("deliver/stale_tables.sql")?, &[]).await? {
        client.batch_execute(&format!("analyze {}", row.get::<_, &str>(0))).await?;
    }
    Ok(())
}

/// The operation that `is_it` picks.
pub(in crate::stage) fn find_operation(
    operations: &[Operation],
    is_it: impl Fn(&Operation) -> bool,
    name: &str,
) -> Result<Operation> {
    operations
        .iter()
        .find(|operation| is_it(operation))
        .cloned()
        .ok_or_else(|| Error::new(Kind::Internal, format!("the target has no operation for `{name}`")))
}

/// Roughly how many calls `records` take, of operations that need the contact or not.
fn calls_for(operations: &[Operation], needs_contact: bool, records: u64) -> u64 {
    let batch = operations.iter().find(|operation| operation.needs_contact == needs_contact).map_or(1, |o| o.batch);
    records.div_ceil(u64::try_from(batch.max(1)).unwrap_or(1))
}
