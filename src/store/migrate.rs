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
    if is_current(known, &applied(client).await?)? {
        return Ok(());
    }
    runner().run_async(client).await.map_err(explain)?;
    Ok(())
}

fn runner() -> Runner {
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name(TABLE);
    runner
}

async fn applied(client: &mut Client) -> Result<Vec<Migration>> {
    let exists: bool = client.query_one("select to_regclass($1) is not null", &[&TABLE]).await?.get(0);
    if !exists {
        return Ok(Vec::new());
    }
    runner().get_applied_migrations_async(client).await.map_err(explain)
}

/// Whether nothing is left to apply.
fn is_current(known: &[Migration], applied: &[Migration]) -> Result<bool> {
    let newest_known = known.last().map_or(0, Migration::version);
    if let Some(unknown) = applied.iter().find(|a| known.iter().all(|k| k.version() != a.version())) {
        return Err(Error::new(
            Kind::DatabaseNewer,
            format!(
                "the database was written by a newer wharf: it has schema version {}, this program knows versions up to {newest_known}",
                unknown.version()
            ),
        )
        .hint("install the newer wharf, or use another database; nothing has been changed"));
    }
    for migration in applied {
        if !known.contains(migration) {
            return Err(Error::new(
                Kind::Database,
                format!("the database was made by another build of wharf: its migration {migration} has another text"),
            )
            .hint("use the wharf that made this database, or a fresh database"));
        }
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

    #[test]
    fn a_version_that_the_program_does_not_know_is_refused_as_newer() {
        let known = [migration("V1__one", "select 1")];
        let applied = [migration("V1__one", "select 1"), migration("V2__two", "select 2")];
        let error = is_current(&known, &applied).unwrap_err();
        assert_eq!(error.kind(), Kind::DatabaseNewer);
        assert!(error.detail().contains("schema version 2"), "{error}");
    }

    #[test]
    fn a_migration_applied_with_another_text_is_refused() {
        let error = is_current(&[migration("V1__one", "select 1")], &[migration("V1__one", "select 2")]).unwrap_err();
        assert_eq!(error.kind(), Kind::Database);
    }

    #[test]
    fn a_database_behind_the_program_is_to_be_migrated() {
        let known = [migration("V1__one", "select 1"), migration("V2__two", "select 2")];
        assert!(!is_current(&known, &known[..1]).unwrap());
        assert!(is_current(&known, &known).unwrap());
    }

    #[test]
    fn migrations_are_numbered_without_gaps() {
        let versions: Vec<_> = known().iter().map(Migration::version).collect();
        assert_eq!(versions.first(), Some(&1));
        assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "{versions:?}");
    }
}
