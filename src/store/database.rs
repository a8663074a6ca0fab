//! The database: opened once per command, shared by all its tasks, and closed at the end.
//!
//! [`Database::open`] connects (starting or joining the private server where no address is given), refuses servers that
//! cannot carry Wharf, and migrates. Work on rows uses [`Database::client`]; what belongs to one session (advisory locks,
//! long COPY streams) uses [`Database::dedicated`].

use super::address::Address;
use super::private::{self, PrivateServer};
use super::waiting::{PAUSE, Wait};
use super::{migrate, pooler};
use crate::error::{BACK, FULL};
use crate::{Error, Kind, Result};
use deadpool_postgres::{Connect, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Most pooled connections of one process.
const POOL_SIZE: usize = 16;

/// How long a server of one's own may be starting up, which includes its recovery after a crash.
const STARTING_UP: Duration = Duration::from_secs(600);

/// How often the private server is joined anew when it cannot be reached.
const PRIVATE_TRIES: u32 = 5;

/// What every session is set to.
const SESSION: &str = include_str!("../../sql/store/session.sql");

/// Which server.
#[derive(Clone)]
pub enum DatabaseLocation {
    /// A server of the user's own, by connection string. Never printed: it may hold a password.
    Url(String),
    /// Wharf's private server, by its folder (`$WHARF_HOME`).
    Private(PathBuf),
}

impl DatabaseLocation {
    /// The server that `--database-url` or `DATABASE_URL` names, itself or by a file (`file:/run/secrets/database-url`);
    /// without either, the private one in `$WHARF_HOME` or the user's data folder.
    ///
    /// # Errors
    /// [`Kind::Command`] if the file cannot be read; [`Kind::PrivatePostgres`] if no folder can be found for the private
    /// server.
    pub fn from_options(database_url: Option<String>) -> Result<Self> {
        match database_url.filter(|url| !url.trim().is_empty()) {
            Some(url) => match url.trim().strip_prefix("file:") {
                Some(path) => std::fs::read_to_string(path).map(|url| Self::Url(url.trim().to_owned())).map_err(|error| {
                    Error::new(Kind::Command, format!("the connection string cannot be read from {path}: {error}"))
                        .hint("DATABASE_URL=file:/PATH names a file that holds postgresql://USER:PASSWORD@HOST/NAME alone")
                }),
                None => Ok(Self::Url(url)),
            },
            None => private::home().map(Self::Private),
        }
    }
}

impl fmt::Debug for DatabaseLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => f.write_str("Url(…)"),
            Self::Private(home) => f.debug_tuple("Private").field(home).finish(),
        }
    }
}

/// An open database. Cheap to clone; the private server is left when the last clone is closed or dropped.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    connector: Connector,
    config: Config,
    url: SecretString,
    shown: String,
    server: Mutex<Option<PrivateServer>>,
}

impl Database {
    /// Connects, or starts or joins the private server; checks the server; migrates.
    ///
    /// # Errors
    /// [`Kind::Command`] for a wrong connection string, [`Kind::Credentials`] where the server refuses the role,
    /// [`Kind::DatabaseUnreachable`], [`Kind::DatabaseNewer`], [`Kind::PrivatePostgres`], [`Kind::Database`].
    pub async fn open(location: &DatabaseLocation) -> Result<Self> {
        let database = Self::connect(location).await?;
        database.migrate().await?;
        Ok(database)
    }

    /// Brings the schemas to the state this program knows.
    ///
    /// # Errors
    /// [`Kind::DatabaseNewer`], [`Kind::Database`].
    pub async fn migrate(&self) -> Result<()> {
        let mut client = self.dedicated().await?;
        migrate::migrate(&mut client).await
    }

