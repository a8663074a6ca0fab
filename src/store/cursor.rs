//! How far each stream has been read: `ops.cursors`.
//!
//! A cursor is saved in the transaction that stores the records it speaks of, under the connection's lease; so it is read
//! once and then written whole.

use crate::{Result, sql};
use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, Transaction};

/// How far one stream of a connection has been read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cursor {
    /// Newest source change that has landed in complete walks.
    pub watermark: Option<Timestamp>,
    /// The walk in progress, as the extract stage writes it.
    pub walk: Option<Value>,
    /// When the last complete walk through everything began.
    pub full_at: Option<Timestamp>,
    /// When the last re-read of recent records began.
    pub reread_at: Option<Timestamp>,
    /// When the keys were last compared to find deletions.
    pub compared_at: Option<Timestamp>,
    /// For lists that hang on other records: the run up to whose changes the parents' lists have been walked.
    pub parents_run: Option<i64>,
    /// What the last complete walk left behind for the next one; opaque to all but the source.
    pub bookmark: Option<Value>,
}

impl Cursor {
    /// Reads the cursor of a stream; that of a stream never read is empty.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn load(client: &impl GenericClient, connection: &str, stream: &str) -> Result<Self> {
        let row = client.query_opt(sql::file("staging/load_cursor.sql")?, &[&connection, &stream]).await?;
        let Some(row) = row else {
            return Ok(Self::default());
        };
        Ok(Self {
            watermark: row.try_get("watermark")?,
            walk: row.try_get("walk")?,
            full_at: row.try_get("full_at")?,
            reread_at: row.try_get("reread_at")?,
            compared_at: row.try_get("compared_at")?,
            parents_run: row.try_get("parents_run")?,
            bookmark: row.try_get("bookmark")?,
        })
    }

    /// Writes the cursor of a stream.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn save(&self, tx: &Transaction<'_>, connection: &str, stream: &str) -> Result<()> {
        let parameters: [(&(dyn ToSql + Sync), Type); 9] = [
            (&connection, Type::TEXT),
            (&stream, Type::TEXT),
            (&self.watermark, Type::TIMESTAMPTZ),
            (&self.walk, Type::JSONB),
            (&self.full_at, Type::TIMESTAMPTZ),
            (&self.reread_at, Type::TIMESTAMPTZ),
            (&self.compared_at, Type::TIMESTAMPTZ),
            (&self.parents_run, Type::INT8),
            (&self.bookmark, Type::JSONB),
        ];
        tx.execute_typed(sql::file("staging/save_cursor.sql")?, &parameters).await?;
        Ok(())
    }
}
