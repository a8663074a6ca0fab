//! The client and its calls: attempts, redirects, retries. What an answer holds is read in `response`.

use super::auth::Auth;
use super::budget::Budget;
use super::failure::{Answer, Failure, Fate, Idempotency};
use super::options::ClientOptions;
use super::pace::{Denied, Pacer, Passage};
use super::query::Query;
use super::response::Response;
use super::retry::{self, Repeat};
use super::{content, tls};
use crate::failpoint::{self, Bug};
use crate::{Error, Kind, Result};
use bytes::{Bytes, BytesMut};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use serde_json::Value;
use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// More redirects than this are a loop.
const MOST_REDIRECTS: usize = 5;

/// A client for one connection or account. Cheap to clone; all clones share pace, count and connections.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    options: ClientOptions,
    http: reqwest::Client,
    pacer: Arc<Pacer>,
    /// Of classes of calls, in the order of [`ClientOptions::classes`].
    classes: Vec<Arc<Pacer>>,
    in_flight: Arc<Semaphore>,
    calls: AtomicU64,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base_url", &origin_and_path(&self.0.options.base_url)).finish_non_exhaustive()
    }
}

impl Client {
    /// A client. Proxies (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) and certificate authorities
    /// (`SSL_CERT_FILE`, `SSL_CERT_DIR`, `WHARF_CA_FILE`) come from the environment; addresses of this machine are never
    /// asked through a proxy.
    ///
    /// # Errors
    /// [`Kind::Address`] for an address that is not http or https or holds credentials, [`Kind::Io`] or [`Kind::Command`]
    /// for certificate files.
    pub fn new(mut options: ClientOptions) -> Result<Self> {
        let base = &mut options.base_url;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(Error::new(Kind::Address, "base_url is no http or https address"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(Error::new(Kind::Address, "base_url holds a user or password")
                .hint("write credentials into the keys of their own"));
        }
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            let folder = format!("{}/", base.path());
            base.set_path(&folder);
        }
        tls::install_crypto_provider();
        let mut http = reqwest::Client::builder()
            .user_agent(&options.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            // Attempts are ours to count, pace and sign.
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(options.timeouts.connect)
            // Web servers close idle connections after 5 s and more; a write that meets such a close has an unknown fate.
            .pool_idle_timeout(Duration::from_secs(4))
            .tls_certs_only(tls::roots(std::env::var_os("WHARF_CA_FILE"), &options.extra_roots)?);
        if !options.verify_tls {
            http = http.tls_danger_accept_invalid_certs(true);
        }
        if is_this_machine(&options.base_url) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| {
            Error::new(Kind::Internal, "the HTTP client cannot be made").because(error.without_url())
        })?;
        let shared = Shared {
            http,
            pacer: Pacer::new(options.rate),
            classes: options.classes.iter().map(|class| Pacer::new(Some(class.rate))).collect(),
            in_flight: Arc::new(Semaphore::new(options.concurrency.max(1))),
            calls: AtomicU64::new(0),
            options,
        };
        Ok(Self(Arc::new(shared)))
    }

    /// What the client is made of.
    pub fn options(&self) -> &ClientOptions {
        &self.0.options
    }

    /// From now on calls take their turns from `budget`, whatever [`ClientOptions::rate`] says.
    pub fn keep_to(&self, budget: Arc<dyn Budget>) {
        self.0.pacer.keep_to(budget);
    }

    /// From now on calls of a class take their turns from `budget`.
    pub fn keep_class_to(&self, name: &str, budget: Arc<dyn Budget>) {
        if let Some(at) = self.class(name) {
            self.0.classes[at].keep_to(budget);
        }
    }

    fn class(&self, name: &str) -> Option<usize> {
        self.0.options.classes.iter().position(|class| class.name == name)
    }

    /// Waits for the turn of a call.
    async fn turn(&self, spec: &Spec) -> Result<Passage, Denied> {
        let longest = self.0.options.retry.longest_wait;
        match spec.class {
            None => self.0.pacer.ready(longest).await,
            Some(at) if self.0.options.classes[at].is_apart => self.0.classes[at].ready(longest).await,
            Some(at) => self.0.classes[at].ready_with(&self.0.pacer, longest).await,
        }
    }

    /// Gives reserved turns back that will not be used: call it when the work is done.
    pub async fn rest(&self) {
        self.0.pacer.rest().await;
        for class in &self.0.classes {
            class.rest().await;
        }
    }

