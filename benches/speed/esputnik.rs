//! Load into eSputnik: how much of each limit is used, and whether any second holds more; then what a million contacts and a
//! million orders cost Wharf itself, at an account without limits.

use crate::compare::figure;
use crate::program::Ran;
use crate::shop::{Account, Shop};
use crate::world::World;
use crate::{Options, allowance};
use anyhow::Result;

/// Imports end as soon as they are asked for a second time: what is measured is Wharf, not its patience.
const LINES: &str = "target:\n  account: account\n  platform: esputnik\n  base_url: ${ESPUTNIK_URL}\n  \
                     api_key: ${ESPUTNIK_API_KEY}\n  currencies: [PLN, UAH, EUR, JPY]\n  contact_batch: 3000\n  jobs: 16\n  \
                     job_poll: 1s\n  job_poll_max: 1s\n  item_url: https://shop.example/\n  \
                     item_image_url: https://shop.example/logo.png\n";
const CURRENCIES: &str = "esputnik.currencies=[\"PLN\",\"UAH\",\"EUR\",\"JPY\"]";
/// Jobs that name nobody when they have ended: then cards are looked for by address, which is what 50 a second are allowed of.
const NAMELESS: &str = "esputnik.jobs={\"mapping\":false}";
const LIMITED: Account = Account {
    sandbox: &["esputnik", "--set", CURRENCIES, "--set", NAMELESS, "--set", "esputnik.limits={}"],
    lines: LINES,
};
const UNLIMITED: Account = Account { sandbox: &["esputnik", "--set", CURRENCIES], lines: LINES };

const EVERYBODY: &str = "contacts:\n  consent: all\n";
const NO_ORDERS: &str = "contacts:\n  consent: all\norders:\n  placed_after: 2100-01-01\n";

/// Ways of orders.
const V2: &str = "  orders_via: events\n  event_version: v2\n";
const V3: &str = "  orders_via: events\n  event_version: v3\n";
const ADD_ORDERS: &str = "  orders_via: orders\n";

pub async fn measure(world: &World, options: &Options) -> Result<()> {
    limits(world, options).await?;
    volume(world, options).await
}

/// The limits that calls of one record each can use up: 50 reads, 350 events, 200 calls of any kind a second.
async fn limits(world: &World, options: &Options) -> Result<()> {
    let size = options.size(10_000);
    let mut shop = Shop::start_with(world, options, size, size, NO_ORDERS, (1, LIMITED)).await?;
    shop.wharf(&["--quiet", "extract", "{}"]).await?;
    shop.wharf(&["--quiet", "transform", "{}"]).await?;
    shop.wharf(&["--quiet", "load", "{}"]).await?;
    let url = shop.sandbox.variable("esputnik", "ESPUTNIK_URL");
    let url = url.trim_end_matches("/api");

    let mut last = number(url).await?;
    shop.wharf(&["--quiet", "verify", "{}", "--sample", &(size / 5).to_string()]).await?;
    allowance::compare("contact reads", &allowance::calls(url, "esputnik", last, "/api/v1/contacts").await?, 50)?;

    let ready = shop.database.clone();
    for (way, path, allowed) in [(V2, "/api/v2/event", 350), (V3, "/api/v3/event", 200)] {
        last = number(url).await?;
        shop.database = world.copy(&ready).await?;
        shop.write("bench", "shop", way, EVERYBODY)?;
        let ran = shop.wharf(&["--quiet", "load", "{}"]).await?;
        let calls = allowance::calls(url, "esputnik", last, path).await?;
        allowance::compare(path, &calls, allowed)?;
        println!(
            "{} s of CPU for 1,000 events, {} MB",
            figure(ran.cpu * 1000.0 / calls.len() as f64),
            figure(ran.peak)
        );
        world.drop_database(&shop.database).await?;
    }
    world.drop_database(&ready).await
}

async fn volume(world: &World, options: &Options) -> Result<()> {
    let size = options.size(1_000_000);
    let mut shop = Shop::start_with(world, options, size, size, NO_ORDERS, (1, UNLIMITED)).await?;
    shop.wharf(&["--quiet", "extract", "{}"]).await?;
    shop.wharf(&["--quiet", "transform", "{}"]).await?;
    cost("contacts, by imports", &shop.wharf(&["--quiet", "load", "{}"]).await?);
    let ready = shop.database.clone();
    // Another pipeline's first load: the history goes as past events.
    for (what, way) in [("orders, as past events", V2), ("orders, by Add orders", ADD_ORDERS)] {
        shop.database = world.copy(&ready).await?;
        shop.write("history", "shop", way, EVERYBODY)?;
        cost(what, &shop.wharf(&["--quiet", "load", "{}"]).await?);
        world.drop_database(&shop.database).await?;
    }
    println!("of {} customers and as many orders", figure(size as f64));
    world.drop_database(&ready).await
}

fn cost(what: &str, ran: &Ran) {
    println!(
        "{what}: {} s, {} s of CPU (bar: under 90), {} MB (bar: under 250)",
        figure(ran.seconds),
        figure(ran.cpu),
        figure(ran.peak)
    );
}

/// The number of the last call.
async fn number(url: &str) -> Result<u64> {
    Ok(allowance::calls(url, "esputnik", 0, "").await?.iter().map(|call| call.number).max().unwrap_or(0))
}
