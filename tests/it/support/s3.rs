//! An S3 server on loopback: the protocol with its signatures, over a temporary folder. A test can hold a request and
//! kill the program that made it.

use axum::Router;
use axum::error_handling::HandleError;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::{Mutex, Notify};

const KEY: &str = "WHARFTESTKEY";
const SECRET: &str = "not-so-secret";
const BUCKET: &str = "bucket";

/// What a held request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// For a part of an upload to be taken.
    UploadPart,
    /// For an upload to be put together.
    CompleteUpload,
    /// For an object to be copied.
    Copy,
    /// For an object to be deleted.
    Delete,
}

impl Asks {
    fn is_it(self, request: &Request) -> bool {
        let query = request.uri().query().unwrap_or_default();
        let is_copy = request.headers().contains_key("x-amz-copy-source");
        match self {
            Self::UploadPart => request.method() == Method::PUT && query.contains("uploadId="),
            Self::CompleteUpload => request.method() == Method::POST && query.contains("uploadId="),
            Self::Copy => request.method() == Method::PUT && is_copy,
            Self::Delete => {
                request.method() == Method::DELETE || request.method() == Method::POST && query.contains("delete")
            }
        }
    }
}

#[derive(Default)]
struct Gate {
    /// What is held, and from which such request on, counted from 1.
    held: Mutex<Option<(Asks, usize)>>,
    met: AtomicUsize,
    is_reached: Notify,
}

/// The server; it ends with the value.
pub struct S3 {
    address: SocketAddr,
    folder: TempDir,
    gate: Arc<Gate>,
    server: tokio::task::JoinHandle<()>,
}

impl S3 {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service =
            HandleError::new(service.build(), |_: s3s::HttpError| async { StatusCode::INTERNAL_SERVER_ERROR });
        let gate = Arc::new(Gate::default());
        let router =
            Router::new().fallback_service(service).layer(middleware::from_fn_with_state(Arc::clone(&gate), hold));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, folder, gate, server }
    }

    /// The archive's place.
    pub fn place(&self) -> String {
        format!("s3://{BUCKET}/some/archive")
    }

    /// The place as a folder of this machine.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join(BUCKET).join("some/archive")
    }

    /// Lets a program know where the server is, and who it is.
    pub fn introduce(&self, command: &mut Command) {
        command
            .env("AWS_ENDPOINT", format!("http://{}", self.address))
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET);
    }

    /// Holds the nth request of a kind from now on, and all that follow.
    pub async fn hold(&self, asks: Asks, nth: usize) {
        self.gate.met.store(0, Ordering::SeqCst);
        *self.gate.held.lock().await = Some((asks, nth));
    }

    /// Waits until a request is held.
    pub async fn is_reached(&self) {
        self.gate.is_reached.notified().await;
    }

    /// Holds nothing any more.
    pub async fn let_go(&self) {
        *self.gate.held.lock().await = None;
    }

    /// The objects below the place, by their names there.
    pub fn objects(&self) -> Vec<String> {
        let mut objects = Vec::new();
        collect(&self.folder(), "", &mut objects);
        objects.sort();
        objects
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn hold(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let held = *gate.held.lock().await;
    if let Some((asks, nth)) = held
        && asks.is_it(&request)
        && gate.met.fetch_add(1, Ordering::SeqCst) + 1 >= nth
    {
        gate.is_reached.notify_one();
        return std::future::pending().await;
    }
    next.run(request).await
}

fn collect(folder: &Path, prefix: &str, objects: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => collect(&entry.path(), &format!("{name}/"), objects),
            false => objects.push(name),
        }
    }
}
