//! Which record it is, and when it changed.

use crate::source::Identity;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The members that name a record and its change.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    date_modified_gmt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    date_created_gmt: Option<&'a RawValue>,
}

/// Key and change time: `id`, and `date_modified_gmt`, or `date_created_gmt` where that is null (users never edited).
pub(super) fn identity(record: &[u8]) -> Result<Identity, String> {
    // A row left without any field is `[]` (sheet, section 4).
    if record.first() != Some(&b'{') {
        return Err("the record is no object".to_owned());
    }
    let head: Head = serde_json::from_slice(record).map_err(|_| "the record cannot be read".to_owned())?;
    let digits = head.id.map(|id| id.get().trim_matches('"')).unwrap_or_default();
    let is_key = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits != "0";
    if !is_key {
        return Err("the record has no id".to_owned());
    }
    let updated_at = head.date_modified_gmt.and_then(stamp).or_else(|| head.date_created_gmt.and_then(stamp));
    Ok(Identity { key: digits.to_owned(), updated_at, parent: None })
}

/// UTC without a zone: `2026-10-05T07:41:00`.
fn stamp(raw: &RawValue) -> Option<Timestamp> {
    let text: String = serde_json::from_str(raw.get()).ok()?;
    let civil: DateTime = text.trim_end_matches('Z').parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}
