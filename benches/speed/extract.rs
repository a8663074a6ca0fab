//! Extract to staging, from static pages: against `psql \copy` of the same JSON lines into a `jsonb` table with a primary
//! key (what Postgres allows), against dlt's `rest_api` merging the same pages, and against a plain script.

use crate::compare::{at_least, figure, median};
use crate::pages::Pages;
use crate::server::Server;
use crate::world::World;
use crate::{Options, peers, program};
use anyhow::{Result, ensure};
use std::path::Path;
use tokio::process::Command;

pub async fn measure(world: &World, options: &Options) -> Result<()> {
    let (orders, customers) = (options.size(100_000), options.size(200_000));
    let pages = read(options, orders, customers).await?;
    for (list, bars) in [
        ("orders", Bars { copy: 0.7, dlt: 4.0, script: None }),
        ("customers", Bars { copy: 0.0, dlt: 10.0, script: Some(1.0) }),
    ] {
        let (rows, bytes) = pages.size(list);
        println!("{} {list} of {} bytes", figure(rows as f64), figure(bytes as f64 / rows as f64));
        let lines = world.folder().join(format!("{list}.tsv"));
        pages.write_lines(list, &lines)?;
        let shop = Shop { url: pages.clone().serve().await?, list, rows: rows as f64, lines: &lines };
        shop.compare(world, options, &bars).await?;
    }
    Ok(())
}

/// What remains of a customer: small records cost by their number, not by their bytes.
const SMALL: [&str; 10] = [
    "id",
    "email",
    "username",
    "first_name",
    "last_name",
    "role",
    "date_created_gmt",
    "date_modified_gmt",
    "is_paying_customer",
    "avatar_url",
];

/// The ratios asked for.
struct Bars {
    copy: f64,
    dlt: f64,
    script: Option<f64>,
}

/// Everything that a sandbox's shop lists, as pages in memory.
async fn read(options: &Options, orders: u64, customers: u64) -> Result<Pages> {
    let (orders, customers) = (orders.to_string(), customers.to_string());
    let arguments = ["woocommerce", "--orders", orders.as_str(), "--customers", customers.as_str()];
    let sandbox = Server::start(&options.wharf, &arguments).await?;
    let variable = |name| sandbox.variable("woocommerce", name);
    let (url, key, secret) = (variable("WOO_URL"), variable("WOO_KEY"), variable("WOO_SECRET"));
    let mut pages = Pages::default();
    pages.read(&url, &key, &secret, ("orders", "&status=any"), &[]).await?;
    pages.read(&url, &key, &secret, ("customers", "&role=all"), &SMALL).await?;
    Ok(pages)
}

struct Shop<'a> {
    url: String,
    list: &'a str,
    rows: f64,
    lines: &'a Path,
}

impl Shop<'_> {
    async fn compare(&self, world: &World, options: &Options, bars: &Bars) -> Result<()> {
        let (mut ours, mut copies, mut dlts, mut scripts, mut peak) = (vec![], vec![], vec![], vec![], 0.0_f64);
        for _ in 0..options.rounds {
            let (rate, memory) = self.wharf(world).await?;
            ours.push(rate);
            peak = peak.max(memory);
            copies.push(self.rows / copy(world, "bigint", self.lines).await?);
            dlts.extend(self.peer(world, options, "dlt_merge.py").await?);
            scripts.extend(self.peer(world, options, "aiohttp_copy.py").await?);
        }
        let what = format!("extract {}", self.list);
        at_least(&what, "rows/s", median(&ours), "psql \\copy", median(&copies), bars.copy);
        if !dlts.is_empty() {
            at_least(&what, "rows/s", median(&ours), "dlt", median(&dlts), bars.dlt);
            at_least(&what, "rows/s", median(&ours), "aiohttp + COPY", median(&scripts), bars.script.unwrap_or(0.0));
        }
        println!("peak memory {} MB", figure(peak));
        Ok(())
    }

    /// Rows a second of a first extract, and its peak memory.
    async fn wharf(&self, world: &World) -> Result<(f64, f64)> {
        let database = world.database().await?;
        let file = world.folder().join(format!("{}.yaml", self.list));
        std::fs::write(&file, self.pipeline())?;
        let file = file.to_string_lossy();
        // The first command on a database migrates it, which is not what is measured.
        world.run(&database, &["status"]).await?;
        let ran = world.run(&database, &["--quiet", "extract", &file, "--stream", self.list]).await?;
        let client = crate::world::connect(&database).await?;
        let landed: i64 = client.query_one(&format!("select count(*) from staging.{}", self.list), &[]).await?.get(0);
        ensure!(landed as f64 == self.rows, "{landed} of {} {} landed", self.rows, self.list);
        world.drop_database(&database).await?;
        Ok((self.rows / ran.seconds, ran.peak))
    }

    fn pipeline(&self) -> String {
        format!(
            "name: bench\nsources:\n  - connection: shop\n    platform: woocommerce\n    base_url: {}\n    auth: query\n    \
             consumer_key: ck_0000000000000000000000000000000000000000\n    \
             consumer_secret: cs_0000000000000000000000000000000000000000\n\
             target:\n  account: account\n  platform: salesmanago\n  base_url: http://127.0.0.1:9\n  client_id: a\n  \
             api_key: b\n  api_secret: c\n  owner: owner@shop.example\n",
            self.url
        )
    }

    async fn peer(&self, world: &World, options: &Options, script: &str) -> Result<Option<f64>> {
        let database = world.database().await?;
        let answer = peers::run(options, script, &[&self.url, self.list, &database]).await?;
        world.drop_database(&database).await?;
        answer.map(|answer| Ok(self.rows / peers::seconds(&answer)?)).transpose()
    }
}

/// Seconds of `psql \copy` of lines of key, tab and JSON into a `jsonb` table with a primary key of that type.
pub async fn copy(world: &World, key: &str, lines: &Path) -> Result<f64> {
    let database = world.database().await?;
    let client = crate::world::connect(&database).await?;
    client.batch_execute(&format!("create table landing (id {key} primary key, payload jsonb not null)")).await?;
    let mut command = Command::new("psql");
    command.args(["-X", "-q", &database, "-c", &format!("\\copy landing from '{}'", lines.display())]);
    let ran = program::run(command, &[0]).await?;
    drop(client);
    world.drop_database(&database).await?;
    Ok(ran.seconds)
}
