//! WooCommerce: WordPress shops, read through the REST API `wc/v3` (and `wp/v2` for users who are no customers).
//!
//! Every list is a bare JSON array cut into pages. Five facts of the sheet shape this file:
//! - with `dates_are_gmt=true` a bound is UTC **without** a zone, and exclusive: one second earlier is asked for. A `Z`
//!   would shift the window by the site's zone and lose the newest changes east of Greenwich;
//! - users cannot be filtered by change at all, only sorted by registration: between two walks through all of them the
//!   newest are read first;
//! - lists are walked by id with nothing but a lower bound, so that a row changed meanwhile stays in the walk; where rows
//!   left it (the total shrank, or the walk stood still for a while) the page before is read again;
//! - a weak server fails on 100 rows: the same rows are asked for in pages of 25, and then in full pages again;
//! - trashed orders leave `status=any`: they are a stream of their own, and the walk over keys covers both.
//!
//! Shops older than 5.8 ignore `modified_after` and answer with everything. That costs time, nothing else: what is
//! unchanged writes nothing when it lands.
//!
//! What an answer means is said in `sql/map/woocommerce/`.

use super::registry::{Remark, SourcePlatform};
use super::{Deletions, Finding, Identity, Incremental, Next, Page, PageRequest, ParentSpec, Source, StreamSpec, Walk};
use crate::config::formats::Secret;
use crate::config::pipeline::{Connection, PlatformSettings};
use crate::http::{self, Client, ClientOptions, Failure, OAuth1, Response, Selector, SignatureMethod};
use crate::{Error, Kind, Result, clock};
use async_trait::async_trait;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
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

/// WooCommerce's own keys (sheet, section 2).
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The key, `ck_` and 40 hexadecimal digits.
    #[schemars(with = "Secret")]
    pub consumer_key: SecretString,
    /// Its secret, `cs_` and 40 hexadecimal digits.
    #[schemars(with = "Secret")]
    pub consumer_secret: SecretString,
    /// How the key is shown to the shop; left out: `basic` on https, `oauth1` on http.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// Whether the shop's certificate is checked. Turn it off only for a test shop.
    #[serde(default = "yes")]
    pub verify_tls: bool,
    /// A WordPress user, needed only to read newsletter subscribers who have no customer account.
    #[serde(default)]
    pub wp_user: Option<String>,
    /// An application password of that user (Users > Profile > Application Passwords).
    #[serde(default)]
    #[schemars(with = "Option<Secret>")]
    pub wp_app_password: Option<SecretString>,
    /// The meta keys in which the shop's plugins keep marketing consent. Without any, consent is unknown.
    #[serde(default)]
    pub consent_meta_keys: Vec<ConsentMetaKey>,
    /// Which users are customers: a WordPress role, or `all`.
    #[serde(default = "all")]
    pub role: String,
    /// The WordPress roles that mean a newsletter subscription without an account; left out: `subscriber` where `wp_user`
    /// is set, else none.
    #[serde(default)]
    pub newsletter_roles: Option<Vec<String>>,
    /// The meta key that holds the birthday.
    #[serde(default)]
    pub birthday_meta_key: Option<String>,
    /// Records per page, 1 to 100; fewer where the shop's server is weak.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 100))]
    pub per_page: u32,
}

/// How the key is shown to the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// HTTP Basic; https only.
    Basic,
    /// In the query string, for servers that drop the Authorization header; https only.
    Query,
    /// OAuth 1.0a signatures, on http and https.
    Oauth1,
}

/// A meta key that holds consent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentMetaKey {
    /// The meta key, on customers or orders.
    pub key: String,
    /// What the consent is for.
    #[serde(default)]
    pub channel: Channel,
    /// Values that mean consent, whatever their case.
    #[serde(default = "accepted")]
    pub accepted: Vec<String>,
    /// Values that mean refusal, whatever their case. Any other value says nothing.
    #[serde(default = "refused")]
    pub refused: Vec<String>,
    /// The meta key that holds the moment of the statement.
    #[serde(default)]
    pub date_key: Option<String>,
}

/// What a consent is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    #[default]
    Email,
    /// Text messages.
    Sms,
}

fn yes() -> bool {
    true
}

fn all() -> String {
    "all".into()
}

fn hundred() -> u32 {
    100
}

fn accepted() -> Vec<String> {
    ["yes", "1", "true", "on", "subscribed"].map(String::from).into()
}

fn refused() -> Vec<String> {
    ["no", "0", "false", "off", "unsubscribed"].map(String::from).into()
}

