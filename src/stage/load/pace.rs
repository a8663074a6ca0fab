//! When the next call may be made: not after a stop was asked for, not outside the window, and on a first load that is to
//! be spread, not before its turn. The rate itself is kept by the HTTP client, for all processes alike.

use crate::config::pipeline::Window;
use crate::{Error, Kind, Result};
use jiff::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Lets calls through one by one.
#[derive(Debug)]
pub struct Gate {
    window: Option<Window>,
    stop: CancellationToken,
    spread: Mutex<Option<Spread>>,
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
        Self { window, stop, spread: Mutex::new(None) }
    }

    /// Spreads the next `calls` evenly over `time`; what comes after is not held up.
    pub fn spread(&self, calls: u64, time: Duration) {
        let now = Instant::now();
        *self.plan() =
            (calls > 1 && !time.is_zero()).then(|| Spread { until: now + time, calls_left: calls, next: now });
    }

    fn plan(&self) -> MutexGuard<'_, Option<Spread>> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next call may be made, if that is not now.
    pub fn due(&self) -> Option<Instant> {
        let plan = self.plan();
        plan.as_ref()
            .filter(|spread| spread.calls_left > 0)
            .map(|spread| spread.next)
            .filter(|due| *due > Instant::now())
    }

    /// A call is made now.
    pub fn depart(&self) {
        if let Some(spread) = self.plan().as_mut() {
            spread.turn();
        }
    }

    /// Waits until a call may be made.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] when a stop was asked for or the window is closed.
    pub async fn pass(&self) -> Result<()> {
        self.check()?;
        if let Some(due) = self.due() {
            self.wait_until(due).await?;
        }
        self.depart();
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
            () = self.stopped() => Err(interrupted()),
        }
    }

    /// Waits until a stop is asked for.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
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
            Some(window) if !is_open(window, Timestamp::now()) => Err(closed(window, Timestamp::now())),
            _ => Ok(()),
        }
    }
}

/// The window is closed: when it opens again.
fn closed(window: &Window, now: Timestamp) -> Error {
    let zone = window.zone.iana_name().unwrap_or("local time");
    let opens = match next_opening(window, now) {
        Some(opens) => format!("{} {zone}", opens.to_zoned(window.zone.clone()).strftime("%Y-%m-%d %H:%M")),
        None => format!("{} {zone}", window.from),
    };
    Error::new(Kind::Interrupted, format!("the load window is closed; it opens on {opens}"))
        .hint("nothing is lost: run the command again within the window, it continues")
}

/// The first moment from `now` on at which the window is open. Where the clock is set forward over its beginning, that is
/// the moment after the gap; a window that lies in the gap as a whole opens on the next day.
pub fn next_opening(window: &Window, now: Timestamp) -> Option<Timestamp> {
    if is_open(window, now) {
        return Some(now);
    }
    let today = now.to_zoned(window.zone.clone()).date();
    (0..=3)
        .filter_map(|days| {
            let begins = today.checked_add(jiff::Span::new().days(days)).ok()?.to_datetime(window.from);
            // An hour that is there twice opens the window when it first comes; one that is not, where the gap ends.
            let ambiguous = window.zone.to_ambiguous_timestamp(begins);
            ambiguous
                .later()
                .ok()
                .into_iter()
                .chain(window.zone.to_ambiguous_timestamp(begins).earlier().ok())
                .min_by_key(
                    |moment| if *moment >= now && is_open(window, *moment) { (0, *moment) } else { (1, *moment) },
                )
        })
        .find(|moment| *moment >= now && is_open(window, *moment))
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
        let gate = Gate::new(None, stop.clone());
        gate.spread(2, Duration::from_secs(3600));
        assert!(gate.pass().await.is_ok());
        tokio::spawn(async move { stop.cancel() });
        let error = gate.pass().await.err().map(|error| error.kind());
        assert_eq!(error, Some(Kind::Interrupted));
    }
}
