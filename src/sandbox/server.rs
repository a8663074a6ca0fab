//! Serves the platforms of a sandbox, each on a port of its own, and stops them. May be used in process (tests, the demo)
//! or by `wharf sandbox`.

use super::Platform;
use super::control::Control;
use super::faults::{Fault, FaultReport, Faults, Gate, pass};
use super::line::{Line, LineListener};
use super::registry::Opens;
use super::requests::Requests;
use crate::{Error, Kind, Result};
use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a sandbox serves and where.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The address to listen on; 127.0.0.1 unless a container needs another.
    pub address: IpAddr,
    /// The port of the first platform; each further platform takes the next one. 0: any free ports.
    pub port: u16,
    /// The platforms, in the order of their ports.
    pub platforms: Vec<Opener>,
}

impl Default for SandboxOptions {
    /// Nothing served, on free ports of 127.0.0.1.
    fn default() -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 0, platforms: Vec::new() }
    }
}

impl SandboxOptions {
    /// With one more platform, by its options.
    #[must_use]
    pub fn with<O: Opens>(mut self, options: O) -> Self {
        self.platforms.push(Opener::new(options));
        self
    }
}

/// A platform that is not open yet.
#[derive(Clone)]
pub struct Opener(Arc<dyn Fn(String) -> Result<Opened> + Send + Sync>);

/// A platform twice: as what every platform is, and as what it is itself.
struct Opened {
    platform: Arc<dyn Platform>,
    itself: Box<dyn Any + Send + Sync>,
}

impl Opener {
    /// The platform that these options open.
    pub fn new<O: Opens>(options: O) -> Self {
        Self(Arc::new(move |origin| {
            let platform = Arc::new(options.clone().open(origin)?);
            Ok(Opened { platform: Arc::clone(&platform) as Arc<dyn Platform>, itself: Box::new(platform) })
        }))
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Opener")
    }
}

/// A running sandbox. Dropping it stops it, too, without waiting for calls in hand.
pub struct Sandbox {
    platforms: Arc<Vec<Arc<dyn Platform>>>,
    selves: Vec<Box<dyn Any + Send + Sync>>,
    urls: Vec<String>,
    faults: Arc<Faults>,
    requests: Arc<Requests>,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
}

/// How long a stop waits for calls in hand.
const STOP_WITHIN: Duration = Duration::from_secs(2);

impl Sandbox {
    /// Starts serving; when it returns, every port answers.
    ///
    /// # Errors
    /// [`Kind::Io`] where a port is taken or a stock's files cannot be read.
    pub async fn start(options: SandboxOptions) -> Result<Self> {
        let mut listeners = Vec::new();
        let mut platforms: Vec<Arc<dyn Platform>> = Vec::new();
        let mut selves = Vec::new();
        let mut urls = Vec::new();
        for opener in options.platforms {
            let (listener, url) = listen(options.address, options.port, listeners.len()).await?;
            let origin = url.clone();
            let opened = tokio::task::spawn_blocking(move || (opener.0)(origin))
                .await
                .map_err(|error| Error::new(Kind::Internal, "opening a platform failed").because(error))??;
            listeners.push(listener);
            urls.push(url);
            platforms.push(opened.platform);
            selves.push(opened.itself);
        }

        let platforms = Arc::new(platforms);
        let faults = Arc::new(Faults::default());
        let requests = Arc::new(Requests::default());
        let stop = CancellationToken::new();
        let mut servers = Vec::new();
        for (listener, platform) in listeners.into_iter().zip(platforms.iter()) {
            let gate = Gate {
                platform: platform.name(),
                itself: Arc::clone(platform),
                faults: Arc::clone(&faults),
                requests: Arc::clone(&requests),
            };
            let control = Control {
                own: Arc::clone(platform),
                platforms: Arc::clone(&platforms),
                faults: Arc::clone(&faults),
                requests: Arc::clone(&requests),
            };
            let router = Arc::clone(platform)
                .router()
                .layer(axum::middleware::from_fn_with_state(gate, pass))
                .merge(control.router());
            let service = router.into_make_service_with_connect_info::<Line>();
            let server =
                axum::serve(LineListener(listener), service).with_graceful_shutdown(stop.clone().cancelled_owned());
            servers.push(tokio::spawn(async move {
                // Serving ends by the stop alone: accept errors are waited out by the listener.
                let _ = server.await;
            }));
        }
        Ok(Self { platforms, selves, urls, faults, requests, stop, servers })
    }

    /// The address at which a platform is served, without a final slash, if it is served.
    pub fn url(&self, platform: &str) -> Option<&str> {
        self.platforms().find(|(served, _)| served.name() == platform).map(|(_, url)| url)
    }

    /// The address of a platform as `base_url` takes it: a shop's sub-folder is part of it. Empty where it is not served.
    pub fn base_url(&self, platform: &str) -> String {
        let served = self.platforms().find(|(served, _)| served.name() == platform);
        served.map(|(served, url)| served.base_url(url)).unwrap_or_default()
    }

    /// Every platform served, with its address.
    pub fn platforms(&self) -> impl Iterator<Item = (&Arc<dyn Platform>, &str)> {
        self.platforms.iter().zip(self.urls.iter().map(String::as_str))
    }

    /// The environment that a pipeline's placeholders name: addresses and credentials of all platforms served.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.platforms()
            .flat_map(|(platform, url)| {
                std::iter::once((platform.url_variable(), platform.base_url(url))).chain(platform.credentials())
            })
            .collect()
    }

    /// The platform of a type, if it is served: the first one of several.
    pub fn get<P: Platform>(&self) -> Option<&Arc<P>> {
        self.selves.iter().find_map(|itself| itself.downcast_ref())
    }

    /// Arms a fault.
    pub fn fault(&self, fault: Fault) {
        self.faults.add(fault);
    }

    /// The faults armed, with how often each struck.
    pub fn faults(&self) -> Vec<FaultReport> {
        self.faults.report()
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    /// The log of calls.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Stops serving, after calls in hand but for at most two seconds.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for server in std::mem::take(&mut self.servers) {
            let abort = server.abort_handle();
            if tokio::time::timeout(STOP_WITHIN, server).await.is_err() {
                abort.abort();
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listen(address: IpAddr, port: u16, offset: usize) -> Result<(TcpListener, String)> {
    let port = match (port, u16::try_from(offset).ok().and_then(|offset| port.checked_add(offset))) {
        (0, _) => 0,
        (_, Some(port)) => port,
        (_, None) => return Err(Error::new(Kind::Command, "there is no port that high").hint("choose a lower --port")),
    };
    let wanted = SocketAddr::new(address, port);
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        Error::new(Kind::Io, format!("the sandbox cannot listen on {wanted}"))
            .hint("another program uses this port: choose another with --port, or 0 for any free one")
            .because(error)
    })?;
    let port = listener.local_addr()?.port();
    // Whoever listens on every address is still reached by this machine's own.
    let host = if address.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address };
    Ok((listener, format!("http://{}", SocketAddr::new(host, port))))
}
