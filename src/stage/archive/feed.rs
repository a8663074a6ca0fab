//! How far a place holds the change feed, told from its files: what is deleted in the database must be there.

use super::Frame;
use super::entities::CHANGES;
use super::manifest::Manifest;
use super::place::Place;
use crate::error::Result;
use crate::stage::Context;
use tokio_postgres::IsolationLevel;

/// The last run up to which the place `to` holds every change of this database behind run `after`; `after` itself where
/// it holds none of them. A snapshot counts if its manifest is whole and every part is there in full length.
///
/// # Errors
/// [`crate::Kind::Io`] if the place cannot be read; those of the database.
pub async fn feed_held(ctx: &Context, to: &str, after: i64) -> Result<i64> {
    let Some(place) = open(to).await? else { return Ok(after) };
    let mut client = ctx.db.dedicated().await?;
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let database = Frame::of(&transaction, ctx.run.id, 0).await?.database;
    let shelf = place.shelf(CHANGES).await?;
    let mut held = after;
    for (snapshot, files) in &shelf.snapshots {
        let Some(manifest) = place.manifest(CHANGES, snapshot).await? else { continue };
        let is_whole = manifest.parts.iter().all(|part| files.get(&part.file) == Some(&part.bytes));
        if manifest.database == database && is_whole {
            held = further(held, &manifest);
        }
    }
    Ok(held)
}

/// The name of the place `to` in `ops.archives`.
///
/// # Errors
/// [`crate::Kind::Io`] if the place cannot be opened.
pub async fn identity(to: &str) -> Result<String> {
    Ok(open(to).await?.map_or_else(|| to.to_owned(), |place| place.identity()))
}

/// The place; `None` if it is a folder that is not there yet, which looking must not make.
async fn open(to: &str) -> Result<Option<Place>> {
    let is_folder = !to.contains("://");
    if is_folder && !tokio::fs::try_exists(to).await.unwrap_or(true) {
        return Ok(None);
    }
    Place::open(to).await.map(Some)
}

/// How far the feed is held with this snapshot too, which says nothing if there is a gap before it.
fn further(held: i64, manifest: &Manifest) -> i64 {
    match manifest.after_run {
        Some(after_run) if after_run <= held => held.max(manifest.watermark),
        _ => held,
    }
}
