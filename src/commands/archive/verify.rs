//! `wharf archive verify`: is every snapshot what its manifest says?

use super::Where;
use crate::Result;
use crate::commands::{Global, open_database};
use crate::error::Exit;
use crate::stage::archive::{self, Scope, Snapshots};

const EXAMPLES: &str = "\
Examples:
  wharf archive verify shop.yaml
  wharf archive verify --at s3://bucket/archive --latest
  wharf archive verify --at ./archive --entity canonical.orders --snapshot 2026-01-31T23:59:59Z
  wharf --json archive verify shop.yaml | jq '.findings[] | select(.broken)'

Exit code 1: something is broken; each finding says what to do. What killed runs left and files of others that no reader
takes for data are noted, not held against it.";

/// Read every snapshot and compare it with its manifest
///
/// Every byte is hashed and every page decoded: manifests, sizes, checksums, row counts, columns, files that do not
/// belong there, and whether the pages that name the snapshots of an instant name what exists. It only reads; memory
/// stays small whatever the size.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// Only the current snapshots
    #[arg(long, conflicts_with = "snapshot")]
    latest: bool,
    /// Only those that show this instant: a snapshot's name, or a time (the last snapshot not after it)
    #[arg(long, value_name = "TIME")]
    snapshot: Option<String>,
    /// Only this entity, such as canonical.orders; may be given several times
    #[arg(long, value_name = "ENTITY")]
    entity: Vec<String>,
    /// Also count the rows that the database has now, beside those of the current snapshots
    #[arg(long)]
    database: bool,
}

/// Verifies.
///
/// # Errors
/// Those of [`archive::verify`] and, with `--database`, of the database.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let snapshots = match (args.latest, args.snapshot) {
        (true, _) => Snapshots::Latest,
        (false, Some(time)) => Snapshots::At(time),
        (false, None) => Snapshots::All,
    };
    let scope = Scope { entities: args.entity, snapshots };
    let place = args.place.place(global)?;
    let mut report = archive::verify(&place, &scope, &global.progress, &global.stop).await?;
    if args.database {
        let db = open_database(global).await?;
        let counted = global.or_interrupted(archive::compare_counts(&place, &db)).await;
        db.close().await;
        report.database = Some(counted?);
    }
    global.printer.document(&report)?;
    for line in report.to_string().lines() {
        global.printer.line(line);
    }
    Ok(if report.broken() == 0 { Exit::Done } else { Exit::Failure })
}
