//! A fresh, migrated database per test, on one server per test program.
//!
//! The server is that of `DATABASE_URL` (a superuser's) where that is set, else a private one in a temporary folder, whose
//! databases belong to a role without any other right, as on a server of one's own:
//! without fsync, watched by a process that stops and removes it when the test program ends, however it ends. Databases
//! are copies of a template that is migrated once.

use std::io::Write;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::OnceCell;
use wharf::store::private::{self, PrivateServer};
use wharf::store::{Database, DatabaseLocation};

/// A fresh, migrated database; dropped with the value.
pub struct TestDatabase {
    /// The database.
    pub db: Database,
    /// Its connection string.
    pub url: String,
    name: String,
}

impl Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.db
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (server_url().to_owned(), self.name.clone());
        // The test's own runtime may be ending. What cannot be dropped goes with the server, or with the next run's.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await?;
                tokio::spawn(connection);
                client.batch_execute(&format!("drop database if exists {name} with (force)")).await?;
                anyhow::Ok(())
            })
        });
        let _ = dropping.join();
    }
}

/// A fresh, migrated database.
pub async fn database() -> TestDatabase {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let template = TEMPLATE
        .get_or_init(|| async {
            drop_remains().await;
            let name = fresh_name("template");
            create(&name, "template0").await;
            let db = Database::open(&DatabaseLocation::Url(url_of(&name))).await.unwrap();
            db.close().await;
            name
        })
        .await;
    from_template(template).await
}

/// A fresh, empty database: nothing migrated.
pub async fn empty_database_url() -> String {
    let name = fresh_name("empty");
    create(&name, "template0").await;
    url_of(&name)
}

async fn from_template(template: &str) -> TestDatabase {
    let name = fresh_name("test");
    create(&name, template).await;
    let url = url_of(&name);
    let db = Database::connect(&DatabaseLocation::Url(url.clone())).await.unwrap();
    TestDatabase { db, url, name }
}

/// Drops what test programs that have ended left on the server of `DATABASE_URL`; their number is in the name.
async fn drop_remains() {
    let (client, connection) = tokio_postgres::connect(server_url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let ours = "select datname::text, split_part(datname, '_', 3) from pg_database where datname ~ $1";
    for row in client.query(ours, &[&"^wharf_(template|test|empty)_\\d+_\\d+$"]).await.unwrap() {
        let (name, process): (String, String) = (row.get(0), row.get(1));
        if Path::new("/proc/self").exists() && !Path::new("/proc").join(process).exists() {
            client.batch_execute(&format!("drop database if exists {name} with (force)")).await.unwrap();
        }
    }
}

fn fresh_name(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("wharf_{kind}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn create(name: &str, template: &str) {
    // Two copies of one template at a time get in each other's way.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _guard = ONE_AT_A_TIME.lock().await;
    let (client, connection) = tokio_postgres::connect(server_url(), tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    // A connection that was closed a moment ago may still be ending at the server.
    let others = "select count(*) from pg_stat_activity where datname = $1";
    while client.query_one(others, &[&template]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::task::yield_now().await;
    }
    let owner = owner().map(|owner| format!("owner {owner}")).unwrap_or_default();
    let statement = format!("create database {name} template {template} encoding 'UTF8' {owner}");
    client.batch_execute(&statement).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

fn url_of(name: &str) -> String {
    let mut address = url::Url::parse(server_url()).unwrap();
    address.set_path(name);
    match owner() {
        Some(owner) => address.to_string().replacen(&format!("user={}", private::ADMIN), &format!("user={owner}"), 1),
        None => address.to_string(),
    }
}

/// Whose the databases are; on a server of `DATABASE_URL`, the superuser's.
fn owner() -> Option<&'static str> {
    std::env::var("DATABASE_URL").unwrap_or_default().is_empty().then_some(private::ROLE)
}

/// The same database as the server's superuser.
pub fn as_superuser(url: &str) -> String {
    match owner() {
        Some(owner) => url.replacen(&format!("user={owner}"), &format!("user={}", private::ADMIN), 1),
        None => url.to_owned(),
    }
}

/// Runs a statement as the server's superuser.
pub async fn as_admin(statement: &str) {
    let (client, connection) = tokio_postgres::connect(server_url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(statement).await.unwrap();
}

/// Connection string of the server, as a superuser.
fn server_url() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var("DATABASE_URL") {
        Ok(url) if !url.is_empty() => url,
        _ => start_server(),
    })
}

fn start_server() -> String {
    let home = folder().join("server");
    std::fs::create_dir(&home).unwrap();
    prepare_home(&home);
    // Called from within some test's runtime, so a runtime of its own needs a thread of its own.
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = PrivateServer::join(&home).await.unwrap();
            server.keep().unwrap();
            // Makes the roles.
            let db = Database::connect(&DatabaseLocation::Private(home.clone())).await.unwrap();
            // For the test of logical decoding.
            db.as_admin(&format!("alter role {} replication", private::ROLE)).await.unwrap();
            db.close().await;
            server
        })
    })
    .join()
    .unwrap();
    server.admin_url()
}

/// Makes a temporary folder fit for a server that root hands to another user, and the server quick.
pub fn prepare_home(home: &Path) {
    open_to_pass(home);
    std::fs::create_dir_all(home.join("postgres")).unwrap();
    let mut conf = std::fs::File::create(home.join("postgres/local.conf")).unwrap();
    writeln!(conf, "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nshared_buffers = '128MB'").unwrap();
    writeln!(conf, "wal_level = 'logical'\nmax_wal_senders = 4\nmax_replication_slots = 4").unwrap();
    writeln!(conf, "max_connections = 300\nautovacuum_naptime = '1h'").unwrap();
}

/// The server's user may pass through; temporary folders are closed to all others.
fn open_to_pass(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
}

/// A folder of this test program, removed when it ends, however it ends.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (folder, _) = FOLDER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("wharf-test-").tempdir().unwrap().keep();
        open_to_pass(&folder);
        let watcher = watch(&folder);
        (folder, watcher)
    });
    folder
}

/// Starts a shell that waits for the end of its input, which is the end of this process, then stops the server and
/// removes the folder.
fn watch(folder: &Path) -> Child {
    let script = r#"
        cat > /dev/null
        pid=$(head -n 1 "$1/server/postgres/data/postmaster.pid" 2> /dev/null)
        if [ -n "$pid" ]; then
            kill -QUIT "$pid"
            while kill -0 "$pid" 2> /dev/null && [ -e "$1/server/postgres/data/postmaster.pid" ]; do sleep 0.1; done
        fi
        rm -rf "$1"
    "#;
    Command::new("sh")
        .args(["-c", script, "watch"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}
