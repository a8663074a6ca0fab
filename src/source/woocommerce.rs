//! WooCommerce: WordPress shops, read through the REST API `wc/v3` (and `wp/v2` for users who are no customers).
//!
//! Every list is a bare JSON array cut into pages. Five facts of the sheet shape this file:
//! - with `dates_are_gmt=true` a bound is UTC **without** a zone, and exclusive: one second earlier is asked for. A `Z`
//!   would shift the window by the site's zone and lose the newest changes east of Greenwich;
//! - users cannot be filtered by change at all: between two walks through all of them the newest are read first;
//! - lists are walked by key: sorted by id, with nothing but a lower bound, so that a row changed meanwhile stays in the walk,
//!   and pages overlap by the last row known ([`overlap`]), so that none is lost where others leave and arrive. The bound
//!   `after` would say the same of creation times only where the list is sorted by what is filtered: what is kept as posts
//!   (products; orders of shops without order tables) is sorted by the site's local time and filtered by UTC, which differ in the
//!   night the clocks go back and where the site's zone was changed, and drafts have no time in UTC and would never come;
//! - a weak server fails on 100 rows: the same rows are asked for in pages of 25, and full pages are tried again rarely;
//! - trashed orders leave `status=any`: they are a stream of their own, and the walk over keys covers both.
//!
//! Shops older than 5.8 ignore `modified_after` and answer with everything. That costs time, nothing else: what is
//! unchanged writes nothing when it lands.
//!
//! What an answer means is said in `sql/map/woocommerce/`.

mod check;
mod faults;
mod identity;
mod place;
mod settings;

pub use settings::{Auth, Channel, ConsentMetaKey, Settings};

use super::registry::SourcePlatform;
use super::{
    Absence, Compared, Deletions, Finding, Identity, Incremental, Next, Page, PageRequest, ParentSpec, Position, Seen,
    Source, StreamSpec, Walk,
};
use crate::config::pipeline::Connection;
use crate::http::overlap::{self, Slice};
use crate::http::{self, Client, ClientOptions, Failure, OAuth1, Response, Selector, SignatureMethod};
use crate::tenant::{self, Credential, Tenant};
use crate::{Error, Kind, Result, clock};
use async_trait::async_trait;
use bytes::Bytes;
use faults::{AUTHENTICATION_ERROR, Asked, NO_ROUTE, code, explained};
use futures::TryStreamExt;
use identity::identity;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use place::{Meta, Place};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use settings::inspect;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use url::Url;

/// The registry's row.
pub const PLATFORM: SourcePlatform = SourcePlatform {
    name: "woocommerce",
    title: "WooCommerce",
    about: "a WordPress shop with the WooCommerce plugin, read through its REST API wc/v3",
    credentials: "in the shop's administration: WooCommerce > Settings > Advanced > REST API > Add key, permission Read, \
                  for a user who is an administrator or a shop manager",
    schema: || schemars::schema_for!(Settings),
    example: include_str!("woocommerce.example.yaml"),
    inspect,
    build,
};

fn build(connection: &Connection) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(WooCommerce::new(connection)?))
}

/// Where a shop's own API is, below base_url.
const WC: &str = "wp-json/wc/v3";
/// Where WordPress's is.
const WP: &str = "wp-json/wp/v2";

/// Rows commit late and clocks differ: changes are asked for this much before the newest one seen.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);
/// The shop draws `related_ids` anew for each answer and gives flat lists in any order; it counts `total_sales` up with each
/// sale, without marking the product as modified, and no map reads it.
const PRODUCTS_COMPARED: Compared =
    Compared { without: &["related_ids", "total_sales"], as_sets: &["brands", "categories", "tags"] };
/// What a server that fails on full pages is asked for (sheet, section 3).
const SMALL_PAGE: u64 = 25;
/// How a server fails on too many rows.
const TOO_MUCH: &[u16] = &[500, 504];

/// One shop.
pub struct WooCommerce {
    settings: Settings,
    auth: Auth,
    client: Client,
    /// Shops before WooCommerce 9.0 list refunds only below their orders.
    refunds_by_order: AtomicBool,
}

