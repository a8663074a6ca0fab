//! A socket between a program and its PostgreSQL that cuts every line when it is told to: after so many pieces of traffic,
//! so that the same story cuts at the same place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// No cut is due.
const NEVER: i64 = i64::MAX / 2;

/// A proxy for a server's Unix socket.
pub struct Cutter {
    folder: tempfile::TempDir,
    left: Arc<AtomicI64>,
    end: CancellationToken,
}

impl Cutter {
    /// Stands before the server whose sockets are in `sockets`.
    pub fn before(sockets: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("wharf-cut-").tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let left = Arc::new(AtomicI64::new(NEVER));
        let end = CancellationToken::new();
        let server: PathBuf = sockets.join(SOCKET);
        let (count, ended) = (left.clone(), end.clone());
        tokio::spawn(async move {
            while let Some(Ok((client, _))) = ended.run_until_cancelled(listener.accept()).await {
                // A server that is down is a line that ends at once.
                let Ok(server) = UnixStream::connect(&server).await else { continue };
                let (count, ended) = (count.clone(), ended.clone());
                tokio::spawn(async move { ended.run_until_cancelled(pass(client, server, count)).await });
            }
        });
        Self { folder, left, end }
    }

    /// The folder that stands for the server's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Cuts every line after so many more pieces from the program; new lines are let through again.
    pub fn cut_after(&self, pieces: u32) {
        self.left.store(i64::from(pieces), Ordering::Relaxed);
    }

    /// Cuts nothing any more.
    pub fn mend(&self) {
        self.left.store(NEVER, Ordering::Relaxed);
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

const SOCKET: &str = ".s.PGSQL.5432";
/// So many more pieces find the line cut, which is every line that is open: then new ones pass.
const LINES: i64 = 12;

async fn pass(mut client: UnixStream, mut server: UnixStream, left: Arc<AtomicI64>) {
    let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return };
                let now = left.fetch_sub(1, Ordering::Relaxed);
                if (-LINES..=0).contains(&now) {
                    // Half of what was said arrives.
                    let _ = server.write_all(&from_client[..count / 2]).await;
                    return;
                }
                if server.write_all(&from_client[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&from_server[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
