//! A folder with a private server of its own, for tests that stop, kill and damage it.

use super::postgres::{self, prepare_home};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use wharf::store::DatabaseLocation;
use wharf::store::private::PrivateServer;

/// A private server's home; stopped and removed with the value.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// An empty home: the first command makes the database.
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("wharf-home-").tempdir().unwrap();
        prepare_home(folder.path());
        std::fs::remove_file(folder.path().join("postgres/local.conf")).unwrap();
        Self { folder }
    }

    /// A home with a database, whose server is not running. Making one takes seconds, so it is made once and copied.
    pub async fn made() -> Self {
        static SEED: OnceCell<PathBuf> = OnceCell::const_new();
        let seed = SEED
            .get_or_init(|| async {
                let seed = postgres::folder().join("seed");
                std::fs::create_dir(&seed).unwrap();
                prepare_home(&seed);
                PrivateServer::join(&seed).await.unwrap().leave().await;
                seed
            })
            .await;
        let home = Self::empty();
        let source = seed.join("postgres/.");
        let copied = Command::new("cp").arg("-a").arg(source).arg(home.path().join("postgres")).status().unwrap();
        assert!(copied.success());
        home
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn postgres(&self) -> PathBuf {
        self.path().join("postgres")
    }

    pub fn location(&self) -> DatabaseLocation {
        DatabaseLocation::Private(self.path().to_owned())
    }

    /// Adds to the server's settings.
    pub fn set(&self, line: &str) {
        use std::io::Write;
        let path = self.postgres().join("local.conf");
        let mut conf = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(conf, "{line}").unwrap();
    }

    /// The user and group that own the data folder.
    pub fn owner(&self) -> (u32, u32) {
        let metadata = std::fs::metadata(self.postgres().join("data")).unwrap();
        (metadata.uid(), metadata.gid())
    }

    /// Process of the server, as its file says.
    pub fn postmaster(&self) -> i32 {
        let text = std::fs::read_to_string(self.postgres().join("data/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    pub fn is_running(&self) -> bool {
        self.postgres().join("data/postmaster.pid").exists()
    }

    /// `wharf` with this home.
    pub fn wharf(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(arguments).env("WHARF_HOME", self.path()).env_remove("DATABASE_URL").stdin(Stdio::null());
        command
    }

    /// Runs `wharf` and expects it to succeed; its standard output.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `wharf`.
    pub async fn output(&self, arguments: &[&str]) -> Output {
        let mut command = self.wharf(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// What `wharf db psql` answers to a statement.
    pub async fn sql(&self, statement: &str) -> String {
        self.run(&["db", "psql", "--", "-XAtc", statement]).await.trim_end().to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A test that failed may have left a server behind.
        let _ = self.wharf(&["db", "stop"]).output();
    }
}

/// Sends SIGKILL.
pub fn kill_9(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}