impl WooCommerce {
    /// A shop. Makes no call.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] for settings that are not WooCommerce's, and those of [`Client::new`].
    pub fn new(connection: &Connection) -> Result<Self> {
        let settings: Settings = connection.settings.typed()?;
        if settings.wp_user.is_some() != settings.wp_app_password.is_some() {
            return Err(Error::new(Kind::PipelineFile, "`wp_user` and `wp_app_password` belong together")
                .hint("set both, or neither"));
        }
        let base_url =
            Url::parse(&connection.base_url).map_err(|_| Error::new(Kind::PipelineFile, "`base_url` is no address"))?;
        let default = if base_url.scheme() == "https" { Auth::Basic } else { Auth::Oauth1 };
        let auth = settings.auth.unwrap_or(default);
        let options = ClientOptions {
            auth: credentials(&settings, auth),
            rate: connection.rate,
            verify_tls: settings.verify_tls,
            ..ClientOptions::new(base_url)
        };
        Ok(Self { settings, auth, client: Client::new(options)?, refunds_by_order: AtomicBool::new(false) })
    }

    /// A read of `path` below base_url, with the credentials that belong to it.
    fn call(&self, path: &str) -> http::Call {
        let call = self.client.get(path);
        match (&self.settings.wp_user, &self.settings.wp_app_password) {
            (Some(user), Some(password)) if path.starts_with(WP) => {
                call.auth(http::Auth::basic(user.clone(), password.clone()))
            }
            _ => call,
        }
    }

    /// Makes a call and explains its failure. Signatures refused for their time or nonce are made anew once: the code
    /// does not tell them from a wrong key.
    async fn send(&self, call: http::Call) -> Result<Response, Failure> {
        let of_wordpress = call.asks_below(WP);
        let mut result = call.clone().send().await;
        if self.auth == Auth::Oauth1
            && result.as_ref().is_err_and(|failure| code(failure).as_deref() == Some(AUTHENTICATION_ERROR))
        {
            result = call.send().await;
        }
        let asked =
            Asked { auth: self.auth, of_wordpress, is_encrypted: self.client.options().base_url.scheme() == "https" };
        result.map_err(|failure| explained(failure, asked))
    }

