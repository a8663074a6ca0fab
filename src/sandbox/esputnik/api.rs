//! The platform's own calls under `/api/`: the door (key, limits, media type), the table of calls, how they are answered.

use super::account::Account;
use super::limits::Bucket;
use super::{ESputnik, contact_calls as contacts, other_calls as others};
use crate::sandbox::requests::Route;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::any;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The largest body taken.
const BODY_BYTES: usize = 64 << 20;

/// What a call is answered with 200.
pub enum Reply {
    /// No body.
    Nothing,
    /// JSON.
    Json(Value),
    /// A page of a list, and how many there are in all.
    Page(Vec<Value>, usize),
}

/// A refusal: status and plain text.
pub struct Refusal(pub StatusCode, pub String);

impl Refusal {
    /// 400 with a text.
    pub fn bad(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }

    /// 404.
    pub fn missing() -> Self {
        Self(StatusCode::NOT_FOUND, "Not found".into())
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self::bad(text)
    }
}

/// What a call gives.
pub type Answer = Result<Reply, Refusal>;

/// One call, as it passed the door.
pub struct Call<'a> {
    /// The account.
    pub account: &'a mut Account,
    /// What stands in the path where the table has `{}`.
    pub holes: Vec<&'a str>,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// The body as it came.
    pub raw: &'a [u8],
    /// The body, if it is an object.
    pub body: Map<String, Value>,
}

impl Call<'_> {
    /// A text of the query that has a value.
    pub fn asked(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A number in the path.
    pub fn id(&self) -> Result<u64, Refusal> {
        self.holes.first().and_then(|text| text.parse().ok()).ok_or_else(Refusal::missing)
    }

    /// The part of a list that `startindex` (from 1) and `maxrows` (at most 500) ask for.
    pub fn page(&self) -> Result<(usize, usize), Refusal> {
        let number = |name: &str, default: usize| match self.asked(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Refusal::bad(format!("{name} is not a number"))),
        };
        let (start, rows) = (number("startindex", 1)?, number("maxrows", 500)?);
        if start == 0 || rows == 0 {
            return Err(Refusal::bad("startindex and maxrows begin at 1"));
        }
        Ok((start - 1, rows.min(500)))
    }
}

struct Endpoint {
    method: Method,
    path: &'static str,
    bucket: Bucket,
    /// Whether an identical request within a minute is a conflict.
    once: bool,
    run: fn(&mut Call<'_>) -> Answer,
}

const fn endpoint(method: Method, path: &'static str, bucket: Bucket, run: fn(&mut Call<'_>) -> Answer) -> Endpoint {
    Endpoint { method, path, bucket, once: false, run }
}

const fn once(mut endpoint: Endpoint) -> Endpoint {
    endpoint.once = true;
    endpoint
}

/// Every call that is emulated.
static ENDPOINTS: [Endpoint; 31] = [
    endpoint(Method::GET, "v1/account/info", Bucket::All, others::account_info),
    endpoint(Method::GET, "v1/contacts", Bucket::ContactSearch, contacts::search),
    endpoint(Method::POST, "v1/contacts", Bucket::All, contacts::import),
    endpoint(Method::GET, "v1/contacts/email", Bucket::All, contacts::emails),
    endpoint(Method::GET, "v1/importstatus/{}", Bucket::All, contacts::import_status),
    once(endpoint(Method::POST, "v1/contact", Bucket::All, contacts::add)),
    endpoint(Method::DELETE, "v1/contact", Bucket::All, contacts::delete_external),
    once(endpoint(Method::POST, "v1/contact/subscribe", Bucket::All, contacts::subscribe)),
    endpoint(Method::GET, "v1/contact/{}", Bucket::All, contacts::get),
    once(endpoint(Method::PUT, "v1/contact/{}", Bucket::All, contacts::update)),
    endpoint(Method::DELETE, "v1/contact/{}", Bucket::All, contacts::delete),
    endpoint(Method::GET, "v1/contact/{}/subscriptions", Bucket::All, contacts::subscriptions),
    endpoint(Method::PUT, "v1/contact/{}/subscriptions", Bucket::All, contacts::set_subscriptions),
    endpoint(Method::POST, "v1/emails/unsubscribed/add", Bucket::All, contacts::unsubscribe),
    endpoint(Method::POST, "v1/emails/unsubscribed/delete", Bucket::All, contacts::lift),
    endpoint(Method::GET, "v2/contacts/activity", Bucket::All, contacts::activity),
    endpoint(Method::GET, "v1/groups", Bucket::All, others::groups),
    endpoint(Method::GET, "v1/group/{}/contacts", Bucket::All, others::members),
    endpoint(Method::POST, "v1/group/{}/contacts/attach", Bucket::All, others::attach),
    endpoint(Method::POST, "v1/group/{}/contacts/detach", Bucket::All, others::detach),
    endpoint(Method::GET, "v1/subscriptions", Bucket::All, others::subscriptions),
    endpoint(Method::GET, "v1/addressbooks", Bucket::All, others::address_books),
    endpoint(Method::POST, "v1/orders", Bucket::All, others::orders),
    endpoint(Method::DELETE, "v1/orders", Bucket::All, others::delete_orders),
    endpoint(Method::POST, "{}/event", Bucket::Events, others::event),
    endpoint(Method::POST, "{}/past_events", Bucket::PastEvents, others::past_events),
    endpoint(Method::DELETE, "v1/past_events", Bucket::PastDeletes, others::delete_past_events),
    endpoint(Method::GET, "v1/products/config", Bucket::All, others::feeds),
    endpoint(Method::POST, "v1/products/config", Bucket::All, others::set_feeds),
    endpoint(Method::POST, "v1/message/{}/smartsend", Bucket::All, others::send),
    endpoint(Method::GET, "v1/message/status", Bucket::All, others::message_status),
];

