//! Object stores: which one a URL names, what of the environment it is opened with, and what to do when it refuses.
//!
//! Credentials and endpoints come from the environment alone, by the names that each store's own tools read (`AWS_…`,
//! `GOOGLE_…`, `AZURE_…`); nothing of the URL but bucket and folder counts. Variables without such a prefix are not
//! looked at: `TOKEN` or `REGION` of somebody else's would be taken for the store's.
//!
//! Plain http would show rows and credentials to everybody on the way: it is for this machine, or for who asks for it.

use crate::error::{Error, Kind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme};
use std::error::Error as StdError;
use std::sync::Arc;
use url::{Host, Url};

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remote {
    S3,
    Gcs,
    Azure,
    /// One that a test holds in memory.
    #[cfg(test)]
    Memory,
}

impl Remote {
    fn of(url: &Url) -> Option<Self> {
        match ObjectStoreScheme::parse(url).ok()?.0 {
            ObjectStoreScheme::AmazonS3 => Some(Self::S3),
            ObjectStoreScheme::GoogleCloudStorage => Some(Self::Gcs),
            ObjectStoreScheme::MicrosoftAzure => Some(Self::Azure),
            _ => None,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::S3 => "AWS_",
            Self::Gcs => "GOOGLE_",
            Self::Azure => "AZURE_",
            #[cfg(test)]
            Self::Memory => "",
        }
    }

    /// The cargo feature that builds it in.
    fn feature(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
            #[cfg(test)]
            Self::Memory => "",
        }
    }

    /// The variables that say who we are.
    fn credentials(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, where they are temporary)",
            Self::Gcs => "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT, the path of a key file",
            Self::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_TOKEN",
            #[cfg(test)]
            Self::Memory => "none",
        }
    }

    /// The variables that say where it is, besides the URL.
    fn whereabouts(self) -> &'static str {
        match self {
            Self::S3 => "AWS_REGION and AWS_ENDPOINT",
            Self::Gcs => "the bucket's name",
            Self::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_ENDPOINT",
            #[cfg(test)]
            Self::Memory => "nothing",
        }
    }

    /// Whether a variable gives the store another address.
    fn is_endpoint(variable: &str) -> bool {
        const ENDPOINTS: [&str; 5] =
            ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"];
        ENDPOINTS.contains(&variable)
    }

    /// Opens the store that a URL names; gives the folder in it as well. `shown` is the URL without credentials.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] for a URL that this program cannot use; [`Kind::Credentials`] if what the environment says
    /// makes no sense.
    pub(super) fn open(
        url: &Url,
        shown: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, Arc<dyn ObjectStore>, Path)> {
        let refused = |hint: String| {
            Error::new(Kind::PipelineFile, format!("archive.to: this wharf cannot write to {shown}")).hint(hint)
        };
        let remote = Self::of(url).ok_or_else(|| {
            refused(
                "name a folder, or a store by s3://bucket/folder, gs://bucket/folder or az://container/folder".into(),
            )
        })?;
        if !remote.is_built_in() {
            let feature = remote.feature();
            return Err(refused(format!(
                "this program was built without it: cargo build --release --features {feature}"
            )));
        }
        let mut settings: Vec<(String, String)> =
            environment.filter(|(name, _)| name.starts_with(remote.prefix())).collect();
        remote.judge_endpoint(&mut settings)?;
        let mut bare = url.clone();
        let _ = bare.set_password(None);
        let (store, folder) = object_store::parse_url_opts(&bare, settings).map_err(|error| {
            Error::new(Kind::Credentials, format!("{shown} cannot be opened"))
                .hint(format!("set {}; docs/archive.md has all of them", remote.credentials()))
                .because(error)
        })?;
        Ok((remote, Arc::from(store), folder))
    }

    fn is_built_in(self) -> bool {
        match self {
            Self::S3 => cfg!(feature = "s3"),
            Self::Gcs => cfg!(feature = "gcs"),
            Self::Azure => cfg!(feature = "azure"),
            #[cfg(test)]
            Self::Memory => true,
        }
    }

    /// Lets plain http be spoken with this machine, and with others only on request.
    fn judge_endpoint(self, settings: &mut Vec<(String, String)>) -> Result<()> {
        let allow = format!("{}ALLOW_HTTP", self.prefix());
        let Some((variable, address)) =
            settings.iter().find(|(name, value)| Self::is_endpoint(name) && !value.is_empty())
        else {
            return Ok(());
        };
        let wrong = |what: &str| Error::new(Kind::PipelineFile, format!("{variable}: {what}"));
        let endpoint = Url::parse(address)
            .map_err(|error| wrong("this is no address").hint("such as https://minio.example:9000").because(error))?;
        if endpoint.scheme() != "http" || settings.iter().any(|(name, value)| *name == allow && is_true(value)) {
            return Ok(());
        }
        if !is_loopback(&endpoint) {
            return Err(wrong("plain http would show all rows and the credentials to everybody on the way")
                .hint(format!("use https, or set {allow}=true where the network is your own")));
        }
        settings.push((allow, "true".into()));
        Ok(())
    }

    /// What an error of the store means, and what to do: nothing where the store does not say who is to blame.
    pub(super) fn explain(self, error: &(dyn StdError + 'static)) -> Option<(Kind, String)> {
        let refusal = refusal(error)?;
        let words = refusal.to_string();
        let credentials = self.credentials();
        Some(match refusal {
            _ if words.contains("SignatureDoesNotMatch") => (
                Kind::Credentials,
                "the secret does not belong to the key: set AWS_SECRET_ACCESS_KEY to the one of AWS_ACCESS_KEY_ID"
                    .into(),
            ),
            object_store::Error::PermissionDenied { .. } if says_who(&words) => (
                Kind::Permission,
                format!(
                    "the store knows us but does not let us: who is named by {credentials} must list, read, write and delete there"
                ),
            ),
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                (Kind::Credentials, format!("the store does not know us: set {credentials}"))
            }
            _ if words.contains("NoSuchBucket") || words.contains("ContainerNotFound") || is_missing(refusal) => {
                (Kind::Io, "there is no such bucket or container: create it, or change archive.to".into())
            }
            _ => (Kind::Io, format!("look at {}, at {credentials}, and at the network", self.whereabouts())),
        })
    }
}

