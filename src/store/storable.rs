//! What `jsonb` cannot hold of a JSON text, replaced: the record lands, and only the offending characters are lost.
//!
//! Postgres refuses `\u0000`, half a surrogate pair, bytes that are not UTF-8 and control characters that are not escaped,
//! and a single one would refuse the whole batch. Raw bytes enter, bytes leave; a text without any of these is not copied.
//! The wrong answer would be a search for `\u0000` in the text: in `\\u0000` the backslash is escaped and nothing is wrong.

use std::borrow::Cow;

/// What had to be replaced in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replaced {
    /// NUL characters, replaced by U+FFFD.
    pub nul: bool,
    /// Halves of surrogate pairs, replaced by U+FFFD.
    pub surrogate: bool,
    /// Bytes that are not UTF-8, replaced by U+FFFD.
    pub not_utf8: bool,
    /// Control characters that should have been escaped, and now are.
    pub control: bool,
}

impl Replaced {
    /// Whether anything was replaced.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// What was replaced, in words.
    pub fn reason(self) -> String {
        let found: Vec<&str> = [
            (self.nul, "a NUL character"),
            (self.surrogate, "half of a surrogate pair"),
            (self.not_utf8, "bytes that are not UTF-8"),
            (self.control, "a control character that is not escaped"),
        ]
        .into_iter()
        .filter_map(|(seen, words)| seen.then_some(words))
        .collect();
        format!("holds {}; stored with that replaced", found.join(" and "))
    }
}

/// The JSON text with everything replaced that `jsonb` refuses by its characters; borrowed if there is no such thing.
///
/// A text that is not JSON stays not JSON: this repairs characters, not structure.
pub fn storable(raw: &[u8]) -> (Cow<'_, [u8]>, Replaced) {
    let mut replaced = Replaced::default();
    match std::str::from_utf8(raw) {
        Ok(_) => match escape(raw, &mut replaced) {
            Some(text) => (Cow::Owned(text), replaced),
            None => (Cow::Borrowed(raw), replaced),
        },
        Err(_) => {
            replaced.not_utf8 = true;
            let text = String::from_utf8_lossy(raw).into_owned().into_bytes();
            let text = escape(&text, &mut replaced).unwrap_or(text);
            (Cow::Owned(text), replaced)
        }
    }
}

const REPLACEMENT: &[u8] = br"\ufffd";

/// Walks through valid UTF-8 and replaces escapes and control characters; `None` if nothing had to be.
fn escape(text: &[u8], replaced: &mut Replaced) -> Option<Vec<u8>> {
    let mut out = Patched { text, out: None, kept: 0 };
    let mut in_string = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                in_string = !in_string;
                at += 1;
            }
            b'\\' => match unicode_escape(text, at) {
                Some(0) => {
                    replaced.nul = true;
                    out.replace(at, at + 6, REPLACEMENT);
                    at += 6;
                }
                Some(0xd800..=0xdbff) => match unicode_escape(text, at + 6) {
                    Some(0xdc00..=0xdfff) => at += 12,
                    _ => {
                        replaced.surrogate = true;
                        out.replace(at, at + 6, REPLACEMENT);
                        at += 6;
                    }
                },
                Some(0xdc00..=0xdfff) => {
                    replaced.surrogate = true;
                    out.replace(at, at + 6, REPLACEMENT);
                    at += 6;
                }
                Some(_) => at += 6,
                // The character after a backslash is no delimiter.
                None => at += 2,
            },
            0 if in_string => {
                replaced.nul = true;
                out.replace(at, at + 1, REPLACEMENT);
                at += 1;
            }
            0x01..=0x1f if in_string => {
                replaced.control = true;
                out.replace(at, at + 1, format!("\\u{byte:04x}").as_bytes());
                at += 1;
            }
            _ => at += 1,
        }
    }
    out.finish()
}

/// The code unit of the `\uXXXX` that begins at `at`, if one does.
fn unicode_escape(text: &[u8], at: usize) -> Option<u16> {
    let escape = text.get(at..at + 6)?;
    let digits = escape.strip_prefix(br"\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// A text with ranges replaced; copied only once something is.
struct Patched<'a> {
    text: &'a [u8],
    out: Option<Vec<u8>>,
    kept: usize,
}

impl Patched<'_> {
    fn replace(&mut self, from: usize, to: usize, with: &[u8]) {
        let out = self.out.get_or_insert_with(|| Vec::with_capacity(self.text.len() + 16));
        out.extend_from_slice(&self.text[self.kept..from]);
        out.extend_from_slice(with);
        self.kept = to;
    }

    fn finish(self) -> Option<Vec<u8>> {
        let mut out = self.out?;
        out.extend_from_slice(&self.text[self.kept..]);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &str) -> String {
        String::from_utf8(storable(raw.as_bytes()).0.into_owned()).unwrap()
    }

    #[test]
    fn an_ordinary_record_is_not_copied() {
        let raw = br#"{"name":"Za\u017c\u00f3\u0142\u0107 \ud83d\ude00 \"q\" \\u0000 \/","n":[1,2e5,null]}"#;
        let (stored, replaced) = storable(raw);
        assert!(matches!(stored, Cow::Borrowed(same) if same == raw));
        assert!(!replaced.any());
    }

    #[test]
    fn nul_becomes_the_replacement_character() {
        assert_eq!(text(r#"{"a":"x\u0000y"}"#), r#"{"a":"x\ufffdy"}"#);
        assert_eq!(text("{\"a\":\"x\0y\"}"), r#"{"a":"x\ufffdy"}"#);
        assert!(storable(br#""\u0000""#).1.nul);
    }

    #[test]
    fn an_escaped_backslash_before_u0000_is_left_alone() {
        assert_eq!(text(r#""\\u0000""#), r#""\\u0000""#);
        assert_eq!(text(r#""\\\u0000""#), r#""\\\ufffd""#);
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced_and_pairs_kept() {
        assert_eq!(text(r#""\ud83d""#), r#""\ufffd""#);
        assert_eq!(text(r#""\uDE00x""#), r#""\ufffdx""#);
        assert_eq!(text(r#""\ud83d\ud83d\ude00""#), r#""\ufffd\ud83d\ude00""#);
        assert_eq!(text(r#""\ud83dA\u0041""#), r#""\ufffdA\u0041""#);
    }

    #[test]
    fn control_characters_are_escaped_inside_strings_only() {
        assert_eq!(text("{\n\"a\":\t\"x\ny\"}"), "{\n\"a\":\t\"x\\u000ay\"}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        let (stored, replaced) = storable(b"{\"a\":\"caf\xe9\"}");
        assert_eq!(stored.as_ref(), "{\"a\":\"caf\u{fffd}\"}".as_bytes());
        assert!(replaced.not_utf8);
        assert_eq!(replaced.reason(), "holds bytes that are not UTF-8; stored with that replaced");
    }

    #[test]
    fn what_is_no_escape_is_not_touched() {
        assert_eq!(text(r#""\u12"#), r#""\u12"#);
        assert_eq!(text(r#""\uzzzz""#), r#""\uzzzz""#);
        assert_eq!(text("\"\\"), "\"\\");
    }
}
