//! The guard before the first call: a load must not change, empty or unsubscribe many of the contacts that the account holds
//! at once, because a shop that was read half and a slip in the pipeline file look just like that. What exceeds a limit is
//! held back, contact by contact, and nothing else: other contacts, orders and the archive go on.
//!
//! What counts is decided by rendering, not by looking at the feed: a contact may be pending and come out the same. That
//! costs a pass over the pending contacts that the account holds, so it is only made where these could exceed a limit at all.
//! A first load meets an account that holds nothing of this pipeline, so it is never held up; a changed mapping is, unless it
//! stays below the limits. Each loss is counted by itself:
//!
//! - `tags`: a contact loses tags without gaining one; where it gains one, a category was renamed or moved;
//! - `fields`: it loses values; `consent`: it would be opted out; `gone`: no shop has it any more;
//! - `changed`: it changes in any way.
//!
//! Each load weighs anew all that is pending, what was held back before included, so a load that was killed, or changes that
//! came since, take nothing from it. What is held back stays pending; `delivery.guarded` names it.

use super::bench::{Bench, Purpose, Rendered, Verdict};
use super::settings::Settings;
use super::tally::{Counts, Tally};
use crate::config::pipeline::LoadGuard;
use crate::store::{Database, Lease};
use crate::{Error, Kind, Result, sql};
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many contacts, tags or fields a message names.
const EXAMPLES: usize = 3;

const TAGS: &str = "tags";
const FIELDS: &str = "fields";
const CONSENT: &str = "consent";
const GONE: &str = "gone";
const CHANGED: &str = "changed";

/// The losses, in the words of a message: so many contacts would …
const LOSSES: [(&str, &str); 4] = [
    (TAGS, "lose tags without gaining one"),
    (FIELDS, "lose values of fields"),
    (CONSENT, "be opted out"),
    (GONE, "be given up, because no shop has them any more"),
];

/// Members of a payload that are no fields of the card.
const NO_FIELDS: [&str; 7] = ["tags", "consent", "gone", "imported", "subscribed", "state", "lang"];

/// What a load would do to the contacts that the account holds already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Toll {
    /// Contacts of this pipeline that the account holds; not counted where fewer are pending than the guard asks about.
    pub held: Option<u64>,
    /// Of these, how many would change in any way.
    pub changed: u64,
    /// Of these, how many would lose anything: tags without gaining one, fields, consent, or all because no shop has them.
    pub removed: u64,
    /// By what would be lost (`tags`, `fields`, `consent`, `gone`), how many contacts.
    pub losses: Counts,
    /// By tag, how many contacts would lose it and gain none.
    pub tags: Counts,
    /// By field, how many contacts would lose its value.
    pub fields: Counts,
    /// A few of those removed, else of those changed.
    pub examples: Vec<Uuid>,
}

/// What the guard holds back in a load.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Guarded {
    /// How many contacts.
    pub contacts: u64,
    /// Why, in words.
    pub why: Vec<String>,
    /// A few of those that would lose something.
    pub examples: Vec<Uuid>,
}