    /// How many calls were sent so far, each attempt and redirect counted.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// A read of `path` below the base address.
    pub fn get(&self, path: &str) -> Call {
        self.request(Method::GET, path, Idempotency::Safe)
    }

    /// A write of a JSON `body` to `path`.
    pub fn post(&self, path: &str, body: Value, idempotency: Idempotency) -> Call {
        self.request(Method::POST, path, idempotency).body(body)
    }

    /// Any other call.
    pub fn request(&self, method: Method, path: &str, idempotency: Idempotency) -> Call {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut url = self.0.options.base_url.clone();
        // Not joined: a path such as `a:b` or `//x` would be taken for another address.
        let full = format!("{}{}", url.path(), path.trim_start_matches('/'));
        url.set_path(&full);
        url.set_query((!query.is_empty()).then_some(query));
        Call::new(self.clone(), method, url, idempotency)
    }

    /// A read of an address that the platform gave: the next page, a file. http becomes https where the base address is
    /// https on the same host.
    ///
    /// # Errors
    /// [`Kind::Protocol`] when it lies on a server that is neither that of the base address nor one of
    /// [`ClientOptions::servers`]: whoever answers for a shop must not choose what this machine asks inside its own network.
    pub fn get_url(&self, url: &Url) -> Result<Call> {
        let options = &self.0.options;
        let mut url = url.clone();
        let is_at_home = |url: &Url| url.origin() == options.base_url.origin();
        if url.scheme() == "http" && options.base_url.scheme() == "https" && url.host() == options.base_url.host() {
            // Both are web addresses: this cannot be refused.
            let _ = url.set_scheme("https");
        }
        if !is_at_home(&url) && !options.servers.contains(&url.origin()) {
            let detail = format!("the platform gave an address on another server: {}", origin_and_path(&url));
            return Err(Error::new(Kind::Protocol, detail).hint(format!(
                "nothing was asked there; if that server is meant, add `allowed_servers: [{}]` to the connection",
                url.origin().ascii_serialization()
            )));
        }
        let away = !is_at_home(&url);
        let call = Call::new(self.clone(), Method::GET, url, Idempotency::Safe);
        Ok(if away { call.auth(Auth::None) } else { call })
    }

    async fn send(&self, spec: Arc<Spec>) -> Result<Response, Failure> {
        let place = Arc::clone(&self.0.in_flight).acquire_owned().await.map_err(|error| {
            Failure::before_sending(Error::new(Kind::Internal, "the HTTP client is closed").because(error))
        })?;
        self.attempts(Attempt { spec, number: 1, place }).await
    }

    /// Makes the next attempt after one failed, if there is one.
    pub(super) async fn again(&self, attempt: Attempt, failure: Failure) -> Result<Response, Failure> {
        let attempt = self.pause(attempt, failure).await?;
        self.attempts(attempt).await
    }

    async fn attempts(&self, mut attempt: Attempt) -> Result<Response, Failure> {
        loop {
            match self.once(&attempt.spec).await {
                Ok(answer) => return Ok(Response::new(self.clone(), attempt, answer)),
                Err(failure) => attempt = self.pause(attempt, failure).await?,
            }
        }
    }

    /// Waits as long as policy and platform want before the next attempt, or gives the failure back as the call's end.
    async fn pause(&self, mut attempt: Attempt, failure: Failure) -> Result<Attempt, Failure> {
        let (impatient_of, fewer) = attempt.spec.impatience;
        let is_impatient = failure.status().is_some_and(|status| impatient_of.contains(&status));
        let attempts = if is_impatient { fewer.min(attempt.spec.attempts) } else { attempt.spec.attempts };
        let policy = retry::RetryPolicy { attempts, ..self.0.options.retry };
        let (idempotency, mut repeat) = (attempt.spec.idempotency, failure.repeat());
        if failure.kind() == Kind::Throttled && self.0.options.unasked_quiet.is_some() {
            // The platform answers so before it does anything.
            repeat = Repeat::NothingDone;
        }
        // Wrong credentials stay wrong, whatever their answer asks to wait for.
        let asked = failure.asked().filter(|_| repeat != Repeat::Useless || failure.kind() == Kind::Throttled);
        let asked = asked.or_else(|| {
            let first = self.0.options.unasked_quiet.filter(|_| failure.kind() == Kind::Throttled)?;
            Some(first.saturating_mul(2u32.saturating_pow(attempt.number - 1)).min(policy.cap))
        });
        if let Some(asked) = asked {
            let pacer = attempt.spec.class.map_or(&self.0.pacer, |at| &self.0.classes[at]);
            pacer.hold(asked.min(retry::LONGEST_MEANT)).await;
        }
        match policy.wait(attempt.number, idempotency, repeat, asked, rand::random()) {
            Some(wait) => {
                tracing::warn!(
                    "{failure}; attempt {} of {} in {:.1} s",
                    attempt.number + 1,
                    policy.attempts,
                    wait.as_secs_f64()
                );
                tokio::time::sleep(wait).await;
                attempt.number += 1;
                Ok(attempt)
            }
            None => Err(match asked {
                Some(asked) if asked > policy.longest_wait || failure.kind() == Kind::Throttled => {
                    failure.throttled(&attempt.what(), asked)
                }
                _ => failure,
            }),
        }
    }

