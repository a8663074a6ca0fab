//! `wharf status`: what ran, how far it got, what waits.

use super::{Global, with_database};
use crate::error::Exit;
use crate::{Result, sql};
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  wharf status
  wharf status woocommerce-salesmanago
  wharf --json status | jq '.targets[] | select(.held > 0)'";

/// Show the last runs, how far each stream was read, what waits for each target, and what was refused
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
/// Those of the database; of the pipeline file where one is given.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let name = match &args.pipeline {
        Some(text) if std::path::Path::new(text).is_file() => {
            Some(super::load(global, std::path::Path::new(text))?.name)
        }
        other => other.clone(),
    };
    with_database(global, async |db| {
        let client = db.client().await?;
        let row = client.query_one(sql::file("deliver/status.sql")?, &[&name, &i64::from(args.runs)]).await?;
        let status: Value = row.get(0);
        global.printer.document(&status)?;
        print(global, &status);
        Ok(Exit::Done)
    })
    .await
}

fn print(global: &Global, status: &Value) {
    let printer = &global.printer;
    let runs = list(status, "runs");
    if runs.is_empty() {
        printer.line("no runs yet");
    }
    for run in runs {
        printer.line(format_args!(
            "run {} {} {}  {}  {}{}",
            run["run_id"],
            text(&run["command"]),
            text(&run["pipeline"]),
            text(&run["started_at"]),
            if run["outcome"].is_null() { "running" } else { text(&run["outcome"]) },
            run["seconds"].as_f64().map(|seconds| format!(" in {seconds:.1} s")).unwrap_or_default(),
        ));
        if let Some(error) = run["error"].as_str() {
            printer.line(format_args!("    {error}"));
        }
        for step in list(run, "steps") {
            printer.line(format_args!(
                "    {:<10} {:<32} {:>8}  {}",
                text(&step["stage"]),
                text(&step["subject"]),
                step["seconds"].as_f64().map_or_else(|| "open".to_owned(), |seconds| format!("{seconds:.1} s")),
                counts(&step["counts"]),
            ));
        }
    }
    for stream in list(status, "streams") {
        printer.line(format_args!(
            "stream {}/{}  read up to {}{}",
            text(&stream["connection"]),
            text(&stream["stream"]),
            stream["watermark"].as_str().unwrap_or("-"),
            if stream["walking"] == true { ", walk in progress" } else { "" },
        ));
    }
    for target in list(status, "targets") {
        printer.line(format_args!(
            "target {} ({}): pending {} contacts, {} orders; held by the target: {}; unknown outcome: {}",
            text(&target["target"]),
            text(&target["pipeline"]),
            target["pending_contacts"],
            target["pending_orders"],
            counts(&target["ledger"]),
            target["held"],
        ));
    }
    for target in list(status, "targets").iter().filter(|target| target["guarded"].as_u64() > Some(0)) {
        printer.line(format_args!(
            "held back by the guard at {} ({}) since {}: {} contacts; `wharf plan` says why, --allow-mass-change lets them through",
            text(&target["target"]),
            text(&target["pipeline"]),
            text(&target["guarded_since"]),
            target["guarded"],
        ));
    }
    for reject in list(status, "rejects") {
        printer.line(format_args!(
            "rejects {} {}: {} {}",
            text(&reject["stage"]),
            text(&reject["scope"]),
            reject["n"],
            text(&reject["code"]),
        ));
    }
    for lease in list(status, "working") {
        printer.line(format_args!(
            "working now: {} by {} since {}",
            text(&lease["name"]),
            text(&lease["holder"]),
            text(&lease["since"]),
        ));
    }
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// `{"new": 3, "sent": {"purchase": 2}}` as `3 new, sent: 2 purchase`, and of lists each entity with its counts. The
/// connection stands in front of the line already.
fn counts(value: &Value) -> String {
    let Some(members) = value.as_object() else { return String::new() };
    let parts: Vec<String> = members
        .iter()
        .filter_map(|(name, value)| match value {
            Value::Number(n) if n.as_u64() == Some(0) => None,
            Value::Object(inner) if inner.is_empty() => None,
            Value::Array(list) if list.is_empty() => None,
            Value::Array(list) => Some(list.iter().map(entity).collect::<Vec<_>>().join(", ")),
            _ if name == "connection" => None,
            Value::Object(_) => Some(format!("{name}: {}", counts(value))),
            Value::Number(n) => Some(format!("{n} {name}")),
            Value::Null => None,
            other => Some(format!("{name} {}", other.as_str().map_or_else(|| other.to_string(), str::to_owned))),
        })
        .collect();
    parts.join(", ")
}

/// `{"entity": "orders", "inserted": 3}` as `orders: 3 inserted`.
fn entity(value: &Value) -> String {
    let mut counted = value.clone();
    let name = counted.as_object_mut().and_then(|members| members.remove("entity"));
    format!("{}: {}", name.as_ref().map_or("-", text), counts(&counted))
}

#[cfg(test)]
mod tests {
    use super::counts;
    use serde_json::json;

    #[test]
    fn counts_are_said_in_words_without_zeros() {
        let value = json!({"new": 3, "gone": 0, "sent": {"purchase": 2}, "held": {}});
        assert_eq!(counts(&value), "3 new, sent: 2 purchase");
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
        assert_eq!(counts(&value), "contacts: 1 deleted, 2 inserted, orders: 3 inserted, 5 mapped");
        assert_eq!(counts(&json!({"mapped": 0, "entities": []})), "");
    }
}
