//! One error type for the product: a kind, an owned detail, the cause, and a line that says what to do.
//!
//! The kind decides everything that code may ask of an error: its stable code (explained in `docs/errors.md`), whether
//! trying again can help, and the exit code. Row values and secrets never enter a detail.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// What to do when a server is gone for a while.
pub(crate) const BACK: &str = "run the command again when the server is back; it continues where it stopped";

/// What to do when a server takes no more connections.
pub(crate) const FULL: &str = "the server takes no more connections now: run the command again, it continues where it stopped; \
                               if it happens often, raise max_connections or the role's connection limit, or close other programs";

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as code has to tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The command line does not make sense.
    Command,
    /// A pipeline file has mistakes.
    PipelineFile,
    /// A platform does not know our credentials.
    Credentials,
    /// The credentials are known but may not do this.
    Permission,
    /// The address answers, but not as this platform does.
    Address,
    /// No connection, or it was cut, or it timed out.
    Unreachable,
    /// The platform asks us to slow down.
    Throttled,
    /// The platform failed by its own account (5xx).
    PlatformFailure,
    /// An answer that should be JSON is something else, mostly HTML.
    NotJson,
    /// An answer that ends in the middle.
    Truncated,
    /// An answer larger than allowed.
    TooLarge,
    /// An answer of an unexpected shape.
    Protocol,
    /// The platform refuses this request, and will again.
    Refused,
    /// Postgres refuses a statement.
    Database,
    /// Postgres cannot be reached.
    DatabaseUnreachable,
    /// The database was written by a newer Wharf.
    DatabaseNewer,
    /// The private PostgreSQL cannot be found or started.
    PrivatePostgres,
    /// Another process works on the same thing.
    LeaseHeld,
    /// Another process has taken our work over.
    LeaseLost,
    /// The user, or the system, asked us to stop.
    Interrupted,
    /// A guard stopped a change too large to be meant.
    Guard,
    /// A saved plan cannot be applied as it is.
    Plan,
    /// Records differ that the change feed would not have led to.
    Missed,
    /// The load window of the pipeline file is closed.
    WindowClosed,
    /// Another process is doing the very work that was asked for.
    DoneElsewhere,
    /// Another shop or account than before is behind a name.
    Tenant,
    /// Files could not be read or written.
    Io,
    /// A defect of Wharf.
    Internal,
}

/// The exit codes of the command line; `docs/cli.md` says what a script does with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do now: the load window is closed, or another process is at the same work.
    Done = 0,
    /// Anything that no other code names.
    Failure = 1,
    /// Bad command, pipeline file or credentials.
    BadInput = 2,
    /// Done, but records were rejected that were not before (with `--strict`: any are rejected).
    Rejected = 3,
    /// Stopped early; the next run continues.
    Stopped = 4,
    /// A person has to decide something; running again alone does not help.
    Decision = 5,
}

impl Exit {
    /// The graver of two: an error before what a person has to decide, that before what the next run continues, that
    /// before rejects.
    pub fn graver(self, other: Self) -> Self {
        if other.gravity() > self.gravity() { other } else { self }
    }

    fn gravity(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Rejected => 1,
            Self::Stopped => 2,
            Self::Decision => 3,
            Self::BadInput => 4,
            Self::Failure => 5,
        }
    }
}

impl Kind {
    /// All of them, in the order of their codes.
    pub const ALL: &[Kind] = &[
        Kind::Command,
        Kind::PipelineFile,
        Kind::Credentials,
        Kind::Permission,
        Kind::Address,
        Kind::Unreachable,
        Kind::Throttled,
        Kind::PlatformFailure,
        Kind::NotJson,
        Kind::Truncated,
        Kind::TooLarge,
        Kind::Protocol,
        Kind::Refused,
        Kind::Database,
        Kind::DatabaseUnreachable,
        Kind::DatabaseNewer,
        Kind::PrivatePostgres,
        Kind::LeaseHeld,
        Kind::LeaseLost,
        Kind::Interrupted,
        Kind::Guard,
        Kind::Plan,
        Kind::Missed,
        Kind::WindowClosed,
        Kind::DoneElsewhere,
        Kind::Tenant,
        Kind::Io,
        Kind::Internal,
    ];

