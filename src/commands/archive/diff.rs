//! `wharf archive diff`: what changed between two snapshots.

use crate::commands::Global;
use crate::error::Exit;
use crate::stage::archive::{self, DiffOptions, RowDiff};
use crate::{Error, Kind, Result, foreign};
use serde::Serialize;
use serde_json::json;
use std::io::{self, ErrorKind, Write};

const EXAMPLES: &str = "\
Examples:
  wharf archive diff ./archive 20260131T000000_000000Z 20260201T000000_000000Z
  wharf archive diff ./archive 2026-01-31T00:00:00Z 2026-02-01T00:00:00Z --entity canonical.contacts
  wharf --json archive diff s3://bucket/archive 2026-01-01T00:00:00Z 2026-02-01T00:00:00Z --limit 0 | tail -n 1

With --json: one line per row that differs, all of them unless --limit says less, then one line with the counts.";

/// Show what changed between two snapshots: rows added, removed and changed
///
/// Rows are matched by the primary key that the manifest names, and shown with the fields that differ. No database is
/// needed; memory stays small whatever the size. The change feed is left out: its snapshots are what changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The archive: a folder, or the URL of an object store
    #[arg(value_name = "PLACE")]
    place: String,
    /// The earlier instant: a snapshot's name, or a time (the last snapshot not after it)
    #[arg(value_name = "A")]
    from: String,
    /// The later one
    #[arg(value_name = "B")]
    to: String,
    /// Only this entity, such as canonical.orders; may be given several times
    #[arg(long, value_name = "ENTITY")]
    entity: Vec<String>,
    /// At most so many rows of each entity (10 if left out, with --json all); counts are always of all
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,
}

/// Compares.
///
/// # Errors
/// Those of [`archive::diff`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let printer = &global.printer;
    let limit = match (args.limit, printer.is_json()) {
        (None, true) => None,
        (None, false) => Some(10),
        (limit, _) => limit,
    };
    let options = DiffOptions { entities: args.entity, limit };
    let mut show = |row: RowDiff| match printer.is_json() {
        true => write_line(&json!({ "row": row })),
        false => {
            printer.line(row);
            Ok(())
        }
    };
    if printer.is_json() {
        printer.leave_stdout();
    }
    let instants = (args.from.as_str(), args.to.as_str());
    let report = archive::diff(&args.place, instants, &options, &global.progress, &global.stop, &mut show).await?;
    if printer.is_json() {
        write_line(&json!({ "report": report }))?;
    }
    for line in report.to_string().lines() {
        printer.line(line);
    }
    Ok(Exit::Done)
}

/// One document on a line of its own. A reader that has gone away ends the comparison.
fn write_line(document: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(document)
        .map_err(|error| Error::new(Kind::Internal, "a row cannot be written as JSON").because(error))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", foreign::json(&line)).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Error::new(Kind::Interrupted, "nobody reads any more"),
        _ => Error::from(error).context("standard output"),
    })
}
