//! TLS to a real server: what each sslmode takes and refuses, as in libpq.

use crate::support::home::Home;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::Path;
use wharf::store::{Database, DatabaseLocation, private};
use wharf::{Kind, Result};

/// A server on a port, with a certificate.
struct Server {
    home: Home,
    port: u16,
    password: String,
}

impl Server {
    async fn start(certificate: &str, key: &str) -> Self {
        let home = Home::made().await;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        private::set_listen(home.path(), Some(address.parse().unwrap())).await.unwrap();
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            write_as(&home.postgres().join(name), text, home.owner());
            let setting = if name == "server.crt" { "ssl_cert_file" } else { "ssl_key_file" };
            home.set(&format!("{setting} = '{}'", home.postgres().join(name).display()));
        }
        home.set("ssl = on");
        home.run(&["db", "start", "--listen", &address]).await;
        let password = private::password(home.path(), private::ROLE).unwrap().unwrap();
        Self { home, port, password }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Whether the session is encrypted, or why there is none.
    async fn connect(&self, host: &str, parameters: &str) -> Result<bool> {
        let url = format!("postgresql://wharf:{}@{host}:{}/wharf?{parameters}", self.password, self.port);
        let db = Database::connect(&DatabaseLocation::Url(url)).await?;
        let client = db.client().await?;
        let row = client.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).await?;
        Ok(row.get(0))
    }
}

fn write_as(path: &Path, text: &str, (uid, gid): (u32, u32)) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    chown(path, Some(uid), Some(gid)).unwrap();
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed_by(issuer: &Issuer<'_, KeyPair>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

fn certificate_error(result: Result<bool>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::DatabaseUnreachable);
    assert!(error.detail().contains("certificate"), "{error}");
    assert!(error.hint_text().unwrap().contains("sslrootcert"), "{:?}", error.hint_text());
}

#[tokio::test]
async fn each_sslmode_checks_what_libpq_checks() {
    let authority = authority();
    let (certificate, key) = signed_by(&authority);
    let server = Server::start(&certificate, &key).await;
    let root = server.file("root.crt", &authority.pem());
    let stranger = server.file("stranger.crt", &self::authority().pem());

    assert!(!server.connect("localhost", "sslmode=disable").await.unwrap());
    assert!(server.connect("localhost", "").await.unwrap());
    assert!(server.connect("127.0.0.1", "sslmode=require").await.unwrap());
    certificate_error(server.connect("127.0.0.1", &format!("sslmode=require&sslrootcert={stranger}")).await);
    assert!(server.connect("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={root}")).await.unwrap());
    certificate_error(server.connect("localhost", &format!("sslmode=verify-ca&sslrootcert={stranger}")).await);
    assert!(server.connect("localhost", &format!("sslmode=verify-full&sslrootcert={root}")).await.unwrap());
    certificate_error(server.connect("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={root}")).await);
    certificate_error(server.connect("localhost", &format!("sslmode=verify-full&sslrootcert={stranger}")).await);
    let missing = server.connect("localhost", "sslmode=verify-full&sslrootcert=/nowhere.crt").await.unwrap_err();
    assert_eq!(missing.kind(), Kind::Command);

    let wrong = format!("postgresql://wharf:wrong-s3cret@localhost:{}/wharf", server.port);
    let error = Database::open(&DatabaseLocation::Url(wrong)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
    assert!(!format!("{error} {error:?}").contains("wrong-s3cret"), "{error:?}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_taken_where_it_is_named_as_root() {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    // As PostgreSQL's manual makes them, with `openssl req -x509`.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let server = Server::start(&certificate, &key.serialize_pem()).await;
    let root = server.file("root.crt", &certificate);
    let stranger = server.file("stranger.crt", &authority().pem());
    assert!(server.connect("localhost", &format!("sslmode=verify-full&sslrootcert={root}")).await.unwrap());
    certificate_error(server.connect("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={root}")).await);
    certificate_error(server.connect("localhost", &format!("sslmode=verify-ca&sslrootcert={stranger}")).await);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let home = Home::made().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = home.run(&["db", "start", "--listen", &format!("127.0.0.1:{port}")]).await;
    let url = format!("{}?sslmode=require", url.trim());
    let error = Database::connect(&DatabaseLocation::Url(url)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DatabaseUnreachable);
    assert!(error.hint_text().unwrap().contains("sslmode=disable"), "{error}: {:?}", error.hint_text());
}
