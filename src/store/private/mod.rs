//! A PostgreSQL of Wharf's own: made, started, joined and stopped as needed, as root or not, without sudo.
//!
//! Every process that uses the server holds a shared lock on `users.lock` for its life; the system frees it however the
//! process ends. Starting and stopping happen under `start.lock`. Who leaves tries to make its lock exclusive: if that
//! works nobody else is there, and the server is stopped, unless `wharf db start` asked to keep it. A process that was
//! killed cannot stop the server; the next one joins it and stops it in its stead.
//!
//! The obvious ways fail: counting users in a file (a killed process never counts down), and stopping the server as soon
//! as its starter ends (a second process may be using it).

mod files;
mod layout;
mod postmaster;
mod programs;
mod settings;
mod user;

pub use programs::{BINDIR_VARIABLE, Programs};

use super::address::{socket_url, tcp_url};
use super::waiting::Wait;
use crate::{Error, Kind, Result};
use layout::{Layout, cannot};
use postmaster::PidFile;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Name of the database.
pub const DATABASE: &str = "wharf";

/// Name of the role that Wharf works as: it owns the database, and has no rights on the server beyond that.
pub const ROLE: &str = "wharf";

/// Name of the superuser, whom nothing but making roles and the database is done as. It has no password, so it cannot be
/// reached but through the socket, which is the server user's and this user's alone.
pub const ADMIN: &str = "postgres";

/// Name of the role for people and BI tools: it reads every table and writes none.
pub const READER: &str = "wharf_reader";

/// How long another process may be starting or stopping the server, which has its own bounds for that.
const OTHERS: Duration = Duration::from_secs(1200);

/// Part of the socket's name; no port is opened.
const PORT: u16 = 5432;

/// The folder of the private server: `$WHARF_HOME`, else the user's data folder, else (as root) `/var/lib/wharf`.
///
/// # Errors
/// [`Kind::PrivatePostgres`] if neither `WHARF_HOME` nor `HOME` is set.
pub fn home() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = variable("WHARF_HOME") {
        return Ok(home);
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/wharf"));
    }
    // The XDG rules: a relative path is to be ignored.
    variable("XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("wharf"))
        .ok_or_else(|| {
            Error::new(Kind::PrivatePostgres, "there is no folder for the private PostgreSQL: HOME is not set")
                .hint("set WHARF_HOME, or DATABASE_URL to use a server of your own")
        })
}

/// The running server, used by this process.
#[derive(Debug)]
pub struct PrivateServer {
    layout: Layout,
    /// The shared lock; `None` once left.
    users: Option<File>,
    socket_folder: String,
    port: u16,
    listens: bool,
}

/// What there is of a private server, without starting it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Status {
    /// `$WHARF_HOME`.
    pub home: PathBuf,
    /// Whether a database has been made.
    pub exists: bool,
    /// Major version that made it.
    pub version: Option<u32>,
    /// Whether the server runs.
    pub running: bool,
    /// Whether it goes on without users.
    pub kept: bool,
    /// Whether another process uses it.
    pub used: bool,
    /// Where it listens besides its socket.
    pub listen: Option<String>,
    /// Its log.
    pub log: PathBuf,
}

impl PrivateServer {
    /// Joins the server of `home`, after making and starting it where needed.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`] with what to do.
    pub async fn join(home: &Path) -> Result<Self> {
        let home = home.to_owned();
        blocking(move || join(&home)).await
    }

    /// Connection string for this process.
    pub fn url(&self) -> String {
        socket_url(ROLE, DATABASE, &self.socket_folder, self.port)
    }

    /// Connection string of the superuser, to the database that every server has.
    pub fn admin_url(&self) -> String {
        socket_url(ADMIN, "postgres", &self.socket_folder, self.port)
    }

    /// Connection string of a role for psql and BI tools: over TCP, with the password, where that was asked for.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`] if the password's file cannot be read.
    pub fn public_url(&self, role: &str) -> Result<String> {
        match listen_address(&self.layout)? {
            Some(address) if self.listens => {
                let password = self.layout.open()?.read(&password_file(role))?;
                let path = self.layout.folder().join(password_file(role));
                let password = password.ok_or_else(|| cannot("read", &path, std::io::ErrorKind::NotFound.into()))?;
                Ok(tcp_url(role, password.trim(), &address.ip().to_string(), address.port(), DATABASE))
            }
            _ => Ok(socket_url(role, DATABASE, &self.socket_folder, self.port)),
        }
    }

    /// Whether the server listens on TCP too.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// Folder of the programs beside the running server, for psql.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`] if they are gone.
    pub fn programs(&self) -> Result<Programs> {
        Programs::find(self.layout.data_version()?, None)
    }

