//! Whether a body is JSON, and what it is when it is not.
//!
//! Shops answer with web pages (maintenance, firewalls, log-in walls) under every status and content type, and with JSON
//! behind a byte order mark or PHP notices. So the bytes decide, not the content type.

use crate::{Error, Kind, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Notices before the JSON may be this long; what has no JSON by then is something else.
pub(super) const PREAMBLE: usize = 64 << 10;

/// Where the JSON of a body begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At this byte.
    At(usize),
    /// More bytes are needed to tell.
    Undecided,
    /// Nowhere.
    Nowhere,
}

/// Finds the first `[` or `{` that begins JSON. `complete`: no byte will follow `head`.
pub(super) fn json_start(head: &[u8], complete: bool) -> Start {
    let text = without_mark(head);
    let mark = head.len() - text.len();
    let Some(first) = text.iter().position(|byte| !byte.is_ascii_whitespace()) else {
        return if complete || head.len() > PREAMBLE { Start::Nowhere } else { Start::Undecided };
    };
    if matches!(text[first], b'[' | b'{') {
        return Start::At(mark + first);
    }
    if text[first] == 0xEF && text.len() < 3 && !complete {
        return Start::Undecided;
    }
    for (at, byte) in text.iter().enumerate().skip(first) {
        // Style sheets and scripts of a page are full of brackets.
        if *byte == b'<' && begins_page(&text[at..]) {
            return Start::Nowhere;
        }
        if !matches!(byte, b'[' | b'{') {
            continue;
        }
        let next = text[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
        match (byte, next) {
            // Notices speak of array[0] and {main}; JSON behind them begins like this.
            (b'[', Some(b'{' | b'[' | b'"' | b']')) | (b'{', Some(b'"' | b'}')) => return Start::At(mark + at),
            (_, None) if !complete => return Start::Undecided,
            _ => {}
        }
    }
    if complete || head.len() > PREAMBLE { Start::Nowhere } else { Start::Undecided }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

fn begins_page(text: &[u8]) -> bool {
    [&b"<!doctype"[..], b"<html", b"<head", b"<body", b"<?xml"]
        .iter()
        .any(|tag| text.len() >= tag.len() && text[..tag.len()].eq_ignore_ascii_case(tag))
}

/// A body held whole, as JSON of shape `T`: mark and notices before it and HTML comments behind it are skipped.
///
/// # Errors
/// [`Kind::Truncated`], [`Kind::NotJson`], or [`Kind::Protocol`] when it is JSON of another shape. No byte of the body is
/// quoted but a page's title.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    let text = without_mark(body);
    // Scalars are JSON, too, but only where nothing stands before them.
    if let Ok(value) = value_of::<T>(text) {
        return Ok(value);
    }
    let Start::At(start) = json_start(body, true) else {
        return Err(not_json(body));
    };
    let behind = &body[start..];
    let error = match value_of::<T>(behind) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match error.classify() {
        serde_json::error::Category::Eof => Err(truncated()),
        serde_json::error::Category::Data if value_of::<IgnoredAny>(behind).is_ok() => {
            Err(Error::new(Kind::Protocol, "the answer is JSON of an unexpected shape"))
        }
        // The shape fails before the end is seen.
        serde_json::error::Category::Data if is_cut(behind) => Err(truncated()),
        _ => Err(not_json(behind)),
    }
}

fn is_cut(text: &[u8]) -> bool {
    value_of::<IgnoredAny>(text).is_err_and(|error| error.is_eof())
}

fn value_of<'a, T: Deserialize<'a>>(text: &'a [u8]) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = T::deserialize(&mut reader)?;
    match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => match trailing(text) {
            true => Ok(value),
            false => Err(error),
        },
    }
}

