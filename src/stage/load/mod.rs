//! Load: what changed goes to the target, once, within its limits, and the ledger knows of it.
//!
//! One pass, of which the first step holds the lease `load:ACCOUNT/PIPELINE`, and all others `target:ACCOUNT` too:
//!
//! 1. [`feed`]: the change feed is taken over into `delivery.pending`, in one transaction;
//! 2. [`look_up`]: calls of an earlier load whose outcome is open are settled: repeated where the target deduplicates,
//!    looked for at the target where it does not, never repeated blindly;
//! 3. [`contacts`]: pending contacts are rendered ([`bench`]) and compared with the ledger;
//! 4. [`events`]: contacts that events wait for are seen to be there, then events go, oldest first.
//!
//! Both are a [`pass`] through a queue, whose calls are kept in order by the [`flight`]. What changed goes before what is
//! pending only because everything is compared, and a back-fill lets other pipelines of the account go first.
//!
//! A target that imports in [`jobs`] is asked for them until they have ended. Where opt-outs made at the target show on no
//! card, they are read from its list first ([`opt_outs`]).
//!
//! Around every call [`ledger`] commits the intent before and the outcome after, so the pass may be killed anywhere. What
//! a target refuses leaves the queue for `delivery.rejects` and comes back when it changes or by `wharf rejects retry`.
//! What it cannot take now stays pending. [`pace`] says when a call may be made, [`tally`] counts.

pub mod bench;
pub mod codes;
mod contacts;
mod events;
pub mod feed;
pub mod fields;
pub mod fingerprints;
mod flight;
pub mod guard;
pub mod jobs;
mod last_look;
pub mod ledger;
mod look_up;
mod opt_outs;
pub mod pace;
mod pass;
mod planned;
mod restored;
mod send;
pub mod settings;
pub mod tally;

use self::bench::{Bench, Object, Purpose, Rendered};
pub(in crate::stage) use self::contacts::{CHECK_CALL, addresses_to_check, count_unsent};
use self::feed::{Baseline, Part};
use self::guard::Guarded;
use self::jobs::{LeftJob, OpenJob};
use self::ledger::{BatchEnd, Ledger};
pub(in crate::stage) use self::opt_outs::READ_CALL;
use self::pace::Gate;
use self::settings::Settings;
use self::tally::Tally;
use super::rejects::Rejects;
use super::{Context, tenant};
use crate::config::Pipeline;
use crate::config::pipeline::LoadGuard;
use crate::error::Exit;
use crate::failpoint::{self, Point};
use crate::progress::{Meter, Progress};
use crate::store::budget::AccountBudget;
use crate::store::lease::{self, Want};
use crate::store::{Database, Lease, statistics};
use crate::target::{JobPatience, Operation, Target};
use crate::{Error, Kind, Result, sql};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// The ledger's statistics are taken first when it has grown by so many rows.
const LEDGER_GROWS: u64 = 1_000;

/// Most sessions that render at the same time.
const BENCHES: usize = 2;

/// How often a load goes through its queue, should answers be lost over and over.
const ROUNDS: u32 = 3;
/// Most calls that a record takes, one after the other: an opt-out and an import, an order and its event.
const MOST_STEPS: u32 = 4;

/// The share of refused records beyond which a load stops, where the pipeline file names none.
const MAX_REJECT_SHARE: f64 = 0.2;
/// Fewer refusals than this stop no load.
const LEAST_REJECTS: u64 = 50;

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
    /// How often a back-fill looks whether another pipeline waits for the account.
    pub others: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            appear: Duration::from_secs(120),
            grace: Duration::from_secs(60),
            pause: Duration::from_millis(500),
            offers: 3,
            loads: 5,
            others: Duration::from_secs(1),
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
    /// Let through what the guard would hold back.
    pub allow_mass_change: bool,
    /// Do exactly what this saved plan says, or nothing.
    pub plan: Option<PathBuf>,
}

