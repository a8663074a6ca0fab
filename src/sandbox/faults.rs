//! Faults on demand: what goes wrong between a platform and its readers, at the call one names.
//!
//! A fault counts the calls that match it and strikes by that count alone, so that a test that fails once fails always.
//! Several faults may match one call: all of them count it, the first that is due strikes.

use super::Platform;
use super::line::Line;
use super::requests::{Call, Requests, Route, without_secrets};
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 429 with `retry_after` as it is given (seconds, a date, nonsense; left out: no such header).
    Throttle,
    /// 500 with WordPress' critical-error page.
    Error,
    /// 503 with an HTML maintenance page; `retry_after` as given.
    Maintenance,
    /// Any `status` with any `body` and `content_type`.
    Status,
    /// The right answer, `delay_ms` later.
    Slow,
    /// Half of the body, then the connection ends. The work is done.
    Cut,
    /// The connection ends without an answer. The work is **not** done.
    Drop,
    /// The work is done, then the connection ends without an answer.
    Lost,
    /// 200 with an HTML page.
    Html,
    /// What the last call to the same path was answered (nothing happens to the first call).
    DuplicatePage,
    /// The right headers with an empty list, or with `body`.
    EmptyPage,
    /// The right headers and a page that lacks a row in its middle, as a plug-in or a broken index leaves it out.
    MissingRow,
    /// A whole answer with 200 whose JSON ends in the middle.
    TruncatedJson,
    /// The right answer with a byte order mark and PHP notices in front.
    Notices,
    /// The right answer, and then `change` happens, before any other call: a list that changes between two pages.
    Change,
}

/// One fault: where, what, and at which calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The platform; left out, all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// The path, `*` stands for anything: `/wp-json/wc/v3/orders*`. Left out, every path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The HTTP method; left out, all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// A text that the query must contain: `page=3`. Left out, every query.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// What goes wrong.
    pub kind: FaultKind,
    /// So many matching calls pass before the first strike.
    #[serde(default)]
    pub after: u64,
    /// Every so-many-th call from there on is struck (1: each).
    #[serde(default = "one")]
    pub every: u64,
    /// After so many strikes the fault is spent; 0 is never.
    #[serde(default = "one")]
    pub times: u64,
    /// The `Retry-After` header, as it is to be sent. `date:N` becomes the date N seconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// How long `slow` takes, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// The status of `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body of `status` and `empty_page`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The content type of `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// What happens by `change`, as `POST /_sandbox/change` takes it, or a list of such. What cannot happen any more, such
    /// as the deletion of a row that is gone, does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<serde_json::Value>,
}

fn one() -> u64 {
    1
}

impl Fault {
    /// A fault of `kind` that strikes the first call to `path` (`*` stands for anything) on any platform.
    pub fn new(kind: FaultKind, path: impl Into<String>) -> Self {
        Self {
            platform: String::new(),
            path: path.into(),
            method: String::new(),
            query: String::new(),
            kind,
            after: 0,
            every: 1,
            times: 1,
            retry_after: None,
            delay_ms: 0,
            status: None,
            body: None,
            content_type: None,
            change: None,
        }
    }

    /// The right answer to the first call to `path`, after which `change` happens.
    pub fn change(path: impl Into<String>, change: serde_json::Value) -> Self {
        Self { change: Some(change), ..Self::new(FaultKind::Change, path) }
    }

    /// Lets so many matching calls pass first.
    pub fn after(mut self, calls: u64) -> Self {
        self.after = calls;
        self
    }

    /// Strikes so many times; 0 is for ever.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Strikes every so-many-th call.
    pub fn every(mut self, every: u64) -> Self {
        self.every = every.max(1);
        self
    }

    /// Sends this `Retry-After`.
    pub fn retry_after(mut self, value: impl Into<String>) -> Self {
        self.retry_after = Some(value.into());
        self
    }

    /// Takes so long.
    pub fn delay_ms(mut self, delay: u64) -> Self {
        self.delay_ms = delay;
        self
    }

    /// Answers this status and body.
    pub fn status(mut self, status: u16, body: impl Into<String>) -> Self {
        self.status = Some(status);
        self.body = Some(body.into());
        self
    }

    /// Strikes only calls with this text in their query.
    pub fn query(mut self, text: impl Into<String>) -> Self {
        self.query = text.into();
        self
    }

    /// Strikes only calls with this method.
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    fn matches(&self, platform: &str, method: &str, path: &str, query: &str) -> bool {
        (self.platform.is_empty() || self.platform == platform)
            && (self.method.is_empty() || self.method.eq_ignore_ascii_case(method))
            && (self.path.is_empty() || matches(&self.path, path))
            && (self.query.is_empty() || query_contains(query, &self.query))
    }