/// Whether what stands behind the first JSON value is markup, such as a cache's comment.
fn trailing(text: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    if !matches!(values.next(), Some(Ok(_))) {
        return false;
    }
    text[values.byte_offset()..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
}

/// The error for a body that ends in the middle.
pub(super) fn truncated() -> Error {
    Error::new(Kind::Truncated, "the answer ends in the middle").hint(
        "the server or a proxy before it cut the connection; run the command again, it continues where it stopped",
    )
}

/// The error for a body without a byte.
pub(super) fn empty() -> Error {
    Error::new(Kind::Truncated, "the answer is empty where JSON was expected")
        .hint("the server's error log says why; run the command again, it continues where it stopped")
}

/// The error for a body that is no JSON.
pub(super) fn not_json(body: &[u8]) -> Error {
    match web_page(body) {
        Some(page) => {
            Error::new(Kind::NotJson, format!("the answer is {} instead of JSON", page.sentence())).hint(page.hint())
        }
        None if body.iter().all(u8::is_ascii_whitespace) => empty(),
        None => Error::new(Kind::NotJson, "the answer is not JSON")
            .hint("open the address in a browser: something on the server, or a proxy before it, changes the answer"),
    }
}

/// A web page where JSON was expected.
pub(super) struct WebPage {
    title: Option<String>,
    cause: Cause,
}

enum Cause {
    Maintenance,
    Firewall,
    Login,
    Failing,
    Unclear,
}

impl WebPage {
    /// `a web page titled “…”`.
    pub(super) fn sentence(&self) -> String {
        match &self.title {
            Some(title) => format!("a web page titled “{title}”"),
            None => "a web page without a title".to_owned(),
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self.cause {
            Cause::Maintenance => {
                "the platform is under maintenance: run the command again later, it continues where it stopped"
            }
            Cause::Firewall => {
                "a firewall or bot protection answers in the platform's place: allow this machine's address, or the User-Agent wharf, there"
            }
            Cause::Login => "a log-in page answers in the platform's place: let the API pass without it",
            Cause::Failing => {
                "the platform has failed and shows a page for people: its error log says why; run the command again, it continues where it stopped"
            }
            Cause::Unclear => {
                "something answers in the platform's place, a cache, firewall, proxy or plugin, or base_url leads to another server: open the address in a browser"
            }
        }
    }
}

/// The page that a body is, if it is one.
pub(super) fn web_page(body: &[u8]) -> Option<WebPage> {
    let head = &body[..body.len().min(PREAMBLE)];
    let text = String::from_utf8_lossy(without_mark(head));
    let begins = text.trim_start();
    let is_page = begins.starts_with('<') && !matches!(json_start(head, true), Start::At(_));
    if !is_page {
        return None;
    }
    let lower = text.to_lowercase();
    Some(WebPage { title: title(&text), cause: cause(&lower) })
}

fn title(text: &str) -> Option<String> {
    let find = |needle: &str, from: usize| {
        text.as_bytes()[from..]
            .windows(needle.len())
            .position(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
            .map(|at| from + at)
    };
    let opening = find("<title", 0)?;
    let begin = opening + text[opening..].find('>')? + 1;
    let end = find("</title", begin).unwrap_or(text.len());
    let words: Vec<&str> = text[begin..end].split_whitespace().collect();
    let title: String = htmlize::unescape(words.join(" ")).chars().filter(|c| !c.is_control()).take(80).collect();
    (!title.is_empty()).then_some(title)
}

fn cause(lower: &str) -> Cause {
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(&[
        "maintenance",
        "briefly unavailable",
        "wartung",
        "przerwa techniczna",
        "prace techniczne",
        "технічн",
        "техничес",
    ]) {
        Cause::Maintenance
    } else if says(&[
        "cloudflare",
        "just a moment",
        "captcha",
        "access denied",
        "request blocked",
        "firewall",
        "wordfence",
        "sucuri",
        "incapsula",
        "imunify",
        "not a robot",
        "ddos",
    ]) {
        Cause::Firewall
    } else if says(&["type=\"password\"", "type='password'", "wp-login", "log in", "sign in", "zaloguj", "anmelden"]) {
        Cause::Login
    } else if says(&[
        "critical error",
        "fatal error",
        "internal server error",
        "bad gateway",
        "service unavailable",
        "gateway time",
        "error establishing a database connection",
        "krytyczny błąd",
        "błąd krytyczny",
        "błąd serwera",
        "критична помилка",
        "критическая ошибка",
        "kritischer fehler",
    ]) {
        Cause::Failing
    } else {
        Cause::Unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOTICE: &str = "<br />\n<b>Warning</b>: Undefined array key \"x\" in <b>/srv/[old]/a.php</b> on line <b>12</b> {main} t[0]<br />\n";

    #[test]
    fn a_mark_and_notices_before_the_json_are_skipped() {
        for before in ["", "\u{feff}", "\n\n ", NOTICE, "\u{feff}Notice: a in /x.php on line 1\n"] {
            for json in [json!([{"id": 1}]), json!({"a": [1]}), json!([]), json!({})] {
                let body = format!("{before}{json}");
                assert_eq!(parse::<Value>(body.as_bytes()).unwrap(), json, "{body}");
            }
        }
    }

    #[test]
    fn scalars_are_json_and_a_caches_comment_behind_is_not_minded() {
        assert!(parse::<bool>(b"true").unwrap());
        assert_eq!(parse::<u8>(b"\xEF\xBB\xBF7\n").unwrap(), 7);
        assert_eq!(parse::<Value>(b"[1]\n<!-- cached -->").unwrap(), json!([1]));
        assert_eq!(parse::<Value>(b"[1] [2]").unwrap_err().kind(), Kind::NotJson);
    }

    #[test]
    fn what_is_cut_what_is_no_json_and_what_has_another_shape_are_told_apart() {
        let kind = |body: &[u8]| parse::<Vec<u8>>(body).unwrap_err().kind();
        assert_eq!(kind(b"[1, 2"), Kind::Truncated);
        assert_eq!(kind(b"[\"a\", 2"), Kind::Truncated);
        assert_eq!(kind(b""), Kind::Truncated);
        assert_eq!(kind(b"[\"a\"]"), Kind::Protocol);
        assert_eq!(kind(b"{\"a\": 1}"), Kind::Protocol);
        assert_eq!(kind(b"[1, x]"), Kind::NotJson);
        assert_eq!(kind(b"hello"), Kind::NotJson);
        assert_eq!(kind(b"<!doctype html><style>a {\"b\": 1}</style>"), Kind::NotJson);
    }

    #[test]
    fn a_page_is_named_by_its_title_and_hinted_by_its_words() {
        for (page, title, hint) in [
            (
                "<html><title>Briefly&nbsp;unavailable for\n scheduled maintenance</title>",
                "Briefly\u{a0}unavailable for scheduled maintenance",
                "maintenance",
            ),
            ("<!DOCTYPE html><TITLE lang=en>Just a moment...</TITLE>", "Just a moment...", "firewall"),
            ("\n<html><title>Moje konto</title><input type=\"password\">", "Moje konto", "log-in"),
            ("<html><title>Zażółć", "Zażółć", "base_url"),
        ] {
            let error = parse::<Value>(page.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), Kind::NotJson);
            assert_eq!(error.detail(), format!("the answer is a web page titled “{title}” instead of JSON"));
            assert!(error.hint_text().unwrap().contains(hint), "{title}: {:?}", error.hint_text());
        }
        assert!(parse::<Value>(b"<html><body>hi").unwrap_err().detail().contains("without a title"));
    }

    #[test]
    fn the_start_is_the_same_however_the_bytes_arrive() {
        let body = format!("\u{feff}{NOTICE}[{{\"id\": 1}}]");
        let whole = json_start(body.as_bytes(), true);
        assert_eq!(whole, Start::At(3 + NOTICE.len()));
        for end in 0..body.len() {
            let start = json_start(&body.as_bytes()[..end], false);
            assert!(start == Start::Undecided || start == whole, "{end}: {start:?}");
        }
    }
}
