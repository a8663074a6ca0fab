//! Serves the platforms of a sandbox, each on a port of its own, and stops them. May be used in process (tests, the demo)
//! or by `wharf sandbox`.

use super::Platform;
use super::control::Control;
use super::faults::{Fault, FaultReport, Faults, Gate, pass};
use super::line::{Line, LineListener};
use super::requests::Requests;
use super::salesmanago::{self, SalesManago};
use super::woocommerce::{self, WooCommerce};
use crate::{Error, Kind, Result};
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
    /// The emulated shop; none leaves it out.
    pub woocommerce: Option<woocommerce::Options>,
    /// The emulated marketing platform; none leaves it out.
    pub salesmanago: Option<salesmanago::Options>,
}

impl Default for SandboxOptions {
    /// Nothing served, on free ports of 127.0.0.1.
    fn default() -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 0, woocommerce: None, salesmanago: None }
    }
}

/// A running sandbox. Dropping it stops it, too, without waiting for calls in hand.
pub struct Sandbox {
    platforms: Arc<Vec<Arc<dyn Platform>>>,
    urls: Vec<(&'static str, String)>,
    woocommerce: Option<Arc<WooCommerce>>,
    salesmanago: Option<Arc<SalesManago>>,
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
        let mut urls = Vec::new();

        let mut woocommerce = None;
        if let Some(shop_options) = options.woocommerce {
            let (listener, url) = listen(options.address, options.port, listeners.len()).await?;
            let home = url.clone();
            let shop = tokio::task::spawn_blocking(move || WooCommerce::open(shop_options, home))
                .await
                .map_err(|error| Error::new(Kind::Internal, "opening the shop failed").because(error))??;
            let shop = Arc::new(shop);
            listeners.push(listener);
            urls.push((shop.name(), url));
            platforms.push(Arc::clone(&shop) as Arc<dyn Platform>);
            woocommerce = Some(shop);
        }
        let mut salesmanago = None;
        if let Some(account_options) = options.salesmanago {
            let (listener, url) = listen(options.address, options.port, listeners.len()).await?;
            let account = Arc::new(SalesManago::open(account_options)?);
            listeners.push(listener);
            urls.push((account.name(), url));
            platforms.push(Arc::clone(&account) as Arc<dyn Platform>);
            salesmanago = Some(account);
        }

        let platforms = Arc::new(platforms);
        let faults = Arc::new(Faults::default());
        let requests = Arc::new(Requests::default());
        let stop = CancellationToken::new();
        let mut servers = Vec::new();
        for (listener, platform) in listeners.into_iter().zip(platforms.iter()) {
            let gate = Gate { platform: platform.name(), faults: Arc::clone(&faults), requests: Arc::clone(&requests) };
            let control = Control {
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
        Ok(Self { platforms, urls, woocommerce, salesmanago, faults, requests, stop, servers })
    }

    /// The address of a platform, without a final slash, if it is served.
    pub fn url(&self, platform: &str) -> Option<&str> {
        self.urls.iter().find(|(name, _)| *name == platform).map(|(_, url)| url.as_str())
    }

    /// Every platform served, with its address.
    pub fn platforms(&self) -> impl Iterator<Item = (&Arc<dyn Platform>, &str)> {
        self.platforms.iter().zip(self.urls.iter().map(|(_, url)| url.as_str()))
    }

    /// The shop's address, sub-folder included: what `base_url` takes. Empty where no shop is served.
    pub fn woocommerce_url(&self) -> String {
        self.woocommerce.as_ref().map(|shop| shop.home().to_owned()).unwrap_or_default()
    }

    /// The marketing platform's address. Empty where it is not served.
    pub fn salesmanago_url(&self) -> String {
        self.url("salesmanago").unwrap_or_default().to_owned()
    }

    /// The emulated shop, if one is served.
    pub fn woocommerce(&self) -> Option<&Arc<WooCommerce>> {
        self.woocommerce.as_ref()
    }

    /// The emulated marketing platform, if it is served.
    pub fn salesmanago(&self) -> Option<&Arc<SalesManago>> {
        self.salesmanago.as_ref()
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