/// The routes.
pub fn router(platform: Arc<ESputnik>) -> Router {
    Router::new().route("/api/{*path}", any(answer)).layer(DefaultBodyLimit::max(BODY_BYTES)).with_state(platform)
}

/// What stands in the holes of a pattern, if a path is like it. A path that names a call is no hole.
fn holes<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut holes = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(holes),
            (Some("{}"), Some(part)) if !part.is_empty() => holes.push(part),
            (Some(wanted), Some(part)) if wanted == part => {}
            _ => return None,
        }
    }
}

async fn answer(
    State(platform): State<Arc<ESputnik>>,
    method: Method,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let alike: Vec<(&Endpoint, Vec<&str>)> =
        ENDPOINTS.iter().filter_map(|endpoint| Some((endpoint, holes(endpoint.path, &path)?))).collect();
    let mut account = platform.account();
    if !is_known(&account, &headers) {
        return refuse(&Refusal(StatusCode::UNAUTHORIZED, "Unauthorized".into()));
    }
    // The table has literal paths before those with holes.
    let Some((endpoint, holes)) = alike.iter().find(|(endpoint, _)| endpoint.method == method) else {
        let status = if alike.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::METHOD_NOT_ALLOWED };
        return refuse(&Refusal(status, status.canonical_reason().unwrap_or_default().into()));
    };
    account.call += 1;
    account.route = endpoint.path;
    let route = format!("/api/{}", endpoint.path.replace("{}", "*"));
    *account.calls.entry(format!("{method} {route}")).or_default() += 1;
    let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let mut call = Call { account: &mut account, holes: holes.clone(), query, raw: &body, body: Map::new() };
    let mut response = match call.run(endpoint, &path, &headers) {
        Ok(reply) => reply.into_response(),
        Err(refusal) => refuse(&refusal),
    };
    response.extensions_mut().insert(Route(route));
    response
}

/// Basic authentication: any user name, the key as the password.
fn is_known(account: &Account, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let decoded = given.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let text = String::from_utf8(decoded).unwrap_or_default();
    account.options.key_active && text.split_once(':').is_some_and(|(_, key)| key == account.options.api_key)
}

impl Call<'_> {
    fn run(&mut self, endpoint: &Endpoint, path: &str, headers: &HeaderMap) -> Answer {
        let limits = self.account.options.limits;
        if !self.account.meters.admits(endpoint.bucket, limits.as_ref()) {
            return Err(Refusal(StatusCode::TOO_MANY_REQUESTS, "Too many requests".into()));
        }
        self.account.pass_jobs();
        if matches!(endpoint.method, Method::POST | Method::PUT) {
            let media_type =
                headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !media_type.to_lowercase().starts_with("application/json") {
                return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type".into()));
            }
            match serde_json::from_slice(self.raw) {
                Ok(Value::Object(body)) => self.body = body,
                _ => return Err(Refusal::bad("The body is no JSON object")),
            }
        } else if let Ok(Value::Object(body)) = serde_json::from_slice(self.raw) {
            self.body = body;
        }
        if !endpoint.once {
            return (endpoint.run)(self);
        }
        let mut request = format!("{} {path} ", endpoint.method).into_bytes();
        request.extend_from_slice(self.raw);
        let fingerprint = xxh3_64(&request);
        if self.account.is_repeated(fingerprint) {
            return Err(Refusal(StatusCode::CONFLICT, "Duplicated request".into()));
        }
        let reply = (endpoint.run)(self)?;
        self.account.remember(fingerprint);
        Ok(reply)
    }
}

const JSON: &str = "application/json; charset=UTF-8";

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        match self {
            Self::Nothing => StatusCode::OK.into_response(),
            Self::Json(value) => ([(header::CONTENT_TYPE, JSON)], Json(value)).into_response(),
            Self::Page(rows, total) => {
                let headers = [(header::CONTENT_TYPE, JSON.to_owned()), (TOTAL_COUNT, total.to_string())];
                (headers, Json(rows)).into_response()
            }
        }
    }
}

/// The header with the size of a whole list.
const TOTAL_COUNT: header::HeaderName = header::HeaderName::from_static("totalcount");

fn refuse(refusal: &Refusal) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=UTF-8")];
    (refusal.0, headers, refusal.1.clone()).into_response()
}
