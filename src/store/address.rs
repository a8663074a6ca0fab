//! Connection strings with libpq's meaning: what libpq knows and tokio-postgres does not is taken out and acted on here,
//! or left out. A password goes in and never comes out.

use super::tls::{Ssl, SslMode};
use crate::{Error, Kind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// What may stand unescaped in a part of a URL.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Parameters that tokio-postgres reads itself; others are known to libpq alone (`gssencmode`, `passfile`, …).
const PASSED_ON: &[&str] = &[
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// Names and values, in the order given.
type Parameters = Vec<(String, String)>;

/// A server, a database and how to get in.
pub(crate) struct Address {
    /// What tokio-postgres needs.
    pub config: Config,
    /// How TLS is to be used.
    pub ssl: Ssl,
    /// Where it leads, without the password: `postgresql://user@host:5432/name`.
    pub shown: String,
}

impl Address {
    /// Reads `postgresql://…` or `host=… dbname=…`.
    ///
    /// # Errors
    /// [`Kind::Command`], never quoting the text, because it may hold a password.
    pub fn parse(text: &str) -> Result<Self> {
        let (base, parameters) = split(text.trim())?;
        let mut ssl = Ssl::default();
        let mut passed_on = Vec::new();
        for (name, value) in parameters {
            match name.as_str() {
                "sslmode" => ssl.mode = SslMode::parse(&value)?,
                "sslrootcert" => ssl.root_cert = Some(PathBuf::from(value)),
                "sslcert" => ssl.cert = Some(PathBuf::from(value)),
                "sslkey" => ssl.key = Some(PathBuf::from(value)),
                // libpq calls it keepalives_count.
                "keepalives_count" => passed_on.push(("keepalives_retries".to_owned(), value)),
                known if PASSED_ON.contains(&known) => passed_on.push((name, value)),
                other => tracing::debug!("connection parameter {other} has no meaning here and is left out"),
            }
        }
        let mut config: Config =
            join(base.as_deref(), &passed_on).parse().map_err(|error: tokio_postgres::Error| {
                // The cause names the parameter at fault; it quotes values only of parameters that hold no secret.
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                wrong(&format!("the connection string cannot be read: {cause}"))
            })?;
        ssl.settle()?;
        config.ssl_mode(ssl.mode.for_driver());
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong("the connection string names no host"));
        }
        if config.get_password().is_none()
            && let Some(password) = std::env::var_os("PGPASSWORD")
        {
            config.password(password.to_string_lossy().as_bytes());
        }
        with_defaults(&mut config, &passed_on);
        let shown = shown(&config);
        Ok(Self { config, ssl, shown })
    }
}

fn wrong(detail: &str) -> Error {
    Error::new(Kind::Command, detail).hint("write postgresql://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full")
}

fn with_defaults(config: &mut Config, given: &[(String, String)]) {
    let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
    if config.get_application_name().is_none() {
        config.application_name("wharf");
    }
    if !is_given("connect_timeout") {
        config.connect_timeout(Duration::from_secs(15));
    }
    if !is_given("keepalives_idle") {
        config.keepalives_idle(Duration::from_secs(30));
    }
    if !is_given("keepalives_interval") {
        config.keepalives_interval(Duration::from_secs(10));
    }
    if !is_given("keepalives_retries") {
        config.keepalives_retries(3);
    }
    // Without it, a cut network is noticed a quarter of an hour after the next byte was sent.
    if !is_given("tcp_user_timeout") {
        config.tcp_user_timeout(Duration::from_secs(60));
    }
}

/// The URL without its parameters, if it is a URL, and the parameters.
fn split(text: &str) -> Result<(Option<String>, Parameters)> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Ok((None, words(text)?));
    }
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let decode = |part: &str| {
        percent_decode_str(part)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| wrong("a parameter is not UTF-8"))
    };
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| wrong("a parameter of the URL has no value"))?;
        parameters.push((decode(name)?, decode(value)?));
    }
    Ok((Some(base.to_owned()), parameters))
}

