//! `/_sandbox/esputnik/`: what arrived, and the switches. None of this exists at the platform, and none of it counts as a
//! call there.
//!
//! | call | answer |
//! |---|---|
//! | `GET` (the folder itself) | counts of everything |
//! | `GET contacts?email=&external_id=&id=` | the contact with what the platform does not tell, or 404 |
//! | `GET contacts?after=&limit=` | contacts in order of creation, `next` for the following page |
//! | `GET orders?id=&after=&limit=` | orders in order of arrival |
//! | `GET events?order=&type=&outcome=&after=&limit=` | every event in order of arrival, the ignored ones with their reason |
//! | `GET ignored` | events that were ignored: counts by outcome, the first 1000 |
//! | `GET workflows?repeated=true` | workflow starts per order, event type and status; `unchanged`: starts by a mere repetition |
//! | `GET unsubscribed` | addresses with who put them there; `lifted`: what the API took off the list |
//! | `GET jobs` | import jobs |
//! | `GET limits` | what was used of each limit |
//! | `GET violations` | what a careful caller does not do: counts by code, the first 10,000 word for word |
//! | `POST settle` | all jobs are applied now |
//! | `POST fail_jobs` `{count}` | so many of the next jobs end in ERROR, half applied |
//! | `POST stick_jobs` `{count}` | so many of the next jobs never end, and apply nothing |
//! | `POST fail_past_events` `{count}` | so many of the next past events are answered SERVER_ERROR |
//! | `POST unsubscribe` `{email, status?}` | as if the person had clicked (`status`: `SPAM` instead of UNSUBSCRIBED) |
//! | `POST delete` `{email \| external_id, erase?}` | as if somebody had deleted the contact in the panel |
//! | `POST blacklist` `{email}` | the address is on the list common to all customers |
//! | `POST refuse` `{value, text}` | every contact and order with this address or number is refused; `text: null` ends it |
//! | `POST advance` `{seconds}` | the account's clock goes on |
//! | `POST settings` | changes the named settings |
//! | `POST reset` | empties the account; the settings stay |

use super::account::{Account, Activity, By, NONE};
use super::events::{Outcome, status_name};
use super::import::session_id;
use super::options::Options;
use super::show::inspected;
use super::{ESputnik, Platform};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const PAGE: usize = 1000;

/// What can be changed, as a call of its own and as a key of `POST /_sandbox/change`.
const CHANGES: [&str; 10] = [
    "settle",
    "fail_jobs",
    "stick_jobs",
    "fail_past_events",
    "unsubscribe",
    "delete",
    "blacklist",
    "refuse",
    "advance",
    "settings",
];

/// The routes, below the folder.
pub fn router(platform: Arc<ESputnik>) -> Router {
    let mut router = Router::new()
        .route("/", get(async |State(platform): State<Arc<ESputnik>>| Json(counts(&platform.account()))))
        .route("/contacts", get(contacts))
        .route("/orders", get(orders))
        .route("/events", get(events))
        .route("/ignored", get(async |State(platform): State<Arc<ESputnik>>| Json(ignored(&platform.account()))))
        .route("/workflows", get(workflows))
        .route("/unsubscribed", get(unsubscribed))
        .route("/jobs", get(jobs))
        .route("/limits", get(limits))
        .route("/violations", get(violations))
        .route("/reset", post(reset));
    for name in CHANGES {
        let handler = move |State(platform): State<Arc<ESputnik>>, body: Option<Json<Value>>| async move {
            let wanted = body.map_or_else(|| json!({}), |Json(body)| body);
            changed(change_one(&mut platform.account(), name, wanted))
        };
        router = router.route(&format!("/{name}"), post(handler));
    }
    router.with_state(platform)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    email: Option<String>,
    external_id: Option<String>,
    id: Option<String>,
    order: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    outcome: Option<String>,
    repeated: Option<bool>,
    #[serde(default)]
    after: usize,
    limit: Option<usize>,
}

impl ListQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, PAGE)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    #[serde(default, alias = "seconds")]
    count: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    email: Option<String>,
    external_id: Option<String>,
    status: Option<String>,
    #[serde(default)]
    erase: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    value: String,
    text: Option<String>,
}

