//! Views of an instant, as DuckDB's SQL: every entity under its own name, its rows of all layers that no newer one replaces.
//!
//! The files are named one by one, so that neither other snapshots nor what lies beside them is read.

use super::column::quoted;
use super::entities::CHANGES;
use super::manifest::{Latest, Manifest, ManifestPart};
use super::place::Place;
use crate::error::Result;
use serde::Serialize;
use std::collections::BTreeSet;

/// The views of an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Views {
    /// The root of the archive.
    pub place: String,
    /// The instant.
    pub snapshot: String,
    /// Statements of DuckDB.
    pub sql: String,
}

/// Views of the last instant not after `wanted` (a snapshot's name or a time), or of the present.
///
/// # Errors
/// [`crate::Kind::Command`] for an instant that the archive does not have; [`crate::Kind::Io`] if it cannot be read.
pub async fn views(at: &str, wanted: Option<&str>) -> Result<Views> {
    let place = Place::open_existing(at).await?;
    let page = place.page_at(wanted).await?;
    let root = place.identity();
    let mut statements = vec![format!("-- {root} as of {} (snapshot {})", page.taken_at, page.snapshot)];
    let schemas: BTreeSet<&str> = page.entities.keys().filter_map(|entity| Some(entity.split_once('.')?.0)).collect();
    statements.extend(schemas.iter().map(|schema| format!("create schema if not exists {};", quoted(schema))));
    for (entity, snapshot) in &page.entities {
        let manifest = place.manifest_of(entity, snapshot).await?;
        statements.push(match entity == CHANGES {
            true => of_feed(&place, &root, &page, &manifest).await?,
            false => of_layers(&root, &manifest),
        });
    }
    Ok(Views { place: place.shown().to_owned(), snapshot: page.snapshot, sql: statements.join("\n") })
}

/// A list of files as `read_parquet` takes it.
fn files<'a>(root: &str, of: impl Iterator<Item = (&'a Manifest, &'a ManifestPart)>) -> String {
    let file = |(layer, part): (&Manifest, &ManifestPart)| {
        let folder = Place::snapshot_folder(&layer.snapshot);
        literal(&format!("{}/{}/{folder}/{}", root.trim_end_matches('/'), layer.entity, part.file))
    };
    of.map(file).collect::<Vec<_>>().join(", ")
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn view(entity: &str, query: &str) -> String {
    let name = entity.split('.').map(quoted).collect::<Vec<_>>().join(".");
    format!("create or replace view {name} as\n{query};")
}

fn columns(manifest: &Manifest, of: &str) -> String {
    manifest.columns.iter().map(|column| format!("{of}{}", quoted(&column.name))).collect::<Vec<_>>().join(", ")
}

fn of_layers(root: &str, manifest: &Manifest) -> String {
    let layers = manifest.layers();
    let rows = files(root, layers.iter().flat_map(|layer| layer.parts.iter().map(move |part| (layer, part))));
    if manifest.older.is_empty() {
        let columns = columns(manifest, "");
        return view(
            &manifest.entity,
            &format!("select {columns}\nfrom read_parquet([{rows}], hive_partitioning = false)"),
        );
    }
    let replaced = files(root, layers.iter().flat_map(|layer| layer.replaced.iter().map(move |part| (layer, part))));
    let scope: Vec<String> = manifest.scope.iter().map(|name| quoted(name)).collect();
    let of_one_scope: Vec<String> = scope.iter().map(|name| format!("replaced.{name} = r.{name}")).collect();
    let (columns, scope, of_one_scope) = (columns(manifest, "r."), scope.join(", "), of_one_scope.join(" and "));
    let hive = "hive_partitioning = true, hive_types = {'snapshot': varchar}";
    view(
        &manifest.entity,
        &format!(
            "select {columns}\nfrom read_parquet([{rows}], {hive}) as r\nleft join (\n    \
             select {scope}, max(snapshot) as snapshot\n    from read_parquet([{replaced}], {hive})\n    \
             group by {scope}\n) as replaced on {of_one_scope}\n\
             where replaced.snapshot is null or r.snapshot >= replaced.snapshot"
        ),
    )
}

/// All snapshots of the feed together are its history. Two may tell of the same changes, where one had been lost and was
/// written again.
async fn of_feed(place: &Place, root: &str, page: &Latest, current: &Manifest) -> Result<String> {
    let chain = place.feed_chain(&page.database, &current.snapshot).await?;
    let rows = files(root, chain.iter().flat_map(|manifest| manifest.parts.iter().map(move |part| (manifest, part))));
    let columns = columns(current, "");
    Ok(view(
        CHANGES,
        &format!(
            "select {columns}\nfrom read_parquet([{rows}], hive_partitioning = false, union_by_name = true)\n\
             qualify row_number() over (partition by seq) = 1"
        ),
    ))
}
