//! The passes of a walk, and the call that asks for a page of one: gates, filters, spellings.
//!
//! A stream is one list to the rest of Wharf; at IdoSell it may be several calls: subscribers by channel, shop and answer,
//! orders by change and by payment. Each is a pass, and a walk makes them one after another.

use super::faults::Gate;
use super::local_time;
use super::place::Window;
use super::settings::OrderType;
use crate::http::overlap::Slice;
use crate::http::{Call, Client, Idempotency};
use crate::source::Walk;
use crate::{Error, Kind, Result};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

/// One pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// What is asked for.
    pub ask: Ask,
    /// Where its window begins; none where it asks for everything.
    pub from: Option<DateTime>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Customers; keys alone for comparing.
    Clients { keys: bool },
    /// Newsletter subscribers of one channel, one answer and one shop.
    Newsletter { channel: &'static str, shop: u32, approval: &'static str },
    /// Orders by one of their dates.
    Orders { by: &'static str, kind: Option<OrderType> },
    /// Orders that were begun and never placed.
    Unfinished { by: &'static str },
    /// Products that are there or deleted, by one of their dates.
    Products { which: &'static str, by: Option<&'static str>, keys: bool },
    /// Customers with these numbers.
    ClientsByKey { keys: Vec<String> },
    /// Products with these numbers that are there or deleted.
    ProductsByKey { which: &'static str, keys: Vec<String> },
    /// Panel categories.
    Categories,
    /// The menu of a shop.
    Menu { shop: u32 },
    /// Returns by one of their dates.
    Returns { by: &'static str },
}

/// What the passes of a connection depend on.
pub struct Scope<'a> {
    /// The shops that count.
    pub shops: &'a [u32],
    /// The kinds of orders to ask for one by one; none of them for one question.
    pub order_types: &'a [OrderType],
    /// The beginning of all history.
    pub history_from: DateTime,
    /// The zone of the shop.
    pub zone: &'a TimeZone,
    /// The present.
    pub now: Timestamp,
}

/// The passes of a walk through a stream.
///
/// # Errors
/// [`Kind::Internal`] for a stream that IdoSell does not have.
pub fn passes(stream: &str, walk: &Walk, scope: &Scope<'_>) -> Result<Vec<Pass>> {
    let since = match walk {
        Walk::ModifiedSince(since) | Walk::CreatedSince(since) => {
            Some(local_time::lower_bound(*since, scope.now, scope.zone))
        }
        Walk::Everything | Walk::Keys | Walk::NewestUntilKnown => None,
    };
    let keys = *walk == Walk::Keys;
    let changed = matches!(walk, Walk::ModifiedSince(_));
    let pass = |ask| Pass { ask, from: since };
    let whole = |ask| Pass { ask, from: None };
    let dated = |ask| Pass { ask, from: Some(since.unwrap_or(scope.history_from)) };
    Ok(match stream {
        "customers" => vec![pass(Ask::Clients { keys })],
        "subscribers" => {
            let mut all = Vec::new();
            for channel in ["email", "sms"] {
                for shop in scope.shops {
                    for approval in ["y", "n"] {
                        all.push(pass(Ask::Newsletter { channel, shop: *shop, approval }));
                    }
                }
            }
            all
        }
        "orders" => {
            // A payment that was booked may leave the order's own date as it was.
            let by: &[&'static str] = if changed { &["modified", "last_payments_operation"] } else { &["add"] };
            let kinds: Vec<Option<OrderType>> = match scope.order_types {
                [] => vec![None],
                kinds => kinds.iter().copied().map(Some).collect(),
            };
            by.iter().flat_map(|by| kinds.iter().map(|kind| dated(Ask::Orders { by, kind: *kind }))).collect()
        }
        "unfinished_orders" => vec![dated(Ask::Unfinished { by: if changed { "modified" } else { "add" } })],
        "products" if changed => vec![
            pass(Ask::Products { which: "active", by: Some("modified_and_quantity_changed"), keys }),
            pass(Ask::Products { which: "active", by: Some("price_changed"), keys }),
            pass(Ask::Products { which: "deleted", by: Some("modified"), keys }),
        ],
        "products" => ["active", "deleted"].map(|which| whole(Ask::Products { which, by: None, keys })).into(),
        "categories" => {
            let menus = scope.shops.iter().map(|shop| whole(Ask::Menu { shop: *shop }));
            std::iter::once(whole(Ask::Categories)).chain(menus).collect()
        }
        "returns" if changed => ["date_add", "date_end"].map(|by| dated(Ask::Returns { by })).into(),
        "returns" => vec![dated(Ask::Returns { by: "date_add" })],
        other => return Err(Error::new(Kind::Internal, format!("IdoSell has no stream {other}"))),
    })
}

/// The questions that, one after the other, give the records of a stream by key; none where there is no such question.
pub fn by_key(stream: &str) -> Vec<fn(Vec<String>) -> Ask> {
    match stream {
        "customers" => vec![|keys| Ask::ClientsByKey { keys }],
        "products" => vec![|keys| Ask::ProductsByKey { which: "active", keys }, |keys| Ask::ProductsByKey {
            which: "deleted",
            keys,
        }],
        _ => Vec::new(),
    }
}

/// What is the same in every call.
pub struct Asking<'a> {
    /// The client.
    pub client: &'a Client,
    /// `api/admin/v6`.
    pub api: &'a str,
    /// The menu to read.
    pub menu_id: u32,
    /// The language of names.
    pub lang_id: &'a str,
}

impl Ask {
    /// The gate's faults.
    pub fn gate(&self) -> Gate {
        match self {
            Ask::Products { .. } | Ask::ProductsByKey { .. } => Gate::Products,
            Ask::Categories => Gate::Categories,
            Ask::Menu { .. } => Gate::Menu,
            _ => Gate::List,
        }
    }

    /// The name of the list in an answer, in any case.
    pub fn list(&self) -> &'static str {
        match self {
            Ask::Newsletter { .. } => "clients",
            Ask::Categories => "categories",
            Ask::Menu { .. } => "result",
            Ask::Returns { .. } => "returns",
            _ => "results",
        }
    }

    /// Whether the list comes whole, without pages.
    pub fn is_single(&self) -> bool {
        matches!(self, Ask::Menu { .. })
    }

    /// Whether its windows are exact to the second. Products are asked for by the day.
    pub fn is_by_second(&self) -> bool {
        !matches!(self, Ask::Products { .. })
    }

    /// The call for a page.
    pub fn call(&self, asking: &Asking<'_>, window: Option<Window>, slice: Slice) -> Call {
        let (page, limit) = (slice.page(), slice.size);
        let get = |path: &str| asking.client.get(&format!("{}/{path}", asking.api));
        match self {
            Ask::Clients { keys } => {
                let mut call = get("clients/clients").query("resultsPage", page).query("resultsLimit", limit);
                if let Some((from, to)) = window.map(|window| window.written()) {
                    call = call
                        .query("clientsLastModificationDate[clientsLastModificationDateBegin]", from)
                        .query("clientsLastModificationDate[clientsLastModificationDateEnd]", to);
                }
                if *keys { call.query("returnElements", "clientId") } else { call }
            }
            Ask::Newsletter { channel, shop, approval } => {
                let mut params = Map::new();
                params.insert("shops".into(), json!([{"shop_id": shop, "approval": approval}]));
                if let Some((from, to)) = window.map(|window| window.written()) {
                    params.insert("date".into(), json!({"from": from, "to": to}));
                }
                params.insert("results_page".into(), page.into());
                params.insert("results_limit".into(), limit.into());
                search(asking, &format!("clients/newsletter/{channel}/search"), params)
            }
            Ask::Orders { by, kind } => {
                let mut params = orders(by, window, page, limit);
                if let Some(kind) = kind {
                    params.insert("orderType".into(), kind.as_str().into());
                }
                search(asking, "orders/orders/search", params)
            }
            Ask::Unfinished { by } => search(asking, "orders/unfinished/search", orders(by, window, page, limit)),
            Ask::Products { which, by, keys } => {
                let mut params = Map::new();
                params.insert("returnProducts".into(), (*which).into());
                params.insert("skipDefaultProduct".into(), "y".into());
                if *keys {
                    params.insert("returnElements".into(), json!(["code"]));
                } else {
                    params.insert("showPromotionsPrices".into(), "y".into());
                }
                if let (Some(by), Some((from, to))) = (by, window.map(|window| window.written_days())) {
                    let dates = json!({"productDateMode": by, "productDateBegin": from, "productDateEnd": to});
                    params.insert("productDate".into(), dates);
                }
                params.insert("resultsPage".into(), page.into());
                params.insert("resultsLimit".into(), limit.into());
                search(asking, "products/products/search", params)
            }
            Ask::ClientsByKey { keys } => get("clients/clients")
                .query("clientsIds", keys.join(","))
                .query("resultsPage", page)
                .query("resultsLimit", limit),
            Ask::ProductsByKey { which, keys } => {
                // A number that is none cannot be a product's.
                let products = keys.iter().filter_map(|key| key.parse::<u64>().ok());
                let products: Vec<Value> = products.map(|id| json!({"productId": id})).collect();
                let mut params = Map::new();
                params.insert("returnProducts".into(), (*which).into());
                params.insert("showPromotionsPrices".into(), "y".into());
                params.insert("productParams".into(), products.into());
                params.insert("resultsPage".into(), page.into());
                params.insert("resultsLimit".into(), limit.into());
                search(asking, "products/products/search", params)
            }
            Ask::Categories => get("products/categories").query("results_page", page).query("results_limit", limit),
            Ask::Menu { shop } => get("menu/menu")
                .query("shop_id", shop)
                .query("menu_id", asking.menu_id)
                .query("lang_id", asking.lang_id),
            Ask::Returns { by } => {
                let (from, to) = window.map(|window| window.written()).unwrap_or_default();
                get("returns/returns")
                    .query("range[date][date_begin]", from)
                    .query("range[date][date_end]", to)
                    .query("range[date][dates_type]", by)
                    .query("results_page", page)
                    .query("results_limit", limit)
            }
        }
    }
}

fn orders(by: &str, window: Option<Window>, page: u64, limit: u64) -> Map<String, Value> {
    let (from, to) = window.map(|window| window.written()).unwrap_or_default();
    let range = json!({"ordersDateType": by, "ordersDateBegin": from, "ordersDateEnd": to});
    let mut params = Map::new();
    params.insert("ordersRange".into(), json!({"ordersDateRange": range}));
    params.insert("resultsPage".into(), page.into());
    params.insert("resultsLimit".into(), limit.into());
    params
}

/// A search: a POST that changes nothing, its parameters wrapped.
fn search(asking: &Asking<'_>, path: &str, params: Map<String, Value>) -> Call {
    let body = json!({"params": Value::Object(params)});
    asking.client.post(&format!("{}/{path}", asking.api), body, Idempotency::Safe)
}