/// Changes the account: an object whose keys are those of [`CHANGES`].
///
/// # Errors
/// A sentence that says what is wrong with the request.
pub fn change(account: &mut Account, request: &Value) -> Result<Value, String> {
    let wanted = request.as_object().ok_or("a change is an object")?;
    let mut done = Map::new();
    for (name, wanted) in wanted.iter().filter(|(name, _)| *name != "platform") {
        done.insert(name.clone(), change_one(account, name, wanted.clone())?);
    }
    Ok(done.into())
}

fn change_one(account: &mut Account, name: &str, wanted: Value) -> Result<Value, String> {
    match name {
        "settle" => Ok(json!({"applied": account.settle_jobs()})),
        "fail_jobs" => {
            account.imports.failing = typed::<Amount>(wanted)?.count;
            Ok(json!({"failing": account.imports.failing}))
        }
        "stick_jobs" => {
            account.imports.sticking = typed::<Amount>(wanted)?.count;
            Ok(json!({"sticking": account.imports.sticking}))
        }
        "fail_past_events" => {
            account.events.server_errors = typed::<Amount>(wanted)?.count;
            Ok(json!({"failing": account.events.server_errors}))
        }
        "advance" => {
            account.ahead = account.ahead.saturating_add(typed::<Amount>(wanted)?.count.into());
            Ok(json!({"ahead": account.ahead}))
        }
        "unsubscribe" => {
            let wanted: Person = typed(wanted)?;
            let email = wanted.email.ok_or("whose address?")?.trim().to_lowercase();
            match wanted.status {
                None => account.unsubscribe(&email, true),
                Some(status) => {
                    let contact = account.find_present(By::Email, &email).unwrap_or(NONE);
                    let at = account.now();
                    let line = Activity { contact, email: email.as_str().into(), status: status.into(), at };
                    account.activities.push(line);
                }
            }
            Ok(json!({"email": email}))
        }
        "delete" => {
            let wanted: Person = typed(wanted)?;
            let number = person(account, wanted.email.as_deref(), wanted.external_id.as_deref())?;
            account.delete(number, wanted.erase);
            Ok(json!({"deleted": Account::contact_id(number)}))
        }
        "blacklist" => {
            let email = typed::<Person>(wanted)?.email.ok_or("whose address?")?.trim().to_lowercase();
            account.blacklist.insert(email, ());
            Ok(json!({"blacklisted": account.blacklist.len()}))
        }
        "refuse" => {
            let wanted: Refusal = typed(wanted)?;
            match wanted.text {
                Some(text) => drop(account.refused.insert(wanted.value, text)),
                None => drop(account.refused.remove(&wanted.value)),
            }
            Ok(json!(account.refused))
        }
        "settings" => {
            let mut whole = json!(account.options);
            if let (Some(whole), Value::Object(changes)) = (whole.as_object_mut(), wanted) {
                whole.extend(changes);
            }
            account.options = typed::<Options>(whole)?;
            Ok(json!(account.options))
        }
        other => Err(format!("`{other}` cannot be changed; known are: {}", CHANGES.join(", "))),
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn person(account: &Account, email: Option<&str>, external_id: Option<&str>) -> Result<u32, String> {
    let (by, value) = match (email, external_id) {
        (Some(email), _) => (By::Email, email),
        (None, Some(id)) => (By::ExternalId, id),
        (None, None) => return Err("whose address or number?".into()),
    };
    let present = account.find_present(by, value);
    present.or_else(|| account.find(by, value).first().copied()).ok_or_else(|| format!("no contact with {value}"))
}

fn changed(result: Result<Value, String>) -> Response {
    match result {
        Ok(done) => Json(done).into_response(),
        Err(error) if error.starts_with("no contact") => {
            (StatusCode::NOT_FOUND, Json(json!({"error": error}))).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response(),
    }
}

/// Counts of everything.
pub fn counts(account: &Account) -> Value {
    let present = || account.cards.iter().filter(|card| card.is_present());
    let mut made: BTreeMap<String, u64> = BTreeMap::new();
    for card in present() {
        *made.entry(json!(card.made_by).as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut workflows = 0_u64;
    for event in &account.events.list {
        *outcomes.entry(event.outcome).or_default() += 1;
        *kinds.entry(account.events.kind_name(event.kind)).or_default() += 1;
        workflows += u64::from(event.starts_workflows());
    }
    let outcomes: Map<String, Value> = outcomes
        .into_iter()
        .map(|(outcome, count)| (json!(outcome).as_str().unwrap_or_default().to_owned(), count.into()))
        .collect();
    let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
    for order in account.orders.list.iter().filter(|order| !order.deleted) {
        *statuses.entry(status_name(order.status).unwrap_or_default()).or_default() += 1;
    }
    json!({
        "contacts": present().count(),
        "contacts_by_maker": made,
        "deleted": account.cards.iter().filter(|card| card.deleted && !card.erased).count(),
        "confirmed": present().filter(|card| card.confirmed).count(),
        "groups": groups(account),
        "unsubscribed": account.unsubscribed.len(),
        "lifted": account.lifted.len(),
        "orders": statuses.values().sum::<u64>(),
        "orders_by_status": statuses,
        "events": account.events.list.len(),
        "events_by_outcome": outcomes,
        "events_by_type": kinds,
        "workflows": workflows,
        "jobs": account.imports.jobs.len(),
        "jobs_running": account.imports.running(),
        "violations": account.violation_counts,
        "calls": account.calls,
    })
}

/// How many contacts each segment has.
fn groups(account: &Account) -> BTreeMap<&str, u64> {
    let mut counts = vec![0_u64; account.groups.len()];
    for card in account.cards.iter().filter(|card| card.is_present()) {
        for place in &card.groups {
            counts[usize::from(*place)] += 1;
        }
    }
    account.groups.iter().map(|group| group.name.as_str()).zip(counts).collect()
}

async fn contacts(State(platform): State<Arc<ESputnik>>, Query(query): Query<ListQuery>) -> Response {
    let account = platform.account();
    if let Some(id) = query.id.as_ref().and_then(|id| id.parse().ok()) {
        let found = account.find_id(id).map(|number| inspected(&account, number));
        return changed(found.ok_or_else(|| format!("no contact with {id}")));
    }
    if query.email.is_some() || query.external_id.is_some() {
        let found = person(&account, query.email.as_deref(), query.external_id.as_deref());
        return changed(found.map(|number| inspected(&account, number)));
    }
    let rest = (0_u32..).zip(&account.cards).skip(query.after).take(query.limit());
    let shown: Vec<Value> =
        rest.filter(|(_, card)| !card.erased).map(|(number, _)| inspected(&account, number)).collect();
    let next = query.after.saturating_add(query.limit());
    let next = (next < account.cards.len()).then_some(next);
    Json(json!({"contacts": shown, "next": next})).into_response()
}

async fn orders(State(platform): State<Arc<ESputnik>>, Query(query): Query<ListQuery>) -> Response {
    let account = platform.account();
    let show = |number: u32| {
        account.orders.get(number).map(|order| {
            json!({
                "id": order.id,
                "status": status_name(order.status),
                "total": order.total,
                "currency": String::from_utf8_lossy(&order.currency).trim(),
                "items": order.items,
                "contact": Account::contact_id(order.contact),
                "deleted": order.deleted,
            })
        })
    };
    if let Some(id) = &query.id {
        let found = account.orders.find(id).and_then(show);
        return match found {
            Some(order) => Json(order).into_response(),
            None => (StatusCode::NOT_FOUND, Json(json!({"error": format!("no order {id}")}))).into_response(),
        };
    }
    let shown: Vec<Value> =
        (0_u32..).take(account.orders.list.len()).skip(query.after).take(query.limit()).filter_map(show).collect();
    let next = query.after.saturating_add(query.limit());
    let next = (next < account.orders.list.len()).then_some(next);
    Json(json!({"orders": shown, "next": next})).into_response()
}

async fn events(State(platform): State<Arc<ESputnik>>, Query(query): Query<ListQuery>) -> Json<Value> {
    let account = platform.account();
    let mut shown = Vec::new();
    let mut next = None;
    for (number, event) in (0_u32..).zip(&account.events.list).skip(query.after) {
        let order = account.orders.get(event.order).map(|order| &*order.id);
        let outcome = json!(event.outcome);
        let is_wanted = query.kind.as_deref().is_none_or(|kind| kind == account.events.kind_name(event.kind))
            && query.order.as_deref().is_none_or(|wanted| order == Some(wanted))
            && query.outcome.as_deref().is_none_or(|wanted| outcome == wanted);
        if !is_wanted {
            continue;
        }
        if shown.len() == query.limit() {
            next = Some(number);
            break;
        }
        shown.push(Value::Object(account.shown_event(number)));
    }
    Json(json!({"events": shown, "next": next}))
}

/// Events that were ignored without a word.
pub fn ignored(account: &Account) -> Value {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut shown = Vec::new();
    let list = (0_u32..).zip(&account.events.list).filter(|(_, event)| event.outcome != Outcome::Accepted);
    for (number, event) in list {
        *counts.entry(json!(event.outcome).as_str().unwrap_or_default().to_owned()).or_default() += 1;
        if shown.len() < PAGE {
            shown.push(Value::Object(account.shown_event(number)));
        }
    }
    json!({"counts": counts, "events": shown})
}

/// How often workflows started, for one order, event type and status.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Starts {
    /// All starts.
    pub starts: u32,
    /// Starts by an event that said just what the one before it had said of the order.
    pub unchanged: u32,
}

/// Workflow starts by order, event type and status.
pub fn starts(account: &Account) -> HashMap<(u32, u32, u8), Starts> {
    let mut starts: HashMap<(u32, u32, u8), Starts> = HashMap::new();
    for event in account.events.list.iter().filter(|event| event.starts_workflows() && event.order != NONE) {
        let entry = starts.entry((event.order, event.kind, event.status)).or_default();
        entry.starts += 1;
        entry.unchanged += u32::from(event.unchanged);
    }
    starts
}

async fn workflows(State(platform): State<Arc<ESputnik>>, Query(query): Query<ListQuery>) -> Json<Value> {
    let account = platform.account();
    let starts = starts(&account);
    let repeated = query.repeated.unwrap_or(false);
    let mut listed: Vec<_> = starts.iter().filter(|(_, starts)| !repeated || starts.starts > 1).collect();
    listed.sort_unstable_by_key(|(key, _)| **key);
    let shown = listed.iter().skip(query.after).take(query.limit()).map(|((order, kind, status), starts)| {
        json!({
            "order": account.orders.get(*order).map(|order| &*order.id),
            "type": account.events.kind_name(*kind),
            "status": status_name(*status),
            "starts": starts.starts,
            "unchanged": starts.unchanged,
        })
    });
    let next = query.after.saturating_add(query.limit());
    let next = (next < listed.len()).then_some(next);
    Json(json!({"count": listed.len(), "workflows": shown.collect::<Vec<Value>>(), "next": next}))
}

async fn unsubscribed(State(platform): State<Arc<ESputnik>>) -> Json<Value> {
    let account = platform.account();
    Json(json!({"unsubscribed": account.unsubscribed, "lifted": account.lifted}))
}

async fn jobs(State(platform): State<Arc<ESputnik>>) -> Json<Value> {
    let account = platform.account();
    let shown = account.imports.jobs.iter().enumerate().map(|(number, job)| {
        json!({
            "session": session_id(number),
            "status": job.state,
            "size": job.size,
            "created": job.counts[0],
            "changed": job.counts[1],
            "skipped": job.counts[2],
        })
    });
    Json(shown.collect())
}

async fn limits(State(platform): State<Arc<ESputnik>>) -> Json<Value> {
    let account = platform.account();
    Json(account.meters.report(account.options.limits.as_ref()))
}

async fn violations(State(platform): State<Arc<ESputnik>>) -> Json<Value> {
    let account = platform.account();
    Json(json!({"counts": account.violation_counts, "violations": account.violations}))
}

async fn reset(State(platform): State<Arc<ESputnik>>) -> Json<Value> {
    platform.reset();
    Json(json!({}))
}