/// A key of another form is most likely a key of something else.
fn inspect(settings: &PlatformSettings) -> Vec<Remark> {
    let looks_right = |key: &str, prefix: &str| {
        let digits = settings.0.get(key).and_then(Value::as_str).and_then(|value| value.strip_prefix(prefix));
        digits.is_some_and(|digits| digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    [("consumer_key", "ck_"), ("consumer_secret", "cs_")]
        .into_iter()
        .filter(|(key, prefix)| settings.0.contains_key(*key) && !looks_right(key, prefix))
        .map(|(key, prefix)| Remark {
            key,
            warning: true,
            message: format!("`{key}` does not look like one of WooCommerce's"),
            hint: Some(format!("they are `{prefix}` and 40 hexadecimal digits")),
        })
        .collect()
}

fn build(connection: &Connection) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(WooCommerce::new(connection)?))
}

/// Where a shop's own API is, below base_url.
const WC: &str = "wp-json/wc/v3";
/// Where WordPress's is.
const WP: &str = "wp-json/wp/v2";

/// Rows commit late and clocks differ: changes are asked for this much before the newest one seen.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);
/// What a server that fails on full pages is asked for (sheet, section 3).
const SMALL_PAGE: u64 = 25;
/// How a server fails on too many rows.
const TOO_MUCH: &[u16] = &[500, 504];
/// A walk that stood still for longer may have lost rows before its place without the total telling.
const STOOD_STILL: i64 = 120;
/// A shop takes OAuth signatures this far from its own clock (sheet, section 2).
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

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
        let mut result = call.clone().send().await;
        if self.auth == Auth::Oauth1
            && result.as_ref().is_err_and(|failure| code(failure).as_deref() == Some(AUTHENTICATION_ERROR))
        {
            result = call.send().await;
        }
        result.map_err(|failure| explained(failure, self.auth))
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

    /// Asks for one page of rows.
    async fn rows(&self, request: &PageRequest<'_>, place: &Place, per_page: u64) -> Result<Page, Failure> {
        let (start, catches_up) = place.start(self.full_page(), clock::wall().as_second());
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
        let (by, order) = match request.walk {
            // Rows of one second stand in any order; the walk through everything finds what a page's border hid.
            Walk::NewestUntilKnown => ("registered_date", "desc"),
            _ => ("id", "asc"),
        };
        // The page number counts pages of this size.
        let page = start / per_page + 1;
        let call = call.query("orderby", by).query("order", order).query("per_page", per_page).query("page", page);
        let call = if per_page > SMALL_PAGE { call.attempts_after(TOO_MUCH, 2) } else { call };
        let answer = self.send(call).await?;
        let total = answer.number("x-wp-total").filter(|total| *total > 0);
        let pages = answer.number("x-wp-totalpages").filter(|pages| *pages > 0);
        let more = answer.link("next").is_some();
        let meta = Meta { start: start / per_page * per_page, per_page, total, pages, more, catches_up };
        let total = total.map(|total| total.saturating_add(place.before_trash));
        Ok(Page { records: answer.records(Selector::array()), meta: stored(&meta)?, total })
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

/// Where a walk stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Place {
    /// Rows before the page.
    offset: u64,
    /// Rows per page, where fewer than usual.
    per_page: Option<u64>,
    /// How many rows the page before spoke of.
    total: Option<u64>,
    /// When the page before was read (Unix seconds).
    at: i64,
    /// The page before was itself read because the walk had stood still.
    caught_up: bool,
    /// The page that came empty although the one before promised rows on it.
    empty_at: Option<u64>,
    /// Of a walk over the keys of orders: the trash, after all others.
    trash: bool,
    /// Rows of the list before the trash.
    before_trash: u64,
}

/// What a page was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Meta {
    /// Rows before it.
    start: u64,
    per_page: u64,
    /// Rows and pages of the walk as the headers say; those of an empty page say 0 and are left out.
    total: Option<u64>,
    pages: Option<u64>,
    /// Whether the headers name a next page.
    more: bool,
    /// Read because the walk had stood still.
    catches_up: bool,
}

impl Place {
    /// The first row to ask for now.
    fn start(&self, full: u64, now: i64) -> (u64, bool) {
        // A clock that was set back does not tell how long it was.
        let stood_still = self.offset > 0 && !(0..=STOOD_STILL).contains(&(now - self.at)) && !self.caught_up;
        (if stood_still { self.offset.saturating_sub(full) } else { self.offset }, stood_still)
    }