    fn name(&self) -> String {
        match serde_json::to_value(self.kind) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }
}

/// Whether the query has `text` at the beginning of a parameter; ended by the parameter's end where it names a value.
fn query_contains(query: &str, text: &str) -> bool {
    query.split('&').any(|part| if text.contains('=') { part == text } else { part.starts_with(text) })
}

/// Whether a path is what a pattern says; `*` stands for any run of characters.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == path };
    let Some(rest) = path.strip_prefix(head) else { return false };
    if tail.is_empty() {
        return true;
    }
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(tail, &rest[at..]))
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    seen: u64,
    struck: u64,
}

/// A fault and how often it has struck.
#[derive(Debug, Serialize)]
pub struct FaultReport {
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
    /// Calls that matched.
    pub seen: u64,
    /// Calls that were struck.
    pub struck: u64,
}

/// The faults of a sandbox.
#[derive(Debug, Default)]
pub(super) struct Faults {
    armed: Mutex<Vec<Armed>>,
    answered: Mutex<HashMap<String, (HeaderMap, Bytes)>>,
}

impl Faults {
    pub(super) fn add(&self, fault: Fault) {
        let armed = Armed { fault, seen: 0, struck: 0 };
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).push(armed);
    }

    pub(super) fn clear(&self) {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn report(&self) -> Vec<FaultReport> {
        let armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        armed
            .iter()
            .map(|armed| FaultReport { fault: armed.fault.clone(), seen: armed.seen, struck: armed.struck })
            .collect()
    }

    /// Counts a call and gives the fault that strikes it. The second value says whether the answer must be remembered.
    fn strike(&self, platform: &str, method: &str, path: &str, query: &str) -> (Option<Fault>, bool) {
        let has_previous = {
            let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            answered.contains_key(&answer_key(platform, path))
        };
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut striking = None;
        let mut remember = false;
        for one in armed.iter_mut().filter(|one| one.fault.matches(platform, method, path, query)) {
            let spent = one.fault.times != 0 && one.struck >= one.fault.times;
            one.seen += 1;
            if spent {
                continue;
            }
            let duplicates = one.fault.kind == FaultKind::DuplicatePage;
            remember |= duplicates;
            let due =
                one.seen > one.fault.after && (one.seen - one.fault.after - 1).is_multiple_of(one.fault.every.max(1));
            if due && striking.is_none() && (!duplicates || has_previous) {
                one.struck += 1;
                striking = Some(one.fault.clone());
            }
        }
        // A duplicate may be wanted of an answer whose query does not match: whoever waits for one needs all answers.
        remember |= armed.iter().any(|one| {
            one.fault.kind == FaultKind::DuplicatePage && (one.fault.times == 0 || one.struck < one.fault.times)
        });
        (striking, remember)
    }

    fn remember(&self, platform: &str, path: &str, headers: HeaderMap, body: Bytes) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.insert(answer_key(platform, path), (headers, body));
    }

    fn remembered(&self, platform: &str, path: &str) -> Option<(HeaderMap, Bytes)> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).get(&answer_key(platform, path)).cloned()
    }
}

fn answer_key(platform: &str, path: &str) -> String {
    format!("{platform} {path}")
}

/// What the middleware needs.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) platform: &'static str,
    pub(super) itself: Arc<dyn Platform>,
    pub(super) faults: Arc<Faults>,
    pub(super) requests: Arc<Requests>,
}

/// Logs every call and applies the fault that is due.
pub(super) async fn pass(
    State(gate): State<Gate>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let (at, at_micros) = (Timestamp::now(), gate.requests.micros());

    let (fault, remember) = gate.faults.strike(gate.platform, &method, &path, &query);
    let fault_name = fault.as_ref().map(Fault::name);
    let (mut response, answered) = match &fault {
        Some(fault) => strike(&gate, fault, &line, request, next).await,
        None => (next.run(request).await, true),
    };
    if remember && fault.is_none() && response.status().is_success() {
        response = match split(response).await {
            Ok((status, headers, body)) => {
                gate.faults.remember(gate.platform, &path, headers.clone(), body.clone());
                (status, headers, body).into_response()
            }
            Err(response) => response,
        };
    }

    let route = response.extensions().get::<Route>().map(|route| route.0.clone());
    gate.requests.note(Call {
        number: 0,
        at,
        at_micros,
        platform: gate.platform,
        method,
        path,
        query: without_secrets(&query),
        route: route.or(matched).unwrap_or_else(|| "(unknown)".to_owned()),
        status: if answered { response.status().as_u16() } else { 0 },
        fault: fault_name,
    });
    response
}

