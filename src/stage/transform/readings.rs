//! Values that SQL cannot read and a library can: phones to E.164, HTML entities to text.
//!
//! SQL names the distinct values that nobody has read yet, a library reads them here, and the answers go back by COPY into
//! tables that the mapping looks up. Every distinct value is read once in the life of a database. Values come and go in
//! batches, so memory does not depend on how many there are.

use crate::store::copy::{CopyWriter, Values};
use crate::{Error, Kind, Result, sql};
use rlibphonenumber::enums::Region;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};
use tokio_postgres::Transaction;
use tokio_util::sync::CancellationToken;

const BATCH: i64 = 10_000;

/// Reads the phones of the rows to be mapped into `canonical.phones`.
pub(super) async fn phones(transaction: &Transaction<'_>, platform: &str, stop: &CancellationToken) -> Result<()> {
    let path = format!("map/{platform}/phones.sql");
    if !sql::exists(&path) {
        return Ok(());
    }
    let wanted = sql::file("canonical/wanted_phones.sql")?.replace("/* phones */", sql::file(&path)?);
    transaction.batch_execute(&format!("declare wanted_phones no scroll cursor for {wanted}")).await?;
    loop {
        check(stop)?;
        let rows = transaction.query(&format!("fetch {BATCH} from wanted_phones"), &[]).await?;
        if rows.is_empty() {
            break;
        }
        let asked: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let read = tokio::task::spawn_blocking(move || {
            asked
                .into_iter()
                .map(|(raw, country)| {
                    let e164 = e164(&raw, &country);
                    (raw, country, e164)
                })
                .collect::<Vec<_>>()
        })
        .await
        .map_err(|error| Error::new(Kind::Internal, "reading phones failed").because(error))?;

        let statement = "copy canonical.phones (raw, country, e164) from stdin (format binary)";
        let mut copied = CopyWriter::begin(transaction, statement).await?;
        for (raw, country, e164) in &read {
            copied.row(3).text(raw).text(country).maybe(e164.as_deref(), Values::text);
            copied.send_when_full().await?;
        }
        copied.finish().await?;
    }
    transaction.batch_execute("close wanted_phones; analyze canonical.phones").await?;
    Ok(())
}

/// Decodes the texts of the rows to be mapped that hold HTML entities into `canonical.decoded_texts`.
pub(super) async fn texts(transaction: &Transaction<'_>, platform: &str, stop: &CancellationToken) -> Result<()> {
    let path = format!("map/{platform}/texts.sql");
    if !sql::exists(&path) {
        return Ok(());
    }
    let wanted = sql::file("canonical/wanted_texts.sql")?.replace("/* texts */", sql::file(&path)?);
    transaction.batch_execute(&format!("declare wanted_texts no scroll cursor for {wanted}")).await?;
    loop {
        check(stop)?;
        let rows = transaction.query(&format!("fetch {BATCH} from wanted_texts"), &[]).await?;
        if rows.is_empty() {
            break;
        }
        let statement = "copy canonical.decoded_texts (raw_hash, decoded) from stdin (format binary)";
        let mut copied = CopyWriter::begin(transaction, statement).await?;
        for row in &rows {
            copied.row(2).uuid(row.get(0)).text(&decode(row.get(1)));
            copied.send_when_full().await?;
        }
        copied.finish().await?;
    }
    transaction.batch_execute("close wanted_texts; analyze canonical.decoded_texts").await?;
    Ok(())
}

fn check(stop: &CancellationToken) -> Result<()> {
    if stop.is_cancelled() {
        return Err(Error::new(Kind::Interrupted, "stopped before it was complete; nothing of it was written"));
    }
    Ok(())
}

/// The number in E.164 (ITU-T), read in `country` (ISO 3166-1 alpha-2, or empty) unless it names its own country code.
/// None if it is no number that the country's numbering plan could assign.
fn e164(raw: &str, country: &str) -> Option<String> {
    let country = Region::try_from(country).ok();
    let trimmed = raw.trim();
    // 00 is the international prefix nearly everywhere, and people write it whatever country the shop is in.
    let international = trimmed.strip_prefix("00").map(|rest| format!("+{rest}"));
    international
        .as_deref()
        .into_iter()
        .chain([trimmed])
        .filter_map(|text| PHONE_NUMBER_UTIL.parse(text, country).ok())
        .find(|number| number.is_valid())
        .map(|number| number.format_as(PhoneNumberFormat::E164).into_owned())
}

/// The text with character references decoded as a browser does (HTML Living Standard, section 13.2.5). Postgres holds no
/// NUL; the standard turns it into U+FFFD.
fn decode(text: &str) -> String {
    htmlize::unescape(text).replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn phones_are_read_as_people_write_them() {
        for (raw, country, expected) in [
            ("+48 601 000 101", "", Some("+48601000101")),
            ("601000101", "PL", Some("+48601000101")),
            ("0048 601-000-101", "UA", Some("+48601000101")),
            ("(067) 123-45-67", "UA", Some("+380671234567")),
            ("0671234567", "", None),
            ("12", "PL", None),
            ("call me", "PL", None),
            ("", "PL", None),
            ("+48 601 000 101", "XX", Some("+48601000101")),
        ] {
            assert_eq!(e164(raw, country).as_deref(), expected, "{raw} in {country}");
        }
    }

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(decode("Dom &amp; Ogr&oacute;d"), "Dom & Ogród");
        assert_eq!(decode("5 &times; 3 &#8211; &#x41;"), "5 × 3 – A");
        assert_eq!(decode("&amp;amp;"), "&amp;");
        assert_eq!(decode("AT&T"), "AT&T");
        assert_eq!(decode("a&#0;b"), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_fail(raw in ".{0,60}", country in "[A-Z]{0,2}") {
            if let Some(number) = e164(&raw, &country) {
                prop_assert!(number.starts_with('+') && number.len() <= 16 && number[1..].bytes().all(|b| b.is_ascii_digit()));
            }
            prop_assert!(!decode(&raw).contains('\0'));
        }
    }
}
