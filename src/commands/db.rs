//! `wharf db`: the database for analysts and BI tools: start, stop, status, connection string, psql; and who is behind the
//! names in it.

use super::{Global, tenant};
use crate::error::Exit;
use crate::stage::tenant::Role;
use crate::store::private::{self, PrivateServer, Status};
use crate::store::{Database, DatabaseLocation, address};
use crate::{Error, Kind, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const EXAMPLES: &str = "\
Examples:
  wharf db psql                               a psql session in the database
  wharf db psql -- -c 'table ops.runs'        one statement
  psql \"$(wharf db url)\"                      the same with a psql of your own
  wharf db start --listen 127.0.0.1:5433      for BI tools that cannot use a Unix socket; wharf db url has the password
  wharf db account my-crm --is-new            another account stands behind the name now (--has-moved: the same one)
  wharf db url --read-only                    for analysts: a role that reads every table and writes none
  wharf db grant anna                         the same for a role of your own
  wharf db stop                               the private server stops when nobody uses it any more

The tables: staging (raw records), canonical (contacts, orders, …), marts (RFM), delivery (what was sent), ops (runs).";

/// Look into the database: psql, connection string, private server
///
/// Without DATABASE_URL, Wharf keeps its data in a private PostgreSQL below WHARF_HOME, which runs only while a wharf
/// command does. `wharf db start` and `wharf db url` keep it running for other programs until `wharf db stop`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Start the private server and keep it running until `wharf db stop`
    Start {
        /// Listen on this address too, with a password, for programs that cannot use a Unix socket
        #[arg(long, value_name = "127.0.0.1:PORT")]
        listen: Option<SocketAddr>,
        /// Listen on the Unix socket alone again
        #[arg(long, conflicts_with = "listen")]
        no_listen: bool,
    },
    /// Stop the private server, or let it stop when the last command that uses it ends
    Stop,
    /// Say where the database is, whether it runs, how large it is
    Status,
    /// Print the connection string for psql and BI tools, and keep the private server running for them
    Url {
        /// Of a role that reads every table and writes none (private server; else make one and use `wharf db grant`)
        #[arg(long)]
        read_only: bool,
    },
    /// Let a role of the server read every table, those that come later included, and write none
    Grant {
        /// The role; make it first: create role NAME login password '…'
        role: String,
        /// Take the right back
        #[arg(long)]
        revoke: bool,
        /// Only what is canonical: contacts, orders, products, tags and marts
        #[arg(long, conflicts_with = "revoke")]
        canonical: bool,
    },
    /// Who is behind a target account's name, and what to do when it is another account than before
    Account(tenant::Args),
    /// Who is behind a connection's name, and what to do when it is another shop than before
    Connection(tenant::Args),
    /// Open a psql session; what follows `--` goes to psql
    Psql {
        /// As a role that reads every table and writes none
        #[arg(long)]
        read_only: bool,
        /// Arguments for psql
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

/// Does what the sub-command says.
///
/// # Errors
/// Those of the database; [`Kind::Command`] for `start` and `stop` on a server of the user's own.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let location = DatabaseLocation::from_options(global.database_url())?;
    match (args.action, &location) {
        (Action::Account(args), _) => tenant::run(global, Role::Account, args).await,
        (Action::Connection(args), _) => tenant::run(global, Role::Connection, args).await,
        (Action::Start { listen, no_listen }, DatabaseLocation::Private(home)) => {
            let listen = if no_listen { Some(None) } else { listen.map(Some) };
            start(global, home, listen).await
        }
        (Action::Stop, DatabaseLocation::Private(home)) => stop(global, home).await,
        (Action::Start { .. } | Action::Stop, DatabaseLocation::Url(_)) => Err(not_private()),
        (Action::Status, _) => status(global, &location).await,
        (Action::Url { read_only: false }, DatabaseLocation::Url(url)) => tell_url(global, url),
        (Action::Url { read_only: true }, DatabaseLocation::Url(_)) => Err(no_reader()),
        (Action::Url { read_only }, DatabaseLocation::Private(home)) => url(global, home, role(read_only)).await,
        (Action::Grant { role, revoke, canonical }, _) => grant(global, &location, &role, revoke, canonical).await,
        (Action::Psql { arguments, read_only }, _) => psql(global, &location, &arguments, read_only).await,
    }
}

fn not_private() -> Error {
    Error::new(Kind::Command, "the database is a server of your own, which wharf neither starts nor stops")
        .hint("unset DATABASE_URL to use the private one")
}

fn no_reader() -> Error {
    Error::new(Kind::Command, "on a server of your own, wharf makes no roles with passwords")
        .hint("create role NAME login password '…', then `wharf db grant NAME`, and connect as that role")
}

fn role(read_only: bool) -> &'static str {
    if read_only { private::READER } else { private::ROLE }
}

/// What a reader may read.
const SCHEMAS: &[&str] = &["staging", "canonical", "marts", "delivery", "ops"];
const CANONICAL_SCHEMAS: &[&str] = &["canonical", "marts"];

