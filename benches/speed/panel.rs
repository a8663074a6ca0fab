//! An IdoSell panel whose orders lie in memory as they were answered once, by the day they were placed: each answer is cut
//! from them, so what is measured is Wharf, not a shop.

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

const PATH: &str = "/api/admin/v6/orders/orders/search";
const PER_PAGE: usize = 100;

/// Orders by the local time at which they were placed, which sorts as text.
#[derive(Default)]
pub struct Panel {
    orders: Vec<Order>,
}

struct Order {
    placed: String,
    key: String,
    json: Box<RawValue>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Results")]
    rows: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    /// A number, or a text of it.
    order_serial_number: serde_json::Value,
    order_details: Details,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    order_add_date: String,
}

/// What is asked for.
#[derive(Deserialize)]
struct Question {
    params: Params,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    orders_range: Range,
    results_page: usize,
    results_limit: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Range {
    orders_date_range: Dates,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dates {
    orders_date_begin: String,
    orders_date_end: String,
}

impl Panel {
    /// Reads all orders of a sandbox's panel.
    pub async fn read(url: &str, key: &str) -> Result<Self> {
        let client = reqwest::Client::new();
        let mut orders = Vec::new();
        for page in 0.. {
            let body = json!({"params": {
                "ordersRange": {"ordersDateRange": {
                    "ordersDateType": "add",
                    "ordersDateBegin": "2000-01-01 00:00:00",
                    "ordersDateEnd": "2100-01-01 00:00:00",
                }},
                "resultsPage": page,
                "resultsLimit": PER_PAGE,
            }});
            let call = client.post(format!("{url}{PATH}")).header("x-api-key", key);
            let call = call.header("content-type", "application/json").body(body.to_string());
            let answer: Answer = call.send().await?.json().await.context("a page of orders")?;
            let is_last = answer.rows.len() < PER_PAGE;
            for json in answer.rows {
                let head: Head = serde_json::from_str(json.get())?;
                let key = head.order_serial_number.to_string().replace('"', "");
                orders.push(Order { placed: head.order_details.order_add_date, key, json });
            }
            if is_last {
                break;
            }
        }
        ensure!(!orders.is_empty(), "the panel has no orders");
        orders.sort_by(|a, b| a.placed.cmp(&b.placed));
        Ok(Self { orders })
    }

    /// How many orders there are, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.orders.len(), self.orders.iter().map(|order| order.json.get().len()).sum())
    }

    /// Writes the orders as `psql \copy` takes them: key, tab, JSON, with backslashes doubled.
    pub fn write_lines(&self, file: &Path) -> Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(file)?);
        for order in &self.orders {
            writeln!(file, "{}\t{}", order.key, order.json.get().replace('\\', "\\\\"))?;
        }
        file.flush()?;
        Ok(())
    }

    /// Serves the orders, and nothing else. Gives the address.
    pub async fn serve(self) -> Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let app = Router::new().route(PATH, post(page)).with_state(Arc::new(self));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(address)
    }

    fn answer(&self, asked: &Params) -> String {
        let dates = &asked.orders_range.orders_date_range;
        let from = self.orders.partition_point(|order| order.placed < dates.orders_date_begin);
        let to = self.orders.partition_point(|order| order.placed <= dates.orders_date_end);
        let within = self.orders.get(from..to).unwrap_or_default();
        let (limit, page) = (asked.results_limit.max(1), asked.results_page);
        let mut text = format!(
            "{{\"resultsNumberAll\":{},\"resultsNumberPage\":{},\"resultsPage\":{page},\"resultsLimit\":{limit},\
             \"Results\":[",
            within.len(),
            within.len().div_ceil(limit)
        );
        for (at, order) in within.iter().skip(page * limit).take(limit).enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(order.json.get());
        }
        text.push_str("]}");
        text
    }
}

async fn page(State(panel): State<Arc<Panel>>, body: Bytes) -> impl IntoResponse {
    match serde_json::from_slice::<Question>(&body) {
        Ok(asked) => (StatusCode::OK, [("content-type", "application/json")], panel.answer(&asked.params)),
        Err(error) => (StatusCode::BAD_REQUEST, [("content-type", "text/plain")], error.to_string()),
    }
}