    /// As [`Database::open`], without looking at the schemas: for `wharf db`.
    pub async fn connect(location: &DatabaseLocation) -> Result<Self> {
        let (url, server, address, connector, client) = match location {
            DatabaseLocation::Url(url) => {
                let (address, connector, client) = reach(url, false).await?;
                pooler::refuse(&client, &connector.connect_to(&address.config).await?.0, &address.shown).await?;
                (url.clone(), None, address, connector, client)
            }
            DatabaseLocation::Private(home) => {
                let mut tries = 0;
                loop {
                    let server = PrivateServer::join(home).await?;
                    let url = server.url();
                    match reach(&url, true).await {
                        Ok((address, connector, client)) => break (url, Some(server), address, connector, client),
                        // It was killed a moment ago and looked alive still.
                        Err(error) if error.kind() == Kind::DatabaseUnreachable && tries < PRIVATE_TRIES => tries += 1,
                        Err(error) => return Err(error),
                    }
                }
            }
        };
        check_server(&client).await?;
        let manager = Manager::from_connect(
            address.config.clone(),
            connector.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .create_timeout(Some(Duration::from_secs(60)))
            .wait_timeout(Some(Duration::from_secs(300)))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::new(Kind::Internal, "the connection pool cannot be built").because(error))?;
        tracing::debug!("connected to {}", address.shown);
        let inner = Inner {
            pool,
            connector,
            config: address.config,
            url: url.into(),
            shown: address.shown,
            server: Mutex::new(server),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A pooled connection. Leave no session state behind: `set local` instead of `set`, no session locks.
    ///
    /// # Errors
    /// [`Kind::DatabaseUnreachable`].
    pub async fn client(&self) -> Result<Object> {
        Ok(self.inner.pool.get().await?)
    }

    /// A connection of its own, closed when dropped: for session locks and long COPY streams.
    ///
    /// # Errors
    /// [`Kind::DatabaseUnreachable`].
    pub async fn dedicated(&self) -> Result<Client> {
        let (client, _) = self.inner.connector.connect_to(&self.inner.config).await?;
        Ok(client)
    }

    /// Runs a statement as the private server's superuser; nothing on a server of the user's own.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn as_admin(&self, statement: &str) -> Result<()> {
        let Some(url) = self.with_private(PrivateServer::admin_url) else { return Ok(()) };
        let (_, _, client) = reach(&url, false).await?;
        Ok(client.batch_execute(statement).await?)
    }

    /// A connection of its own that is told of notifications on `channel`.
    ///
    /// # Errors
    /// [`Kind::DatabaseUnreachable`].
    pub async fn listen(&self, channel: &str) -> Result<Listener> {
        let notified = Arc::new(Notify::new());
        let client = self.inner.connector.connect_listening(&self.inner.config, Arc::clone(&notified)).await?;
        client.batch_execute(&format!("listen \"{channel}\"")).await?;
        Ok(Listener { client, notified })
    }

    /// The connection string, password included: only for `wharf db url` and for starting psql.
    pub fn url(&self) -> String {
        self.inner.url.expose_secret().to_owned()
    }

    /// Where the database is, without the password.
    pub fn shown(&self) -> &str {
        &self.inner.shown
    }

    /// Does something with the private server; `None` if this is a server of the user's own.
    pub fn with_private<T>(&self, action: impl FnOnce(&PrivateServer) -> T) -> Option<T> {
        let server = self.inner.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().map(action)
    }

    /// Closes the connections and leaves the private server, which stops if nobody else uses it. Other clones of this
    /// database are of no use afterwards.
    pub async fn close(&self) {
        self.inner.pool.close();
        let server = self.inner.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.leave().await;
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.inner.shown).finish()
    }
}

/// A connection that is told of notifications. Several that come while nobody waits are one.
pub struct Listener {
    /// The connection, for statements of its own.
    pub client: Client,
    notified: Arc<Notify>,
}

impl Listener {
    /// Waits for a notification, or for `patience`: notifications are lost with the connection, and nothing may rely on
    /// them alone.
    pub async fn notified(&self, patience: Duration) {
        // Either is a reason to look.
        let _ = tokio::time::timeout(patience, self.notified.notified()).await;
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// Opens connections and sets their sessions up; used by the pool and for connections of their own.
#[derive(Clone)]
struct Connector {
    tls: MakeRustlsConnect,
}

impl Connector {
    async fn connect_to(&self, config: &Config) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, connection) = config.connect(self.tls.clone()).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to PostgreSQL ended: {error}");
            }
        });
        client.batch_execute(SESSION).await?;
        Ok((client, driver))
    }

    async fn connect_listening(&self, config: &Config, notified: Arc<Notify>) -> Result<Client, tokio_postgres::Error> {
        let (client, mut connection) = config.connect(self.tls.clone()).await?;
        tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(_)) => notified.notify_one(),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!("a connection to PostgreSQL ended: {error}");
                        break;
                    }
                }
            }
            // Whoever waits finds out at once that there is no connection any more.
            notified.notify_one();
        });
        client.batch_execute(SESSION).await?;
        Ok(client)
    }
}

impl Connect for Connector {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let config = config.clone();
        Box::pin(async move { self.connect_to(&config).await })
    }
}

async fn reach(url: &str, is_private: bool) -> Result<(Address, Connector, Client)> {
    let address = Address::parse(url)?;
    let connector = Connector { tls: address.ssl.connector()? };
    let client = first_connection(&connector, &address, is_private).await?;
    Ok((address, connector, client))
}

