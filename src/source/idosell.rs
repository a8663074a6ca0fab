//! IdoSell (IAI Shop): Polish shops, read through the Admin API and, where the shop publishes one, its offer feed.
//!
//! The facts of the sheet that shape this source, and where each is met:
//! - searches are POSTs with their parameters wrapped, lists are called by other names on other gates (`passes`);
//! - success may carry a fault, a fault's number means other things on other gates (`envelope`, `faults`);
//! - lists are pages over a moving set, so that they are asked for in closed windows of time, or overlap (`place`);
//! - times are local, and one hour of the year is written twice (`local_time`);
//! - a stream may be several lists: subscribers by channel, shop and answer, orders by change and by payment (`passes`);
//! - the platform says how busy its server is, and wants to be left alone while it is overloaded (`courtesy`);
//! - pages, pictures and prices of products come from files (`feed`).
//!
//! A page is held whole before its first record is given: it has a hundred records at most, and only its end says how many
//! pages there are. Its records are slices of it.
//!
//! What an answer means is said in `sql/map/idosell/`.

mod check;
mod courtesy;
mod envelope;
mod faults;
mod feed;
mod identity;
mod local_time;
mod passes;
mod place;
mod settings;

use super::registry::SourcePlatform;
use super::{
    Absence, Compared, Deletions, Finding, Identity, Incremental, Next, Page, PageRequest, Position, Seen, Source,
    StreamSpec, Walk,
};
use crate::config::pipeline::{Connection, Rate};
use crate::failpoint::{self, Bug};
use crate::http::overlap::Slice;
use crate::http::{self, Call, Client, ClientOptions, Failure, Response, RetryPolicy};
use crate::tenant::{Credential, Tenant};
use crate::{Error, Kind, Result, clock};
use async_trait::async_trait;
use bytes::Bytes;
use courtesy::Courtesy;
use envelope::Envelope;
use faults::Meaning;
use feed::Feed;
use futures::stream::{self, StreamExt};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use passes::{Asking, Pass, Scope};
use place::{Asked, Ended, Place, Said, Window};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
pub use settings::Settings;
use settings::{ShopId, inspect, shop_address};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The registry's row.
pub const PLATFORM: SourcePlatform = SourcePlatform {
    name: "idosell",
    title: "IdoSell",
    about: "a shop on IAI's platform, read through its Admin API and, where there is one, its offer feed (IOF)",
    credentials: "in the shop's panel: Administracja > API > Klucze dostępowe do Admin API > add a key with the right to read \
                  CRM, OMS, PIM, CMS and SYSTEM, and nothing else",
    schema: || schemars::schema_for!(Settings),
    example: include_str!("idosell.example.yaml"),
    inspect,
    build,
};

fn build(connection: &Connection) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(IdoSell::new(connection)?))
}

/// Rows commit late: changes are asked for this much before the newest one seen.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);
/// The last minute is left to the next walk: rows of it are still being written.
const UNSETTLED: SignedDuration = SignedDuration::from_mins(1);
/// Leaving a newsletter may leave no trace that can be asked for: all subscribers are read once a day.
const SUBSCRIBERS_WHOLE: SignedDuration = SignedDuration::from_hours(24);
/// The platform publishes no rate; this is what it is asked at most unless the connection says otherwise.
const RATE: Rate = Rate { calls: 5, per: Duration::from_secs(1) };
/// How long to wait after being told to slow down without a time; it doubles.
const UNSAID_WAIT: Duration = Duration::from_secs(2);
/// A call in all; with the waits above, half a minute of being told to slow down.
const ATTEMPTS: u32 = 5;
/// A gateway's page in place of an answer is asked for again so often, after a pause that doubles.
const PAGE_TRIES: u32 = 3;
const PAGE_PAUSE: Duration = Duration::from_millis(500);
/// Orders have statuses of the shop's own from here on.
const OWN_STATUSES: u32 = 7;

/// One panel.
pub struct IdoSell {
    settings: Settings,
    zone: TimeZone,
    client: Client,
    /// `api/admin/v6`.
    api: String,
    feed: Option<Feed>,
    courtesy: Courtesy,
    /// The shops that count, once known.
    shops: OnceLock<Vec<u32>>,
    /// The shop's own order statuses, from version 7 on.
    statuses: OnceLock<BTreeMap<String, Value>>,
    /// How far the shop's clock is ahead of ours, in seconds.
    ahead: AtomicI64,
}