/// What a load did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Why everything was compared, if it was.
    pub baseline: Option<Baseline>,
    /// Whether it is a first load, or a part of one.
    pub first_load: bool,
    /// What a first load starts at the target and what not, if it is one.
    pub first_load_starts: Option<String>,
    /// Where another pipeline that names the account asks for a lower rate, which holds therefore: who, and which.
    pub lower_rate: Option<String>,
    /// Records that became pending from the change feed.
    pub taken_over: u64,
    /// What the guard holds back, if it does.
    pub guarded: Option<Guarded>,
    /// Jobs at the target that have not ended in time; their contacts wait, all else went on.
    pub left_jobs: Vec<LeftJob>,
    /// The counts.
    pub tally: Tally,
    /// Where the load window closed before everything was sent: when it opens, and what waits for that.
    pub window_closed: Option<WindowClosed>,
    /// What the target or a rule refuses of this pipeline.
    pub rejects: Rejects,
}

/// What a closed load window leaves for later.
#[derive(Debug, Clone, Serialize)]
pub struct WindowClosed {
    /// The sentence for people.
    pub message: String,
    /// When the window opens.
    pub opens_at: Option<Timestamp>,
    /// Contacts that wait.
    pub contacts: u64,
    /// Orders that wait.
    pub orders: u64,
}

impl Summary {
    /// The exit code that this load asks for. A closed window is no fault: whatever runs when it is open continues.
    pub fn exit(&self, strict: bool) -> Exit {
        self.tally.exit().graver(self.rejects.exit(strict))
    }
}

/// Loads what is pending of a pipeline into its target.
///
/// # Errors
/// [`Kind::Guard`] where the target refuses too much; [`Kind::Interrupted`] when asked to stop; what the target answers where
/// it stops the whole load (throttled, unreachable, credentials); [`Kind::LeaseHeld`], [`Kind::DoneElsewhere`];
/// [`Kind::PipelineFile`] for a field expression; those of the database. What was done until then is in the ledger, and
/// counted in the run's steps. A window that closes ends the load without an error.
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
    tenant::of_account(&context.db, &pipeline.target, target.as_ref(), true).await?;
    let settings = Settings::learned(pipeline, target.as_ref()).await?;
    refuse_nothing_known(&context.db, &settings).await?;
    let own = format!("load:{}/{}", settings.target, settings.pipeline);
    let own = Arc::new(Lease::take(&context.db, &context.run, &own).await?);
    let budget = AccountBudget::open(&context.db, pipeline, target.as_ref()).await?;
    let lower = budget.lower().map(str::to_owned);
    budget.keep(target.as_ref());
    let ledger =
        Ledger { db: &context.db, lease: RwLock::new(Arc::clone(&own)), settings: &settings, run_id: context.run.id };
    let load = Load {
        context,
        operations: target.operations(),
        parallel: pipeline.load.parallel.map_or_else(|| target.parallel(), |calls| calls as usize).max(1),
        max_reject_share: pipeline.load.max_reject_share.unwrap_or(MAX_REJECT_SHARE),
        limits: (!options.allow_mass_change).then_some(pipeline.load.guard),
        settings: &settings,
        ledger,
        gate: Gate::new(pipeline.load.window.clone(), context.stop.clone(), context.run.now()),
        patience,
        job_patience: target.job_patience(),
        open_jobs: Mutex::new(Vec::new()),
        left_jobs: Mutex::new(Vec::new()),
        is_planned: options.plan.is_some(),
        is_restored: restored::is_restored(&context.db).await?,
        first_load: AtomicBool::new(false),
        has_more: AtomicBool::new(false),
        has_next: AtomicBool::new(false),
        wait_until: Mutex::new(Instant::now() + patience.appear),
        confirmed: Mutex::new(HashSet::new()),
        written: Mutex::new(HashSet::new()),
        meter: Mutex::new(Progress::silent().meter("", None)),
        tally: Mutex::new(Tally::default()),
        answered: (AtomicU64::new(0), AtomicU64::new(0)),
        analyzed_at: AtomicU64::new(0),
        target,
        summary: Mutex::new(Summary { lower_rate: lower, ..Summary::default() }),
    };
    let result = load.run(pipeline, options).await;
    let result = load.say_what_is_left(result).await;
    let result = load.keep_to_window(result).await;
    load.target.rest().await;
    let summary = std::mem::take(&mut *lock(&load.summary));
    let guarded = summary.guarded.as_ref().map_or(0, |guarded| guarded.contacts);
    let tally = Tally { guarded, ..std::mem::take(&mut *lock(&load.tally)) };
    let summary = Summary { tally, ..summary };
    let lease = load.ledger.lease();
    drop(load);
    let released = release(lease).await.and(release(own).await);
    let window_closed = result?;
    released?;
    let rejects = Rejects::of_delivery(&context.db, &context.run, &settings.target, &settings.pipeline).await?;
    Ok(Summary { window_closed, rejects, ..summary })
}

