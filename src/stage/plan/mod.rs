//! Plan: what a load would do, without a call and without a write.
//!
//! It renders by the very statements that a load renders by ([`super::load::bench`]), over a temporary copy of what is
//! pending, and notes for itself what a load would have written by then. So its counts are those of the load, unless the
//! target answers what nobody can foresee: an opt-out found on a card, a refusal, a contact that does not appear.
//!
//! - [`record`]: one record, and the fields in which it differs;
//! - [`audit`]: everything compared, and whether the change feed would have led to all that differs;
//! - [`estimate`]: how long it would take;
//! - [`file`]: the plan saved, for `wharf load --plan` to do exactly that.

pub mod audit;
pub mod estimate;
pub mod file;
pub mod record;

pub use self::record::{Change, Record, changes};

use self::audit::Audit;
use self::estimate::{Beside, Estimate};
use self::file::{Header, Line, Origin, Writer, database_mark};
use super::load::bench::{Bench, Object, Purpose, Rendered, Verdict};
use super::load::feed::{Baseline, Part};
use super::load::fingerprints::Fingerprints;
use super::load::guard::{self, Toll};
use super::load::settings::Settings;
use super::load::tally::{Counts, Tally};
use super::load::{CHECK_CALL, addresses_to_check, analyze_stale, count_unsent, find_operation, refuse_nothing_known};
use super::tenant;
use crate::config::Pipeline;
use crate::config::pipeline::Load as LoadSettings;
use crate::progress::Progress;
use crate::store::Database;
use crate::target::{Manner, Operation, Target};
use crate::{Error, Kind, Result, sql};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What was asked of a plan.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Compare everything with the ledger, not only what the feed names.
    pub full: bool,
    /// Save the plan here, without what the guard would hold back.
    pub out: Option<PathBuf>,
    /// With that, too.
    pub allow_mass_change: bool,
}

/// What a load would do.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The pipeline.
    pub pipeline: String,
    /// The target account.
    pub target: String,
    /// Why everything is compared, if it is.
    pub baseline: Option<Baseline>,
    /// Which settings have changed since the last load, if that is why: `tags.always`, `fields.ltv`.
    pub changed_settings: Vec<String>,
    /// Whether it would be a first load, or a part of one.
    pub first_load: bool,
    /// What a first load starts at the target and what not, if it would be one.
    pub first_load_starts: Option<String>,
    /// Calls of earlier loads whose outcome would be looked up first.
    pub open_calls: u64,
    /// Contacts that would be compared with the ledger.
    pub contacts: u64,
    /// Orders that would be looked at.
    pub orders: u64,
    /// The counts.
    pub tally: Tally,
    /// In how many contacts that the target holds each field would change.
    pub changed_fields: Counts,
    /// What it would do to the contacts that the account holds already.
    pub toll: Toll,
    /// Why the guard would hold contacts back, if it would: so many as `tally.guarded` says.
    pub guard: Option<String>,
    /// What an audit found, if everything was to be compared.
    pub audit: Option<Audit>,
    /// All calls, those that only read included.
    pub calls: u64,
    /// Calls that are no record's: jobs asked for until they end, lists read; and how long jobs are waited for.
    pub beside: Beside,
    /// How long the calls take at the account's rate, and the jobs they start, in seconds; `None` without a rate.
    pub seconds: Option<f64>,
    /// The same with closed hours, and when it would be done; `None` without a rate.
    pub estimate: Option<Estimate>,
    /// Of a target that scores customers by their DELIVERED orders: how many of this pipeline it has, and will have.
    pub delivered: Option<Delivered>,
    /// How many records were saved, if the plan was.
    pub saved: Option<u64>,
}

/// DELIVERED orders that a target scores customers by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// How many the ledger says that it has.
    pub held: u64,
    /// How many it would have after the load.
    pub after: u64,
}

/// Works out what a load of `pipeline` would do; every record is given to `see` as it is found.
///
/// # Errors
/// [`Kind::Command`] where nothing has been extracted and transformed yet; [`Kind::PipelineFile`] for a field expression;
/// [`Kind::Interrupted`]; those of the database and of `see`.
pub async fn plan(
    db: &Database,
    pipeline: &Pipeline,
    target: &dyn Target,
    progress: &Progress,
    stop: &CancellationToken,
    see: impl FnMut(Record) -> Result<()>,
) -> Result<Report> {
    plan_as(db, pipeline, target, progress, stop, &Options::default(), see).await
}

