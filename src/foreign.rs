//! Text from outside (a shop, a target, a server, a file name) before it is shown to a person.
//!
//! A terminal obeys what it is given: escape sequences write to the clipboard, rename the window, clear the screen or hide
//! lines, and bidirectional overrides show text in another order than it has. So whatever is shown goes through this module,
//! and such characters are written out (`\u{1b}`) instead of sent. Letters of all scripts, emoji and combining marks stay.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text of several lines: its line breaks and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    written_out(text, |c| is_command(c) && c != '\n' && c != '\t', |out, c| write!(out, "{}", c.escape_unicode()))
}

/// Text that is to stay on its line, a value or a message of somebody else: a line break in it could pass for our next line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    written_out(text, is_command, |out, c| match c {
        '\n' | '\t' | '\r' => write!(out, "{}", c.escape_default()),
        _ => write!(out, "{}", c.escape_unicode()),
    })
}

/// A JSON document: JSON escapes the C0 controls itself, but passes the others, which stand in strings alone, as they are.
pub fn json(document: &str) -> Cow<'_, str> {
    written_out(
        document,
        |c| is_command(c) && c > '\u{1f}',
        |out, c| {
            // All of them are in the first plane, as one UTF-16 unit.
            write!(out, "\\u{:04x}", u32::from(c))
        },
    )
}

/// Whether a terminal might obey or reorder instead of show: control characters, line and paragraph separators, embeddings,
/// overrides and isolates of writing direction (UAX #9).
fn is_command(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn written_out(
    text: &str,
    wanted: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char) -> std::fmt::Result,
) -> Cow<'_, str> {
    if !text.contains(&wanted) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if wanted(c) {
            // Writing to a string cannot fail.
            let _ = write(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(lines("a\u{1b}]52;c;ZXZpbA==\u{7}b\nc"), "a\\u{1b}]52;c;ZXZpbA==\\u{7}b\nc");
        assert_eq!(one_line("a\r\nerror: b"), "a\\r\\nerror: b");
        assert_eq!(one_line("\u{9b}2J\u{202e}gpj.exe"), "\\u{9b}2J\\u{202e}gpj.exe");
    }

    #[test]
    fn letters_of_all_scripts_and_emoji_stay_as_they_are() {
        for text in ["Żółć", "مرحبا", "👩‍👩‍👧", "e\u{301}"] {
            assert!(matches!(one_line(text), Cow::Borrowed(same) if same == text));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_holds_a_command(text in any::<String>()) {
            prop_assert!(!one_line(&text).contains(is_command));
            prop_assert!(!lines(&text).contains(|c| is_command(c) && c != '\n' && c != '\t'));
        }

        #[test]
        fn a_json_document_means_the_same(text in any::<String>(), extra in "[\u{7f}-\u{9f}\u{2028}-\u{202e}]{0,3}") {
            let value = serde_json::json!({ "text": format!("{text}{extra}") });
            for document in [value.to_string(), format!("{value:#}")] {
                let shown = json(&document);
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value.clone());
                prop_assert!(!shown.contains(|c| is_command(c) && c != '\n'));
            }
        }
    }
}
