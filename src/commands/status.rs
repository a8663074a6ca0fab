//! `wharf status`: what ran, how far it got, what waits.

use super::{Global, with_database};
use crate::Result;
use crate::error::Exit;
use crate::printer::Printer;
use crate::stage::status::{self, RunStatus, Status, StepStatus, StreamStatus, TargetStatus};
use serde_json::{Map, Value};
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  wharf status
  wharf status woocommerce-salesmanago         by name, or by its file
  wharf status -v                              every step, unchanged archive entities too
  wharf --json status | jq '.targets[] | select(.held > 0)'
  wharf -q status shop.yaml || mail -s 'wharf: stale' you@shop.example

Exit code 1: a stream was last read longer ago than fresh_within in the pipeline file allows (marked STALE). 2: no pipeline of
that name.";

/// Show the last runs, how fresh each stream is, what waits for each target, and what was refused
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Name of one pipeline, or its file
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// How many runs
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

/// Reads Wharf's own books; makes no call.
///
/// # Errors
/// Those of the database; of the pipeline file where one is given; [`crate::Kind::Command`] for an unknown name.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let path = args.pipeline.as_deref().map(Path::new).filter(|path| path.is_file());
    let pipeline = path.map(|path| super::load(global, path)).transpose()?;
    with_database(global, async |db| {
        if let Some(pipeline) = &pipeline {
            // Its file may say something new of it: how fresh it has to be.
            super::note_pipeline(&db, pipeline).await?;
        }
        let name = pipeline.as_ref().map(|pipeline| pipeline.name.as_str()).or(args.pipeline.as_deref());
        let status = status::read(&db, name, args.runs).await?;
        global.printer.document(&status)?;
        print(&global.printer, &status);
        Ok(if status.is_stale() { Exit::Failure } else { Exit::Done })
    })
    .await
}

fn print(printer: &Printer, status: &Status) {
    if status.runs.is_empty() {
        printer.line("no runs yet");
    }
    for run in &status.runs {
        print_run(printer, run);
    }
    for stream in &status.streams {
        printer.line(stream_line(stream));
    }
    for target in &status.targets {
        printer.line(target_line(target));
    }
    for target in status.targets.iter().filter(|target| target.guarded > 0) {
        printer.line(format_args!(
            "held back by the guard at {} ({}) since {}: {} contacts; `wharf plan` says why, --allow-mass-change lets them \
             through",
            target.target,
            target.pipeline,
            target.guarded_since.as_deref().unwrap_or("-"),
            target.guarded,
        ));
    }
    for reject in &status.rejects {
        printer.line(format_args!("rejects {} {}: {} {}", reject.stage, reject.scope, reject.n, reject.code));
    }
    for lease in &status.working {
        printer.line(format_args!("working now: {} by {} since {}", lease.name, lease.holder, lease.since));
    }
    if status.is_stale() {
        printer.warning("what is marked STALE was last read longer ago than fresh_within in the pipeline file allows");
    }
}

fn print_run(printer: &Printer, run: &RunStatus) {
    printer.line(format_args!(
        "run {} {} {}  {}  {}{}",
        run.run_id,
        run.command,
        run.pipeline,
        run.started_at,
        run.outcome.as_deref().unwrap_or("running"),
        run.seconds.map(|seconds| format!(" in {}", span(seconds))).unwrap_or_default(),
    ));
    if let Some(error) = &run.error {
        printer.line(format_args!("    {error}"));
    }
    let is_archive = |step: &&StepStatus| step.stage == "archive" && step.seconds.is_some();
    let folded = if printer.is_verbose() { 0 } else { run.steps.iter().filter(is_archive).count() };
    for step in run.steps.iter().filter(|step| folded == 0 || !is_archive(step)) {
        printer.line(format_args!(
            "    {:<10} {:<32} {:>8}  {}",
            step.stage,
            step.subject,
            step.seconds.map_or_else(|| "open".to_owned(), span),
            counts(&step.counts),
        ));
    }
    if folded > 0 {
        printer.line(archive_line(run.steps.iter().filter(is_archive)));
    }
}

/// All tables of an archive in one line: most of them have not changed.
fn archive_line<'s>(steps: impl Iterator<Item = &'s StepStatus>) -> String {
    let (mut entities, mut written, mut rows, mut seconds) = (0_u64, 0_u64, 0_u64, 0.0);
    for step in steps {
        entities += 1;
        seconds += step.seconds.unwrap_or(0.0);
        let count = |name: &str| step.counts.get(name).and_then(Value::as_u64).unwrap_or(0);
        written += u64::from(count("rows") > 0 || count("bytes") > 0);
        rows += count("rows");
    }
    format!(
        "    {:<10} {:<32} {:>8}  {written} written, {rows} rows",
        "archive",
        format!("{entities} tables and marts"),
        span(seconds)
    )
}

