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
    /// Fingerprint of all that, and of the SQL itself.
    pub hash: String,
}

impl Settings {
    /// From a pipeline and the target built for it.
    ///
    /// # Errors
    /// [`crate::Kind::PipelineFile`] for a field expression that is no expression.
    pub fn new(pipeline: &Pipeline, target: &dyn Target) -> Result<Self> {
        let fields = Fields::new(&pipeline.contacts.fields)?;
        let mut deliver = target.deliver_settings();
        let check_existing = match deliver.as_object_mut().and_then(|settings| settings.remove("check_existing")) {
            Some(choice) => choice.as_bool().unwrap_or(true),
            None => true,
        };
        let connections: Vec<String> = pipeline.sources.iter().map(|source| source.connection.clone()).collect();
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
        Ok(Self {
            target: pipeline.target.account.clone(),
            pipeline: pipeline.name.clone(),
            platform,
            connections,
            fields,
            check_existing,
            value,
            hash: hex::encode(fingerprint.finalize()),
        })
    }
}
