//! Plan: what a load would do, without a call and without a write.
//!
//! It renders by the very statements that a load renders by ([`super::load::bench`]), over a temporary copy of what is
//! pending, and notes for itself what a load would have written by then. So its counts are those of the load, unless the
//! target answers what nobody can foresee: an opt-out found on a card, a refusal, a contact that does not appear.

use super::load::bench::{Bench, Object, Purpose, Rendered, Verdict};
use super::load::feed::{Baseline, Part};
use super::load::settings::Settings;
use super::load::tally::Tally;
use super::load::{CHECK_CALL, addresses_to_check, count_unsent, find_operation};
use crate::config::Pipeline;
use crate::config::pipeline::Rate;
use crate::progress::Progress;
use crate::store::Database;
use crate::target::Target;
use crate::{Error, Kind, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What a load would do.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The pipeline.
    pub pipeline: String,
    /// The target account.
    pub target: String,
    /// Why everything is compared, if it is.
    pub baseline: Option<Baseline>,
    /// Whether automations at the target would be kept still.
    pub first_load: bool,
    /// Calls of earlier loads whose outcome would be looked up first.
    pub open_calls: u64,
    /// Contacts that would be compared with the ledger.
    pub contacts: u64,
    /// Orders that would be looked at.
    pub orders: u64,
    /// The counts.
    pub tally: Tally,
    /// All calls.
    pub calls: u64,
    /// How long the calls take at the account's rate, in seconds; `None` without a rate.
    pub seconds: Option<f64>,
}

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

/// Works out what a load of `pipeline` would do; every record is given to `see` as it is found.
///
/// # Errors
/// [`Kind::PipelineFile`] for a field expression; [`Kind::Interrupted`]; those of the database and of `see`.
pub async fn plan(
    db: &Database,
    pipeline: &Pipeline,
    target: &dyn Target,
    progress: &Progress,
    stop: &CancellationToken,
    mut see: impl FnMut(Record) -> Result<()>,
) -> Result<Report> {
    let settings = Settings::new(pipeline, target)?;
    let operations = target.operations();
    let per_look = u64::try_from(target.contacts_per_call().max(1)).unwrap_or(1);
    let mut client = db.client().await?;
    let part = Part::find(&mut client, &settings, None).await?;
    let open_calls: i64 = client
        .query_one(
            "select count(*) from delivery.batches where target = $1 and finished_at is null",
            &[&settings.target],
        )
        .await?
        .get(0);
    drop(client);
    let mut bench = Bench::open(db, &settings, Purpose::Plan).await?;
    part.copy_for_plan(bench.client(), &settings).await?;

    let mut tally = Tally::default();
    let mut to_send: BTreeMap<&'static str, (u64, usize)> = BTreeMap::new();
    let mut looks = 0_u64;
    let contacts = bench.queue(Object::Contact).await?;
    let meter = progress.meter("plan contacts", Some(contacts));
    while let Some(rendered) = bench.next_contacts().await? {
        go_on(stop)?;
        bench.note_planned(&rendered).await?;
        if settings.check_existing {
            looks += u64::try_from(addresses_to_check(&rendered).len()).unwrap_or(0).div_ceil(per_look);
        }
        for record in &rendered {
            if record.verdict == Verdict::Send {
                let name = record.operation.as_deref().unwrap_or_default();
                let operation = find_operation(&operations, |operation| operation.name == name, name)?;
                to_send.entry(operation.name).or_insert((0, operation.batch)).0 += 1;
            }
            count(&mut tally, record);
            see(describe(record))?;
        }
        meter.advance(u64::try_from(rendered.len()).unwrap_or(0));
    }
    meter.finish(format_args!("{contacts} looked at"));

    let orders = bench.queue(Object::Order).await?;
    let meter = progress.meter("plan orders", Some(orders));
    while let Some(rendered) = bench.next_events().await? {
        go_on(stop)?;
        let mut to_confirm = BTreeSet::new();
        for record in &rendered {
            if record.verdict == Verdict::Send {
                let operation =
                    find_operation(&operations, |operation| operation.object == record.object, &record.object)?;
                to_send.entry(operation.name).or_insert((0, operation.batch)).0 += 1;
                if operation.needs_contact && !record.is_confirmed {
                    to_confirm.insert(record.contact_id);
                }
            }
            count(&mut tally, record);
            see(describe(record))?;
        }
        looks += u64::try_from(to_confirm.len()).unwrap_or(0).div_ceil(per_look);
        bench.note_confirmed(&to_confirm.into_iter().collect::<Vec<_>>()).await?;
        meter.advance(u64::try_from(rendered.len()).unwrap_or(0));
    }
    meter.finish(format_args!("{orders} looked at"));

    for (name, (records, batch)) in to_send {
        Tally::add(&mut tally.calls, name, records.div_ceil(u64::try_from(batch.max(1)).unwrap_or(1)));
    }
    Tally::add(&mut tally.calls, CHECK_CALL, looks);
    let calls = tally.all_calls();
    let spread = pipeline.load.spread.filter(|_| part.first_load).map(|spread| spread.0.as_secs_f64());
    let seconds = match (pipeline.load.rate.map(|rate| seconds_for(calls, rate)), spread) {
        (Some(at_rate), Some(spread)) => Some(at_rate.max(spread)),
        (at_rate, spread) => at_rate.or(spread),
    };
    Ok(Report {
        pipeline: settings.pipeline,
        target: settings.target,
        baseline: part.baseline,
        first_load: part.first_load,
        open_calls: u64::try_from(open_calls).unwrap_or(0),
        contacts,
        orders,
        tally,
        calls,
        seconds,
    })
}

fn go_on(stop: &CancellationToken) -> Result<()> {
    if stop.is_cancelled() { Err(Error::new(Kind::Interrupted, "stopped on request")) } else { Ok(()) }
}

/// The first call needs no waiting.
fn seconds_for(calls: u64, rate: Rate) -> f64 {
    calls.saturating_sub(1) as f64 * rate.per.as_secs_f64() / f64::from(rate.calls)
}

fn count(tally: &mut Tally, record: &Rendered) {
    if record.verdict == Verdict::Send {
        Tally::add(&mut tally.sent, record.kind.clone(), 1);
    } else {
        count_unsent(tally, record);
    }
}

fn describe(record: &Rendered) -> Record {
    let action = match record.verdict {
        Verdict::Send => record.kind.clone(),
        Verdict::Same => "unchanged".to_owned(),
        Verdict::Skip => "skip".to_owned(),
        Verdict::Reject => "reject".to_owned(),
        Verdict::Hold => "hold".to_owned(),
        Verdict::Wait => "wait".to_owned(),
    };
    let fields = if record.verdict == Verdict::Send {
        changes(record.before.as_ref().unwrap_or(&Value::Null), &record.payload)
    } else {
        Vec::new()
    };
    Record {
        action,
        object: record.object.clone(),
        key: record.key,
        address: record.address.clone(),
        code: record.code.clone(),
        reason: record.reason.clone(),
        fields,
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

    #[test]
    fn the_first_call_of_a_rate_waits_for_nothing() {
        let rate = Rate { calls: 2, per: std::time::Duration::from_secs(1) };
        assert_eq!(seconds_for(0, rate), 0.0);
        assert_eq!(seconds_for(1, rate), 0.0);
        assert_eq!(seconds_for(11, rate), 5.0);
    }
}