/// Reads `name=value name='a value'`, quoted as libpq does.
fn words(text: &str) -> Result<Parameters> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| wrong("the connection string is not name=value"))?;
        let after = after.trim_start();
        let (value, remaining) = word(after)?;
        parameters.push((name.trim().to_owned(), value));
        rest = remaining.trim_start();
    }
    Ok(parameters)
}

fn word(text: &str) -> Result<(String, &str)> {
    let is_quoted = text.starts_with('\'');
    let start = usize::from(is_quoted);
    let mut value = String::new();
    let mut characters = text.char_indices().skip(start);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if is_quoted => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            blank if !is_quoted && blank.is_whitespace() => return Ok((value, text.get(at..).unwrap_or_default())),
            other => value.push(other),
        }
    }
    if is_quoted { Err(wrong("a quote in the connection string is not closed")) } else { Ok((value, "")) }
}

fn join(base: Option<&str>, parameters: &[(String, String)]) -> String {
    match base {
        Some(base) => {
            let query: Vec<_> =
                parameters.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, PART))).collect();
            if query.is_empty() { base.to_owned() } else { format!("{base}?{}", query.join("&")) }
        }
        None => {
            let words: Vec<_> = parameters
                .iter()
                .map(|(name, value)| format!("{name}='{}'", value.replace('\\', r"\\").replace('\'', r"\'")))
                .collect();
            words.join(" ")
        }
    }
}

fn shown(config: &Config) -> String {
    let user = config.get_user().map(|user| format!("{}@", utf8_percent_encode(user, PART))).unwrap_or_default();
    let ports = config.get_ports();
    let hosts: Vec<_> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(at, host)| {
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(folder) => format!("{}:{port}", utf8_percent_encode(&folder.to_string_lossy(), PART)),
            }
        })
        .collect();
    let addresses: Vec<_> = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    let place = if hosts.is_empty() { addresses.join(",") } else { hosts.join(",") };
    format!("postgresql://{user}{place}/{}", config.get_dbname().unwrap_or_default())
}

/// The connection string without its password, and the password: for starting psql, which takes it from the environment.
///
/// # Errors
/// [`Kind::Command`] if the string cannot be read.
pub fn without_password(text: &str) -> Result<(String, Option<String>)> {
    let (base, mut parameters) = split(text.trim())?;
    let mut password = None;
    parameters.retain(|(name, value)| {
        let is_password = name == "password";
        if is_password {
            password = Some(value.clone());
        }
        !is_password
    });
    let base = match base {
        Some(base) => {
            let (scheme, rest) = base.split_once("://").ok_or_else(|| wrong("the connection string has no scheme"))?;
            let credentials = rest.split_once('@').and_then(|(user, place)| Some((user.split_once(':')?, place)));
            match credentials {
                Some(((user, secret), place)) => {
                    password = Some(percent_decode_str(secret).decode_utf8_lossy().into_owned());
                    Some(format!("{scheme}://{user}@{place}"))
                }
                None => Some(base),
            }
        }
        None => None,
    };
    Ok((join(base.as_deref(), &parameters), password))
}

/// The connection string with another database on the same server.
///
/// # Errors
/// [`Kind::Command`] if the string cannot be read.
pub fn with_database(text: &str, name: &str) -> Result<String> {
    let (base, mut parameters) = split(text.trim())?;
    parameters.retain(|(given, _)| given != "dbname");
    // Behind the path of a URL, it counts for the driver and for libpq.
    parameters.push(("dbname".to_owned(), name.to_owned()));
    Ok(join(base.as_deref(), &parameters))
}

/// A URL that psql and BI tools take for a server on a Unix socket. The user is a parameter, because strict URL parsers
/// refuse a user without a host.
pub(crate) fn socket_url(user: &str, database: &str, folder: &str, port: u16) -> String {
    format!("postgresql:///{database}?host={}&port={port}&user={user}", utf8_percent_encode(folder, PART))
}