/// What all programs of this process are told, as far as it is text.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn is_missing(refusal: &object_store::Error) -> bool {
    matches!(refusal, object_store::Error::NotFound { .. })
}

/// Whether a refusal is about what may be done, not about who does it.
fn says_who(words: &str) -> bool {
    words.contains("AccessDenied") || words.contains("AuthorizationPermissionMismatch")
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y")
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The innermost error of a store: writers wrap it in errors of their own.
fn refusal<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a object_store::Error> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(refusal) = current.downcast_ref::<object_store::Error>() {
            found = Some(refusal);
        }
        if let Some(inner) = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            found = refusal(inner).or(found);
        }
        next = current.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn plain_http_is_for_this_machine_or_for_who_asks_for_it() {
        let judged = |of: &[(&str, &str)]| {
            let mut settings = settings(of);
            Remote::S3.judge_endpoint(&mut settings).map(|()| settings.iter().any(|(name, _)| name == "AWS_ALLOW_HTTP"))
        };
        assert!(judged(&[("AWS_ENDPOINT", "http://127.0.0.1:9000")]).unwrap());
        assert!(judged(&[("AWS_ENDPOINT_URL", "http://[::1]:9000")]).unwrap());
        assert!(judged(&[("AWS_ENDPOINT_URL_S3", "http://localhost:9000")]).unwrap());
        assert!(!judged(&[("AWS_ENDPOINT", "https://minio.example")]).unwrap());
        assert!(judged(&[("AWS_ENDPOINT", "http://minio.example"), ("AWS_ALLOW_HTTP", "true")]).unwrap());
        let error = judged(&[("AWS_ENDPOINT", "http://minio.example")]).unwrap_err();
        assert!(error.hint_text().unwrap().contains("AWS_ALLOW_HTTP=true"), "{error}");
        assert!(judged(&[("AWS_ENDPOINT", "minio")]).unwrap_err().detail().starts_with("AWS_ENDPOINT"));
    }

    #[test]
    fn a_wrong_credential_is_told_from_a_missing_permission() {
        let denied = |words: &'static str| {
            let refused = object_store::Error::PermissionDenied { path: "p".into(), source: words.into() };
            let wrapped = parquet::errors::ParquetError::External(Box::new(std::io::Error::other(refused)));
            Remote::S3.explain(&wrapped).unwrap()
        };
        let (kind, hint) = denied("403 <Code>InvalidAccessKeyId</Code>");
        assert_eq!(kind, Kind::Credentials);
        assert!(hint.contains("AWS_ACCESS_KEY_ID"), "{hint}");
        let (kind, hint) = denied("403 <Code>SignatureDoesNotMatch</Code>");
        assert_eq!(kind, Kind::Credentials);
        assert!(hint.contains("set AWS_SECRET_ACCESS_KEY"), "{hint}");
        assert_eq!(denied("403 <Code>AccessDenied</Code>").0, Kind::Permission);
        assert!(Remote::S3.explain(&std::io::Error::other("something else")).is_none());
    }

    #[test]
    fn only_the_stores_own_variables_are_looked_at() {
        let url = Url::parse("s3://bucket/some/folder").unwrap();
        let environment = settings(&[("REGION", "nowhere"), ("AWS_REGION", "eu-central-1"), ("TOKEN", "secret")]);
        let (remote, store, folder) = Remote::open(&url, "s3://bucket/some/folder", environment.into_iter()).unwrap();
        assert_eq!((remote, folder.as_ref()), (Remote::S3, "some/folder"));
        let told = format!("{store:?}");
        assert!(told.contains("eu-central-1") && !told.contains("nowhere") && !told.contains("\"secret\""), "{told}");
    }

    #[test]
    fn every_store_is_built_in_unless_somebody_asks_for_less() {
        for (url, remote) in [("gs://bucket/a", Remote::Gcs), ("az://container/a", Remote::Azure)] {
            assert_eq!(Remote::of(&Url::parse(url).unwrap()), Some(remote));
        }
        let error = Remote::open(&Url::parse("ftp://host/a").unwrap(), "ftp://host/a", std::iter::empty()).unwrap_err();
        assert!(error.hint_text().unwrap().contains("s3://bucket/folder"));
    }
}
