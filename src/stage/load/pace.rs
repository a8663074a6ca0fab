//! When the next call may be made: not after a stop was asked for, not outside the window, and on a first load that is to
//! be spread, not before its turn. The rate itself is kept by the HTTP client, for all processes alike.

use crate::config::pipeline::Window;
use crate::{Error, Kind, Result};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Lets calls through one by one.
#[derive(Debug)]
pub struct Gate {
    window: Option<Window>,
    stop: CancellationToken,
    spread: Option<Spread>,
}

#[derive(Debug)]
struct Spread {
    until: Instant,
    calls_left: u64,
    next: Instant,
}

impl Spread {
    /// When the next call may be made; `None` when all that were counted have been.
    fn turn(&mut self) -> Option<Instant> {
        self.calls_left = self.calls_left.checked_sub(1)?;
        let turn = self.next;
        let left = self.until.saturating_duration_since(turn).as_secs_f64();
        self.next = turn + Duration::from_secs_f64(left / (self.calls_left + 1) as f64);
        Some(turn)
    }
}

impl Gate {
    /// A gate that keeps to `window` and to `stop`.
    pub fn new(window: Option<Window>, stop: CancellationToken) -> Self {
        Self { window, stop, spread: None }
    }

    /// Spreads the next `calls` evenly over `time`; what comes after is not held up.
    pub fn spread(&mut self, calls: u64, time: Duration) {
        let now = Instant::now();
        self.spread =
            (calls > 1 && !time.is_zero()).then(|| Spread { until: now + time, calls_left: calls, next: now });
    }

    /// Waits until a call may be made.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] when a stop was asked for or the window is closed.
    pub async fn pass(&mut self) -> Result<()> {
        self.check()?;
        let Some(turn) = self.spread.as_mut().and_then(Spread::turn) else { return Ok(()) };
        self.wait_until(turn).await?;
        self.check()
    }

    /// Waits, unless a stop is asked for.
    ///
    /// # Errors
    /// [`Kind::Interrupted`].
    pub async fn wait(&self, time: Duration) -> Result<()> {
        self.wait_until(Instant::now() + time).await
    }

    async fn wait_until(&self, moment: Instant) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep_until(moment) => Ok(()),
            () = self.stop.cancelled() => Err(interrupted()),
        }
    }

    /// Whether work may go on at all.
    ///
    /// # Errors
    /// [`Kind::Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            return Err(interrupted());
        }
        match &self.window {
            Some(window) if !is_open(window, Timestamp::now()) => Err(Error::new(
                Kind::Interrupted,
                format!(
                    "the load window is closed; it opens at {} ({})",
                    window.from,
                    window.zone.iana_name().unwrap_or("local")
                ),
            )
            .hint("nothing is lost: run the command again within the window, it continues")),
            _ => Ok(()),
        }
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "stopped on request").hint("run the command again, it continues")
}

/// Whether work may begin at `moment`. The window may cross midnight; its end is outside.
pub fn is_open(window: &Window, moment: Timestamp) -> bool {
    let time = moment.to_zoned(window.zone.clone()).time();
    if window.from < window.until {
        window.from <= time && time < window.until
    } else {
        time >= window.from || time < window.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(window: &str, moment: &str) -> Option<bool> {
        Some(is_open(&window.parse().ok()?, moment.parse().ok()?))
    }

    #[test]
    fn a_window_opens_at_its_first_minute_and_is_closed_at_its_last() {
        assert_eq!(at("08:00-16:00 UTC", "2024-05-01T07:59:59Z"), Some(false));
        assert_eq!(at("08:00-16:00 UTC", "2024-05-01T08:00:00Z"), Some(true));
        assert_eq!(at("08:00-16:00 UTC", "2024-05-01T15:59:59Z"), Some(true));
        assert_eq!(at("08:00-16:00 UTC", "2024-05-01T16:00:00Z"), Some(false));
    }

    #[test]
    fn a_window_may_cross_midnight_and_follows_its_zone() {
        // Warsaw is two hours ahead in summer, one in winter.
        assert_eq!(at("22:00-06:00 Europe/Warsaw", "2024-07-01T20:00:00Z"), Some(true));
        assert_eq!(at("22:00-06:00 Europe/Warsaw", "2024-01-01T20:00:00Z"), Some(false));
        assert_eq!(at("22:00-06:00 Europe/Warsaw", "2024-07-01T03:59:00Z"), Some(true));
        assert_eq!(at("22:00-06:00 Europe/Warsaw", "2024-07-01T04:00:00Z"), Some(false));
        assert_eq!(at("22:00-06:00 Europe/Warsaw", "2024-07-01T12:00:00Z"), Some(false));
    }

    #[test]
    fn a_spread_load_uses_its_time_evenly_and_then_holds_nothing_up() {
        let began = Instant::now();
        let mut spread = Spread { until: began + Duration::from_secs(100), calls_left: 5, next: began };
        let turns: Vec<_> =
            std::iter::repeat_with(|| spread.turn().map(|turn| (turn - began).as_secs())).take(7).collect();
        assert_eq!(turns, [Some(0), Some(20), Some(40), Some(60), Some(80), None, None]);
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait() {
        let stop = CancellationToken::new();
        let mut gate = Gate::new(None, stop.clone());
        gate.spread(2, Duration::from_secs(3600));
        assert!(gate.pass().await.is_ok());
        tokio::spawn(async move { stop.cancel() });
        let error = gate.pass().await.err().map(|error| error.kind());
        assert_eq!(error, Some(Kind::Interrupted));
    }
}
