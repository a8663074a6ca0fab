//! The shop's times: local, without a zone, whole seconds (`2026-02-14 09:12:30`), and dates that mean nothing.
//!
//! Asked and answered in the shop's own zone. In the night in which clocks go back an hour is written twice, so a bound
//! must not be the plain local time of a moment: what was changed in the second of the two hours carries an earlier time
//! than what was changed in the first. The lower bound is therefore the earliest local time that anything changed since
//! can carry. A time that is written twice is taken for the first of the two: it may repeat records, never leave one out.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Clocks are never put back by more.
const LARGEST_STEP_BACK: SignedDuration = SignedDuration::from_hours(24);

/// A moment that the shop wrote; none for zero dates, for dates that are none, and for anything else.
pub fn stamp(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let moment = local(text)?;
    zone.to_ambiguous_zoned(moment).earlier().ok().map(|zoned| zoned.timestamp())
}

/// A local time as the shop writes it. The time may be missing, or be divided by dashes (`12-00-00`, as categories do).
pub fn local(text: &str) -> Option<DateTime> {
    let text = text.trim();
    let day: Date = text.get(..10)?.parse().ok()?;
    // A zero date parses nowhere; years that no shop has seen are mistakes.
    if !(1990..=9000).contains(&day.year()) {
        return None;
    }
    let rest = text.get(10..)?.trim_start_matches([' ', 'T']);
    let mut parts = [0i8; 3];
    let clock = rest.split(['.', '+', 'Z']).next().unwrap_or_default();
    for (part, written) in parts.iter_mut().zip(clock.split([':', '-']).filter(|part| !part.is_empty())) {
        *part = written.trim().parse().ok()?;
    }
    let time = jiff::civil::Time::new(parts[0], parts[1], parts[2], 0).ok()?;
    Some(day.to_datetime(time))
}

/// The earliest local time that a record changed at or after `since` can carry, as long as nothing later than `now` is asked.
pub fn lower_bound(since: Timestamp, now: Timestamp, zone: &TimeZone) -> DateTime {
    let mut earliest = whole(zone.to_datetime(since));
    for transition in zone.following(since) {
        if transition.timestamp() > now {
            break;
        }
        let behind = whole(zone.to_datetime(transition.timestamp()));
        earliest = earliest.min(behind);
        if transition.timestamp().duration_since(since) > LARGEST_STEP_BACK {
            break;
        }
    }
    earliest
}

/// The local time of a moment.
pub fn upper_bound(until: Timestamp, zone: &TimeZone) -> DateTime {
    whole(zone.to_datetime(until))
}

/// As the shop is asked.
pub fn written(moment: DateTime) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The day alone, as products are asked for.
pub fn written_day(moment: DateTime) -> String {
    moment.date().to_string()
}

fn whole(moment: DateTime) -> DateTime {
    moment.with().subsec_nanosecond(0).build().unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn warsaw() -> TimeZone {
        TimeZone::get("Europe/Warsaw").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_read_in_the_shops_zone() {
        for (text, moment) in [
            ("2026-02-14 09:12:30", Some("2026-02-14T08:12:30Z")),
            ("2026-07-14 09:12:30", Some("2026-07-14T07:12:30Z")),
            ("2026-07-14T09:12:30", Some("2026-07-14T07:12:30Z")),
            (" 2026-02-14 ", Some("2026-02-13T23:00:00Z")),
            ("2026-01-10 12-00-00", Some("2026-01-10T11:00:00Z")),
            ("2026-02-14 09:12:30.5", Some("2026-02-14T08:12:30Z")),
            // An hour that is written twice, and one that does not exist.
            ("2026-10-25 02:30:00", Some("2026-10-25T00:30:00Z")),
            ("2026-03-29 02:30:00", Some("2026-03-29T00:30:00Z")),
            ("0000-00-00 00:00:00", None),
            ("0000-00-00", None),
            ("1899-12-30 00:00:00", None),
            ("2026-02-30 00:00:00", None),
            ("2026-02-14 25:00:00", None),
            ("0", None),
            ("", None),
            ("żółć", None),
            ("2026-02-1ł", None),
        ] {
            assert_eq!(stamp(text, &warsaw()), moment.map(at), "{text:?}");
        }
    }

    #[test]
    fn the_hour_written_twice_is_asked_for_from_its_beginning() {
        let zone = warsaw();
        let now = at("2026-10-25T05:00:00Z");
        // 02:50 for the first time: what follows is written from 02:00 on again.
        assert_eq!(written(lower_bound(at("2026-10-25T00:50:00Z"), now, &zone)), "2026-10-25 02:00:00");
        // Before the clocks are put back nothing is written twice yet.
        let before = at("2026-10-25T00:55:00Z");
        assert_eq!(written(lower_bound(at("2026-10-25T00:50:00Z"), before, &zone)), "2026-10-25 02:50:00");
        assert_eq!(written(lower_bound(at("2026-10-25T01:50:00Z"), now, &zone)), "2026-10-25 02:50:00");
        assert_eq!(written(lower_bound(at("2026-03-29T00:50:00Z"), now, &zone)), "2026-03-29 01:50:00");
    }

    fn zones() -> impl Strategy<Value = TimeZone> {
        prop::sample::select(vec![
            "Europe/Warsaw",
            "Europe/London",
            "America/New_York",
            "Australia/Lord_Howe",
            "UTC",
            "Asia/Kathmandu",
        ])
        .prop_map(|name| TimeZone::get(name).unwrap())
    }

    proptest! {
        /// Around every change of the clocks and elsewhere: a record changed between the bounds of a walk and written down
        /// by the shop's clock is inside what is asked for, or inside what the next walk asks for.
        #[test]
        fn nothing_changed_since_a_moment_is_written_before_the_bound(
            zone in zones(),
            since in 1_600_000_000i64..1_800_000_000,
            later in 0i64..100_000,
            until in 0i64..100_000,
        ) {
            let moment = |second: i64| Timestamp::from_second(second).unwrap();
            let now = moment(since + later + until);
            let shown = zone.to_datetime(moment(since + later));
            prop_assert!(lower_bound(moment(since), now, &zone) <= shown);
        }

        #[test]
        fn clocks_put_back_lose_nothing(zone in zones(), year in 2020i16..2030, before in 0i64..7_200, after in 0i64..7_200) {
            let new_year = jiff::civil::date(year, 1, 1).to_zoned(zone.clone()).unwrap().timestamp();
            for transition in zone.following(new_year).take(2) {
                let since = transition.timestamp() - SignedDuration::from_secs(before);
                let changed = transition.timestamp() + SignedDuration::from_secs(after);
                let now = changed + SignedDuration::from_mins(5);
                prop_assert!(lower_bound(since, now, &zone) <= zone.to_datetime(changed));
            }
        }

        #[test]
        fn what_is_written_is_read_again_never_later(zone in zones(), second in 1_000_000_000i64..2_000_000_000) {
            let moment = Timestamp::from_second(second).unwrap();
            let read = stamp(&written(upper_bound(moment, &zone)), &zone).unwrap();
            prop_assert!(read <= moment);
            prop_assert!(moment.duration_since(read) <= SignedDuration::from_hours(1));
        }

        #[test]
        fn no_text_makes_reading_fail(text in ".{0,30}", digits in "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.-]{0,12}") {
            stamp(&text, &warsaw());
            stamp(&digits, &warsaw());
        }
    }
}
