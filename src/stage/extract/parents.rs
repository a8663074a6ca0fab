//! The parents of a list that exists once per record of another stream, in the order of their keys.

use crate::Result;
use crate::source::ParentSpec;
use crate::store::Database;
use crate::store::staging::quoted;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many keys are read at once.
const CHUNK: i64 = 1_000;

/// The keys of the parents to walk, read bit by bit.
pub struct Parents {
    db: Database,
    connection: String,
    from: String,
    changed_after: i64,
    keys: VecDeque<String>,
    last: Option<String>,
    at_end: bool,
}

impl Parents {
    /// Parents that have such a list and changed after a run; 0 for all.
    pub fn new(db: &Database, connection: &str, parent: &ParentSpec, changed_after: i64) -> Self {
        let from = format!(
            "from {} where connection = $1 and run_id > $2 and deleted_at is null and ({})",
            quoted(parent.table),
            parent.condition
        );
        Self {
            db: db.clone(),
            connection: connection.to_owned(),
            from,
            changed_after,
            keys: VecDeque::new(),
            last: None,
            at_end: false,
        }
    }

    /// Whether any parent changed after a run, deleted ones and those without such a list included.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn any_changed(db: &Database, connection: &str, parent: &ParentSpec, after: i64) -> Result<bool> {
        let statement =
            format!("select exists (select from {} where connection = $1 and run_id > $2)", quoted(parent.table));
        Ok(db.client().await?.query_one(&statement, &[&connection, &after]).await?.try_get(0)?)
    }

    /// How many there are from a key on.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn count(&self, from_key: Option<&str>) -> Result<u64> {
        let statement = format!("select count(*) {} and source_key >= $3", self.from);
        let first = from_key.unwrap_or_default();
        let row =
            self.db.client().await?.query_one(&statement, &[&self.connection, &self.changed_after, &first]).await?;
        let count: i64 = row.try_get(0)?;
        Ok(count.unsigned_abs())
    }

    /// The first parent from a key on, that key included.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn from(&mut self, key: Option<&str>) -> Result<Option<Arc<str>>> {
        match key {
            Some(key) => self.read(">=", key).await?,
            None => self.read(">=", "").await?,
        }
        Ok(self.take())
    }

    /// The parent after the one given last.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn next(&mut self) -> Result<Option<Arc<str>>> {
        if self.keys.is_empty() && !self.at_end {
            let last = self.last.clone().unwrap_or_default();
            self.read(">", &last).await?;
        }
        Ok(self.take())
    }

    fn take(&mut self) -> Option<Arc<str>> {
        let key = self.keys.pop_front()?;
        self.last = Some(key.clone());
        Some(key.into())
    }

    async fn read(&mut self, beyond: &str, key: &str) -> Result<()> {
        let statement =
            format!("select source_key {} and source_key {beyond} $3 order by source_key limit {CHUNK}", self.from);
        let client = self.db.client().await?;
        let rows = client.query(&statement, &[&self.connection, &self.changed_after, &key]).await?;
        self.at_end = rows.len() < usize::try_from(CHUNK).unwrap_or(usize::MAX);
        self.keys = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok(())
    }
}
