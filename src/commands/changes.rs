//! `wharf changes`: the change feed, for whoever wants to know what changed.

mod prune;

use super::{Global, with_database};
use crate::error::Exit;
use crate::stage::changes::{self, Options, Taken};
use crate::store::feed::{self, Beginning, Change, ENTITIES};
use crate::{Error, Kind, Result, foreign};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{self, Write as _};

const EXAMPLES: &str = "\
Examples:
  wharf changes --limit 20                         the oldest twenty, one line each
  wharf changes --new --follow                     what changes from now on, as it happens
  wharf changes --json --consumer billing          everything billing has not seen yet, one JSON object a line
  wharf changes --json --follow --consumer billing | ./billing
  wharf changes --entity orders --after 120        orders changed by runs after the 120th
  wharf changes consumers                          who reads, and how far behind
  wharf changes forget billing                     so that it keeps no changes from being pruned
  wharf changes prune shop.yaml --keep 90d         older ones that all have read: into the archive, then gone

A consumer's place is kept in the database and moves on when its lines have left: killed at any instant, the next
read repeats at most a page and skips nothing. Changes come run by run, and those of one record in the order they
were made. docs/change-feed.md says how to read the feed by SQL and by logical replication.";

/// Show what changed in contacts, orders, products and tags, once or as it happens
///
/// Every inserted, updated or deleted canonical row is one change, with the old values of what changed; the new ones are
/// those of the row as it is now. Only changes that are complete are given: a transaction that commits late is waited
/// for, never skipped. With --json one object per line. A reader that goes away ends it quietly.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Go on as changes come, until stopped
    #[arg(long)]
    follow: bool,
    /// Read as this consumer: begin where it stands, and keep how far it came
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Begin with the oldest change that is left; sets a consumer back (a new one begins so anyway)
    #[arg(long, conflicts_with_all = ["after", "new"])]
    from_beginning: bool,
    /// Begin behind this run; sets a consumer there
    #[arg(long, value_name = "RUN", conflicts_with = "new")]
    after: Option<i64>,
    /// Begin with what changes from now on; sets a consumer there
    #[arg(long)]
    new: bool,
    /// Only changes of these tables; may be given several times
    #[arg(long, value_name = "ENTITY", value_parser = ENTITIES)]
    entity: Vec<String>,
    /// At most so many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// What else to do.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the consumers, and how far behind they are
    Consumers,
    /// Forget a consumer and its place
    Forget {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    Prune(prune::Args),
}

impl Args {
    fn options(&self) -> Options {
        let beginning = match (self.from_beginning, self.after, self.new) {
            (true, ..) => Some(Beginning::Everything),
            (_, Some(run), _) => Some(Beginning::After(run)),
            (_, _, true) => Some(Beginning::Now),
            _ => None,
        };
        let mut entities = self.entity.clone();
        entities.sort();
        entities.dedup();
        Options { follow: self.follow, consumer: self.consumer.clone(), beginning, entities, limit: self.limit }
    }
}

/// Gives changes out, or lists and forgets their consumers.
///
/// # Errors
/// [`Kind::LeaseHeld`] if another process reads as the consumer; [`Kind::Command`]; those of the database.
pub async fn run(global: &Global, mut args: Args) -> Result<Exit> {
    match args.action.take() {
        None => {
            with_database(global, async |db| {
                global.printer.leave_stdout();
                let is_json = global.printer.is_json();
                let given = changes::give(&db, &args.options(), &global.stop, |page| write(page, is_json)).await?;
                if let Some(pruned) = given.pruned {
                    global.printer.warning(format_args!(
                        "changes of runs up to {pruned} have been pruned: what is older is in the archive alone"
                    ));
                }
                if given.changes == 0 && !is_json && !args.follow {
                    global.printer.note("no changes");
                }
                Ok(Exit::Done)
            })
            .await
        }
        Some(Action::Consumers) => {
            with_database(global, async |db| consumers(global, &*db.client().await?).await).await
        }
        Some(Action::Forget { name }) => {
            with_database(global, async |db| {
                if !feed::forget(&db.dedicated().await?, &name).await? {
                    return Err(Error::new(Kind::Command, format!("there is no consumer {name}"))
                        .hint("`wharf changes consumers` lists them"));
                }
                global.printer.document(&json!({ "forgotten": name }))?;
                global.printer.line(format_args!("forgot consumer {name}"));
                Ok(Exit::Done)
            })
            .await
        }
        Some(Action::Prune(args)) => prune::run(global, args).await,
    }
}

