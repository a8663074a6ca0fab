//! IdoSell emulated from its sheet: the Admin API of one panel with its shops, and the offer in files.
//!
//! | file | what |
//! |---|---|
//! | [`gate`] | versions, keys, tokens, rights, and answers that are no rows |
//! | [`params`], [`zone`] | parameters and naive times as the platform takes them |
//! | [`reads`], [`reads_goods`] | the gates that read |
//! | [`writes`] | the gates that write |
//! | [`changes`] | what the panel goes through by itself |
//! | [`shop`] | the state: lists with changes over them, tags, the clock |
//! | [`people`], [`people_rows`], [`orders`], [`returns`], [`goods`] | the generated stock in IdoSell's shape |
//! | [`iof`] | the offer in files |
//!
//! Where the sheet calls something unverified, the emulation takes the reading that hurts a careless caller most: a change
//! of consent does not touch the client, who leaves the newsletter without an account keeps the date of joining, a day as
//! the end of a window of times is its midnight, a parameter that nobody documented is refused.

pub mod changes;
pub mod gate;
pub mod goods;
pub mod iof;
pub mod orders;
pub mod params;
pub mod people;
pub mod people_rows;
pub mod reads;
pub mod reads_goods;
pub mod returns;
pub mod shop;
pub mod writes;
pub mod zone;

pub use gate::{API_KEY, PASSWORD, READ_KEY, USER};

use super::registry::{self, Opens, SandboxPlatform};
use super::requests::Route;
use super::{Platform, Sandbox};
use crate::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use gate::Refusal;
use iof::File;
use params::Query;
use people::{Channel, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shop::Shop;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The row of the registry.
pub const PLATFORM: SandboxPlatform = SandboxPlatform {
    name: "idosell",
    about: "a panel of two shops with a generated stock",
    wished: |wish| {
        let usual = if wish.small { Options::small() } else { Options::default() };
        let (customers, orders) = wish.size((usual.customers, usual.orders));
        let options = Options { customers, orders, seed: wish.seed, now: wish.now, zone: wish.zone.clone(), ..usual };
        wish.opener("idosell", options)
    },
    settings: || registry::shown(&Options::default()),
};

/// What the emulated panel is like.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How many customers with an account; newsletter subscribers and buyers without one come to these.
    pub customers: u64,
    /// How many orders, unfinished ones included.
    pub orders: u64,
    /// How many products; orders are made of the first 500.
    pub products: u64,
    /// How many shops the panel runs, from 1 to 4.
    pub shops: usize,
    /// The stock is a pure function of this number (and of the counts).
    pub seed: u64,
    /// The moment at which the stock ends and the panel's clock begins (UTC); it runs on from there.
    pub now: jiff::Timestamp,
    /// The shop's time zone.
    pub zone: String,
}

impl Default for Options {
    /// 20,000 customers and 50,000 orders.
    fn default() -> Self {
        Self {
            customers: 20_000,
            orders: 50_000,
            products: 500,
            shops: 2,
            seed: 1,
            // 2026-10-01T00:00:00Z
            now: jiff::Timestamp::constant(1_790_812_800, 0),
            zone: "Europe/Warsaw".to_owned(),
        }
    }
}

impl Options {
    /// 300 customers and 700 orders: a taste in seconds.
    pub fn small() -> Self {
        Self { customers: 300, orders: 700, ..Self::default() }
    }
}

impl Opens for Options {
    type Platform = IdoSell;

    fn open(self, origin: String) -> Result<IdoSell> {
        IdoSell::open(&self, &origin)
    }
}

impl Sandbox {
    /// The emulated IdoSell, if it is served.
    pub fn idosell(&self) -> Option<&Arc<IdoSell>> {
        self.get()
    }

    /// Its address. Empty where it is not served.
    pub fn idosell_url(&self) -> String {
        self.base_url("idosell")
    }
}

/// The emulated panel.
pub struct IdoSell {
    origin: String,
    shop: RwLock<Shop>,
}

impl IdoSell {
    /// Opens the panel whose server's address is `origin`.
    ///
    /// # Errors
    /// [`crate::Kind::Command`] for an unknown time zone and more shops than there can be.
    pub fn open(options: &Options, origin: &str) -> Result<Self> {
        let shop = RwLock::new(Shop::open(options, origin)?);
        Ok(Self { origin: origin.to_owned(), shop })
    }

