//! `wharf changes prune`: forgets old changes that everybody has read and that the archive holds.

use crate::commands::{Global, load, with_database, with_run};
use crate::config::formats::Span;
use crate::error::Exit;
use crate::printer::Printer;
use crate::stage::changes::{self, PruneOptions, PruneReport};
use crate::{Error, Kind, Result};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wharf changes prune shop.yaml --keep 90d --dry-run   what would go, and who keeps the rest
  wharf changes prune shop.yaml --keep 90d             into the archive that the file names, then gone
  wharf changes prune --keep 90d --to s3://bucket/archive
  wharf changes prune --keep 30d --without-archive     gone for good

Stopped or killed, it goes on with the next call; nothing is deleted that the archive does not hold.";

/// Delete old changes that every consumer has read, after they have been archived
///
/// Whole runs go, the oldest first, up to the first run that a consumer has not read. Where the archive is behind, it is
/// written first. A consumer that has stayed behind is named: let it read, or forget it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The pipeline file whose `archive.to` names the place
    #[arg(value_name = "PIPELINE", required_unless_present_any = ["to", "without_archive"])]
    #[arg(conflicts_with = "without_archive")]
    pipeline: Option<PathBuf>,
    /// Keep changes that are younger: 90d, 12h
    #[arg(long, value_name = "SPAN")]
    keep: Span,
    /// The archive's folder or URL, instead of the pipeline's
    #[arg(long, value_name = "PLACE", conflicts_with = "without_archive")]
    to: Option<String>,
    /// Delete changes that no archive holds
    #[arg(long)]
    without_archive: bool,
    /// Say what would be done; delete nothing
    #[arg(long)]
    dry_run: bool,
}

/// Prunes.
///
/// # Errors
/// [`Kind::PipelineFile`] if the pipeline names no archive; those of [`changes::prune`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let pipeline = args.pipeline.as_deref().map(|path| load(global, path)).transpose()?;
    let name = pipeline.as_ref().map_or_else(String::new, |pipeline| pipeline.name.clone());
    let archive = match (args.without_archive, args.to, pipeline.and_then(|pipeline| pipeline.archive)) {
        (true, ..) => None,
        (_, Some(to), _) => Some(to),
        (.., Some(settings)) => Some(settings.to),
        _ => {
            return Err(Error::new(Kind::PipelineFile, "the pipeline file has no `archive`, so changes would be lost")
                .hint("add `archive: {to: ./archive}` to it, give --to PLACE, or --without-archive"));
        }
    };
    let options = PruneOptions { keep: args.keep.0, archive, dry_run: args.dry_run, batch: None };
    with_database(global, async |db| {
        with_run(global, &db, &name, "changes", async |context| {
            let report = changes::prune(&context, &options).await?;
            global.printer.document(&report)?;
            say(&global.printer, &report);
            Ok(Exit::Done)
        })
        .await
    })
    .await
}

fn say(printer: &Printer, report: &PruneReport) {
    let verb = if report.dry_run { "would be pruned" } else { "pruned" };
    match report.through_run {
        Some(run) => printer.line(format_args!("{} changes of runs up to {run} {verb}", report.changes)),
        None => printer.line("no changes to prune"),
    }
    match (&report.archive, report.through_run) {
        (Some(place), Some(_)) if report.archived_first && report.dry_run => {
            printer.line(format_args!("the archive {place} would be written first"));
        }
        (Some(place), Some(_)) => printer.line(format_args!("they are in the archive {place}")),
        _ => {}
    }
    for consumer in &report.blocked_by {
        let what = match consumer.kind.as_str() {
            "load" => "load its pipeline (`wharf load`)",
            _ => "let it read (`wharf changes --consumer`)",
        };
        printer.warning(format_args!(
            "consumer {name} has read up to run {} and keeps changes up to run {} from being pruned: {what}, or \
             `wharf changes forget {name}`",
            consumer.passed_run,
            report.old_run,
            name = consumer.name
        ));
    }
    for (place, run) in &report.behind {
        printer.warning(format_args!(
            "the archive {place} has the feed up to run {run}: what is pruned behind that will be missing there"
        ));
    }
}
