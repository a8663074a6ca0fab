//! `wharf run`: all stages of a pipeline, one after the other.

use super::{Global, PipelineFile, Strictness, extract, load, say_rejects, transform, try_fields, with_pipeline};
use crate::config::Pipeline;
use crate::error::Exit;
use crate::printer::Printer;
use crate::stage::archive::{self, ArchiveReport, When};
use crate::stage::extract::{ExtractReport, Options};
use crate::stage::load::{Options as LoadOptions, Patience, Summary};
use crate::stage::rejects::Rejects;
use crate::stage::transform::TransformReport;
use crate::stage::{self, Context};
use crate::{Result, target};
use serde::Serialize;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  wharf run shop.yaml                          read, map, send, archive; again and again, only what changed moves
  */15 * * * * wharf -q run /etc/wharf/shop.yaml   from cron: two runs at once wait for each other
  wharf --json run shop.yaml | jq .load.tally.sent

It can be stopped or killed at any instant; run it again, it continues.
Exit code 0: done; also outside the load window (what waits is sent when it is open), and when another process is at the
same work. 3: done, but records were rejected for the first time; `wharf rejects` lists them. 4: stopped early (a platform
is down, interrupted). 5: a person has to decide what the guard holds back; all else was done. docs/cli.md has them all.";

/// Do everything a pipeline says: extract, transform, load, archive
///
/// Reads what changed at the shops, works out what it means, sends what differs from what the target last acknowledged,
/// and writes snapshots if the file asks for them. A stage that stops ends the run; what was done is kept.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    file: PipelineFile,
    /// Send even if that changes, empties or unsubscribes most of what the account holds
    #[arg(long)]
    allow_mass_change: bool,
    #[command(flatten)]
    strictness: Strictness,
}

/// What a run did, stage by stage.
#[derive(Debug, Serialize)]
pub(super) struct RunReport {
    /// The run's number.
    pub run: i64,
    /// What was read, by connection.
    pub extract: Vec<ExtractReport>,
    /// What it came to mean, by connection.
    pub transform: Vec<TransformReport>,
    /// What was sent.
    pub load: Summary,
    /// What was archived, where the file asks for it.
    pub archive: Option<ArchiveReport>,
    /// How long it took.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
}

impl RunReport {
    /// The exit code that what happened asks for: the gravest of the stages.
    pub fn exit(&self, strict: bool) -> Exit {
        self.load.exit(strict).graver(self.rejects().exit(strict))
    }

    /// The rejects of all stages together.
    pub fn rejects(&self) -> Rejects {
        let mut all = self.load.rejects;
        self.extract.iter().for_each(|report| all += report.rejects);
        self.transform.iter().for_each(|report| all += report.rejects);
        all
    }
}

fn seconds<S: serde::Serializer>(took: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

/// Runs all stages as one run.
///
/// # Errors
/// Those of the first stage that fails.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    with_pipeline(global, &args.file.pipeline, "run", async |context, pipeline| {
        let options = LoadOptions { allow_mass_change: args.allow_mass_change, ..LoadOptions::default() };
        try_fields(&context.db, &pipeline, &args.file.pipeline).await?;
        let report = all_stages(&context, &pipeline, &options).await?;
        global.printer.document(&report)?;
        say(&global.printer, &report);
        Ok(report.exit(args.strictness.strict))
    })
    .await
}

/// Does the work of all stages.
///
/// # Errors
/// Those of the first stage that fails.
pub(super) async fn all_stages(context: &Context, pipeline: &Pipeline, options: &LoadOptions) -> Result<RunReport> {
    let started = Instant::now();
    let target = target::registry::build(&pipeline.target, &pipeline.load)?;
    let sources: Vec<_> = pipeline.sources.iter().collect();
    let (extracted, outcome) = extract::extract_all(context, pipeline, &sources, &Options::default()).await;
    outcome?;
    let connections: Vec<String> = pipeline.sources.iter().map(|source| source.connection.clone()).collect();
    let transformed = stage::transform::run(context, &connections, false).await?;
    let patience = Patience::of(pipeline, target.as_ref());
    let loaded = stage::load::load_as(context, pipeline, target, patience, options).await?;
    let archived = match &pipeline.archive {
        Some(settings) => Some(archive::run(context, settings, When::IfDue).await?),
        None => None,
    };
    Ok(RunReport {
        run: context.run.id,
        extract: extracted,
        transform: transformed,
        load: loaded,
        archive: archived,
        took: started.elapsed(),
    })
}

/// Says what a run did.
pub(super) fn say(printer: &Printer, report: &RunReport) {
    extract::table(&report.extract).iter().for_each(|line| printer.line(line));
    extract::remark(printer, &report.extract);
    printer.line("");
    transform::say(printer, &report.transform);
    printer.line("");
    load::print(printer, &report.load);
    if let Some(archived) = &report.archive {
        printer.line("");
        for line in archived.to_string().lines() {
            printer.line(format_args!("archive  {line}"));
        }
        for line in archived.details() {
            printer.detail(format_args!("         {line}"));
        }
    }
    say_rejects(printer, report.rejects());
}
