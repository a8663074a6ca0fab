//! How much of an allowance was used, and whether any second held more: by the sandbox's own log of when calls came.

use crate::compare::at_least;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A call as the sandbox received it.
#[derive(Deserialize)]
pub struct Call {
    /// Its number, growing by one.
    pub number: u64,
    /// When it came, on a clock that never jumps.
    at_micros: u64,
    path: String,
    status: u16,
}

#[derive(Deserialize)]
struct Log {
    calls: Vec<Call>,
}

/// The calls after number `after` whose path begins so, in order. `url` is any platform's of the sandbox.
pub async fn calls(url: &str, platform: &str, after: u64, path: &str) -> Result<Vec<Call>> {
    let log = format!("{url}/_sandbox/requests?platform={platform}&limit=20000");
    let log: Log = reqwest::Client::new().get(log).send().await?.json().await.context("the sandbox's log")?;
    let mut calls: Vec<Call> =
        log.calls.into_iter().filter(|call| call.number > after && call.path.starts_with(path)).collect();
    calls.sort_by_key(|call| call.at_micros);
    Ok(calls)
}

/// Prints which part of `allowed` calls a second was used, and the most of any second.
pub fn compare(what: &str, calls: &[Call], allowed: usize) -> Result<()> {
    ensure!(calls.len() > allowed * 4, "{} calls are too few to say anything", calls.len());
    let times: Vec<f64> = calls.iter().map(|call| call.at_micros as f64 / 1e6).collect();
    let reached = (times.len() - 1) as f64 / (times[times.len() - 1] - times[0]);
    let most = (0..times.len())
        .map(|first| times[first..].iter().take_while(|time| **time < times[first] + 1.0).count())
        .max()
        .unwrap_or_default();
    at_least(&format!("{what}, {} calls", times.len()), "calls/s", reached, "allowed", allowed as f64, 0.97);
    println!(
        "most calls in any second: {most}, allowed {allowed} {}; answered 429: {}",
        if most <= allowed { "reached" } else { "MISSED" },
        calls.iter().filter(|call| call.status == 429).count()
    );
    Ok(())
}
