//! Migrations: the schemas are brought up to this program at every start, and a database of a newer program is refused.
//!
//! Most starts find nothing to do and take no lock. Where there is something to do, an advisory lock lets one of several
//! starting processes do it while the others wait.

use crate::{Error, Kind, Result};
use refinery::{Migration, Runner};
use tokio_postgres::Client;

/// The table in which refinery notes what has been applied.
pub const TABLE: &str = "public.wharf_migrations";

/// Key of the advisory lock that guards migrating; any number that nobody else uses.
const LOCK: i64 = 0x5768_6172_665f_6d69;

// The macro brings a function without documentation.
#[allow(missing_docs)]
mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The migrations that are part of this program, oldest first.
pub fn known() -> Vec<Migration> {
    let mut migrations = embedded::migrations::runner().get_migrations().clone();
    migrations.sort();
    migrations
}

/// Brings the database up to this program.
///
/// # Errors
/// [`Kind::DatabaseNewer`] if it holds a migration that this program does not know; nothing is changed then.
/// [`Kind::Database`] if a migration was applied with another text, or fails.
pub async fn migrate(client: &mut Client) -> Result<()> {
    let known = known();
    if is_current(&known, &applied(client).await?)? {
        return Ok(());
    }
    client.execute("select pg_advisory_lock($1)", &[&LOCK]).await?;
    let result = migrate_locked(client, &known).await;
    // On a broken connection the lock is gone with it; the first error is the one worth telling.
    let unlocked = client.execute("select pg_advisory_unlock($1)", &[&LOCK]).await;
    result?;
    unlocked?;
    Ok(())
}

async fn migrate_locked(client: &mut Client, known: &[Migration]) -> Result<()> {
    // Another process may have migrated while this one waited for the lock.
    let applied = applied(client).await?;
    if is_current(known, &applied)? {
        return Ok(());
    }
    refuse_foreign(client, known, &applied).await?;
    runner().run_async(client).await.map_err(explain)?;
    Ok(())
}

fn runner() -> Runner {
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name(TABLE);
    runner
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    version: i32,
    name: String,
    checksum: u64,
}

impl From<&Migration> for Applied {
    fn from(migration: &Migration) -> Self {
        Self { version: migration.version(), name: migration.name().to_owned(), checksum: migration.checksum() }
    }
}

/// What the table says. refinery panics on a row that it did not write, so the rows are read here.
async fn applied(client: &Client) -> Result<Vec<Applied>> {
    let exists: bool = client.query_one("select to_regclass($1) is not null", &[&TABLE]).await?.get(0);
    if !exists {
        return Ok(Vec::new());
    }
    let statement =
        format!("select version::text, name::text, applied_on::text, checksum::text from {TABLE} order by version");
    let rows = client.query(&statement, &[]).await?;
    rows.iter().map(|row| read_row([row.get(0), row.get(1), row.get(2), row.get(3)])).collect()
}

fn read_row([version, name, applied_on, checksum]: [Option<&str>; 4]) -> Result<Applied> {
    let wrong = |column: &str| {
        let version = version.unwrap_or("without a number");
        Error::new(Kind::Database, format!("{TABLE} has a row that wharf did not write: {column} of version {version}"))
            .hint("somebody changed the table by hand: put the row back as a backup has it; nothing has been changed")
    };
    Ok(Applied {
        version: version.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("version"))?,
        name: applied_on
            .filter(|text| is_refinerys_time(text))
            .ok_or_else(|| wrong("applied_on"))
            .and_then(|_| name.map(str::to_owned).ok_or_else(|| wrong("name")))?,
        checksum: checksum.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("checksum"))?,
    })
}

/// Whether a text is a time as refinery writes it, `2026-01-31T12:30:00.123456789Z`: it panics on others.
fn is_refinerys_time(text: &str) -> bool {
    let shape = b"0000-00-00T00:00:00";
    let fits = |(found, wanted): (u8, &u8)| if *wanted == b'0' { found.is_ascii_digit() } else { found == *wanted };
    let (date, rest) = text.split_at_checked(shape.len()).unwrap_or_default();
    let fraction = rest.strip_suffix('Z').map(|rest| rest.strip_prefix('.').map_or(rest.is_empty(), is_digits));
    date.len() == shape.len()
        && date.bytes().zip(shape).all(fits)
        && !date.ends_with(":60")
        && fraction == Some(true)
        && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Refuses a database in which something else uses the names of schemas that are still to be made, before anything is made.
async fn refuse_foreign(client: &Client, known: &[Migration], applied: &[Applied]) -> Result<()> {
    let pending = known.iter().filter(|known| applied.iter().all(|applied| applied.version != known.version()));
    let schemas: Vec<&str> = pending.filter_map(Migration::sql).flat_map(created_schemas).collect();
    let statement = "select nspname::text from pg_namespace where nspname = any($1) order by nspname";
    let foreign: Vec<String> = client.query(statement, &[&schemas]).await?.iter().map(|row| row.get(0)).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Command,
        format!("the database holds something else under names that wharf needs: schema {}", foreign.join(", schema ")),
    )
    .hint("give wharf a database of its own (create database wharf), or rename the schema; nothing has been changed"))
}