    /// The place after a page with `rows` rows, `None` at the end of the list.
    ///
    /// # Errors
    /// [`Kind::Truncated`] where the list ends before the shop says that it does.
    fn after(&self, meta: &Meta, rows: u64, full: u64, now: i64) -> Result<Option<Place>> {
        let next = if rows == 0 { self.offset_after_empty(meta)? } else { self.offset_after(meta, rows) };
        let Some((offset, empty_at)) = next else { return Ok(None) };
        // Small pages go on to the next border of a full one.
        let small = meta.per_page < full && offset % full >= meta.per_page.min(SMALL_PAGE);
        Ok(Some(Place {
            offset,
            per_page: small.then_some(meta.per_page),
            total: meta.total,
            at: now,
            caught_up: meta.catches_up,
            empty_at,
            trash: self.trash,
            before_trash: self.before_trash,
        }))
    }

    /// The next row after a page without any. Where rows were promised, the page before is read again: they may have gone
    /// meanwhile, and then that page speaks of fewer. A shop that promises them again and gives none is half read.
    fn offset_after_empty(&self, meta: &Meta) -> Result<Option<(u64, Option<u64>)>> {
        let promised = match meta.total {
            // A plug-in may hide rows after they were counted, but hardly a page of them.
            Some(total) if total < meta.start.saturating_add(meta.per_page) => None,
            Some(total) => Some(total),
            None => self.total.filter(|total| *total > meta.start && meta.start > 0),
        };
        match promised {
            None => Ok(self.offset_after(meta, 0)),
            Some(_) if self.empty_at.is_none() => {
                Ok(Some((meta.start.saturating_sub(meta.per_page), Some(meta.start))))
            }
            Some(total) => Err(Error::new(
                Kind::Truncated,
                format!(
                    "the shop gives {} rows of a list of which it says that it has {total}",
                    meta.start.max(self.empty_at.unwrap_or(0))
                ),
            )
            .hint("nothing is marked as deleted; the next run goes on here. Does the list open in the shop's administration?")),
        }
    }

