//! The records of a page as a stream: the splitter, driven by a body as it arrives.

use super::content;
use super::response::Response;
use super::splitter::{Selector, Splitter};
use crate::{Error, Result};
use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};

/// Records of a page as they arrive: one complete JSON text each, as received. A record may hold bytes that are no UTF-8:
/// its structure was checked, its texts were not. Ends after the first error.
pub type RecordStream = BoxStream<'static, Result<Bytes>>;

/// The records in a body that comes from anywhere: a file, a webhook, a test.
pub fn records_of<S>(body: S, selector: Selector, max_record: usize) -> RecordStream
where
    S: Stream<Item = Result<Bytes>> + Send + 'static,
{
    let state = (body.boxed(), Splitter::new(selector, max_record), false);
    stream::try_unfold(state, |(mut body, mut splitter, mut ended)| async move {
        loop {
            if let Some(record) = splitter.take()? {
                return Ok(Some((record, (body, splitter, ended))));
            }
            if ended {
                return Ok(None);
            }
            match body.next().await {
                Some(chunk) => splitter.push(&chunk?),
                None => {
                    ended = true;
                    splitter.end();
                }
            }
        }
    })
    .boxed()
}

struct Reading {
    response: Response,
    selector: Selector,
    splitter: Splitter,
    ended: bool,
    emitted: bool,
}

/// The records of an answer. As long as none was given, a cut body is asked for again.
pub(super) fn records(response: Response, selector: Selector) -> RecordStream {
    let max_record = response.max_record();
    let splitter = Splitter::new(selector.clone(), max_record);
    let reading = Reading { response, selector, splitter, ended: false, emitted: false };
    stream::try_unfold(reading, move |mut reading| async move {
        loop {
            let trouble = match reading.splitter.take() {
                Ok(Some(record)) => {
                    reading.emitted = true;
                    return Ok(Some((record, reading)));
                }
                Ok(None) if reading.ended => return Ok(None),
                Ok(None) => match reading.response.chunk().await {
                    Ok(Some(chunk)) => {
                        reading.splitter.push(&chunk);
                        continue;
                    }
                    Ok(None) => {
                        reading.ended = true;
                        reading.splitter.end();
                        continue;
                    }
                    Err(failure) => failure,
                },
                Err(error) => super::Failure::unreadable(error),
            };
            let trouble = trouble.explained(|error| error.context(reading.response.what()));
            if reading.emitted {
                return Err(Error::from(trouble));
            }
            reading.response = reading.response.again(trouble).await?;
            reading.splitter = Splitter::new(reading.selector.clone(), max_record);
            reading.ended = false;
        }
    })
    .boxed()
}

/// A body held whole, as JSON.
pub(super) fn whole<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T> {
    content::parse(body)
}