    /// The state, to be read by tests in the same process.
    pub fn read(&self) -> RwLockReadGuard<'_, Shop> {
        self.shop.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, to be changed by tests in the same process.
    pub fn write(&self) -> RwLockWriteGuard<'_, Shop> {
        self.shop.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of the offer in files, for a shop.
    pub fn offer_url(&self, shop: u64) -> String {
        format!("{}/edi/gateway.xml?shop={shop}&token={}", self.origin, iof::TOKEN)
    }

    fn serve(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
        let path = uri.path();
        if let Some(file) = path.strip_prefix("/edi/") {
            return self.offer(method, file, uri.query().unwrap_or_default());
        }
        let Some((version, below)) = gate::below_version(path) else {
            return refused(&Refusal::not_found(), "(unknown)");
        };
        let answered = self.answer(method, version, below, uri.query().unwrap_or_default(), headers, body);
        let route = format!("/api/admin/v{version}/{below}");
        match answered {
            Ok(body) => with_route((StatusCode::OK, json_type(), body).into_response(), &route),
            Err(refusal) => refused(&refusal, &route),
        }
    }

    fn answer(
        &self,
        method: &Method,
        version: u32,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> reads::Answer {
        if path == "authorize/accessToken" && *method == Method::POST {
            let mut shop = self.write();
            let now = shop.now();
            let token = shop.access.token(headers, &json_of(body)?, now)?;
            return Ok(crate::sandbox::php::to_bytes(&token));
        }
        {
            let shop = self.read();
            shop.access.check(headers, path, gate::writes(method, path), shop.now())?;
            if shop.blocked && path != "system/serverLoad" {
                return Err(reads::blocked(path));
            }
        }
        let query = Query::read(query);
        let route = (method.as_str(), path);
        match route {
            ("GET", "clients/clients") => reads::clients(&mut self.write(), &query),
            ("POST", "clients/newsletter/email/search") => {
                reads::newsletter(&self.read(), Channel::Email, &json_of(body)?)
            }
            ("POST", "clients/newsletter/sms/search") => reads::newsletter(&self.read(), Channel::Sms, &json_of(body)?),
            ("POST", "clients/crm/search") => reads::crm(&mut self.write(), &json_of(body)?),
            ("POST", "orders/orders/search") => reads::orders(&self.read(), &json_of(body)?, false),
            ("POST", "orders/unfinished/search") => reads::orders(&self.read(), &json_of(body)?, true),
            ("GET", "orders/orders") => reads::orders_by_number(&self.read(), &query),
            ("GET", "orders/history") => reads::history(&self.read(), &query),
            ("GET", "returns/returns") => reads::returns(&self.read(), &query),
            ("GET", "clients/tags") => reads::tags(&self.read(), &query),
            ("POST", "products/products/search") => reads_goods::products(&self.read(), &json_of(body)?),
            ("GET", "products/products") => reads_goods::products_by_number(&self.read(), &query),
            ("GET", "products/stocks") => reads_goods::stocks(&self.read(), &query),
            ("GET", "products/categories") => reads_goods::categories(&self.read(), &query),
            ("GET", "menu/menu") => reads_goods::menu(&self.read(), &query),
            ("GET", "system/serverLoad") => {
                let mut shop = self.write();
                let overloaded = shop.overloaded > 0;
                shop.overloaded = shop.overloaded.saturating_sub(1);
                reads_goods::dictionary(&shop, path, version, &query, overloaded)
            }
            ("GET", _) => reads_goods::dictionary(&self.read(), path, version, &query, false),
            ("PUT", "clients/clients") => writes::edit_clients(&mut self.write(), &json_of(body)?),
            ("POST", "clients/clients") => writes::create_clients(&mut self.write(), &json_of(body)?),
            ("POST", "clients/tags") => writes::add_tags(&mut self.write(), &json_of(body)?),
            ("PUT", "clients/tags") => writes::edit_tags(&mut self.write(), &json_of(body)?),
            ("POST", "clients/tags/delete") => writes::delete_tags(&mut self.write(), &json_of(body)?),
            ("POST", "clients/tags/clear/delete") => writes::clear_tags(&mut self.write(), &json_of(body)?),
            ("PUT", "orders/orders") => writes::edit_orders(&mut self.write(), &json_of(body)?, version),
            _ => Err(Refusal::not_found()),
        }
    }

    /// A file of the offer, written while it is sent.
    fn offer(&self, method: &Method, file: &str, query: &str) -> Response {
        let query = Query::read(query);
        let route = format!("/edi/{}", if file.starts_with("full_change") { "full_change" } else { file });
        let missing = |status: StatusCode| with_route((status, "").into_response(), &route);
        if *method != Method::GET {
            return missing(StatusCode::METHOD_NOT_ALLOWED);
        }
        if query.get("token") != Some(iof::TOKEN) {
            return missing(StatusCode::FORBIDDEN);
        }
        let offer = {
            let mut shop = self.write();
            if shop.feed.offer().is_none() {
                let (panel, tree, goods) = (Arc::clone(&shop.panel), shop.tree.clone(), shop.goods.clone());
                let now = shop.now();
                shop.feed.make(&panel, &tree, &goods, now);
            }
            shop.feed.offer()
        };
        let shops = self.read().panel.shops as u64;
        let shop = query.get("shop").map_or(Some(1), |text| text.parse().ok()).filter(|id| (1..=shops).contains(id));
        let (Some(offer), Some(shop)) = (offer, shop) else { return missing(StatusCode::NOT_FOUND) };
        let xml = [(header::CONTENT_TYPE, "application/xml; charset=UTF-8")];
        if file == "gateway.xml" {
            return with_route((xml, offer.gateway(shop)).into_response(), &route);
        }
        let wanted = match file {
            "export-offer.php" => query.get("type").and_then(File::named),
            name => offer.change_named(name).map(File::Changes),
        };
        let Some(wanted) = wanted else { return missing(StatusCode::NOT_FOUND) };
        let pieces = offer.pieces(wanted, shop).map(Ok::<_, std::convert::Infallible>);
        let body = Body::from_stream(futures::stream::iter(pieces));
        with_route((xml, body).into_response(), &route)
    }
}

fn json_of(body: &[u8]) -> std::result::Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::unreadable("treść nie jest poprawnym dokumentem JSON"))
}