    /// Lets the server go on without users, until [`stop_keeping`].
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`].
    pub fn keep(&self) -> Result<()> {
        self.layout.open()?.replace("keep", "wharf db stop removes this\n", None)
    }

    /// Whether the server goes on without users.
    pub fn is_kept(&self) -> bool {
        self.layout.keep().exists()
    }

    /// Leaves the server, and stops it if nobody else uses it and it is not to be kept. A failure to stop is told, not
    /// returned: the work was done before.
    pub async fn leave(mut self) {
        let result = blocking(move || self.leave_now()).await;
        if let Err(error) = result {
            tracing::warn!("{error}");
        }
    }

    fn leave_now(&mut self) -> Result<()> {
        match self.users.take() {
            Some(users) => leave(&self.layout, users),
            None => Ok(()),
        }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        if let Err(error) = self.leave_now() {
            tracing::warn!("{error}");
        }
    }
}

/// What there is in `home`, without starting anything.
///
/// # Errors
/// [`Kind::PrivatePostgres`].
pub async fn status(home: &Path) -> Result<Status> {
    let home = home.to_owned();
    blocking(move || {
        let home = real(&home);
        let layout = Layout::of(&home)?;
        let exists = layout.data().exists();
        let used = exists && {
            let users = layout.lock_file("users.lock")?;
            matches!(users.try_lock(), Err(TryLockError::WouldBlock))
        };
        Ok(Status {
            exists,
            version: layout.data_version()?,
            running: postmaster::running(&layout).is_some(),
            kept: layout.keep().exists(),
            used,
            listen: if exists { listen_address(&layout)?.map(|address| address.to_string()) } else { None },
            log: layout.log(),
            home,
        })
    })
    .await
}

/// Ends the keeping of the server of `home`: it stops now, or when the last process that uses it ends. Tells whether it
/// still runs.
///
/// # Errors
/// [`Kind::PrivatePostgres`].
pub async fn stop_keeping(home: &Path) -> Result<bool> {
    let home = home.to_owned();
    blocking(move || {
        let layout = Layout::of(&real(&home))?;
        if !layout.folder().exists() {
            return Ok(false);
        }
        layout.open()?.remove("keep")?;
        leave(&layout, layout.lock_file("users.lock")?)?;
        Ok(postmaster::running(&layout).is_some())
    })
    .await
}

/// Sets where the server of `home` listens besides its socket; takes effect when it is next started. `None` for nowhere.
///
/// # Errors
/// [`Kind::Command`] for an address that others can reach: the connection would not be encrypted.
pub async fn set_listen(home: &Path, address: Option<SocketAddr>) -> Result<()> {
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        return Err(Error::new(Kind::Command, "the private server listens on this machine only")
            .hint("use 127.0.0.1:PORT, with an SSH tunnel for others; or set up a server of your own with TLS"));
    }
    let home = home.to_owned();
    blocking(move || {
        std::fs::create_dir_all(&home).map_err(|error| cannot("create", &home, error))?;
        let home = real(&home);
        let layout = Layout::of(&home)?;
        layout.prepare()?;
        let folder = layout.open()?;
        let Some(address) = address else {
            return folder.remove("listen");
        };
        folder.replace("listen", &format!("{address}\n"), None)?;
        for role in [ROLE, READER] {
            let name = password_file(role);
            if folder.read(&name)?.is_none() {
                folder.replace(&name, &uuid::Uuid::new_v4().simple().to_string(), None)?;
            }
        }
        Ok(())
    })
    .await
}

/// The file in the server's folder that holds a role's password.
fn password_file(role: &str) -> String {
    format!("password.{role}")
}

/// The password of a role for clients on TCP, if listening was asked for.
///
/// # Errors
/// [`Kind::PrivatePostgres`].
pub fn password(home: &Path, role: &str) -> Result<Option<String>> {
    let layout = Layout::of(&real(home))?;
    if !layout.folder().exists() {
        return Ok(None);
    }
    Ok(layout.open()?.read(&password_file(role))?.map(|password| password.trim().to_owned()))
}

async fn blocking<T: Send + 'static>(action: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(action)
        .await
        .map_err(|error| Error::new(Kind::Internal, "a task of the private PostgreSQL broke off").because(error))?
}

/// The path without links, so that every process gets the same locks and the same socket.
fn real(home: &Path) -> PathBuf {
    std::fs::canonicalize(home).or_else(|_| std::path::absolute(home)).unwrap_or_else(|_| home.to_owned())
}

fn listen_address(layout: &Layout) -> Result<Option<SocketAddr>> {
    let Some(text) = layout.open()?.read("listen")? else {
        return Ok(None);
    };
    text.trim().parse().map(Some).map_err(|_| {
        Error::new(Kind::PrivatePostgres, format!("{} holds no address", layout.listen().display()))
            .hint("write `wharf db start --listen 127.0.0.1:PORT`, or remove the file")
    })
}

fn join(home: &Path) -> Result<PrivateServer> {
    std::fs::create_dir_all(home)
        .map_err(|error| cannot("create", home, error).hint("set WHARF_HOME to a folder that you may write to"))?;
    let layout = Layout::of(&real(home))?;
    layout.prepare()?;
    let _starting = start_lock(&layout)?;
    let users = layout.lock_file("users.lock")?;
    // The exclusive lock is only ever taken under the start lock, so this does not wait.
    users.lock_shared().map_err(|error| cannot("lock", &layout.folder(), error))?;
    let file = match postmaster::wait_ready(&layout)? {
        Some(file) => file,
        None => start(&layout)?,
    };
    Ok(PrivateServer {
        layout,
        users: Some(users),
        socket_folder: file.socket_folder,
        port: file.port,
        listens: file.listens,
    })
}

/// Waits for another process that starts or stops the server, telling the user if that takes longer.
fn start_lock(layout: &Layout) -> Result<File> {
    let file = layout.lock_file("start.lock")?;
    let mut wait = Wait::new(OTHERS);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                wait.pause(|| "another wharf is starting or stopping PostgreSQL".into())?
            }
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &layout.folder(), error)),
        }
    }
}

fn start(layout: &Layout) -> Result<PidFile> {
    let programs = Programs::find(layout.data_version()?, layout.user())?;
    if !layout.data().exists() {
        initialise(layout, &programs)?;
    }
    let listen = listen_address(layout)?;
    let port = listen.map_or(PORT, |address| address.port());
    let socket_folder = layout.socket_folder(port)?;
    postmaster::clear_remains(layout, &socket_folder)?;
    let machine = settings::Machine::look(programs.major, has_lz4(layout, &programs));
    let host = listen.filter(is_free).map(|address| address.ip().to_string());
    settings::write(layout, &settings::postgresql_conf(layout, &socket_folder, port, host.as_deref(), &machine))?;
    tracing::debug!("starting PostgreSQL {} in {}", programs.major, layout.data().display());
    postmaster::start(layout, &programs)
}

/// A port that another program has taken meanwhile must not keep the server from starting.
fn is_free(address: &SocketAddr) -> bool {
    let attempt = std::net::TcpListener::bind(address);
    if let Err(error) = &attempt {
        tracing::warn!("the private server does not listen on {address}: {error}");
    }
    attempt.is_ok()
}

/// Leaves the server; `users` is the lock of the one who leaves.
fn leave(layout: &Layout, users: File) -> Result<()> {
    let _stopping = start_lock(layout)?;
    users.unlock().map_err(|error| cannot("unlock", &layout.folder(), error))?;
    match users.try_lock() {
        Ok(()) if !layout.keep().exists() => postmaster::stop(layout),
        _ => Ok(()),
    }
}

/// Makes the database under another name first, so that a making cut short leaves nothing that looks whole.
fn initialise(layout: &Layout, programs: &Programs) -> Result<()> {
    tracing::info!("making a private database in {}", layout.data().display());
    let partial = layout.folder().join("data.partial");
    let mut complaints = String::new();
    for locale in locales(programs.major) {
        match std::fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot("remove", &partial, error));
            }
            _ => {}
        }
        layout.make_private(&partial)?;
        let path = programs.path("initdb");
        let output = postmaster::server_command(layout, &path)
            .args([
                "--username",
                ADMIN,
                "--encoding",
                "UTF8",
                "--auth",
                "trust",
                "--data-checksums",
                "--no-instructions",
            ])
            .args(locale)
            .arg("--pgdata")
            .arg(&partial)
            .output()
            .map_err(|error| cannot("run", &path, error).hint(postmaster::CANNOT_DROP))?;
        if output.status.success() {
            let data = layout.data();
            return std::fs::rename(&partial, &data).map_err(|error| cannot("rename", &partial, error));
        }
        complaints = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // Only a locale that is missing here is worth another try.
        if !complaints.contains("locale") && !complaints.contains("ICU") {
            break;
        }
    }
    Err(Error::new(Kind::PrivatePostgres, format!("initdb could not make a database: {complaints}")))
}

/// Locales whose `lower()` handles all letters, the most reproducible first. They order by code point where they can: keys
/// are then compared byte by byte.
fn locales(major: u32) -> Vec<Vec<&'static str>> {
    let mut locales = Vec::new();
    if major >= 17 {
        locales.push(vec!["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
    }
    locales.push(vec!["--locale=C.UTF-8", "--lc-collate=C"]);
    if major >= 15 {
        locales.push(vec!["--locale=C", "--locale-provider=icu", "--icu-locale=und"]);
    }
    locales.push(vec!["--locale=en_US.UTF-8"]);
    locales
}

/// Whether the server was built with lz4: it refuses the setting where not.
fn has_lz4(layout: &Layout, programs: &Programs) -> bool {
    postmaster::server_command(layout, &programs.path("postgres"))
        .args(["-C", "default_toast_compression", "-c", "default_toast_compression=lz4", "-D"])
        .arg(layout.data())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