/// A URL for a server on TCP.
pub(crate) fn tcp_url(user: &str, password: &str, host: &str, port: u16, database: &str) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("postgresql://{user}:{}@{host}:{port}/{database}", utf8_percent_encode(password, PART))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_nowhere() {
        for text in [
            "postgresql://ann:s3cret@db.example:6432/shop?sslmode=require",
            "postgresql://ann@db.example/shop?password=s3cret",
            "host=db.example user=ann password='s3cret' dbname=shop",
        ] {
            let address = Address::parse(text).unwrap();
            assert!(address.config.get_password() == Some(b"s3cret"));
            assert!(!address.shown.contains("s3cret"), "{}", address.shown);
            assert!(address.shown.starts_with("postgresql://ann@db.example:"), "{}", address.shown);
        }
    }

    #[test]
    fn psql_gets_the_string_without_the_password_and_with_all_the_rest() {
        let taken = |text| without_password(text).unwrap();
        assert_eq!(
            taken("postgresql://ann:s%33cret@db.example/shop?sslmode=verify-full&gssencmode=disable"),
            (
                "postgresql://ann@db.example/shop?sslmode=verify-full&gssencmode=disable".to_owned(),
                Some("s3cret".to_owned())
            )
        );
        assert_eq!(
            taken("postgresql://db.example/shop?user=ann&password=s3cret"),
            ("postgresql://db.example/shop?user=ann".to_owned(), Some("s3cret".to_owned()))
        );
        assert_eq!(
            taken("host=db.example password='s3 cret'"),
            ("host='db.example'".to_owned(), Some("s3 cret".to_owned()))
        );
        assert_eq!(taken("postgresql://db.example:5433/shop"), ("postgresql://db.example:5433/shop".to_owned(), None));
    }

    #[test]
    fn another_database_on_the_same_server_has_the_same_string_otherwise() {
        for text in [
            "postgresql://ann:s%33cret@db.example:6432/shop?sslmode=disable",
            "postgresql://ann:s3cret@db.example:6432?dbname=shop&sslmode=disable",
            "host=db.example port=6432 user=ann password='s3cret' dbname=shop sslmode=disable",
        ] {
            let address = Address::parse(&with_database(text, "shop_demo").unwrap()).unwrap();
            assert_eq!(address.config.get_dbname(), Some("shop_demo"), "{text}");
            assert_eq!(address.config.get_password(), Some(&b"s3cret"[..]));
            assert_eq!((address.config.get_user(), address.config.get_ports()), (Some("ann"), &[6432][..]));
        }
    }

    #[test]
    fn parameters_that_only_libpq_knows_do_no_harm() {
        let text =
            "postgresql://ann@db.example/shop?gssencmode=disable&sslcompression=0&connect_timeout=3&krbsrvname=x";
        let address = Address::parse(text).unwrap();
        assert_eq!(address.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        let text = "host=db.example gssencmode = disable  options='-c search_path=a\\'b' dbname=shop";
        let address = Address::parse(text).unwrap();
        assert_eq!(address.config.get_options(), Some("-c search_path=a'b"));
        assert_eq!(address.config.get_dbname(), Some("shop"));
    }

    #[test]
    fn a_socket_url_leads_to_the_socket_it_was_made_for() {
        let url = socket_url("wharf", "wharf", "/home/Zoë Ł/a&b?c", 5432);
        let address = Address::parse(&url).unwrap();
        assert_eq!(address.config.get_hosts(), [Host::Unix(PathBuf::from("/home/Zoë Ł/a&b?c"))]);
        assert_eq!(address.config.get_ports(), [5432]);
        assert_eq!(address.config.get_user(), Some("wharf"));
    }

    #[test]
    fn a_wrong_string_is_refused_without_being_quoted() {
        for text in ["postgresql://ann:s3cret@db.example/shop?sslmode=s3cret-mode", "s3cret", "host='s3cret", ""] {
            let Err(error) = Address::parse(text) else { panic!("{text} was taken") };
            assert_eq!(error.kind(), Kind::Command);
            assert!(!format!("{error} {error:?}").contains("s3cret@"), "{error:?}");
        }
    }
}