    /// The list that a request walks: its path, and what selects its rows.
    fn list(&self, request: &PageRequest<'_>, place: &Place) -> Result<(String, Vec<(&'static str, String)>)> {
        let parent = || {
            request.parent.ok_or_else(|| {
                Error::new(Kind::Internal, format!("the stream {} is asked for without a parent", request.stream.name))
            })
        };
        let status = |status: &str| vec![("status", status.to_owned())];
        Ok(match request.stream.name {
            "categories" => (format!("{WC}/products/categories"), vec![("hide_empty", "false".to_owned())]),
            "products" => (format!("{WC}/products"), status("any")),
            "variations" => (format!("{WC}/products/{}/variations", parent()?), Vec::new()),
            "customers" => (format!("{WC}/customers"), vec![("role", self.settings.role.clone())]),
            "subscribers" => {
                (format!("{WP}/users"), vec![("context", "edit".to_owned()), ("roles", "subscriber".to_owned())])
            }
            "orders" => (format!("{WC}/orders"), status(if place.trash { "trash" } else { "any" })),
            "trash" => (format!("{WC}/orders"), status("trash")),
            "refunds" => (format!("{WC}/refunds"), Vec::new()),
            "order_refunds" => (format!("{WC}/orders/{}/refunds", parent()?), Vec::new()),
            other => return Err(Error::new(Kind::Internal, format!("WooCommerce has no stream {other}"))),
        })
    }

    fn full_page(&self) -> u64 {
        u64::from(self.settings.per_page.clamp(1, 100))
    }

    /// Asks for the rows of a slice; `tries`: how often, where the server fails on so many.
    async fn rows(&self, request: &PageRequest<'_>, place: &Place, slice: Slice, tries: u32) -> Result<Page, Failure> {
        let (path, selection) = self.list(request, place)?;
        let mut call = self.call(&path);
        for (name, value) in selection {
            call = call.query(name, value);
        }
        match request.walk {
            Walk::Everything => {}
            Walk::ModifiedSince(moment) => {
                call = call.query("modified_after", bound(*moment)).query("dates_are_gmt", "true");
            }
            Walk::CreatedSince(moment) => {
                call = call.query("after", bound(*moment)).query("dates_are_gmt", "true");
            }
            Walk::Keys => call = call.query("_fields", "id"),
            Walk::NewestUntilKnown => {}
        }
        // Ids grow with registration, and of two users of one second they say who came first.
        let order = if *request.walk == Walk::NewestUntilKnown { "desc" } else { "asc" };
        call = call.query("orderby", "id").query("order", order).query("per_page", slice.size);
        if slice.start > 0 {
            call = call.query("offset", slice.start);
        }
        let call = if slice.size > SMALL_PAGE { call.attempts_after(TOO_MUCH, tries) } else { call };
        let answer = self.send(call).await?;
        let total = answer.number("x-wp-total").filter(|total| *total > 0);
        // Some hosts leave out one of the two headers; of pages only the most is known.
        let at_most = answer.number("x-wp-totalpages").map(|pages| pages.saturating_mul(slice.size));
        let meta = Meta { slice, total: total.or(at_most).filter(|total| *total > 0) };
        let total = total.map(|total| total.saturating_add(place.before_trash));
        let before = Some(slice.start.saturating_add(place.before_trash));
        Ok(Page { records: answer.records(Selector::array()), meta: stored(&meta)?, total, before })
    }

    /// The list of a request, in pages of `size`.
    fn sorted(request: &PageRequest<'_>, size: u64) -> overlap::List {
        let newest_first = *request.walk == Walk::NewestUntilKnown;
        let sorted = if newest_first { overlap::Sorted::Descending } else { overlap::Sorted::Ascending };
        overlap::List { cut: overlap::Cut::Offset, sorted, closed: false, size }
    }
}

/// What WordPress says of itself.
#[derive(Deserialize)]
struct Site {
    home: Option<String>,
    url: Option<String>,
}

impl WooCommerce {
    /// The rows of a list with these keys, in one call.
    async fn included(&self, request: &PageRequest<'_>, trash: bool, keys: &[String]) -> Result<Vec<Bytes>, Failure> {
        let (path, selection) = self.list(request, &Place { trash, ..Place::default() })?;
        let mut call = self.call(&path);
        for (name, value) in selection {
            call = call.query(name, value);
        }
        let call = call.query("include", keys.join(",")).query("per_page", keys.len());
        let call = if keys.len() as u64 > SMALL_PAGE { call.attempts_after(TOO_MUCH, 2) } else { call };
        let answer = self.send(call).await?;
        Ok(answer.records(Selector::array()).try_collect().await?)
    }

    /// As [`WooCommerce::included`]; from a server that fails on so many, few at a time.
    async fn included_gently(&self, request: &PageRequest<'_>, trash: bool, keys: &[String]) -> Result<Vec<Bytes>> {
        let failure = match self.included(request, trash, keys).await {
            Ok(rows) => return Ok(rows),
            Err(failure) => failure,
        };
        let few = usize::try_from(SMALL_PAGE).unwrap_or(1);
        if keys.len() <= few || !failure.status().is_some_and(|status| TOO_MUCH.contains(&status)) {
            return Err(failure.into());
        }
        tracing::warn!("{failure}; the same rows are asked for {SMALL_PAGE} at a time");
        let mut rows = Vec::new();
        for some in keys.chunks(few) {
            rows.extend(self.included(request, trash, some).await?);
        }
        Ok(rows)
    }
}

/// How the client proves who asks.
fn credentials(settings: &Settings, auth: Auth) -> http::Auth {
    let (key, secret) = (settings.consumer_key.clone(), settings.consumer_secret.clone());
    match auth {
        Auth::Basic => http::Auth::Basic { user: key, password: secret },
        Auth::Query => http::Auth::Query(vec![("consumer_key", key), ("consumer_secret", secret)]),
        Auth::Oauth1 => http::Auth::OAuth1(OAuth1::new(key, secret, SignatureMethod::HmacSha256)),
    }
}