async fn grant(
    global: &Global,
    location: &DatabaseLocation,
    role: &str,
    revoke: bool,
    canonical: bool,
) -> Result<Exit> {
    let schemas = if canonical { CANONICAL_SCHEMAS } else { SCHEMAS };
    let db = Database::open(location).await?;
    let client = db.client().await?;
    if client.query_opt("select from pg_roles where rolname = $1", &[&role]).await?.is_none() {
        return Err(Error::new(Kind::Command, format!("the server has no role {role}"))
            .hint("make it first, in psql as a superuser: create role NAME login password '…'"));
    }
    let function = if revoke { "ops.stop_reading" } else { "ops.let_read" };
    client.execute(&format!("select {function}($1, $2)"), &[&role, &schemas]).await?;
    drop(client);
    db.close().await;
    global.printer.document(&serde_json::json!({ "role": role, "reads": if revoke { &[] } else { schemas } }))?;
    global.printer.line(match revoke {
        true => format!("{role} reads nothing of wharf's any more"),
        false => format!("{role} reads every table of the schemas {}", schemas.join(", ")),
    });
    Ok(Exit::Done)
}

/// `listen`: nothing to change, or nowhere, or an address.
async fn start(global: &Global, home: &Path, listen: Option<Option<SocketAddr>>) -> Result<Exit> {
    if let Some(address) = listen {
        change_listening(home, address).await?;
    }
    let db = kept(home).await?;
    if let Some(Some(address)) = listen
        && db.with_private(PrivateServer::listens) == Some(false)
    {
        db.close().await;
        return Err(Error::new(Kind::Command, format!("the private server cannot listen on {address}"))
            .hint("choose a free port; until then it runs on its Unix socket alone"));
    }
    if listen.flatten().is_some() {
        for role in [private::ROLE, private::READER] {
            let Some(password) = private::password(home, role)? else { continue };
            // Hexadecimal digits, made by us: nothing to be quoted.
            db.as_admin(&format!("alter role {role} password '{password}'")).await?;
        }
    }
    let url = public_url(&db, private::ROLE)?;
    db.close().await;
    global.printer.note("the private server runs until `wharf db stop`");
    tell_url(global, &url)
}

/// A new address takes effect at a start, so the server is stopped first, if nobody else uses it.
async fn change_listening(home: &Path, address: Option<SocketAddr>) -> Result<()> {
    let before = private::status(home).await?;
    let wanted = address.map(|address| address.to_string());
    if before.running && before.listen != wanted {
        if before.used {
            return Err(Error::new(
                Kind::LeaseHeld,
                "another wharf process uses the private server, which has to start anew",
            )
            .hint("let it finish, then run the command again"));
        }
        private::stop_keeping(home).await?;
    }
    private::set_listen(home, address).await
}

/// Opens the private database and keeps its server.
async fn kept(home: &Path) -> Result<Database> {
    let db = Database::open(&DatabaseLocation::Private(home.to_owned())).await?;
    db.with_private(PrivateServer::keep).transpose()?;
    Ok(db)
}

fn public_url(db: &Database, role: &str) -> Result<String> {
    db.with_private(|server| server.public_url(role)).unwrap_or_else(|| Ok(db.url()))
}

/// Lets the private server's reader see what has come since.
async fn let_read(db: &Database) -> Result<()> {
    db.client().await?.execute("select ops.let_read($1, $2)", &[&private::READER, &SCHEMAS]).await?;
    Ok(())
}

fn tell_url(global: &Global, url: &str) -> Result<Exit> {
    global.printer.document(&serde_json::json!({ "url": url }))?;
    global.printer.line(url);
    Ok(Exit::Done)
}

async fn url(global: &Global, home: &Path, role: &str) -> Result<Exit> {
    let db = kept(home).await?;
    if role == private::READER {
        let_read(&db).await?;
    }
    let url = public_url(&db, role)?;
    db.close().await;
    global.printer.note("the private server runs until `wharf db stop`");
    tell_url(global, &url)
}

async fn stop(global: &Global, home: &Path) -> Result<Exit> {
    let was_running = private::status(home).await?.running;
    let still_runs = private::stop_keeping(home).await?;
    global.printer.document(&serde_json::json!({ "running": still_runs }))?;
    global.printer.line(match (was_running, still_runs) {
        (_, true) => "another wharf process uses the private server; it stops when that ends",
        (true, false) => "the private server has stopped",
        (false, false) => "the private server was not running",
    });
    Ok(Exit::Done)
}

#[derive(serde::Serialize)]
struct Report {
    #[serde(flatten)]
    private: Option<Status>,
    #[serde(flatten)]
    contents: Option<Contents>,
}

#[derive(serde::Serialize)]
struct Contents {
    /// Without the password.
    address: String,
    server_version: String,
    bytes: i64,
    schema_version: Option<i32>,
    known_schema_version: i32,
}

