//! One page of an answer: its records as they came, how many there are in all, and the fault it carries.
//!
//! The facts that shape this file (sheet, sections 3, 4 and 8): a list is called `results`, `Results`, `clients`,
//! `returns`, … by gate; paging members come in two spellings and as numbers or texts; PHP writes `[]` where an object
//! would be empty, and an object keyed by number where a list has gaps; faults come with a status of 207, in `errors`, as
//! an object or a list of them, with the code as a number or a text.
//!
//! Records are slices of the body as it was received: nothing is written anew.

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

use crate::{Result, http};

/// A page, taken apart.
#[derive(Debug, Default)]
pub struct Envelope {
    /// The records, as received; none where the list is missing.
    pub records: Vec<Bytes>,
    /// Whether there was a list at all.
    pub has_list: bool,
    /// Whether the answer had no member at all.
    pub is_empty_object: bool,
    /// How many records there are in all.
    pub total: Option<u64>,
    /// How many pages there are in all.
    pub pages: Option<u64>,
    /// What went wrong, where something did.
    pub fault: Option<Fault>,
}

/// What the platform says went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// Its number; 0 where it has none.
    pub code: i64,
    /// Its words. They are the platform's, about the request, and may be shown.
    pub text: String,
}

impl Envelope {
    /// Takes a body apart; `list` is the name of the list, in any case.
    ///
    /// # Errors
    /// Those of [`http::parse_json`].
    pub fn read(body: &Bytes, list: &str) -> Result<Self> {
        let whole: Whole<'_> = http::parse_json(body)?;
        let Whole::Object(members) = whole else {
            // An object without members is written as an empty list.
            return Ok(Self { is_empty_object: true, ..Self::default() });
        };
        let mut envelope = Self { is_empty_object: members.is_empty(), ..Self::default() };
        for (name, value) in members {
            if name.eq_ignore_ascii_case(list) {
                // A list under two spellings has been seen nowhere, but the longer would be the right one.
                let Some(List(records)) = parsed(value) else { continue };
                envelope.has_list = true;
                if records.len() >= envelope.records.len() {
                    envelope.records = records.iter().map(|raw| body.slice_ref(raw.get().as_bytes())).collect();
                }
                continue;
            }
            match plain(&name).as_str() {
                "resultsnumberall" => envelope.total = number(value).or(envelope.total),
                "resultsnumberpage" => envelope.pages = number(value).or(envelope.pages),
                "errors" => envelope.fault = parsed(value).and_then(|Faults(fault)| fault).or(envelope.fault),
                // Beside `errors`, or instead of it.
                "faultcode" | "faultstring" => {
                    let fault = envelope.fault.get_or_insert_default();
                    match parsed::<Text>(value) {
                        Some(Text(text)) if plain(&name) == "faultcode" => {
                            fault.code = text.trim().parse().unwrap_or(0)
                        }
                        Some(Text(text)) => fault.text = text,
                        None => {}
                    }
                }
                _ => {}
            }
        }
        envelope.fault = envelope.fault.filter(|fault| fault.code != 0 || !fault.text.is_empty());
        Ok(envelope)
    }
}

/// A name without its spelling: `results_number_all` and `resultsNumberAll` are one.
fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

fn parsed<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn number(raw: &RawValue) -> Option<u64> {
    parsed::<Text>(raw)?.0.trim().parse().ok()
}

/// The answer itself.
enum Whole<'a> {
    Object(Vec<(String, &'a RawValue)>),
    Nothing,
}

impl<'de: 'a, 'a> Deserialize<'de> for Whole<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
            type Value = Whole<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Whole::Object(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Self::Value, A::Error> {
                match seq.next_element::<IgnoredAny>()? {
                    None => Ok(Whole::Nothing),
                    Some(_) => Err(serde::de::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
                }
            }
        }
        deserializer.deserialize_any(Members(std::marker::PhantomData))
    }
}

/// A list, an object keyed by number or id, or nothing.
struct List<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Elements<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Elements<'a> {
            type Value = List<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(List(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some((_, element)) = map.next_entry::<IgnoredAny, &'de RawValue>()? {
                    elements.push(element);
                }
                Ok(List(elements))
            }

            fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
                Ok(List(Vec::new()))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
                match text {
                    "" => Ok(List(Vec::new())),
                    _ => Err(E::invalid_type(serde::de::Unexpected::Str("a text"), &self)),
                }
            }
        }
        deserializer.deserialize_any(Elements(std::marker::PhantomData))
    }
}

/// A number or a text.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Text(text),
            serde_json::Value::Number(number) => Text(number.to_string()),
            serde_json::Value::Bool(value) => Text(u8::from(value).to_string()),
            _ => Text::default(),
        })
    }
}

/// The first fault in `errors`, whatever its shape; none for success and for nothing.
pub struct Faults(pub Option<Fault>);

impl<'de> Deserialize<'de> for Faults {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Faults(first_fault(&serde_json::Value::deserialize(deserializer)?)))
    }
}

