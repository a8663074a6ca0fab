//! The small languages inside a pipeline file: rates, lengths of time, windows, cron lines, names, countries.
//!
//! Each has one parser, used by the validation (which knows it by its JSON Schema `format`) and by serde. A parser says
//! what is wrong and what would be right, never the value: it may have come from a variable.

use jiff::SignedDuration;
use jiff::civil::{Date, Time};
use rlibphonenumber::PHONE_NUMBER_UTIL;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Calls per time: `10/s`, `600/min`, `5000/h`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many calls.
    pub calls: u32,
    /// In how long.
    pub per: Duration,
}

/// A length of time: `30s`, `15m`, `8h`, `7d`, or ISO 8601.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span(pub SignedDuration);

/// Hours of the day in a time zone; may cross midnight.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// First minute in which work may begin.
    pub from: Time,
    /// First minute in which it may not.
    pub until: Time,
    /// The zone both are meant in.
    pub zone: jiff::tz::TimeZone,
}

/// A secret in the JSON Schema: text that no message shows. For `#[schemars(with = "Secret")]`.
pub struct Secret;

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "password", "minLength": 1 })
    }
}

/// Why a text is not in a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    /// Ends a sentence that begins with the key: `is no rate`.
    pub what: &'static str,
    /// What would be right.
    pub right: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.right)
    }
}

impl std::error::Error for Wrong {}

/// Checks a text against a JSON Schema `format`; formats that are not ours pass.
pub fn check(format: &str, text: &str) -> Result<(), Wrong> {
    match format {
        "rate" => text.parse::<Rate>().map(drop),
        "span" => text.parse::<Span>().map(drop),
        "window" => text.parse::<Window>().map(drop),
        "date" => date(text),
        "cron" => cron(text),
        "name" => name(text),
        "country" => country(text),
        "time-zone" => time_zone(text),
        _ => Ok(()),
    }
}

macro_rules! text_format {
    ($name:ident, $format:literal, $what:literal, $examples:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "format": $format, "description": $what, "examples": $examples
                })
            }
        }
    };
}

text_format!(Rate, "rate", "Calls per time: 10/s, 600/min, 5000/h", ["10/s", "600/min", "5000/h"]);
text_format!(Span, "span", "A length of time: 30s, 15m, 8h, 7d", ["30s", "15m", "8h", "7d"]);
text_format!(
    Window,
    "window",
    "Hours of the day in a time zone: 22:00-06:00 Europe/Warsaw",
    ["22:00-06:00 Europe/Warsaw"]
);

impl FromStr for Rate {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = Wrong { what: "is no rate", right: "write calls per time, for example 10/s, 600/min or 5000/h" };
        let (calls, unit) = text.split_once('/').ok_or(wrong)?;
        let calls: u32 = calls.trim().parse().map_err(|_| wrong)?;
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "min" | "m" | "minute" => 60,
            "h" | "hour" => 3600,
            "d" | "day" => 86_400,
            _ => return Err(wrong),
        };
        if calls == 0 {
            return Err(Wrong { what: "is a rate that never finishes", right: "leave it out for no limit" });
        }
        Ok(Self { calls, per: Duration::from_secs(seconds) })
    }
}

impl FromStr for Span {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = Wrong { what: "is no length of time", right: "write for example 30s, 15m, 8h or 7d" };
        // jiff has no days in a SignedDuration: a day here is 24 hours, whatever the clocks do.
        if let Some(days) = text.trim().strip_suffix('d') {
            let days: u32 = days.trim().parse().map_err(|_| wrong)?;
            return Ok(Self(SignedDuration::from_hours(i64::from(days) * 24)));
        }
        let span: SignedDuration = text.trim().parse().map_err(|_| wrong)?;
        if span.is_negative() { Err(wrong) } else { Ok(Self(span)) }
    }
}

impl FromStr for Window {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let wrong = Wrong { what: "is no window", right: "write hours and a time zone: 22:00-06:00 Europe/Warsaw" };
        let (hours, zone) = text.trim().rsplit_once(char::is_whitespace).ok_or(wrong)?;
        let (from, until) = hours.split_once('-').ok_or(wrong)?;
        let (from, until) = (clock(from).ok_or(wrong)?, clock(until).ok_or(wrong)?);
        let zone = jiff::tz::TimeZone::get(zone).map_err(|_| Wrong {
            what: "names no known time zone",
            right: "write one of the IANA names, such as Europe/Warsaw, behind the hours",
        })?;
        if from == until {
            return Err(Wrong { what: "is an empty window", right: "leave it out for the whole day" });
        }
        Ok(Self { from, until, zone })
    }
}

/// `22:00`, `6:30`; `24:00` is the midnight at the end of the day.
fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    if hour.is_empty() || hour.len() > 2 || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (i8, i8) = (hour.parse().ok()?, minute.parse().ok()?);
    if (hour, minute) == (24, 0) { Some(Time::midnight()) } else { Time::new(hour, minute, 0, 0).ok() }
}

fn date(text: &str) -> Result<(), Wrong> {
    // jiff would also take a date with a time, and drop the time.
    let written_so = text.len() == 10 && text.parse::<Date>().is_ok();
    let right = "write year-month-day, for example 2024-01-31";
    if written_so { Ok(()) } else { Err(Wrong { what: "is no date", right }) }
}

fn time_zone(text: &str) -> Result<(), Wrong> {
    let right = "write one of the IANA names, such as Europe/Warsaw";
    jiff::tz::TimeZone::get(text).map(drop).map_err(|_| Wrong { what: "is no known time zone", right })
}

