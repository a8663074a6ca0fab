//! How a call ends badly: what people are told, what is known of its fate, and what the platform answered.

use super::content;
use super::retry::{LONGEST_MEANT, Repeat, is_retryable};
use crate::{Error, Kind};
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// A second call does no harm: reads, and writes that the platform deduplicates.
    Safe,
    /// A second call would do the work twice: it is never repeated once a byte of it may have been sent.
    Unsafe,
}

/// What is known of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was certainly not done: no connection, refused before sending, or the platform answered that it did not do it
    /// (3xx, 4xx, 429 included).
    NotDone,
    /// Nobody knows: it timed out, was cut, the platform failed in the middle (5xx, 408), or its answer cannot be read.
    Unknown,
}

/// What the platform answered to a call that failed.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The first 64 KiB of the body. May hold people's data: never print it.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON of the expected shape, notices before it skipped; `None` for anything else.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        content::parse(&self.body).ok()
    }
}

/// A call that ended badly. Turns into [`Error`] by `?`.
pub struct Failure(Box<Inner>);

struct Inner {
    error: Error,
    fate: Fate,
    repeat: Repeat,
    asked: Option<Duration>,
    answer: Option<Answer>,
}

impl Failure {
    pub(super) fn new(error: Error, fate: Fate, repeat: Repeat) -> Self {
        Self(Box::new(Inner { error, fate, repeat, asked: None, answer: None }))
    }

    /// Nothing was sent, and sending again would not help.
    pub(super) fn before_sending(error: Error) -> Self {
        Self::new(error, Fate::NotDone, Repeat::Useless)
    }

    /// An answer whose body cannot be used.
    pub(super) fn unreadable(error: Error) -> Self {
        let repeat = if error.kind().is_retryable() { Repeat::MayBeDone } else { Repeat::Useless };
        Self::new(error, Fate::Unknown, repeat)
    }

    /// An answer whose status says that the call failed. `what`: method and address, free of secrets.
    pub(super) fn answered(what: &str, answer: Answer, asked: Option<Duration>) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let page = content::web_page(&answer.body);
        let mut error = Error::new(kind_of(status, page.is_some()), format!("{what} answered {status}"));
        match &page {
            Some(page) => {
                error = Error::new(error.kind(), format!("{} with {}", error.detail(), page.sentence()));
                error = error.hint(page.hint());
            }
            None => {
                if let Some(hint) = hint_for(status) {
                    error = error.hint(hint);
                }
            }
        }
        let fate = if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            Fate::Unknown
        } else {
            Fate::NotDone
        };
        let repeat = if is_retryable(status) { Repeat::MayBeDone } else { Repeat::Useless };
        Self(Box::new(Inner { error, fate, repeat, asked, answer: Some(answer) }))
    }

    /// The same failure for callers that were asked to wait longer than a call waits: throttled, with the wait.
    pub(super) fn throttled(mut self, what: &str, asked: Duration) -> Self {
        let wait = asked.min(LONGEST_MEANT);
        let wish = if asked > LONGEST_MEANT {
            format!("{} seconds, which cannot be meant; {} are taken", asked.as_secs(), human(wait))
        } else {
            human(wait)
        };
        self.0.error = Error::new(Kind::Throttled, format!("{what}: the platform asks to wait for {wish}"))
            .hint("run the command again after that; it continues where it stopped")
            .retry_after(wait);
        self
    }

    pub(super) fn repeat(&self) -> Repeat {
        self.0.repeat
    }

    pub(super) fn asked(&self) -> Option<Duration> {
        self.0.asked
    }

    /// The error for people.
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// The error for people, without the rest.
    pub fn into_error(self) -> Error {
        self.0.error
    }

    /// The kind of the error.
    pub fn kind(&self) -> Kind {
        self.0.error.kind()
    }

    /// Whether the call was certainly not done.
    pub fn fate(&self) -> Fate {
        self.0.fate
    }

    /// What the platform answered, where it answered with a status that says failure.
    pub fn answer(&self) -> Option<&Answer> {
        self.0.answer.as_ref()
    }

    /// The status of that answer.
    pub fn status(&self) -> Option<u16> {
        self.answer().map(|answer| answer.status)
    }

    /// Another error for people, where the platform's own codes say more than the status; fate and answer stay.
    pub fn explained(mut self, explain: impl FnOnce(Error) -> Error) -> Self {
        let error = std::mem::replace(&mut self.0.error, Error::new(Kind::Internal, "a failure explained itself"));
        self.0.error = explain(error);
        self
    }
}

