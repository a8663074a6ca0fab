//! Sessions: set alike whatever the server is set to, not through a pooler that changes them, gone with their process, and
//! their password seen by nobody.

use crate::support::world::{Kind as World_, World};
use crate::support::{invariants, pooler, postgres, program};
use std::time::{Duration, Instant};
use wharf::Kind;
use wharf::error::Exit;
use wharf::store::{Database, DatabaseLocation};

/// What could change the meaning of a statement, or end it.
const HOSTILE: &[(&str, &str)] = &[
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_deferrable", "on"),
    ("standard_conforming_strings", "off"),
    ("search_path", "nowhere"),
    ("statement_timeout", "200ms"),
    ("lock_timeout", "1ms"),
    ("idle_in_transaction_session_timeout", "10ms"),
    ("idle_session_timeout", "1s"),
    ("datestyle", "German, DMY"),
    ("timezone", "Pacific/Chatham"),
    ("intervalstyle", "sql_standard"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("row_security", "on"),
    ("transform_null_equals", "on"),
    ("array_nulls", "off"),
    ("client_encoding", "LATIN1"),
    ("client_min_messages", "debug5"),
    ("session_replication_role", "replica"),
];

/// Sets a database so; answers with what its name is.
async fn make_hostile(url: &str) {
    let url = postgres::as_superuser(url);
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let name: String = client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    for (setting, value) in HOSTILE {
        client.batch_execute(&format!("alter database {name} set {setting} = '{value}'")).await.unwrap();
    }
}

#[tokio::test]
async fn settings_of_role_and_database_do_not_reach_a_session() {
    let url = postgres::empty_database_url().await;
    make_hostile(&url).await;
    let db = Database::open(&DatabaseLocation::Url(url)).await.unwrap();
    for client in [&*db.client().await.unwrap(), &db.dedicated().await.unwrap()] {
        // Only a superuser can set back what a superuser has set of it.
        for (setting, value) in HOSTILE.iter().filter(|(setting, _)| *setting != "session_replication_role") {
            let now: String = client.query_one("select current_setting($1)", &[setting]).await.unwrap().get(0);
            assert_ne!(&now, value, "{setting}");
        }
    }
}

#[tokio::test]
async fn a_run_in_a_database_with_hostile_settings_comes_out_right() {
    let mut world = World::new(World_::default()).await;
    make_hostile(&world.url).await;
    world.run_until_settled().await.unwrap();
    let (client, connection) = tokio_postgres::connect(&world.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let name: String = client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    client.batch_execute("set default_transaction_read_only = off").await.unwrap();
    client.batch_execute(&format!("alter database {name} reset all")).await.unwrap();
    let broken = invariants::check(&world).await;
    assert!(broken.is_empty(), "{}", invariants::told(&broken));
}

#[tokio::test]
async fn a_pooler_that_changes_sessions_between_transactions_is_refused() {
    let url = postgres::empty_database_url().await;
    let pooled = pooler::start(&url).await;
    let error = Database::open(&DatabaseLocation::Url(pooled)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Command);
    assert!(error.detail().contains("a connection pooler that changes the server's session"), "{error}");
    assert!(error.hint_text().unwrap().contains("pool_mode = session"), "{error:?}");
    let db = Database::connect(&DatabaseLocation::Url(url)).await.unwrap();
    let made: bool =
        db.client().await.unwrap().query_one("select to_regnamespace('ops') is not null", &[]).await.unwrap().get(0);
    assert!(!made);
}

/// The connection string of another role.
fn as_role(url: &str, role: &str, password: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    if url.has_host() {
        url.set_username(role).unwrap();
        url.set_password(Some(password)).unwrap();
        return url.to_string();
    }
    let kept: Vec<_> =
        url.query_pairs().filter(|(name, _)| name != "user").map(|(a, b)| (a.into_owned(), b.into_owned())).collect();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair("user", role).append_pair("password", password);
    url.to_string()
}

#[tokio::test]
async fn a_full_connection_table_is_to_be_tried_again() {
    let url = postgres::empty_database_url().await;
    let role = format!("wharf_full_{}", std::process::id());
    postgres::as_admin(&format!("create role {role} login connection limit 0 password 's3cret'")).await;
    let error = Database::open(&DatabaseLocation::Url(as_role(&url, &role, "s3cret"))).await.unwrap_err();
    postgres::as_admin(&format!("drop role {role}")).await;
    assert_eq!((error.kind(), error.kind().exit()), (Kind::DatabaseUnreachable, Exit::Stopped), "{error}");
    assert!(error.hint_text().unwrap().contains("max_connections"), "{error:?}");
}

#[tokio::test]
async fn a_consumer_can_be_read_on_the_moment_its_reader_has_ended() {
    let db = crate::support::database().await;
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let arguments = ["-q", "changes", "--consumer", "billing"];
        let following = [&arguments[..], &["--follow"]].concat();
        let mut reader = program::program(folder.path(), &following, &db.url, "").spawn().unwrap();
        let client = db.client().await.unwrap();
        let held = "select exists (select from pg_locks where locktype = 'advisory' and granted
                        and ((classid::bigint << 32) | objid::bigint) = hashtextextended('wharf consumer billing', 0)
                        and database = (select oid from pg_database where datname = current_database()))";
        while !client.query_one(held, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reader.start_kill().unwrap();
        let next = program::program(folder.path(), &arguments, &db.url, "").output().await.unwrap();
        assert!(next.status.success(), "{}", String::from_utf8_lossy(&next.stderr));
        reader.wait().await.unwrap();
    }
}

#[tokio::test]
async fn a_consumer_that_is_being_read_is_still_refused() {
    let db = crate::support::database().await;
    let folder = tempfile::tempdir().unwrap();
    let holder = db.dedicated().await.unwrap();
    holder.batch_execute("select pg_advisory_lock(hashtextextended('wharf consumer billing', 0))").await.unwrap();
    let arguments = ["-q", "changes", "--consumer", "billing"];
    let next = program::program(folder.path(), &arguments, &db.url, "").output().await.unwrap();
    assert_eq!(next.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&next.stderr).contains("WH-501"));
}