fn country(text: &str) -> Result<(), Wrong> {
    if text == "UK" {
        return Err(Wrong { what: "is no country code", right: "the United Kingdom's is GB" });
    }
    let right = "write two capital letters as in ISO 3166-1: PL, DE, UA";
    let two_capitals = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if two_capitals && is_assigned(text) { Ok(()) } else { Err(Wrong { what: "is no country code", right }) }
}

/// Whether a country has the code: the library that reads phones knows them all.
fn is_assigned(code: &str) -> bool {
    let region = rlibphonenumber::enums::Region::try_from(code).ok();
    region.is_some_and(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some())
}

/// Names become part of lease names, progress lines and paths.
fn name(text: &str) -> Result<(), Wrong> {
    let right = "write up to 60 letters, digits, `-`, `_` or `.`, a letter or digit first: my-shop";
    let first_fits = text.chars().next().is_some_and(char::is_alphanumeric);
    let rest_fits = text.chars().all(|letter| letter.is_alphanumeric() || "-_.".contains(letter));
    if first_fits && rest_fits && text.chars().count() <= 60 {
        Ok(())
    } else {
        Err(Wrong { what: "is no name that can be used", right })
    }
}

/// Five fields: minute, hour, day of the month, month, day of the week.
fn cron(text: &str) -> Result<(), Wrong> {
    const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let right = "write minute hour day month weekday, for example \"*/15 * * * *\" or \"30 2 * * mon-fri\"";
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(Wrong { what: "is no cron line of five fields", right });
    };
    let checks: [(&str, u32, u32, &[&str], &'static str); 5] = [
        (minute, 0, 59, &[], "has no valid minute (0 to 59) in its first field"),
        (hour, 0, 23, &[], "has no valid hour (0 to 23) in its second field"),
        (day, 1, 31, &[], "has no valid day (1 to 31) in its third field"),
        (month, 1, 12, MONTHS, "has no valid month (1 to 12, jan to dec) in its fourth field"),
        (weekday, 0, 7, DAYS, "has no valid weekday (0 to 7, sun to sat) in its fifth field"),
    ];
    for (field, low, high, names, what) in checks {
        if !field.split(',').all(|part| cron_part(part, low, high, names)) {
            return Err(Wrong { what, right });
        }
    }
    Ok(())
}

/// `*`, `5`, `1-5`, each also with `/step`.
fn cron_part(part: &str, low: u32, high: u32, names: &[&str]) -> bool {
    let number = |text: &str| -> Option<u32> {
        let by_name = names.iter().zip(low..).find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, n)| n);
        let by_digits = || if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
        by_name.or_else(by_digits).filter(|n| (low..=high).contains(n))
    };
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, step.parse::<u32>().is_ok_and(|step| step >= 1)),
        None => (part, true),
    };
    let range_fits = match range.split_once('-') {
        _ if range == "*" => true,
        Some((first, last)) => matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last),
        None => number(range).is_some(),
    };
    range_fits && step
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_are_calls_per_time() {
        assert_eq!("10/s".parse(), Ok(Rate { calls: 10, per: Duration::from_secs(1) }));
        assert_eq!("600 / min".parse(), Ok(Rate { calls: 600, per: Duration::from_secs(60) }));
        assert_eq!("5000/h".parse(), Ok(Rate { calls: 5000, per: Duration::from_secs(3600) }));
        for wrong in ["", "10", "10/", "/s", "ten/s", "10/fortnight", "-1/s", "0/s", "1.5/s", "99999999999/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_lengths_of_time() {
        assert_eq!("30s".parse(), Ok(Span(SignedDuration::from_secs(30))));
        assert_eq!("1h 30m".parse(), Ok(Span(SignedDuration::from_mins(90))));
        assert_eq!("7d".parse(), Ok(Span(SignedDuration::from_hours(168))));
        assert_eq!("PT8H".parse(), Ok(Span(SignedDuration::from_hours(8))));
        for wrong in ["", "8", "d", "-1h", "1 fortnight", "99999999999d"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn windows_are_hours_in_a_zone() {
        let window: Result<Window, Wrong> = "22:00-06:00 Europe/Warsaw".parse();
        assert!(window.is_ok_and(|window| window.from.hour() == 22 && window.until.hour() == 6));
        assert!("8:00 - 24:00 UTC".parse::<Window>().is_ok());
        for wrong in
            ["", "22:00-06:00", "22-06 UTC", "25:00-06:00 UTC", "22:00-22:00 UTC", "22:00-06:00 Europe/Nowhere"]
        {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn cron_lines_have_five_fields_in_range() {
        for right in ["*/15 * * * *", "30 2 * * mon-fri", "0 0 1,15 * *", "5-50/5 0-6 * jan-mar 7"] {
            assert_eq!(cron(right), Ok(()), "{right}");
        }
        for wrong in ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"]
        {
            assert!(cron(wrong).is_err(), "{wrong}");
        }
        for wrong in ["*/0 * * * *", "5-1 * * * *", ", * * * *", "+5 * * * *", "a-b * * * *", "@daily"] {
            assert!(cron(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn countries_are_two_capital_letters() {
        assert_eq!(country("PL"), Ok(()));
        for wrong in ["pl", "POL", "ZZ", "", "UK", "Polska"] {
            assert!(country(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dates_have_no_time() {
        assert_eq!(date("2024-02-29"), Ok(()));
        for wrong in ["2023-02-29", "2024-1-1", "01.02.2024", "2024-01-01T00:00", "20240101", ""] {
            assert!(date(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_a_parser(text in "\\PC*", format in "rate|span|window|date|cron|name|country|time-zone") {
            let _ = check(&format, &text);
        }

        #[test]
        fn a_rate_reads_as_written(calls in 1u32.., unit in "s|min|h|d") {
            prop_assert_eq!(format!("{calls}/{unit}").parse::<Rate>().map(|rate| rate.calls), Ok(calls));
        }
    }
}