async fn consumers(global: &Global, session: &tokio_postgres::Client) -> Result<Exit> {
    let list = feed::consumers(session).await?;
    let printer = &global.printer;
    printer.document(&list)?;
    if list.is_empty() {
        printer.line("no consumers");
    }
    for consumer in &list {
        let behind = match consumer.behind {
            0 => "has read everything".to_owned(),
            1_000.. => "1000 changes or more behind".to_owned(),
            behind => format!("{behind} changes behind"),
        };
        let moved = consumer.moved_at.as_deref().map(|at| format!(", moved on {at}")).unwrap_or_default();
        printer.line(format_args!(
            "{:<6} {:<32} run {:>8}  {behind}{moved}",
            consumer.kind, consumer.name, consumer.position.run_id
        ));
    }
    Ok(Exit::Done)
}

/// Writes a page to stdout and sees it leave.
fn write(page: &[Change], is_json: bool) -> Result<Taken> {
    let mut text = String::new();
    for change in page {
        if is_json {
            text.push_str(&foreign::json(&change.text));
        } else {
            let mut line = String::new();
            describe(&mut line, &change.text)?;
            text.push_str(&foreign::one_line(&line));
        }
        text.push('\n');
    }
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Taken::All),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Taken::Gone),
        Err(error) => Err(Error::from(error).context("standard output")),
    }
}

/// One change for people: `run 12  2026-03-10T12:00:00Z  update contacts KEY  city: "Kraków" → now "Gdynia"`.
fn describe(line: &mut String, change: &str) -> Result<()> {
    let change: Value = serde_json::from_str(change)
        .map_err(|error| Error::new(Kind::Internal, "a change cannot be read").because(error))?;
    let text = |name: &str| change[name].as_str().unwrap_or_default();
    let at = text("at").split('.').next().unwrap_or_default();
    let nothing = Map::new();
    let (old, row) = (change["old"].as_object().unwrap_or(&nothing), &change["row"]);
    // Writing to a string cannot fail.
    let _ = write!(line, "run {}  {at}Z  {} {} {}", change["run_id"], text("op"), text("entity"), text("key"));
    let mut separator = "  ";
    for (name, value) in old {
        let _ = match (text("op"), row.get(name)) {
            ("delete", _) if value.is_null() => continue,
            ("delete", _) => write!(line, "{separator}{name}: {value}"),
            (_, Some(now)) => write!(line, "{separator}{name}: {value} → now {now}"),
            (_, None) => write!(line, "{separator}{name}: {value} → now gone"),
        };
        separator = ", ";
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(change: Value) -> String {
        let mut line = String::new();
        describe(&mut line, &change.to_string()).unwrap();
        line
    }

    #[test]
    fn a_change_is_one_line_that_calls_the_new_values_those_of_now() {
        let change = json!({
            "run_id": 12, "seq": 3, "at": "2026-03-10T12:00:00.123456Z", "entity": "contacts", "key": "k", "op": "update",
            "old": {"city": "Kraków\nNowa Huta", "phone": null}, "row": {"city": "Gdynia", "phone": "+48601000101"},
        });
        assert_eq!(
            described(change.clone()),
            "run 12  2026-03-10T12:00:00Z  update contacts k  city: \"Kraków\\nNowa Huta\" → now \"Gdynia\", \
             phone: null → now \"+48601000101\""
        );
        let mut gone = change;
        gone["row"] = Value::Null;
        gone["old"] = json!({"city": "Kraków"});
        assert!(described(gone).ends_with("city: \"Kraków\" → now gone"));
    }
}
