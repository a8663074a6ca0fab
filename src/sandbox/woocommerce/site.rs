//! The site's settings that rows and dates depend on: address, time zone, clock. May use nothing of the rows.

use crate::{Error, Kind, Result};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Address and time zone of the site.
#[derive(Debug, Clone)]
pub struct Site {
    /// The home address, sub-folder included, without a final slash.
    pub home: String,
    /// The site's time zone.
    pub zone: TimeZone,
}

impl Site {
    /// # Errors
    /// [`Kind::Command`] for an unknown time zone.
    pub fn new(home: String, zone: &str) -> Result<Self> {
        let zone = TimeZone::get(zone).map_err(|error| {
            Error::new(Kind::Command, format!("`{zone}` is no time zone"))
                .hint("write one of the IANA names, such as Europe/Warsaw")
                .because(error)
        })?;
        Ok(Self { home, zone })
    }

    /// Site time without zone, as `date_*` fields have it.
    pub fn local(&self, seconds: i64) -> String {
        timestamp(seconds).to_zoned(self.zone.clone()).datetime().to_string()
    }

    /// UTC without zone, as `date_*_gmt` fields have it.
    pub fn gmt(seconds: i64) -> String {
        timestamp(seconds).to_zoned(TimeZone::UTC).datetime().to_string()
    }

    /// The moment of a site time.
    pub fn from_local(&self, local: DateTime) -> Option<i64> {
        local.to_zoned(self.zone.clone()).ok().map(|zoned| zoned.timestamp().as_second())
    }

    /// The bound that a shop compares with when it is asked for what came after or before `text` (sheet, section 4):
    ///
    /// - with `dates_are_gmt`, a value without zone is UTC, and one with a zone is turned into **site time** and then
    ///   compared with the UTC column, so that the window shifts by the site's offset;
    /// - without, a value with a zone is right and one without is site time.
    ///
    /// `None` for what is no date with time.
    pub fn bound(&self, text: &str, dates_are_gmt: bool) -> Option<i64> {
        // Fractions of a second pass and are cut off, as the shop compares whole seconds.
        if !text.contains(['T', 't', ' ']) {
            return None;
        }
        // A plus that was not encoded arrives as a blank.
        let text = match text.rsplit_once(' ') {
            Some((head, zone)) if head.contains(['T', 't']) => format!("{head}+{zone}"),
            _ => text.replacen(' ', "T", 1),
        };
        if let Ok(instant) = text.parse::<Timestamp>() {
            if !dates_are_gmt {
                return Some(instant.as_second());
            }
            let local = instant.to_zoned(self.zone.clone()).datetime();
            return local.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second());
        }
        let civil: DateTime = text.parse().ok()?;
        if dates_are_gmt {
            return civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second());
        }
        self.from_local(civil)
    }
}

/// Reads a `date_*_gmt` field.
pub fn parse_gmt(text: &str) -> Option<i64> {
    let civil: DateTime = text.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site::new("http://127.0.0.1:1".to_owned(), "Europe/Kyiv").unwrap()
    }

    #[test]
    fn a_z_beside_dates_are_gmt_shifts_the_bound_by_the_sites_offset() {
        let plain = site().bound("2026-01-10T10:00:00", true).unwrap();
        let with_z = site().bound("2026-01-10T10:00:00Z", true).unwrap();
        assert_eq!(with_z - plain, 2 * 3600);
        assert_eq!(site().bound("2026-01-10T10:00:00Z", false), Some(plain));
        assert_eq!(site().bound("2026-01-10T12:00:00", false), Some(plain));
        assert_eq!(site().bound("2026-01-10T12:00:00+02:00", false), Some(plain));
        assert_eq!(site().bound("2026-01-10T12:00:00 02:00", false), Some(plain));
    }

    #[test]
    fn a_date_without_time_is_none_and_fractions_pass() {
        assert_eq!(site().bound("2026-01-10", true), None);
        assert_eq!(site().bound("yesterday", true), None);
        assert_eq!(site().bound("2026-01-10T10:00:00.750", true), site().bound("2026-01-10T10:00:00", true));
    }

    #[test]
    fn dates_are_written_in_site_time_and_in_utc() {
        assert_eq!(site().local(1_790_812_800), "2026-10-01T03:00:00");
        assert_eq!(Site::gmt(1_790_812_800), "2026-10-01T00:00:00");
        assert_eq!(parse_gmt("2026-10-01T00:00:00"), Some(1_790_812_800));
    }
}