fn stream_line(stream: &StreamStatus) -> String {
    let age = match (stream.age_seconds, stream.walking) {
        (Some(seconds), _) => format!("read {} ago", span(seconds)),
        (None, true) => "not read to its end yet".to_owned(),
        (None, false) => "not read yet".to_owned(),
    };
    let stale = match stream.fresh_within_seconds {
        Some(limit) if stream.stale => format!("  STALE (fresh_within {})", span(limit)),
        _ => String::new(),
    };
    format!(
        "stream {}/{}  {age}{}, newest change {}{stale}",
        stream.connection,
        stream.stream,
        if stream.walking && stream.age_seconds.is_some() { ", walk in progress" } else { "" },
        stream.watermark.as_deref().unwrap_or("-"),
    )
}

fn target_line(target: &TargetStatus) -> String {
    let objects: Vec<String> = target.ledger.iter().map(|(object, n)| format!("{n} {object}")).collect();
    format!(
        "target {} ({}, pipeline {}): pending {} contacts, {} orders; holds {}; unknown outcome: {}; last sent {}{}",
        target.target,
        target.platform.as_deref().unwrap_or("platform not noted"),
        target.pipeline,
        target.pending_contacts,
        target.pending_orders,
        if objects.is_empty() { "nothing".to_owned() } else { objects.join(", ") },
        target.held,
        target.last_sent_at.as_deref().unwrap_or("never"),
        match (target.first_load, target.taken_over_through_run) {
            (_, None) => "; not loaded yet",
            (true, Some(_)) => "; first load in progress",
            (false, Some(_)) => "",
        },
    )
}

/// Seconds in the two units that matter.
fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60) {
        (0, 0, 0, _) if seconds < 60.0 => format!("{seconds:.1} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// `{"new": 3, "sent": {"purchase": 2}}` as `3 new, sent: 2 purchase`, and of lists each entity with its counts. The
/// connection stands in front of the line already.
fn counts(members: &Map<String, Value>) -> String {
    let parts: Vec<String> = members
        .iter()
        .filter_map(|(name, value)| match value {
            Value::Number(n) if n.as_u64() == Some(0) => None,
            Value::Object(inner) => {
                let inner = counts(inner);
                (!inner.is_empty()).then(|| format!("{name}: {inner}"))
            }
            Value::Array(list) if list.is_empty() => None,
            Value::Array(list) => Some(list.iter().map(entity).collect::<Vec<_>>().join(", ")),
            _ if name == "connection" => None,
            Value::Number(n) => Some(format!("{n} {name}")),
            Value::Null => None,
            other => Some(format!("{name} {}", other.as_str().map_or_else(|| other.to_string(), str::to_owned))),
        })
        .collect();
    parts.join(", ")
}

/// `{"entity": "orders", "inserted": 3}` as `orders: 3 inserted`.
fn entity(value: &Value) -> String {
    let mut counted = value.as_object().cloned().unwrap_or_default();
    let name = counted.remove("entity");
    format!("{}: {}", name.as_ref().and_then(Value::as_str).unwrap_or("-"), counts(&counted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(value: &Value) -> String {
        counts(value.as_object().unwrap())
    }

    #[test]
    fn counts_are_said_in_words_without_zeros() {
        assert_eq!(told(&json!({"new": 3, "gone": 0, "sent": {"purchase": 2}, "held": {}})), "3 new, sent: 2 purchase");
        assert_eq!(told(&json!({"rejects": {"new": 0, "standing": 0}})), "");
    }

    #[test]
    fn what_a_transform_changed_is_said_entity_by_entity() {
        let value = json!({
            "connection": "my-shop",
            "mapped": 5,
            "entities": [
                {"entity": "contacts", "inserted": 2, "updated": 0, "deleted": 1},
                {"entity": "orders", "inserted": 3, "updated": 0, "deleted": 0},
            ],
        });
        assert_eq!(told(&value), "contacts: 1 deleted, 2 inserted, orders: 3 inserted, 5 mapped");
        assert_eq!(told(&json!({"mapped": 0, "entities": []})), "");
    }

    #[test]
    fn an_archive_of_many_tables_is_one_line() {
        let step = |subject: &str, counts: Value| StepStatus {
            stage: "archive".into(),
            subject: subject.into(),
            seconds: Some(0.5),
            counts: counts.as_object().unwrap().clone(),
        };
        let steps =
            [step("orders", json!({"rows": 70})), step("contacts", json!({})), step("tags", json!({"rows": 0}))];
        let line = archive_line(steps.iter());
        assert!(line.contains("3 tables and marts") && line.ends_with("1.5 s  1 written, 70 rows"), "{line}");
    }

    #[test]
    fn a_stale_stream_is_marked_with_its_age_and_its_limit() {
        let mut stream = StreamStatus {
            connection: "shop".into(),
            stream: "orders".into(),
            watermark: Some("2024-05-01T10:00:00Z".into()),
            walking: false,
            read_at: Some("2024-05-01T10:05:00Z".into()),
            age_seconds: Some(7_500.0),
            fresh_within_seconds: Some(3_600.0),
            stale: true,
        };
        let expected = "stream shop/orders  read 2 h 5 min ago, newest change 2024-05-01T10:00:00Z  \
                        STALE (fresh_within 1 h 0 min)";
        assert_eq!(stream_line(&stream), expected);
        stream.stale = false;
        assert!(!stream_line(&stream).contains("STALE"));
    }
}
