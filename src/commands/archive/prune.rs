//! `wharf archive prune`: removes snapshots that nobody wants to go back to.

use super::Where;
use crate::Result;
use crate::commands::Global;
use crate::error::Exit;
use crate::stage::archive::{self, Keep};

const EXAMPLES: &str = "\
Examples:
  wharf archive prune shop.yaml --last 10 --daily 30 --monthly 12 --dry-run
  wharf archive prune --at s3://bucket/archive --daily 90

An instant is kept if any of the options wants it; the current one always is. A snapshot goes when no instant that is
kept needs it. The change feed is never pruned: each of its snapshots holds what no other does.";

/// Remove snapshots that no instant to be kept needs any more
///
/// Say which instants to keep, and look with --dry-run. A pipeline's `archive.keep` does the same after each of its runs.
/// Readers never see half a snapshot; stopped or killed, it goes on with the next call.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// Keep so many of the latest instants
    #[arg(long, value_name = "N", default_value_t = 0)]
    last: usize,
    /// Keep the last instant of a day (UTC), for so many days
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    daily: usize,
    /// Keep the last instant of a month, for so many months
    #[arg(long, value_name = "MONTHS", default_value_t = 0)]
    monthly: usize,
    /// Say what would be removed; remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Prunes.
///
/// # Errors
/// Those of [`archive::prune`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let keep = Keep { last: args.last, daily: args.daily, monthly: args.monthly };
    let place = args.place.place(global)?;
    let report = archive::prune(&place, keep, args.dry_run, &global.stop).await?;
    global.printer.document(&report)?;
    for line in report.to_string().lines() {
        global.printer.line(line);
    }
    Ok(Exit::Done)
}