/// A lower bound that lets `moment` itself in: UTC without a zone, whole seconds, one earlier because it is exclusive.
fn bound(moment: Timestamp) -> String {
    let earlier = moment.checked_sub(SignedDuration::from_secs(1)).unwrap_or(Timestamp::UNIX_EPOCH);
    TimeZone::UTC.to_datetime(earlier).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

fn stored<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::new(Kind::Internal, "a position cannot be kept").because(error))
}

fn restored<T: for<'a> Deserialize<'a> + Default>(value: &Value) -> Result<T> {
    match value {
        Value::Null => Ok(T::default()),
        _ => T::deserialize(value).map_err(|error| {
            Error::new(Kind::Internal, "a position is not one of WooCommerce's")
                .hint("run `wharf extract --full` to begin the walk anew")
                .because(error)
        }),
    }
}

#[async_trait]
impl Source for WooCommerce {
    async fn prepare(&self) -> Result<()> {
        let by_order = match self.send(self.call(&format!("{WC}/refunds")).query("per_page", 1)).await {
            Ok(_) => false,
            // A shop without WooCommerce at all is found out by its first stream.
            Err(failure) if code(&failure).as_deref() == Some(NO_ROUTE) => true,
            Err(failure) => return Err(failure.into()),
        };
        self.refunds_by_order.store(by_order, Ordering::Relaxed);
        Ok(())
    }

    fn streams(&self) -> Vec<StreamSpec> {
        let modified = Incremental::ModifiedSince { overlap: OVERLAP };
        let plain = |name, table, doc, incremental, deletions| StreamSpec {
            name,
            table,
            doc,
            parent: None,
            incremental,
            reread: false,
            deletions,
            compared: Compared::WHOLE,
        };
        // The shop filters neither, and only sorts users by registration.
        let full = |name, doc| plain(name, name, doc, Incremental::FullWalk, Deletions::FullWalk);
        let users = |name, doc| plain(name, name, doc, Incremental::NewestFirst, Deletions::FullWalk);
        let below = |name, table, doc, parent| StreamSpec {
            parent: Some(parent),
            ..plain(name, table, doc, Incremental::ChangedParents, Deletions::FullWalk)
        };
        let mut streams = vec![
            full("categories", "product categories"),
            StreamSpec {
                compared: PRODUCTS_COMPARED,
                ..plain("products", "products", "products of every status but trash", modified, Deletions::CompareKeys)
            },
            below(
                "variations",
                "variations",
                "variations of variable products",
                ParentSpec {
                    table: "products",
                    condition: "payload ->> 'type' in ('variable', 'variable-subscription')",
                },
            ),
            users("customers", "users with an account"),
        ];
        if self.settings.wp_user.is_some() {
            streams.push(users("subscribers", "users who only subscribe"));
        }
        streams.push(StreamSpec {
            reread: true,
            ..plain("orders", "orders", "orders of every status but trash", modified, Deletions::CompareKeys)
        });
        streams.push(plain("trash", "orders", "orders in the trash", modified, Deletions::None));
        streams.push(if self.refunds_by_order.load(Ordering::Relaxed) {
            let parent = ParentSpec {
                table: "orders",
                condition: "jsonb_typeof(payload -> 'refunds') = 'array' and payload -> 'refunds' <> '[]'",
            };
            below("order_refunds", "refunds", "refunds, order by order (before WooCommerce 9.0)", parent)
        } else {
            plain("refunds", "refunds", "refunds of all orders", modified, Deletions::CompareKeys)
        });
        streams
    }

