//! A shop made of pages that lie ready in memory, as static as a shop can be: what is measured is Wharf, not a shop.

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

const PER_PAGE: usize = 100;

/// A page of records of nothing but these fields.
fn only(kept: &[&str], page: &[u8]) -> Result<Bytes> {
    let mut records: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(page)?;
    for record in &mut records {
        record.retain(|field, _| kept.contains(&field.as_str()));
    }
    Ok(serde_json::to_vec(&records)?.into())
}

/// Lists, cut into pages of a hundred.
#[derive(Default, Clone)]
pub struct Pages {
    lists: HashMap<String, List>,
}

#[derive(Default, Clone)]
struct List {
    rows: u64,
    pages: Vec<Bytes>,
}

impl Pages {
    /// Reads a list of a sandbox into memory. `path` is below `wp-json/wc/v3`. Of each record only the fields that are
    /// `kept` remain, or all if none is named.
    pub async fn read(
        &mut self,
        shop: &str,
        key: &str,
        secret: &str,
        (path, query): (&str, &str),
        kept: &[&str],
    ) -> Result<()> {
        let client = reqwest::Client::new();
        let mut list = List::default();
        loop {
            let page = list.pages.len() + 1;
            let url =
                format!("{shop}/wp-json/wc/v3/{path}?per_page={PER_PAGE}&page={page}&orderby=id&order=asc{query}");
            let answer = client.get(url).basic_auth(key, Some(secret)).send().await?.error_for_status()?;
            let total: u64 = answer.headers().get("x-wp-total").context("no total")?.to_str()?.parse()?;
            let body = answer.bytes().await?;
            list.rows = list.rows.max(total);
            list.pages.push(if kept.is_empty() { body } else { only(kept, &body)? });
            if list.pages.len() * PER_PAGE >= usize::try_from(list.rows)? {
                break;
            }
        }
        self.lists.insert(path.to_owned(), list);
        Ok(())
    }

    /// How many rows a list has, and their bytes.
    pub fn size(&self, path: &str) -> (u64, u64) {
        self.lists
            .get(path)
            .map(|list| (list.rows, list.pages.iter().map(|page| page.len() as u64).sum()))
            .unwrap_or_default()
    }

    /// Writes a list as `psql \copy` takes it: id, tab, JSON, with backslashes doubled.
    pub fn write_lines(&self, path: &str, file: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct Head {
            id: u64,
        }
        let mut file = std::io::BufWriter::new(std::fs::File::create(file)?);
        for page in &self.lists.get(path).context("no such list")?.pages {
            for row in serde_json::from_slice::<Vec<Box<RawValue>>>(page)? {
                let head: Head = serde_json::from_str(row.get())?;
                writeln!(file, "{}\t{}", head.id, row.get().replace('\\', "\\\\"))?;
            }
        }
        file.flush()?;
        Ok(())
    }

    /// Serves the lists; any other list is empty. Gives the address.
    pub async fn serve(self) -> Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let app = Router::new().route("/wp-json/wc/v3/{*path}", get(page)).with_state(Arc::new(self));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(address)
    }
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default = "first")]
    page: usize,
    status: Option<String>,
}

fn first() -> usize {
    1
}

async fn page(
    State(pages): State<Arc<Pages>>,
    axum::extract::Path(path): axum::extract::Path<String>,
    Query(wanted): Query<Wanted>,
) -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let empty = List::default();
    let list = match wanted.status.as_deref() {
        Some("trash") => &empty,
        _ => pages.lists.get(&path).unwrap_or(&empty),
    };
    headers.insert("x-wp-total", HeaderValue::from(list.rows));
    headers.insert("x-wp-totalpages", HeaderValue::from(list.pages.len()));
    let body = list.pages.get(wanted.page.wrapping_sub(1)).cloned().unwrap_or_else(|| Bytes::from_static(b"[]"));
    (StatusCode::OK, headers, body)
}
