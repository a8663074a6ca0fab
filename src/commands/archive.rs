//! `wharf archive`: write Parquet snapshots now.

use super::{Global, PipelineFile, with_pipeline};
use crate::config::pipeline::{Archive, ArchiveEvery};
use crate::error::Exit;
use crate::printer::Printer;
use crate::stage::archive::{self, ArchiveReport, When};
use crate::{Error, Kind, Result};

const EXAMPLES: &str = "\
Examples:
  wharf archive shop.yaml                 to the folder or store that the file names
  wharf archive shop.yaml --to /mnt/disk  to another one
  duckdb -c \"from 'archive/canonical.orders/snapshot=*/*.parquet'\"
  python -c \"import pyarrow.parquet as p; print(p.read_table('archive/canonical.orders'))\"

Layout: <root>/<entity>/snapshot=<UTC time>/part-00000.parquet and _manifest.json beside it; <root>/_latest.json
names the current snapshot of every entity. Entities that did not change keep their last snapshot.";

/// Write Parquet snapshots of staging, canonical and marts
///
/// All entities show one instant of the database. Each appears whole or not at all: stopped or killed, the archive leaves
/// nothing half-written to be seen. What did not change since its last snapshot is not written again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    file: PipelineFile,
    /// A folder, or the URL of an object store, instead of the pipeline's `archive.to`
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
}

/// Writes the snapshots.
///
/// # Errors
/// [`Kind::PipelineFile`] if neither file nor command line names a place; those of [`archive::run`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let printer = &global.printer;
    with_pipeline(global, &args.file.pipeline, "archive", async |context, pipeline| {
        let settings = match args.to {
            Some(to) => Archive { to, every: ArchiveEvery::Run },
            None => pipeline.archive.ok_or_else(|| {
                Error::new(Kind::PipelineFile, "the pipeline file has no `archive`, so there is no place to write to")
                    .hint("add `archive: {to: ./archive}` to it, or give --to PLACE")
            })?,
        };
        let report = archive::run(&context, &settings, When::Now).await?;
        printer.document(&report)?;
        say(printer, &report);
        Ok(Exit::Done)
    })
    .await
}

/// Says what an archive run did.
pub(super) fn say(printer: &Printer, report: &ArchiveReport) {
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