/// What `GET /system/config` says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    shops: Vec<Shop>,
    languages: Vec<Value>,
    panel_basecurrency_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Shop {
    shop_id: Value,
    #[serde(default)]
    shop_name: Option<String>,
}

impl Shop {
    fn number(&self) -> Option<u32> {
        match &self.shop_id {
            Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// A page as [`IdoSell::next`] wants it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Meta {
    place: Place,
    slice: Slice,
    said: Said,
}

impl IdoSell {
    /// A panel. Makes no call.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] for settings that are not IdoSell's, and those of [`Client::new`].
    pub fn new(connection: &Connection) -> Result<Self> {
        let settings: Settings = connection.settings.typed()?;
        let auth = match (&settings.api_key, &settings.access_token) {
            (Some(key), None) => http::Auth::Header { name: "x-api-key", value: key.clone() },
            (None, Some(token)) => http::Auth::Bearer(token.clone()),
            (None, None) => {
                return Err(Error::new(Kind::PipelineFile, "`api_key` is missing")
                    .hint("the panel makes it: Administracja > API > Klucze dostępowe do Admin API"));
            }
            (Some(_), Some(_)) => {
                return Err(Error::new(
                    Kind::PipelineFile,
                    "`api_key` and `access_token` are two ways to the same end",
                )
                .hint("set one of them"));
            }
        };
        let zone = settings.zone()?;
        let options = ClientOptions {
            auth,
            rate: Some(connection.rate.unwrap_or(RATE)),
            retry: RetryPolicy { attempts: ATTEMPTS, ..RetryPolicy::default() },
            unasked_quiet: Some(UNSAID_WAIT),
            verify_tls: settings.verify_tls,
            ..ClientOptions::new(shop_address(&connection.base_url)?)
        };
        let feed = settings.iof_url.clone().map(|url| Feed::new(url, connection, settings.verify_tls)).transpose()?;
        let shops = OnceLock::new();
        let known = match settings.shop_id {
            ShopId::One(shop) => vec![shop],
            ShopId::All(_) => settings.shops.clone(),
        };
        if !known.is_empty() {
            let _ = shops.set(known);
        }
        Ok(Self {
            api: format!("api/admin/v{}", settings.api_version),
            client: Client::new(options)?,
            courtesy: Courtesy::new(settings.load_check_every, settings.load_pause),
            settings,
            zone,
            feed,
            shops,
            statuses: OnceLock::new(),
            ahead: AtomicI64::new(0),
        })
    }

    /// A read of `path` below the API.
    fn get(&self, path: &str) -> Call {
        self.client.get(&format!("{}/{path}", self.api))
    }

    /// A failure in the platform's words.
    fn explained(&self, failure: Failure) -> Failure {
        let secrets: Vec<&str> = [&self.settings.api_key, &self.settings.access_token]
            .into_iter()
            .flatten()
            .map(|s| s.expose_secret())
            .collect();
        faults::explained(failure, &secrets)
    }

    /// The shop's own time.
    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed));
        clock::wall().checked_add(ahead).unwrap_or_else(|_| clock::wall())
    }

    fn full_page(&self) -> u64 {
        u64::from(self.settings.per_page.clamp(1, 100))
    }

    fn shops(&self) -> &[u32] {
        self.shops.get().map_or(&[], Vec::as_slice)
    }

    fn passes(&self, stream: &StreamSpec, walk: &Walk) -> Result<Vec<Pass>> {
        let scope = Scope {
            shops: self.shops(),
            order_types: &self.settings.order_types,
            history_from: self.settings.history_from.to_datetime(Time::midnight()),
            zone: &self.zone,
            now: self.now(),
        };
        let mut passes = passes::passes(stream.name, walk, &scope)?;
        if failpoint::is_planted(Bug::FirstPassAlone) {
            passes.truncate(1);
        }
        Ok(passes)
    }

    /// The end of all windows of a walk that begins now.
    fn until(&self) -> DateTime {
        let settled = self.now().checked_sub(UNSETTLED).unwrap_or(Timestamp::UNIX_EPOCH);
        local_time::upper_bound(settled, &self.zone)
    }

    /// Where a walk stands; the beginning of its first pass where it has none yet.
    fn place(&self, request: &PageRequest<'_>, passes: &[Pass]) -> Result<Place> {
        match request.position {
            Value::Null => {
                let from = passes.first().and_then(|pass| pass.from);
                Ok(Place::begin(0, from, self.until(), Ended::default()))
            }
            stored => restored(stored),
        }
    }

    /// A pass as its pages are asked for.
    fn asked(&self, pass: &Pass) -> Asked {
        Asked { by_second: pass.ask.is_by_second(), per_page: self.full_page() }
    }

    /// The first record of a pass alone.
    async fn ask_first(&self, pass: &Pass) -> Result<Envelope> {
        let window = pass.from.map(|from| Window { from, to: self.until() });
        self.ask(pass, window, Slice { start: 0, size: 1 }).await
    }

    /// Asks for a page of a pass.
    async fn ask(&self, pass: &Pass, window: Option<Window>, slice: Slice) -> Result<Envelope> {
        self.courtesy.wait(self).await?;
        let asking = Asking {
            client: &self.client,
            api: &self.api,
            menu_id: self.settings.menu_id,
            lang_id: &self.settings.lang_id,
        };
        let mut pause = PAGE_PAUSE;
        let mut tries = 1;
        let envelope = loop {
            match self.answer(pass.ask.call(&asking, window, slice), pass.ask.list()).await {
                Ok(envelope) => break envelope,
                // A gateway answers in the shop's place, for a while.
                Err(failure) if failure.kind() == Kind::NotJson && tries < PAGE_TRIES => {
                    tracing::warn!("{failure}; asking again in {:.1} s", pause.as_secs_f64());
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    tries += 1;
                }
                Err(failure) => return Err(self.explained(failure).into()),
            }
        };
        if let Some(fault) = &envelope.fault
            && let Meaning::Wrong(error) = pass.ask.gate().meaning(fault)
        {
            return Err(error);
        }
        let is_missing = !envelope.has_list && envelope.fault.is_none() && !envelope.is_empty_object;
        if is_missing && envelope.total != Some(0) {
            return Err(Error::new(Kind::Protocol, format!("the answer has no list named {}", pass.ask.list()))
                .hint("set api_version to 6; the shop may answer otherwise in other versions"));
        }
        Ok(envelope)
    }

    async fn answer(&self, call: Call, list: &str) -> Result<Envelope, Failure> {
        let answer = call.send().await?;
        self.note_clock(&answer);
        answer.read(|body| Envelope::read(body, list)).await
    }

    /// Takes note of the shop's clock.
    fn note_clock(&self, answer: &Response) {
        if let Some(theirs) = answer.date() {
            self.ahead.store(theirs.duration_since(clock::wall()).as_secs(), Ordering::Relaxed);
        }
    }

    /// The shops of the panel.
    async fn config(&self) -> Result<Config> {
        let answer = self.get("system/config").send().await.map_err(|failure| self.explained(failure))?;
        self.note_clock(&answer);
        answer.json().await.map_err(|failure| self.explained(failure).into())
    }

    /// The order statuses of the shop's own making, by number.
    async fn own_statuses(&self) -> Result<BTreeMap<String, Value>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            id: u64,
            #[serde(default)]
            parent_id: Option<u64>,
            #[serde(default)]
            panel_name: Option<String>,
        }
        let envelope = match self.answer(self.get("orders/statuses"), "statuses").await {
            Ok(envelope) => envelope,
            Err(failure) if failure.status().is_some_and(|status| matches!(status, 403 | 404)) => {
                return Ok(BTreeMap::new());
            }
            Err(failure) => return Err(self.explained(failure).into()),
        };
        let read = |record: &Bytes| serde_json::from_slice::<Status>(record).ok();
        let named = envelope.records.iter().filter_map(read);
        Ok(named
            .map(|status| (status.id.to_string(), json!({"parent": status.parent_id, "name": status.panel_name})))
            .collect())
    }
}