impl From<Error> for Failure {
    /// A mistake found before anything was sent.
    fn from(error: Error) -> Self {
        Self::before_sending(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.0.error
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

impl fmt::Debug for Failure {
    /// Without the answer: its body may hold people's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("error", &self.0.error)
            .field("fate", &self.0.fate)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.error)
    }
}

/// The kind of a status by itself; platforms whose codes say more explain it again.
fn kind_of(status: StatusCode, web_page: bool) -> Kind {
    match status.as_u16() {
        401 | 407 => Kind::Credentials,
        // A firewall's page says nothing about our rights.
        403 if web_page => Kind::NotJson,
        403 => Kind::Permission,
        300..=399 | 404 | 410 => Kind::Address,
        408 => Kind::Unreachable,
        429 => Kind::Throttled,
        _ if is_retryable(status) => Kind::PlatformFailure,
        _ => Kind::Refused,
    }
}

fn hint_for(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        300..=399 => Some("set base_url to the address that the platform redirects to"),
        401 => Some("compare the credentials with those at the platform"),
        403 => Some("give the credentials the right to do this at the platform"),
        404 | 410 => Some("check base_url, its sub-folder included"),
        407 => Some("the proxy wants credentials: write them into HTTPS_PROXY as http://user:password@host:port"),
        408 | 429 | 500..=599 if is_retryable(status) => {
            Some("run the command again in a while; it continues where it stopped")
        }
        _ => None,
    }
}

/// Two units at most: `2 h 5 min`, `90 s`.
fn human(wait: Duration) -> String {
    match wait.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds.div_ceil(60)),
        seconds => match seconds.div_ceil(60) % 60 {
            0 => format!("{} h", seconds.div_ceil(3600)),
            minutes => format!("{} h {minutes} min", seconds.div_ceil(60) / 60),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &'static str) -> Failure {
        let answer = Answer { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) };
        Failure::answered("GET https://shop.example/x", answer, None)
    }

    #[test]
    fn each_status_has_a_kind_and_a_fate() {
        for (status, kind, fate) in [
            (301, Kind::Address, Fate::NotDone),
            (400, Kind::Refused, Fate::NotDone),
            (401, Kind::Credentials, Fate::NotDone),
            (403, Kind::Permission, Fate::NotDone),
            (404, Kind::Address, Fate::NotDone),
            (408, Kind::Unreachable, Fate::Unknown),
            (422, Kind::Refused, Fate::NotDone),
            (429, Kind::Throttled, Fate::NotDone),
            (500, Kind::PlatformFailure, Fate::Unknown),
            (501, Kind::Refused, Fate::Unknown),
            (505, Kind::Refused, Fate::Unknown),
            (503, Kind::PlatformFailure, Fate::Unknown),
            (522, Kind::PlatformFailure, Fate::Unknown),
        ] {
            let failure = answered(status, "{}");
            assert_eq!((failure.kind(), failure.fate()), (kind, fate), "{status}");
            assert_eq!(failure.repeat() != Repeat::Useless, failure.kind().is_retryable(), "{status}");
        }
    }

    #[test]
    fn a_firewalls_page_is_no_question_of_rights() {
        let failure = answered(403, "<html><head><title>Attention Required! | Cloudflare</title>");
        assert_eq!(failure.kind(), Kind::NotJson);
        assert!(failure.error().detail().contains("Attention Required! | Cloudflare"), "{failure}");
        assert!(failure.error().hint_text().unwrap().contains("firewall"));
    }

    #[test]
    fn the_answers_body_is_kept_for_code_and_never_printed() {
        let failure = answered(400, r#"{"code":"rest_invalid_param","message":"anna@example.test"}"#);
        assert!(!format!("{failure} {failure:?} {:#?}", failure).contains("anna"));
        let body: serde_json::Value = failure.answer().unwrap().json().unwrap();
        assert_eq!(body["code"], "rest_invalid_param");
    }

    #[test]
    fn an_absurd_wish_is_cut_and_said() {
        let failure = answered(429, "").throttled("GET https://shop.example/x", Duration::from_secs(31_536_000));
        assert_eq!(failure.kind(), Kind::Throttled);
        assert_eq!(failure.error().wait(), Some(LONGEST_MEANT));
        assert!(failure.error().detail().contains("31536000 seconds, which cannot be meant; 24 h"), "{failure}");
        let failure = answered(429, "").throttled("GET https://shop.example/x", Duration::from_secs(600));
        assert_eq!(failure.error().wait(), Some(Duration::from_secs(600)));
        assert!(failure.error().detail().ends_with("10 min"), "{failure}");
    }

    #[test]
    fn waits_read_well() {
        let read = |seconds| human(Duration::from_secs(seconds));
        assert_eq!([read(90), read(121), read(7200), read(7260)], ["90 s", "3 min", "2 h", "2 h 1 min"]);
    }
}
