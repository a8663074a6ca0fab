//! The PostgreSQL that everything is measured on, and a place for files. The server is Wharf's private one, in a folder of
//! its own, durable as always; or the one of DATABASE_URL, a superuser's.

use crate::Options;
use crate::program::{self, Ran};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};

/// Where everything is measured.
pub struct World {
    folder: TempDir,
    wharf: PathBuf,
    server: String,
    is_private: bool,
    next: AtomicU32,
}

impl World {
    /// Starts the server.
    pub async fn new(options: &Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("wharf-bench-").tempdir()?;
        // A server that runs as another user must be able to pass.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let wharf = options.wharf.canonicalize()?;
        let given = std::env::var("DATABASE_URL").ok();
        let is_private = given.is_none();
        let server = match given {
            Some(url) => url,
            None => {
                // By TCP, because not every peer can use a Unix socket; all sides use the same way.
                let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                let home = folder.path().join("home");
                let mut start = Command::new(&wharf);
                start.args(["db", "start", "--listen", &format!("127.0.0.1:{port}")]).env("WHARF_HOME", &home);
                program::run(start, &[0]).await?;
                let mut url = Command::new(&wharf);
                url.args(["db", "url"]).env("WHARF_HOME", &home);
                program::run(url, &[0]).await?.output.trim().to_owned()
            }
        };
        Ok(Self { folder, wharf, server, is_private, next: AtomicU32::new(1) })
    }

    /// A folder for files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An empty database; its connection string.
    pub async fn database(&self) -> Result<String> {
        let name = format!("bench_{}_{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed));
        connect(&self.server).await?.batch_execute(&format!("create database {name}")).await?;
        let mut url = url::Url::parse(&self.server).context("the database's address")?;
        url.set_path(&name);
        Ok(url.into())
    }

    /// A copy of a database that nobody is connected to.
    pub async fn copy(&self, database: &str) -> Result<String> {
        let template = url::Url::parse(database)?.path().trim_start_matches('/').to_owned();
        let name = format!("bench_{}_{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed));
        let client = connect(&self.server).await?;
        // A connection that was closed a moment ago may still be ending.
        while client
            .query_one("select count(*) from pg_stat_activity where datname = $1", &[&template])
            .await?
            .get::<_, i64>(0)
            > 0
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        client.batch_execute(&format!("create database {name} template {template}")).await?;
        let mut url = url::Url::parse(&self.server)?;
        url.set_path(&name);
        Ok(url.into())
    }

    /// Drops a database that is measured no more.
    pub async fn drop_database(&self, url: &str) -> Result<()> {
        let name = url::Url::parse(url)?.path().trim_start_matches('/').to_owned();
        connect(&self.server).await?.batch_execute(&format!("drop database {name} with (force)")).await?;
        Ok(())
    }

    /// The program with a database.
    pub fn wharf(&self, database: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.wharf);
        command.args(["--database-url", database]).args(arguments).env_remove("DATABASE_URL").env("NO_COLOR", "1");
        command
    }

    /// Runs the program with a database.
    pub async fn run(&self, database: &str, arguments: &[&str]) -> Result<Ran> {
        program::run(self.wharf(database, arguments), &[0, 3]).await
    }

    /// Stops the server and removes the files, unless they are to be kept.
    pub fn end(self, keep: bool) {
        if keep {
            println!("\nkept: {} with the server {}", self.folder.path().display(), self.server);
            let _ = self.folder.keep();
            return;
        }
        if self.is_private {
            let home = self.folder.path().join("home");
            let _ = std::process::Command::new(&self.wharf).args(["db", "stop"]).env("WHARF_HOME", home).status();
        }
    }
}

/// A connection.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
