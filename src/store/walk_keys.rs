//! Finding deletions: the keys that a walk has seen (`ops.walk_keys`). What staging holds beyond them is in doubt, see
//! [`doubts`](super::doubts).
//!
//! The table is unlogged, so a crash of the server empties it. The walk therefore keeps the number of keys it has noted,
//! and a walk whose number differs begins again: comparing with half of the keys would delete the other half.

use crate::store::staging::{key_is_storable, quoted, statement};
use crate::{Result, sql};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, Transaction};

/// One stream's keys and its staging table, on behalf of one run.
#[derive(Debug, Clone)]
pub struct WalkKeys {
    connection: String,
    stream: String,
    table: String,
    run_id: i64,
}

impl WalkKeys {
    /// For one stream of a connection; `table` is its table in schema `staging`.
    pub fn new(connection: &str, stream: &str, table: &str, run_id: i64) -> Self {
        Self { connection: connection.to_owned(), stream: stream.to_owned(), table: table.to_owned(), run_id }
    }

    /// Forgets all keys.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn clear(&self, tx: &Transaction<'_>) -> Result<()> {
        let statement = "delete from ops.walk_keys where connection = $1 and stream = $2";
        tx.execute_typed(statement, &self.stream_parameters()).await?;
        Ok(())
    }

    /// Notes keys that the walk has seen. Gives how many were not noted before.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn note(&self, tx: &Transaction<'_>, keys: &[&str]) -> Result<u64> {
        let keys: Vec<&str> = keys.iter().copied().filter(|key| key_is_storable(key)).collect();
        if keys.is_empty() {
            return Ok(0);
        }
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.connection, Type::TEXT), (&self.stream, Type::TEXT), (&keys, Type::TEXT_ARRAY)];
        Ok(tx.execute_typed(sql::file("staging/note_keys.sql")?, &parameters).await?)
    }

    /// How many keys are noted.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn count(&self, client: &impl GenericClient) -> Result<u64> {
        let statement = "select count(*) from ops.walk_keys where connection = $1 and stream = $2";
        let row = client.query_one(statement, &[&self.connection, &self.stream]).await?;
        unsigned(&row, 0)
    }

    /// How many of these keys staging holds as it has since before the run `run_id`.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn known_before(&self, tx: &Transaction<'_>, keys: &[String], run_id: i64) -> Result<u64> {
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.connection, Type::TEXT), (&keys, Type::TEXT_ARRAY), (&run_id, Type::INT8)];
        let rows = tx.query_typed(&statement("known_before", &self.table)?, &parameters).await?;
        rows.first().map_or(Ok(0), |row| unsigned(row, 0))
    }

    /// How many rows of staging are not marked deleted.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn live(&self, client: &impl GenericClient) -> Result<u64> {
        let statement =
            format!("select count(*) from {} where connection = $1 and deleted_at is null", quoted(&self.table));
        unsigned(&client.query_one(&statement, &[&self.connection]).await?, 0)
    }

    /// Marks what hangs on parents that are gone, or have no such list any more, as deleted; of parents changed after run
    /// `since`. Gives how many rows.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn mark_orphans(&self, tx: &Transaction<'_>, parents: &str, condition: &str, since: i64) -> Result<u64> {
        let statement = statement("mark_orphans", &self.table)?
            .replace("staging.products", &quoted(parents))
            .replace("(true)", &format!("({condition})"));
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.connection, Type::TEXT), (&self.run_id, Type::INT8), (&since, Type::INT8)];
        Ok(tx.execute_typed(&statement, &parameters).await?)
    }

    fn stream_parameters(&self) -> [(&(dyn ToSql + Sync), Type); 2] {
        [(&self.connection, Type::TEXT), (&self.stream, Type::TEXT)]
    }
}

/// A count of Postgres, which knows no unsigned numbers.
fn unsigned(row: &tokio_postgres::Row, column: usize) -> Result<u64> {
    let count: i64 = row.try_get(column)?;
    Ok(count.unsigned_abs())
}