/// As [`migrate`] does before it makes anything: for who wants to empty a database that Wharf has not been in.
///
/// # Errors
/// [`Kind::Command`] if something else uses the names of Wharf's schemas.
pub async fn refuse_foreign_schemas(client: &Client) -> Result<()> {
    refuse_foreign(client, &known(), &applied(client).await?).await
}

fn created_schemas(migration: &str) -> impl Iterator<Item = &str> {
    migration.lines().filter_map(|line| line.strip_prefix("create schema ")?.strip_suffix(';'))
}

/// Whether nothing is left to apply.
fn is_current(known: &[Migration], applied: &[Applied]) -> Result<bool> {
    let newest_known = known.last().map_or(0, Migration::version);
    if let Some(unknown) = applied.iter().find(|a| known.iter().all(|k| k.version() != a.version)) {
        return Err(Error::new(
            Kind::DatabaseNewer,
            format!(
                "the database was written by a newer wharf: it has schema version {}, this program knows versions up to {newest_known}",
                unknown.version
            ),
        )
        .hint("install the newer wharf, or use another database; nothing has been changed"));
    }
    let other = applied.iter().find(|a| known.iter().all(|k| Applied::from(k) != **a));
    if let Some(Applied { version, name, .. }) = other {
        return Err(Error::new(
            Kind::Database,
            format!(
                "the database was made by another build of wharf: its migration V{version}__{name} has another text"
            ),
        )
        .hint("use the wharf that made this database, or a fresh database"));
    }
    Ok(applied.len() == known.len())
}

fn explain(error: refinery::Error) -> Error {
    let cause = match error.kind() {
        refinery::error::Kind::Connection(what, source) => match source.downcast_ref::<tokio_postgres::Error>() {
            Some(postgres) => match postgres.as_db_error() {
                Some(db) => format!("{what}: {} ({})", db.message(), db.code().code()),
                None => format!("{what}: {postgres}"),
            },
            None => what.clone(),
        },
        other => other.to_string(),
    };
    Error::new(Kind::Database, format!("the database could not be brought up to this program: {cause}"))
        .hint("the role needs the right to create schemas in this database and tables in its schema public")
        .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(name: &str, sql: &str) -> Migration {
        Migration::unapplied(name, sql).unwrap()
    }

    fn rows(migrations: &[Migration]) -> Vec<Applied> {
        migrations.iter().map(Applied::from).collect()
    }

    #[test]
    fn a_version_that_the_program_does_not_know_is_refused_as_newer() {
        let known = [migration("V1__one", "select 1")];
        let applied = [migration("V1__one", "select 1"), migration("V2__two", "select 2")];
        let error = is_current(&known, &rows(&applied)).unwrap_err();
        assert_eq!(error.kind(), Kind::DatabaseNewer);
        assert!(error.detail().contains("schema version 2"), "{error}");
    }

    #[test]
    fn a_migration_applied_with_another_text_is_refused() {
        let error =
            is_current(&[migration("V1__one", "select 1")], &rows(&[migration("V1__one", "select 2")])).unwrap_err();
        assert_eq!(error.kind(), Kind::Database);
    }

    #[test]
    fn a_database_behind_the_program_is_to_be_migrated() {
        let known = [migration("V1__one", "select 1"), migration("V2__two", "select 2")];
        assert!(!is_current(&known, &rows(&known[..1])).unwrap());
        assert!(is_current(&known, &rows(&known)).unwrap());
    }

    #[test]
    fn a_row_that_refinery_would_panic_on_is_an_error() {
        let good = [Some("7"), Some("feed"), Some("2026-01-31T12:30:00.123456789Z"), Some("18446744073709551615")];
        assert_eq!(read_row(good).unwrap().checksum, u64::MAX);
        let with = |column: usize, value| {
            let mut row = good;
            row[column] = value;
            row
        };
        for time in ["", "yesterday", "2026-02-30T12:30:00Z", "2026-01-31 12:30:00Z", "2026-01-31T12:30:60Z"] {
            let error = read_row(with(2, Some(time))).unwrap_err();
            assert!(error.detail().ends_with("applied_on of version 7"), "{time}: {error}");
        }
        for row in
            [with(1, None), with(2, None), with(3, None), with(3, Some("18446744073709551616")), with(0, Some("x"))]
        {
            assert_eq!(read_row(row).unwrap_err().kind(), Kind::Database);
        }
        assert!(read_row(with(2, Some("2026-01-31T12:30:00Z"))).is_ok());
    }

    #[test]
    fn the_schemas_that_migrations_make_are_known() {
        let known = known();
        let mut schemas: Vec<_> = known.iter().filter_map(Migration::sql).flat_map(created_schemas).collect();
        schemas.sort_unstable();
        for schema in ["canonical", "delivery", "marts", "ops", "staging"] {
            assert!(schemas.contains(&schema), "{schemas:?}");
        }
        let made: usize = known.iter().filter_map(Migration::sql).map(|sql| sql.matches("create schema").count()).sum();
        assert_eq!(schemas.len(), made, "a schema is made in another form");
    }

    #[test]
    fn migrations_are_numbered_without_gaps() {
        let versions: Vec<_> = known().iter().map(Migration::version).collect();
        assert_eq!(versions.first(), Some(&1));
        assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "{versions:?}");
    }
}
