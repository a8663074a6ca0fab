//! A person's word about who is behind a name: the same one at another address or with other credentials, or a new one.
//!
//! A new account begins with an empty ledger: what was sent to the old one is kept under another name, so the next load is
//! a first load. A new shop begins with empty lists: what the old one said is taken for gone, out of canonical too, in one
//! transaction with the ledger's part of it, and no target hears of it. Every lease under which these rows are written is
//! held meanwhile.

use super::{Role, known, note};
use crate::stage::Context;
use crate::stage::transform::{self, TransformReport};
use crate::store::Lease;
use crate::tenant::Seen;
use crate::{Error, Kind, Result, sql};
use serde::Serialize;
use serde_json::json;
use tokio_postgres::{Client, GenericClient};

/// How much of something there was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// What.
    pub what: String,
    /// How much.
    pub n: i64,
}

/// What `is_new` would set aside or take for gone.
///
/// # Errors
/// Those of the database.
pub async fn holds(client: &Client, role: Role, name: &str) -> Result<Vec<Figure>> {
    let file = match role {
        Role::Account => "store/tenant/account_holds.sql",
        Role::Connection => "store/tenant/connection_holds.sql",
    };
    figures(client, sql::file(file)?, name).await
}

async fn figures(client: &impl GenericClient, statement: &str, name: &str) -> Result<Vec<Figure>> {
    let rows = client.query(statement, &[&name]).await?;
    rows.iter().map(|row| Ok(Figure { what: row.try_get(0)?, n: row.try_get(1)? })).collect()
}

/// The name belongs to who was refused last: it is the same one.
///
/// # Errors
/// [`Kind::LeaseHeld`]; [`Kind::Command`] for an unknown name, and where nobody was refused; those of the database.
pub async fn has_moved(ctx: &Context, role: Role, name: &str) -> Result<()> {
    let leases = leases(ctx, role, name).await?;
    let client = ctx.db.client().await?;
    let other = the_other(&**client, role, name).await?;
    note(&**client, role, name, &other, true).await?;
    release(leases).await
}

/// The name belongs to who was refused last, and it is a new one.
///
/// # Errors
/// As [`has_moved`]; those of the transform.
pub async fn is_new(ctx: &Context, role: Role, name: &str) -> Result<Vec<Figure>> {
    let leases = leases(ctx, role, name).await?;
    let done = match role {
        Role::Account => new_account(ctx, name, &leases).await,
        Role::Connection => new_connection(ctx, name, &leases).await,
    };
    release(leases).await?;
    done
}

async fn new_account(ctx: &Context, name: &str, leases: &[Lease]) -> Result<Vec<Figure>> {
    // A step of a load: archives look at the ledger again where one was at work.
    let step = ctx.run.step("load", &format!("{name} is new")).await?;
    let mut client = ctx.db.dedicated().await?;
    let tx = client.transaction().await?;
    for lease in leases {
        lease.assert(&tx).await?;
    }
    let other = the_other(&tx, Role::Account, name).await?;
    let rows = tx
        .query("select what, n from delivery.set_aside_account($1, $2)", &[&name, &format!("{name}{}", suffix(ctx))])
        .await?;
    let figures: Vec<Figure> =
        rows.iter().map(|row| Ok(Figure { what: row.try_get(0)?, n: row.try_get(1)? })).collect::<Result<_>>()?;
    note(&tx, Role::Account, name, &other, true).await?;
    tx.commit().await?;
    step.finish(json!(figures)).await?;
    Ok(figures)
}

async fn new_connection(ctx: &Context, name: &str, leases: &[Lease]) -> Result<Vec<Figure>> {
    ctx.run.will_extract(&[name]).await?;
    let mut figures = Vec::new();
    let set_aside = async |tx: &tokio_postgres::Transaction<'_>| {
        for lease in leases {
            lease.assert(tx).await?;
        }
        let other = the_other(tx, Role::Connection, name).await?;
        let statement = "select what, n from ops.set_aside_connection($1, $2, $3)";
        for row in tx.query(statement, &[&name, &suffix(ctx), &ctx.run.id]).await? {
            figures.push(Figure { what: row.try_get(0)?, n: row.try_get(1)? });
        }
        note(tx, Role::Connection, name, &other, true).await
    };
    let TransformReport { entities, .. } = transform::run_after(ctx, name, set_aside).await?;
    figures.extend(
        entities
            .into_iter()
            .filter(|counts| counts.deleted > 0)
            .map(|counts| Figure { what: format!("rows of canonical.{} deleted", counts.entity), n: counts.deleted }),
    );
    // A step of a load: archives look at the ledger again where one was at work.
    ctx.run.step("load", &format!("{name} is new")).await?.finish(json!(figures)).await?;
    Ok(figures)
}

/// What the set-aside ledger's account is called besides its name.
fn suffix(ctx: &Context) -> String {
    format!(" until {}", ctx.run.now().strftime("%Y-%m-%dT%H:%M:%SZ"))
}

/// Who was refused last.
async fn the_other(client: &impl GenericClient, role: Role, name: &str) -> Result<Seen> {
    let known = known(client, role, name).await?.ok_or_else(|| {
        Error::new(Kind::Command, format!("no {role} called {name} has been used in this database"))
            .hint(format!("`wharf db {role}` lists those that were"))
    })?;
    known.other.map(|(other, _)| other).ok_or_else(|| {
        Error::new(Kind::Command, format!("nobody else has been seen behind {name} than {}", known.tenant)).hint(
            "run `wharf check` on the pipeline file with the new address or credentials first: the decision is about who \
             answers there",
        )
    })
}

/// Everything under which rows of the name are written. Of a shop, its records, the ledgers of all accounts and what waits
/// for them; the transform takes its own lease.
async fn leases(ctx: &Context, role: Role, name: &str) -> Result<Vec<Lease>> {
    let client = ctx.db.client().await?;
    let rows = client
        .query(
            "select target, pipeline from delivery.consumers where $1 or target = $2 order by target, pipeline",
            &[&(role == Role::Connection), &name],
        )
        .await?;
    drop(client);
    let mut names = Vec::new();
    if role == Role::Connection {
        names.push(format!("extract:{name}"));
    }
    let mut targets = vec![];
    for row in &rows {
        let (target, pipeline): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        names.push(format!("load:{target}/{pipeline}"));
        targets.push(target);
    }
    if role == Role::Account {
        targets.push(name.to_owned());
    }
    targets.dedup();
    names.extend(targets.iter().map(|target| format!("target:{target}")));
    let mut leases = Vec::new();
    for name in names {
        leases.push(Lease::take(&ctx.db, &ctx.run, &name).await?);
    }
    Ok(leases)
}

async fn release(leases: Vec<Lease>) -> Result<()> {
    for lease in leases {
        lease.release().await?;
    }
    Ok(())
}
