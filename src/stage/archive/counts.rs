//! How many rows the latest snapshots have, and how many the database has now. It judges nothing: time has passed.

use super::entities;
use super::place::Place;
use crate::error::Result;
use crate::store::Database;
use serde::Serialize;
use std::fmt;

/// One entity's rows there and here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// `schema.table`.
    pub entity: String,
    /// Its latest snapshot.
    pub snapshot: Option<String>,
    /// Rows in that; null if there is none.
    pub archived: Option<u64>,
    /// Rows in the database; null if it has no such table.
    pub now: Option<u64>,
}

/// Compares the latest snapshots with the database.
///
/// # Errors
/// Those of the database and the place.
pub async fn compare_counts(to: &str, db: &Database) -> Result<Vec<Comparison>> {
    let place = Place::open_existing(to).await?;
    let latest = place.page_at(None).await?;
    let mut client = db.dedicated().await?;
    let transaction = client.build_transaction().read_only(true).start().await?;
    transaction.batch_execute("set local statement_timeout = 0").await?;
    let mut comparisons = Vec::new();
    let mut archived = latest.entities;
    // Its snapshots hold only what came since the one before.
    archived.remove(entities::CHANGES);
    for entity in entities::all(&transaction).await?.into_iter().filter(|entity| entity.name != entities::CHANGES) {
        let snapshot = archived.remove(&entity.name);
        let rows = match &snapshot {
            Some(snapshot) => place.manifest(&entity.name, snapshot).await?.map(|manifest| manifest.rows),
            None => None,
        };
        let statement = format!("select count(*) from {}", entity.table());
        let now: i64 = transaction.query_one(&statement, &[]).await?.try_get(0)?;
        comparisons.push(Comparison { entity: entity.name, snapshot, archived: rows, now: u64::try_from(now).ok() });
    }
    for (entity, snapshot) in archived {
        let rows = place.manifest(&entity, &snapshot).await?.map(|manifest| manifest.rows);
        comparisons.push(Comparison { entity, snapshot: Some(snapshot), archived: rows, now: None });
    }
    comparisons.sort_by(|a, b| a.entity.cmp(&b.entity));
    Ok(comparisons)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |rows: Option<u64>| rows.map_or_else(|| "-".to_owned(), |rows| rows.to_string());
        write!(f, "{}: {} rows archived, {} in the database now", self.entity, count(self.archived), count(self.now))
    }
}
