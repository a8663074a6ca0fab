//! WooCommerce emulated from its sheet: the interface `wc/v3` and what of `wp/v2` a pipeline reads, with the quirks that
//! were seen on a real shop.
//!
//! | file | what |
//! |---|---|
//! | [`auth`] | who asks: Basic, query string, OAuth 1.0a, application passwords |
//! | [`params`], [`answers`] | parameters as PHP reads them, answers and errors as WordPress gives them |
//! | [`lists`] | lists: pages, bounds in time, headers |
//! | [`writes`] | single writes and batches, and what they touch |
//! | [`changes`] | what the shop goes through by itself |
//! | [`shop`] | the state: lists with an overlay of changes |
//! | [`generated`], [`rows`] | the generated stock in WooCommerce's shape |
//! | [`loaded`] | a shop from files |
//!
//! The server is plain HTTP on loopback; WordPress is made to believe that the connection is TLS (`as_tls`, on by
//! default; a header `X-Forwarded-Proto` decides for one request), because Basic and query-string keys work only then.

pub mod answers;
pub mod auth;
pub mod changes;
pub mod generated;
pub mod lists;
pub mod loaded;
pub mod params;
pub mod rows;
pub mod shop;
pub mod site;
pub mod writes;

pub use auth::{
    CONSUMER_KEY, CONSUMER_SECRET, CUSTOMERS_KEY, CUSTOMERS_SECRET, READ_KEY, READ_SECRET, WP_APP_PASSWORD, WP_USER,
    WRITE_KEY, WRITE_SECRET,
};
pub use changes::Change;

use super::registry::{self, Opens, SandboxPlatform};
use super::{Platform, Sandbox};
use crate::Result;
use crate::sandbox::table::{Filter, OrderBy};
use answers::{Answer, WpError};
use auth::{Asked, Auth, Caller};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use lists::List;
use params::Params;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
pub use shop::Entity;
use shop::Shop;
use site::Site;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// The row of the registry.
pub const PLATFORM: SandboxPlatform = SandboxPlatform {
    name: "woocommerce",
    about: "a shop with a generated stock",
    wished: |wish| {
        let usual = if wish.small { Options::small() } else { Options::default() };
        let (customers, orders) = wish.size((usual.customers, usual.orders));
        let options = Options {
            customers,
            orders,
            seed: wish.seed,
            now: wish.now,
            zone: wish.zone.clone(),
            load: wish.folder()?,
            ..usual
        };
        wish.opener("woocommerce", options)
    },
    settings: || registry::shown(&Options::default()),
};

/// What the emulated shop is like.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How many customers with an account (role `customer`); ignored where `load` is given.
    pub customers: u64,
    /// How many orders, trash included; ignored where `load` is given.
    pub orders: u64,
    /// The stock is a pure function of this number (and of the counts).
    pub seed: u64,
    /// The moment at which the stock ends and the shop's clock begins (UTC); it runs on from there.
    pub now: jiff::Timestamp,
    /// The site's time zone.
    pub zone: String,
    /// Whether WordPress takes this plain server for https: Basic and query-string keys work only then.
    pub as_tls: bool,
    /// A sub-folder that WordPress lives in: `shop`; empty for none.
    pub folder: String,
    /// A folder with a shop in files (see [`loaded`]).
    pub load: Option<PathBuf>,
}

