//! Who is behind a connection's or an account's name: a **tenant** of the platform, one shop or one account there.
//!
//! A name in a pipeline file is what rows and ledgers go by, and it stays the same when other credentials are put behind
//! it: a trial on a sandbox becomes the real account, one shop is replaced by another. So every source and target says
//! whose credentials these are. What the platform tells of itself decides alone, whatever the address and the key: keys
//! are changed, and one shop answers under several addresses. A platform that tells nothing is known by its address and
//! the credentials together.

use crate::{Kind, Result};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fmt;

/// One shop or one account, as far as its platform and the credentials tell.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// What the platform tells of itself, in words that stay the same for one tenant and differ between two: `shop.example`.
    /// None where it tells nothing.
    pub told: Option<String>,
    /// Whose credentials are used.
    pub credential: Credential,
}

/// What tells credentials apart.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A part of them that is no secret and stays when the secret is changed: `client a1b2`.
    Public(String),
    /// A secret: only a salted hash of it is kept.
    Secret(SecretString),
}

impl Tenant {
    /// Of a platform that tells nothing of itself, or nothing that could be relied on.
    pub fn known_by(credential: Credential) -> Self {
        Self { told: None, credential }
    }
}

/// What a platform was asked for: nothing where it does not say it, to these credentials or to anybody.
///
/// # Errors
/// What says nothing of that: the platform cannot be reached, is throttled, fails, or does not know the credentials.
pub fn where_told<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(told) => Ok(Some(told)),
        Err(error) => match error.kind() {
            Kind::Permission | Kind::Address | Kind::NotJson | Kind::Protocol | Kind::Refused | Kind::TooLarge => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

impl Credential {
    /// What is kept and shown of it. `salt` is the database's own, so that nobody can compare two databases.
    pub fn mark(&self, salt: &str, platform: &str) -> String {
        match self {
            Self::Public(part) => part.clone(),
            Self::Secret(secret) => {
                let digest = Sha256::new()
                    .chain_update(format!("{salt}\0{platform}\0"))
                    .chain_update(secret.expose_secret())
                    .finalize();
                // Enough to tell a handful of keys apart, and too little to find one by.
                format!("key {}", hex::encode(&digest[..6]))
            }
        }
    }
}

/// A tenant as it is kept: who was seen behind a name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Seen {
    /// The platform.
    pub platform: String,
    /// What it told of itself.
    pub told: Option<String>,
    /// The host, its port where it is not the usual one, and the path.
    pub address: String,
    /// [`Credential::mark`].
    pub credential: String,
}

impl Seen {
    /// Whether it is the tenant that was known before.
    pub fn is(&self, known: &Seen) -> bool {
        self.platform == known.platform
            && match (&self.told, &known.told) {
                (Some(now), Some(before)) => now == before,
                _ => self.address == known.address && self.credential == known.credential,
            }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.platform)?;
        if let Some(told) = &self.told {
            write!(f, "{told} ")?;
        }
        write!(f, "at {} ({})", self.address, self.credential)
    }
}

/// An address as tenants are compared by: without scheme, credentials and parameters.
pub fn address(base_url: &str) -> String {
    let whole =
        if base_url.contains("://") { base_url.trim().to_owned() } else { format!("https://{}", base_url.trim()) };
    let Some(url) = url::Url::parse(&whole).ok().filter(url::Url::has_host) else {
        return base_url.rsplit('@').next().unwrap_or_default().to_owned();
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}{}", url.host_str().unwrap_or_default(), url.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(told: Option<&str>, address: &str, credential: &str) -> Seen {
        Seen {
            platform: "woocommerce".into(),
            told: told.map(str::to_owned),
            address: address.into(),
            credential: credential.into(),
        }
    }

    #[test]
    fn what_the_platform_tells_decides_alone() {
        let known = seen(Some("shop.example"), "shop.example", "key 1");
        assert!(seen(Some("shop.example"), "www.shop.example", "key 2").is(&known), "a new key at the same shop");
        assert!(!seen(Some("other.example"), "shop.example", "key 1").is(&known), "another shop at the same address");
        let elsewhere = Seen { platform: "idosell".into(), ..known.clone() };
        assert!(!elsewhere.is(&known), "another platform");
    }

    #[test]
    fn else_address_and_credentials_decide_together() {
        let known = seen(None, "crm.example", "client a");
        assert!(seen(None, "crm.example", "client a").is(&known));
        assert!(seen(Some("Shop"), "crm.example", "client a").is(&known), "it has begun to tell");
        assert!(!seen(None, "crm.example", "client b").is(&known));
        assert!(!seen(None, "crm2.example", "client a").is(&known));
    }

    #[test]
    fn an_address_is_compared_without_what_says_nothing_of_the_tenant() {
        for same in [
            "https://shop.example/sub/",
            "http://SHOP.example/sub",
            "shop.example/sub",
            "https://u:p@shop.example/sub?x=1",
        ] {
            assert_eq!(address(same), "shop.example/sub", "{same}");
        }
        assert_eq!(address("http://127.0.0.1:8600"), "127.0.0.1:8600");
    }

    #[test]
    fn a_secret_leaves_only_a_mark_of_this_database() {
        let secret = Credential::Secret("planted-4711".into());
        let mark = secret.mark("salt", "woocommerce");
        assert!(!mark.contains("4711") && !format!("{secret:?}").contains("4711"), "{mark}");
        assert_eq!(mark, secret.mark("salt", "woocommerce"));
        assert_ne!(mark, secret.mark("other salt", "woocommerce"));
        assert_ne!(mark, Credential::Secret("planted-4712".into()).mark("salt", "woocommerce"));
        assert_eq!(Credential::Public("client a".into()).mark("salt", "salesmanago"), "client a");
    }
}
