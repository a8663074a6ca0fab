//! Prune: removes the snapshots of instants that nobody wants to go back to any more.
//!
//! What is kept is decided by instant, not by entity: an entity that does not change keeps its last snapshot for years,
//! and every page since names it. So a snapshot goes when no page that is kept names it, and no snapshot that one names has
//! it for a layer. The current instant is always
//! kept, and so are all snapshots of the change feed: each holds what no other does, and the database may have pruned it.
//!
//! Pages go first, so that no instant is offered that can no longer be restored whole; then a snapshot disappears in one
//! step (on a disk by moving its folder, in a store with its manifest) before its files do. Killed in between, the next
//! prune removes the rest. It needs no lease: an archive run at work only adds, and relies on the current instant alone.
//! A pipeline's `archive.keep` does the same at the end of an archive run, among the instants of its own database.

use super::entities::CHANGES;
use super::manifest::{Latest, MANIFEST};
use super::place::Place;
use crate::config::pipeline::ArchiveKeep;
use crate::error::{Error, Kind, Result};
use crate::failpoint::{self, Point};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use tokio_util::sync::CancellationToken;

/// Pages read at a time.
const AT_ONCE: usize = 16;

/// Which instants are kept, besides the current one. An instant that any of these wants is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Keep {
    /// So many of the latest.
    pub last: usize,
    /// The last one of a day (UTC), for so many days that have one.
    pub daily: usize,
    /// The last one of a month, for so many months that have one.
    pub monthly: usize,
}

impl From<ArchiveKeep> for Keep {
    fn from(keep: ArchiveKeep) -> Self {
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Self { last: count(keep.last), daily: count(keep.daily), monthly: count(keep.monthly) }
    }
}

/// What was removed, or would be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PruneReport {
    /// The root of the archive.
    pub place: String,
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// Instants that can still be restored, oldest first.
    pub kept: Vec<String>,
    /// Instants that no longer can, oldest first.
    pub dropped: Vec<String>,
    /// Snapshots that only those needed.
    pub removed: Vec<Pruned>,
}

/// One snapshot that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// `schema.table`.
    pub entity: String,
    /// Its name.
    pub snapshot: String,
    /// Its size.
    pub bytes: u64,
}

/// Removes what `keep` does not want; with `dry_run` says what that is.
///
/// # Errors
/// [`Kind::Command`] if nothing is to be kept; [`Kind::Io`] if a page cannot be read, because what it names must not go;
/// [`Kind::Interrupted`].
pub async fn prune(to: &str, keep: Keep, dry_run: bool, stop: &CancellationToken) -> Result<PruneReport> {
    prune_in(&Place::open_existing(to).await?, keep, None, dry_run, stop).await
}

