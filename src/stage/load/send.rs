//! One call: its turn, its intent, the call, its outcome. A batch that is refused as a whole is halved until the record
//! that spoils it is alone.

use super::Load;
use super::bench::{Object, Rendered};
use super::ledger::{BatchEnd, Refusal};
use super::tally::Tally;
use crate::failpoint::{self, Point};
use crate::target::{BatchOutcome, Item, Operation, Outcome, Target};
use crate::{Error, Kind, Result};
use tokio::time::Instant;

/// Code of a record that the target refused as a call of its own.
const REFUSED: &str = "refused";

impl Load<'_> {
    /// Sends records, at most a call's worth; gives those that the target could not take yet.
    pub(super) async fn send(
        &mut self,
        operation: &Operation,
        object: Object,
        records: Vec<Rendered>,
    ) -> Result<Vec<Rendered>> {
        let mut later = Vec::new();
        let mut waiting = vec![records];
        while let Some(mut records) = waiting.pop() {
            self.gate.pass().await?;
            let batch = self.ledger.intend(operation, &records).await?;
            failpoint::reach(Point::LoadAfterIntent)?;
            let items: Vec<Item> = records.iter().map(item).collect();
            let began = Instant::now();
            let target: &dyn Target = self.target;
            let answer = target.send(operation, &items, self.first_load).await;
            failpoint::reach(Point::LoadAfterCallBeforeOutcome)?;
            Tally::add(&mut self.summary.tally.calls, operation.name, 1);
            match answer {
                Ok(outcome) => {
                    let end = sort_out(operation, records, outcome)?;
                    self.ledger.conclude(batch, operation, object, &end).await?;
                    self.count(&end);
                    let is_open = end.is_open;
                    later.extend(end.later);
                    if is_open {
                        self.settle_now(batch, operation, began).await?;
                    }
                }
                Err(error) if error.kind() == Kind::Refused => {
                    if records.len() > 1 {
                        let second = records.split_off(records.len() / 2);
                        let end = BatchEnd { state: "refused", detail: Some(error.to_string()), ..BatchEnd::default() };
                        self.give_up(batch, operation, object, end, records.iter().chain(&second)).await?;
                        waiting.push(second);
                        waiting.push(records);
                    } else {
                        let end = BatchEnd {
                            state: "refused",
                            detail: Some(error.to_string()),
                            refused: records.into_iter().map(|record| refusal(record, &error)).collect(),
                            ..BatchEnd::default()
                        };
                        self.ledger.conclude(batch, operation, object, &end).await?;
                        self.count(&end);
                    }
                }
                Err(error) => {
                    // Certain that nothing was done, or a repeat does no harm: everything stays pending.
                    let state = if operation.idempotent { "unknown" } else { "refused" };
                    let end =
                        BatchEnd { state, detail: Some(error.to_string()), later: records, ..BatchEnd::default() };
                    self.ledger.conclude(batch, operation, object, &end).await?;
                    return Err(stopped(error));
                }
            }
        }
        Ok(later)
    }

    /// Closes a batch that is cut in two: its records are free again, without an attempt being counted.
    async fn give_up<'r>(
        &self,
        batch: i64,
        operation: &Operation,
        object: Object,
        end: BatchEnd,
        records: impl Iterator<Item = &'r Rendered>,
    ) -> Result<()> {
        if !operation.idempotent {
            let keys: Vec<_> = records.map(|record| record.key).collect();
            self.ledger.free(batch, &keys).await?;
        }
        self.ledger.conclude(batch, operation, object, &end).await
    }

    fn count(&mut self, end: &BatchEnd) {
        let tally = &mut self.summary.tally;
        for (record, _) in &end.acknowledged {
            Tally::add(&mut tally.sent, record.kind.clone(), 1);
            tally.opt_outs_kept += u64::from(record.kept.is_some());
        }
        for refusal in &end.refused {
            Tally::add(&mut tally.rejected, refusal.code.clone(), 1);
        }
        self.meter.advance(u64::try_from(end.acknowledged.len() + end.refused.len()).unwrap_or(0));
    }
}

/// Sorts a call's records by what became of them.
fn sort_out(operation: &Operation, records: Vec<Rendered>, outcome: BatchOutcome) -> Result<BatchEnd> {
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
            Outcome::Acknowledged(id) => end.acknowledged.push((record, id)),
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
                end.is_open = true;
                // Of an operation that may be repeated, an unknown outcome is one to repeat.
                if operation.idempotent {
                    end.later.push(record);
                }
            }
        }
    }
    end.is_open &= !operation.idempotent;
    end.detail = words;
    end.state = match (end.is_open, end.acknowledged.is_empty(), end.refused.is_empty() && end.later.is_empty()) {
        (true, _, _) => "unknown",
        (false, _, true) => "acknowledged",
        (false, false, false) => "partial",
        (false, true, false) => "refused",
    };
    Ok(end)
}

fn item(record: &Rendered) -> Item {
    Item {
        key: record.key,
        contact_id: record.contact_id,
        address: record.address.clone(),
        request: record.request.clone(),
    }
}

fn refusal(record: Rendered, error: &Error) -> Refusal {
    Refusal { record, code: REFUSED.to_owned(), reason: error.detail().to_owned() }
}

/// What to say when the target stops the whole load.
fn stopped(error: Error) -> Error {
    let hint = match error.hint_text() {
        Some(hint) => hint.to_owned(),
        None => "nothing is lost: what was not sent stays pending, the next run continues".to_owned(),
    };
    error.context("the load was stopped").hint(hint)
}
