//! The private server: made, joined, left, killed, and the machines it has to cope with.

use crate::support::home::{Home, kill_9};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use wharf::Kind;
use wharf::store::private::{self, PrivateServer};
use wharf::store::{Database, DatabaseLocation};

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success(), "it succeeded: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn processes_that_start_on_an_empty_machine_make_one_durable_server_and_stop_it() {
    let home = Home::empty();
    let statement = "select current_user, current_database(), lower('ŁÓDŹ'),
                     current_setting('fsync'), current_setting('synchronous_commit'),
                     current_setting('listen_addresses'), current_setting('server_encoding'),
                     to_regclass('ops.runs')";
    let answers = tokio::join!(home.sql(statement), home.sql(statement), home.sql(statement));
    let expected = "wharf|wharf|łódź|on|on||UTF8|ops.runs";
    assert_eq!((answers.0.as_str(), answers.1.as_str(), answers.2.as_str()), (expected, expected, expected));
    assert!(!home.is_running());
}

#[tokio::test]
async fn a_second_process_joins_and_the_server_stops_when_the_last_leaves() {
    let home = Home::made().await;
    let first = Database::open(&home.location()).await.unwrap();
    let postmaster = home.postmaster();
    assert_eq!(home.sql("select 1").await, "1");
    let second = Database::open(&home.location()).await.unwrap();
    assert_eq!(home.postmaster(), postmaster);
    first.close().await;
    assert_eq!(home.postmaster(), postmaster);
    second.client().await.unwrap().query_one("select 1", &[]).await.unwrap();
    drop(second);
    assert!(!home.is_running());
}

#[tokio::test]
async fn a_wharf_killed_in_the_middle_leaves_a_server_that_the_next_joins_and_stops() {
    let home = Home::made().await;
    let watcher = Database::open(&home.location()).await.unwrap();
    let mut killed = home.wharf(&["db", "psql", "--", "-c", "select pg_sleep(600)"]);
    let mut killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let client = watcher.client().await.unwrap();
    let sleepers = "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'";
    while client.query_one(sleepers, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let postmaster = home.postmaster();
    drop(client);
    assert_eq!(home.sql("select 1").await, "1");
    assert_eq!(home.postmaster(), postmaster);
    watcher.close().await;
    assert!(!home.is_running());
}

#[tokio::test]
async fn a_killed_server_recovers_at_the_next_start_and_has_lost_nothing() {
    let home = Home::made().await;
    // As durable as it is for users.
    std::fs::remove_file(home.postgres().join("local.conf")).unwrap();
    let db = Database::open(&home.location()).await.unwrap();
    let client = db.client().await.unwrap();
    client.batch_execute("create table kept (n int); insert into kept select generate_series(1, 1000)").await.unwrap();
    // A child that is busy does not notice that its parent is gone.
    let busy = db.dedicated().await.unwrap();
    let busy = tokio::spawn(async move { busy.batch_execute("select count(*) from generate_series(1, 1e12)").await });
    let working =
        "select count(*) from pg_stat_activity where query like 'select count(*) from generate%' and state = 'active'";
    while client.query_one(working, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    kill_9(home.postmaster());
    let next = Database::open(&home.location()).await.unwrap();
    let row = next.client().await.unwrap().query_one("select count(*) from kept", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1000);
    assert!(busy.await.unwrap().is_err());
    assert!(client.query_one("select 1", &[]).await.is_err());
    drop(client);
    // The pool of the process that lived through it connects anew.
    db.client().await.unwrap().query_one("select 1", &[]).await.unwrap();
    db.close().await;
    assert!(home.is_running());
    next.close().await;
    assert!(!home.is_running());
}

#[tokio::test]
async fn what_a_crash_of_the_machine_leaves_does_not_keep_the_server_from_starting() {
    let home = Home::made().await;
    // After a reboot the old number belongs to another program of the same user.
    let mut other = Command::new("sleep").arg("600").uid(home.owner().0).stdout(Stdio::null()).spawn().unwrap();
    let stale = format!("{}\n{}\n1700000000\n5432\n", other.id(), home.postgres().join("data").display());
    std::fs::write(home.postgres().join("data/postmaster.pid"), &stale).unwrap();
    let run = home.postgres().join("run");
    std::fs::write(run.join(".s.PGSQL.5432.lock"), &stale).unwrap();
    std::fs::write(run.join(".s.PGSQL.5432"), "").unwrap();
    let output = home.output(&["db", "psql", "--", "-XAtc", "select 1"]).await;
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!home.is_running());
}

#[tokio::test]
async fn a_making_that_was_cut_short_is_made_anew() {
    let home = Home::empty();
    let partial = home.postgres().join("data.partial");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("PG_VERSION"), "15\n").unwrap();
    assert_eq!(home.sql("select 1").await, "1");
    assert!(!partial.exists());
}

