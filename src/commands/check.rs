//! `wharf check`: is the pipeline file right, and do both ends take its credentials?

use super::Global;
use crate::config::{Loaded, Pipeline};
use crate::error::Exit;
use crate::printer::Printer;
use crate::source::Finding;
use crate::stage::load::fields;
use crate::store::budget::AccountBudget;
use crate::store::{Database, DatabaseLocation, private};
use crate::{Kind, Result, source, target};
use futures::future::join_all;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wharf check shop.yaml
  wharf check shop.yaml --offline    the file only, no call at all
  wharf --json check shop.yaml | jq '.ends[].findings[] | select(.ok | not)'

Exit code 2: the file has mistakes, or one of the ends does not answer as it must.";

/// Test a pipeline file and the credentials of both ends; changes nothing
///
/// First the file: every mistake is named with its line. Then each shop and the target account get harmless calls, and
/// what is missing on the platform's side (a key, a right, a setting) is named with what to click there. The expressions
/// of contacts.fields are tried against the database, if there is one already; none is made or changed for it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The pipeline file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
    /// Look at the file only
    #[arg(long)]
    offline: bool,
}

/// What was found at one end of a pipeline.
#[derive(Debug, Serialize)]
struct End {
    /// `source`, `target` or `database`.
    role: &'static str,
    /// The connection or account; for the database, the key of the pipeline file.
    name: String,
    platform: String,
    findings: Vec<Finding>,
}

/// Checks the file, then the ends.
///
/// # Errors
/// [`Kind::PipelineFile`] with all mistakes of the file; [`Kind::Interrupted`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let printer = &global.printer;
    let Loaded { pipeline, warnings } = super::pipeline::read(global, &args.pipeline)?;
    let mut checks = Vec::new();
    if !args.offline {
        for connection in &pipeline.sources {
            let source = source::registry::build(connection)?;
            let (name, platform) = (connection.connection.clone(), connection.platform.clone());
            checks.push((End { role: "source", name, platform, findings: Vec::new() }, Checked::Source(source)));
        }
        let target = target::registry::build(&pipeline.target, &pipeline.load)?;
        let (name, platform) = (pipeline.target.account.clone(), pipeline.target.platform.clone());
        checks.push((End { role: "target", name, platform, findings: Vec::new() }, Checked::Target(target)));
        printer.note(format_args!("asking {} and {}", count(pipeline.sources.len(), "shop"), pipeline.target.account));
    }
    let asking = async {
        // Even these few calls count: another process may be using the account's budget up to the last of them.
        let db = if args.offline { None } else { database_with_tables(global).await.ok().flatten() };
        if let Some(db) = &db {
            for (_, checked) in &checks {
                if let Checked::Target(target) = checked
                    && let Ok(budget) = AccountBudget::open(db, &pipeline, target.as_ref()).await
                {
                    budget.keep(target.as_ref());
                }
            }
        }
        let mut ends = join_all(checks.into_iter().map(ask)).await;
        if !args.offline {
            ends.extend(try_fields(global, &pipeline).await);
        }
        if let Some(db) = db {
            ends.extend(keeps_commits(&db).await?);
            db.close().await;
        }
        Ok(ends)
    };
    let ends = global.or_interrupted(asking).await?;
    let failed = ends.iter().flat_map(|end| &end.findings).filter(|finding| !finding.ok).count();
    printer.document(&json!({
        "file": args.pipeline.display().to_string(),
        "pipeline": pipeline.name,
        "ok": failed == 0,
        "offline": args.offline,
        "warnings": warnings,
        "ends": ends,
    }))?;
    if !printer.is_json() {
        warnings.iter().for_each(|warning| printer.warning(warning));
        printer.line(format_args!("ok      {}: no mistakes", args.pipeline.display()));
        ends.iter().for_each(|end| show(printer, end));
        if failed > 0 {
            printer.line(format_args!("\n{} to put right before this pipeline can run", count(failed, "thing")));
        }
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::BadInput })
}

enum Checked {
    Source(std::sync::Arc<dyn source::Source>),
    Target(std::sync::Arc<dyn target::Target>),
}

async fn ask((mut end, checked): (End, Checked)) -> End {
    end.findings = match checked {
        Checked::Source(source) => source.check().await,
        Checked::Target(target) => {
            let findings = target.check().await;
            target.rest().await;
            findings
        }
    };
    end
}

/// Tries the expressions of `contacts.fields` on the database. Nothing is started from nothing, migrated or read for it:
/// where there are no tables yet, the first load will tell.
async fn try_fields(global: &Global, pipeline: &Pipeline) -> Option<End> {
    let expressions = &pipeline.contacts.fields;
    if expressions.is_empty() {
        return None;
    }
    let not_tried = |why: String| {
        global.printer.note(format_args!("contacts.fields has not been tried: {why}"));
        None
    };
    let db = match database_with_tables(global).await {
        Ok(Some(db)) => db,
        Ok(None) => return not_tried("there are no tables yet".into()),
        Err(error) => return not_tried(error.to_string()),
    };
    let tried = fields::check(&db, expressions).await;
    db.close().await;
    let what = format!("{} over the contact's row", count(expressions.len(), "expression"));
    let finding = match tried {
        Ok(()) => Finding { what, ok: true, detail: String::new() },
        Err(error) if error.kind() == Kind::PipelineFile => Finding { what, ok: false, detail: error.to_string() },
        Err(error) => return not_tried(error.to_string()),
    };
    let name = "contacts.fields".to_owned();
    Some(End { role: "database", name, platform: "postgres".into(), findings: vec![finding] })
}

/// Tells of a server that may forget what it has committed: an event whose call is forgotten would be sent again.
async fn keeps_commits(db: &Database) -> Result<Option<End>> {
    let row = db.client().await?.query_one("select current_setting('fsync') = 'on'", &[]).await?;
    if row.get(0) {
        return Ok(None);
    }
    let finding = Finding {
        what: "the server keeps what it has committed".to_owned(),
        ok: false,
        detail: "it runs with fsync = off: after a crash of its machine, events may be sent twice; set fsync = on"
            .to_owned(),
    };
    let name = "server".to_owned();
    Ok(Some(End { role: "database", name, platform: "postgres".into(), findings: vec![finding] }))
}

/// The database that the global options name, if it exists and Wharf has been in it.
async fn database_with_tables(global: &Global) -> Result<Option<Database>> {
    let location = DatabaseLocation::from_options(global.database_url())?;
    if let DatabaseLocation::Private(home) = &location
        && !private::status(home).await?.exists
    {
        return Ok(None);
    }
    let db = Database::connect(&location).await?;
    let exists = async {
        let row = db.client().await?.query_one("select to_regclass('marts.rfm') is not null", &[]).await?;
        Ok(row.get::<_, bool>(0))
    };
    match exists.await {
        Ok(true) => Ok(Some(db)),
        Ok(false) => {
            db.close().await;
            Ok(None)
        }
        Err(error) => {
            db.close().await;
            Err(error)
        }
    }
}

fn show(printer: &Printer, end: &End) {
    for finding in &end.findings {
        let verdict = if finding.ok { "ok    " } else { "failed" };
        let detail = if finding.detail.is_empty() { String::new() } else { format!("\n          {}", finding.detail) };
        printer.line(format_args!("{verdict}  {} ({}): {}{detail}", end.name, end.platform, finding.what));
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