fn no_such_pass(request: &PageRequest<'_>) -> Error {
    Error::new(Kind::Internal, format!("the walk through {} has no such pass", request.stream.name))
        .hint("run `wharf extract --full` to begin the walk anew")
}

fn stored<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::new(Kind::Internal, "a position cannot be kept").because(error))
}

fn restored<T: for<'a> Deserialize<'a>>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|error| {
        Error::new(Kind::Internal, "a position is not one of IdoSell's")
            .hint("run `wharf extract --full` to begin the walk anew")
            .because(error)
    })
}

#[async_trait]
impl Source for IdoSell {
    /// No call gives a panel's own number (`client_id` of `system/config` was seen as 0), but its host is the panel's alone,
    /// and a token lives for an hour.
    async fn tenant(&self) -> Result<Tenant> {
        Ok(Tenant::known_by(Credential::Public("any key of this panel".into())))
    }

    async fn prepare(&self) -> Result<()> {
        if self.shops.get().is_none() {
            let config = self.config().await.map_err(|error| match error.kind() {
                Kind::Permission => Error::new(Kind::Permission, error.detail().to_owned())
                    .hint("with `shop_id: all` the key needs the right SYSTEM, r, or the file says `shops: [1, 2]`"),
                _ => error,
            })?;
            let numbers: Vec<u32> = config.shops.iter().filter_map(Shop::number).collect();
            if numbers.is_empty() {
                return Err(
                    Error::new(Kind::Protocol, "the panel names no shop").hint("say `shops: [1, 2]` in the file")
                );
            }
            let _ = self.shops.set(numbers);
        }
        if self.settings.api_version >= OWN_STATUSES && self.statuses.get().is_none() {
            let _ = self.statuses.set(self.own_statuses().await?);
        }
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
        let full = |name, doc| plain(name, name, doc, Incremental::FullWalk, Deletions::FullWalk);
        let mut streams = vec![
            full("categories", "the shop's menu, and the panel's categories"),
            plain("products", "products", "products, deleted ones included", modified, Deletions::CompareKeys),
        ];
        if self.feed.is_some() {
            streams.push(full("offer_categories", "categories of the offer feed"));
            streams.push(full("offers", "products of the offer feed"));
            streams.push(full("offer_prices", "prices and stock of the offer feed"));
        }
        streams.push(plain(
            "customers",
            "customers",
            "customers, with and without an account",
            modified,
            Deletions::CompareKeys,
        ));
        let whole = Incremental::ModifiedAndWhole { overlap: OVERLAP, every: SUBSCRIBERS_WHOLE };
        // After the customers: of two that speak of one consent, the later look counts.
        streams.push(plain(
            "subscribers",
            "subscribers",
            "who agreed to newsletters, and who does not",
            whole,
            Deletions::FullWalk,
        ));
        // Orders are never deleted, only cancelled; a search has no way of giving keys alone.
        streams.push(StreamSpec {
            reread: true,
            ..plain("orders", "orders", "orders of every status", modified, Deletions::None)
        });
        if self.settings.unfinished_orders {
            let doc = "orders that were begun and never placed";
            streams.push(plain("unfinished_orders", "orders", doc, modified, Deletions::None));
        }
        streams.push(StreamSpec { reread: true, ..plain("returns", "refunds", "returns", modified, Deletions::None) });
        streams
    }

