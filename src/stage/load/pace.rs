//! When the next call may be made: not after a stop was asked for, not outside the window, and on a first load that is to
//! be spread, not before its turn. The rate itself is kept by the HTTP client, for all processes alike.

use crate::config::pipeline::Window;
use crate::{Error, Kind, Result};
use jiff::{SignedDuration, Timestamp};
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
    /// The time when it was made, and that moment by the monotonic clock.
    made: (Timestamp, Instant),
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
    /// A gate that keeps to `window` and to `stop`. `now` is the database's time: this machine's clock may jump.
    pub fn new(window: Option<Window>, stop: CancellationToken, now: Timestamp) -> Self {
        Self { window, stop, spread: Mutex::new(None), made: (now, Instant::now()) }
    }

    fn now(&self) -> Timestamp {
        let (made, instant) = self.made;
        let passed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        made.saturating_add(passed).unwrap_or(made)
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
            Some(window) if !is_open(window, self.now()) => Err(closed(window, self.now())),
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
/// the moment after the gap; a window that lies in the gap as a whole opens on the next day. Where the clock is set back
/// into it, it opens again.
pub fn next_opening(window: &Window, now: Timestamp) -> Option<Timestamp> {
    if is_open(window, now) {
        return Some(now);
    }
    let zone = &window.zone;
    let today = now.to_zoned(zone.clone()).date();
    let begins = (0..=3).filter_map(|days| {
        let begins = today.checked_add(jiff::Span::new().days(days)).ok()?.to_datetime(window.from);
        let ambiguous = zone.to_ambiguous_timestamp(begins);
        Some([ambiguous.earlier().ok(), ambiguous.later().ok()])
    });
    let jumps = zone.following(now).take(2).map(|transition| transition.timestamp());
    let moments = begins.flatten().flatten().chain(jumps);
    moments.filter(|moment| *moment >= now && is_open(window, *moment)).min()
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
    use proptest::prelude::*;

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

    fn opens(window: &str, now: &str) -> String {
        let window: Window = window.parse().unwrap();
        let opens = next_opening(&window, now.parse().unwrap()).unwrap();
        opens.to_zoned(window.zone).strftime("%Y-%m-%d %H:%M:%S %z").to_string()
    }

    #[test]
    fn a_closed_window_opens_today_or_tomorrow_in_its_own_zone() {
        assert_eq!(opens("22:00-06:00 Europe/Warsaw", "2024-07-01T10:00:00Z"), "2024-07-01 22:00:00 +0200");
        assert_eq!(opens("08:00-16:00 UTC", "2024-05-01T16:00:00Z"), "2024-05-02 08:00:00 +0000");
        assert_eq!(opens("08:00-16:00 Asia/Tokyo", "2024-05-01T07:00:00Z"), "2024-05-02 08:00:00 +0900");
        // Open is open, on both sides of midnight.
        assert_eq!(opens("22:00-06:00 Europe/Warsaw", "2024-07-01T22:30:00Z"), "2024-07-02 00:30:00 +0200");
        assert_eq!(opens("22:00-24:00 UTC", "2024-07-01T23:59:59Z"), "2024-07-01 23:59:59 +0000");
        assert_eq!(opens("22:00-24:00 UTC", "2024-07-02T00:00:00Z"), "2024-07-02 22:00:00 +0000");
    }

    #[test]
    fn a_window_that_the_clock_jumps_over_opens_after_the_gap_or_on_the_next_day() {
        // In Warsaw 02:00 to 03:00 does not exist on 31 March 2024.
        assert_eq!(opens("02:30-05:00 Europe/Warsaw", "2024-03-31T00:10:00Z"), "2024-03-31 03:00:00 +0200");
        assert_eq!(opens("02:10-02:50 Europe/Warsaw", "2024-03-31T00:10:00Z"), "2024-04-01 02:10:00 +0200");
        assert_eq!(opens("22:00-02:30 Europe/Warsaw", "2024-03-31T01:00:00Z"), "2024-03-31 22:00:00 +0200");
    }

    #[test]
    fn an_hour_that_comes_twice_opens_the_window_at_its_first_coming_and_again_at_its_second() {
        // In Warsaw 02:00 to 03:00 comes twice on 27 October 2024: from 00:00 and from 01:00 UTC.
        assert_eq!(opens("02:15-02:45 Europe/Warsaw", "2024-10-26T23:00:00Z"), "2024-10-27 02:15:00 +0200");
        assert_eq!(opens("02:15-02:45 Europe/Warsaw", "2024-10-27T00:50:00Z"), "2024-10-27 02:15:00 +0100");
        assert_eq!(opens("02:15-02:45 Europe/Warsaw", "2024-10-27T01:50:00Z"), "2024-10-28 02:15:00 +0100");
    }

    proptest! {
        #[test]
        fn the_next_opening_is_never_past_always_open_and_never_before_an_earlier_one(
            from in 0i8..24, minute in 0i8..60, hours in 1i8..24,
            zone in prop::sample::select(vec![
                "Europe/Warsaw", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "Pacific/Apia",
            ]),
            // Around both changes of clocks, and anywhere.
            now in prop_oneof![
                1_711_700_000i64..1_711_960_000, 1_729_900_000i64..1_730_600_000, 1_700_000_000i64..1_760_000_000,
            ],
            later in 0i64..200_000,
        ) {
            let window: Window = format!("{from}:{minute:02}-{}:{minute:02} {zone}", (from + hours) % 24).parse().unwrap();
            let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
            let opens = next_opening(&window, at(now)).unwrap();
            prop_assert!(opens >= at(now) && is_open(&window, opens));
            prop_assert!(opens.duration_since(at(now)) < SignedDuration::from_hours(50), "{opens}");
            // Nothing is open before it, minute by minute.
            let passed = opens.duration_since(at(now)).as_secs();
            for second in (0..passed).step_by(60) {
                prop_assert!(!is_open(&window, at(now + second)), "open {second} s on, but it says {passed} s");
            }
            prop_assert!(next_opening(&window, at(now + later)).unwrap() >= opens);
        }

        #[test]
        fn the_turns_of_a_spread_are_even_and_none_is_left_over(calls in 2u64..3000, seconds in 1u64..100_000) {
            let began = Instant::now();
            let time = Duration::from_secs(seconds);
            let mut spread = Spread { until: began + time, calls_left: calls, next: began };
            let turns: Vec<Duration> = std::iter::from_fn(|| spread.turn()).map(|turn| turn - began).collect();
            prop_assert_eq!(turns.len() as u64, calls);
            let even = time.as_secs_f64() / calls as f64;
            for (n, turn) in turns.iter().enumerate() {
                prop_assert!((turn.as_secs_f64() - n as f64 * even).abs() < 1e-3, "{n}: {turn:?}");
            }
        }
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
        let gate = Gate::new(None, stop.clone(), Timestamp::now());
        gate.spread(2, Duration::from_secs(3600));
        assert!(gate.pass().await.is_ok());
        tokio::spawn(async move { stop.cancel() });
        let error = gate.pass().await.err().map(|error| error.kind());
        assert_eq!(error, Some(Kind::Interrupted));
    }
}
