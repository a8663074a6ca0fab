//! `/_sandbox/salesmanago/`: what arrived, and the switches. None of this exists at the platform, and none of it counts as
//! a call there.
//!
//! | call | answer |
//! |---|---|
//! | `GET` (the folder itself) | counts of everything |
//! | `GET contacts?email=` | the card as `contact/listAll` shows it, or 404 |
//! | `GET contacts?after=&limit=` | cards in order of creation, `next` for the following page |
//! | `GET events?email=&type=&external_id=&after=&limit=` | events in order of arrival, each with its contact's address |
//! | `GET letters`, `GET automations` | how many confirmation letters and automation runs, and to whom (`limit=`) |
//! | `GET violations` | what a careful caller does not do: counts by code, the first 10,000 word for word |
//! | `GET tags` | tags with the number of contacts that carry them |
//! | `GET files/{request}` | the file of an export |
//! | `POST settle` | everything accepted takes effect now |
//! | `POST consent` `{email, opted_out?, opted_out_phone?}` | as if the person had clicked |
//! | `POST delete` `{email, permanently?}` | as if somebody had deleted the card in the panel |
//! | `POST refuse` `{email, text}` | every later call that carries this address is refused whole; `text: null` ends it |
//! | `POST settings` | changes the named settings |
//! | `POST reset` | empties the account; the settings stay |

use super::account::Account;
use super::event::event_id;
use super::show::full;
use super::{Options, Platform, SalesManago, now};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE: usize = 1000;

/// The routes, below the folder.
pub fn router(platform: Arc<SalesManago>) -> Router {
    let mut router = Router::new()
        .route("/", get(folder))
        .route("/contacts", get(contacts))
        .route("/events", get(events))
        .route("/letters", get(letters))
        .route("/automations", get(automations))
        .route("/violations", get(violations))
        .route("/tags", get(tags))
        .route("/files/{request}", get(file))
        .route("/reset", post(reset));
    for name in CHANGES {
        let handler = move |State(platform): State<Arc<SalesManago>>, body: Option<Json<Value>>| async move {
            let wanted = body.map_or_else(|| json!({}), |Json(body)| body);
            changed(change_one(&mut platform.account(), name, wanted))
        };
        router = router.route(&format!("/{name}"), post(handler));
    }
    router.with_state(platform)
}

/// What can be changed, as a call of its own and as a key of `POST /_sandbox/change`.
const CHANGES: [&str; 5] = ["settle", "consent", "delete", "refuse", "settings"];

