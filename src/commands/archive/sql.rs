//! `wharf archive sql`: views of an instant, for DuckDB.

use super::Where;
use crate::Result;
use crate::commands::Global;
use crate::error::Exit;
use crate::stage::archive;

const EXAMPLES: &str = "\
Examples:
  wharf archive sql shop.yaml > views.sql
  duckdb -init views.sql -c 'select status, count(*) from canonical.orders group by status'
  wharf archive sql --at s3://bucket/archive --snapshot 2026-01-31T23:59:59Z

A large table's snapshot holds only what changed; the views put its layers together. They name files: write them anew
after each archive run, and after a prune.";

/// Write SQL that shows an instant in DuckDB: a view of every table, under its own name
///
/// Each view reads the files that its manifest names, and nothing else of the folder: not those of other snapshots, whose
/// rows would be counted again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// The instant: a snapshot's name, or a time (the last snapshot not after it); the current one if left out
    #[arg(long, value_name = "TIME")]
    snapshot: Option<String>,
}

/// Writes the views.
///
/// # Errors
/// Those of [`archive::views`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let place = args.place.place(global)?;
    let views = archive::views(&place, args.snapshot.as_deref()).await?;
    global.printer.document(&views)?;
    global.printer.line(&views.sql);
    Ok(Exit::Done)
}
