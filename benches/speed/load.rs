//! Load: without a limit, against a bare HTTP client that posts the very bodies ready-made; and at 50 calls a second, how
//! much of the allowance one process and two use, and whether any second holds more.

use crate::compare::{at_least, figure, median};
use crate::server::Server;
use crate::shop::{SALESMANAGO, Shop};
use crate::world::World;
use crate::{Options, allowance, peers};
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Connections of the bare client.
const CONNECTIONS: usize = 8;

pub async fn measure(world: &World, options: &Options) -> Result<()> {
    let (orders, customers) = (options.size(100_000), options.size(100_000));
    let everybody = "contacts:\n  consent: all\n";
    let mut shop = Shop::start(world, options, orders, customers, everybody).await?;
    shop.wharf(&["--quiet", "extract", "{}"]).await?;
    shop.wharf(&["--quiet", "transform", "{}"]).await?;
    let ready = shop.database.clone();

    // Once through a tap, for the bodies.
    let tap = Tap::start(shop.sandbox.variable("salesmanago", "SM_URL")).await?;
    shop.database = world.copy(&ready).await?;
    shop.wharf_with(&["--quiet", "load", "{}"], &[("SM_URL", &tap.url)]).await?;
    world.drop_database(&shop.database).await?;
    let bodies = tap.bodies();
    let rows: usize = bodies.iter().map(|body| body.rows).sum();
    println!(
        "{} rows in {} calls, {} MB",
        figure(rows as f64),
        bodies.len(),
        figure(bodies.iter().map(|body| body.bytes.len()).sum::<usize>() as f64 / 1e6)
    );

    let (mut ours, mut bare, mut drt, mut peak) = (vec![], vec![], vec![], 0.0_f64);
    for _ in 0..options.rounds {
        let account = Server::start(&options.wharf, &["salesmanago"]).await?;
        let url = account.variable("salesmanago", "SM_URL");
        shop.database = world.copy(&ready).await?;
        let ran = shop.wharf_with(&["--quiet", "load", "{}"], &[("SM_URL", &url)]).await?;
        ours.push(rows as f64 / ran.seconds);
        peak = peak.max(ran.peak);
        let url = Server::start(&options.wharf, &["salesmanago"]).await?;
        bare.push(rows as f64 / post(&url.variable("salesmanago", "SM_URL"), &bodies).await?);
        if let Some(answer) = peers::run(options, "drt_push.py", &[&shop.database]).await? {
            drt.push(answer["rows"].as_f64().context("no rows")? / peers::seconds(&answer)?);
        }
        world.drop_database(&shop.database).await?;
    }
    at_least("load", "rows/s", median(&ours), "bare client, ready-made bodies", median(&bare), 0.6);
    if !drt.is_empty() {
        at_least("load", "rows/s", median(&ours), "drt-core", median(&drt), 5.0);
    }
    println!("peak memory {} MB", figure(peak));
    world.drop_database(&ready).await
}

/// One call of a load, without its address.
#[derive(Clone)]
struct Recorded {
    path: String,
    bytes: Bytes,
    rows: usize,
}

/// Passes calls on and keeps their bodies.
struct Tap {
    url: String,
    state: Arc<TapState>,
}

struct TapState {
    to: String,
    client: reqwest::Client,
    bodies: Mutex<Vec<Recorded>>,
}

impl Tap {
    async fn start(to: String) -> Result<Self> {
        let state = Arc::new(TapState { to, client: reqwest::Client::new(), bodies: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new().fallback(pass_on).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { url, state })
    }

    /// The calls that change something.
    fn bodies(&self) -> Vec<Recorded> {
        let bodies = self.state.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.iter().filter(|body| body.rows > 0).cloned().collect()
    }
}

async fn pass_on(State(state): State<Arc<TapState>>, request: Request) -> Response {
    let broken = |error: String| Response::builder().status(502).body(Body::from(error)).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let bytes = match axum::body::to_bytes(request.into_body(), usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return broken(error.to_string()),
    };
    let rows = rows_of(&bytes);
    state.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(Recorded {
        path: path.clone(),
        bytes: bytes.clone(),
        rows,
    });
    let call = state.client.post(format!("{}{path}", state.to)).header("content-type", "application/json").body(bytes);
    let answer = match call.send().await {
        Ok(answer) => answer,
        Err(error) => return broken(error.to_string()),
    };
    let status = answer.status();
    match answer.bytes().await {
        Ok(body) => Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap_or_default(),
        Err(error) => broken(error.to_string()),
    }
}

/// How many records a body writes.
fn rows_of(body: &[u8]) -> usize {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return 0 };
    ["upsertDetails", "events"].iter().filter_map(|name| body[*name].as_array()).map(Vec::len).sum()
}

/// Posts bodies as fast as they go; gives the seconds.
async fn post(url: &str, bodies: &[Recorded]) -> Result<f64> {
    let client = reqwest::Client::new();
    let began = Instant::now();
    // Contacts go before events here too.
    for kind in ["upsertDetails", "events"] {
        let calls =
            bodies.iter().filter(|body| memchr::memmem::find(&body.bytes, kind.as_bytes()).is_some()).map(|body| {
                let call = client
                    .post(format!("{url}{}", body.path))
                    .header("content-type", "application/json")
                    .body(body.bytes.clone());
                async move {
                    let answer = call.send().await?.error_for_status()?;
                    answer.bytes().await
                }
            });
        let mut calls = futures::stream::iter(calls).buffer_unordered(CONNECTIONS);
        while let Some(answer) = calls.next().await {
            answer?;
        }
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Calls a second that are allowed.
const ALLOWED: usize = 50;

pub async fn measure_pacing(world: &World, options: &Options) -> Result<()> {
    let customers = options.size(20_000);
    // Contacts alone: events wait for contacts to appear, and a call that nobody wants to make is no call unused.
    let more = format!("contacts:\n  consent: all\norders:\n  placed_after: 2100-01-01\nload: {{rate: {ALLOWED}/s}}\n");
    for processes in [1, 2] {
        let account = Server::start(&options.wharf, &["salesmanago"]).await?;
        let url = account.variable("salesmanago", "SM_URL");
        let database = world.database().await?;
        let mut shops = Vec::new();
        for process in 0..processes {
            // Different people, or the second load would find everybody there.
            let seed = (process + 1, SALESMANAGO);
            let mut shop = Shop::start_with(world, options, 100, customers / processes, &more, seed).await?;
            world.drop_database(&std::mem::replace(&mut shop.database, database.clone())).await?;
            shop.write(&format!("bench-{process}"), &format!("shop-{process}"), "  contact_batch: 10\n", &more)?;
            shop.wharf(&["--quiet", "extract", "{}"]).await?;
            shop.wharf(&["--quiet", "transform", "{}"]).await?;
            shops.push(shop);
        }
        let environment = [("SM_URL", url.as_str())];
        let loads = shops.iter().map(|shop| shop.wharf_with(&["--quiet", "load", "{}"], &environment));
        futures::future::try_join_all(loads).await?;
        let calls = allowance::calls(&url, "salesmanago", 0, "").await?;
        allowance::compare(&format!("{processes} process(es)"), &calls, ALLOWED)?;
        drop(shops);
        world.drop_database(&database).await?;
    }
    Ok(())
}