#[derive(Deserialize)]
struct ContactQuery {
    email: Option<String>,
    #[serde(default)]
    after: usize,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct EventQuery {
    email: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    external_id: Option<String>,
    #[serde(default)]
    after: usize,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct LimitQuery {
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentChange {
    email: String,
    opted_out: Option<bool>,
    opted_out_phone: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deletion {
    email: String,
    #[serde(default)]
    permanently: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    email: String,
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
        "settle" => Ok(json!({"applied": account.settle(now())})),
        "consent" => {
            let wanted: ConsentChange = typed(wanted)?;
            let number = present(account, &wanted.email)?;
            account.set_opted_out(number, wanted.opted_out, wanted.opted_out_phone, now());
            Ok(full(account, number))
        }
        "delete" => {
            let wanted: Deletion = typed(wanted)?;
            let number = present(account, &wanted.email)?;
            account.delete(number, wanted.permanently, now());
            Ok(json!({"deleted": wanted.email}))
        }
        "refuse" => {
            let wanted: Refusal = typed(wanted)?;
            let email = wanted.email.trim().to_lowercase();
            match wanted.text {
                Some(text) => drop(account.refused.insert(email, text)),
                None => drop(account.refused.remove(&email)),
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

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn present(account: &Account, email: &str) -> Result<u32, String> {
    account.find(email).ok_or_else(|| format!("no contact at {email}"))
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

fn missing(email: &str) -> Response {
    changed(Err(format!("no contact at {email}")))
}

async fn folder(State(platform): State<Arc<SalesManago>>) -> Json<Value> {
    Json(counts(&mut platform.account()))
}

/// Counts of everything.
pub fn counts(account: &mut Account) -> Value {
    account.pass(now(), false);
    let account = &*account;
    let present = || account.cards.iter().filter(|card| !card.gone && !card.deleted);
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for event in account.events.iter().filter(|event| !event.deleted) {
        *kinds.entry(event.kind()).or_default() += 1;
    }
    json!({
        "contacts": present().count(),
        "opted_in": present().filter(|card| !card.opted_out).count(),
        "opted_in_phone": present().filter(|card| !card.opted_out_phone).count(),
        "deleted": account.cards.iter().filter(|card| card.deleted).count(),
        "tagged": present().map(|card| card.tags.len()).sum::<usize>(),
        "tags": account.tag_counts().values().filter(|count| **count > 0).count(),
        "events": kinds.values().sum::<u64>(),
        "events_by_type": kinds,
        "waiting": account.waiting(),
        "letters": account.letters.len(),
        "automations": account.automations.len(),
        "violations": account.violation_counts,
        "calls": account.calls,
    })
}

async fn contacts(State(platform): State<Arc<SalesManago>>, Query(query): Query<ContactQuery>) -> Response {
    let mut account = platform.account();
    account.pass(now(), false);
    if let Some(email) = query.email {
        return match account.find(&email) {
            Some(number) => Json(full(&account, number)).into_response(),
            None => missing(&email),
        };
    }
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let rest = (0_u32..).zip(&account.cards).skip(query.after);
    let shown = rest.take(limit).filter(|(_, card)| !card.gone).map(|(number, _)| full(&account, number));
    let shown: Vec<Value> = shown.collect();
    let next = query.after.saturating_add(limit);
    let next = (next < account.cards.len()).then_some(next);
    Json(json!({"contacts": shown, "next": next})).into_response()
}

async fn events(State(platform): State<Arc<SalesManago>>, Query(query): Query<EventQuery>) -> Response {
    let mut account = platform.account();
    account.pass(now(), false);
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let numbers: Vec<u32> = match &query.email {
        Some(email) => match account.find(email) {
            Some(number) => account.events_of(number),
            None => return missing(email),
        },
        None => (0_u32..).zip(&account.events).filter(|(_, event)| !event.deleted).map(|(number, _)| number).collect(),
    };
    let mut shown = Vec::new();
    let mut next = None;
    for number in numbers.into_iter().filter(|number| *number as usize >= query.after) {
        let event = account.event(number);
        if query.kind.as_deref().is_some_and(|kind| kind != event.kind()) {
            continue;
        }
        let fields = event.fields();
        if query.external_id.as_deref().is_some_and(|id| fields.get("externalId").and_then(Value::as_str) != Some(id)) {
            continue;
        }
        if shown.len() == limit {
            next = Some(number);
            break;
        }
        shown.push(shown_event(&account, number, fields));
    }
    Json(json!({"events": shown, "next": next})).into_response()
}

fn shown_event(account: &Account, number: u32, mut fields: Map<String, Value>) -> Value {
    let event = account.event(number);
    fields.insert("eventId".into(), event_id(number).into());
    fields.insert("email".into(), (*account.card(event.contact).email).into());
    fields.insert("date".into(), event.date.into());
    fields.insert("contactExtEventType".into(), event.kind().into());
    fields.into()
}

fn addresses(account: &Account, cards: &[u32], limit: Option<usize>) -> Json<Value> {
    let emails = cards.iter().take(limit.unwrap_or(PAGE)).map(|number| account.card(*number).email.to_string());
    Json(json!({"count": cards.len(), "emails": emails.collect::<Vec<_>>()}))
}

async fn letters(State(platform): State<Arc<SalesManago>>, Query(query): Query<LimitQuery>) -> Json<Value> {
    let account = platform.account();
    addresses(&account, &account.letters, query.limit)
}

async fn automations(State(platform): State<Arc<SalesManago>>, Query(query): Query<LimitQuery>) -> Json<Value> {
    let account = platform.account();
    addresses(&account, &account.automations, query.limit)
}

async fn violations(State(platform): State<Arc<SalesManago>>) -> Json<Value> {
    let account = platform.account();
    Json(json!({"counts": account.violation_counts, "violations": account.violations}))
}

async fn tags(State(platform): State<Arc<SalesManago>>) -> Json<Value> {
    Json(json!(platform.account().tag_counts()))
}

async fn file(State(platform): State<Arc<SalesManago>>, Path(request): Path<u64>) -> Response {
    let account = platform.account();
    let Some((page, size, _)) = account.exports.get(&request) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let present = (0_u32..).zip(&account.cards).filter(|(_, card)| !card.gone && !card.deleted);
    let shown = present.skip(page.saturating_mul(*size)).take(*size).map(|(number, _)| full(&account, number));
    Json(json!({"contacts": shown.collect::<Vec<_>>()})).into_response()
}

async fn reset(State(platform): State<Arc<SalesManago>>) -> Json<Value> {
    platform.reset();
    Json(json!({}))
}
