//! `wharf archive restore`: a snapshot of everything back into an empty database.

use crate::Result;
use crate::commands::Global;
use crate::error::Exit;
use crate::stage::archive::{self, Mode};
use crate::store::{Database, DatabaseLocation};

const EXAMPLES: &str = "\
Examples:
  createdb wharf_restored
  wharf archive restore ./archive --dry-run --database-url postgres://localhost/wharf_restored
  wharf archive restore ./archive --database-url postgres://localhost/wharf_restored
  wharf archive restore s3://bucket/archive --snapshot 2026-01-31T23:59:59Z --database-url postgres://…

Then point the pipelines at the new database: extracts go on from their cursors, loads send what has changed since.
The archive holds what contact ids are made with (ops.settings): keep it as private as the database.";

/// Restore a snapshot of everything into an empty database
///
/// Raw records, canonical rows, the change feed, the ledger and the queue, cursors and consumers come back as they were,
/// checked against their checksums, in one transaction: killed, it leaves the database as empty as before. A database that
/// holds anything is refused.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The archive: a folder, or the URL of an object store
    #[arg(value_name = "PLACE")]
    place: String,
    /// The instant to restore: a snapshot's name, or a time (the last snapshot not after it); the current one if left out
    #[arg(long, value_name = "TIME")]
    snapshot: Option<String>,
    /// Say what would be restored and whether it can be; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave canonical rows to the next `wharf transform`, which works them out from the raw records; only what these
    /// cannot tell (when consent was seen, which contact became which) is brought back
    #[arg(long)]
    rebuild: bool,
}

/// Restores.
///
/// # Errors
/// Those of [`archive::restore`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let location = DatabaseLocation::from_options(global.database_url())?;
    // A dry run does not even set the schemas up.
    let db = match args.dry_run {
        true => Database::connect(&location).await?,
        false => Database::open(&location).await?,
    };
    let mode = if args.rebuild { Mode::Rebuild } else { Mode::Exact };
    let restored = archive::restore(
        &db,
        &args.place,
        args.snapshot.as_deref(),
        mode,
        args.dry_run,
        &global.progress,
        &global.stop,
    )
    .await;
    db.close().await;
    let report = restored?;
    global.printer.document(&report)?;
    for line in report.to_string().lines() {
        global.printer.line(line);
    }
    Ok(Exit::Done)
}
