//! Where an account answers: `base_url` of the pipeline file, as people write it.

use crate::config::pipeline::Account;
use crate::{Error, Kind, Result};
use url::{Host, Url};

/// `base_url` with or without `https://`; http only to this machine or on request. `example` is shown where it is wrong.
///
/// # Errors
/// [`Kind::Address`].
pub(super) fn base_url(account: &Account, example: &str) -> Result<Url> {
    let written = account.base_url.trim();
    let whole = if written.contains("://") { written.to_owned() } else { format!("https://{written}") };
    let wrong = |detail: &str| Error::new(Kind::Address, format!("base_url {detail}")).hint(format!("write {example}"));
    let url = Url::parse(&whole).map_err(|_| wrong("is no address"))?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(wrong("names no host")),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local || account.allow_http => Ok(url),
        "http" => Err(wrong("is http, which shows the credentials to everybody on the way")),
        _ => Err(wrong("is neither https nor http")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(base_url: &str, allow_http: bool) -> Result<Url> {
        let account = Account {
            account: "crm".to_owned(),
            platform: "salesmanago".to_owned(),
            base_url: base_url.to_owned(),
            allow_http,
            settings: Default::default(),
        };
        super::base_url(&account, "https://crm.example")
    }

    #[test]
    fn an_address_is_taken_with_and_without_https() {
        for written in ["app2.salesmanago.com", "https://app2.salesmanago.com", " https://app2.salesmanago.com/ "] {
            assert_eq!(read(written, false).unwrap().as_str(), "https://app2.salesmanago.com/");
        }
        assert!(read("http://127.0.0.1:9", false).is_ok());
        assert!(read("http://crm.intern", true).is_ok());
    }

    #[test]
    fn what_is_no_address_or_would_show_the_credentials_is_refused_with_an_example() {
        for wrong in ["http://app2.salesmanago.com", "ftp://app2.salesmanago.com", "", "https://"] {
            let error = read(wrong, false).unwrap_err();
            assert_eq!(error.kind(), Kind::Address, "{wrong}");
            assert!(error.hint_text().is_some_and(|hint| hint.contains("https://crm.example")), "{wrong}");
        }
    }
}