/// Gives the answer and whether it reaches the caller.
async fn strike(gate: &Gate, fault: &Fault, line: &Line, request: Request, next: Next) -> (Response, bool) {
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|path| Route(path.as_str().to_owned()));
    let response = match fault.kind {
        FaultKind::Throttle => {
            let body = r#"{"code":"too_many_requests","message":"Too many requests.","data":{"status":429}}"#;
            with_retry_after((StatusCode::TOO_MANY_REQUESTS, json_type(), body).into_response(), fault)
        }
        FaultKind::Error => (StatusCode::INTERNAL_SERVER_ERROR, html_type(), CRITICAL_ERROR).into_response(),
        FaultKind::Maintenance => {
            with_retry_after((StatusCode::SERVICE_UNAVAILABLE, html_type(), MAINTENANCE).into_response(), fault)
        }
        FaultKind::Status => {
            let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
            let content_type = fault.content_type.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
            let content_type = content_type.unwrap_or_else(|| HeaderValue::from_static(JSON));
            let response = (
                status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                [(header::CONTENT_TYPE, content_type)],
                fault.body.clone().unwrap_or_default(),
            );
            with_retry_after(response.into_response(), fault)
        }
        FaultKind::Html => (StatusCode::OK, html_type(), LOGIN_WALL).into_response(),
        FaultKind::Slow => {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
            return (next.run(request).await, true);
        }
        FaultKind::Drop => {
            line.hang_up();
            return (StatusCode::OK.into_response(), false);
        }
        FaultKind::Lost => {
            let response = next.run(request).await;
            line.hang_up();
            return (response, false);
        }
        FaultKind::DuplicatePage => match gate.faults.remembered(gate.platform, &path) {
            Some((headers, body)) => (headers, body).into_response(),
            None => next.run(request).await,
        },
        FaultKind::EmptyPage => match split(next.run(request).await).await {
            Ok((status, mut headers, _)) => {
                headers.remove(header::CONTENT_LENGTH);
                (status, headers, fault.body.clone().unwrap_or_else(|| "[]".to_owned())).into_response()
            }
            Err(response) => response,
        },
        FaultKind::MissingRow => match split(next.run(request).await).await {
            Ok((status, mut headers, body)) => {
                headers.remove(header::CONTENT_LENGTH);
                (status, headers, without_a_row(&body).map_or(body, Bytes::from)).into_response()
            }
            Err(response) => response,
        },
        FaultKind::TruncatedJson => match split(next.run(request).await).await {
            Ok((status, mut headers, body)) => {
                headers.remove(header::CONTENT_LENGTH);
                (status, headers, body.slice(..body.len() / 2)).into_response()
            }
            Err(response) => response,
        },
        FaultKind::Notices => match split(next.run(request).await).await {
            Ok((status, mut headers, body)) => {
                headers.remove(header::CONTENT_LENGTH);
                let mut noisy = Vec::from(NOTICES.as_bytes());
                noisy.extend_from_slice(&body);
                (status, headers, noisy).into_response()
            }
            Err(response) => response,
        },
        FaultKind::Change => {
            let response = next.run(request).await;
            let changes = fault.change.as_ref();
            let changes =
                changes.and_then(|all| all.as_array()).map_or_else(|| Vec::from_iter(changes), Vec::from_iter);
            for change in changes {
                if let Err(reason) = gate.itself.change(change) {
                    tracing::debug!("a change did not happen: {reason}");
                }
            }
            response
        }
        FaultKind::Cut => match split(next.run(request).await).await {
            Ok((status, headers, body)) => cut(status, headers, body),
            Err(response) => response,
        },
    };
    let mut response = response;
    if let Some(route) = route
        && response.extensions().get::<Route>().is_none()
    {
        response.extensions_mut().insert(route);
    }
    (response, true)
}

/// The whole answer in memory: pages are small.
async fn split(response: Response) -> Result<(StatusCode, HeaderMap, Bytes), Response> {
    let (parts, body) = response.into_parts();
    match axum::body::to_bytes(body, usize::MAX).await {
        Ok(bytes) => Ok((parts.status, parts.headers, bytes)),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    }
}

/// A page without the row in its middle, whose other rows are as they were: a bare list, or an object with one. Rows at
/// its ends may be given by the pages beside it as well.
fn without_a_row(body: &[u8]) -> Option<String> {
    fn shortened(list: &RawValue) -> Option<Box<RawValue>> {
        let rows: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
        let left_out = rows.len() / 2;
        let rest: Vec<&str> =
            rows.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, row)| row.get()).collect();
        let is_rows = rows.first().is_some_and(|row| row.get().starts_with('{'));
        is_rows.then(|| RawValue::from_string(format!("[{}]", rest.join(","))).ok()).flatten()
    }
    let page: &RawValue = serde_json::from_slice(body).ok()?;
    if let Some(list) = shortened(page) {
        return Some(list.get().to_owned());
    }
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(page.get()).ok()?;
    let (name, list) = members.iter().find_map(|(name, value)| Some((name.clone(), shortened(value)?)))?;
    members.insert(name, list);
    serde_json::to_string(&members).ok()
}