/// As [`plan`], as `options` ask for.
///
/// # Errors
/// As [`plan`].
pub async fn plan_as(
    db: &Database,
    pipeline: &Pipeline,
    target: &dyn Target,
    progress: &Progress,
    stop: &CancellationToken,
    options: &Options,
    mut see: impl FnMut(Record) -> Result<()>,
) -> Result<Report> {
    tenant::of_account(db, &pipeline.target, target, false).await?;
    let settings = Settings::learned(pipeline, target).await?;
    refuse_nothing_known(db, &settings).await?;
    let mut client = db.client().await?;
    let part = Part::find(&mut client, &settings, None, options.full).await?;
    if part.baseline.is_some() {
        analyze_stale(&client).await?;
    }
    let open_calls: i64 = client
        .query_one(
            "select count(*) from delivery.batches where target = $1 and finished_at is null",
            &[&settings.target],
        )
        .await?
        .get(0);
    drop(client);
    let mut bench = Bench::open(db, &settings, Purpose::Plan).await?;
    let fingerprints = if options.full { Fingerprints::new(bench.client(), &settings).await? } else { None };
    let unchanged = part.copy_for_plan(bench.client(), &settings, fingerprints.as_ref()).await?;
    let mut writer = match &options.out {
        Some(path) => {
            bench.with_hashes();
            Some(Writer::create(path)?)
        }
        None => None,
    };
    let mut sums = Sums::new(target, &settings);
    sums.tally.unchanged = unchanged;
    let mut audit = if options.full { Some(Audit::begin(&bench, &settings, unchanged).await?) } else { None };

    // What the guard would hold back is shown, but not counted among what is sent, nor saved.
    let limits = &pipeline.load.guard;
    let weighed = guard::weigh(&mut bench, &settings, limits, stop).await?;
    bench.forget_verdicts().await?;
    sums.toll.held = weighed.held;
    let exceeded: Vec<&str> = match options.allow_mass_change {
        true => Vec::new(),
        false => weighed.excesses(limits).into_iter().map(|(reason, _)| reason).collect(),
    };

    // A saved plan holds the first call of what takes several: the next load sends the rest.
    let mut is_first = true;
    let contacts = bench.queue(Object::Contact).await?;
    let meter = progress.meter("plan contacts", Some(contacts));
    loop {
        while let Some(mut rendered) = bench.next_contacts().await? {
            go_on(stop)?;
            let looked_at = rendered.len();
            if !exceeded.is_empty() {
                let guarded = guard::exceeding(&bench, &exceeded, &rendered).await?;
                for record in rendered.extract_if(.., |record| guarded.contains(&record.key)) {
                    sums.toll.add(&record);
                    sums.tally.guarded += 1;
                    let record = Record::new(&record);
                    sums.fields(&record);
                    see(Record { action: format!("held back by the guard: {}", record.action), ..record })?;
                }
            }
            bench.note_planned(&rendered).await?;
            bench.note_steps(&rendered).await?;
            sums.contacts(&rendered, is_first)?;
            if let Some(audit) = &mut audit {
                audit.see(&bench, &settings, &rendered).await?;
            }
            for rendered in &rendered {
                let record = Record::new(rendered);
                if rendered.before.is_some() && is_first {
                    sums.fields(&record);
                }
                see(record)?;
            }
            if is_first {
                save(&mut writer, &rendered)?;
            }
            meter.advance(count(looked_at));
        }
        // What takes another call is looked at again, as a load would.
        is_first = false;
        if bench.keep_steps(Object::Contact).await? == 0 || bench.queue(Object::Contact).await? == 0 {
            break;
        }
    }
    meter.finish(format_args!("{contacts} looked at"));

    is_first = true;
    let orders = bench.queue(Object::Order).await?;
    let meter = progress.meter("plan orders", Some(orders));
    loop {
        while let Some(rendered) = bench.next_events().await? {
            go_on(stop)?;
            let to_confirm = sums.events(&rendered)?;
            bench.note_confirmed(&to_confirm).await?;
            if target.scores_delivered() {
                bench.note_scored(&rendered).await?;
            }
            bench.note_steps(&rendered).await?;
            if let Some(audit) = &mut audit {
                audit.see(&bench, &settings, &rendered).await?;
            }
            rendered.iter().try_for_each(|record| see(Record::new(record)))?;
            if is_first {
                save(&mut writer, &rendered)?;
            }
            meter.advance(count(rendered.len()));
        }
        is_first = false;
        if bench.keep_steps(Object::Order).await? == 0 || bench.queue(Object::Order).await? == 0 {
            break;
        }
    }
    meter.finish(format_args!("{orders} looked at"));
    let delivered = if target.scores_delivered() { Some(delivered(bench.client(), &settings).await?) } else { None };
    if let Some(audit) = &mut audit {
        audit.end(&bench, &part, &settings).await?;
    }

    let beside = Beside::of(bench.client(), target, &settings.target, &sums.jobs()).await?;
    let (tally, toll, changed_fields) = sums.end();
    let calls = tally.all_calls() + beside.calls.values().sum::<u64>();
    let load = LoadSettings { rate: pipeline.load.rate.or_else(|| target.rate()), ..pipeline.load.clone() };
    let estimate = Estimate::new(calls, beside.job_seconds, &load, part.first_load, Timestamp::now());
    let mut report = Report {
        pipeline: settings.pipeline.clone(),
        target: settings.target.clone(),
        baseline: part.baseline,
        changed_settings: part.changed_settings.clone(),
        first_load: part.first_load,
        first_load_starts: part.first_load.then(|| target.first_load()),
        open_calls: u64::try_from(open_calls).unwrap_or(0),
        contacts: contacts + unchanged,
        orders,
        tally,
        changed_fields,
        guard: toll.excess(limits),
        toll,
        audit,
        calls,
        beside,
        seconds: estimate.as_ref().map(|estimate| estimate.working),
        estimate,
        delivered,
        saved: None,
    };
    if let Some(writer) = writer {
        let origin = origin(bench.client(), &settings, &part).await?;
        report.saved = Some(writer.finish(&Header::new(&report, origin)?)?);
    }
    Ok(report)
}

