//! An emulated WooCommerce and a caller of it.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use wharf::sandbox::woocommerce::{self, Options};
use wharf::sandbox::{Sandbox, SandboxOptions};

/// The key that may read and write.
pub const KEY: (&str, &str) = (woocommerce::CONSUMER_KEY, woocommerce::CONSUMER_SECRET);

/// Refused for what the key is, its secret, its signature.
pub const AUTH: &str = "woocommerce_rest_authentication_error";
/// Refused for who the caller is.
pub const VIEW: &str = "woocommerce_rest_cannot_view";

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

    pub fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json().as_array().unwrap().clone()
    }

    pub fn ids(&self) -> Vec<u64> {
        self.rows().iter().map(|row| row["id"].as_u64().unwrap()).collect()
    }

    pub fn code(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(body["data"]["status"], json!(self.status));
        (self.status, body["code"].as_str().unwrap().to_owned())
    }

    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    pub fn totals(&self) -> (String, String) {
        (self.header("x-wp-total"), self.header("x-wp-totalpages"))
    }
}

/// A running shop and a caller that knows its keys.
pub struct Shop {
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
}

impl Shop {
    pub async fn open(options: Options) -> Self {
        // Whoever comes first installs it; later tests find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let served = SandboxOptions::default().with(options);
        let sandbox = Sandbox::start(served).await.unwrap();
        Self { sandbox, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    pub async fn small() -> Self {
        Self::open(Options::small()).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/wp-json/wc/v3/{path}", self.sandbox.woocommerce_url())
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_as(KEY, path).await
    }

    pub async fn get_as(&self, key: (&str, &str), path: &str) -> Answer {
        self.send(self.http.get(self.url(path)).basic_auth(key.0, Some(key.1))).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.http.put(self.url(path)).basic_auth(KEY.0, Some(KEY.1)).json(&body)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.http.post(self.url(path)).basic_auth(KEY.0, Some(KEY.1)).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.http.delete(self.url(path)).basic_auth(KEY.0, Some(KEY.1))).await
    }

    pub async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sandbox/{path}", self.sandbox.url("woocommerce").unwrap());
        let answer = self.send(self.http.post(url).json(&body)).await;
        assert!(answer.status < 300, "{}", answer.text);
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    /// The id of some order with a status.
    pub async fn order_with(&self, status: &str) -> u64 {
        self.get(&format!("orders?status={status}&per_page=1")).await.ids()[0]
    }
}
