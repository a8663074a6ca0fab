//! `wharf transform`: say what the raw records mean.

use super::{Global, PipelineFile, Strictness, say_rejects, with_pipeline};
use crate::error::Exit;
use crate::stage::rejects::Rejects;
use crate::stage::transform::{self, TransformReport};
use crate::{Result, printer::Printer};
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  wharf transform shop.yaml           what changed since the last transform
  wharf transform shop.yaml --full    everything again; what is equal is still not written
  wharf --json transform shop.yaml | jq '.connections[].entities'

Exit code 3: done, but the shop gave values that could not be taken, and not before: wharf rejects list --stage canonical.";

/// Work out contacts, orders, products, categories and tags from what was extracted
///
/// Maps the staging rows that changed since the last transform, finds what depends on them, and writes what differs, with
/// one row per change in canonical.changes. One transaction per shop: stopped at any instant it has written nothing, run
/// again it does it all.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    file: PipelineFile,
    /// Map every staging row again, not only those that changed
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    strictness: Strictness,
}

/// Transforms every connection of the pipeline.
///
/// # Errors
/// Those of [`transform::run`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let printer = &global.printer;
    with_pipeline(global, &args.file.pipeline, "transform", async |context, pipeline| {
        let connections: Vec<String> = pipeline.sources.iter().map(|source| source.connection.clone()).collect();
        let reports = transform::run(&context, &connections, args.full).await?;
        printer.document(&json!({"run": context.run.id, "connections": &reports}))?;
        say(printer, &reports);
        let mut rejects = Rejects::default();
        reports.iter().for_each(|report| rejects += report.rejects);
        say_rejects(printer, rejects);
        Ok(rejects.exit(args.strictness.strict))
    })
    .await
}

/// Says what transforms did.
pub(super) fn say(printer: &Printer, reports: &[TransformReport]) {
    for report in reports {
        if report.entities.is_empty() {
            printer.line(format_args!("transform  {}: nothing changed", report.connection));
        }
        for counts in &report.entities {
            printer.line(format_args!(
                "transform  {}: {:<18} {:>9} new {:>9} changed {:>9} gone",
                report.connection, counts.entity, counts.inserted, counts.updated, counts.deleted
            ));
        }
    }
}