    /// The stable code that `docs/errors.md` explains.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Command => "WH-100",
            Kind::PipelineFile => "WH-101",
            Kind::Credentials => "WH-201",
            Kind::Permission => "WH-202",
            Kind::Address => "WH-203",
            Kind::Unreachable => "WH-301",
            Kind::Throttled => "WH-302",
            Kind::PlatformFailure => "WH-303",
            Kind::NotJson => "WH-304",
            Kind::Truncated => "WH-305",
            Kind::TooLarge => "WH-306",
            Kind::Protocol => "WH-307",
            Kind::Refused => "WH-308",
            Kind::Database => "WH-401",
            Kind::DatabaseUnreachable => "WH-402",
            Kind::DatabaseNewer => "WH-403",
            Kind::PrivatePostgres => "WH-404",
            Kind::LeaseHeld => "WH-501",
            Kind::LeaseLost => "WH-502",
            Kind::Interrupted => "WH-503",
            Kind::Guard => "WH-504",
            Kind::Plan => "WH-505",
            Kind::Missed => "WH-506",
            Kind::WindowClosed => "WH-507",
            Kind::DoneElsewhere => "WH-508",
            Kind::Tenant => "WH-509",
            Kind::Io => "WH-601",
            Kind::Internal => "WH-900",
        }
    }

    /// Whether the same call may succeed when tried again in a while.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Kind::Unreachable | Kind::Throttled | Kind::PlatformFailure | Kind::Truncated | Kind::DatabaseUnreachable
        )
    }

    /// The exit code of a command that ends with this kind.
    pub fn exit(self) -> Exit {
        match self {
            Kind::Command
            | Kind::PipelineFile
            | Kind::Credentials
            | Kind::Permission
            | Kind::Address
            | Kind::Plan
            | Kind::DatabaseNewer
            | Kind::PrivatePostgres => Exit::BadInput,
            Kind::Unreachable
            | Kind::Throttled
            | Kind::PlatformFailure
            | Kind::NotJson
            | Kind::Truncated
            | Kind::DatabaseUnreachable
            | Kind::LeaseHeld
            | Kind::LeaseLost
            | Kind::Interrupted => Exit::Stopped,
            Kind::Guard | Kind::Tenant => Exit::Decision,
            // Nothing is wrong, and nobody has to do anything.
            Kind::WindowClosed | Kind::DoneElsewhere => Exit::Done,
            Kind::TooLarge
            | Kind::Protocol
            | Kind::Refused
            | Kind::Database
            | Kind::Missed
            | Kind::Io
            | Kind::Internal => Exit::Failure,
        }
    }
}

/// What went wrong, why, and what a person should do.
pub struct Error {
    kind: Kind,
    detail: String,
    hint: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `detail` is a sentence without a final stop, free of secrets and row values.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), hint: None, retry_after: None, source: None }
    }

    /// Adds the line that says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds how long the platform asked us to wait.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Puts what was being done in front of the detail: `context: detail`.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.detail = format!("{context}: {}", self.detail);
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence without code and cause.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What to do, if that is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// How long the platform asked us to wait, if it did.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.kind.code())
            .field("detail", &self.detail)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as &(dyn StdError + 'static))
    }
}

impl From<tokio_postgres::Error> for Error {
    /// Tells a lost connection from a refused statement. The server's message is kept, its detail (row values) is not.
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) if db.code().code() == "WH501" => Error::new(Kind::LeaseLost, db.message().to_owned())
                .hint("another wharf process has taken this work over; nothing is lost, let it finish"),
            // Class 57P: the server was stopped; class 08: the connection is gone.
            Some(db) if db.code().code().starts_with("57P") || db.code().code().starts_with("08") => {
                Error::new(Kind::DatabaseUnreachable, format!("PostgreSQL ended the connection: {}", db.message()))
                    .hint(BACK)
            }
            Some(db) if db.code() == &SqlState::TOO_MANY_CONNECTIONS => {
                Error::new(Kind::DatabaseUnreachable, format!("PostgreSQL refused a connection: {}", db.message()))
                    .hint(FULL)
            }
            Some(db) if [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT].contains(db.code()) => {
                Error::new(Kind::Database, format!("PostgreSQL has lost what it was told: {}", db.message()))
                    .hint("a connection pooler in between changes sessions: name the server itself in DATABASE_URL")
            }
            Some(db) => Error::new(
                Kind::Database,
                format!("PostgreSQL refused a statement: {} ({})", db.message(), db.code().code()),
            ),
            None => {
                Error::new(Kind::DatabaseUnreachable, "the connection to PostgreSQL failed").hint(BACK).because(error)
            }
        }
    }
}

impl From<deadpool_postgres::PoolError> for Error {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            other => Error::new(Kind::DatabaseUnreachable, "no connection to PostgreSQL").because(other),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::new(Kind::Io, error.to_string()).because(error)
    }
}
