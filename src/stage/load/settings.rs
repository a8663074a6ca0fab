//! What shapes payloads, in the form that SQL reads: the pipeline's choices and what the target's settings add. A change
//! here means that every object is compared with the ledger again. No secret may enter.

use super::fields::Fields;
use crate::config::Pipeline;
use crate::target::Target;
use crate::{Result, sql};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What shapes the payloads of one pipeline.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The target account.
    pub target: String,
    /// The pipeline.
    pub pipeline: String,
    /// The target platform: the folder below `sql/deliver`.
    pub platform: String,
    /// The pipeline's connections, in the order of the file.
    pub connections: Vec<String>,
    /// The expressions of `contacts.fields`, checked for form.
    pub fields: Fields,
    /// Whether cards are looked at before the first opt-in.
    pub check_existing: bool,
    /// `$1` of the files below `sql/deliver/<platform>`.
    pub value: Value,
    /// All that by the names that people know it by, for telling what has changed.
    pub named: Value,
    /// Fingerprint of all that, and of the SQL itself.
    pub hash: String,
}

impl Settings {
    /// From a pipeline and the target built for it.
    ///
    /// # Errors
    /// [`crate::Kind::PipelineFile`] for a field expression that is no expression.
    pub fn new(pipeline: &Pipeline, target: &dyn Target) -> Result<Self> {
        Self::with(pipeline, target, Value::Null)
    }

    /// The same with what only the account can tell.
    ///
    /// # Errors
    /// As [`Settings::new`]; what the target answers.
    pub async fn learned(pipeline: &Pipeline, target: &dyn Target) -> Result<Self> {
        let properties: Vec<&str> = pipeline.contacts.fields.keys().map(String::as_str).collect();
        let learned = target.learn(&properties).await?;
        Self::with(pipeline, target, learned)
    }

    fn with(pipeline: &Pipeline, target: &dyn Target, learned: Value) -> Result<Self> {
        let fields = Fields::new(&pipeline.contacts.fields)?;
        let mut deliver = target.deliver_settings();
        let check_existing = match deliver.as_object_mut().and_then(|settings| settings.remove("check_existing")) {
            Some(choice) => choice.as_bool().unwrap_or(true),
            None => true,
        };
        let connections: Vec<String> = pipeline.sources.iter().map(|source| source.connection.clone()).collect();
        if let (Some(deliver), false) = (deliver.as_object_mut(), learned.is_null()) {
            deliver.insert("learned".to_owned(), learned);
        }
        let value = json!({
            "target": pipeline.target.account,
            "pipeline": pipeline.name,
            "connections": connections,
            "consent": pipeline.contacts.consent,
            "created_after": pipeline.contacts.created_after,
            "created_before": pipeline.contacts.created_before,
            "tags": pipeline.contacts.tags,
            "deleted": pipeline.contacts.deleted,
            "placed_after": pipeline.orders.placed_after,
            "placed_before": pipeline.orders.placed_before,
            "without_consent": pipeline.orders.without_consent,
            "deliver": deliver,
        });
        let platform = pipeline.target.platform.clone();
        let mut fingerprint = Sha256::new();
        fingerprint.update(value.to_string());
        fingerprint.update(serde_json::to_string(&pipeline.contacts.fields).unwrap_or_default());
        // A version of Wharf that renders differently compares everything once.
        for file in ["contacts", "contact_requests", "events"] {
            fingerprint.update(sql::file(&format!("deliver/{platform}/{file}.sql"))?);
        }
        fingerprint.update(sql::file("deliver/common.sql")?);
        let mut named = value.clone();
        if let Some(members) = named.as_object_mut() {
            members.insert("fields".to_owned(), json!(pipeline.contacts.fields));
        }
        Ok(Self {
            target: pipeline.target.account.clone(),
            pipeline: pipeline.name.clone(),
            platform,
            connections,
            fields,
            check_existing,
            value,
            named,
            hash: hex::encode(fingerprint.finalize()),
        })
    }

    /// The names of the settings that differ from `before`, what [`Settings::named`] was at the last load. Nothing differs
    /// where this version of Wharf renders differently by itself.
    pub fn changes_since(&self, before: &Value) -> Vec<String> {
        differing(before, &self.named)
    }
}

/// The paths at which two settings differ.
pub(in crate::stage) fn differing(before: &Value, now: &Value) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    compare("", before, now, &mut names);
    names
}

/// Notes the paths at which two values differ; lists are compared as a whole.
fn compare(path: &str, before: &Value, now: &Value, names: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (before, now) else {
        if before != now {
            names.push(path.to_owned());
        }
        return;
    };
    let all: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in all {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        compare(&below, old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null), names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_settings_are_named_by_their_path() {
        let before = json!({"tags": {"always": ["a"], "registered": "x"}, "fields": {"ltv": "1"}, "consent": "all"});
        let now = json!({"tags": {"always": ["b"], "registered": "x"}, "fields": {"size": "2"}, "consent": "all"});
        assert_eq!(differing(&before, &now), ["fields.ltv", "fields.size", "tags.always"]);
    }
}
