//! An emulated IdoSell panel and a caller of it.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::sync::Arc;
use wharf::sandbox::idosell::{API_KEY, IdoSell, Options};
use wharf::sandbox::{Platform as _, Sandbox, SandboxOptions};

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The rows of a list, whatever it is called.
    pub fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        let body = self.json();
        let lists = ["results", "Results", "clients", "clientsResults", "categories", "result", "returns"];
        lists.iter().find_map(|list| body[*list].as_array().cloned()).unwrap()
    }

    /// The fault of a 207; texts and numbers alike.
    pub fn fault(&self) -> u64 {
        assert_eq!(self.status, 207, "{}", self.text);
        match &self.json()["errors"]["faultCode"] {
            Value::String(text) => text.parse().unwrap(),
            code => code.as_u64().unwrap(),
        }
    }
}

/// A running panel and a caller that knows its key.
pub struct Panel {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
}

impl Panel {
    pub async fn open(options: Options) -> Self {
        // Whoever comes first installs it; later tests find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sandbox = Sandbox::start(SandboxOptions::default().with(options)).await.unwrap();
        Self { sandbox, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    pub async fn small() -> Self {
        Self::open(Options::small()).await
    }

    pub fn platform(&self) -> &Arc<IdoSell> {
        self.sandbox.idosell().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/api/admin/v6/{path}", self.sandbox.idosell_url())
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(self.url(path)).header("X-API-KEY", API_KEY)).await
    }

    pub async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send(self.http.request(method, self.url(path)).header("X-API-KEY", API_KEY).json(&body)).await
    }

    /// A search with its parameters in the wrapper.
    pub async fn search(&self, path: &str, params: Value) -> Answer {
        self.call(Method::POST, path, json!({ "params": params })).await
    }

    /// All rows of a search, page by page.
    pub async fn every(&self, path: &str, params: Value) -> Vec<Value> {
        let is_snake = path.contains("newsletter");
        let (page_name, limit_name) =
            if is_snake { ("results_page", "results_limit") } else { ("resultsPage", "resultsLimit") };
        let mut rows = Vec::new();
        for page in 0.. {
            let mut asked = params.clone();
            asked[page_name] = json!(page);
            asked[limit_name] = json!(100);
            let answer = self.search(path, asked).await;
            if answer.status == 207 {
                assert_eq!(answer.fault(), 2);
                break;
            }
            rows.extend(answer.rows());
        }
        rows
    }

    /// All clients.
    pub async fn every_client(&self, query: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        for page in 0.. {
            let answer = self.get(&format!("clients/clients?resultsPage={page}&resultsLimit=100{query}")).await;
            if answer.status == 207 {
                assert_eq!(answer.fault(), 2);
                break;
            }
            rows.extend(answer.rows());
        }
        rows
    }

    pub fn change(&self, request: Value) -> Value {
        self.platform().change(&request).unwrap()
    }
}