fn cut(status: StatusCode, mut headers: HeaderMap, body: Bytes) -> Response {
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half = body.slice(..body.len() / 2);
    let pieces = futures::stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) if !half.is_empty() => Some((Ok(half), Some(Bytes::new()))),
            _ => {
                // The half must be on its way before the connection ends, or the caller would see no answer at all.
                tokio::task::yield_now().await;
                Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)), None))
            }
        }
    });
    (status, headers, Body::from_stream(pieces)).into_response()
}

fn with_retry_after(mut response: Response, fault: &Fault) -> Response {
    let Some(wanted) = &fault.retry_after else { return response };
    let text = match wanted.strip_prefix("date:").and_then(|seconds| seconds.trim().parse().ok()) {
        Some(seconds) => {
            let moment = std::time::SystemTime::now() + Duration::from_secs(seconds);
            httpdate::fmt_http_date(moment)
        }
        None => wanted.clone(),
    };
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

const JSON: &str = "application/json; charset=UTF-8";

fn json_type() -> [(header::HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, JSON)]
}

fn html_type() -> [(header::HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, "text/html; charset=UTF-8")]
}

const CRITICAL_ERROR: &str = "<!DOCTYPE html>\n<html lang=\"en-US\"><head><meta charset=\"utf-8\">\
    <title>Error</title></head><body id=\"error-page\"><div class=\"wp-die-message\">\
    <p>There has been a critical error on this website.</p></div></body></html>\n";

const MAINTENANCE: &str = "<!DOCTYPE html>\n<html lang=\"en-US\"><head><meta charset=\"utf-8\">\
    <title>Maintenance</title></head><body><h1>Briefly unavailable for scheduled maintenance. \
    Check back in a minute.</h1></body></html>\n";

const LOGIN_WALL: &str = "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>One moment, please\
    </title></head><body><form action=\"/login\" method=\"post\"><input name=\"password\" type=\"password\">\
    </form></body></html>\n";

const NOTICES: &str = "\u{feff}<br />\n<b>Notice</b>:  Undefined variable: lang in \
    <b>/var/www/html/wp-content/plugins/some-plugin/plugin.php</b> on line <b>42</b><br />\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters_and_the_rest_is_literal() {
        assert!(matches("/wp-json/wc/v3/orders", "/wp-json/wc/v3/orders"));
        assert!(!matches("/wp-json/wc/v3/orders", "/wp-json/wc/v3/orders/7"));
        assert!(matches("/wp-json/wc/v3/orders*", "/wp-json/wc/v3/orders/7"));
        assert!(matches("*/orders/*/refunds", "/wp-json/wc/v3/orders/7/refunds"));
        assert!(!matches("*/orders/*/refunds", "/wp-json/wc/v3/orders/7/notes"));
        assert!(matches("*", ""));
    }

    #[test]
    fn a_page_loses_the_row_in_its_middle_and_nothing_else() {
        let page = |body: &str| without_a_row(body.as_bytes());
        assert_eq!(page(r#"[{"b":1,"a":2},{"y":1},{"z": 1}]"#).unwrap(), r#"[{"b":1,"a":2},{"z": 1}]"#);
        assert_eq!(page(r#"{"rows":[{"id":1}],"all":1}"#).unwrap(), r#"{"all":1,"rows":[]}"#);
        assert_eq!(page("[]"), None);
        assert_eq!(page(r#"{"errors":[1]}"#), None);
    }

    #[test]
    fn a_query_condition_with_a_value_takes_that_value_alone() {
        assert!(query_contains("page=1&per_page=100", "page=1"));
        assert!(!query_contains("page=11&per_page=100", "page=1"));
        assert!(query_contains("modified_after=2026", "modified_after"));
    }

    #[test]
    fn a_fault_strikes_by_count_alone_and_is_spent_after_its_times() {
        let faults = Faults::default();
        faults.add(Fault::new(FaultKind::Error, "/a").after(2).every(2).times(2));
        let mut struck = Vec::new();
        for call in 1..=10 {
            if faults.strike("p", "GET", "/a", "").0.is_some() {
                struck.push(call);
            }
            assert!(faults.strike("p", "GET", "/b", "").0.is_none());
        }
        assert_eq!(struck, [3, 5]);
    }
}
