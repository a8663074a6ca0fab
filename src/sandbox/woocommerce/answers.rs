//! Answers in WordPress' shape: JSON with its headers, errors with their codes. May use nothing of the shop's state.

use crate::sandbox::php::to_bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// An error as WordPress gives it: `{"code", "message", "data": {"status", …}}`.
#[derive(Debug, Clone, PartialEq)]
pub struct WpError {
    status: u16,
    code: &'static str,
    message: String,
    more: Map<String, Value>,
}

impl WpError {
    /// An error with its code.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), more: Map::new() }
    }

    /// Adds a field to `data`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// 404 rest_no_route.
    pub fn no_route() -> Self {
        Self::new(404, "rest_no_route", "No route was found matching the URL and request method.")
    }

    /// The error as JSON.
    pub fn body(&self) -> Value {
        let mut data = Map::new();
        data.insert("status".to_owned(), json!(self.status));
        data.extend(self.more.clone());
        json!({ "code": self.code, "message": self.message, "data": data })
    }

    /// The answer.
    pub fn answer(&self, home: &str) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Answer::new(to_bytes(&self.body())).into_response(status, home)
    }
}

/// An answer being put together.
#[derive(Debug)]
pub struct Answer {
    body: Vec<u8>,
    headers: HeaderMap,
}

impl Answer {
    /// An answer with this JSON.
    pub fn new(body: Vec<u8>) -> Self {
        Self { body, headers: HeaderMap::new() }
    }

    /// An answer with this value.
    pub fn value(value: &Value) -> Self {
        Self::new(to_bytes(value))
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// The whole answer.
    pub fn into_response(self, status: StatusCode, home: &str) -> Response {
        let mut headers = self.headers;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
        headers.insert("x-robots-tag", HeaderValue::from_static("noindex"));
        if !headers.contains_key(header::LINK)
            && let Ok(link) = HeaderValue::from_str(&format!("<{home}/wp-json/>; rel=\"https://api.w.org/\""))
        {
            headers.insert(header::LINK, link);
        }
        (status, headers, self.body).into_response()
    }
}