fn json_type() -> [(HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, "application/json; charset=utf-8")]
}

fn with_route(mut response: Response, route: &str) -> Response {
    response.extensions_mut().insert(Route(route.to_owned()));
    response
}

fn refused(refusal: &Refusal, route: &str) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = crate::sandbox::php::to_bytes(&refusal.body);
    let mut response = (status, json_type(), body).into_response();
    // The header's bytes are UTF-8, which no standard knows of.
    if let Some(value) = refusal.x_error.as_ref().and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok()) {
        response.headers_mut().insert(HeaderName::from_static("x-error"), value);
    }
    with_route(response, route)
}

async fn serve(
    State(platform): State<Arc<IdoSell>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A page takes milliseconds of work: not on a thread that answers others.
    let served = tokio::task::spawn_blocking(move || {
        let mut response = platform.serve(&method, &uri, &headers, &body);
        // A server's answers bear the time of its own clock.
        let now = std::time::Duration::from_secs(u64::try_from(platform.read().now()).unwrap_or_default());
        let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + now);
        if let Ok(date) = HeaderValue::from_str(&date) {
            response.headers_mut().insert(header::DATE, date);
        }
        response
    })
    .await;
    served.unwrap_or_else(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the sandbox failed").into_response())
}

impl Platform for IdoSell {
    fn name(&self) -> &'static str {
        "idosell"
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(serve).with_state(self)
    }

    fn state(&self) -> Value {
        let shop = self.read();
        let mut orders = shop.orders.counts();
        let unfinished = orders.remove(orders::UNFINISHED).unwrap_or_default();
        let mut state = Map::new();
        let mut count = |name: &str, total: usize| state.insert(name.to_owned(), json!({ "total": total }));
        count("customers", shop.count_people(Kind::Account));
        count("buyers_without_account", shop.count_people(Kind::Guest));
        count("subscribers_without_account", shop.count_people(Kind::Subscriber));
        count("unfinished", unfinished);
        count("returns", shop.returns.base_rows());
        count("categories", shop.tree.0.len());
        state.insert("orders".to_owned(), json!({ "total": orders.values().sum::<usize>(), "by": orders }));
        let products = shop.products.counts();
        state.insert("products".to_owned(), json!({ "total": products.values().sum::<usize>(), "by": products }));
        state.insert("letters".to_owned(), json!(shop.letters));
        state.insert("now".to_owned(), json!(shop.panel.zone.time(shop.now())));
        state.insert("offer".to_owned(), json!(self.offer_url(1)));
        Value::Object(state)
    }

    fn change(&self, request: &Value) -> std::result::Result<Value, String> {
        changes::change(&mut self.write(), request)
    }

    fn reset(&self) {
        self.write().reset();
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("IDOSELL_API_KEY", API_KEY.to_owned()), ("IDOSELL_IOF_URL", self.offer_url(1))]
    }

    fn url_variable(&self) -> &'static str {
        "IDOSELL_URL"
    }
}
