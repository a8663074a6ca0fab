//! Which pipelines work on this database, and what each is: for `wharf status`, which may be asked without their files.

use super::Database;
use crate::{Result, sql};
use std::time::Duration;

/// What is kept of a pipeline.
#[derive(Debug, Clone)]
pub struct PipelineRow<'a> {
    /// Its name.
    pub name: &'a str,
    /// The shops that it reads.
    pub connections: Vec<&'a str>,
    /// The target account.
    pub target: &'a str,
    /// The target's platform.
    pub platform: &'a str,
    /// How old what was read may be.
    pub fresh_within: Option<Duration>,
}

/// Notes what a pipeline is; writes nothing where that is known already.
///
/// # Errors
/// Those of the database.
pub async fn note(db: &Database, row: &PipelineRow<'_>) -> Result<()> {
    let fresh_within = row.fresh_within.map(|span| span.as_secs_f64());
    db.client()
        .await?
        .execute(
            sql::file("store/note_pipeline.sql")?,
            &[&row.name, &row.connections, &row.target, &row.platform, &fresh_within],
        )
        .await?;
    Ok(())
}