impl Default for Options {
    /// 20,000 customers and 50,000 orders.
    fn default() -> Self {
        Self {
            customers: 20_000,
            orders: 50_000,
            seed: 1,
            // 2026-10-01T00:00:00Z
            now: jiff::Timestamp::constant(1_790_812_800, 0),
            zone: "Europe/Warsaw".to_owned(),
            as_tls: true,
            folder: String::new(),
            load: None,
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
    type Platform = WooCommerce;

    fn open(self, origin: String) -> Result<WooCommerce> {
        WooCommerce::open(self, origin)
    }
}

impl Sandbox {
    /// The emulated WooCommerce, if it is served.
    pub fn woocommerce(&self) -> Option<&Arc<WooCommerce>> {
        self.get()
    }

    /// Its address, sub-folder included. Empty where it is not served.
    pub fn woocommerce_url(&self) -> String {
        self.base_url("woocommerce")
    }
}

/// The emulated shop.
pub struct WooCommerce {
    site: Arc<Site>,
    folder: String,
    host: String,
    as_tls: bool,
    auth: Auth,
    shop: RwLock<Shop>,
}

impl WooCommerce {
    /// Opens the shop whose server's address is `origin`.
    ///
    /// # Errors
    /// [`crate::Kind::Io`] where a shop in files cannot be read; [`crate::Kind::Command`] for an unknown time zone.
    pub fn open(options: Options, origin: String) -> Result<Self> {
        let folder = match options.folder.trim_matches('/') {
            "" => String::new(),
            folder => format!("/{folder}"),
        };
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host).to_owned();
        let site = Arc::new(Site::new(format!("{origin}{folder}"), &options.zone)?);
        let shop = RwLock::new(Shop::open(&options, &site)?);
        Ok(Self { site, folder, host, as_tls: options.as_tls, auth: Auth::default(), shop })
    }

    /// The shop's address, sub-folder included, without a final slash.
    pub fn home(&self) -> &str {
        &self.site.home
    }

    /// Changes about this share of the shop and says what was changed. The same share and seed on the same shop change
    /// the same rows.
    pub fn change_about(&self, share: f64, seed: u64) -> Vec<Change> {
        let mut shop = self.shop.write().unwrap_or_else(PoisonError::into_inner);
        changes::change_about(&mut shop, &self.site, share, seed)
    }

    /// How many rows a list has per class: customers by role, orders and products by status.
    pub fn counts(&self, entity: Entity) -> std::collections::BTreeMap<String, usize> {
        self.shop.read().unwrap_or_else(PoisonError::into_inner).table(entity).counts()
    }

    /// A row as the shop has it now.
    pub fn row(&self, entity: Entity, id: u64) -> Option<Value> {
        self.shop.read().unwrap_or_else(PoisonError::into_inner).read(entity, id)
    }

    /// Every row of a list as the shop has it now, trash included, by id; what is no JSON is left out.
    pub fn rows(&self, entity: Entity) -> Vec<Value> {
        let shop = self.shop.read().unwrap_or_else(PoisonError::into_inner);
        let all = shop.table(entity).select(OrderBy::Id, false, &Filter::default(), 0, usize::MAX);
        all.rows.iter().filter_map(|row| serde_json::from_slice(row).ok()).collect()
    }

    fn serve(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Response {
        let home = &self.site.home;
        let params = Params::parse(uri.query().unwrap_or_default());
        let Some(path) = uri.path().strip_prefix(&self.folder) else {
            return (StatusCode::NOT_FOUND, "not WordPress' folder").into_answer();
        };
        // The old interface is gone from the core since 9.0.
        if path.starts_with("/wc-api/") {
            let body = json!({ "errors": {
                "code": "woocommerce_api_disabled",
                "message": "The WooCommerce API is disabled on this site",
            } });
            return Answer::value(&body).into_response(StatusCode::NOT_FOUND, home);
        }
        // By rest_route the key is not looked at.
        if let Some(route) = params.get("rest_route").filter(|_| matches!(path, "/" | "/index.php" | "")) {
            return self.respond(method, route, &params, body, Ok(Caller::Anonymous), uri.path());
        }
        let path = path.strip_prefix("/index.php").unwrap_or(path);
        let Some(route) = path.strip_prefix("/wp-json").filter(|route| route.is_empty() || route.starts_with('/'))
        else {
            return (StatusCode::NOT_FOUND, "<!DOCTYPE html><title>Page not found</title>").into_answer();
        };
        let is_tls = match headers.get("x-forwarded-proto").map(|value| value.as_bytes()) {
            Some(b"https") => true,
            Some(_) => false,
            None => self.as_tls,
        };
        let asked = Asked { method, headers, path: uri.path(), params: &params, is_tls, host: &self.host };
        let namespace = route.trim_start_matches('/');
        let is_shop = namespace.starts_with("wc/") || namespace.starts_with("wc-");
        let caller = if is_shop { self.auth.shop_caller(&asked) } else { self.auth.site_caller(&asked) };
        self.respond(method, route, &params, body, caller, uri.path())
    }

    fn respond(
        &self,
        method: &Method,
        route: &str,
        params: &Params,
        body: &[u8],
        caller: std::result::Result<Caller, WpError>,
        path: &str,
    ) -> Response {
        let home = &self.site.home;
        let path = path.strip_prefix(&self.folder).unwrap_or(path);
        // A wrong secret is refused before anything else is looked at.
        let answered = caller.and_then(|caller| self.dispatch(method, route, params, body, caller, path));
        let mut response = match answered {
            Ok((status, answer)) => answer.into_response(status, home),
            Err(error) => error.answer(home),
        };
        response.extensions_mut().insert(super::requests::Route(counted_route(route)));
        response
    }

    fn dispatch(
        &self,
        method: &Method,
        route: &str,
        params: &Params,
        body: &[u8],
        caller: Caller,
        path: &str,
    ) -> std::result::Result<(StatusCode, Answer), WpError> {
        let segments: Vec<&str> = route.split('/').filter(|segment| !segment.is_empty()).collect();
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match segments.as_slice() {
            [] if is_read => {
                let namespaces = ["wc/v1", "wc/v2", "wc/v3", "wp/v2"];
                let home = &self.site.home;
                let body = json!({
                    "name": "Sandbox", "url": home, "home": home, "namespaces": namespaces, "routes": {},
                });
                Ok((StatusCode::OK, Answer::value(&body)))
            }
            ["wc", version @ ("v2" | "v3")] if is_read => {
                let routes: Map<String, Value> = ["orders", "customers", "products", "products/categories", "refunds"]
                    .iter()
                    .map(|name| (format!("/wc/{version}/{name}"), json!({ "methods": ["GET"] })))
                    .collect();
                let body = json!({ "namespace": format!("wc/{version}"), "routes": routes });
                Ok((StatusCode::OK, Answer::value(&body)))
            }
            ["wc", "v1", "orders"] if is_read => Ok((StatusCode::OK, Answer::new(b"[]".to_vec()))),
            ["wc", "v2" | "v3", rest @ ..] => self.shop_route(method, rest, params, body, caller, path),
            ["wp", "v2", "users"] if is_read => {
                let in_full = params.get("context") == Some("edit");
                if in_full && caller != Caller::Manager {
                    let message = "Sorry, you are not allowed to list users.";
                    return Err(WpError::new(401, "rest_forbidden_context", message));
                }
                self.list(List::SiteUsers { in_full }, params, path, Caller::Manager)
            }
            _ => Err(WpError::no_route()),
        }
    }

    fn shop_route(
        &self,
        method: &Method,
        rest: &[&str],
        params: &Params,
        body: &[u8],
        caller: Caller,
        path: &str,
    ) -> std::result::Result<(StatusCode, Answer), WpError> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| WpError::no_route());
        let (entity, list, parent, id, is_batch) = match *rest {
            ["customers"] => (Entity::Users, Some(List::Customers), 0, 0, false),
            ["customers", "batch"] => (Entity::Users, None, 0, 0, true),
            ["customers", id] => (Entity::Users, None, 0, number(id)?, false),
            ["orders"] => (Entity::Orders, Some(List::Orders), 0, 0, false),
            ["orders", "batch"] => (Entity::Orders, None, 0, 0, true),
            ["orders", id] => (Entity::Orders, None, 0, number(id)?, false),
            ["orders", order, "refunds"] => {
                let order = number(order)?;
                (Entity::Refunds, Some(List::RefundsOf(order)), order, 0, false)
            }
            ["orders", order, "refunds", id] => (Entity::Refunds, None, number(order)?, number(id)?, false),
            ["refunds"] => (Entity::Refunds, Some(List::Refunds), 0, 0, false),
            ["products"] => (Entity::Products, Some(List::Products), 0, 0, false),
            ["products", "categories"] => (Entity::Categories, Some(List::Categories), 0, 0, false),
            ["products", "categories", "batch"] => (Entity::Categories, None, 0, 0, true),
            ["products", "categories", id] => (Entity::Categories, None, 0, number(id)?, false),
            ["products", "batch"] => (Entity::Products, None, 0, 0, true),
            ["products", id] => (Entity::Products, None, 0, number(id)?, false),
            ["products", product, "variations"] => {
                let product = number(product)?;
                (Entity::Variations, Some(List::VariationsOf(product)), product, 0, false)
            }
            ["products", product, "variations", id] => (Entity::Variations, None, number(product)?, number(id)?, false),
            _ => return Err(WpError::no_route()),
        };
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        if let Some(list) = list.filter(|_| is_read) {
            return self.list(list, params, path, caller);
        }
        if is_read && !is_batch {
            return self.single(entity, parent, id, params, caller);
        }
        self.write(method, entity, parent, id, is_batch, list.is_some(), params, body, caller)
    }

