//! How long a load would take: its calls at the account's rate, over the time that a first load is spread over, and only
//! in open hours. Closed hours are walked by the minute with the very test that a load asks before a call, so that nights,
//! midnight and the days on which clocks change add up as they will.

use crate::config::pipeline::{Load, Rate};
use crate::stage::load::READ_CALL;
use crate::stage::load::pace::is_open;
use crate::stage::load::tally::{Counts, Tally};
use crate::target::{JobPatience, Target};
use crate::{Result, sql};
use jiff::Timestamp;
use schemars::JsonSchema;
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
    /// Of `calls`, and of `jobs` seconds in which the target works at what calls have started, from `now` on; `None` where
    /// nothing tells how long it takes: no rate, no spread and no jobs.
    pub fn new(calls: u64, jobs: f64, settings: &Load, first_load: bool, now: Timestamp) -> Option<Self> {
        let spread = settings.spread.filter(|_| first_load && calls > 1).map(|spread| spread.0.as_secs_f64());
        let at_rate = settings.rate.map(|rate| seconds_for(calls, rate));
        let at_least = (at_rate.is_some() || jobs > 0.0).then(|| at_rate.unwrap_or(0.0) + jobs);
        let working = match (at_least, spread) {
            (Some(at_least), Some(spread)) => at_least.max(spread),
            (at_least, spread) => at_least.or(spread)?,
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

/// Calls that read, and the time in which the target works at what other calls have started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Beside {
    /// Calls by name.
    pub calls: Counts,
    /// Seconds for which jobs are waited for.
    pub job_seconds: f64,
}

impl Beside {
    /// Of what a load starts as jobs: operations with their number of calls.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of(
        client: &tokio_postgres::Client,
        target: &dyn Target,
        account: &str,
        jobs: &[(&'static str, u64)],
    ) -> Result<Self> {
        let mut beside = Self::default();
        let patience = target.job_patience();
        for (operation, calls) in jobs {
            let row = client.query_one(sql::file("deliver/job_seconds.sql")?, &[&account, operation]).await?;
            let (looks, until_seen) = looks(row.get::<_, Option<f64>>(0), &patience);
            Tally::add(&mut beside.calls, "ask for jobs", looks * calls);
            beside.job_seconds += calls.div_ceil(patience.at_once.max(1) as u64) as f64 * until_seen;
        }
        if let Some(reading) = target.opt_out_reading() {
            let since = "select extract(epoch from now() - read_until)::double precision
                from delivery.opt_out_readings where target = $1";
            let since: Option<f64> = client.query_opt(since, &[&account]).await?.and_then(|row| row.get(0));
            let back = reading.back.as_secs_f64();
            // Readings overlap by a day.
            let covered = since.map_or(back, |since| (since + 86_400.0).min(back));
            let parts = (covered / reading.window.as_secs_f64().max(1.0)).ceil();
            Tally::add(&mut beside.calls, READ_CALL, parts as u64);
        }
        Ok(beside)
    }
}

/// How often a job is asked for that takes `seconds`, and after how long it is seen to have ended. Of a target that has had
/// no job yet nobody knows: it is taken to be seen at the second look.
fn looks(seconds: Option<f64>, patience: &JobPatience) -> (u64, f64) {
    let mut pause = patience.first.as_secs_f64();
    let takes = seconds.unwrap_or(2.0 * pause).min(patience.give_up.as_secs_f64());
    let (mut looks, mut passed) = (1, pause);
    while passed < takes && pause > 0.0 {
        pause = (pause * 2.0).min(patience.longest.as_secs_f64());
        passed += pause;
        looks += 1;
    }
    (looks, passed)
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
        let estimate = Estimate::new(calls, 0.0, &load(settings), true, now.parse().ok()?)?;
        Some((estimate.working, estimate.closed, estimate.done_at.to_string()))
    }

    #[test]
    fn jobs_are_asked_for_at_growing_pauses_until_they_have_had_their_time() {
        let patience = JobPatience::default();
        assert_eq!(looks(Some(3.0), &patience), (1, 5.0));
        assert_eq!(looks(None, &patience), (2, 15.0));
        assert_eq!(looks(Some(70.0), &patience), (4, 75.0));
        let given_up = patience.give_up.as_secs_f64();
        let (_, passed) = looks(Some(1e9), &patience);
        assert!((given_up..given_up + patience.longest.as_secs_f64()).contains(&passed), "{passed}");
        assert_eq!(looks(None, &JobPatience { first: Duration::ZERO, ..patience }), (1, 0.0));
    }

    #[test]
    fn jobs_add_to_the_time_of_the_calls_and_make_an_estimate_by_themselves() {
        let now = Timestamp::UNIX_EPOCH;
        let working =
            |settings, jobs| Estimate::new(11, jobs, &load(settings), true, now).map(|estimate| estimate.working);
        assert_eq!(working(r#"{"rate": "1/s"}"#, 60.0), Some(70.0));
        assert_eq!(working("{}", 60.0), Some(60.0));
        assert_eq!(working(r#"{"rate": "1/s", "spread": "1h"}"#, 60.0), Some(3600.0));
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
