//! What a call's answer says of its records.

use super::bench::Rendered;
use super::ledger::{Acknowledged, BatchEnd, Refusal};
use crate::target::{BatchOutcome, Item, Operation, Outcome};
use crate::{Error, Kind, Result};

/// Sorts a call's records by what became of them.
pub(super) fn sort_out(operation: &Operation, records: Vec<Rendered>, outcome: BatchOutcome) -> Result<BatchEnd> {
    if outcome.outcomes.len() != records.len() {
        // The intent stays open; the next load looks what arrived.
        return Err(Error::new(
            Kind::Internal,
            format!(
                "{}: {} records were sent and {} outcomes came",
                operation.name,
                records.len(),
                outcome.outcomes.len()
            ),
        ));
    }
    let mut end = BatchEnd { reference: outcome.reference, ..BatchEnd::default() };
    let mut words: Option<String> = None;
    for (record, outcome) in records.into_iter().zip(outcome.outcomes) {
        match outcome {
            Outcome::Acknowledged(target_id) => {
                end.acknowledged.push(Acknowledged { record, target_id, is_seen: false });
            }
            Outcome::There(target_id) => end.acknowledged.push(Acknowledged { record, target_id, is_seen: true }),
            Outcome::Started => {
                return Err(Error::new(Kind::Internal, format!("{}: a job has not ended", operation.name)));
            }
            Outcome::Refused { code, reason } => {
                words.get_or_insert_with(|| reason.clone());
                end.refused.push(Refusal { record, code: code.to_owned(), reason });
            }
            Outcome::Later(why) => {
                words.get_or_insert(why);
                end.later.push(record);
            }
            Outcome::Unknown(why) => {
                words.get_or_insert(why);
                // Of an operation that may be repeated, an unknown outcome is one to repeat; a rename never is.
                if operation.idempotent && record.former_id.is_none() {
                    end.later.push(record);
                } else {
                    end.is_open = true;
                }
            }
        }
    }
    end.detail = words;
    end.state = match (end.is_open, end.acknowledged.is_empty(), end.refused.is_empty() && end.later.is_empty()) {
        (true, _, _) => "unknown",
        (false, _, true) => "acknowledged",
        (false, false, false) => "partial",
        (false, true, false) => "refused",
    };
    Ok(end)
}

pub(super) fn item(record: &Rendered) -> Item {
    Item {
        key: record.key,
        contact_id: record.contact_id,
        address: record.address.clone(),
        envelope: record.envelope.clone(),
        request: record.request.clone(),
    }
}

/// What to say when the target stops the whole load.
pub(super) fn stopped(error: Error) -> Error {
    let hint = match error.hint_text() {
        Some(hint) => hint.to_owned(),
        None => "nothing is lost: what was not sent stays pending, the next run continues".to_owned(),
    };
    error.context("the load was stopped").hint(hint)
}
