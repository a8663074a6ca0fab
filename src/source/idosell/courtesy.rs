//! Sparing the shop's server: every so many calls it is asked how busy it is, and while it says `overloaded` nothing else
//! is asked (sheet, section 3).
//!
//! A key without the right to ask, or a server that does not answer this, is no reason to stop reading.

use super::IdoSell;
use crate::config::pipeline::Span;
use crate::{Error, Kind, Result};
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The pause that the sheet names.
const PAUSE: Duration = Duration::from_secs(60);
/// After so many pauses in a row the walk stops and is continued by the next run.
const MOST_PAUSES: u32 = 60;

/// How often the server is asked, and how long it is left alone.
pub struct Courtesy {
    every: u32,
    pause: Duration,
    /// Calls since it was last asked.
    calls: AtomicU32,
    /// The server does not say.
    is_silent: AtomicBool,
}

#[derive(Deserialize)]
struct Load {
    #[serde(rename = "serverLoadStatus")]
    status: Option<String>,
}

impl Courtesy {
    /// `every`: 0 for never.
    pub fn new(every: u32, pause: Option<Span>) -> Self {
        let pause = pause.and_then(|pause| Duration::try_from(pause.0).ok()).unwrap_or(PAUSE);
        Self { every, pause, calls: AtomicU32::new(0), is_silent: AtomicBool::new(false) }
    }

    /// Waits until the server can take a call.
    ///
    /// # Errors
    /// [`Kind::Throttled`] if it is overloaded for an hour.
    pub async fn wait(&self, shop: &IdoSell) -> Result<()> {
        if self.every == 0 || self.is_silent.load(Ordering::Relaxed) {
            return Ok(());
        }
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        if !calls.is_multiple_of(self.every) {
            return Ok(());
        }
        for _ in 0..MOST_PAUSES {
            if !self.is_overloaded(shop).await {
                return Ok(());
            }
            tracing::warn!("the shop's server is overloaded; it is left alone for {} s", self.pause.as_secs());
            tokio::time::sleep(self.pause).await;
        }
        Err(Error::new(Kind::Throttled, "the shop's server has been overloaded for too long")
            .hint("run the command again later; it continues where it stopped")
            .retry_after(self.pause))
    }

    async fn is_overloaded(&self, shop: &IdoSell) -> bool {
        let answer = match shop.get("system/serverLoad").attempts(2).send().await {
            Ok(answer) => answer,
            Err(failure) => {
                // Without the right to ask the next answer will be the same.
                let never = failure.status().is_some_and(|status| matches!(status, 401 | 403 | 404));
                self.is_silent.store(never, Ordering::Relaxed);
                tracing::debug!("{failure}; the shop is read without asking how busy it is");
                return false;
            }
        };
        shop.note_clock(&answer);
        let load = answer.json::<Load>().await.ok();
        load.and_then(|load| load.status).is_some_and(|status| status.eq_ignore_ascii_case("overloaded"))
    }
}
