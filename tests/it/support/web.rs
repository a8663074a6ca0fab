//! Web servers on loopback that misbehave as told.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use url::Url;
use wharf::http::{ClientOptions, RetryPolicy};

/// What was asked of a server, in order.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<Vec<Seen>>>);

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub uri: String,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Asked {
    pub fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A server that answers each request by `answer`, given how many came before it.
pub async fn server<F, A>(answer: F) -> (Url, Asked)
where
    F: Fn(usize, Seen) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send,
{
    let asked = Asked::default();
    let seen = asked.clone();
    let app = Router::new().fallback(move |request: Request| {
        let (answer, seen) = (answer.clone(), seen.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
            let request = Seen { uri: head.uri.to_string(), headers: head.headers, body };
            let before = {
                let mut all = seen.0.lock().unwrap();
                all.push(request.clone());
                all.len() - 1
            };
            answer(before, request).await
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = address("http", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

/// A server that gives these statuses and bodies in order, the last one for ever.
pub async fn scripted(answers: &[(u16, &str)]) -> (Url, Asked) {
    let answers: Arc<[(u16, String)]> = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    server(move |before, _| {
        let (status, body) = answers[before.min(answers.len() - 1)].clone();
        async move { respond(status, &[], body) }
    })
    .await
}

/// An answer; JSON unless the headers say otherwise.
pub fn respond(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(status);
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        builder = builder.header("content-type", "application/json");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

/// A server below HTTP: each connection's request is read, then these bytes are written and the connection is closed;
/// the last ones for ever. `None`: the connection is kept open and nothing is written.
pub async fn raw(answers: Vec<Option<Vec<u8>>>) -> (Url, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = address("http", listener.local_addr().unwrap());
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let before = {
                let mut count = counted.lock().unwrap();
                *count += 1;
                *count - 1
            };
            let answer = answers[before.min(answers.len() - 1)].clone();
            tokio::spawn(converse(stream, answer));
        }
    });
    (url, count)
}

/// A TLS server with a certificate for 127.0.0.1, and the PEM of the authority that signed it.
pub async fn tls(answer: &str) -> (Url, String, Asked) {
    wharf::http::install_crypto_provider();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = address("https", listener.local_addr().unwrap());
    let asked = Asked::default();
    let seen = asked.clone();
    let answer = http_answer(answer);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, answer, seen) = (acceptor.clone(), answer.clone(), seen.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let head = converse(stream, Some(answer)).await;
                seen.0.lock().unwrap().push(parsed(&head));
            });
        }
    });
    (url, authority.pem(), asked)
}

/// A whole HTTP answer with a JSON body.
pub fn http_answer(body: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    format!("{head}connection: close\r\n\r\n{body}").into_bytes()
}

/// An HTTP answer that promises `promised` bytes and ends after `body`.
pub fn cut_answer(promised: usize, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {promised}\r\n\r\n{body}")
        .into_bytes()
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Option<Vec<u8>>) -> String {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(read) => head.extend_from_slice(&piece[..read]),
        }
    }
    match answer {
        Some(answer) => {
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
        None => std::future::pending().await,
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn parsed(head: &str) -> Seen {
    let mut lines = head.lines();
    let uri = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let mut headers = axum::http::HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.insert(axum::http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    Seen { uri, headers, body: Vec::new() }
}

fn address(scheme: &str, address: SocketAddr) -> Url {
    Url::parse(&format!("{scheme}://{address}/")).unwrap()
}

/// Options with retries that take no time.
pub fn hasty(base_url: &Url) -> ClientOptions {
    let retry = RetryPolicy { base: std::time::Duration::from_millis(1), ..RetryPolicy::default() };
    ClientOptions { retry, ..ClientOptions::new(base_url.clone()) }
}
