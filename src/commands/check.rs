//! `wharf check`: is the pipeline file right, and do both ends take its credentials?

use super::{Global, in_file};
use crate::config::mistakes::{Mistake, Mistakes};
use crate::config::{Loaded, Pipeline};
use crate::error::Exit;
use crate::printer::Printer;
use crate::source::Finding;
use crate::stage::load::fields::{self, Problem};
use crate::stage::tenant::{self, Role};
use crate::store::budget::AccountBudget;
use crate::store::{Database, DatabaseLocation, private};
use crate::{Error, Kind, Result, source, target};
use futures::future::join_all;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  wharf check shop.yaml
  wharf check shop.yaml --offline    the file only, no call at all
  wharf --json check shop.yaml | jq '.ends[].findings[] | select(.ok | not)'

Exit code 2: the file has mistakes, or one of the ends does not answer as it must. Exit code 5: another shop or account
than before is behind a name.";

/// Test a pipeline file and the credentials of both ends; changes nothing
///
/// First the file: every mistake is named with its line. Then each shop and the target account get harmless calls, and
/// what is missing on the platform's side (a key, a right, a setting) is named with what to click there. The expressions
/// of contacts.fields are tried, read-only: on the database if there is one already, else on empty tables of a throw-away
/// server; nothing of yours is made or changed for it.
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
    /// Whether it is another shop or account than before.
    #[serde(skip)]
    needs_decision: bool,
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
            checks.push((
                End { role: "source", name, platform, findings: Vec::new(), needs_decision: false },
                Checked::Source(source),
            ));
        }
        let target = target::registry::build(&pipeline.target, &pipeline.load)?;
        let (name, platform) = (pipeline.target.account.clone(), pipeline.target.platform.clone());
        checks.push((
            End { role: "target", name, platform, findings: Vec::new(), needs_decision: false },
            Checked::Target(target),
        ));
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
        let asked = checks.into_iter().map(|(end, checked)| ask(db.as_ref(), &pipeline, end, checked));
        let mut ends = join_all(asked).await;
        let mut not_tried = None;
        if args.offline {
            let has_fields = !pipeline.contacts.fields.is_empty();
            not_tried = has_fields.then(|| "contacts.fields has not been tried: that takes a database".to_owned());
        } else {
            match try_fields(global, &pipeline, &args.pipeline).await {
                Ok(end) => ends.extend(end),
                Err(why) => not_tried = Some(why),
            }
        }
        if let Some(db) = db {
            ends.extend(keeps_commits(&db).await?);
            db.close().await;
        }
        Ok((ends, not_tried))
    };
    let (ends, not_tried) = global.or_interrupted(asking).await?;
    let failed = ends.iter().flat_map(|end| &end.findings).filter(|finding| !finding.ok).count();
    printer.document(&json!({
        "file": args.pipeline.display().to_string(),
        "pipeline": pipeline.name,
        "ok": failed == 0,
        "offline": args.offline,
        "warnings": warnings,
        "ends": ends,
        "not_tried": not_tried,
    }))?;
    if !printer.is_json() {
        warnings.iter().for_each(|warning| printer.warning(warning));
        printer.line(format_args!("ok      {}: no mistakes", args.pipeline.display()));
        ends.iter().for_each(|end| show(printer, end));
        not_tried.iter().for_each(|why| printer.warning(why));
        if failed > 0 {
            printer.line(format_args!("\n{} to put right before this pipeline can run", count(failed, "thing")));
        }
    }
    let to_decide = ends.iter().filter(|end| end.needs_decision).count();
    Ok(match failed {
        0 => Exit::Done,
        failed if failed == to_decide => Exit::Decision,
        _ => Exit::BadInput,
    })
}

enum Checked {
    Source(std::sync::Arc<dyn source::Source>),
    Target(std::sync::Arc<dyn target::Target>),
}

async fn ask(db: Option<&Database>, pipeline: &Pipeline, mut end: End, checked: Checked) -> End {
    let (role, tenant) = match &checked {
        Checked::Source(source) => {
            end.findings = source.check().await;
            (Role::Connection, source.tenant().await)
        }
        Checked::Target(target) => {
            end.findings = target.check().await;
            end.findings.push(Finding::passed("what a first load starts there", target.first_load()));
            let tenant = target.tenant().await;
            target.rest().await;
            (Role::Account, tenant)
        }
    };
    let base_url = match role {
        Role::Account => Some(&pipeline.target.base_url),
        Role::Connection => {
            pipeline.sources.iter().find(|source| source.connection == end.name).map(|source| &source.base_url)
        }
    };
    // Who does not answer has said so above.
    if let (Ok(tenant), Some(base_url)) = (tenant, base_url) {
        let who = tenant::look(db, role, &end.name, (&end.platform, base_url), tenant).await;
        end.needs_decision = who.as_ref().is_err_and(|error| error.kind() == Kind::Tenant);
        end.findings.push(Finding::of(format!("who is behind the {role}'s name"), who));
    }
    end
}

/// Tries the expressions of `contacts.fields`: on the database if there is one, else on empty tables that are thrown away.
/// Gives a sentence instead where they could not be tried.
async fn try_fields(global: &Global, pipeline: &Pipeline, path: &Path) -> std::result::Result<Option<End>, String> {
    let expressions = &pipeline.contacts.fields;
    if expressions.is_empty() {
        return Ok(None);
    }
    let not_tried = |error: Error| format!("contacts.fields has not been tried: {error}");
    let problems = fields_problems(global, expressions).await.map_err(not_tried)?;
    let findings = if problems.is_empty() {
        let what = format!("{} over the contact's row", count(expressions.len(), "expression"));
        vec![Finding { what, ok: true, detail: String::new() }]
    } else {
        let mistakes = in_file(path, problems);
        let list = std::error::Error::source(&mistakes).and_then(|source| source.downcast_ref::<Mistakes>());
        let finding = |mistake: &Mistake| Finding { what: mistake.key.clone(), ok: false, detail: mistake.to_string() };
        list.map(|mistakes| mistakes.list().iter().map(finding).collect()).unwrap_or_default()
    };
    let name = "contacts.fields".to_owned();
    Ok(Some(End { role: "database", name, platform: "postgres".into(), findings, needs_decision: false }))
}

async fn fields_problems(global: &Global, expressions: &BTreeMap<String, String>) -> Result<Vec<Problem>> {
    let mut location = DatabaseLocation::from_options(global.database_url())?;
    // Nothing is made of the user's own for it: the server that tries them is gone afterwards.
    let mut scratch = None;
    if let DatabaseLocation::Private(home) = &location
        && !private::status(home).await?.exists
    {
        let folder = std::env::temp_dir().join(format!("wharf-{}", uuid::Uuid::new_v4().simple()));
        location = DatabaseLocation::Private(folder.clone());
        scratch = Some(Scratch(folder));
    }
    let db = Database::connect(&location).await?;
    let problems = fields::problems(&db, expressions).await;
    db.close().await;
    drop(scratch);
    problems
}

/// A folder that goes when this does.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!("{} could not be removed: {error}", self.0.display());
        }
    }
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
    Ok(Some(End {
        role: "database",
        name,
        platform: "postgres".into(),
        findings: vec![finding],
        needs_decision: false,
    }))
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
