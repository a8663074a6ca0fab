//! TLS to PostgreSQL with libpq's meaning of `sslmode` and `sslrootcert`.
//!
//! | mode | encrypted | certificate checked | host name checked |
//! |---|---|---|---|
//! | `disable` | no | | |
//! | `prefer` (default), `allow` | if the server can | no | no |
//! | `require` | yes | only if `sslrootcert` is given | no |
//! | `verify-ca` | yes | yes | no |
//! | `verify-full` | yes | yes | yes |
//!
//! Roots are those of `sslrootcert`, or the system's where it is left out or `system`. A host name must stand among the
//! certificate's alternative names; the common name is not read.

use crate::{Error, Kind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SslMode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "disable" => Ok(Self::Disable),
            // The driver cannot try without TLS first; trying with it first keeps more secret, not less.
            "allow" | "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(Error::new(Kind::Command, "sslmode of the connection string is not known")
                .hint("write disable, prefer, require, verify-ca or verify-full")),
        }
    }

    pub fn for_driver(self) -> tokio_postgres::config::SslMode {
        match self {
            Self::Disable => tokio_postgres::config::SslMode::Disable,
            Self::Prefer => tokio_postgres::config::SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => tokio_postgres::config::SslMode::Require,
        }
    }
}

/// How TLS is to be used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ssl {
    pub mode: SslMode,
    pub root_cert: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl Ssl {
    /// Applies what libpq infers: a root certificate makes `require` check it, `system` always checks the name too.
    pub fn settle(&mut self) -> Result<()> {
        let is_system = self.root_cert.as_ref().is_some_and(|path| path.as_os_str() == "system");
        if is_system {
            self.root_cert = None;
            if self.mode != SslMode::Disable {
                self.mode = SslMode::VerifyFull;
            }
        } else if self.root_cert.is_some() && self.mode == SslMode::Require {
            self.mode = SslMode::VerifyCa;
        }
        if self.cert.is_some() != self.key.is_some() {
            return Err(Error::new(Kind::Command, "sslcert and sslkey belong together; one of them is missing"));
        }
        Ok(())
    }

    /// The connector for the driver. Reads the files named, and the system's roots only where they are needed.
    pub fn connector(&self) -> Result<MakeRustlsConnect> {
        crate::tls::install_crypto();
        let provider = CryptoProvider::get_default()
            .ok_or_else(|| Error::new(Kind::Internal, "no provider of cryptography is installed"))?
            .clone();
        let is_checked = matches!(self.mode, SslMode::VerifyCa | SslMode::VerifyFull);
        let given = if is_checked { self.roots()? } else { Vec::new() };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(given.iter().cloned());
        if is_checked && roots.is_empty() {
            return Err(Error::new(
                Kind::Command,
                "there is no root certificate to check the server's certificate with",
            )
            .hint("name a PEM file in sslrootcert, or install the system's certificates (ca-certificates)"));
        }
        let verifier = Verifier {
            is_checked,
            is_name_checked: self.mode == SslMode::VerifyFull,
            // Only what the user named may be trusted by itself; the system's roots are authorities.
            pinned: if self.root_cert.is_some() { given } else { Vec::new() },
            roots,
            provider: provider.clone(),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(Kind::Internal, "TLS cannot be set up").because(error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = read_certificates(cert)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| Error::new(Kind::Command, "sslcert and sslkey do not fit").because(error))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(MakeRustlsConnect::new(config))
    }

    fn roots(&self) -> Result<Vec<CertificateDer<'static>>> {
        match &self.root_cert {
            Some(path) => read_certificates(path),
            None => Ok(rustls_native_certs::load_native_certs().certs),
        }
    }
}

fn read_certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, error))
}

fn unreadable(path: &std::path::Path, error: rustls::pki_types::pem::Error) -> Error {
    Error::new(Kind::Command, format!("{} cannot be read as PEM: {error}", path.display()))
}

/// Checks as much as the mode asks for.
#[derive(Debug)]
struct Verifier {
    is_checked: bool,
    is_name_checked: bool,
    pinned: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.is_checked {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let verified = verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            );
            if let Err(error) = verified {
                // PostgreSQL's manual makes self-signed certificates that call themselves authorities. libpq takes one
                // that was named as root; the library reports this only after it found the dates good.
                let is_self_signed = format!("{error:?}").contains("CaUsedAsEndEntity");
                if !(is_self_signed && self.pinned.iter().any(|pinned| pinned == end_entity)) {
                    return Err(error);
                }
            }
            if self.is_name_checked {
                verify_server_name(&certificate, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(mode: SslMode, root: Option<&str>) -> SslMode {
        let mut ssl = Ssl { mode, root_cert: root.map(PathBuf::from), ..Ssl::default() };
        ssl.settle().unwrap();
        ssl.mode
    }

    #[test]
    fn a_root_certificate_makes_require_check_it_as_libpq_does() {
        assert_eq!(settled(SslMode::Require, None), SslMode::Require);
        assert_eq!(settled(SslMode::Require, Some("/tmp/root.crt")), SslMode::VerifyCa);
        assert_eq!(settled(SslMode::Prefer, Some("/tmp/root.crt")), SslMode::Prefer);
        assert_eq!(settled(SslMode::Require, Some("system")), SslMode::VerifyFull);
    }

    #[test]
    fn modes_that_check_never_fall_back_to_plain_text() {
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(SslMode::parse(mode).unwrap().for_driver(), tokio_postgres::config::SslMode::Require);
        }
        assert!(SslMode::parse("verify_full").is_err());
    }
}
