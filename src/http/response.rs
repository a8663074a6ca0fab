//! An answer whose status says success: headers now, the body once, as a value, as bytes, or record by record.

use super::client::{Attempt, Client};
use super::content;
use super::failure::{Failure, Fate, Idempotency};
use super::paging;
use super::records::{self, RecordStream};
use super::retry::Repeat;
use super::splitter::Selector;
use crate::{Error, Kind};
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use url::Url;

/// An answer with a status of 2xx. It holds a place among the client's calls in flight until it was read or dropped.
pub struct Response {
    client: Client,
    attempt: Attempt,
    inner: reqwest::Response,
    received: u64,
    waited: Duration,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Response {
    pub(super) fn new(client: Client, attempt: Attempt, inner: reqwest::Response) -> Self {
        Self { client, attempt, inner, received: 0, waited: Duration::ZERO }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The first header of this name, if it is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// The address that the `Link` headers give for a relation, `next` for example.
    pub fn link(&self, relation: &str) -> Option<Url> {
        let headers = self.headers().get_all(reqwest::header::LINK);
        let texts = headers.iter().filter_map(|value| value.to_str().ok());
        paging::link(texts, relation, self.inner.url())
    }

    /// When the platform says it answered (`Date`).
    pub fn date(&self) -> Option<jiff::Timestamp> {
        let date = httpdate::parse_http_date(self.header("date")?).ok()?;
        jiff::Timestamp::try_from(date).ok()
    }

    /// The whole body as JSON of shape `T`, up to `max_json` bytes. A byte order mark and notices before the JSON are
    /// skipped; a cut body is asked for again when the call may be repeated.
    ///
    /// # Errors
    /// [`Kind::NotJson`], [`Kind::Truncated`], [`Kind::TooLarge`], [`Kind::Protocol`] (another shape),
    /// [`Kind::Unreachable`] (too slow). The fate of the call is unknown then.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        self.read(|body| records::whole(body)).await
    }

    /// The whole body, up to `max_json` bytes; else as [`Response::json`].
    pub async fn bytes(self) -> Result<Bytes, Failure> {
        self.read(|body| Ok(body.clone())).await
    }

    /// The body as it arrives, for formats other than JSON. Ends with an error where it is cut; nothing is asked for again.
    pub fn body(self) -> BoxStream<'static, crate::Result<Bytes>> {
        stream::try_unfold(self, |mut response| async move {
            match response.chunk().await {
                Ok(Some(chunk)) => Ok(Some((chunk, response))),
                Ok(None) => Ok(None),
                Err(failure) => Err(failure.into_error().context(response.what())),
            }
        })
        .boxed()
    }

    /// The records of a list, one by one. As long as none was given, a cut body is asked for again.
    pub fn records(self, selector: Selector) -> RecordStream {
        records::records(self, selector)
    }

    /// The whole body, up to `max_json` bytes, as `read` understands it. Where it says that the body is cut, the answer is
    /// asked for again when the call may be repeated; what else it says is the call's end.
    ///
    /// # Errors
    /// Those of `read`, and as [`Response::json`].
    pub async fn read<T>(mut self, read: impl Fn(&Bytes) -> crate::Result<T>) -> Result<T, Failure> {
        loop {
            let body = self.collect().await;
            let what = self.what();
            let failure = match body {
                Ok(body) => match read(&body) {
                    Ok(value) => return Ok(value),
                    Err(error) => Failure::unreadable(error),
                },
                Err(failure) => failure,
            };
            self = self.again(failure.explained(|error| error.context(what))).await?;
        }
    }

    async fn collect(&mut self) -> Result<Bytes, Failure> {
        let limit = self.client.options().max_json;
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(too_large(limit as u64));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The next piece of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let timeouts = self.client.options().timeouts;
        let patience = timeouts.read.min(timeouts.body.saturating_sub(self.waited));
        let asked = Instant::now();
        let piece = tokio::time::timeout(patience, self.inner.chunk()).await;
        self.waited += asked.elapsed();
        let chunk = match piece {
            Err(_) => {
                let error = Error::new(Kind::Unreachable, "the rest of the answer did not come in time")
                    .hint("the server is slow or the line is; run the command again, it continues where it stopped");
                return Err(Failure::new(error, Fate::Unknown, Repeat::MayBeDone));
            }
            Ok(Err(error)) => return Err(Failure::unreadable(content::truncated().because(error.without_url()))),
            Ok(Ok(chunk)) => chunk,
        };
        self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        let limit = self.client.options().max_body;
        if self.received > limit {
            return Err(too_large(limit));
        }
        Ok(chunk)
    }

    /// The same call again after its answer could not be used, if it may be repeated.
    pub(super) async fn again(self, failure: Failure) -> Result<Response, Failure> {
        let Self { client, attempt, inner, .. } = self;
        drop(inner);
        client.again(attempt, failure).await
    }

    /// Method and address, free of secrets.
    pub(super) fn what(&self) -> String {
        self.attempt.what()
    }

    pub(super) fn max_record(&self) -> usize {
        self.client.options().max_record
    }

    /// Whether the call may be made again.
    pub fn idempotency(&self) -> Idempotency {
        self.attempt.idempotency()
    }
}

fn too_large(limit: u64) -> Failure {
    let error = Error::new(Kind::TooLarge, format!("the answer is larger than {limit} bytes"));
    Failure::new(error, Fate::Unknown, Repeat::Useless)
}