/// Connects for the first time: waits while the server starts up, creates the private server's database.
async fn first_connection(connector: &Connector, address: &Address, is_private: bool) -> Result<Client> {
    let mut wait = Wait::new(STARTING_UP);
    loop {
        let error = match connector.connect_to(&address.config).await {
            Ok((client, _)) => return Ok(client),
            Err(error) => error,
        };
        match error.code() {
            // The private one was waited for before; it went down this moment, and is to be joined anew.
            Some(&SqlState::CANNOT_CONNECT_NOW) if !is_private => {
                wait.go_on(|| format!("{}: {}", address.shown, message(&error)))?;
                tokio::time::sleep(PAUSE * 10).await;
            }
            // The role is looked for before the database.
            Some(&(SqlState::INVALID_CATALOG_NAME | SqlState::INVALID_AUTHORIZATION_SPECIFICATION)) if is_private => {
                create_database(connector, &address.config).await?
            }
            _ => return Err(explain(error, address)),
        }
    }
}

fn message(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned())
}

/// Makes the private server's roles and its database, as the superuser.
async fn create_database(connector: &Connector, config: &Config) -> Result<()> {
    let (owner, reader, name) = (private::ROLE, private::READER, private::DATABASE);
    let mut maintenance = config.clone();
    maintenance.user(private::ADMIN).dbname("postgres");
    let (client, _) = connector.connect_to(&maintenance).await?;
    for statement in [
        format!("create role {owner} login"),
        format!("create role {reader} login"),
        "create role wharf_fields nologin".to_owned(),
        format!("grant wharf_fields to {owner}"),
        format!("create database {name} owner {owner}"),
    ] {
        match client.batch_execute(&statement).await {
            // Another process was quicker; by a hair, and the index says so instead of the command.
            Err(error) if error.code().is_some_and(|code| MADE_BY_ANOTHER.contains(code)) => {}
            other => other?,
        }
    }
    Ok(())
}

const MADE_BY_ANOTHER: [SqlState; 4] = [
    SqlState::DUPLICATE_OBJECT,
    SqlState::DUPLICATE_DATABASE,
    SqlState::UNIQUE_VIOLATION,
    // Two grants at a time.
    SqlState::INTERNAL_ERROR,
];

/// Refuses what cannot carry Wharf.
async fn check_server(client: &Client) -> Result<()> {
    let row = client
        .query_one(
            "select current_setting('server_version_num')::int, current_setting('server_version'),
                getdatabaseencoding()::text, lower('Ą') = 'ą', pg_is_in_recovery()",
            &[],
        )
        .await?;
    let (number, version): (i32, String) = (row.get(0), row.get(1));
    let (encoding, lowers, is_standby): (String, bool, bool) = (row.get(2), row.get(3), row.get(4));
    if number < 140_000 {
        return Err(Error::new(Kind::Database, format!("the server is PostgreSQL {version}; wharf needs 14 or newer"))
            .hint("upgrade the server, or leave DATABASE_URL out and let wharf start its own"));
    }
    if encoding != "UTF8" {
        return Err(Error::new(Kind::Database, format!("the database's encoding is {encoding}; wharf needs UTF8"))
            .hint("create one: create database wharf encoding 'UTF8' template template0"));
    }
    if is_standby {
        return Err(Error::new(Kind::Database, "the server is a read-only standby").hint("name its primary"));
    }
    if !lowers {
        tracing::warn!("the database's locale lowers ASCII letters only; e-mails beyond ASCII may not be matched");
    }
    Ok(())
}

/// Says what a person can do about a connection that was refused.
fn explain(error: tokio_postgres::Error, address: &Address) -> Error {
    let place = &address.shown;
    if let Some(db) = error.as_db_error() {
        let detail = format!("{place}: {}", db.message());
        return match db.code() {
            &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                Error::new(Kind::Credentials, detail).hint("check user and password of the connection string")
            }
            &SqlState::INVALID_CATALOG_NAME => {
                Error::new(Kind::Command, detail).hint("create the database, or name another in the connection string")
            }
            code => {
                let hint = if *code == SqlState::TOO_MANY_CONNECTIONS { FULL } else { BACK };
                Error::new(Kind::DatabaseUnreachable, detail).hint(hint)
            }
        };
    }
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let cause = if causes.is_empty() { error.to_string() } else { causes.join(": ") };
    let hint = if cause.contains("certificate") {
        "name the authority's certificate in sslrootcert; where only the host name does not fit, sslmode=verify-ca"
    } else if cause.contains("server does not support TLS") {
        "the server has TLS switched off; sslmode=disable connects without"
    } else {
        "check that the server runs and that host and port are right"
    };
    Error::new(Kind::DatabaseUnreachable, format!("{place}: {cause}")).hint(hint).because(error)
}
