//! Archive: Parquet with zstd against DuckDB reading the same tables and views by its `postgres_scanner` on one thread, and
//! against `COPY … (format binary)` of them to nowhere.

use crate::compare::{at_least, figure, median};
use crate::shop::Shop;
use crate::world::{World, connect};
use crate::{Options, peers};
use anyhow::{Context, Result};
use futures::StreamExt;
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

pub async fn measure(world: &World, options: &Options) -> Result<()> {
    let (orders, customers) = (options.size(100_000), options.size(40_000));
    let shop = Shop::start(world, options, orders, customers, "").await?;
    shop.wharf(&["--quiet", "extract", "{}"]).await?;
    shop.wharf(&["--quiet", "transform", "{}"]).await?;
    let client = connect(&shop.database).await?;

    let (mut ours, mut ducks, mut copies, mut peak) = (vec![], vec![], vec![], 0.0_f64);
    let (mut tables, mut rows, mut bytes) = (Vec::new(), 0, 0);
    for round in 0..options.rounds {
        let to = world.folder().join(format!("archive-{round}"));
        let ran = shop.wharf(&["--quiet", "archive", "{}", "--to", &to.to_string_lossy()]).await?;
        ours.push(ran.seconds);
        peak = peak.max(ran.peak);
        // All sides read what Wharf has archived, marts included.
        (tables, rows, bytes) = archived(&to)?;
        let folder = world.folder().join(format!("duckdb-{round}"));
        std::fs::create_dir(&folder)?;
        let arguments = [shop.database.clone(), folder.to_string_lossy().into_owned(), tables.join(",")];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if let Some(answer) = peers::run(options, "duckdb_parquet.py", &arguments).await? {
            ducks.push(peers::seconds(&answer)?);
        }
        let began = Instant::now();
        for table in &tables {
            let statement = format!("copy (select * from {table}) to stdout (format binary)");
            let mut stream = std::pin::pin!(client.copy_out(&statement).await?);
            while let Some(chunk) = stream.next().await {
                chunk?;
            }
        }
        copies.push(began.elapsed().as_secs_f64());
    }
    println!("{} rows of {} tables and views, {} MB of Parquet", figure(rows as f64), tables.len(), bytes / 1_000_000);
    let rate = |seconds: f64| rows as f64 / seconds;
    if !ducks.is_empty() {
        at_least("archive", "rows/s", rate(median(&ours)), "DuckDB, one thread", rate(median(&ducks)), 1.0);
    }
    at_least("archive", "rows/s", rate(median(&ours)), "COPY binary to nowhere", rate(median(&copies)), 0.5);
    println!("peak memory {} MB", figure(peak));
    drop(client);
    world.drop_database(&shop.database).await
}

/// What an archive holds: names of tables and views, their rows, the bytes of their files.
fn archived(root: &Path) -> Result<(Vec<String>, u64, u64)> {
    let read = |path: &Path| -> Result<Value> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
    let latest = read(&root.join("_latest.json"))?;
    let (mut tables, mut rows, mut bytes) = (Vec::new(), 0, 0);
    for (entity, snapshot) in latest["entities"].as_object().context("a page without entities")? {
        let folder = format!("{entity}/snapshot={}", snapshot.as_str().unwrap_or_default());
        let manifest = read(&root.join(folder).join("_manifest.json"))?;
        rows += manifest["rows"].as_u64().unwrap_or_default();
        let parts = manifest["parts"].as_array().into_iter().flatten();
        bytes += parts.filter_map(|part| part["bytes"].as_u64()).sum::<u64>();
        tables.push(entity.clone());
    }
    Ok((tables, rows, bytes))
}
