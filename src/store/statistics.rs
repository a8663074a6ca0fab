//! The planner's statistics of a staging table that grows, kept so fresh that look-ups by key stay look-ups by key.
//!
//! A table that is filled for the first time has no statistics, and autovacuum comes a minute later: until then Postgres
//! takes a connection for one of two hundred, reads all its rows for every batch, and compares a walk's keys row by row
//! with them. So the columns that statements choose by are analyzed when the table has grown tenfold, and before all of it
//! is compared. Payloads are left out: nothing is chosen by them.

use crate::store::staging::quoted;
use crate::{Error, Result};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient};

/// Rows that are worth the first look.
const FIRST: u64 = 500;

/// Statistics of one stream's table during one walk.
#[derive(Debug)]
pub struct Statistics {
    table: String,
    /// How many rows were new when the statistics were last taken; `None` before that.
    taken_at: Option<u64>,
}

impl Statistics {
    /// Of a table in schema `staging`.
    pub fn new(table: &str) -> Self {
        Self { table: quoted(table), taken_at: None }
    }

    /// Takes statistics if the table has grown tenfold since the last time. `new`: rows new in this walk.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn follow(&mut self, client: &Client, new: u64) -> Result<()> {
        let due = self.taken_at.map_or(FIRST, |taken_at| taken_at.saturating_mul(10));
        if new < due {
            return Ok(());
        }
        self.taken_at = Some(new);
        self.take(client).await
    }

    /// Takes statistics at the end of a walk, or before all rows are compared, if much has landed since the last time.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn complete(&mut self, client: &Client, new: u64) -> Result<()> {
        if new < FIRST || self.taken_at.is_some_and(|taken_at| new < taken_at * 2) {
            return Ok(());
        }
        self.taken_at = Some(new);
        self.take(client).await
    }

    async fn take(&self, client: &Client) -> Result<()> {
        let columns = "connection, source_key, parent_key, run_id, deleted_at, source_updated_at";
        analyze(client, &format!("{} ({columns})", self.table)).await
    }
}

/// Takes statistics of what `target` names. Who may write a table may not always analyze it; then autovacuum has to do.
///
/// # Errors
/// Those of Postgres.
pub async fn analyze(client: &impl GenericClient, target: &str) -> Result<()> {
    match client.batch_execute(&format!("analyze {target}")).await {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(()),
        done => done.map_err(Error::from),
    }
}
