//! Keys on which a complete walk and staging do not agree (`ops.doubtful_keys`): what one holds and the other does not.
//!
//! Neither is believed. A record that a list leaves out is asked for by key, or a second walk must miss it as well, before
//! it is marked deleted; one that a list holds and that has not landed is fetched by key. The table is an ordinary one, so
//! that a suspicion outlives a crash, and holds what is in doubt alone.
//!
//! The wrong answer avoided here: marking deleted what a walk has not seen. While pages are read one after the other, rows
//! move between them, and a living row can be on none.

use crate::store::staging::statement;
use crate::{Result, sql};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, Transaction};

/// The keys in doubt of one stream, on behalf of one run.
#[derive(Debug, Clone)]
pub struct Doubts {
    connection: String,
    stream: String,
    table: String,
    run_id: i64,
    /// How many complete walks in a row must miss a record to prove that it is gone.
    walks: i32,
}

/// One key in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The parent in whose list it is asked for; empty where the stream has none.
    pub parent: String,
    /// The key.
    pub key: String,
    /// Whether it is on the list and has not landed; else it has landed and is not on the list.
    pub listed: bool,
}

/// What has become of the records that a walk has not seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Proven to be gone.
    pub gone: u64,
    /// In doubt.
    pub doubtful: u64,
}

impl Doubts {
    /// For one stream of a connection; `table` is its table in schema `staging`. `walks`: how many complete walks in a row
    /// must miss a record to prove that it is gone; none where only asking for it proves that.
    pub fn new(connection: &str, stream: &str, table: &str, run_id: i64, walks: Option<i32>) -> Self {
        Self {
            connection: connection.to_owned(),
            stream: stream.to_owned(),
            table: table.to_owned(),
            run_id,
            walks: walks.unwrap_or(i32::MAX),
        }
    }

    /// Whether there are any.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn any(&self, client: &impl GenericClient) -> Result<bool> {
        let statement = "select exists (select from ops.doubtful_keys where connection = $1 and stream = $2)";
        Ok(client.query_typed_one(statement, &self.stream_parameters()).await?.try_get(0)?)
    }

    /// Forgets all of them.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn clear(&self, tx: &Transaction<'_>) -> Result<()> {
        let statement = "delete from ops.doubtful_keys where connection = $1 and stream = $2";
        tx.execute_typed(statement, &self.stream_parameters()).await?;
        Ok(())
    }

    /// Notes what staging holds and the walk has not seen: of one parent's list, or of the whole one. What an earlier walk
    /// had missed and this one has seen is in doubt no more. Gives how many.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn note_unseen(&self, tx: &Transaction<'_>, parent: Option<&str>) -> Result<u64> {
        let [connection, stream] = self.stream_parameters();
        tx.execute_typed(sql::file("staging/forget_seen_doubts.sql")?, &[connection.clone(), stream.clone()]).await?;
        let parameters = [connection, stream, (&parent as &(dyn ToSql + Sync), Type::TEXT)];
        Ok(tx.execute_typed(&statement("doubt_unseen", &self.table)?, &parameters).await?)
    }

    /// Notes what the walk has seen and staging does not hold. Gives how many.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn note_unlanded(&self, tx: &Transaction<'_>) -> Result<u64> {
        Ok(tx.execute_typed(&statement("doubt_unlanded", &self.table)?, &self.stream_parameters()).await?)
    }

    /// The next keys that the platform has not been asked for yet, at most so many, behind `after`.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn next(&self, client: &impl GenericClient, after: Option<&Doubt>, at_most: usize) -> Result<Vec<Doubt>> {
        let (parent, key) = after.map_or(("", ""), |doubt| (doubt.parent.as_str(), doubt.key.as_str()));
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let [connection, stream] = self.stream_parameters();
        let parameters = [
            connection,
            stream,
            (&parent as &(dyn ToSql + Sync), Type::TEXT),
            (&key, Type::TEXT),
            (&at_most, Type::INT8),
        ];
        let rows = client.query_typed(sql::file("staging/next_doubts.sql")?, &parameters).await?;
        rows.iter()
            .map(|row| Ok(Doubt { parent: row.try_get(0)?, key: row.try_get(1)?, listed: row.try_get(2)? }))
            .collect()
    }

    /// Notes that the platform was asked for these keys and did not give them.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn note_asked(&self, tx: &Transaction<'_>, keys: &[&str]) -> Result<()> {
        self.of_keys(tx, "staging/note_asked.sql", keys).await
    }

    /// Forgets these: they are in doubt no more.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn forget(&self, tx: &Transaction<'_>, keys: &[&str]) -> Result<()> {
        self.of_keys(tx, "staging/forget_doubts.sql", keys).await
    }

    /// How many records are proven gone, and how many are in doubt.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn missing(&self, tx: &Transaction<'_>) -> Result<Missing> {
        let row = tx.query_typed_one(&statement("gone", &self.table)?, &self.proof_parameters()).await?;
        let (gone, doubtful): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Missing { gone: gone.unsigned_abs(), doubtful: doubtful.unsigned_abs() })
    }

    /// Marks what is proven gone as deleted. Gives how many rows.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn mark_gone(&self, tx: &Transaction<'_>) -> Result<u64> {
        let [connection, stream, walks] = self.proof_parameters();
        let parameters = [connection, stream, walks, (&self.run_id as &(dyn ToSql + Sync), Type::INT8)];
        Ok(tx.execute_typed(&statement("mark_gone", &self.table)?, &parameters).await?)
    }

    /// Forgets what the walk that ends has settled; what only it has missed waits for the next.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn forget_settled(&self, tx: &Transaction<'_>) -> Result<()> {
        tx.execute_typed(sql::file("staging/forget_settled_doubts.sql")?, &self.proof_parameters()).await?;
        Ok(())
    }

    async fn of_keys(&self, tx: &Transaction<'_>, file: &str, keys: &[&str]) -> Result<()> {
        if !keys.is_empty() {
            let [connection, stream] = self.stream_parameters();
            let parameters = [connection, stream, (&keys as &(dyn ToSql + Sync), Type::TEXT_ARRAY)];
            tx.execute_typed(sql::file(file)?, &parameters).await?;
        }
        Ok(())
    }

    fn stream_parameters(&self) -> [(&(dyn ToSql + Sync), Type); 2] {
        [(&self.connection, Type::TEXT), (&self.stream, Type::TEXT)]
    }

    fn proof_parameters(&self) -> [(&(dyn ToSql + Sync), Type); 3] {
        [(&self.connection, Type::TEXT), (&self.stream, Type::TEXT), (&self.walks, Type::INT4)]
    }
}