/// A load or plan before anything was read would find that everything is just so.
///
/// # Errors
/// [`Kind::Command`] that says which command to run; those of the database.
pub(in crate::stage) async fn refuse_nothing_known(db: &Database, settings: &Settings) -> Result<()> {
    let row = db
        .client()
        .await?
        .query_one(
            "select
                exists (select from ops.connections where connection = any ($1)),
                exists (select from ops.connections where connection = any ($1) and mapped_settings is not null)
                    or exists (select from canonical.contacts) or exists (select from canonical.orders)",
            &[&settings.connections],
        )
        .await?;
    let (was_extracted, has_data): (bool, bool) = (row.get(0), row.get(1));
    if has_data {
        return Ok(());
    }
    let hint = "or let `wharf run` do all of it";
    Err(if was_extracted {
        Error::new(Kind::Command, "there is nothing to send yet: what was read has not been transformed")
            .hint(format!("`wharf transform` on the pipeline comes first, {hint}"))
    } else {
        Error::new(Kind::Command, "there is nothing to send yet: nothing has been read from the shops")
            .hint(format!("`wharf extract`, then `wharf transform` on the pipeline come first, {hint}"))
    })
}

/// Gives a lease back, unless somebody still refers to it.
async fn release(lease: Arc<Lease>) -> Result<()> {
    match Arc::into_inner(lease) {
        Some(lease) => lease.release().await,
        None => Ok(()),
    }
}

/// Which part of what is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// What changed.
    Changed,
    /// All of it; what is pending only because everything is compared is spread, and lets others go first.
    Rest,
}

/// One load at work.
struct Load<'a> {
    context: &'a Context,
    target: Arc<dyn Target>,
    operations: Vec<Operation>,
    /// Most calls in flight.
    parallel: usize,
    max_reject_share: f64,
    /// What a load may change without being asked; `None` if it was asked.
    limits: Option<LoadGuard>,
    settings: &'a Settings,
    ledger: Ledger<'a>,
    gate: Gate,
    patience: Patience,
    job_patience: JobPatience,
    /// Jobs of earlier loads that nobody waits for yet.
    open_jobs: Mutex<Vec<OpenJob>>,
    /// Jobs that go on and that nobody waits for any longer, with their contacts.
    left_jobs: Mutex<Vec<(LeftJob, HashSet<Uuid>)>>,
    /// Whether it keeps to a saved plan.
    is_planned: bool,
    /// Whether events may have been sent that the ledger does not know.
    is_restored: bool,
    first_load: AtomicBool,
    /// Whether a look-up has made something pending again that was done with.
    has_more: AtomicBool,
    /// Whether something was acknowledged that takes another call.
    has_next: AtomicBool,
    /// Until when events may wait for contacts to appear.
    wait_until: Mutex<Instant>,
    /// The contacts that were seen at the target for the last slice of events.
    confirmed: Mutex<HashSet<Uuid>>,
    /// Contacts that this load has changed and whose cards it looks at in the end.
    written: Mutex<HashSet<Uuid>>,
    meter: Mutex<Meter>,
    tally: Mutex<Tally>,
    /// Records that the target took, and refused.
    answered: (AtomicU64, AtomicU64),
    /// How many the target had taken when the ledger's statistics were last taken.
    analyzed_at: AtomicU64,
    summary: Mutex<Summary>,
}

