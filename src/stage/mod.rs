//! The stages: extract, transform, load, archive. Each drives `source`, `store`, `sql` or `target` and can be killed at
//! any instant; the next run continues.

pub mod archive;
pub mod changes;
pub mod explain;
pub mod extract;
pub mod load;
pub mod plan;
pub mod rejects;
pub mod status;
pub mod tenant;
pub mod transform;
pub mod verify;

use crate::progress::Progress;
use crate::store::{Database, Run};
use tokio_util::sync::CancellationToken;

/// What every stage works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The database.
    pub db: Database,
    /// The run that the work belongs to.
    pub run: Run,
    /// Where progress is shown.
    pub progress: Progress,
    /// Cancelled when the user asks to stop: finish the batch in hand and return [`crate::Kind::Interrupted`].
    pub stop: CancellationToken,
}
