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

/// Time is given out by records: how many of them a call carries differs from platform to platform and from call to call.
#[derive(Debug)]
struct Spread {
    until: Instant,
    records_left: u64,
    next: Instant,
}

impl Spread {
    /// A call departs with `records`, of which some take `another` one later: the next call has to wait for their share of
    /// the time.
    fn depart(&mut self, records: u64, another: u64) {
        self.records_left += another;
        let share = records.min(self.records_left);
        if share > 0 {
            let left = self.until.saturating_duration_since(self.next).as_secs_f64();
            self.next += Duration::from_secs_f64(left * share as f64 / self.records_left as f64);
            self.records_left -= share;
        }
    }
}

impl Gate {
    /// A gate that keeps to `window` and to `stop`. `now` is the database's time: this machine's clock may jump.
    pub fn new(window: Option<Window>, stop: CancellationToken, now: Timestamp) -> Self {
        Self { window, stop, spread: Mutex::new(None), made: (now, Instant::now()) }
    }

    /// When the window opens, if it is closed.
    pub fn opens_at(&self) -> Option<Timestamp> {
        let now = self.now();
        self.window.as_ref().and_then(|window| next_opening(window, now)).filter(|opens| *opens > now)
    }

    fn now(&self) -> Timestamp {
        let (made, instant) = self.made;
        let passed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        made.saturating_add(passed).unwrap_or(made)
    }

    /// Spreads the next `records` evenly over `time`; what comes after is not held up.
    pub fn spread(&self, records: u64, time: Duration) {
        let now = Instant::now();
        *self.plan() = (!time.is_zero()).then(|| Spread { until: now + time, records_left: records, next: now });
    }

    fn plan(&self) -> MutexGuard<'_, Option<Spread>> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next call may be made, if that is not now.
    pub fn due(&self) -> Option<Instant> {
        let plan = self.plan();
        plan.as_ref()
            .filter(|spread| spread.records_left > 0)
            .map(|spread| spread.next)
            .filter(|due| *due > Instant::now())
    }

    /// A call departs now with `records`, of which `another` will take one more call.
    pub fn depart(&self, records: u64, another: u64) {
        if let Some(spread) = self.plan().as_mut() {
            spread.depart(records, another);
        }
    }

    /// This many records take no call: the others have their time.
    pub fn unsent(&self, records: u64) {
        if let Some(spread) = self.plan().as_mut() {
            spread.records_left = spread.records_left.saturating_sub(records);
        }
    }

    /// Waits until a call may be made that carries records whose time was given out before.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] when a stop was asked for, [`Kind::WindowClosed`].
    pub async fn pass(&self) -> Result<()> {
        self.check()?;
        if let Some(due) = self.due() {
            self.wait_until(due).await?;
        }
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
    /// [`Kind::Interrupted`], [`Kind::WindowClosed`].
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

/// Tells when a closed window opens again.
fn closed(window: &Window, now: Timestamp) -> Error {
    let zone = window.zone.iana_name().unwrap_or("local time");
    let opens = match next_opening(window, now) {
        Some(opens) => format!("{} {zone}", opens.to_zoned(window.zone.clone()).strftime("%Y-%m-%d %H:%M")),
        None => format!("{} {zone}", window.from),
    };
    Error::new(Kind::WindowClosed, format!("the load window is closed; it opens on {opens}"))
        .hint("nothing is wrong: what runs within the window continues")
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
        fn calls_of_a_spread_depart_as_late_as_the_records_before_them_are_many(
            calls in prop::collection::vec((0u64..4000, 0u64..500), 1..300), seconds in 1u64..100_000,
        ) {
            // What takes another call comes again at the end, and what is settled without a call takes no time.
            let again: u64 = calls.iter().map(|(records, _)| records / 10).sum();
            let records: u64 = calls.iter().map(|(records, _)| records).sum();
            let unsent: u64 = calls.iter().map(|(_, unsent)| unsent).sum();
            let (began, time) = (Instant::now(), Duration::from_secs(seconds));
            let mut spread = Spread { until: began + time, records_left: records + unsent, next: began };
            let mut before = began;
            for (records, unsent) in &calls {
                spread.records_left -= unsent;
                spread.depart(*records, records / 10);
                prop_assert!(spread.next >= before && spread.next <= began + time + Duration::from_millis(1));
                before = spread.next;
            }
            prop_assert_eq!(spread.records_left, again);
            spread.depart(again, 0);
            prop_assert_eq!(spread.records_left, 0);
            if records > 0 {
                prop_assert!((began + time).duration_since(spread.next) < Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn a_spread_load_uses_its_time_evenly_and_then_holds_nothing_up() {
        let began = Instant::now();
        let mut spread = Spread { until: began + Duration::from_secs(100), records_left: 50, next: began };
        let mut departed = Vec::new();
        while spread.records_left > 0 {
            departed.push((spread.next - began).as_secs());
            // Once twice as many, which take twice the time.
            spread.depart(if departed.len() == 2 { 20 } else { 10 }, 0);
        }
        assert_eq!(departed, [0, 20, 60, 80]);
        let next = spread.next;
        spread.depart(10, 0);
        assert_eq!(spread.next, next);
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait() {
        let stop = CancellationToken::new();
        let gate = Gate::new(None, stop.clone(), Timestamp::now());
        gate.spread(2, Duration::from_secs(3600));
        assert!(gate.pass().await.is_ok());
        gate.depart(1, 0);
        tokio::spawn(async move { stop.cancel() });
        let error = gate.pass().await.err().map(|error| error.kind());
        assert_eq!(error, Some(Kind::Interrupted));
    }
}