/// [`prune`] in a place that is open; with `only`, among the instants of that database.
pub(super) async fn prune_in(
    place: &Place,
    keep: Keep,
    only: Option<&str>,
    dry_run: bool,
    stop: &CancellationToken,
) -> Result<PruneReport> {
    if keep == Keep::default() {
        return Err(Error::new(Kind::Command, "say what to keep").hint("--last 10 --daily 30 --monthly 12"));
    }
    let latest = place.page_at(None).await?;
    let mut pages: BTreeMap<String, Latest> = futures::stream::iter(place.page_names().await?)
        .map(|name| async move {
            let page = place.page(&name).await?.ok_or_else(|| {
                Error::new(Kind::Io, format!("the page of {name} in {} cannot be read", place.shown())).hint(
                    "what it names must not be removed: look at `wharf archive verify`, then remove the page itself",
                )
            })?;
            Ok::<_, Error>((name, page))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let current = latest.snapshot.clone();
    pages.insert(current.clone(), latest);
    let mut kept = chosen(&pages, keep, &current);
    let of_others = pages.iter().filter(|(_, page)| only.is_some_and(|only| page.database != only));
    kept.extend(of_others.map(|(name, _)| name.clone()));
    let mut named: BTreeSet<(String, String)> = pages
        .iter()
        .filter(|(name, _)| kept.contains(*name))
        .flat_map(|(_, page)| page.entities.iter().map(|(entity, snapshot)| (entity.clone(), snapshot.clone())))
        .collect();

    let layers = layers_of(place, &named).await?;
    named.extend(layers);

    let mut removed = Vec::new();
    for entity in place.root().await?.entities.into_iter().filter(|entity| entity != CHANGES) {
        for (snapshot, files) in place.shelf(&entity).await?.snapshots {
            // What is newer than the current instant is being published.
            if snapshot < current && !named.contains(&(entity.clone(), snapshot.clone())) {
                removed.push(Pruned { entity: entity.clone(), snapshot, bytes: files.values().sum() });
            }
        }
    }
    let dropped: Vec<String> = pages.keys().filter(|name| !kept.contains(*name)).cloned().collect();
    if !dry_run {
        for name in &dropped {
            place.remove_page(name).await?;
            failpoint::reach(Point::PrunePageGone)?;
        }
        for Pruned { entity, snapshot, .. } in &removed {
            if stop.is_cancelled() {
                return Err(Error::new(Kind::Interrupted, "stopped before everything was removed")
                    .hint("run it again; what was removed is gone whole"));
            }
            place.unpublish(entity, snapshot).await?;
            failpoint::reach(Point::PruneSnapshotGone)?;
        }
        place.sweep_pruned().await?;
    }
    Ok(PruneReport { place: place.shown().to_owned(), dry_run, kept: kept.into_iter().collect(), dropped, removed })
}

/// The snapshots whose layers those that are kept are made of, too.
async fn layers_of(place: &Place, named: &BTreeSet<(String, String)>) -> Result<Vec<(String, String)>> {
    let wanted: Vec<_> = named.iter().filter(|(entity, _)| entity != CHANGES).cloned().collect();
    let mut found = futures::stream::iter(wanted)
        .map(|(entity, snapshot)| layers_below(place, entity, snapshot))
        .buffer_unordered(AT_ONCE);
    let mut layers = Vec::new();
    while let Some(below) = found.try_next().await? {
        layers.extend(below);
    }
    Ok(layers)
}

async fn layers_below(place: &Place, entity: String, snapshot: String) -> Result<Vec<(String, String)>> {
    // What is not there needs nothing; verify names it.
    if place.bytes(&[&entity, &Place::snapshot_folder(&snapshot), MANIFEST]).await?.is_none() {
        return Ok(Vec::new());
    }
    let manifest = place.manifest_of(&entity, &snapshot).await?;
    Ok(manifest.older.into_iter().map(|layer| (entity.clone(), layer.snapshot)).collect())
}

/// The names of the instants that are kept. Databases that share a place do not count against each other.
fn chosen(pages: &BTreeMap<String, Latest>, keep: Keep, current: &str) -> BTreeSet<String> {
    let mut kept = BTreeSet::from([current.to_owned()]);
    let databases: BTreeSet<&str> = pages.values().map(|page| page.database.as_str()).collect();
    for database in databases {
        let newest_first: Vec<&String> =
            pages.iter().rev().filter(|(_, page)| page.database == database).map(|(name, _)| name).collect();
        kept.extend(newest_first.iter().take(keep.last).map(|name| (*name).clone()));
        // Names begin with year, month and day: 20260131T….
        for (digits, count) in [(8, keep.daily), (6, keep.monthly)] {
            let mut periods = BTreeSet::new();
            for name in &newest_first {
                let period = name.get(..digits).unwrap_or(name);
                if periods.len() < count && periods.insert(period) {
                    kept.insert((*name).clone());
                }
            }
        }
    }
    kept
}

impl Place {
    /// Removes the page of an instant.
    async fn remove_page(&self, name: &str) -> Result<()> {
        self.remove_file(&self.at(&[super::manifest::PAGES, &format!("{name}.json")])).await
    }

    /// Makes a snapshot disappear for every reader, then removes its files.
    async fn unpublish(&self, entity: &str, snapshot: &str) -> Result<()> {
        let folder = self.at(&[entity, &Self::snapshot_folder(snapshot)]);
        if let Some(from) = self.on_disk(&folder) {
            let aside = self.pruned().clone().join(entity).join(Self::snapshot_folder(snapshot));
            let Some(to) = self.on_disk(&aside) else { return Ok(()) };
            let moved = async {
                if let Some(parent) = to.parent() {
                    tokio::fs::create_dir_all(parent).await?;
                }
                match tokio::fs::rename(&from, &to).await {
                    // Somebody else prunes as well.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                    moved => moved,
                }
            };
            moved
                .await
                .map_err(|error| super::place::failed(&format!("{} cannot be moved aside", from.display()), error))?;
            failpoint::reach(Point::PruneSnapshotHidden)?;
            return self.remove_all(&aside).await;
        }
        self.remove_file(&folder.clone().join(MANIFEST)).await?;
        failpoint::reach(Point::PruneSnapshotHidden)?;
        self.remove_all(&folder).await
    }

    /// Removes what a prune that was killed had moved aside.
    async fn sweep_pruned(&self) -> Result<()> {
        self.remove_all(&self.pruned()).await?;
        if let Some(writing) = self.on_disk(&self.at(&[super::place::WRITING])) {
            // An archive run may be at work there: only an empty folder goes.
            let _ = tokio::fs::remove_dir(writing).await;
        }
        Ok(())
    }

    fn pruned(&self) -> object_store::path::Path {
        self.at(&[super::place::WRITING, "pruned"])
    }
}

impl fmt::Display for PruneReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Pruned { entity, snapshot, bytes } in &self.removed {
            writeln!(f, "{entity}/snapshot={snapshot}  {}", indicatif::HumanBytes(*bytes))?;
        }
        write!(f, "{}: {}", self.place, self.summary())
    }
}

