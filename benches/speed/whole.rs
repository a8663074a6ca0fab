//! A whole first run, stage by stage, with its peak of memory at full size and at a tenth; then runs with 1 % changed, an
//! hour apart by the shop's clock: the archive takes its snapshot in the first and in an archive of its own at the end.

use crate::Options;
use crate::compare::{at_most, figure};
use crate::shop::Shop;
use crate::world::{World, connect};
use anyhow::Result;

/// The tenth run is the one that counts.
const RUNS: u64 = 10;

pub async fn measure(world: &World, options: &Options) -> Result<()> {
    let small = first(world, options, options.size(100_000), options.size(30_000)).await?;
    world.drop_database(&small.shop.database).await?;
    let large = first(world, options, options.size(1_000_000), options.size(300_000)).await?;
    println!(
        "peak memory {} MB, at a tenth of the size {} MB (bar: under 250)",
        figure(large.peak),
        figure(small.peak)
    );

    let mut last = f64::NAN;
    for run in 2..=RUNS {
        large.shop.wait_an_hour().await?;
        large.shop.change(0.01, run, false).await?;
        let ran = large.shop.wharf(&["--quiet", "run", "{}"]).await?;
        last = ran.seconds;
        println!("run {run}, 1 % changed: {} s, {} MB", figure(ran.seconds), figure(ran.peak));
        if run == RUNS {
            stages(&large.shop).await?;
        }
    }
    at_most(&format!("run {RUNS} with 1 % changed"), "s", last, "the first", large.seconds, 0.03);
    let archived = large.shop.wharf(&["--quiet", "archive", "{}"]).await?;
    println!("a snapshot after that: {} s, {} MB", figure(archived.seconds), figure(archived.peak));
    world.drop_database(&large.shop.database).await
}

struct First<'a> {
    shop: Shop<'a>,
    seconds: f64,
    peak: f64,
}

async fn first<'a>(world: &'a World, options: &Options, orders: u64, customers: u64) -> Result<First<'a>> {
    let to = world.folder().join(format!("whole-{orders}"));
    let more = format!("contacts:\n  consent: all\narchive: {{to: {}, every: day}}\n", to.display());
    let shop = Shop::start(world, options, orders, customers, &more).await?;
    let ran = shop.wharf(&["--quiet", "run", "{}"]).await?;
    println!(
        "first run, {} orders, {} customers: {} s, {} s of CPU, {} MB",
        figure(orders as f64),
        figure(customers as f64),
        figure(ran.seconds),
        figure(ran.cpu),
        figure(ran.peak)
    );
    stages(&shop).await?;
    Ok(First { shop, seconds: ran.seconds, peak: ran.peak })
}

/// What the last run spent its time with, as it wrote down itself.
async fn stages(shop: &Shop<'_>) -> Result<()> {
    let rows = connect(&shop.database)
        .await?
        .query(
            "select stage, subject, extract(epoch from finished_at - started_at)::double precision as seconds
             from ops.run_steps
             where run_id = (select max(run_id) from ops.runs where command = 'run') and finished_at is not null
             order by step",
            &[],
        )
        .await?;
    for row in rows {
        let (stage, subject, seconds): (String, String, f64) = (row.get(0), row.get(1), row.get(2));
        println!("  {stage:<10} {subject:<32} {:>10} s", figure(seconds));
    }
    Ok(())
}
