//! The emulated eSputnik behaves as its sheet says: checked over HTTP, every request and answer held against the
//! platform's own specification where the file is here.

mod contacts;
mod events;
mod imports;
mod limits;
mod orders;
mod samples;

use crate::support::openapi::Specification;
use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use wharf::sandbox::esputnik::{Jobs, Options, Repeat};
use wharf::sandbox::{Sandbox, SandboxOptions};

fn specification() -> Option<Arc<Specification>> {
    static LOADED: OnceLock<Option<Arc<Specification>>> = OnceLock::new();
    LOADED.get_or_init(|| Specification::esputnik().map(Arc::new)).clone()
}

/// A running account and a caller that has its key.
struct Caller {
    sandbox: Sandbox,
    http: reqwest::Client,
    key: String,
}

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// Of a call that must succeed.
    fn done(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The text of a refusal.
    fn refused(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        self.text
    }
}

impl Caller {
    async fn new(options: Options) -> Self {
        // Whoever comes first installs it; later tests find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = options.api_key.clone();
        let sandbox = Sandbox::start(SandboxOptions::default().with(options)).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { sandbox, http, key }
    }

    /// An account in which imports take effect at once and identical requests are taken.
    async fn prompt() -> Self {
        let jobs = Jobs { started: 0, importing: 0, ..Jobs::default() };
        Self::new(Options { jobs, repeat: Repeat::Taken, ..Options::default() }).await
    }

    fn origin(&self) -> &str {
        self.sandbox.url("esputnik").unwrap()
    }

    /// A call as any client makes it. Both sides are held against the specification; `free` is for what a test means to do
    /// wrong.
    async fn call(&self, method: Method, target: &str, body: Option<&Value>, free: bool) -> Answer {
        let text = body.map(Value::to_string).unwrap_or_default();
        let target = format!("/api/{target}");
        let mut request = self.http.request(method.clone(), format!("{}{target}", self.origin()));
        request = request.basic_auth("any", Some(&self.key));
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Basic x".parse().unwrap());
        if body.is_some() {
            request = request.header("content-type", "application/json; charset=UTF-8").body(text.clone());
            headers.insert("content-type", "application/json; charset=UTF-8".parse().unwrap());
        }
        if let Some(specification) = specification().filter(|_| !free) {
            specification.check_request(&method, &target, &headers, text.as_bytes()).unwrap();
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        if let Some(specification) = specification().filter(|_| !free && status == 200) {
            let path = target.split('?').next().unwrap();
            specification.check_answer(&method, path, status, text.as_bytes()).unwrap();
        }
        Answer { status, headers, text }
    }

    async fn get(&self, target: &str) -> Value {
        self.call(Method::GET, target, None, false).await.done()
    }

    async fn post(&self, target: &str, body: Value) -> Answer {
        self.call(Method::POST, target, Some(&body), false).await
    }

    /// A request that breaks the specification on purpose.
    async fn wrong(&self, target: &str, body: Value) -> Answer {
        self.call(Method::POST, target, Some(&body), true).await
    }

    async fn inspect(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}/_sandbox/esputnik{path}", self.origin())).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    async fn change(&self, name: &str, body: Value) -> Value {
        let answer =
            self.http.post(format!("{}/_sandbox/esputnik/{name}", self.origin())).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{name}: {answer:?}");
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// A contact as the control endpoint shows it.
    async fn contact(&self, external_id: &str) -> Value {
        self.inspect(&format!("/contacts?external_id={external_id}")).await
    }

    /// Imports contacts with all usual fields listed; the answer.
    async fn import(&self, contacts: Value) -> Value {
        self.post("v1/contacts", bulk(contacts)).await.done()
    }

    async fn violations(&self) -> Value {
        self.inspect("/violations").await["counts"].clone()
    }
}

/// A careful bulk request.
fn bulk(contacts: Value) -> Value {
    json!({
        "contacts": contacts,
        "dedupeOn": "externalCustomerId",
        "contactFields": ["firstName", "lastName", "email", "sms", "town", "externalCustomerId"],
        "customFieldsIDs": [15867, 15868],
    })
}

fn person(external_id: &str, email: &str) -> Value {
    json!({"externalCustomerId": external_id, "channels": [{"type": "email", "value": email}]})
}

/// A sample of the sheet, or nothing where the folder is absent.
fn sample(name: &str) -> Option<String> {
    let root = std::env::var("WHARF_SHARED").unwrap_or_else(|_| "../shared".into());
    let path = format!("{root}/platforms/esputnik/{name}");
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(_) => {
            eprintln!("skipped: {path} is not here");
            None
        }
    }
}