/// How many DELIVERED orders the target has, and would have.
async fn delivered(client: &tokio_postgres::Client, settings: &Settings) -> Result<Delivered> {
    let row = client.query_one(sql::file("deliver/delivered.sql")?, &[&settings.target]).await?;
    let read = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or(0);
    Ok(Delivered { held: read(0), after: read(1) })
}

fn save(writer: &mut Option<Writer>, rendered: &[Rendered]) -> Result<()> {
    let Some(writer) = writer else { return Ok(()) };
    rendered.iter().filter_map(Line::new).try_for_each(|line| writer.add(&line))
}

async fn origin(client: &tokio_postgres::Client, settings: &Settings, part: &Part) -> Result<Origin> {
    let last_batch = client
        .query_one("select coalesce(max(batch_id), 0) from delivery.batches where target = $1", &[&settings.target])
        .await?
        .get(0);
    Ok(Origin {
        platform: settings.platform.clone(),
        database: database_mark(client).await?,
        settings: settings.hash.clone(),
        feed: (part.after, part.through),
        last_batch,
    })
}

/// The sums of a plan while it is being made.
struct Sums {
    operations: Vec<Operation>,
    per_look: u64,
    looks_before_opt_in: bool,
    /// Records to send and how many a call takes, by operation.
    to_send: BTreeMap<&'static str, (u64, usize)>,
    looks: u64,
    tally: Tally,
    toll: Toll,
    changed_fields: Counts,
}

impl Sums {
    fn new(target: &dyn Target, settings: &Settings) -> Self {
        Self {
            operations: target.operations(),
            per_look: count(target.contacts_per_call().max(1)),
            looks_before_opt_in: settings.check_existing,
            to_send: BTreeMap::new(),
            looks: 0,
            tally: Tally::default(),
            toll: Toll::default(),
            changed_fields: Counts::new(),
        }
    }

    /// Counts contacts; a contact that takes several calls does something to the account once.
    fn contacts(&mut self, rendered: &[Rendered], is_first: bool) -> Result<()> {
        if self.looks_before_opt_in {
            self.looks += count(addresses_to_check(rendered).len()).div_ceil(self.per_look);
        }
        for record in rendered {
            if record.verdict == Verdict::Send {
                let name = record.operation.as_deref().unwrap_or_default();
                let operation = find_operation(&self.operations, |operation| operation.name == name, name)?;
                self.to_send.entry(operation.name).or_insert((0, operation.per_call())).0 += 1;
            }
            if is_first {
                self.toll.add(record);
            }
            self.add(record);
        }
        Ok(())
    }

    /// Counts events; gives the contacts that a load would have to see at the target first.
    fn events(&mut self, rendered: &[Rendered]) -> Result<Vec<Uuid>> {
        let mut to_confirm = BTreeSet::new();
        for record in rendered {
            if record.verdict == Verdict::Send {
                let is_it = |operation: &Operation| operation.object == record.object;
                let operation = find_operation(&self.operations, is_it, &record.object)?;
                self.to_send.entry(operation.name).or_insert((0, operation.per_call())).0 += 1;
                if operation.needs_contact && !record.is_confirmed {
                    to_confirm.insert(record.contact_id);
                }
            }
            self.add(record);
        }
        self.looks += count(to_confirm.len()).div_ceil(self.per_look);
        Ok(to_confirm.into_iter().collect())
    }

    fn add(&mut self, record: &Rendered) {
        if record.verdict == Verdict::Send {
            Tally::add(&mut self.tally.sent, record.kind.clone(), 1);
        } else {
            count_unsent(&mut self.tally, record);
        }
    }

    fn fields(&mut self, record: &Record) {
        for change in &record.fields {
            Tally::add(&mut self.changed_fields, change.field.clone(), 1);
        }
    }

    /// Calls that start a job at the target, by operation.
    fn jobs(&self) -> Vec<(&'static str, u64)> {
        let is_job = |name: &str| {
            self.operations.iter().any(|operation| operation.name == name && operation.manner == Manner::Job)
        };
        let calls = |(records, batch): (u64, usize)| records.div_ceil(count(batch.max(1)));
        self.to_send.iter().filter(|(name, _)| is_job(name)).map(|(name, sent)| (*name, calls(*sent))).collect()
    }

    fn end(mut self) -> (Tally, Toll, Counts) {
        for (name, (records, batch)) in self.to_send {
            Tally::add(&mut self.tally.calls, name, records.div_ceil(count(batch.max(1))));
        }
        Tally::add(&mut self.tally.calls, CHECK_CALL, self.looks);
        (self.tally, self.toll, self.changed_fields)
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn go_on(stop: &CancellationToken) -> Result<()> {
    if stop.is_cancelled() { Err(Error::new(Kind::Interrupted, "stopped on request")) } else { Ok(()) }
}