    /// One attempt, redirects followed.
    async fn once(&self, spec: &Spec) -> Result<reqwest::Response, Failure> {
        let mut url = spec.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.exchange(spec, &url).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let may_follow = matches!(spec.method, Method::GET | Method::HEAD);
            match response.headers().get(LOCATION).filter(|_| status.is_redirection()) {
                None => return Err(self.refused(spec, response).await),
                Some(location) => url = followed(&url, location, spec, may_follow, &self.0.options.servers)?,
            }
        }
        let error = Error::new(Kind::Address, format!("{} redirects without end", spec.what()))
            .hint("open base_url in a browser and set it to the address that it ends at");
        Err(Failure::before_sending(error))
    }

    /// One request and the headers of its answer.
    async fn exchange(&self, spec: &Spec, url: &Url) -> Result<reqwest::Response, Failure> {
        let mut passage = Passage::default();
        if !failpoint::is_planted(Bug::IgnoreLimit) {
            passage = self.turn(spec).await.map_err(|denied| denied_turn(spec, denied))?;
        }
        // Signed after waiting: a signature's time must be the time of sending.
        let request = spec.request(url).map_err(Failure::before_sending)?;
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let patience = self.0.options.timeouts.answer;
        let answer = tokio::time::timeout(patience, self.0.http.execute(request)).await;
        drop(passage);
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(unreachable(spec, error)),
            Err(_) => {
                let error = Error::new(
                    Kind::Unreachable,
                    format!("{}: no answer within {} s", spec.what(), patience.as_secs()),
                )
                .hint("the platform is slow or down; run the command again, it continues where it stopped");
                Err(Failure::new(error, Fate::Unknown, Repeat::MayBeDone))
            }
        }
    }

    async fn refused(&self, spec: &Spec, mut response: reqwest::Response) -> Failure {
        let mut body = BytesMut::new();
        let read = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                let room = content::PREAMBLE - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if body.len() == content::PREAMBLE {
                    break;
                }
            }
        };
        // What was read of it by then is enough: the status has said what matters.
        let _ = tokio::time::timeout(self.0.options.timeouts.read, read).await;
        let asked = retry::retry_after(response.headers(), SystemTime::now());
        let answer =
            Answer { status: response.status().as_u16(), headers: response.headers().clone(), body: body.freeze() };
        Failure::answered(&spec.what(), answer, asked)
    }
}

/// One call being made ready. Send it with [`Call::send`].
#[derive(Clone)]
#[must_use = "a call is made by send()"]
pub struct Call {
    client: Client,
    spec: Spec,
}

