//! PostgreSQL's binary dates and times on the Unix epoch. Nothing enters but one integer.
//!
//! PostgreSQL counts from 2000-01-01, Arrow from 1970-01-01, and both ends of PostgreSQL's range are its infinities. What
//! has no place on the other scale is told apart instead of wrapped around.

/// Microseconds from 1970-01-01 to 2000-01-01.
const MICROSECONDS_1970_TO_2000: i64 = 946_684_800_000_000;
/// Days from 1970-01-01 to 2000-01-01.
const DAYS_1970_TO_2000: i32 = 10_957;

/// A time on the Unix epoch, or, where there is none, what to call the value.
pub(super) type OnUnixEpoch<T> = Result<T, String>;

/// A timestamp (with or without zone): microseconds since 2000-01-01.
pub(super) fn timestamp(microseconds: i64) -> OnUnixEpoch<i64> {
    match microseconds {
        i64::MAX => Err("infinity".into()),
        i64::MIN => Err("-infinity".into()),
        finite => finite
            .checked_add(MICROSECONDS_1970_TO_2000)
            .ok_or_else(|| format!("{finite} microseconds since 2000-01-01")),
    }
}

/// A date: days since 2000-01-01.
pub(super) fn date(days: i32) -> OnUnixEpoch<i32> {
    match days {
        i32::MAX => Err("infinity".into()),
        i32::MIN => Err("-infinity".into()),
        finite => finite.checked_add(DAYS_1970_TO_2000).ok_or_else(|| format!("{finite} days since 2000-01-01")),
    }
}

/// A timestamp on PostgreSQL's scale again; every one that [`timestamp`] gave has its place there.
pub(super) fn to_postgres_timestamp(microseconds: i64) -> i64 {
    microseconds.saturating_sub(MICROSECONDS_1970_TO_2000)
}

/// A date on PostgreSQL's scale again; every one that [`date`] gave has its place there.
pub(super) fn to_postgres_date(days: i32) -> i32 {
    days.saturating_sub(DAYS_1970_TO_2000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epochs_meet() {
        assert_eq!(timestamp(0), Ok(946_684_800_000_000));
        assert_eq!(timestamp(-946_684_800_000_000), Ok(0));
        assert_eq!(date(0), Ok(10_957));
        assert_eq!(date(-10_957), Ok(0));
    }

    #[test]
    fn infinities_and_times_beyond_the_range_are_named() {
        assert_eq!(timestamp(i64::MAX), Err("infinity".into()));
        assert_eq!(timestamp(i64::MIN), Err("-infinity".into()));
        assert_eq!(date(i32::MAX), Err("infinity".into()));
        assert_eq!(date(i32::MIN), Err("-infinity".into()));
        // The last microsecond of PostgreSQL's year 294276.
        assert_eq!(
            timestamp(9_223_371_331_199_999_999),
            Err("9223371331199999999 microseconds since 2000-01-01".into())
        );
    }
}