    /// The next row to ask for, and the empty page that is remembered.
    fn offset_after(&self, meta: &Meta, rows: u64) -> Option<(u64, Option<u64>)> {
        let behind = meta.start.saturating_add(meta.per_page);
        if let (Some(before), Some(now)) = (self.total, meta.total)
            && now < before
            && meta.start > 0
        {
            // Rows left the list; those behind them moved to pages that were read already.
            return Some((meta.start.saturating_sub((before - now).max(meta.per_page)), self.empty_at));
        }
        let more = match (meta.total, meta.pages) {
            (Some(total), _) => behind < total,
            (None, Some(pages)) => behind / meta.per_page.max(1) < pages,
            // Some hosts strip the headers.
            (None, None) if rows > 0 => meta.more || rows >= meta.per_page,
            (None, None) => false,
        };
        // What has been passed with rows is doubted no more.
        more.then_some((behind, self.empty_at.filter(|at| *at >= behind)))
    }
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
            plain("products", "products", "products of every status but trash", modified, Deletions::CompareKeys),
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
        let full = self.full_page();
        let per_page = place.per_page.unwrap_or(full).clamp(1, full);
        match self.rows(request, &place, per_page).await {
            Ok(page) => Ok(page),
            Err(failure) if per_page > SMALL_PAGE && failure.status().is_some_and(|s| TOO_MUCH.contains(&s)) => {
                tracing::warn!("{failure}; the same rows are asked for in pages of {SMALL_PAGE}");
                Ok(self.rows(request, &place, SMALL_PAGE).await?)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn next(&self, request: &PageRequest<'_>, meta: &Value, records: usize) -> Result<Next> {
        let place: Place = restored(request.position)?;
        let meta: Meta = restored(meta)?;
        let at = clock::wall().as_second();
        if let Some(next) = place.after(&meta, records as u64, self.full_page(), at)? {
            return Ok(Next::Page(stored(&next)?));
        }
        if request.stream.name == "orders" && *request.walk == Walk::Keys && !place.trash {
            let before_trash = meta.total.or(place.total).unwrap_or(0);
            return Ok(Next::Page(stored(&Place { trash: true, at, before_trash, ..Place::default() })?));
        }
        Ok(Next::End)
    }

    fn identify(&self, _stream: &StreamSpec, record: &[u8]) -> std::result::Result<Identity, String> {
        identity(record)
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

/// The members that name a record and its change.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    date_modified_gmt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    date_created_gmt: Option<&'a RawValue>,
}

/// Key and change time: `id`, and `date_modified_gmt`, or `date_created_gmt` where that is null (users never edited).
fn identity(record: &[u8]) -> std::result::Result<Identity, String> {
    // A row left without any field is `[]` (sheet, section 4).
    if record.first() != Some(&b'{') {
        return Err("the record is no object".to_owned());
    }
    let head: Head = serde_json::from_slice(record).map_err(|_| "the record cannot be read".to_owned())?;
    let digits = head.id.map(|id| id.get().trim_matches('"')).unwrap_or_default();
    let is_key = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits != "0";
    if !is_key {
        return Err("the record has no id".to_owned());
    }
    let updated_at = head.date_modified_gmt.and_then(stamp).or_else(|| head.date_created_gmt.and_then(stamp));
    Ok(Identity { key: digits.to_owned(), updated_at, parent: None })
}

/// UTC without a zone: `2026-10-05T07:41:00`.
fn stamp(raw: &RawValue) -> Option<Timestamp> {
    let text: String = serde_json::from_str(raw.get()).ok()?;
    let civil: DateTime = text.trim_end_matches('Z').parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

const AUTHENTICATION_ERROR: &str = "woocommerce_rest_authentication_error";
const NO_ROUTE: &str = "rest_no_route";

/// An error body (sheet, section 3). The retired API wraps the same in `errors`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Trouble {
    code: Option<String>,
    errors: Option<Box<Trouble>>,
    data: TroubleData,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TroubleData {
    params: BTreeMap<String, Value>,
}

fn trouble(failure: &Failure) -> Option<Trouble> {
    failure.answer()?.json()
}

/// The platform's code: messages are translated into the site's language, codes are not.
fn code(failure: &Failure) -> Option<String> {
    let trouble = trouble(failure)?;
    let code = trouble.code.or_else(|| trouble.errors?.code)?;
    // A code is a word, and nothing else of an answer may be printed.
    let is_word = code.len() <= 80 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    is_word.then_some(code)
}

/// What a failure means here, by status and code (sheet, section 3).
fn explained(failure: Failure, auth: Auth) -> Failure {
    let (Some(status), Some(code)) = (failure.status(), code(&failure)) else { return failure };
    if failure.kind() == Kind::Throttled {
        return failure;
    }
    let params = trouble(&failure).map(|trouble| trouble.data.params).unwrap_or_default();
    failure.explained(|error| {
        let detail = format!("{error} ({code})");
        let as_kind = |kind, hint: &str| Error::new(kind, detail.clone()).hint(hint);
        match (status, code.as_str()) {
            (401, AUTHENTICATION_ERROR) => as_kind(
                Kind::Credentials,
                match auth {
                    Auth::Oauth1 => {
                        "compare consumer_key and consumer_secret with the shop's, give the key the permission Read, and \
                         see that this machine's clock is right: the shop takes 15 minutes of difference"
                    }
                    _ => "compare consumer_secret with the shop's and give the key the permission Read",
                },
            ),
            (401, "woocommerce_rest_authentication_missing_parameter") => as_kind(
                Kind::Credentials,
                "something between here and the shop takes parameters out of the address; try `auth: basic` on https",
            ),
            (401, "woocommerce_rest_cannot_view") => as_kind(
                Kind::Credentials,
                match auth {
                    Auth::Basic => {
                        "the shop does not know consumer_key, or its server drops the Authorization header: compare the \
                         key, then try `auth: query`; behind a proxy that ends TLS only `auth: oauth1` works"
                    }
                    Auth::Query => {
                        "the shop does not know consumer_key, or does not see that it is asked over https: compare the \
                         key, then try `auth: oauth1`"
                    }
                    Auth::Oauth1 => {
                        "the shop took the call for an anonymous one: check base_url (plain permalinks do not work), and \
                         that the key's user still exists"
                    }
                },
            ),
            (401 | 403, "incorrect_password" | "invalid_username" | "invalid_email") => {
                as_kind(Kind::Credentials, "compare wp_user and wp_app_password with the shop's; WordPress takes them over https only")
            }
            (401 | 403, "rest_forbidden_context" | "rest_user_cannot_view" | "rest_forbidden") => as_kind(
                Kind::Permission,
                "wp_user must be an administrator, and WordPress takes application passwords over https only",
            ),
            (403, _) => as_kind(
                Kind::Permission,
                "give the key's user the role Shop manager or Administrator (WooCommerce > Settings > Advanced > REST API)",
            ),
            (400, "rest_invalid_param") => {
                let names: Vec<&str> = params.keys().map(String::as_str).filter(|name| is_name(name)).collect();
                let hint = "the shop's WooCommerce may be too old, or a plugin changes its API";
                Error::new(Kind::Refused, format!("{detail}: {}", names.join(", "))).hint(hint)
            }
            (404, NO_ROUTE) => as_kind(
                Kind::Address,
                "is WooCommerce active there, and are permalinks other than Plain (Settings > Permalinks)? check base_url, \
                 its sub-folder included; where permalinks cannot be changed, add /index.php to it",
            ),
            (404, "woocommerce_api_disabled") => {
                as_kind(Kind::Address, "this is the retired API's address: set base_url to the shop's own")
            }
            // One record that is not there says nothing about the address.
            (404, code) if code.ends_with("_invalid_id") => as_kind(Kind::Refused, "it was deleted meanwhile"),
            (500, _) => as_kind(error.kind(), "the shop's PHP error log says why; the next run continues where this one stopped"),
            _ => match error.hint_text() {
                Some(hint) => as_kind(error.kind(), hint),
                None => Error::new(error.kind(), detail.clone()),
            },
        }
    })
}

fn is_name(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What `GET /wp-json/wc/v3` says to anybody.
#[derive(Deserialize)]
struct Routes {
    namespace: String,
}

impl WooCommerce {
    async fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let clock = match self.reach().await {
            Ok(date) => {
                findings.push(passed("the shop's API answers", format!("wc/v3 at {}", self.client.options().base_url)));
                date
            }
            Err(failure) => {
                findings.push(failed("the shop's API answers", failure.error()));
                return findings;
            }
        };
        if let (Auth::Oauth1, Some(theirs)) = (self.auth, clock) {
            let apart = clock::wall().duration_since(theirs).abs();
            let seconds = apart.as_secs();
            let what = "the clocks agree well enough for OAuth signatures".to_owned();
            let ok = apart < CLOCK_TOLERANCE;
            let advice =
                if ok { "" } else { "; set the clock of the machine that is wrong, or use `auth: basic` on https" };
            findings.push(Finding { what, ok, detail: format!("the shop's differs by {seconds} s{advice}") });
        }
        let role = ("role", self.settings.role.as_str());
        for (what, path, parameter) in [
            ("orders can be read", "orders", ("status", "any")),
            ("customers can be read", "customers", role),
            ("products can be read", "products", ("status", "any")),
            ("categories can be read", "products/categories", ("hide_empty", "false")),
        ] {
            findings.push(self.readable(what, &format!("{WC}/{path}"), &[parameter]).await);
            // Without valid credentials every further call would say the same, and hosts lock out who asks too often.
            if findings.last().is_some_and(|finding| !finding.ok) && path == "orders" {
                return findings;
            }
        }
        findings.push(match self.prepare().await {
            Ok(()) if self.refunds_by_order.load(Ordering::Relaxed) => {
                passed("refunds can be read", "order by order, because this WooCommerce is older than 9.0".to_owned())
            }
            Ok(()) => passed("refunds can be read", "in one list".to_owned()),
            Err(error) => failed("refunds can be read", &error),
        });
        if self.settings.wp_user.is_some() {
            let parameters = [("context", "edit"), ("roles", "subscriber")];
            findings.push(self.readable("subscribers can be read", &format!("{WP}/users"), &parameters).await);
        }
        findings
    }

    /// Whether the API is there at all; gives the shop's clock. Asked without credentials: it says nothing about them.
    async fn reach(&self) -> Result<Option<Timestamp>, Failure> {
        let call = self.client.get(WC).auth(http::Auth::None).attempts(2);
        let answer = self.send(call).await?;
        let date = answer.date();
        let routes: Routes = answer.json().await?;
        match routes.namespace.as_str() {
            "wc/v3" => Ok(date),
            _ => Err(Error::new(Kind::Address, "the address answers, but not as WooCommerce does").into()),
        }
    }

    async fn readable(&self, what: &str, path: &str, parameters: &[(&str, &str)]) -> Finding {
        let mut call = self.call(path).attempts(2);
        for (name, value) in parameters {
            call = call.query(name, value);
        }
        let answer = match self.send(call.query("per_page", 1).query("_fields", "id")).await {
            Ok(answer) => answer,
            Err(failure) => return failed(what, failure.error()),
        };
        let total = answer.number("x-wp-total");
        match answer.json::<Vec<Value>>().await {
            Err(failure) => failed(what, failure.error()),
            Ok(_) => passed(what, total.map_or_else(|| "readable".to_owned(), |total| format!("{total} in all"))),
        }
    }
}

fn passed(what: &str, detail: String) -> Finding {
    Finding { what: what.to_owned(), ok: true, detail }
}

fn failed(what: &str, error: &Error) -> Finding {
    let detail = match error.hint_text() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    };
    Finding { what: what.to_owned(), ok: false, detail }
}

#[cfg(test)]
#[path = "woocommerce_tests.rs"]
mod tests;