    async fn size(&self, stream: &StreamSpec) -> Result<Option<u64>> {
        if stream.name.starts_with("offer") || stream.name == "categories" {
            return Ok(None);
        }
        let mut size = 0u64;
        for pass in &self.passes(stream, &Walk::Everything)? {
            size = size.saturating_add(self.ask_first(pass).await?.total.unwrap_or(0));
        }
        Ok(Some(size))
    }

    async fn page(&self, request: &PageRequest<'_>) -> Result<Page> {
        if let Some(feed) = self.feed.as_ref().filter(|_| request.stream.name.starts_with("offer")) {
            return feed.page(request).await;
        }
        let passes = self.passes(request.stream, request.walk)?;
        let place = self.place(request, &passes)?;
        let pass = passes.get(place.pass).ok_or_else(|| no_such_pass(request))?;
        let slice = place.slice(self.asked(pass));
        if place.is_hollow() {
            let meta = stored(&Meta { place, slice, said: Said::default() })?;
            return Ok(Page { records: stream::empty().boxed(), meta, total: None, before: None });
        }
        let envelope = self.ask(pass, place.window, slice).await?;
        let said = Said {
            total: envelope.total.filter(|_| !envelope.records.is_empty() || envelope.fault.is_none()),
            pages: envelope.pages,
            rows: envelope.records.len() as u64,
            single: pass.ask.is_single(),
        };
        // One person may be on several of its lists: their sizes do not add up to that of the stream.
        let adds_up = request.stream.deletions != Deletions::FullWalk || passes.len() == 1;
        let is_told = adds_up && (said.total.is_some() || said.rows == 0);
        let total = is_told.then(|| place.size(&said));
        let before = Some(place.stands_behind(slice));
        let meta = stored(&Meta { place, slice, said })?;
        Ok(Page { records: stream::iter(envelope.records.into_iter().map(Ok)).boxed(), meta, total, before })
    }

