//! `wharf rejects`: what could not be stored, read or sent, and what to do about it.

use super::{Global, with_database};
use crate::error::Exit;
use crate::stage::rejects::{self, Filter, Reject, Stage};
use crate::{Error, Kind, Result};
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  wharf rejects                                        how many, by stage and code
  wharf rejects list --stage delivery --code refused   one line each
  wharf rejects show --key 0b6f3a1e-...                everything known of a record
  wharf rejects retry --stage delivery                 send them again with the next load
  wharf rejects retry --opt-in --key 0b6f3a1e-...      opt a contact in although the target shows an opt-out
  wharf rejects drop --stage canonical --code bad-phone";

/// How many characters of a value a line shows.
const SHOWN: usize = 60;

/// List, show, retry and drop what could not be stored, read or sent
///
/// staging: a record that could not be stored as received; its bytes are kept. canonical: a value that could not be read;
/// its record flows on without it, unless the reason says it is held. delivery: a record that the target, or a rule
/// before it, refused; it comes back when it changes at the shop, or by `retry`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// One line per reject, with the value in question: what could not be read, or whose record was refused
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many lines
        #[arg(long, default_value_t = 1000)]
        limit: u32,
    },
    /// Everything known of one record: the reasons, and what was received or was to be sent
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Have them tried again: delivery rejects become pending, the others are read again by the next transform
    Retry {
        #[command(flatten)]
        which: Which,
        /// All of them
        #[arg(long, conflicts_with_all = ["stage", "code", "key"])]
        all: bool,
        /// Of opt-outs that were kept (opt-out-kept): follow the shop's opt-in, because you know that the person wants it.
        /// Kept in delivery.consent_decisions; an opt-out at the target after that counts again
        #[arg(long, conflicts_with = "all")]
        opt_in: bool,
    },
    /// Forget them; the records stay as they are
    Drop {
        #[command(flatten)]
        which: Which,
    },
}

/// Which rejects.
#[derive(Debug, Clone, clap::Args)]
struct Which {
    /// Of which stage
    #[arg(long, value_enum)]
    stage: Option<Stage>,
    /// With which code
    #[arg(long)]
    code: Option<String>,
    /// Of which record: source key, contact_id or order_id
    #[arg(long)]
    key: Option<String>,
}

impl Which {
    fn filter(&self) -> Filter {
        Filter { stage: self.stage, code: self.code.clone(), key: self.key.clone() }
    }

    /// What changes something must be asked for by name.
    fn narrowed(&self) -> Result<Filter> {
        if self.stage.is_none() && self.code.is_none() && self.key.is_none() {
            return Err(Error::new(Kind::Command, "name the rejects by --stage, --code or --key")
                .hint("`wharf rejects` shows what there is"));
        }
        Ok(self.filter())
    }
}

/// Works on the rejects of all pipelines in this database.
///
/// # Errors
/// [`Kind::Command`] where rejects must be named; those of the database.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let printer = &global.printer;
    let action = args.action;
    with_database(global, async |db| {
        match action {
            None => {
                let counts = rejects::counts(&db).await?;
                printer.document(&counts)?;
                if counts.is_empty() {
                    printer.line("no rejects");
                }
                for count in &counts {
                    printer.line(format_args!(
                        "{:<10} {:<24} {:<16} {:<20} {:>8}",
                        count.stage, count.scope, count.entity, count.code, count.n
                    ));
                    if let Some(solution) = count.solution {
                        printer.line(format_args!("           {solution}"));
                    }
                }
            }
            Some(Action::List { which, limit }) => {
                let list = rejects::list(&db, &which.filter(), i64::from(limit)).await?;
                printer.document(&list)?;
                for reject in &list {
                    print(global, reject);
                }
                if list.len() == limit as usize {
                    printer.note(format_args!("only the newest {limit} are shown: --limit shows more"));
                }
            }
            Some(Action::Show { which }) => {
                let list = rejects::list(&db, &which.narrowed()?, 100).await?;
                let mut shown = Vec::new();
                for reject in &list {
                    let content = rejects::content(&db, reject).await?;
                    print(global, reject);
                    for (name, text) in &content {
                        printer.record(format_args!("    {name}: {text}"));
                    }
                    shown.push(json!({ "reject": reject, "content": content }));
                }
                printer.document(&shown)?;
                if list.is_empty() {
                    printer.line("no such reject");
                }
            }
            Some(Action::Retry { which, opt_in: true, .. }) => {
                let n = rejects::opt_in(&db, &which.narrowed()?).await?;
                printer.document(&json!({ "opted_in": n }))?;
                printer.line(format_args!("{n} contacts will be opted in by the next load"));
            }
            Some(Action::Retry { which, all, .. }) => {
                let filter = if all { which.filter() } else { which.narrowed()? };
                let done = rejects::retry(&db, &filter).await?;
                printer.document(&done)?;
                printer.line(format_args!("{} will be tried again by the next load", done.delivery));
                if done.canonical > 0 {
                    printer.line(format_args!(
                        "{} values will be read again by the next transform of their shops",
                        done.canonical
                    ));
                }
                if done.staging > 0 {
                    printer.note(format_args!(
                        "{} records could not be stored; they are tried again whenever the shop gives them",
                        done.staging
                    ));
                }
            }
            Some(Action::Drop { which }) => {
                let n = rejects::drop(&db, &which.narrowed()?).await?;
                printer.document(&json!({ "dropped": n }))?;
                printer.line(format_args!("{n} dropped"));
            }
        }
        Ok(Exit::Done)
    })
    .await
}

fn print(global: &Global, reject: &Reject) {
    let field = reject.field.as_deref().map(|field| format!(".{field}")).unwrap_or_default();
    let value = reject.value.as_deref().map(|value| format!(" [{}]", cut(value))).unwrap_or_default();
    global.printer.record(format_args!(
        "{}  {}  {}{field} {}{value}  {}: {} ({} times, last {})",
        reject.stage, reject.scope, reject.entity, reject.key, reject.code, reject.reason, reject.times, reject.last_at
    ));
}

/// A value as far as it fits into a line; `show` has all of it.
fn cut(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value.to_owned(),
    }
}
