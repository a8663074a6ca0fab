//! `wharf db account` and `wharf db connection`: who is behind a name, and a person's word about it.

use super::{Global, with_database, with_run};
use crate::error::Exit;
use crate::stage::tenant::replace::{self, Figure};
use crate::stage::tenant::{self, Known, Role};
use crate::store::Database;
use crate::{Error, Kind, Result};
use serde_json::{Value, json};

/// The arguments of both.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name in the pipeline file; left out, all are listed
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Another one stands behind the name now: says what would be set aside, and with --yes does it
    #[arg(long, requires = "name", conflicts_with = "has_moved")]
    is_new: bool,
    /// It is the same one, at a new address or with new credentials: everything is kept
    #[arg(long, requires = "name")]
    has_moved: bool,
    /// Do what --is-new says
    #[arg(long, requires = "is_new")]
    yes: bool,
}

/// Says who is behind a name, or decides it.
///
/// # Errors
/// Those of [`replace`]; [`Kind::Command`] for an unknown name.
pub async fn run(global: &Global, role: Role, args: Args) -> Result<Exit> {
    with_database(global, async |db| match &args.name {
        None => list(global, &db, role).await,
        Some(name) if args.has_moved => {
            with_run(global, &db, name, role.name(), async |context| {
                replace::has_moved(&context, role, name).await?;
                Ok(Exit::Done)
            })
            .await?;
            show(global, &db, role, name, &[], "kept").await
        }
        Some(name) if args.is_new && args.yes => {
            let mut figures = Vec::new();
            with_run(global, &db, name, role.name(), async |context| {
                figures = replace::is_new(&context, role, name).await?;
                Ok(Exit::Done)
            })
            .await?;
            show(global, &db, role, name, &figures, "set aside").await
        }
        Some(name) if args.is_new => {
            let figures = replace::holds(&**db.client().await?, role, name).await?;
            let exit = show(global, &db, role, name, &figures, "nothing done yet").await?;
            global.printer.note(consequence(role));
            global.printer.note("nothing has been done; add --yes to do it");
            Ok(exit)
        }
        Some(name) => {
            let figures = replace::holds(&**db.client().await?, role, name).await?;
            show(global, &db, role, name, &figures, "nothing done yet").await
        }
    })
    .await
}

/// What a person should know before they say `--yes`.
fn consequence(role: Role) -> &'static str {
    match role {
        Role::Account => {
            "the ledger of the old account is kept under another name; the next load into the new one is a first load and \
             sends everything, purchases included. What people withdrew at the old account alone is known there alone: take \
             it over to the new account first"
        }
        Role::Connection => {
            "all that the old shop said is marked as deleted and leaves the canonical tables; no target is told, its cards and \
             purchases stay as they are. The next run reads the new shop from the beginning, and what is sent then is a first \
             load: no automations. What people said about consent stays"
        }
    }
}

async fn list(global: &Global, db: &Database, role: Role) -> Result<Exit> {
    let client = db.client().await?;
    let rows = client.query("select name from ops.tenants where role = $1 order by name", &[&role.name()]).await?;
    let mut all = Vec::new();
    for row in rows {
        let name: String = row.try_get(0)?;
        if let Some(known) = tenant::known(&**client, role, &name).await? {
            say(global, role, &name, &known);
            all.push(document(role, &name, &known));
        }
    }
    if all.is_empty() {
        global.printer.line(format_args!("no {role} has been used in this database yet"));
    }
    global.printer.document(&all)?;
    Ok(Exit::Done)
}

async fn show(
    global: &Global,
    db: &Database,
    role: Role,
    name: &str,
    figures: &[Figure],
    done: &'static str,
) -> Result<Exit> {
    let known = tenant::known(&**db.client().await?, role, name).await?.ok_or_else(|| {
        Error::new(Kind::Command, format!("no {role} called {name} has been used in this database"))
            .hint(format!("`wharf db {role}` lists those that were"))
    })?;
    say(global, role, name, &known);
    for Figure { what, n } in figures {
        global.printer.line(format_args!("{n:>12}  {what}"));
    }
    let mut document = document(role, name, &known);
    document["done"] = json!(done);
    document["figures"] = json!(figures);
    global.printer.document(&document)?;
    Ok(Exit::Done)
}

fn say(global: &Global, role: Role, name: &str, known: &Known) {
    global.printer.line(format_args!("{role} {name}: {}, since {}", known.tenant, known.since));
    if let Some((other, at)) = &known.other {
        global.printer.line(format_args!("  refused at {at}: {other}"));
    }
}

fn document(role: Role, name: &str, known: &Known) -> Value {
    let other = known.other.as_ref().map(|(other, at)| json!({ "tenant": other, "at": at }));
    json!({ "role": role.name(), "name": name, "tenant": known.tenant, "since": known.since, "refused": other })
}
