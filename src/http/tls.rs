//! TLS: the crypto provider of the process, and which certificate authorities are believed.
//!
//! Authorities: the system's, or those of `SSL_CERT_FILE` / `SSL_CERT_DIR` in their place, and beside them the PEM file
//! that `WHARF_CA_FILE` names and what the options add.

use crate::{Error, Kind, Result};
use reqwest::Certificate;
use std::ffi::OsString;
use std::sync::OnceLock;

/// Makes ring the process's crypto provider. Every opener of TLS connections calls this first; only the first call does
/// anything.
pub fn install_crypto_provider() {
    // An error says that one is installed already, which is all we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificate authorities to believe.
///
/// # Errors
/// [`Kind::Io`] when `ca_file` cannot be read, [`Kind::Command`] when it or an extra root holds no certificate.
pub(super) fn roots(ca_file: Option<OsString>, extra: &[Vec<u8>]) -> Result<Vec<Certificate>> {
    let mut roots = system().to_vec();
    if let Some(path) = ca_file.filter(|path| !path.is_empty()) {
        let pem = std::fs::read(&path).map_err(|error| {
            Error::new(Kind::Io, format!("WHARF_CA_FILE={} cannot be read", path.display())).because(error)
        })?;
        roots.extend(bundle(&pem, "the file that WHARF_CA_FILE names")?);
    }
    for pem in extra {
        roots.extend(bundle(pem, "a further certificate authority")?);
    }
    Ok(roots)
}

/// The system's authorities; read once, because they are many.
fn system() -> &'static [Certificate] {
    static SYSTEM: OnceLock<Vec<Certificate>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!("a certificate authority could not be read: {error}");
        }
        // A system's store may hold certificates that rustls cannot use; they are left out, as by every other program.
        system.certs.iter().filter_map(|certificate| Certificate::from_der(certificate).ok()).collect()
    })
}

fn bundle(pem: &[u8], what: &str) -> Result<Vec<Certificate>> {
    let certificates = Certificate::from_pem_bundle(pem).unwrap_or_default();
    if certificates.is_empty() {
        return Err(Error::new(Kind::Command, format!("{what} holds no PEM certificate"))
            .hint("it must hold blocks that begin with -----BEGIN CERTIFICATE-----"));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello").unwrap();
        let error = roots(Some(file.path().into()), &[]).unwrap_err();
        assert_eq!(error.kind(), Kind::Command);
        assert!(error.detail().contains("WHARF_CA_FILE"));
        assert_eq!(roots(Some("/no/such/file".into()), &[]).unwrap_err().kind(), Kind::Io);
    }

    #[test]
    fn the_provider_can_be_installed_twice() {
        install_crypto_provider();
        install_crypto_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
