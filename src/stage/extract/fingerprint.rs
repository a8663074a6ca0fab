//! What of a record counts as change, as a hash: of all its bytes, or without what its stream does not compare.

use crate::source::Compared;
use crate::store::staging::payload_hash;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// The hash by which a record is as it was.
pub fn of(raw: &[u8], compared: &Compared) -> Uuid {
    if *compared == Compared::WHOLE {
        return payload_hash(raw);
    }
    // What is no object is looked at whole.
    let Ok(Members(members)) = serde_json::from_slice(raw) else { return payload_hash(raw) };
    let mut hash = Xxh3::new();
    for (name, value) in members {
        if compared.without.contains(&name.as_ref()) {
            continue;
        }
        // No JSON text holds a NUL, so that what stands between two of them cannot be told otherwise.
        hash.update(name.as_bytes());
        hash.update(&[0]);
        match compared.as_sets.contains(&name.as_ref()).then(|| serde_json::from_str(value.get())) {
            Some(Ok(Elements(mut elements))) => {
                elements.sort_unstable_by_key(|element| element.get());
                for element in elements {
                    hash.update(element.get().as_bytes());
                    hash.update(&[0]);
                }
            }
            Some(Err(_)) | None => hash.update(value.get().as_bytes()),
        }
        hash.update(&[0]);
    }
    Uuid::from_u128(hash.digest128())
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Elements<'a>(#[serde(borrow)] Vec<&'a RawValue>);

/// The members of an object in the order received.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader).map(Members)
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    const COMPARED: Compared = Compared { without: &["related_ids"], as_sets: &["categories"] };

    fn same(one: &str, other: &str) -> bool {
        of(one.as_bytes(), &COMPARED) == of(other.as_bytes(), &COMPARED)
    }

    #[test]
    fn members_that_are_left_out_and_the_order_of_sets_are_no_change() {
        let one = r#"{"id":1,"categories":[{"id":2},{"id":3}],"related_ids":[7,8],"images":[1,2]}"#;
        assert!(same(one, r#"{"id":1,"categories":[{"id":3},{"id":2}],"related_ids":[8,9],"images":[1,2]}"#));
        assert!(!same(one, r#"{"id":1,"categories":[{"id":2}],"related_ids":[7,8],"images":[1,2]}"#));
        assert!(!same(one, r#"{"id":1,"categories":[{"id":2},{"id":3},{"id":3}],"related_ids":[7,8],"images":[1,2]}"#));
        assert!(!same(one, r#"{"id":1,"categories":[{"id":2},{"id":3}],"related_ids":[7,8],"images":[2,1]}"#));
        assert!(!same(one, r#"{"id":2,"categories":[{"id":2},{"id":3}],"related_ids":[7,8],"images":[1,2]}"#));
    }

    #[test]
    fn only_members_of_the_record_itself_are_meant() {
        assert!(!same(r#"{"a":{"related_ids":[1]}}"#, r#"{"a":{"related_ids":[2]}}"#));
        assert!(!same(r#"{"a":{"categories":[1,2]}}"#, r#"{"a":{"categories":[2,1]}}"#));
    }

    #[test]
    fn what_is_no_object_and_what_nothing_is_said_of_is_looked_at_whole() {
        assert_eq!(of(b"[1,2]", &COMPARED), payload_hash(b"[1,2]"));
        assert_eq!(of(b"{\"related_ids\":", &COMPARED), payload_hash(b"{\"related_ids\":"));
        assert_eq!(of(b"{\"id\":1}", &Compared::WHOLE), payload_hash(b"{\"id\":1}"));
        assert!(!same(r#"{"categories":"a,b"}"#, r#"{"categories":"b,a"}"#));
    }
}
