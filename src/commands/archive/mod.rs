//! `wharf archive`: write Parquet snapshots now; its subcommands read them: one file each.

mod diff;
mod prune;
mod restore;
mod sql;
mod verify;

use super::{Global, with_pipeline};
use crate::config::pipeline::{Archive, ArchiveEvery};
use crate::error::Exit;
use crate::printer::Printer;
use crate::stage::archive::{self, ArchiveReport, When};
use crate::{Error, Kind, Result};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wharf archive shop.yaml                 to the folder or store that the file names
  wharf archive shop.yaml --to /mnt/disk  to another one
  wharf archive verify shop.yaml          is every snapshot what its manifest says?
  wharf archive diff ./archive 2026-01-31T00:00:00Z 2026-02-01T00:00:00Z
  wharf archive prune shop.yaml --dry-run
  wharf archive restore ./archive --database-url postgres://localhost/empty
  wharf archive sql shop.yaml > views.sql views of the current snapshot, for DuckDB
  duckdb -init views.sql -c 'select count(*) from canonical.orders'

Layout: <root>/<entity>/snapshot=<UTC time>/part-00000.parquet and _manifest.json beside it; <root>/_latest.json
names the current snapshot of every entity. Entities that did not change keep their last snapshot, and one of a large
table holds only what changed: its manifest names the layers below. All snapshots together hold a row several times.";

/// Write Parquet snapshots of staging, canonical and marts; verify, compare, prune and restore them
///
/// All entities show one instant of the database. Each appears whole or not at all: stopped or killed, the archive leaves
/// nothing half-written to be seen. What did not change since its last snapshot is not written again; of a large table only
/// what changed is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// The pipeline file (YAML); `wharf init` writes one
    #[arg(value_name = "PIPELINE", required = true)]
    pipeline: Option<PathBuf>,
    /// A folder, or the URL of an object store, instead of the pipeline's `archive.to`
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
}

/// What else to do with an archive. Their help is the doc comment of their `Args`.
#[derive(Debug, clap::Subcommand)]
enum Action {
    Verify(verify::Args),
    Diff(diff::Args),
    Restore(restore::Args),
    Prune(prune::Args),
    Sql(sql::Args),
}

/// Which archive a subcommand works on.
#[derive(Debug, clap::Args)]
struct Where {
    /// The pipeline file whose `archive.to` names the place
    #[arg(value_name = "PIPELINE", required_unless_present = "at", conflicts_with = "at")]
    pipeline: Option<PathBuf>,
    /// The archive's folder, or its URL in an object store, instead of a pipeline
    #[arg(long, value_name = "PLACE")]
    at: Option<String>,
}

impl Where {
    /// The place that is meant.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] if the pipeline names none.
    fn place(self, global: &Global) -> Result<String> {
        match (self.at, self.pipeline) {
            (Some(at), _) => Ok(at),
            (None, Some(pipeline)) => Ok(super::load(global, &pipeline)?.archive.ok_or_else(no_place)?.to),
            (None, None) => Err(Error::new(Kind::Command, "name a pipeline, or the place with --at")),
        }
    }
}

/// Writes the snapshots, or does what the subcommand says.
///
/// # Errors
/// [`Kind::PipelineFile`] if neither file nor command line names a place; those of [`archive::run`] and the subcommands.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    match (args.action, args.pipeline) {
        (Some(Action::Verify(args)), _) => verify::run(global, args).await,
        (Some(Action::Diff(args)), _) => diff::run(global, args).await,
        (Some(Action::Restore(args)), _) => restore::run(global, args).await,
        (Some(Action::Prune(args)), _) => prune::run(global, args).await,
        (Some(Action::Sql(args)), _) => sql::run(global, args).await,
        (None, Some(pipeline)) => write(global, pipeline, args.to).await,
        (None, None) => Err(Error::new(Kind::Command, "name a pipeline file")),
    }
}

async fn write(global: &Global, pipeline: PathBuf, to: Option<String>) -> Result<Exit> {
    let printer = &global.printer;
    with_pipeline(global, &pipeline, "archive", async |context, pipeline| {
        let settings = match to {
            Some(to) => Archive { to, every: ArchiveEvery::Run, keep: None },
            None => pipeline.archive.ok_or_else(no_place)?,
        };
        let report = archive::run(&context, &settings, When::Now).await?;
        printer.document(&report)?;
        say(printer, &report);
        Ok(Exit::Done)
    })
    .await
}

fn no_place() -> Error {
    Error::new(Kind::PipelineFile, "the pipeline file has no `archive`, so there is no place to look at")
        .hint("add `archive: {to: ./archive}` to it, or give --to PLACE (--at PLACE for the subcommands)")
}

/// Says what an archive run did.
pub(in crate::commands) fn say(printer: &Printer, report: &ArchiveReport) {
    for line in report.details() {
        printer.detail(format_args!("archive    {line}"));
    }
    for line in report.to_string().lines() {
        printer.line(format_args!("archive    {line}"));
    }
    if report.odd_values() > 0 {
        printer.warning(format_args!(
            "{} values have no place in their column's Parquet type (such as infinity); they are listed in _odd-values.jsonl",
            report.odd_values()
        ));
    }
}