impl Load<'_> {
    async fn run(&self, pipeline: &Pipeline, options: &Options) -> Result<()> {
        if self.is_planned {
            // What is taken over makes a saved plan stale.
            self.gate.check()?;
        }
        // What needs nobody else's leave is done before the account is waited for, or it would lie idle meanwhile. Behind a
        // closed window it tells how much waits.
        let part = self.take_over(options).await?;
        failpoint::reach(Point::LoadAfterTakeover)?;
        self.gate.check()?;
        let mut bench = Bench::open(&self.context.db, self.settings, Purpose::Load).await?;
        self.guard().await?;
        self.take_account().await?;
        failpoint::reach(Point::LoadAfterLease)?;
        let mut open = self.recover().await?;
        failpoint::reach(Point::LoadAfterRecovery)?;
        if let Some(path) = &options.plan {
            planned::verify(self.context, self.settings, path).await?;
            planned::prepare(&mut bench, &self.ledger, part.through, path).await?;
        }
        self.read_opt_outs().await?;
        let mut benches = vec![bench];

        let mut lost = 0;
        for round in 0..ROUNDS + MOST_STEPS {
            self.has_more.store(false, Ordering::Relaxed);
            self.has_next.store(false, Ordering::Relaxed);
            lock(&self.tally).waiting.clear();
            // A plan was made in one pass, and what becomes of an order depends on the contacts before it.
            if !self.is_planned && self.has_backfill().await? {
                self.go_through(&mut benches, Share::Changed, round).await?;
            }
            if round == 0 {
                self.spread(pipeline, &part).await?;
            }
            self.go_through(&mut benches, Share::Rest, round).await?;
            // By now most of the time has passed in which a call of an earlier load may still show its work.
            self.settle_all(&mut open).await?;
            lost += u32::from(self.has_more.load(Ordering::Relaxed));
            // A plan holds the first call of what takes several; the rest stays pending.
            let has_next = self.has_next.load(Ordering::Relaxed) && !self.is_planned;
            let goes_on = has_next || self.has_more.load(Ordering::Relaxed);
            if !goes_on || lost >= ROUNDS {
                break;
            }
        }
        if self.has_more.load(Ordering::Relaxed) {
            self.count(|tally| Tally::add(&mut tally.waiting, "answers keep being lost", 1));
        }
        self.say_which_jobs_go_on();
        self.end_first_load().await?;
        self.look_after().await
    }

    /// Counts the contacts of jobs that nobody waits for any longer.
    fn say_which_jobs_go_on(&self) {
        let left: Vec<LeftJob> = lock(&self.left_jobs).iter().map(|(job, _)| job.clone()).collect();
        let contacts = left.iter().map(|job| u64::try_from(job.contacts).unwrap_or(0)).sum();
        self.count(|tally| Tally::add(&mut tally.waiting, "contacts of an import that goes on", contacts));
        lock(&self.summary).left_jobs = left;
    }

    /// Takes the lease of the account. Until then the load holds only its pipeline's own.
    async fn take_account(&self) -> Result<()> {
        let want = if feed::has_changes(&self.context.db, self.settings).await? { Want::Now } else { Want::Share };
        let name = format!("target:{}", self.settings.target);
        let lease = Lease::take_as(&self.context.db, &self.context.run, &name, lease::PATIENCE, want).await?;
        self.ledger.go_on_under(Arc::new(lease));
        *lock(&self.wait_until) = Instant::now() + self.patience.appear;
        Ok(())
    }

    /// What has been taken over may not change, empty or unsubscribe many of the contacts that the account holds, unless that
    /// was asked for: what exceeds a limit is held back.
    async fn guard(&self) -> Result<()> {
        if self.is_planned {
            // Whoever saved the plan has seen what it does.
            return Ok(());
        }
        let (context, lease) = (self.context, self.ledger.lease());
        let limits = self.limits.as_ref();
        let guarded =
            guard::hold_back(&context.db, self.settings, limits, &lease, context.run.id, &context.stop).await?;
        failpoint::reach(Point::LoadAfterGuard)?;
        lock(&self.summary).guarded = guarded;
        Ok(())
    }

    /// Contacts first, then what hangs on them.
    async fn go_through(&self, benches: &mut Vec<Bench>, share: Share, round: u32) -> Result<()> {
        for object in [Object::Contact, Object::Order] {
            let Some(bench) = benches.first_mut() else { return Ok(()) };
            let queued = match share {
                Share::Changed => bench.queue_changed(object).await?,
                Share::Rest => bench.queue(object).await?,
            };
            let is_shown = share == Share::Rest && (round == 0 || object == Object::Order);
            if queued > 0 || is_shown {
                let is_long = bench.has_many();
                // A saved plan is compared with one bench.
                if is_long && !self.is_planned && benches.len() < BENCHES {
                    benches.push(Bench::open(&self.context.db, self.settings, Purpose::Load).await?);
                }
                self.inform_planner(2).await?;
                self.step(object, share, queued, benches).await?;
            }
        }
        Ok(())
    }

    /// Takes the ledger's statistics if this load has let it grow `times` over: until autovacuum comes by, events would be
    /// rendered by reading all of it for every slice.
    async fn inform_planner(&self, times: u64) -> Result<()> {
        let taken = self.answered.0.load(Ordering::Relaxed);
        let before = self.analyzed_at.load(Ordering::Relaxed);
        if taken < LEDGER_GROWS || taken < before.saturating_mul(times) {
            return Ok(());
        }
        self.analyzed_at.store(taken, Ordering::Relaxed);
        let client = self.context.db.client().await?;
        statistics::analyze(&**client, "delivery.ledger").await
    }

    async fn take_over(&self, options: &Options) -> Result<Part> {
        let part = self.take_over_again(options.full).await?;
        {
            let mut summary = lock(&self.summary);
            summary.baseline = part.baseline;
            summary.first_load = part.first_load;
            summary.first_load_starts = part.first_load.then(|| self.target.first_load());
        }
        self.first_load.store(part.first_load, Ordering::Relaxed);
        if part.baseline.is_some() {
            let client = self.context.db.client().await?;
            analyze_stale(&client).await?;
        }
        Ok(part)
    }

    async fn take_over_again(&self, asked: bool) -> Result<Part> {
        let mut client = self.context.db.client().await?;
        let part = Part::find(&mut client, self.settings, Some(self.context.run.id), asked).await?;
        let taken = part.take_over(&mut client, &self.ledger.lease(), self.settings).await?;
        lock(&self.summary).taken_over += taken;
        Ok(part)
    }

    async fn has_backfill(&self) -> Result<bool> {
        let client = self.context.db.client().await?;
        let row = client
            .query_one(
                "select exists (
                    select from delivery.pending where target = $1 and pipeline = $2 and is_backfill)",
                &[&self.settings.target, &self.settings.pipeline],
            )
            .await?;
        Ok(row.get(0))
    }

    /// How much is pending: contacts and orders.
    async fn left(&self) -> Result<(u64, u64)> {
        let client = self.context.db.client().await?;
        let row = client
            .query_one(
                "select count(*) filter (where object = 'contact'), count(*) filter (where object = 'order')
                 from delivery.pending where target = $1 and pipeline = $2",
                &[&self.settings.target, &self.settings.pipeline],
            )
            .await?;
        Ok((u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0)))
    }

    /// Adds to an error that only stops how much is left for the next run.
    async fn say_what_is_left(&self, result: Result<()>) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        if !matches!(error.kind(), Kind::Interrupted | Kind::Throttled | Kind::Guard) {
            return Err(error);
        }
        let Ok((contacts, orders)) = self.left().await else { return Err(error) };
        let hint = error.hint_text().unwrap_or("run the command again, it continues").to_owned();
        Err(error.hint(format!("{contacts} contacts and {orders} orders are left; {hint}")))
    }

    /// Tells a closed window from an error: what waits for it goes when it is open.
    async fn keep_to_window(&self, result: Result<()>) -> Result<Option<WindowClosed>> {
        let error = match result {
            Ok(()) => return Ok(None),
            Err(error) if error.kind() == Kind::WindowClosed => error,
            Err(error) => return Err(error),
        };
        let (contacts, orders) = self.left().await?;
        let message = format!("{}; {contacts} contacts and {orders} orders wait for it", error.detail());
        self.context.run.waits_for(&Error::new(Kind::WindowClosed, message.clone()));
        Ok(Some(WindowClosed { message, opens_at: self.gate.opens_at(), contacts, orders }))
    }

    /// A first load is spread over the time that the pipeline file gives it, less what has passed since it began.
    async fn spread(&self, pipeline: &Pipeline, part: &Part) -> Result<()> {
        let Some(spread) = pipeline.load.spread.filter(|_| part.first_load) else { return Ok(()) };
        let (contacts, orders) = self.left().await?;
        let whole = spread.0.unsigned_abs();
        let passed = Duration::from_secs_f64(part.since_full.unwrap_or(0.0).max(0.0));
        self.gate.spread(contacts + orders, whole.saturating_sub(passed));
        Ok(())
    }

    /// Goes through a queue as a step of the run: its counts are kept however it ends.
    async fn step(&self, object: Object, share: Share, total: u64, benches: &mut [Bench]) -> Result<()> {
        let subject = match object {
            Object::Contact => "contacts",
            Object::Order => "events",
        };
        let step = self.context.run.step("load", &format!("{}/{subject}", self.settings.target)).await?;
        let before = std::mem::take(&mut *lock(&self.tally));
        let meter = self.context.progress.meter(format!("{} {subject}", self.settings.target), Some(total));
        *lock(&self.meter) = meter.clone();
        let result = self.pass(benches, object, share).await;
        let tally = std::mem::replace(&mut *lock(&self.tally), before);
        meter.finish(&tally);
        lock(&self.tally).merge(&tally);
        step.finish(json!(tally)).await?;
        result
    }

    /// Ends the first load if it is over.
    async fn end_first_load(&self) -> Result<()> {
        let mut client = self.context.db.client().await?;
        let transaction = client.transaction().await?;
        self.ledger.lease().assert(&transaction).await?;
        let ended = transaction
            .execute(sql::file("deliver/end_first_load.sql")?, &[&self.settings.target, &self.settings.pipeline])
            .await?;
        if ended == 0 {
            return Ok(());
        }
        failpoint::reach(Point::LoadBeforeFirstLoadEnd)?;
        transaction.commit().await?;
        failpoint::reach(Point::LoadAfterFirstLoadEnd)
    }

    fn is_first_load(&self) -> bool {
        self.first_load.load(Ordering::Relaxed)
    }

    fn wait_until(&self) -> Instant {
        *lock(&self.wait_until)
    }

    fn count(&self, with: impl FnOnce(&mut Tally)) {
        with(&mut lock(&self.tally));
    }

    fn note(&self, text: &str) {
        lock(&self.meter).note(text);
    }

    fn advance(&self, records: usize) {
        lock(&self.meter).advance(u64::try_from(records).unwrap_or(0));
    }

    /// Counts what a call has done; refuses to go on when the target refuses too much.
    fn count_end(&self, object: Object, end: &BatchEnd) -> Result<()> {
        self.count(|tally| {
            for taken in &end.acknowledged {
                Tally::add(&mut tally.sent, taken.record.kind.as_str(), 1);
                tally.opt_outs_kept += u64::from(taken.record.kept.is_some());
                self.note_written(&taken.record);
            }
            for refusal in &end.refused {
                Tally::add(&mut tally.rejected, refusal.code.as_str(), 1);
            }
        });
        if end.acknowledged.iter().any(|taken| taken.record.has_next) {
            self.has_next.store(true, Ordering::Relaxed);
        }
        self.advance(end.acknowledged.len() + end.refused.len());
        if object == Object::Contact {
            // What was sent takes its time to appear, and events wait that long for it.
            *lock(&self.wait_until) = Instant::now() + self.patience.appear;
        }
        let count = |counter: &AtomicU64, records: usize| {
            let records = u64::try_from(records).unwrap_or(0);
            counter.fetch_add(records, Ordering::Relaxed) + records
        };
        let taken = count(&self.answered.0, end.acknowledged.len());
        let refused = count(&self.answered.1, end.refused.len());
        if end.refused.is_empty() || refused < LEAST_REJECTS {
            return Ok(());
        }
        if (refused as f64) <= (taken + refused) as f64 * self.max_reject_share {
            return Ok(());
        }
        let rejected = lock(&self.tally).rejected.clone();
        let codes: Vec<String> = rejected.iter().map(|(code, n)| format!("{n} {code}")).collect();
        Err(Error::new(
            Kind::Guard,
            format!(
                "the target refused {refused} of {} records ({}): the load was stopped before it burns the rest",
                taken + refused,
                codes.join(", ")
            ),
        )
        .hint(
            "`wharf rejects` says what is wrong; put it right and run again, the rest is still pending \
             (load.max_reject_share: 1 goes on regardless)",
        ))
    }

    fn operation_of(&self, record: &Rendered, object: Object) -> Result<Operation> {
        match object {
            Object::Contact => self.operation(record.operation.as_deref().unwrap_or_default()),
            Object::Order => self.event_operation(&record.object),
        }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
