//! What a value must look like (sheet, sections 5.1, 5.5 and "Contact Fields in the System"). Pure: text in, refusal out.

use super::options::{Field, FieldKind};
use jiff::civil::{Date, DateTime};

/// Signs that an event type, an event key or a form's name may not have.
const FORBIDDEN: [char; 15] = ['<', ';', '’', '\\', '/', '|', '"', '`', '\'', '^', '?', '!', ',', '>', '\0'];
/// Signs that a text field may not have.
const FIELD_FORBIDDEN: [char; 7] = ['%', '^', '*', '|', '~', '\\', '{'];
/// What counts as an apostrophe in a name.
const APOSTROPHES: &str = "'ʼ`´ʹʻʽʾʿˈˊˮ΄՚᾽᾿’‘‛′‵Ꞌꞌ＇";
/// The longest name, in characters.
const NAME: usize = 40;
/// A word of a name is short up to so many characters.
const SHORT_WORD: usize = 3;
/// The most long words of a first name, and the most short ones.
const WORDS: usize = 3;
/// The most digits of a name.
const NAME_DIGITS: usize = 3;

/// Whether a name is taken; `limited` counts the words, as it is done for first names.
pub fn is_name(name: &str, limited: bool) -> bool {
    let name = name.trim();
    if name.is_empty() {
        return true;
    }
    let digits = name.chars().filter(char::is_ascii_digit).count();
    if name.chars().count() > NAME || digits > NAME_DIGITS || !name.chars().any(char::is_alphabetic) {
        return false;
    }
    let words: Vec<&str> = name.split(' ').filter(|word| !word.is_empty()).collect();
    let long = words.iter().filter(|word| letters(word) > SHORT_WORD).count();
    let fits = !limited || (long <= WORDS && words.len() - long <= WORDS);
    fits && words.iter().all(|word| is_word(word))
}

/// The length of a word without its final dot.
fn letters(word: &str) -> usize {
    word.strip_suffix('.').unwrap_or(word).chars().count()
}

fn is_word(word: &str) -> bool {
    let bare = match word.strip_suffix('.') {
        Some(bare) if letters(word) > SHORT_WORD || bare.is_empty() => return false,
        Some(bare) => bare,
        None => word,
    };
    let signs: Vec<char> = bare.chars().collect();
    signs.iter().enumerate().all(|(at, sign)| {
        let inside = at > 0 && at + 1 < signs.len();
        let is_joint = *sign == '-' || APOSTROPHES.contains(*sign);
        is_letter(*sign) || (is_joint && inside && is_letter(signs[at - 1]) && is_letter(signs[at + 1]))
    })
}

fn is_letter(sign: char) -> bool {
    sign.is_alphabetic() || sign.is_ascii_digit()
}

/// Whether this is an e-mail address.
pub fn is_email(email: &str) -> bool {
    let Some((name, host)) = email.split_once('@') else { return false };
    let host_ok = host.contains('.')
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|sign| sign.is_alphanumeric() || sign == '-')
        });
    let name_ok = !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && name.chars().all(|sign| !sign.is_whitespace() && !sign.is_control() && !"<>()[],;:\\\"".contains(sign));
    host_ok && name_ok && email.len() <= 254
}