    async fn page(&self, request: &PageRequest<'_>) -> Result<Page> {
        let place: Place = restored(request.position)?;
        let size = place.size(self.full_page());
        let slice = |size| place.list.slice(&Self::sorted(request, size));
        match self.rows(request, &place, slice(size), place.tries()).await {
            Ok(page) => Ok(page),
            Err(failure) if size > SMALL_PAGE && failure.status().is_some_and(|s| TOO_MUCH.contains(&s)) => {
                tracing::warn!(
                    "{failure}; the same rows are asked for in pages of {SMALL_PAGE}. `per_page: {SMALL_PAGE}` beside the \
                     connection's base_url asks for no larger ones"
                );
                Ok(self.rows(request, &place, slice(SMALL_PAGE), 1).await?)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn absence(&self, _stream: &StreamSpec) -> Absence {
        // The most that a page may hold are the most keys, too.
        Absence::AskedByKey(self.full_page() as usize)
    }

    async fn by_key(&self, stream: &StreamSpec, parent: Option<&str>, keys: &[String]) -> Result<Vec<Bytes>> {
        let (walk, position, bookmark) = (&Walk::Everything, &Value::Null, &Value::Null);
        let request = PageRequest { stream, walk, parent, position, bookmark };
        let mut rows = self.included_gently(&request, false, keys).await?;
        if stream.name == "orders" {
            // `any` leaves out the trash, also beside `trash`.
            let given: HashSet<String> = rows.iter().filter_map(|row| Some(identity(row).ok()?.key)).collect();
            let others: Vec<String> = keys.iter().filter(|key| !given.contains(*key)).cloned().collect();
            if !others.is_empty() {
                rows.extend(self.included_gently(&request, true, &others).await?);
            }
        }
        Ok(rows)
    }

    fn follows(&self, position: &Position) -> bool {
        restored::<Place>(position).is_ok_and(|place| place.list.follows())
    }

    fn next(&self, request: &PageRequest<'_>, meta: &Value, seen: &Seen) -> Result<Next> {
        let place: Place = restored(request.position)?;
        let meta: Meta = restored(meta)?;
        let list = Self::sorted(request, meta.slice.size);
        let page =
            overlap::Answered { slice: meta.slice, records: seen.records as u64, keys: &seen.keys, total: meta.total };
        let torn = match place.list.after(&list, &page, clock::wall().as_second())? {
            overlap::Step::Next(list) => {
                return Ok(Next::Page(stored(&Place { list, ..place.after(meta.slice.size, self.full_page()) })?));
            }
            overlap::Step::End { torn } => torn || place.torn,
        };
        if request.stream.name == "orders" && *request.walk == Walk::Keys && !place.trash {
            let before_trash = meta.total.or(place.list.total()).unwrap_or(0);
            return Ok(Next::Page(stored(&Place { trash: true, before_trash, torn, ..Place::default() })?));
        }
        Ok(if torn { Next::EndAt { bookmark: request.bookmark.clone(), whole: false } } else { Next::End })
    }

    fn identify(&self, _stream: &StreamSpec, record: &[u8]) -> std::result::Result<Identity, String> {
        identity(record)
    }

    /// WordPress tells everybody its home address, unless a plug-in hides it.
    async fn tenant(&self) -> Result<Tenant> {
        let call = self.client.get("wp-json").auth(http::Auth::None).query("_fields", "home,url");
        let answer = async { Ok(self.send(call).await?.json::<Site>().await?) }.await;
        let site = match answer {
            Err(error) if Error::kind(&error) == Kind::Credentials => None,
            answer => tenant::where_told(answer)?,
        };
        let home = site.and_then(|site| site.home.or(site.url)).filter(|home| !home.trim().is_empty());
        Ok(Tenant {
            told: home.map(|home| tenant::address(&home)),
            credential: Credential::Secret(self.settings.consumer_key.clone()),
        })
    }

    async fn check(&self) -> Vec<Finding> {
        self.findings().await
    }

    fn map_settings(&self) -> Value {
        let default = self.settings.wp_user.iter().map(|_| "subscriber".to_owned()).collect();
        json!({
            "consent_meta_keys": self.settings.consent_meta_keys,
            "newsletter_roles": self.settings.newsletter_roles.clone().unwrap_or(default),
            "birthday_meta_key": self.settings.birthday_meta_key,
        })
    }

    fn calls(&self) -> u64 {
        self.client.calls()
    }
}

#[cfg(test)]
#[path = "woocommerce_tests.rs"]
mod tests;
