//! The diff between canonical contacts and the ledger: with nothing changed at two sizes, and the full audit against a plain
//! hash diff of two typed tables, both by two joins.

use crate::Options;
use crate::compare::{at_least, at_most, figure, median};
use crate::shop::Shop;
use crate::world::{World, connect};
use anyhow::Result;
use std::time::Instant;

/// What differs between the contacts as they are and a table of the hashes they had: one join finds what is new or
/// changed, the other what is gone.
const PLAIN: &str = "
with present as materialized (
    select contact_id, hash_record_extended(contacts, 0) as hash from canonical.contacts
)
select
    (
        select count(*) from present left join bench_before as before using (contact_id)
        where before.hash is distinct from present.hash
    )
    + (
        select count(*) from bench_before as before left join present using (contact_id)
        where present.contact_id is null
    )";

pub async fn measure(world: &World, options: &Options) -> Result<()> {
    let small = loaded(world, options, options.size(100_000)).await?;
    let large = loaded(world, options, options.size(1_000_000)).await?;

    let (mut at_small, mut at_large, mut audit, mut plain, mut peak) = (vec![], vec![], vec![], vec![], 0.0_f64);
    let client = connect(&large.database).await?;
    client
        .batch_execute(
            "create table bench_before as select contact_id, hash_record_extended(contacts, 0) as hash from canonical.contacts;
             alter table bench_before add primary key (contact_id);
             analyze bench_before",
        )
        .await?;
    let contacts: i64 = client.query_one("select count(*) from canonical.contacts", &[]).await?.get(0);
    for _ in 0..options.rounds {
        at_small.push(small.wharf(&["--quiet", "plan", "{}"]).await?.seconds);
        at_large.push(large.wharf(&["--quiet", "plan", "{}"]).await?.seconds);
        let ran = large.wharf(&["--quiet", "plan", "{}", "--full"]).await?;
        audit.push(contacts as f64 / ran.seconds);
        peak = peak.max(ran.peak);
        let began = Instant::now();
        client.query_one(PLAIN, &[]).await?;
        plain.push(contacts as f64 / began.elapsed().as_secs_f64());
    }
    at_most(
        &format!("plan of {} contacts, nothing changed", figure(contacts as f64)),
        "s",
        median(&at_large),
        "a tenth of them",
        median(&at_small),
        1.2,
    );
    at_least("full audit", "rows/s", median(&audit), "a plain hash diff", median(&plain), 0.8);
    println!("peak memory {} MB", figure(peak));
    world.drop_database(&small.database).await?;
    world.drop_database(&large.database).await
}

/// A shop all of whose customers are at the account already.
async fn loaded<'a>(world: &'a World, options: &Options, customers: u64) -> Result<Shop<'a>> {
    let shop = Shop::start(world, options, 1_000, customers, "contacts:\n  consent: all\n").await?;
    shop.wharf(&["--quiet", "run", "{}"]).await?;
    Ok(shop)
}