#[tokio::test]
async fn root_hands_the_server_to_an_unprivileged_user_without_any_group_of_its_own() {
    if !is_root() {
        println!("not run: only root hands the server over");
        return;
    }
    let home = Home::made().await;
    let db = Database::open(&home.location()).await.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", home.postmaster())).unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let (uid, gid) = home.owner();
    assert_ne!(uid, 0);
    assert_eq!(line("Uid:"), [uid; 4].map(|uid| uid.to_string()).join("\t"));
    assert_eq!(line("Gid:"), [gid; 4].map(|gid| gid.to_string()).join("\t"));
    assert_eq!(line("Groups:"), "");
    db.close().await;
}

#[tokio::test]
async fn root_is_told_which_folder_the_server_cannot_pass_through() {
    if !is_root() {
        println!("not run: only root hands the server over");
        return;
    }
    let outer = tempfile::tempdir().unwrap();
    std::fs::set_permissions(outer.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let error = Database::open(&DatabaseLocation::Private(outer.path().join("home"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PrivatePostgres);
    assert!(error.detail().ends_with(&format!("pass through {}", outer.path().display())), "{error}");
    assert!(error.hint_text().unwrap().contains("WHARF_HOME"));
}

#[tokio::test]
async fn a_home_too_deep_for_a_socket_gets_one_elsewhere() {
    let outer = Home::empty();
    let deep = outer.path().join("a-long-name/".repeat(8)).join("home");
    std::fs::create_dir_all(&deep).unwrap();
    let copied = Command::new("cp").arg("-a").arg(Home::made().await.postgres()).arg(&deep).status().unwrap();
    assert!(copied.success());
    let db = Database::open(&DatabaseLocation::Private(deep)).await.unwrap();
    let url = url::Url::parse(&db.url()).unwrap();
    let folder = url.query_pairs().find(|(name, _)| name == "host").unwrap().1.into_owned();
    assert!(folder.starts_with("/tmp/wharf-"), "{folder}");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    db.close().await;
    std::fs::remove_dir(folder).unwrap();
}

/// A folder with programs that say they are of a version.
fn fake_programs(version: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for program in ["postgres", "initdb", "pg_ctl"] {
        let path = folder.path().join(program);
        std::fs::write(&path, format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

async fn with_programs(home: &Home, folder: &Path) -> Output {
    let mut command = home.wharf(&["db", "psql", "--", "-c", "select 1"]);
    command.env(private::BINDIR_VARIABLE, folder);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_database_of_another_major_version_is_not_touched_by_the_programs_there_are() {
    let home = Home::made().await;
    let made_by = std::fs::read_to_string(home.postgres().join("data/PG_VERSION")).unwrap();
    let other = if made_by.trim() == "16" { "17" } else { "16" };
    let error = error_of(&with_programs(&home, fake_programs(&format!("{other}.2")).path()).await);
    assert!(error.contains(&format!("made by PostgreSQL {}; installed: {other}", made_by.trim())), "{error}");
    assert!(error.contains(&format!("apt-get install postgresql-{}", made_by.trim())), "{error}");
}

#[tokio::test]
async fn programs_too_old_or_missing_are_named_with_what_to_install() {
    let home = Home::empty();
    let error = error_of(&with_programs(&home, fake_programs("13.9").path()).await);
    assert!(error.contains("needs PostgreSQL 14 or newer; installed: 13"), "{error}");
    assert!(error.contains("dnf install postgresql-server"), "{error}");
    let nothing = tempfile::tempdir().unwrap();
    let error = error_of(&with_programs(&home, nothing.path()).await);
    assert!(error.contains("no working postgres"), "{error}");
}

#[tokio::test]
async fn programs_are_found_where_path_leads_to_a_wrapper_that_does_not_work() {
    let home = Home::made().await;
    let folder = tempfile::tempdir().unwrap();
    let wrapper = folder.path().join("postgres");
    std::fs::write(&wrapper, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = home.wharf(&["db", "psql", "--", "-XAtc", "select 1"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let home = Home::made().await;
    home.set("max_connections = nonsense");
    let error = Database::open(&home.location()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PrivatePostgres);
    assert!(error.detail().contains("nonsense"), "{error}");
    assert!(error.hint_text().unwrap().contains("postgres/log"));
}

#[tokio::test]
async fn a_kept_server_outlives_its_users_until_it_is_stopped() {
    let home = Home::made().await;
    home.run(&["db", "start"]).await;
    let postmaster = home.postmaster();
    assert_eq!(home.sql("select 1").await, "1");
    assert_eq!(home.postmaster(), postmaster);
    let status: serde_json::Value = serde_json::from_str(&home.run(&["--json", "db", "status"]).await).unwrap();
    assert_eq!((&status["running"], &status["kept"]), (&true.into(), &true.into()), "{status}");
    let user = Database::open(&home.location()).await.unwrap();
    assert!(home.run(&["db", "stop"]).await.contains("another wharf process"));
    user.client().await.unwrap().query_one("select 1", &[]).await.unwrap();
    user.close().await;
    assert!(!home.is_running());
    assert!(home.run(&["db", "stop"]).await.contains("was not running"));
}

#[tokio::test]
async fn wharfs_own_role_is_no_superuser_and_the_readers_reads_every_table_and_writes_none() {
    let home = Home::made().await;
    let rights = "select current_user, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
                  pg_has_role('pg_read_server_files', 'member'), pg_has_role('pg_execute_server_program', 'member')
                  from pg_roles where rolname = current_user";
    assert_eq!(home.sql(rights).await, "wharf|f|f|f|f|f|f|f");
    let reader = async |statement: &str| home.output(&["db", "psql", "--read-only", "--", "-XAtc", statement]).await;
    assert_eq!(String::from_utf8(reader(rights).await.stdout).unwrap().trim(), "wharf_reader|f|f|f|f|f|f|f");
    for readable in ["staging.orders", "canonical.contacts", "marts.rfm", "delivery.ledger", "ops.rejects"] {
        let output = home.output(&["db", "psql", "--read-only", "--", "-XAtc", &format!("table {readable}")]).await;
        assert!(output.status.success(), "{readable}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for refused in [
        "delete from canonical.contacts",
        "truncate staging.orders",
        "drop view marts.rfm",
        "create table canonical.mine ()",
        "select pg_read_file('/etc/hostname')",
        "set role wharf",
        "set role postgres",
    ] {
        assert!(error_of(&reader(refused).await).contains("ERROR"), "{refused}");
    }
    // What comes later is readable, too.
    home.sql("create table canonical.later (); create view marts.later as select 1 as one").await;
    assert_eq!(String::from_utf8(reader("table marts.later").await.stdout).unwrap().trim(), "1");
    let url = home.output(&["db", "url", "--read-only"]).await;
    assert!(String::from_utf8(url.stdout).unwrap().contains("user=wharf_reader"));
    home.output(&["db", "stop"]).await;
}

#[tokio::test]
async fn a_role_of_ones_own_is_let_read_until_that_is_taken_back() {
    let test = crate::support::database().await;
    let role = test.client().await.unwrap().query_one("select 'reader_of_' || current_database()", &[]).await.unwrap();
    let role: String = role.get(0);
    crate::support::postgres::as_admin(&format!("create role {role}")).await;
    let wharf = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_wharf")).args(arguments).env("DATABASE_URL", &test.url).output();
        output.unwrap()
    };
    let reads = async |table: &str| -> bool {
        let client = test.client().await.unwrap();
        client.query_one("select has_table_privilege($1, $2, 'select')", &[&role, &table]).await.unwrap().get(0)
    };
    assert!(error_of(&wharf(&["db", "grant", "nobody-by-this-name"])).contains("create role"));
    assert!(wharf(&["db", "grant", &role, "--canonical"]).status.success());
    assert!(reads("canonical.contacts").await && reads("marts.rfm").await && !reads("staging.orders").await);
    assert!(wharf(&["db", "grant", &role]).status.success());
    assert!(reads("staging.orders").await && reads("ops.rejects").await);
    assert!(wharf(&["db", "grant", &role, "--revoke"]).status.success());
    assert!(!reads("canonical.contacts").await && !reads("staging.orders").await);
    // Nothing is left that would keep the role from being dropped.
    crate::support::postgres::as_admin(&format!("drop role {role}")).await;
}

#[tokio::test]
async fn the_printed_connection_string_works_in_psql_without_any_wharf() {
    let home = Home::made().await;
    let url = home.run(&["db", "url"]).await;
    let output = Command::new("psql").args([url.trim(), "-XAtc", "select count(*) from ops.runs"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{}", String::from_utf8_lossy(&output.stderr));
    home.run(&["db", "stop"]).await;
    assert!(!home.is_running());
}

#[tokio::test]
async fn tools_without_sockets_get_a_port_that_asks_for_a_password() {
    let home = Home::made().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = home.run(&["db", "start", "--listen", &format!("127.0.0.1:{port}")]).await;
    assert!(url.contains(&format!("@127.0.0.1:{port}/wharf")), "{url}");
    let (client, connection) = tokio_postgres::connect(url.trim(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one("select count(*) from ops.runs", &[]).await.unwrap();
    let open = format!("postgresql://wharf@127.0.0.1:{port}/wharf");
    assert!(tokio_postgres::connect(&open, tokio_postgres::NoTls).await.is_err());
    let refused = error_of(&home.output(&["db", "start", "--listen", "0.0.0.0:5433"]).await);
    assert!(refused.contains("this machine only"), "{refused}");
    drop(client);
    home.run(&["db", "stop"]).await;
    // The port was lost to another program: the server comes up on its socket all the same.
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    assert_eq!(home.sql("select 1").await, "1");
}

#[tokio::test]
async fn dropping_the_server_without_a_word_leaves_it_all_the_same() {
    let home = Home::made().await;
    drop(PrivateServer::join(home.path()).await.unwrap());
    assert!(!home.is_running());
}
