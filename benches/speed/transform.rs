//! Transform: a full one against the same SELECTs written into bare tables that are indexed afterwards, and what a change
//! of 1 % and no change at all cost of a full one.

use crate::Options;
use crate::compare::{at_most, figure, median};
use crate::shop::Shop;
use crate::world::{World, connect};
use anyhow::Result;

/// `canonical.merge` without what makes it Wharf's: no comparison, no change feed; indexes are built at the end.
const BARE: &str = "
create or replace function canonical.merge(entity text, scope_columns text[], key_columns text[], run bigint)
returns bigint language plpgsql as $$
declare
    target regclass := format('canonical.%I', entity)::regclass;
    definitions text[];
    definition text;
    index_name text;
    written bigint;
begin
    select array_agg(pg_get_indexdef(indexrelid)) into definitions from pg_index where indrelid = target;
    for index_name in select conname from pg_constraint where conrelid = target and contype = 'p' loop
        execute format('alter table canonical.%I drop constraint %I', entity, index_name);
    end loop;
    for index_name in select indexrelid::regclass::text from pg_index where indrelid = target loop
        execute format('drop index %s', index_name);
    end loop;
    execute format('insert into canonical.%1$I select * from pg_temp.incoming_%1$I', entity);
    get diagnostics written = row_count;
    foreach definition in array definitions loop
        execute definition;
    end loop;
    execute format('analyze canonical.%I', entity);
    return written;
end
$$";

pub async fn measure(world: &World, options: &Options) -> Result<()> {
    let (orders, customers) = (options.size(100_000), options.size(40_000));
    let more = "";
    let mut shop = Shop::start(world, options, orders, customers, more).await?;
    shop.wharf(&["--quiet", "extract", "{}"]).await?;
    let landed = shop.database.clone();
    println!("{} orders, {} customers", figure(orders as f64), figure(customers as f64));

    let (mut full, mut bare, mut some, mut renamed, mut none) = (vec![], vec![], vec![], vec![], vec![]);
    let mut peak = 0.0_f64;
    for round in 0..options.rounds {
        shop.database = world.copy(&landed).await?;
        let ran = shop.wharf(&["--quiet", "transform", "{}"]).await?;
        full.push(ran.seconds);
        peak = peak.max(ran.peak);
        let whole = std::mem::replace(&mut shop.database, world.copy(&landed).await?);

        connect(&shop.database).await?.batch_execute(BARE).await?;
        bare.push(shop.wharf(&["--quiet", "transform", "{}"]).await?.seconds);
        world.drop_database(&shop.database).await?;

        shop.database = whole;
        none.push(shop.wharf(&["--quiet", "transform", "{}"]).await?.seconds);
        if round + 1 == options.rounds {
            for seed in 0..2 * options.rounds as u64 {
                let renames = seed % 2 == 1;
                shop.change(0.01, seed, renames).await?;
                shop.wharf(&["--quiet", "extract", "{}", "--full"]).await?;
                let seconds = shop.wharf(&["--quiet", "transform", "{}"]).await?.seconds;
                if renames { renamed.push(seconds) } else { some.push(seconds) }
            }
        }
        world.drop_database(&shop.database).await?;
    }
    let full = median(&full);
    at_most("transform, full", "s", full, "the same SELECTs into bare tables", median(&bare), 2.0);
    at_most("transform, 1 % changed", "s", median(&some), "full", full, 0.05);
    println!("transform, 1 % changed and a category renamed: {} s", figure(median(&renamed)));
    at_most("transform, nothing changed", "s", median(&none), "full", full, 0.01);
    println!("peak memory {} MB", figure(peak));
    world.drop_database(&landed).await
}
