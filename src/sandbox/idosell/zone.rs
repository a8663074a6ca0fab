//! Times as the panel writes and takes them: naive, in the shop's zone. May use nothing of the shop.
//!
//! The platform compares naive times. In the hour that a zone has twice, a bound therefore leaves out rows of the second
//! pass that an instant would hold, and in the hour that it skips, a bound that does not exist still compares. A window
//! holds both: bounds in UTC that are never too narrow, and, where a bound is ambiguous, the naive comparison itself.

use crate::sandbox::table::Bounds;
use crate::{Error, Kind, Result};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// No date, as PHP and MySQL write it.
pub const ZERO_TIME: &str = "0000-00-00 00:00:00";
/// The moment of what has no date: written as [`ZERO_TIME`].
pub const UNDATED: i64 = i64::MIN;
/// No day.
pub const ZERO_DATE: &str = "0000-00-00";

/// A shop's time zone.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

/// What a gate takes as a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// `2026-02-14 09:12:30`, or a day, which is its midnight.
    Seconds,
    /// A day alone; the last one is held whole.
    Days,
}

/// A window of time, both ends held.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// In UTC, both excluded.
    pub bounds: Bounds,
    /// The naive ends, where UTC cannot say it.
    exact: Option<(Option<DateTime>, Option<DateTime>)>,
}

impl Zone {
    /// # Errors
    /// [`Kind::Command`] for an unknown name.
    pub fn open(name: &str) -> Result<Self> {
        TimeZone::get(name).map(Self).map_err(|error| {
            Error::new(Kind::Command, format!("`{name}` is no time zone"))
                .hint("write one of the IANA names, such as Europe/Warsaw")
                .because(error)
        })
    }

    /// The naive time of a moment (UTC seconds).
    pub fn naive(&self, seconds: i64) -> DateTime {
        self.0.to_datetime(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// `2026-02-14 09:12:30`
    pub fn time(&self, seconds: i64) -> String {
        if seconds == UNDATED {
            return ZERO_TIME.to_owned();
        }
        let at = self.naive(seconds);
        let (date, time) = (at.date(), at.time());
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        )
    }

    /// `2026-02-14`
    pub fn date(&self, seconds: i64) -> String {
        let at = self.naive(seconds);
        format!("{:04}-{:02}-{:02}", at.year(), at.month(), at.day())
    }

    /// The moment of a naive time.
    pub fn moment(&self, at: DateTime) -> i64 {
        self.0.to_ambiguous_timestamp(at).compatible().map(Timestamp::as_second).unwrap_or_default()
    }

    /// The moment that a text in the platform's own spelling names; `None` for a zero date and for what is no time.
    pub fn read(&self, text: &str) -> Option<i64> {
        parse(text).map(|(at, _)| self.moment(at))
    }

    /// A window between two texts.
    ///
    /// # Errors
    /// A sentence for what is no date in the platform's spelling.
    pub fn window(&self, begin: Option<&str>, end: Option<&str>, precision: Precision) -> Result<Window, String> {
        let read = |text: Option<&str>| match text.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => parse(text).map(Some).ok_or_else(|| format!("niepoprawny format daty: {text}")),
        };
        let midnight = |at: DateTime| at.date().at(0, 0, 0, 0);
        let (begin, end) = (read(begin)?, read(end)?);
        let (begin, end) = match precision {
            Precision::Seconds => (begin.map(|(at, _)| at), end.map(|(at, _)| at)),
            Precision::Days => (begin.map(|(at, _)| midnight(at)), end.map(|(at, _)| at.date().at(23, 59, 59, 0))),
        };
        let mut window = Window::default();
        let mut is_ambiguous = false;
        if let Some(begin) = begin {
            let moment = self.0.to_ambiguous_timestamp(begin);
            is_ambiguous |= moment.is_ambiguous();
            window.bounds.after = moment.earlier().ok().map(|moment| moment.as_second() - 1);
        }
        if let Some(end) = end {
            let moment = self.0.to_ambiguous_timestamp(end);
            is_ambiguous |= moment.is_ambiguous();
            window.bounds.before = moment.later().ok().map(|moment| moment.as_second() + 1);
        }
        window.exact = is_ambiguous.then_some((begin, end));
        Ok(window)
    }