fn first_fault(value: &serde_json::Value) -> Option<Fault> {
    use serde_json::Value;
    match value {
        Value::Array(several) => several.iter().find_map(first_fault),
        Value::Object(members) => {
            let text = |names: &[&str]| {
                let named = members.iter().find(|(name, _)| names.contains(&plain(name).as_str()));
                match named.map(|(_, value)| value) {
                    Some(Value::String(text)) => text.trim().to_owned(),
                    Some(Value::Number(number)) => number.to_string(),
                    _ => String::new(),
                }
            };
            let fault = Fault {
                code: text(&["faultcode", "code"]).parse().unwrap_or(0),
                text: text(&["faultstring", "message"]),
            };
            if fault == Fault::default() { members.values().find_map(first_fault) } else { Some(fault) }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(body: &Value, list: &str) -> Envelope {
        Envelope::read(&Bytes::from(body.to_string()), list).unwrap()
    }

    fn texts(envelope: &Envelope) -> Vec<&str> {
        envelope.records.iter().map(|record| std::str::from_utf8(record).unwrap()).collect()
    }

    #[test]
    fn records_keep_their_bytes_and_paging_is_read_in_both_spellings() {
        let body = Bytes::from_static(
            br#"{"resultsNumberAll":"250","Results":[{"a": 1.50},{"b":"\u017c"}],"resultsNumberPage":3}"#,
        );
        let envelope = Envelope::read(&body, "results").unwrap();
        assert_eq!(texts(&envelope), [r#"{"a": 1.50}"#, r#"{"b":"\u017c"}"#]);
        assert_eq!((envelope.total, envelope.pages, &envelope.fault), (Some(250), Some(3), &None));
        let snake = read(&json!({"clients": [1], "results_number_all": 1, "results_number_page": "1"}), "clients");
        assert_eq!((snake.total, snake.pages), (Some(1), Some(1)));
    }

    #[test]
    fn every_way_of_writing_nothing_is_nothing() {
        for body in [
            json!([]),
            json!({}),
            json!({"results": []}),
            json!({"results": {}}),
            json!({"results": null}),
            json!({"results": ""}),
        ] {
            let envelope = read(&body, "results");
            assert!(envelope.records.is_empty() && envelope.fault.is_none(), "{body}");
        }
        assert!(!read(&json!({}), "results").has_list);
        assert!(read(&json!({"results": null}), "results").has_list);
    }

    #[test]
    fn a_list_with_gaps_is_an_object() {
        let envelope = read(&json!({"result": {"0": {"id": 1}, "2": {"id": 3}}}), "result");
        assert_eq!(texts(&envelope), [r#"{"id":1}"#, r#"{"id":3}"#]);
    }

    #[test]
    fn faults_are_found_in_every_shape() {
        let fault = |code, text: &str| Some(Fault { code, text: text.into() });
        for (errors, found) in [
            (json!({"faultCode": 2, "faultString": "pusty"}), fault(2, "pusty")),
            (json!({"faultCode": "4", "faultString": ""}), fault(4, "")),
            (json!([{"faultCode": 3, "faultString": "brak"}]), fault(3, "brak")),
            (json!([{"message": "Authorization error"}]), fault(0, "Authorization error")),
            (json!({"message": "Scope: crm, level: r"}), fault(0, "Scope: crm, level: r")),
            (json!({"faultCode": 0, "faultString": ""}), None),
            (json!({"faultCode": "0", "faultString": "OK"}), fault(0, "OK")),
            (json!([]), None),
            (json!(null), None),
            (json!(""), None),
        ] {
            assert_eq!(read(&json!({"results": [], "errors": errors}), "results").fault, found, "{errors}");
        }
    }

    #[test]
    fn what_is_no_answer_says_what_it_is() {
        let kind =
            |body: &'static str| Envelope::read(&Bytes::from_static(body.as_bytes()), "results").unwrap_err().kind();
        assert_eq!(kind("<html><title>Przerwa techniczna</title></html>"), Kind::NotJson);
        assert_eq!(kind("{\"results\":[{\"a\":1},"), Kind::Truncated);
        assert_eq!(kind(""), Kind::Truncated);
        assert_eq!(kind("[1]"), Kind::Protocol);
        assert_eq!(kind("7"), Kind::NotJson);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-zA-Z0-9żó\"\\\\ ]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(
                    prop_oneof![
                        Just("results".to_owned()),
                        Just("errors".to_owned()),
                        Just("faultCode".to_owned()),
                        Just("faultString".to_owned()),
                        Just("resultsNumberAll".to_owned()),
                        "[a-z_A-Z]{1,6}",
                    ],
                    inner,
                    0..6,
                )
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_upsets_it_and_no_record_is_invented(body in values()) {
            if let Ok(envelope) = Envelope::read(&Bytes::from(body.to_string()), "results") {
                let expected: Vec<Value> = match &body["results"] {
                    Value::Array(list) => list.clone(),
                    Value::Object(map) => map.values().cloned().collect(),
                    _ => Vec::new(),
                };
                let found: Vec<Value> =
                    envelope.records.iter().map(|record| serde_json::from_slice(record).unwrap()).collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn a_cut_body_is_never_a_page(records in prop::collection::vec(values(), 0..4), at in any::<prop::sample::Index>()) {
            let body = json!({"resultsNumberAll": records.len(), "results": records}).to_string();
            let mut end = at.index(body.len());
            while !body.is_char_boundary(end) {
                end -= 1;
            }
            prop_assert!(Envelope::read(&Bytes::from(body[..end].to_owned()), "results").is_err());
        }

        #[test]
        fn no_bytes_upset_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::read(&Bytes::from(bytes), "results");
        }
    }
}
