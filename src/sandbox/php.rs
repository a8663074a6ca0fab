//! Writes JSON as shops in PHP do: `/` as `\/`, everything outside ASCII as `\uXXXX`. Rows are written straight into the answer,
//! because a page of a hundred orders must take a few milliseconds. May use nothing of a shop.

use serde_json::Value;
use serde_json::ser::Formatter;
use std::io::{self, Write};

/// An object being written.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

/// Writes an object.
pub fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    let mut object = Object { out, is_first: true };
    fill(&mut object);
    out.push(b'}');
}

/// Writes a list of objects.
pub fn objects<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, fill: impl Fn(&mut Object<'_>, T)) {
    out.push(b'[');
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        object(out, |object| fill(object, item));
    }
    out.push(b']');
}

impl Object<'_> {
    fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        write_text(self.key(name), value);
        self
    }

    /// A whole number.
    pub fn number(&mut self, name: &str, value: impl Into<i128>) -> &mut Self {
        let text = value.into().to_string();
        self.key(name).extend_from_slice(text.as_bytes());
        self
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.key(name).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// JSON as it is: `null`, `[]`, a number that was written before.
    pub fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.key(name).extend_from_slice(json.as_bytes());
        self
    }

    /// An object.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        object(self.key(name), fill);
        self
    }

    /// A list of objects.
    pub fn objects<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        fill: impl Fn(&mut Object<'_>, T),
    ) -> &mut Self {
        objects(self.key(name), items, fill);
        self
    }

    /// A list of whole numbers.
    pub fn numbers(&mut self, name: &str, items: impl IntoIterator<Item = u64>) -> &mut Self {
        let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
        let list = format!("[{}]", items.join(","));
        self.raw(name, &list)
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for letter in text.chars() {
        match letter {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '/' => out.extend_from_slice(b"\\/"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            ' '..='~' => out.push(letter as u8),
            _ => write_escaped(out, letter),
        }
    }
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, letter: char) {
    let mut units = [0_u16; 2];
    for unit in letter.encode_utf16(&mut units) {
        out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
    }
}

struct Php;

impl Formatter for Php {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut escaped = Vec::with_capacity(fragment.len());
        for letter in fragment.chars() {
            match letter {
                '/' => escaped.extend_from_slice(b"\\/"),
                ' '..='~' => escaped.push(letter as u8),
                _ => write_escaped(&mut escaped, letter),
            }
        }
        writer.write_all(&escaped)
    }
}

/// A value as PHP would write it.
pub fn to_bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Php);
    // Writing a `Value` into memory cannot fail; if it did, the reader would see broken JSON.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_escaped_as_php_does_and_read_back_the_same() {
        let text = "a/b \"ż\" 🎁\n\\ \u{1}";
        let mut out = Vec::new();
        object(&mut out, |object| {
            object.text("x", text);
        });
        assert_eq!(out, br#"{"x":"a\/b \"\u017c\" \ud83c\udf81\n\\ \u0001"}"#);
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), json!({ "x": text }));
        assert_eq!(serde_json::from_slice::<Value>(&to_bytes(&json!({ "x": text }))).unwrap(), json!({ "x": text }));
    }
}