impl PruneReport {
    /// How much went, and what is left, in one line.
    pub fn summary(&self) -> String {
        let bytes = indicatif::HumanBytes(self.removed.iter().map(|pruned| pruned.bytes).sum());
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        format!(
            "{} snapshots {verb} ({bytes}); {} of {} instants can be restored",
            self.removed.len(),
            self.kept.len(),
            self.kept.len() + self.dropped.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(name: &str, database: &str) -> (String, Latest) {
        let page = Latest {
            format: 1,
            taken_at: jiff::Timestamp::UNIX_EPOCH,
            snapshot: name.into(),
            run_id: 1,
            last_run: 1,
            watermark: 1,
            database: database.into(),
            entities: BTreeMap::new(),
        };
        (name.to_owned(), page)
    }

    fn chosen_of(names: &[&str], keep: Keep) -> Vec<String> {
        let pages = names.iter().map(|name| page(name, "db")).collect();
        chosen(&pages, keep, names.last().unwrap()).into_iter().collect()
    }

    #[test]
    fn the_last_of_each_day_and_month_are_kept_and_the_current_one_always() {
        let names =
            ["20251230T01", "20251231T01", "20251231T23", "20260101T05", "20260102T01", "20260102T02", "20260102T03"];
        assert_eq!(chosen_of(&names, Keep { last: 1, ..Keep::default() }), ["20260102T03"]);
        assert_eq!(chosen_of(&names, Keep { last: 2, ..Keep::default() }), ["20260102T02", "20260102T03"]);
        assert_eq!(
            chosen_of(&names, Keep { daily: 3, ..Keep::default() }),
            ["20251231T23", "20260101T05", "20260102T03"]
        );
        assert_eq!(chosen_of(&names, Keep { monthly: 9, ..Keep::default() }), ["20251231T23", "20260102T03"]);
    }

    #[test]
    fn databases_that_share_a_place_do_not_count_against_each_other() {
        let pages =
            [page("20260101T01", "a"), page("20260101T02", "b"), page("20260101T03", "b")].into_iter().collect();
        let kept = chosen(&pages, Keep { daily: 1, ..Keep::default() }, "20260101T03");
        assert_eq!(kept.into_iter().collect::<Vec<_>>(), ["20260101T01", "20260101T03"]);
    }
}