#[derive(Clone)]
struct Spec {
    method: Method,
    /// Address and parameters as asked for, credentials not among them.
    url: Url,
    headers: HeaderMap,
    body: Option<Value>,
    /// The body, JSON already; in place of the other.
    text: Option<Bytes>,
    /// The class of calls it belongs to, by its place in the options.
    class: Option<usize>,
    /// One more member of the body, JSON already.
    member: Option<(&'static str, Bytes)>,
    auth: Arc<Auth>,
    idempotency: Idempotency,
    attempts: u32,
    /// Statuses after which another call is worth more than patience, and how many attempts end so.
    impatience: (&'static [u16], u32),
    mistake: Option<&'static str>,
}

/// One of the attempts of a call. Keeps the call's place among those in flight.
pub(super) struct Attempt {
    spec: Arc<Spec>,
    number: u32,
    #[expect(dead_code, reason = "held for its drop")]
    place: OwnedSemaphorePermit,
}

impl Attempt {
    pub(super) fn what(&self) -> String {
        self.spec.what()
    }

    pub(super) fn idempotency(&self) -> Idempotency {
        self.spec.idempotency
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Call").field(&self.spec.what()).finish()
    }
}

impl Call {
    fn new(client: Client, method: Method, url: Url, idempotency: Idempotency) -> Self {
        let options = client.options();
        let (auth, attempts) = (Arc::new(options.auth.clone()), options.retry.attempts);
        let spec = Spec {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            text: None,
            class: None,
            member: None,
            auth,
            idempotency,
            attempts,
            impatience: (&[], u32::MAX),
            mistake: None,
        };
        Self { client, spec }
    }

    /// Adds a query parameter. Under OAuth 1.0a a name ending in `[]` is numbered.
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        let mut query = Query::from(&self.spec.url);
        query.push(name, value.to_string());
        self.spec.url.set_query(Some(&query.to_string()));
        self
    }

    /// Adds a header. Credentials belong into [`Auth`].
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                self.spec.headers.insert(name, value);
            }
            _ => self.spec.mistake = Some("a header holds characters that HTTP does not allow"),
        }
        self
    }

    /// The JSON body.
    pub fn body(mut self, body: Value) -> Self {
        self.spec.body = Some(body);
        self
    }

    /// The body, written as JSON already. Not with [`Auth::Body`].
    pub fn text(mut self, body: impl Into<Bytes>) -> Self {
        self.spec.text = Some(body.into());
        self
    }

    /// The class of calls whose limit it keeps, one of [`ClientOptions::classes`].
    pub fn class(mut self, name: &'static str) -> Self {
        self.spec.class = self.client.class(name);
        if self.spec.class.is_none() {
            self.spec.mistake = Some("a call names a class that the client does not have");
        }
        self
    }

    /// One more member of a body that is an object; its value is written as JSON already.
    pub fn member(mut self, name: &'static str, value: impl Into<Bytes>) -> Self {
        self.spec.member = Some((name, value.into()));
        self
    }

    /// Other credentials than the client's.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.spec.auth = Arc::new(auth);
        self
    }

    /// Whether the path lies below `folder` of the base address.
    pub fn asks_below(&self, folder: &str) -> bool {
        let base = self.client.options().base_url.path();
        self.spec.url.path().strip_prefix(base).is_some_and(|path| path.starts_with(folder))
    }

    /// At most this many attempts; checks are better quick than patient.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.spec.attempts = attempts.max(1);
        self
    }

    /// Fewer attempts after these statuses, for callers who would rather ask otherwise then: for fewer rows, say.
    pub fn attempts_after(mut self, statuses: &'static [u16], attempts: u32) -> Self {
        self.spec.impatience = (statuses, attempts.max(1));
        self
    }

    /// Makes the call: waits for its turn, sends, repeats what may be repeated. Gives answers with a status of 2xx.
    ///
    /// # Errors
    /// Everything else, as a [`Failure`] that knows whether the call was certainly not done.
    pub async fn send(self) -> Result<Response, Failure> {
        self.client.send(Arc::new(self.spec)).await
    }
}

impl Spec {
    /// Method and address for messages. Parameters may hold secrets and people's data: they are left out.
    fn what(&self) -> String {
        format!("{} {}", self.method, origin_and_path(&self.url))
    }

