//! What a client is made of. Only values enter; nothing is looked up here.

use super::{Auth, RetryPolicy};
use crate::config::pipeline::Rate;
use std::time::Duration;
use url::Url;

/// What a [`super::Client`] is made of. Start from [`ClientOptions::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The platform's address, sub-folder included. Every path is taken below it.
    pub base_url: Url,
    /// Further servers to which addresses in answers may lead. They are asked without credentials; any server that is neither
    /// one of these nor that of `base_url` is not asked at all.
    pub servers: Vec<url::Origin>,
    /// How calls prove who asks, unless a call says otherwise.
    pub auth: Auth,
    /// Most calls per time; attempts and redirects count. None: as fast as answers come.
    pub rate: Option<Rate>,
    /// Classes of calls with limits of their own; a call names its class by [`super::Call::class`].
    pub classes: Vec<CallClass>,
    /// For platforms that throttle, before they do anything, without saying how long: after so long all calls go on, twice as
    /// long after the second time in a row, and so on up to [`RetryPolicy::cap`]. Then such a call is made again also where
    /// it may not be repeated.
    pub unasked_quiet: Option<Duration>,
    /// Calls in flight at once. A call is in flight until its body was read or dropped, so whoever holds a page half read
    /// and asks for another needs two.
    pub concurrency: usize,
    /// How long each part of a call may take.
    pub timeouts: Timeouts,
    /// What is tried again, and how often.
    pub retry: RetryPolicy,
    /// The longest body read at all, in bytes after decompression.
    pub max_body: u64,
    /// The longest body held at once by [`super::Response::json`] and [`super::Response::bytes`], in bytes.
    pub max_json: usize,
    /// The longest single record of a list, in bytes.
    pub max_record: usize,
    /// Who we say we are.
    pub user_agent: String,
    /// Whether the server's certificate is checked. Off only on the user's word.
    pub verify_tls: bool,
    /// Further certificate authorities, PEM, beside the system's and those of the environment.
    pub extra_roots: Vec<Vec<u8>>,
}

/// A class of calls with a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallClass {
    /// Its name.
    pub name: &'static str,
    /// Most calls per time.
    pub rate: Rate,
    /// Whether its calls do not count against the limit of all calls.
    pub is_apart: bool,
}

/// How long each part of a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Name look-up, TCP and TLS together.
    pub connect: Duration,
    /// From sending to the answer's headers, connecting included.
    pub answer: Duration,
    /// Between two pieces of a body.
    pub read: Duration,
    /// All waiting for one body; time the reader spends elsewhere does not count.
    pub body: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            read: Duration::from_secs(60),
            body: Duration::from_secs(15 * 60),
        }
    }
}

impl ClientOptions {
    /// Options for `base_url` without credentials: one call at a time, no rate, bodies up to 2 GiB in records up to
    /// 16 MiB, or up to 64 MiB at once.
    pub fn new(base_url: Url) -> Self {
        Self {
            base_url,
            servers: Vec::new(),
            auth: Auth::None,
            rate: None,
            classes: Vec::new(),
            unasked_quiet: None,
            concurrency: 1,
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            max_body: 2 << 30,
            max_json: 64 << 20,
            max_record: 16 << 20,
            user_agent: concat!("wharf/", env!("CARGO_PKG_VERSION")).to_owned(),
            verify_tls: true,
            extra_roots: Vec::new(),
        }
    }
}
