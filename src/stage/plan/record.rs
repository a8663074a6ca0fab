//! One record of a plan, and the fields in which it differs.

use crate::json::Json;
use crate::stage::load::bench::{Rendered, Verdict};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// One record of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// What would be done: `contacts new`, `purchase`, `skip`, `reject`, …
    pub action: String,
    /// What the ledger calls it.
    pub object: String,
    /// `contact_id` or `order_id`.
    pub key: Uuid,
    /// The contact's address at the target.
    pub address: String,
    /// Code of a skip, hold, wait or reject.
    pub code: Option<String>,
    /// Why it is rejected.
    pub reason: Option<String>,
    /// The fields that differ.
    pub fields: Vec<Change>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its path: `address.city`.
    pub field: String,
    /// What the target acknowledged last.
    pub old: Option<String>,
    /// What would be sent.
    pub new: Option<String>,
}

impl Record {
    /// Of a rendered record.
    pub fn new(record: &Rendered) -> Self {
        let action = match record.verdict {
            Verdict::Send => record.kind.clone(),
            Verdict::Same => "unchanged".to_owned(),
            Verdict::Skip => "skip".to_owned(),
            Verdict::Reject => "reject".to_owned(),
            Verdict::Hold => "hold".to_owned(),
            Verdict::Wait => "wait".to_owned(),
        };
        let fields = if record.verdict == Verdict::Send {
            changes(&record.before.as_ref().map(Json::value).unwrap_or_default(), &record.payload.value())
        } else {
            Vec::new()
        };
        Self {
            action,
            object: record.object.clone(),
            key: record.key,
            address: record.address.clone(),
            code: record.code.clone(),
            reason: record.reason.clone(),
            fields,
        }
    }
}

/// The fields in which two payloads differ, in the order of their paths.
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten("", old, &mut before);
    flatten("", new, &mut after);
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| Change { field: path.clone(), old: before.get(path).cloned(), new: after.get(path).cloned() })
        .collect()
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&below, member, into);
            }
        }
        Value::Array(items) => {
            let texts: Vec<String> =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            into.insert(path.to_owned(), texts.join(", "));
        }
        Value::Null => {}
        Value::String(text) => {
            into.insert(path.to_owned(), text.clone());
        }
        other => {
            into.insert(path.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(field: &str, old: Option<&str>, new: Option<&str>) -> Change {
        Change { field: field.into(), old: old.map(str::to_owned), new: new.map(str::to_owned) }
    }

    #[test]
    fn only_fields_that_differ_are_shown_with_old_and_new() {
        let old =
            json!({"name": "Anna", "tags": ["A", "B"], "address": {"city": "Łódź", "zip": "90-001"}, "lang": "PL"});
        let new =
            json!({"name": "Anna", "tags": ["A"], "address": {"city": "Gdańsk", "zip": "90-001"}, "phone": "+48"});
        assert_eq!(
            changes(&old, &new),
            [
                change("address.city", Some("Łódź"), Some("Gdańsk")),
                change("lang", Some("PL"), None),
                change("phone", None, Some("+48")),
                change("tags", Some("A, B"), Some("A")),
            ]
        );
    }
}
