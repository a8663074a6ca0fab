//! The one HTTP client for all platforms: auth, pagination, pacing, retries, and JSON read record by record.

use crate::Result;
use bytes::Bytes;
use futures::stream::BoxStream;

/// Records of a page as they arrive: one complete JSON text each, as received.
pub type RecordStream = BoxStream<'static, Result<Bytes>>;
