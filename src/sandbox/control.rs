//! The control endpoints, the same on every port of a sandbox, under `/_sandbox/`:
//!
//! | call | what |
//! |---|---|
//! | `GET /_sandbox/state` | figures and state per platform |
//! | `GET /_sandbox/requests?platform=&path=&since=&limit=` | the log of calls: `total`, `counts` per route, `calls` (the newest `limit`, 100 by default, numbered above `since`) |
//! | `DELETE /_sandbox/requests` | forgets the log |
//! | `POST /_sandbox/faults` | adds one fault or a list of them (see [`super::Fault`]) |
//! | `GET`, `DELETE /_sandbox/faults` | the faults with how often they struck; forgets them |
//! | `POST /_sandbox/change` | changes a platform's state: `{"platform": "woocommerce", …}`, or of the platform on whose port it is asked; answers what was changed |
//! | `POST /_sandbox/reset` | brings the beginning back: states, faults, log |
//! | `/_sandbox/<platform>/…` | what a platform offers beside that |

use super::Platform;
use super::faults::{Fault, Faults};
use super::requests::Requests;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct Control {
    /// The platform on whose port the endpoints are.
    pub(super) own: Arc<dyn Platform>,
    pub(super) platforms: Arc<Vec<Arc<dyn Platform>>>,
    pub(super) faults: Arc<Faults>,
    pub(super) requests: Arc<Requests>,
}

impl Control {
    pub(super) fn router(self) -> Router {
        let mut router = Router::new()
            .route("/_sandbox/state", get(state))
            .route("/_sandbox/requests", get(calls).delete(forget_calls))
            .route("/_sandbox/faults", get(faults).post(add_faults).delete(forget_faults))
            .route("/_sandbox/change", post(change))
            .route("/_sandbox/reset", post(reset))
            .with_state(self.clone());
        for platform in self.platforms.iter() {
            router = router.nest(&format!("/_sandbox/{}", platform.name()), Arc::clone(platform).control());
        }
        router
    }
}

type Refusal = (StatusCode, Json<Value>);

fn refusal(reason: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": reason.into() })))
}

/// The body as JSON, whatever its content type says: `curl -d` alone is to do.
fn json_of(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| refusal(format!("the body is not JSON: {error}")))
}

async fn state(State(control): State<Control>) -> Json<Value> {
    let states: Map<String, Value> =
        control.platforms.iter().map(|platform| (platform.name().to_owned(), platform.state())).collect();
    Json(Value::Object(states))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallsWanted {
    #[serde(default)]
    platform: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    since: u64,
    #[serde(default = "newest_hundred")]
    limit: usize,
}

fn newest_hundred() -> usize {
    100
}

async fn calls(State(control): State<Control>, Query(wanted): Query<CallsWanted>) -> Json<Value> {
    let mut calls = control.requests.calls(&wanted.platform, &wanted.path);
    calls.retain(|call| call.number > wanted.since);
    let skipped = calls.len().saturating_sub(wanted.limit);
    Json(json!({
        "total": control.requests.total(),
        "counts": control.requests.counts(),
        "calls": &calls[skipped..],
    }))
}

async fn forget_calls(State(control): State<Control>) -> StatusCode {
    control.requests.clear();
    StatusCode::NO_CONTENT
}

async fn faults(State(control): State<Control>) -> Json<Value> {
    Json(json!({ "faults": control.faults.report() }))
}

async fn add_faults(State(control): State<Control>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let body = json_of(&body)?;
    let wanted = match body {
        Value::Array(wanted) => wanted,
        one => vec![one],
    };
    let mut faults = Vec::new();
    for one in wanted {
        let fault: Fault = serde_json::from_value(one).map_err(|error| refusal(error.to_string()))?;
        let known = control.platforms.iter().any(|platform| platform.name() == fault.platform);
        if !fault.platform.is_empty() && !known {
            return Err(refusal(format!("`{}` is not served here", fault.platform)));
        }
        faults.push(fault);
    }
    for fault in faults {
        control.faults.add(fault);
    }
    Ok(Json(json!({ "faults": control.faults.report() })))
}

async fn forget_faults(State(control): State<Control>) -> StatusCode {
    control.faults.clear();
    StatusCode::NO_CONTENT
}

async fn change(State(control): State<Control>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let body = json_of(&body)?;
    let name = match body.get("platform") {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(_) => return Err(refusal("`platform` is a text")),
        None => None,
    };
    let platform = match name {
        None => control.own,
        Some(name) => match control.platforms.iter().find(|platform| platform.name() == name) {
            Some(platform) => Arc::clone(platform),
            None => return Err(refusal(format!("`{name}` is not served here"))),
        },
    };
    // A change of a large stock computes for a while: not on a thread that serves calls.
    let changed = tokio::task::spawn_blocking(move || platform.change(&body)).await;
    match changed {
        Ok(changed) => changed.map(Json).map_err(refusal),
        Err(_) => Err(refusal("the change failed")),
    }
}

async fn reset(State(control): State<Control>) -> StatusCode {
    for platform in control.platforms.iter() {
        platform.reset();
    }
    control.faults.clear();
    control.requests.clear();
    StatusCode::NO_CONTENT
}