#[tokio::test]
async fn a_password_on_the_command_line_does_not_stay_in_the_list_of_processes() {
    let db = crate::support::database().await;
    let folder = tempfile::tempdir().unwrap();
    let mut url = url::Url::parse(&db.url).unwrap();
    url.query_pairs_mut().append_pair("password", "hunter2");
    for given in [vec!["--database-url".to_owned(), url.to_string()], vec![format!("--database-url={url}")]] {
        let mut arguments = vec!["changes", "--follow"];
        arguments.extend(given.iter().map(String::as_str));
        let mut reader = program::program(folder.path(), &arguments, "", "").spawn().unwrap();
        let list = format!("/proc/{}/cmdline", reader.id().unwrap());
        let began = Instant::now();
        loop {
            let shown = String::from_utf8_lossy(&std::fs::read(&list).unwrap()).into_owned();
            if shown.contains("--follow") && !shown.contains("hunter2") {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{shown}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // It found its database all the same.
        let client = db.client().await.unwrap();
        let listens = "select count(*) from pg_stat_activity
                       where datname = current_database() and pid <> pg_backend_pid()
                           and (query like 'listen%' or query like '%complete_run%')";
        while client.query_one(listens, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert_eq!(reader.try_wait().unwrap(), None);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reader.kill().await.unwrap();
    }
}

#[tokio::test]
async fn the_connection_string_can_be_kept_in_a_file() {
    let db = crate::support::database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("database-url");
    std::fs::write(&file, format!("{}\n", db.url)).unwrap();
    let named = format!("file:{}", file.display());
    let arguments = ["--json", "db", "status"];
    let found = program::program(folder.path(), &arguments, &named, "").output().await.unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    std::fs::remove_file(&file).unwrap();
    let missing = program::program(folder.path(), &arguments[1..], &named, "").output().await.unwrap();
    assert_eq!(missing.status.code(), Some(2));
}