    fn request(&self, url: &Url) -> Result<reqwest::Request> {
        if let Some(mistake) = self.mistake {
            return Err(Error::new(Kind::Internal, mistake));
        }
        let mut query = Query::from(url);
        let mut headers = self.headers.clone();
        let mut body = self.body.clone();
        let mut address = url.clone();
        address.set_query(None);
        self.auth.apply(&self.method, &address, &mut query, &mut headers, body.as_mut())?;
        if !query.is_empty() {
            address.set_query(Some(&query.to_string()));
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        let mut request = reqwest::Request::new(self.method.clone(), address);
        if let Some(text) = &self.text {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json;charset=UTF-8"));
            *request.body_mut() = Some(text.clone().into());
        } else if let Some(body) = &body {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json;charset=UTF-8"));
            let mut text = serde_json::to_vec(body)
                .map_err(|error| Error::new(Kind::Internal, "a body cannot be written as JSON").because(error))?;
            if let Some((name, value)) = &self.member {
                if text.pop() != Some(b'}') {
                    return Err(Error::new(Kind::Internal, "a member goes into a body that is no JSON object"));
                }
                if text.len() > 1 {
                    text.push(b',');
                }
                text.reserve(name.len() + value.len() + 4);
                text.extend_from_slice(format!("\"{name}\":").as_bytes());
                text.extend_from_slice(value);
                text.push(b'}');
            }
            *request.body_mut() = Some(Bytes::from(text).into());
        }
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Where a redirect leads, if it may be followed: reads only, on the same server, from http to https of the same host, or,
/// without credentials, to one of `servers`.
fn followed(
    from: &Url,
    location: &HeaderValue,
    spec: &Spec,
    may_follow: bool,
    servers: &[url::Origin],
) -> Result<Url, Failure> {
    let what = spec.what();
    let refused = |detail: String, hint: String| {
        Failure::new(Error::new(Kind::Address, detail).hint(hint), Fate::NotDone, Repeat::Useless)
    };
    let target = location.to_str().ok().and_then(|text| from.join(text).ok());
    let Some(mut target) = target else {
        return Err(refused(format!("{what} redirects to no address"), "check base_url".to_owned()));
    };
    let same_server = target.origin() == from.origin();
    let upgrade = from.scheme() == "http" && target.scheme() == "https" && target.host_str() == from.host_str();
    let allowed = matches!(*spec.auth, Auth::None) && servers.contains(&target.origin());
    if !may_follow || !(same_server || upgrade || allowed) {
        let place = origin_and_path(&target);
        return Err(refused(
            format!("{what} redirects to {place}"),
            "set base_url to the address where the platform really is".to_owned(),
        ));
    }
    // The redirect echoes what we sent; the next request is signed by itself.
    let mut query = Query::from(&target);
    query.retain(|name| !spec.auth.owns_parameter(name));
    target.set_query((!query.is_empty()).then(|| query.to_string()).as_deref());
    Ok(target)
}

/// The failure of a call that gets no turn in time.
fn denied_turn(spec: &Spec, denied: Denied) -> Failure {
    match denied {
        Denied::Quiet(wait) => {
            let error = Error::new(Kind::Throttled, "the platform has asked for quiet");
            Failure::before_sending(error).throttled(&spec.what(), wait)
        }
        Denied::Spent(wait) => {
            let error = Error::new(Kind::Throttled, "the calls that the account may make in a day are used up")
                .hint("nothing is lost: run the command again tomorrow (UTC), it continues; load.calls_per_day sets it")
                .retry_after(wait);
            Failure::before_sending(error)
        }
        Denied::Keeper(error) => Failure::before_sending(error.context("the account's budget of calls")),
    }
}

/// The failure of a request that got no answer.
fn unreachable(spec: &Spec, error: reqwest::Error) -> Failure {
    let what = spec.what();
    let error = error.without_url();
    if error.is_builder() {
        let error = Error::new(Kind::Internal, format!("{what}: the request cannot be made")).because(error);
        return Failure::before_sending(error);
    }
    if let Some(reason) = tls_reason(&error) {
        let hint =
            "if the certificate is your own authority's, name its PEM file in WHARF_CA_FILE; check base_url otherwise";
        let fate = if error.is_connect() { Fate::NotDone } else { Fate::Unknown };
        let error = Error::new(Kind::Address, format!("{what}: {reason}")).hint(hint).because(error);
        return Failure::new(error, fate, Repeat::Useless);
    }
    let (detail, hint, fate, repeat) = if error.is_dns() {
        ("the host's name is not known", "check the host in base_url", Fate::NotDone, Repeat::NothingDone)
    } else if error.is_connect() && error.is_timeout() {
        ("no connection in time", "check base_url, proxies and firewalls", Fate::NotDone, Repeat::NothingDone)
    } else if error.is_connect() {
        ("no connection", "check base_url, proxies and firewalls", Fate::NotDone, Repeat::NothingDone)
    } else {
        let hint = "run the command again; it continues where it stopped";
        ("the connection was cut before the answer", hint, Fate::Unknown, Repeat::MayBeDone)
    };
    let error = Error::new(Kind::Unreachable, format!("{what}: {detail}")).hint(hint).because(error);
    Failure::new(error, fate, repeat)
}

/// Why TLS refuses the server, if that is the trouble: trying again would not help.
fn tls_reason(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(current) = cause {
        match current.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(reason)) => {
                return Some(format!("the server's certificate is not trusted ({reason})"));
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                return Some("the server does not speak TLS at this port".to_owned());
            }
            _ => {}
        }
        // The source of an I/O error is the source of what it wraps, which would be left out.
        let wrapped = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => current.source(),
        };
    }
    None
}

fn origin_and_path(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Whether an address is this machine's own, by its name or as a loopback address.
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
