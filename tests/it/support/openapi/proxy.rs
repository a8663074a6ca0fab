//! Stands between a connector and its sandbox, and lets through only what the platform's specification allows.
//!
//! A request that breaks the specification never reaches the sandbox: it is answered 400 with the reason, and the test
//! fails with all reasons when the proxy is dropped. Answers pass as they are, cut ones cut. Where the specification's file
//! is absent, everything passes, so that the test runs all the same.

use super::Specification;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, Response, header};
use axum::response::IntoResponse;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// Headers of one connection, which are not passed on.
const HOP: [HeaderName; 4] = [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::TE];

/// The proxy.
pub struct Proxy {
    /// Its address, without a final slash.
    pub origin: String,
    seen: Arc<Seen>,
}

struct Seen {
    specification: Option<Specification>,
    upstream: String,
    http: reqwest::Client,
    refusals: Mutex<Vec<String>>,
    passed: Mutex<u64>,
}

impl Proxy {
    /// Begins to stand before `upstream`, a scheme with host and port.
    pub async fn start(specification: Option<Specification>, upstream: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let upstream = upstream.trim_end_matches('/').to_owned();
        let seen =
            Arc::new(Seen { specification, upstream, http, refusals: Mutex::default(), passed: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(pass).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { origin, seen }
    }

    /// How many requests were allowed.
    pub fn passed(&self) -> u64 {
        *self.seen.passed.lock().unwrap()
    }

    /// What was refused so far; the proxy forgets it.
    pub fn take_refusals(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.refusals.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let refusals = self.take_refusals();
        if !refusals.is_empty() && !std::thread::panicking() {
            panic!("requests that break the specification:\n{}", refusals.join("\n"));
        }
    }
}

async fn pass(State(seen): State<Arc<Seen>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let target = head.uri.path_and_query().map(|target| target.as_str().to_owned()).unwrap_or_default();
    let is_control = head.uri.path().starts_with("/_sandbox/");
    if let Some(specification) = seen.specification.as_ref().filter(|_| !is_control) {
        if let Err(reason) = specification.check_request(&head.method, &target, &head.headers, &body) {
            seen.refusals.lock().unwrap().push(reason.clone());
            return (axum::http::StatusCode::BAD_REQUEST, reason).into_response();
        }
        *seen.passed.lock().unwrap() += 1;
    }
    let mut headers = head.headers;
    for name in HOP {
        headers.remove(name);
    }
    let sent = seen.http.request(head.method, format!("{}{target}", seen.upstream)).headers(headers).body(body).send();
    let Ok(answer) = sent.await else {
        // No answer came, so none is given: unwinding ends the connection without a word.
        std::panic::resume_unwind(Box::new("the sandbox hung up"));
    };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    for name in HOP {
        response.headers_mut().remove(name);
    }
    response
}
