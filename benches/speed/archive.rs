//! Archive: Parquet with zstd against DuckDB reading the same tables by its `postgres_scanner` on one thread, and against
//! `COPY … (format binary)` of them to nowhere.

use crate::compare::{at_least, figure, median};
use crate::shop::Shop;
use crate::world::{World, connect};
use crate::{Options, peers};
use anyhow::Result;
use futures::StreamExt;
use std::time::Instant;

const TABLES: [&str; 7] = [
    "staging.orders",
    "staging.customers",
    "canonical.contacts",
    "canonical.contact_sources",
    "canonical.orders",
    "canonical.order_items",
    "canonical.contact_tags",
];

pub async fn measure(world: &World, options: &Options) -> Result<()> {
    let (orders, customers) = (options.size(100_000), options.size(40_000));
    let shop = Shop::start(world, options, orders, customers, "").await?;
    shop.wharf(&["--quiet", "extract", "{}"]).await?;
    shop.wharf(&["--quiet", "transform", "{}"]).await?;
    let client = connect(&shop.database).await?;
    let mut rows = 0;
    for table in TABLES {
        rows += client.query_one(&format!("select count(*) from {table}"), &[]).await?.get::<_, i64>(0);
    }

    let (mut ours, mut ducks, mut copies, mut peak) = (vec![], vec![], vec![], 0.0_f64);
    for round in 0..options.rounds {
        let to = world.folder().join(format!("archive-{round}"));
        let ran = shop.wharf(&["--quiet", "archive", "{}", "--to", &to.to_string_lossy()]).await?;
        ours.push(ran.seconds);
        peak = peak.max(ran.peak);
        let folder = world.folder().join(format!("duckdb-{round}"));
        std::fs::create_dir(&folder)?;
        let arguments = [shop.database.clone(), folder.to_string_lossy().into_owned(), TABLES.join(",")];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if let Some(answer) = peers::run(options, "duckdb_parquet.py", &arguments).await? {
            ducks.push(peers::seconds(&answer)?);
        }
        let began = Instant::now();
        for table in TABLES {
            let mut stream = std::pin::pin!(client.copy_out(&format!("copy {table} to stdout (format binary)")).await?);
            while let Some(chunk) = stream.next().await {
                chunk?;
            }
        }
        copies.push(began.elapsed().as_secs_f64());
    }
    println!("{} rows; Wharf's archive holds every other entity as well", figure(rows as f64));
    let rate = |seconds: f64| rows as f64 / seconds;
    if !ducks.is_empty() {
        at_least("archive", "rows/s", rate(median(&ours)), "DuckDB, one thread", rate(median(&ducks)), 1.0);
    }
    at_least("archive", "rows/s", rate(median(&ours)), "COPY binary to nowhere", rate(median(&copies)), 0.5);
    println!("peak memory {} MB", figure(peak));
    drop(client);
    world.drop_database(&shop.database).await
}