    /// Whether a window has to be compared naively, and if so, holds a moment.
    pub fn holds_exactly(&self, window: &Window, seconds: i64) -> bool {
        let Some((begin, end)) = window.exact else { return true };
        let at = self.naive(seconds);
        begin.is_none_or(|begin| at >= begin) && end.is_none_or(|end| at <= end)
    }
}

impl Window {
    /// Whether bounds in UTC do not say all.
    pub fn is_exact_needed(&self) -> bool {
        self.exact.is_some()
    }

    /// Whether nothing is bounded.
    pub fn is_open(&self) -> bool {
        self.bounds == Bounds::default()
    }
}

/// A date with its time or without; says whether there was one.
fn parse(text: &str) -> Option<(DateTime, bool)> {
    let text = text.trim();
    if let Ok(date) = text.parse::<Date>()
        && text.len() == ZERO_DATE.len()
    {
        return Some((date.at(0, 0, 0, 0), false));
    }
    let is_spelt = text.len() == ZERO_TIME.len() && text.as_bytes().get(10) == Some(&b' ');
    let at: DateTime = text.parse().ok().filter(|_| is_spelt)?;
    Some((at, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        Zone::open("Europe/Warsaw").unwrap()
    }

    fn moment(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn holds(window: &Window, zone: &Zone, at: &str) -> bool {
        let at = moment(at);
        let within =
            window.bounds.after.is_none_or(|after| at > after) && window.bounds.before.is_none_or(|before| at < before);
        within && zone.holds_exactly(window, at)
    }

    #[test]
    fn both_ends_of_a_window_are_held_in_the_shops_zone() {
        let zone = zone();
        let (begin, end) = (Some("2026-02-14 00:00:00"), Some("2026-02-14 09:12:30"));
        let window = zone.window(begin, end, Precision::Seconds).unwrap();
        assert!(holds(&window, &zone, "2026-02-13T23:00:00Z"));
        assert!(!holds(&window, &zone, "2026-02-13T22:59:59Z"));
        assert!(holds(&window, &zone, "2026-02-14T08:12:30Z"));
        assert!(!holds(&window, &zone, "2026-02-14T08:12:31Z"));
    }

    #[test]
    fn a_day_holds_its_last_second_where_days_are_taken_and_its_midnight_elsewhere() {
        let zone = zone();
        let days = zone.window(Some("2026-02-14"), Some("2026-02-14"), Precision::Days).unwrap();
        assert!(holds(&days, &zone, "2026-02-14T22:59:59Z"));
        let seconds = zone.window(Some("2026-02-14"), Some("2026-02-14"), Precision::Seconds).unwrap();
        assert!(!holds(&seconds, &zone, "2026-02-14T12:00:00Z"));
    }

    #[test]
    fn in_the_hour_that_comes_twice_naive_times_are_compared() {
        let zone = zone();
        // 02:30 comes at 00:30 and at 01:30 UTC.
        let window = zone.window(Some("2026-10-25 02:30:00"), None, Precision::Seconds).unwrap();
        assert!(holds(&window, &zone, "2026-10-25T00:30:00Z"));
        assert!(!holds(&window, &zone, "2026-10-25T01:15:00Z"), "02:15 of the second pass is below the bound");
        assert!(holds(&window, &zone, "2026-10-25T01:30:00Z"));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in ["2026-02-14T09:12:30", "14.02.2026", "2026-02-14 09:12", "now"] {
            assert!(zone().window(Some(text), None, Precision::Seconds).is_err(), "{text}");
        }
    }
}
