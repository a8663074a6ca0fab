//! `wharf plan`: what a load would do.

use super::{Global, PipelineFile, load, try_fields, with_database};
use crate::error::Exit;
use crate::stage::load::feed::Baseline;
use crate::stage::plan::{self, Options, Record, Report};
use crate::{Error, Kind, Result, foreign, target};
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wharf plan shop.yaml                       counts, calls and time
  wharf plan shop.yaml --full                compare everything, and check that no change was missed
  wharf plan shop.yaml --verbose | less      every record, every field, old -> new
  wharf plan shop.yaml --out shop.plan.zst   save it: wharf load shop.yaml --plan shop.plan.zst does exactly that
  wharf --json plan shop.yaml | jq .tally.sent
  wharf --json --verbose plan shop.yaml      one JSON object a line: the records, then the counts

Exit code 1: --full found records that differ although nothing says that they changed (wharf load --full sends them).
5: the guard would hold contacts back, because too many would lose the same at once: a person has to decide.";

/// Show what a load would do; makes no call that changes anything
///
/// It renders exactly as `wharf load` does and compares with what the target last acknowledged, so its counts are those
/// of the load, unless the target answers what cannot be foreseen (an opt-out found on a card, a refusal).
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    file: PipelineFile,
    /// Compare everything with what the target holds, not only what changed, and check that no change was missed
    #[arg(long)]
    full: bool,
    /// Do not mind how much of what the account holds would change
    #[arg(long)]
    allow_mass_change: bool,
    /// Save the plan for `wharf load --plan` (JSON lines; compressed if FILE ends in .zst). It holds personal data: only
    /// you may read the file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Plans one pipeline; not a run, because nothing is done.
///
/// # Errors
/// Those of [`plan::plan`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let pipeline = load(global, &args.file.pipeline)?;
    let target = target::registry::build(&pipeline.target, &pipeline.load)?;
    let printer = &global.printer;
    let in_lines = printer.is_json() && printer.is_verbose();
    with_database(global, async |db| {
        try_fields(&db, &pipeline, &args.file.pipeline).await?;
        let options = Options { full: args.full, out: args.out.clone(), allow_mass_change: args.allow_mass_change };
        let see = |record: Record| {
            if in_lines {
                write_json_line(&record)?;
            } else if printer.is_verbose() {
                print_record(global, &record);
            }
            Ok(())
        };
        let report =
            plan::plan_as(&db, &pipeline, target.as_ref(), &global.progress, &global.stop, &options, see).await?;
        if in_lines {
            write_json_line(&report)?;
        } else {
            printer.document(&report)?;
            print(global, &report);
        }
        if let (Some(records), Some(path)) = (report.saved, &args.out) {
            printer.note(format_args!("{records} records saved in {}; it holds personal data", path.display()));
        }
        if let Some(audit) = &report.audit {
            audit.check()?;
        }
        match &report.guard {
            Some(excess) if !args.allow_mass_change => {
                printer.warning(format_args!(
                    "a load would hold {} contacts back and send all else: {excess}; --allow-mass-change lets them through",
                    report.tally.guarded
                ));
                Ok(Exit::Decision)
            }
            _ => Ok(Exit::Done),
        }
    })
    .await
}

fn print_record(global: &Global, record: &Record) {
    let why = match (&record.code, &record.reason) {
        (Some(code), Some(reason)) => format!("  {code}: {reason}"),
        (Some(code), None) => format!("  {code}"),
        _ => String::new(),
    };
    global.printer.record(format_args!("{}  {}  {}{why}", record.action, record.address, record.key));
    for change in &record.fields {
        let old = change.old.as_deref().unwrap_or("(nothing)");
        let new = change.new.as_deref().unwrap_or("(nothing)");
        global.printer.record(format_args!("    {}: {old} -> {new}", change.field));
    }
}

fn print(global: &Global, report: &Report) {
    let printer = &global.printer;
    if let Some(baseline) = report.baseline {
        printer.note(load::baseline_text(baseline));
    }
    if let Some(starts) = &report.first_load_starts {
        printer.note(format_args!("first load: {starts}"));
    }
    if report.baseline == Some(Baseline::Settings) {
        let names = match report.changed_settings.as_slice() {
            [] => "this version renders differently, or the last load kept no names".to_owned(),
            names => names.join(", "),
        };
        printer.line(format_args!(
            "the mapping changed since the last load ({names}): all {} contacts are compared, {} of those held would be \
             sent again",
            report.contacts, report.toll.changed
        ));
    }
    if report.open_calls > 0 {
        printer.note(format_args!(
            "{} calls of an earlier load are open; a load looks first what arrived",
            report.open_calls
        ));
    }
    printer.line(format_args!(
        "{} -> {}: {} contacts and {} orders to look at",
        report.pipeline, report.target, report.contacts, report.orders
    ));
    for (heading, counts) in report.tally.groups() {
        for (name, n) in counts {
            printer.line(format_args!("{heading:<14} {n:>9}  {name}"));
        }
    }
    for (name, n) in &report.beside.calls {
        printer.line(format_args!("{:<14} {n:>9}  {name}", "calls beside"));
    }
    for (field, n) in &report.changed_fields {
        printer.line(format_args!("{:<14} {n:>9}  {field}", "changed field"));
    }
    if let Some(delivered) = &report.delivered {
        printer.line(format_args!(
            "the target scores customers by DELIVERED orders alone: it has {} of them, and {} after this load",
            delivered.held, delivered.after
        ));
    }
    if let Some(audit) = &report.audit {
        printer.line(format_args!(
            "audit: {} compared, {} unchanged, {} differ; {} of these were missed by the change feed",
            audit.compared, audit.unchanged, audit.differing, audit.missed
        ));
        for (n, what) in
            [(audit.refused_before, "were refused before"), (audit.moving, "differ in fields that move by themselves")]
        {
            if n > 0 {
                printer.line(format_args!("audit: {n} {what}"));
            }
        }
    }
    printer.line(time(report));
}

fn time(report: &Report) -> String {
    let calls = report.calls;
    let text = match &report.estimate {
        None if calls == 0 => "no calls".to_owned(),
        None => format!("{calls} calls, as fast as the account answers: the pipeline file sets no rate"),
        Some(estimate) if estimate.closed > 0.0 => format!(
            "{calls} calls, about {} of work at the account's rate; with {} of closed hours done by {}",
            duration(estimate.working),
            duration(estimate.closed),
            estimate.done_at.strftime("%Y-%m-%d %H:%M UTC")
        ),
        Some(estimate) => format!("{calls} calls, about {} at the account's rate", duration(estimate.working)),
    };
    let jobs = report.beside.job_seconds;
    if jobs > 0.0 { format!("{text}; {} of it for imports at the account to end", duration(jobs)) } else { text }
}

fn duration(seconds: f64) -> String {
    let whole = seconds.ceil() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// Records are streamed, so they cannot be members of one document.
fn write_json_line(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::new(Kind::Internal, "a record cannot be written as JSON").because(error))?;
    // A reader that went away is none of our business.
    let _ = writeln!(std::io::stdout().lock(), "{}", foreign::json(&text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn times_are_said_in_two_units_at_most() {
        assert_eq!(duration(0.2), "1 s");
        assert_eq!(duration(61.0), "1 min 1 s");
        assert_eq!(duration(7_260.0), "2 h 1 min");
    }
}
