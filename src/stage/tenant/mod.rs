//! Whether the shop or the account behind a name is the one that all which is known by that name speaks of.
//!
//! Asked before anything is read from a shop or sent to an account. Wrong answers avoided here: "nothing to send" into an
//! empty account, because the ledger speaks of another one; orders of a new shop taken for those of the old one, because
//! their keys are the same; refusing a shop whose key was changed, although it tells who it is.
//!
//! Who is refused is noted beside whom the name belongs to, so that a person's word ([`replace`]) is about a shop or an
//! account that was seen, and not about whoever runs next.

pub mod replace;

use crate::config::pipeline::{Account, Connection};
use crate::source::Source;
use crate::store::Database;
use crate::target::Target;
use crate::tenant::{self, Seen, Tenant};
use crate::{Error, Kind, Result, sql};
use serde_json::json;
use std::fmt;
use tokio_postgres::GenericClient;

/// What a name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A shop.
    Connection,
    /// A target account.
    Account,
}

impl Role {
    /// As `ops.tenants.role`, and as people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Account => "account",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who is known to be behind a name.
#[derive(Debug, Clone)]
pub struct Known {
    /// Whom the name belongs to.
    pub tenant: Seen,
    /// Since when, UTC.
    pub since: String,
    /// Who was refused since, and when, UTC.
    pub other: Option<(Seen, String)>,
}

/// Refuses a shop that is another one than before; notes one that is seen for the first time.
///
/// # Errors
/// [`Kind::Tenant`]; what the platform answers; those of the database.
pub async fn of_connection(db: &Database, connection: &Connection, source: &dyn Source) -> Result<()> {
    let seen = sight(db, &connection.platform, &connection.base_url, source.tenant().await?).await?;
    // A shop of another platform is refused with other words when it is registered.
    let is_other_platform = known(&**db.client().await?, Role::Connection, &connection.connection)
        .await?
        .is_some_and(|known| known.tenant.platform != seen.platform);
    if is_other_platform {
        return Ok(());
    }
    decide(db, Role::Connection, &connection.connection, &seen, true).await
}

/// Refuses an account that is another one than before, and with `is_load` notes one that is seen for the first time.
///
/// # Errors
/// As [`of_connection`].
pub async fn of_account(db: &Database, account: &Account, target: &dyn Target, is_load: bool) -> Result<()> {
    let seen = sight(db, &account.platform, &account.base_url, target.tenant().await?).await?;
    decide(db, Role::Account, &account.account, &seen, is_load).await
}

/// As [`of_connection`] and [`of_account`], for people: says who it is and writes nothing.
///
/// # Errors
/// As [`of_connection`].
pub async fn look(
    db: Option<&Database>,
    role: Role,
    name: &str,
    (platform, base_url): (&str, &str),
    tenant: Tenant,
) -> Result<String> {
    let Some(db) = db else {
        let told = tenant.told.map(|told| format!("{told} ")).unwrap_or_default();
        return Ok(format!("{platform} {told}at {}", tenant::address(base_url)));
    };
    let seen = sight(db, platform, base_url, tenant).await?;
    // A database that no run of this version has migrated yet.
    let is_kept: bool =
        db.client().await?.query_one("select to_regclass('ops.tenants') is not null", &[]).await?.try_get(0)?;
    if !is_kept {
        return Ok(format!("{seen}, for the first time"));
    }
    match known(&**db.client().await?, role, name).await? {
        Some(known) if !seen.is(&known.tenant) => Err(refuse(db, role, name, &known.tenant, &seen).await?),
        Some(known) => Ok(format!("{seen}, as since {}", known.since)),
        None => Ok(format!("{seen}, for the first time")),
    }
}

/// Who is known to be behind a name; nobody where it was never used.
///
/// # Errors
/// Those of the database.
pub async fn known(client: &impl GenericClient, role: Role, name: &str) -> Result<Option<Known>> {
    let Some(row) = client.query_opt(sql::file("store/tenant/known.sql")?, &[&role.name(), &name]).await? else {
        return Ok(None);
    };
    let other: Option<serde_json::Value> = row.try_get("other")?;
    let other = other.and_then(|other| serde_json::from_value(other).ok());
    let other_at: Option<String> = row.try_get("other_at")?;
    Ok(Some(Known {
        tenant: Seen {
            platform: row.try_get("platform")?,
            told: row.try_get("told")?,
            address: row.try_get("address")?,
            credential: row.try_get("credential")?,
        },
        since: row.try_get("seen_at")?,
        other: other.zip(other_at),
    }))
}

/// Whom a name belongs to from now on; with `is_decided` a person has said so.
async fn note(client: &impl GenericClient, role: Role, name: &str, seen: &Seen, is_decided: bool) -> Result<()> {
    let statement = sql::file("store/tenant/note.sql")?;
    client
        .execute(
            statement,
            &[&role.name(), &name, &seen.platform, &seen.told, &seen.address, &seen.credential, &is_decided],
        )
        .await?;
    Ok(())
}

async fn sight(db: &Database, platform: &str, base_url: &str, tenant: Tenant) -> Result<Seen> {
    let salt = "select value from ops.settings where name = 'identity_salt'";
    let salt: String = db.client().await?.query_one(salt, &[]).await?.try_get(0)?;
    Ok(Seen {
        platform: platform.to_owned(),
        told: tenant.told,
        address: tenant::address(base_url),
        credential: tenant.credential.mark(&salt, platform),
    })
}

async fn decide(db: &Database, role: Role, name: &str, seen: &Seen, is_noted: bool) -> Result<()> {
    let client = db.client().await?;
    let known = match known(&**client, role, name).await? {
        None if is_noted => return note(&**client, role, name, seen, false).await,
        None => return Ok(()),
        Some(known) => known,
    };
    if seen.is(&known.tenant) {
        // What it no longer tells it has told before.
        let is_changed =
            *seen != Seen { told: seen.told.clone().or(known.tenant.told.clone()), ..known.tenant.clone() };
        if is_noted && is_changed {
            note(&**client, role, name, seen, false).await?;
        }
        return Ok(());
    }
    drop(client);
    Err(refuse(db, role, name, &known.tenant, seen).await?)
}

/// Notes who was refused; the refusal.
async fn refuse(db: &Database, role: Role, name: &str, known: &Seen, seen: &Seen) -> Result<Error> {
    let statement = "update ops.tenants set other = $3, other_at = now() where role = $1 and name = $2";
    db.client().await?.execute(statement, &[&role.name(), &name, &json!(seen)]).await?;
    let what = match role {
        Role::Connection => "shop",
        Role::Account => "account",
    };
    Ok(Error::new(
        Kind::Tenant,
        format!("{role} {name} has another {what} behind it than before: {seen}; what is known of {name} is about {known}"),
    )
    .hint(format!(
        "give the new {what} a name of its own in the pipeline file; or, if it takes the old one's place: `wharf db {role} \
         {name} --is-new` says what would be set aside; if it is the same {what}, moved or with new credentials: `wharf db \
         {role} {name} --has-moved`"
    )))
}
