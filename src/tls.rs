//! The one place that chooses the cryptography behind every TLS connection: to platforms and to PostgreSQL.

/// Makes ring the provider of the whole process. To be called before the first TLS configuration is built; calling it
/// again changes nothing.
pub fn install_crypto() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
