//! How long a load would take: its calls at the account's rate, over the time that a first load is spread over, and only
//! in open hours. Closed hours are walked by the minute with the very test that a load asks before a call, so that nights,
//! midnight and the days on which clocks change add up as they will.

use crate::config::pipeline::{Load, Rate};
use crate::stage::load::pace::is_open;
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// Farther ahead nobody plans; what is left then is added as if it were open.
const HORIZON: i64 = 400 * 24 * 60;
const MINUTE: f64 = 60.0;

/// How long a load would take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Seconds of work: the calls at the account's rate, or the time they are spread over if that is longer.
    pub working: f64,
    /// Seconds of closed hours before and in between.
    pub closed: f64,
    /// When it would be done, if it began now and went on whenever the window opens.
    pub done_at: Timestamp,
}

impl Estimate {
    /// Of `calls` from `now` on; `None` where the pipeline file sets no rate, so that nobody can tell.
    pub fn new(calls: u64, settings: &Load, first_load: bool, now: Timestamp) -> Option<Self> {
        let spread = settings.spread.filter(|_| first_load && calls > 1).map(|spread| spread.0.as_secs_f64());
        let working = match (settings.rate.map(|rate| seconds_for(calls, rate)), spread) {
            (Some(at_rate), Some(spread)) => at_rate.max(spread),
            (at_rate, spread) => at_rate.or(spread)?,
        };
        let mut closed = 0.0;
        if let Some(window) = settings.window.as_ref().filter(|_| calls > 0) {
            let mut left = working;
            let mut moment = now;
            for _ in 0..HORIZON {
                // The first step only goes to the next full minute, because windows open and close on those.
                let step = MINUTE - moment.as_second().rem_euclid(60) as f64;
                if is_open(window, moment) {
                    if left <= step {
                        break;
                    }
                    left -= step;
                } else {
                    closed += step;
                }
                moment = moment.saturating_add(Duration::from_secs_f64(step)).unwrap_or(Timestamp::MAX);
            }
        }
        let whole = Duration::try_from_secs_f64(working + closed).unwrap_or(Duration::MAX);
        Some(Self { working, closed, done_at: now.saturating_add(whole).unwrap_or(Timestamp::MAX) })
    }
}

/// The first call needs no waiting.
fn seconds_for(calls: u64, rate: Rate) -> f64 {
    calls.saturating_sub(1) as f64 * rate.per.as_secs_f64() / f64::from(rate.calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Load {
        serde_json::from_str(text).unwrap_or_default()
    }

    fn estimate(calls: u64, settings: &str, now: &str) -> Option<(f64, f64, String)> {
        let estimate = Estimate::new(calls, &load(settings), true, now.parse().ok()?)?;
        Some((estimate.working, estimate.closed, estimate.done_at.to_string()))
    }

    #[test]
    fn the_first_call_of_a_rate_waits_for_nothing() {
        let rate = Rate { calls: 2, per: Duration::from_secs(1) };
        assert_eq!(seconds_for(0, rate), 0.0);
        assert_eq!(seconds_for(1, rate), 0.0);
        assert_eq!(seconds_for(11, rate), 5.0);
    }

    #[test]
    fn without_a_rate_nobody_can_tell() {
        assert_eq!(estimate(10, "{}", "2024-01-01T00:00:00Z"), None);
    }

    #[test]
    fn closed_hours_add_up() {
        let settings = r#"{"rate": "1/s", "window": "22:00-06:00 UTC"}"#;
        // Ten hours of work from noon: ten hours closed, eight open, sixteen closed, two open.
        assert_eq!(
            estimate(36_001, settings, "2024-01-01T12:00:00Z"),
            Some((36_000.0, 26.0 * 3600.0, "2024-01-03T00:00:00Z".into()))
        );
        assert_eq!(estimate(1, settings, "2024-01-01T12:00:30Z").map(|found| found.1), Some(10.0 * 3600.0 - 30.0));
        assert_eq!(estimate(0, settings, "2024-01-01T12:00:00Z").map(|found| found.1), Some(0.0));
        // Exactly what fits is done when the window closes.
        assert_eq!(estimate(28_801, settings, "2024-01-01T22:00:00Z").map(|found| found.1), Some(0.0));
    }

    #[test]
    fn the_night_on_which_clocks_change_is_an_hour_shorter_or_longer() {
        let settings = r#"{"rate": "1/s", "window": "22:00-06:00 Europe/Warsaw"}"#;
        // Nine hours of work. In spring the night has seven open hours, in autumn nine.
        let spring = estimate(32_401, settings, "2024-03-30T21:00:00Z").map(|found| found.1);
        let autumn = estimate(32_401, settings, "2024-10-26T20:00:00Z").map(|found| found.1);
        let plain = estimate(32_401, settings, "2024-05-01T20:00:00Z").map(|found| found.1);
        assert_eq!((spring, autumn, plain), (Some(16.0 * 3600.0), Some(0.0), Some(16.0 * 3600.0)));
    }

    #[test]
    fn a_spread_takes_its_time_unless_the_rate_takes_longer() {
        let settings = r#"{"rate": "1/s", "spread": "1h"}"#;
        assert_eq!(estimate(101, settings, "2024-01-01T00:00:00Z").map(|found| found.0), Some(3600.0));
        assert_eq!(estimate(7201, settings, "2024-01-01T00:00:00Z").map(|found| found.0), Some(7200.0));
    }
}