impl Toll {
    /// Counts a rendered contact; gives what would become of it, nothing where it stays as it is.
    pub fn add(&mut self, record: &Rendered) -> Vec<&'static str> {
        let Some(before) = record.before.as_ref().filter(|_| record.verdict == Verdict::Send) else {
            return Vec::new();
        };
        let lost = Losses::of(&record.payload.value(), &before.value());
        for tag in lost.tags {
            Tally::add(&mut self.tags, tag, 1);
        }
        for field in lost.fields {
            Tally::add(&mut self.fields, field, 1);
        }
        for reason in &lost.reasons {
            Tally::add(&mut self.losses, *reason, 1);
        }
        let removes = !lost.reasons.is_empty();
        self.changed += 1;
        if removes {
            if self.removed == 0 {
                self.examples.clear();
            }
            self.removed += 1;
        }
        if self.examples.len() < EXAMPLES && (removes || self.removed == 0) {
            self.examples.push(record.key);
        }
        let mut reasons = lost.reasons;
        reasons.push(CHANGED);
        reasons
    }

    /// What exceeds its limit, with words that say so.
    pub fn excesses(&self, limits: &LoadGuard) -> Vec<(&'static str, String)> {
        let held = self.held.unwrap_or(0).max(self.changed);
        // Counts of rows are far below 2^53.
        let exceeds = |n: u64, share: f64| n >= limits.at_least.max(1) && n as f64 > held as f64 * share;
        let mut excesses = Vec::new();
        for (reason, words) in LOSSES {
            let n = self.losses.get(reason).copied().unwrap_or(0);
            if exceeds(n, limits.max_removed_share) {
                let names = match reason {
                    TAGS => most_frequent(&self.tags),
                    FIELDS => most_frequent(&self.fields),
                    _ => String::new(),
                };
                let words = format!(
                    "{n} of {held} contacts that the account holds would {words}{names}, more than the allowed share of {} \
                     (load.guard.max_removed_share)",
                    limits.max_removed_share
                );
                excesses.push((reason, words));
            }
        }
        if exceeds(self.changed, limits.max_changed_share) {
            let words = format!(
                "{} of {held} contacts that the account holds would change, more than the allowed share of {} \
                 (load.guard.max_changed_share)",
                self.changed, limits.max_changed_share
            );
            excesses.push((CHANGED, words));
        }
        excesses
    }

    /// Which limits are exceeded, in words, if any are.
    pub fn excess(&self, limits: &LoadGuard) -> Option<String> {
        let words: Vec<String> = self.excesses(limits).into_iter().map(|(_, words)| words).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// The names that most contacts would lose: ` (BEDS 120, SOFAS 3 and 2 more)`.
fn most_frequent(counts: &Counts) -> String {
    let mut names: Vec<(&String, &u64)> = counts.iter().collect();
    names.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let shown: Vec<String> = names.iter().take(EXAMPLES).map(|(name, n)| format!("{name} {n}")).collect();
    let more = names.len().saturating_sub(EXAMPLES);
    match (shown.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(" ({})", shown.join(", ")),
        (false, more) => format!(" ({} and {more} more)", shown.join(", ")),
    }
}

/// What a card loses that people miss.
#[derive(Debug, Default, PartialEq, Eq)]
struct Losses {
    reasons: Vec<&'static str>,
    tags: Vec<String>,
    fields: Vec<String>,
}

impl Losses {
    fn of(payload: &Value, before: &Value) -> Self {
        if payload["gone"] == true {
            return Self { reasons: vec![GONE], ..Self::default() };
        }
        let mut lost = Self::default();
        // A call to a list of addresses says nothing of the card.
        if payload["imported"] != false {
            let names = |payload: &Value| -> Vec<String> {
                payload["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
            };
            let (now, then) = (names(payload), names(before));
            if now.iter().all(|tag| then.contains(tag)) {
                lost.tags = then.into_iter().filter(|tag| !now.contains(tag)).collect();
            }
            for (name, value) in before.as_object().into_iter().flatten() {
                if !NO_FIELDS.contains(&name.as_str()) {
                    lost_fields(name, value, payload.get(name), &mut lost.fields);
                }
            }
        }
        let withdraws = |channel: &str| {
            let state = |payload: &Value| payload["consent"][channel]["state"] == "opt_in";
            state(before) && !state(payload)
        };
        let found = [(TAGS, !lost.tags.is_empty()), (FIELDS, !lost.fields.is_empty())];
        lost.reasons.extend(found.into_iter().filter(|(_, is_so)| *is_so).map(|(reason, _)| reason));
        if withdraws("email") || withdraws("sms") {
            lost.reasons.push(CONSENT);
        }
        lost
    }
}

/// The paths of values that were there and are no more.
fn lost_fields(path: &str, before: &Value, now: Option<&Value>, lost: &mut Vec<String>) {
    match (before, now.filter(|now| !now.is_null())) {
        (Value::Null, _) => {}
        (Value::Object(members), Some(now)) => {
            for (name, value) in members {
                lost_fields(&format!("{path}.{name}"), value, now.get(name), lost);
            }
        }
        (_, None) => lost.push(path.to_owned()),
        (_, Some(_)) => {}
    }
}

/// How many contacts of this pipeline the account holds.
///
/// # Errors
/// Those of the database.
pub async fn held(client: &tokio_postgres::Client, settings: &Settings) -> Result<u64> {
    let row = client.query_one(sql::file("deliver/guard_held.sql")?, &[&settings.target, &settings.pipeline]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Weighs all that is pending of contacts that the account holds, into `pg_temp.deliver_toll` of `bench`, where that could
/// exceed a limit.
///
/// # Errors
/// [`Kind::Interrupted`]; [`Kind::PipelineFile`] for a field expression that fails; those of the database.
pub async fn weigh(
    bench: &mut Bench,
    settings: &Settings,
    limits: &LoadGuard,
    stop: &CancellationToken,
) -> Result<Toll> {
    let mut toll = Toll::default();
    let pending = bench.queue_held().await?;
    if pending < limits.at_least.max(1) {
        return Ok(toll);
    }
    let held = held(bench.client(), settings).await?;
    toll.held = Some(held);
    let smallest_share = limits.max_removed_share.min(limits.max_changed_share);
    if pending as f64 <= held as f64 * smallest_share {
        return Ok(toll);
    }
    while let Some(rendered) = bench.next_contacts().await? {
        if stop.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "stopped on request"));
        }
        bench.note_verdicts(&rendered).await?;
        let (mut keys, mut reasons): (Vec<Uuid>, Vec<String>) = (Vec::new(), Vec::new());
        for record in &rendered {
            let found = toll.add(record);
            if !found.is_empty() {
                keys.push(record.key);
                reasons.push(found.join(","));
            }
        }
        bench
            .client()
            .execute(
                "insert into pg_temp.deliver_toll (key, reasons)
                 select key, string_to_array(reasons, ',') from unnest($1::uuid[], $2::text[]) as found (key, reasons)
                 on conflict do nothing",
                &[&keys, &reasons],
            )
            .await?;
    }
    Ok(toll)
}

/// Of weighed contacts those among `keys` that exceed a limit.
///
/// # Errors
/// Those of the database.
pub async fn exceeding(bench: &Bench, reasons: &[&str], rendered: &[Rendered]) -> Result<Vec<Uuid>> {
    let keys: Vec<Uuid> = rendered.iter().map(|record| record.key).collect();
    let rows = bench
        .client()
        .query(
            "select key from pg_temp.deliver_toll where key = any ($1) and reasons && $2::text[]",
            &[&keys, &reasons],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Holds back what exceeds the limits of a load, and nothing else; to be asked before its first call, and again whenever
/// changes have been taken over. Without limits all is given free.
///
/// # Errors
/// [`Kind::Interrupted`]; [`Kind::PipelineFile`] for a field expression that fails; [`Kind::LeaseLost`]; those of the
/// database.
pub async fn hold_back(
    db: &Database,
    settings: &Settings,
    limits: Option<&LoadGuard>,
    lease: &Lease,
    run: i64,
    stop: &CancellationToken,
) -> Result<Option<Guarded>> {
    let mut bench = Bench::open(db, settings, Purpose::Guard).await?;
    let (toll, excesses) = match limits {
        Some(limits) => {
            let toll = weigh(&mut bench, settings, limits, stop).await?;
            let excesses = toll.excesses(limits);
            (toll, excesses)
        }
        None => (Toll::default(), Vec::new()),
    };
    let reasons: Vec<&str> = excesses.iter().map(|(reason, _)| *reason).collect();
    let row = bench
        .client()
        .query_one(
            sql::file("deliver/guard_hold.sql")?,
            &[&settings.target, &settings.pipeline, &run, &reasons, &lease.name(), &lease.token()],
        )
        .await?;
    let contacts = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    let why = excesses.into_iter().map(|(_, words)| words).collect();
    Ok((contacts > 0).then_some(Guarded { contacts, why, examples: toll.examples }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn toll(held: u64, changed: u64, losses: &[(&str, u64)]) -> Toll {
        let losses: Counts = losses.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect();
        Toll { held: Some(held), changed, losses, ..Toll::default() }
    }

    #[test]
    fn a_limit_is_exceeded_by_more_than_its_share_and_never_by_few() {
        let limits = LoadGuard { max_removed_share: 0.1, max_changed_share: 0.5, at_least: 10 };
        let exceeded =
            |toll: Toll| -> Vec<&str> { toll.excesses(&limits).into_iter().map(|(reason, _)| reason).collect() };
        assert!(exceeded(toll(1000, 500, &[(TAGS, 100)])).is_empty());
        assert_eq!(exceeded(toll(1000, 500, &[(TAGS, 101), (CONSENT, 100)])), [TAGS], "each by itself");
        assert_eq!(exceeded(toll(1000, 501, &[(GONE, 300)])), [GONE, CHANGED]);
        assert!(exceeded(toll(9, 9, &[(TAGS, 9)])).is_empty());
        assert_eq!(toll(0, 0, &[]).excess(&LoadGuard { at_least: 0, ..limits }), None);
        let mut toll = toll(616, 121, &[(TAGS, 121)]);
        toll.tags = [("A", 1), ("BEDS", 100), ("C", 20), ("D", 2)].map(|(tag, n)| (tag.to_owned(), n)).into();
        let words = toll.excess(&limits).unwrap();
        assert!(words.starts_with("121 of 616 contacts"), "{words}");
        assert!(words.contains("(BEDS 100, C 20, D 2 and 1 more), more than the allowed share of 0.1"), "{words}");
    }

    #[test]
    fn a_renamed_tag_is_no_loss_and_a_value_that_vanishes_is_one() {
        let before = json!({"email": "a@b.example", "tags": ["A", "B"], "address": {"city": "X", "zip": "1"},
            "consent": {"email": {"state": "opt_in"}}});
        let of = |payload: Value| Losses::of(&payload, &before);
        let with = |name: &str, value: Value| {
            let mut payload = before.clone();
            payload[name] = value;
            of(payload)
        };
        assert_eq!(with("tags", json!(["A", "C"])), Losses::default());
        assert_eq!(with("tags", json!(["A"])).tags, ["B"]);
        assert_eq!(with("tags", json!(["A"])).reasons, [TAGS]);
        assert_eq!(with("address", json!({"city": "Y"})).fields, ["address.zip"]);
        assert_eq!(with("address", Value::Null).reasons, [FIELDS]);
        assert_eq!(with("consent", json!({"email": {"state": "unknown"}})).reasons, [CONSENT]);
        assert_eq!(with("gone", json!(true)).reasons, [GONE]);
        // An address on a list of opted-out ones.
        assert_eq!(of(json!({"imported": false, "consent": {"email": {"state": "opt_out"}}})).reasons, [CONSENT]);
    }
}