    fn list(
        &self,
        list: List,
        params: &Params,
        path: &str,
        caller: Caller,
    ) -> std::result::Result<(StatusCode, Answer), WpError> {
        let shop = self.shop.read().unwrap_or_else(PoisonError::into_inner);
        // Parameters are checked before rights, as WordPress does.
        let asked = lists::ask(list, params, &shop, &self.site)?;
        permit(caller, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")?;
        Ok((StatusCode::OK, lists::answer(&asked, params, path, &shop, &self.site)))
    }

    fn single(
        &self,
        entity: Entity,
        parent: u64,
        id: u64,
        params: &Params,
        caller: Caller,
    ) -> std::result::Result<(StatusCode, Answer), WpError> {
        let shop = self.shop.read().unwrap_or_else(PoisonError::into_inner);
        // An unknown row is unknown to everybody, unless it would be a user; a known one is shown to those who may see it.
        if entity == Entity::Users {
            permit(caller, "woocommerce_rest_cannot_view", "Sorry, you cannot view this resource.")?;
        }
        let mut row = writes::read(&shop, entity, id)?;
        permit(caller, "woocommerce_rest_cannot_view", "Sorry, you cannot view this resource.")?;
        if parent != 0 && row["parent_id"] != json!(parent) {
            return Err(WpError::new(404, "woocommerce_rest_invalid_order_refund_id", "Invalid order refund ID."));
        }
        if let (Some(decimals), Entity::Orders | Entity::Refunds) = (lists::decimals(params), entity) {
            lists::round_amounts(&mut row, decimals);
        }
        if let Some(fields) = params.list("_fields").filter(|fields| !fields.is_empty()) {
            let links = row.get("_links").cloned();
            row = params::trim_fields(&row, &fields);
            // Single reads keep their links.
            if let (Some(links), Value::Object(row)) = (links, &mut row) {
                row.insert("_links".to_owned(), links);
            }
        }
        let answer = Answer::value(&row).header("allow", "GET, POST, PUT, PATCH, DELETE");
        Ok((StatusCode::OK, answer))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    fn write(
        &self,
        method: &Method,
        entity: Entity,
        parent: u64,
        id: u64,
        is_batch: bool,
        is_list: bool,
        params: &Params,
        body: &[u8],
        caller: Caller,
    ) -> std::result::Result<(StatusCode, Answer), WpError> {
        let fields = match body {
            [] => Map::new(),
            body => serde_json::from_slice(body)
                .map_err(|_| WpError::new(400, "rest_invalid_json", "Invalid JSON body passed."))?,
        };
        let mut shop = self.shop.write().unwrap_or_else(PoisonError::into_inner);
        let site = &self.site;
        let done = match *method {
            Method::POST if is_batch => {
                permit(
                    caller,
                    "woocommerce_rest_cannot_batch",
                    "Sorry, you are not allowed to batch manipulate this resource.",
                )?;
                writes::batch(&mut shop, site, entity, &fields)?
            }
            Method::POST if is_list => {
                permit(caller, "woocommerce_rest_cannot_create", "Sorry, you are not allowed to create resources.")?;
                let created = writes::create(&mut shop, site, entity, parent, &fields, true)?;
                return Ok((StatusCode::CREATED, Answer::value(&created)));
            }
            Method::POST | Method::PUT | Method::PATCH if !is_list && !is_batch => {
                permit(caller, "woocommerce_rest_cannot_edit", "Sorry, you are not allowed to edit this resource.")?;
                writes::update(&mut shop, site, entity, id, &fields, true)?
            }
            Method::DELETE if !is_list && !is_batch => {
                permit(
                    caller,
                    "woocommerce_rest_cannot_delete",
                    "Sorry, you are not allowed to delete this resource.",
                )?;
                writes::delete(&mut shop, site, entity, id, writes::is_forced(params, &fields))?
            }
            _ => return Err(WpError::no_route()),
        };
        Ok((StatusCode::OK, Answer::value(&done)))
    }
}

/// 401 for nobody, 403 for somebody who may not.
fn permit(caller: Caller, code: &'static str, message: &'static str) -> std::result::Result<(), WpError> {
    match caller {
        Caller::Manager => Ok(()),
        Caller::Customer => Err(WpError::new(403, code, message)),
        Caller::Anonymous => Err(WpError::new(401, code, message)),
    }
}

/// The name a call is counted under: numbers become `{id}`.
fn counted_route(route: &str) -> String {
    let name: Vec<&str> =
        route
            .split('/')
            .map(|segment| {
                if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) { "{id}" } else { segment }
            })
            .collect();
    format!("/wp-json{}", name.join("/"))
}

trait IntoAnswer {
    fn into_answer(self) -> Response;
}

impl IntoAnswer for (StatusCode, &'static str) {
    fn into_answer(self) -> Response {
        axum::response::IntoResponse::into_response((self.0, [("content-type", "text/html; charset=UTF-8")], self.1))
    }
}

async fn serve(
    State(platform): State<Arc<WooCommerce>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A page takes milliseconds of work: not on a thread that answers others.
    let served = tokio::task::spawn_blocking(move || platform.serve(&method, &uri, &headers, &body)).await;
    served.unwrap_or_else(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the sandbox failed").into_answer())
}

impl Platform for WooCommerce {
    fn name(&self) -> &'static str {
        "woocommerce"
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(serve).with_state(self)
    }

    fn state(&self) -> Value {
        let shop = self.shop.read().unwrap_or_else(PoisonError::into_inner);
        let mut state = Map::new();
        for entity in Entity::ALL {
            let counts = shop.table(entity).counts();
            let total: usize = counts.values().sum();
            state.insert(entity.name().to_owned(), json!({ "total": total, "by": counts }));
        }
        state.insert("now".to_owned(), json!(format!("{}Z", Site::gmt(shop.now()))));
        state.insert("url".to_owned(), json!(self.site.home));
        Value::Object(state)
    }

    fn change(&self, request: &Value) -> std::result::Result<Value, String> {
        let mut shop = self.shop.write().unwrap_or_else(PoisonError::into_inner);
        changes::change(&mut shop, &self.site, request)
    }

    fn reset(&self) {
        self.shop.write().unwrap_or_else(PoisonError::into_inner).reset();
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("WOO_KEY", CONSUMER_KEY.to_owned()), ("WOO_SECRET", CONSUMER_SECRET.to_owned())]
    }

    fn url_variable(&self) -> &'static str {
        "WOO_URL"
    }

    fn base_url(&self, _url: &str) -> String {
        self.site.home.clone()
    }
}