/// A private server that does not run is left alone: its files say enough.
async fn status(global: &Global, location: &DatabaseLocation) -> Result<Exit> {
    let private = match location {
        DatabaseLocation::Private(home) => Some(private::status(home).await?),
        DatabaseLocation::Url(_) => None,
    };
    let is_asleep = private.as_ref().is_some_and(|status| !status.running);
    let contents = if is_asleep { None } else { Some(look_inside(location).await?) };
    if let Some(status) = &private {
        let state = match (status.exists, status.running, status.kept) {
            (false, ..) => "not made yet",
            (true, false, _) => "asleep; any command wakes it",
            (true, true, false) => "running while a wharf command does",
            (true, true, true) => "running until `wharf db stop`",
        };
        global.printer.line(format!("private server   {state}"));
        global.printer.line(format!("folder           {}", status.home.display()));
        global.printer.line(format!("log              {}", status.log.display()));
        if let Some(listen) = &status.listen {
            global.printer.line(format!("listens on       {listen}"));
        }
        if let (None, Some(version)) = (&contents, status.version) {
            global.printer.line(format!("made by          PostgreSQL {version}"));
        }
    }
    if let Some(contents) = &contents {
        global.printer.line(format!("address          {}", contents.address));
        global.printer.line(format!("server           PostgreSQL {}", contents.server_version));
        global.printer.line(format!("size             {} MB", contents.bytes / 1_000_000));
        let schema = contents.schema_version.map_or("none".to_owned(), |version| version.to_string());
        global.printer.line(format!("schema version   {schema} (this program: {})", contents.known_schema_version));
    }
    global.printer.document(&Report { private, contents })?;
    Ok(Exit::Done)
}

async fn look_inside(location: &DatabaseLocation) -> Result<Contents> {
    let db = Database::connect(location).await?;
    let client = db.client().await?;
    let row = client
        .query_one(
            "select current_setting('server_version'), pg_database_size(current_database()),
                to_regclass('public.wharf_migrations') is not null",
            &[],
        )
        .await?;
    let schema_version = if row.get(2) {
        client.query_one("select max(version) from public.wharf_migrations", &[]).await?.get(0)
    } else {
        None
    };
    let contents = Contents {
        address: db.shown().to_owned(),
        server_version: row.get(0),
        bytes: row.get(1),
        schema_version,
        known_schema_version: crate::store::migrate::known().last().map_or(0, |migration| migration.version()),
    };
    drop(client);
    db.close().await;
    Ok(contents)
}

static PSQL_HAS_THE_TERMINAL: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C is meant for psql.
pub(super) fn psql_has_the_terminal() -> bool {
    PSQL_HAS_THE_TERMINAL.load(Ordering::Relaxed)
}

/// psql runs as a child, not in our place: this process stands for it among the users of the private server.
async fn psql(global: &Global, location: &DatabaseLocation, arguments: &[String], read_only: bool) -> Result<Exit> {
    let db = match Database::open(location).await {
        // Looking does no harm.
        Err(error) if error.kind() == Kind::DatabaseNewer => {
            global.printer.warning(error);
            Database::connect(location).await?
        }
        other => other?,
    };
    let programs = db.with_private(PrivateServer::programs).transpose()?;
    let beside = programs.map(|programs| programs.path("psql")).filter(|path| path.exists());
    let program = beside.unwrap_or_else(|| PathBuf::from("psql"));
    // Arguments can be read by everybody on the machine, the environment cannot.
    let url = match (read_only, location) {
        (false, _) => db.url(),
        (true, DatabaseLocation::Url(_)) => return Err(no_reader()),
        (true, DatabaseLocation::Private(_)) => {
            let_read(&db).await?;
            public_url(&db, private::READER)?
        }
    };
    let (url, password) = address::without_password(&url)?;
    let mut command = tokio::process::Command::new(&program);
    command.arg(url).args(arguments);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    PSQL_HAS_THE_TERMINAL.store(true, Ordering::Relaxed);
    let status = psql_ends(global, command).await;
    PSQL_HAS_THE_TERMINAL.store(false, Ordering::Relaxed);
    db.close().await;
    let status = status.map_err(|error| {
        Error::new(Kind::Io, format!("cannot run {}: {error}", program.display()))
            .hint("install it (Debian and Ubuntu: apt-get install postgresql-client), or use `wharf db url` elsewhere")
            .because(error)
    })?;
    Ok(match status.success() {
        true => Exit::Done,
        false if global.stop.is_cancelled() => Exit::Stopped,
        false => Exit::Failure,
    })
}

/// Runs psql; SIGTERM is passed on to it.
async fn psql_ends(global: &Global, mut command: tokio::process::Command) -> std::io::Result<std::process::ExitStatus> {
    let mut psql = command.spawn()?;
    tokio::select! {
        status = psql.wait() => return status,
        () = global.stop.cancelled() => {}
    }
    if let Some(pid) = psql.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)) {
        // It may have ended this moment.
        let _ = kill_process(pid, Signal::TERM);
    }
    psql.wait().await
}