    fn absence(&self, stream: &StreamSpec) -> Absence {
        match stream.name {
            // The most that a page may hold are the most numbers, too.
            "customers" | "products" => Absence::AskedByKey(self.full_page() as usize),
            name if name.starts_with("offer") => Absence::OneDocument,
            _ => Absence::SecondWalk,
        }
    }

    async fn by_key(&self, stream: &StreamSpec, _parent: Option<&str>, keys: &[String]) -> Result<Vec<Bytes>> {
        let mut left = keys.to_vec();
        let mut records = Vec::new();
        for question in passes::by_key(stream.name) {
            let pass = Pass { ask: question(left.clone()), from: None };
            let answer = self.ask(&pass, None, Slice { start: 0, size: left.len() as u64 }).await?;
            let given: HashSet<String> =
                answer.records.iter().filter_map(|record| Some(self.identify(stream, record).ok()?.key)).collect();
            left.retain(|key| !given.contains(key));
            records.extend(answer.records);
            if left.is_empty() {
                break;
            }
        }
        Ok(records)
    }

    fn is_no_record(&self, stream: &StreamSpec, record: &[u8]) -> bool {
        stream.name == "products" && identity::is_template(record)
    }

    fn follows(&self, position: &Position) -> bool {
        restored::<Place>(position).is_ok_and(|place| place.follows())
    }

    fn next(&self, request: &PageRequest<'_>, meta: &Value, seen: &Seen) -> Result<Next> {
        if let Some(feed) = self.feed.as_ref().filter(|_| request.stream.name.starts_with("offer")) {
            return feed.next(meta);
        }
        let Meta { place, slice, said } = restored(meta)?;
        let passes = self.passes(request.stream, request.walk)?;
        let pass = passes.get(place.pass).ok_or_else(|| no_such_pass(request))?;
        let now = clock::wall().as_second();
        let ended = match place.after(self.asked(pass), slice, &said, &seen.keys, now)? {
            Ok(next) => return Ok(Next::Page(stored(&next)?)),
            Err(ended) => ended,
        };
        let number = place.pass + 1;
        Ok(match passes.get(number) {
            Some(pass) => {
                let until = place.until.unwrap_or_else(|| self.until());
                Next::Page(stored(&Place::begin(number, pass.from, until, ended))?)
            }
            None if ended.torn => Next::EndAt { bookmark: request.bookmark.clone(), whole: false },
            None => Next::End,
        })
    }

    fn identify(&self, stream: &StreamSpec, record: &[u8]) -> std::result::Result<Identity, String> {
        identity::of(stream.name, record, &self.zone, matches!(self.settings.shop_id, ShopId::All(_)))
    }

    async fn check(&self) -> Vec<Finding> {
        check::findings(self).await
    }

    fn map_settings(&self) -> Value {
        let shop = match self.settings.shop_id {
            ShopId::One(shop) => json!(shop),
            ShopId::All(_) => json!("all"),
        };
        json!({
            "shop_id": shop,
            "shops": self.shops(),
            "menu_id": self.settings.menu_id,
            "lang_id": self.settings.lang_id,
            "currency": self.settings.currency,
            "time_zone": self.settings.time_zone,
            "iof_prices": self.settings.iof_prices,
            "marketplace": self.settings.marketplace,
            "relay_domains": self.settings.relay_domains,
            "unknown_status": self.settings.unknown_status,
            "own_statuses": self.statuses.get(),
        })
    }

    fn calls(&self) -> u64 {
        self.client.calls() + self.feed.as_ref().map_or(0, Feed::calls)
    }
}

#[cfg(test)]
#[path = "idosell_tests.rs"]
mod tests;