/// Whether this is a phone: 5 to 15 digits, international, without a plus.
pub fn is_phone(phone: &str) -> bool {
    (5..=15).contains(&phone.len()) && phone.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether an event's type, its key or a form's name may be written so.
pub fn is_key(key: &str, longest: usize) -> bool {
    !key.trim().is_empty()
        && key.chars().count() <= longest
        && !key.chars().any(|sign| FORBIDDEN.contains(&sign) || sign.is_control())
}

/// Whether this is a language code such as `uk` or `en-US`.
pub fn is_language(code: &str) -> bool {
    let mut parts = code.split('-');
    let first = parts.next().unwrap_or_default();
    (2..=3).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_lowercase())
        && parts.all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether this is the name of a time zone.
pub fn is_zone(name: &str) -> bool {
    jiff::tz::TimeZone::get(name).is_ok()
}

/// Whether an additional field takes a value; an empty one clears it.
pub fn is_field_value(field: &Field, value: &str) -> bool {
    if value.is_empty() {
        return true;
    }
    match field.kind {
        FieldKind::Textfield => value.chars().count() <= 1000 && !value.contains(FIELD_FORBIDDEN),
        FieldKind::Textarea => value.chars().count() <= 5000,
        FieldKind::Number => value.parse::<i32>().is_ok(),
        FieldKind::Decimal => value.parse::<f64>().is_ok_and(f64::is_finite),
        FieldKind::Date => ["%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y", "%d.%m.%y"].iter().any(|form| is_date_in(value, form)),
        FieldKind::Datetime => value.len() == 16 && DateTime::strptime("%Y-%m-%dT%H:%M", value).is_ok(),
        FieldKind::Combobox => field.values.iter().any(|known| known == value),
        FieldKind::Checkboxlist => value.split(',').all(|one| field.values.iter().any(|known| known == one.trim())),
        FieldKind::Tags => value.chars().count() <= 1000,
    }
}

/// Date forms are exact: `2026-3-1` is none.
fn is_date_in(value: &str, form: &str) -> bool {
    Date::strptime(form, value).is_ok_and(|date| date.strftime(form).to_string() == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_the_sheet_says() {
        for name in [
            "Олена",
            "Anna-Maria",
            "O'Neil",
            "d’Arc",
            "Jr.",
            "Jan Maria",
            "José",
            "李",
            "A B C Long Longer Longest",
            "",
        ] {
            assert!(is_name(name, true), "{name}");
        }
        for name in ["Bad1234", "a@b", "-Anna", "Anna-", "'Neil", "Robert.", "Ann--a", "123", "A/B", "ТОВ 12345", "😀"]
        {
            assert!(!is_name(name, true), "{name}");
        }
        assert!(!is_name("Alpha Beta Gamma Delta", true), "four long words");
        assert!(is_name("Alpha Beta Gamma Delta", false), "a last name may have any number of words");
        assert!(!is_name(&"a".repeat(41), false));
        assert!(is_name(&"я".repeat(40), false));
    }

    #[test]
    fn phones_are_digits_and_addresses_are_addresses() {
        assert!(is_phone("380500000001") && is_phone("12345"));
        for phone in ["+380500000001", "38 050", "12", "1234567890123456", ""] {
            assert!(!is_phone(phone), "{phone}");
        }
        assert!(is_email("olena.testova@example.com"));
        for email in
            ["bad@@example.com", "bad", "a@b", "a b@example.com", "@example.com", "a..b@example.com", "a@-b.com"]
        {
            assert!(!is_email(email), "{email}");
        }
    }

    #[test]
    fn keys_of_events_have_no_forbidden_sign() {
        assert!(is_key("olena@example.com", 300) && is_key("801", 300));
        for key in ["", " ", "o'neil@example.com", "a/b", "a,b", "a’b"] {
            assert!(!is_key(key, 300), "{key}");
        }
        assert!(!is_key(&"a".repeat(101), 100));
    }

    #[test]
    fn a_field_takes_what_its_kind_takes() {
        let field = |kind, values: &[&str]| Field {
            id: 1,
            name: "f".into(),
            key: "F".into(),
            kind,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            group: "g".into(),
        };
        let takes = |kind, value| is_field_value(&field(kind, &["M", "F"]), value);
        for date in ["1990-04-12", "12/04/1990", "12.04.90", "12.04.1990"] {
            assert!(takes(FieldKind::Date, date), "{date}");
        }
        for date in ["1990-4-12", "1990-04-12T00:00", "1990-02-30", "19900412"] {
            assert!(!takes(FieldKind::Date, date), "{date}");
        }
        assert!(takes(FieldKind::Datetime, "2026-03-01T10:14") && !takes(FieldKind::Datetime, "2026-03-01T10:14:40"));
        assert!(takes(FieldKind::Number, "-2147483648") && !takes(FieldKind::Number, "2147483648"));
        assert!(takes(FieldKind::Combobox, "F") && !takes(FieldKind::Combobox, "f"));
        assert!(takes(FieldKind::Textfield, "Шкарпетки & Co") && !takes(FieldKind::Textfield, "100%"));
        assert!(takes(FieldKind::Number, ""), "an empty value clears");
    }
}
