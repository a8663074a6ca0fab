//! One call to eSputnik and what its answer says: a list that has one element comes as an object, numbers come as texts,
//! a body may be empty, and what is wrong is said in plain text (sheet, section 3).

use super::ESputnik;
use crate::http::{Call, Failure, Fate, Idempotency};
use crate::target::{BatchOutcome, Item, Outcome};
use crate::{Error, Kind, Result};
use serde_json::Value;

/// What is kept of the words of a refusal.
const WORDS: usize = 2000;

/// Why a call did not succeed.
pub(super) enum Trouble {
    /// The platform will not take it, in these words. It did nothing.
    Refused(String),
    /// The same request came within a minute.
    Repeated,
    /// A web page came, and nobody knows what was done.
    Page(Error),
    /// The call itself failed.
    Failed(Failure),
}

impl ESputnik {
    /// Makes a call; the answer as JSON, null where there is no body, a text where it is none.
    pub(super) async fn ask(&self, call: Call) -> Result<Value, Trouble> {
        let call = call.header("content-type", "application/json; charset=UTF-8").header("accept", "application/json");
        let response = call.send().await.map_err(Trouble::from)?;
        let body = response.bytes().await.map_err(Trouble::from)?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        if body.trim_ascii_start().starts_with(b"<") {
            return Err(Self::page());
        }
        match serde_json::from_slice(&body) {
            Ok(answer) => Ok(answer),
            // A plain word is an answer; JSON that ends in the middle is none.
            Err(_) => match String::from_utf8_lossy(&body).trim() {
                words if words.starts_with(char::is_alphabetic) => Ok(words.into()),
                _ => Err(Self::page()),
            },
        }
    }

    /// A web page in place of an answer: whatever stands in front of the platform has spoken, so nobody knows what was done.
    fn page() -> Trouble {
        Trouble::Page(
            Error::new(Kind::NotJson, "a web page or half an answer came in place of eSputnik's answer")
                .hint("check base_url; if that is right, the platform or a proxy is down: run the command again later"),
        )
    }

    /// A read.
    pub(super) async fn read(&self, path: &str, query: &[(&str, String)]) -> Result<Value> {
        let mut call = self.client.get(path);
        for (name, value) in query {
            call = call.query(name, value);
        }
        self.ask(call).await.map_err(|trouble| trouble.into_error(path))
    }

    /// A write whose body is JSON already.
    pub(super) async fn write(&self, path: &str, body: String, idempotency: Idempotency) -> Result<Value, Trouble> {
        self.ask(self.client.post(path, Value::Null, idempotency).text(body)).await
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let words = failure.answer().map(|answer| String::from_utf8_lossy(&answer.body).trim().to_owned());
        match failure.status() {
            Some(409) => Self::Repeated,
            // Not an address that is wrong, a right or a key: what was sent.
            Some(400 | 422) => Self::Refused(words.unwrap_or_default().chars().take(WORDS).collect()),
            _ => Self::Failed(failure),
        }
    }
}

impl Trouble {
    /// For calls that were certainly not done, or may be repeated.
    pub(super) fn into_error(self, path: &str) -> Error {
        match self {
            Self::Failed(failure) => explain(failure),
            Self::Page(error) => error,
            Self::Repeated => Error::new(Kind::Throttled, format!("{path}: the same request came within a minute"))
                .hint("run the command again in a minute; it continues where it stopped"),
            Self::Refused(words) => refusal(path, &words),
        }
    }

    /// Whether nobody knows if the call was done; why, if so.
    pub(super) fn is_open(&self) -> Option<String> {
        match self {
            Self::Failed(failure) if failure.fate() == Fate::Unknown => Some(failure.error().detail().to_owned()),
            Self::Page(error) => Some(error.detail().to_owned()),
            _ => None,
        }
    }
}

/// A refusal as an error: words that hold an address or digits in number are a person's and are blanked.
pub(super) fn refusal(path: &str, words: &str) -> Error {
    let is_personal = |word: &str| word.contains('@') || word.bytes().filter(u8::is_ascii_digit).count() >= 5;
    let said: Vec<&str> = words.split_whitespace().map(|word| if is_personal(word) { "…" } else { word }).collect();
    let said: String = said.join(" ").chars().take(300).collect();
    let said = if said.is_empty() { "without a reason".to_owned() } else { said };
    Error::new(Kind::Refused, format!("{path}: eSputnik refused the call: {said}"))
}

/// What the statuses mean here.
fn explain(failure: Failure) -> Error {
    let status = failure.status();
    let error = failure.into_error();
    match status {
        Some(401) => Error::new(Kind::Credentials, "eSputnik does not take the API key (401)").hint(
            "in eSputnik: profile > Settings > API shows the keys; one that was not used for 90 days is switched off, \
             make a new one with full access",
        ),
        Some(403) => Error::new(Kind::Permission, "the API key may not do this (403)")
            .hint("in eSputnik: profile > Settings > API, give the key full access; orders need it"),
        Some(405 | 415) => Error::new(Kind::Address, format!("{} (method or media type)", error.detail()))
            .hint("check that base_url is an eSputnik address: https://esputnik.com/api"),
        _ => error,
    }
}

/// A call refused as a whole: one record is refused for good; of more, the load stage finds the one by halving.
pub(super) fn refused(path: &str, items: &[Item], words: String) -> Result<BatchOutcome> {
    match items {
        [_] => Ok(BatchOutcome::one(Outcome::Refused { code: "refused", reason: reason(words) })),
        _ => Err(refusal(path, &words)),
    }
}

pub(super) fn reason(words: String) -> String {
    if words.is_empty() { "eSputnik refused it without a reason".to_owned() } else { words }
}

pub(super) fn all(count: usize, outcome: &Outcome) -> BatchOutcome {
    BatchOutcome { outcomes: vec![outcome.clone(); count], reference: None }
}

/// A list: absent is none, an object is a list of one.
pub(super) fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(elements)) => elements,
        Some(one) => vec![one],
    }
}

/// A text or a number as text; none for an empty one.
pub(super) fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The member of an object as text.
pub(super) fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name).and_then(word)
}

/// A JSON list of what is JSON already, after an opening and before a closing.
pub(super) fn joined<'a>(opening: &str, elements: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::from(opening);
    for (place, element) in elements.enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(element);
    }
    text.push_str("]}");
    text
}
