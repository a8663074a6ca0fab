//! Extract of IdoSell's orders from answers that are cut from memory, against `psql \copy` of the same JSON lines into a
//! `jsonb` table with a primary key (what Postgres allows).

use crate::Options;
use crate::compare::{at_least, figure, median};
use crate::extract::copy;
use crate::panel::Panel;
use crate::server::Server;
use crate::world::{World, connect};
use anyhow::{Result, ensure};

pub async fn measure(world: &World, options: &Options) -> Result<()> {
    let orders = options.size(100_000).to_string();
    let sandbox = Server::start(&options.wharf, &["idosell", "--orders", &orders, "--customers", "1000"]).await?;
    let variable = |name| sandbox.variable("idosell", name);
    let panel = Panel::read(&variable("IDOSELL_URL"), &variable("IDOSELL_API_KEY")).await?;
    drop(sandbox);
    let (rows, bytes) = panel.size();
    println!("{} orders of {} bytes", figure(rows as f64), figure(bytes as f64 / rows as f64));
    let lines = world.folder().join("idosell.tsv");
    panel.write_lines(&lines)?;
    let file = world.folder().join("idosell.yaml");
    std::fs::write(&file, pipeline(&panel.serve().await?))?;
    let file = file.to_string_lossy();

    let (mut ours, mut copies, mut peak) = (vec![], vec![], 0.0_f64);
    for _ in 0..options.rounds {
        let database = world.database().await?;
        world.run(&database, &["status"]).await?;
        let ran = world.run(&database, &["--quiet", "extract", &file, "--stream", "orders"]).await?;
        let client = connect(&database).await?;
        let landed: i64 = client.query_one("select count(*) from staging.orders", &[]).await?.get(0);
        ensure!(landed as usize == rows, "{landed} of {rows} orders landed");
        world.drop_database(&database).await?;
        ours.push(rows as f64 / ran.seconds);
        peak = peak.max(ran.peak);
        copies.push(rows as f64 / copy(world, "text", &lines).await?);
    }
    at_least("extract IdoSell orders", "rows/s", median(&ours), "psql \\copy", median(&copies), 0.7);
    println!("peak memory {} MB", figure(peak));
    Ok(())
}

/// As fast as it goes: what a shop could bear is not what is measured.
fn pipeline(url: &str) -> String {
    format!(
        "name: bench\nsources:\n  - connection: shop\n    platform: idosell\n    base_url: {url}\n    \
         api_key: key\n    shop_id: 1\n    load_check_every: 0\n    rate: 100000/s\n\
         target:\n  account: account\n  platform: salesmanago\n  base_url: http://127.0.0.1:9\n  client_id: a\n  \
         api_key: b\n  api_secret: c\n  owner: owner@shop.example\n"
    )
}
