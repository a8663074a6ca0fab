//! The private server when one of its processes dies: whoever comes next finds it, waits no longer than it takes to recover,
//! and can be stopped while waiting.

use crate::support::home::{Home, kill_9};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wharf::Kind;
use wharf::store::Database;

/// A wait without an end is longer; the usual ones take a few seconds.
const ENDLESS: Duration = Duration::from_secs(120);

const LOAD: &str = "insert into filled select n, repeat(md5(n::text), 8) from generate_series(1, 3000000) n";

/// A command that is in the middle of writing, and the process that serves it.
#[allow(clippy::zombie_processes, reason = "whoever is given it waits for it")]
async fn loading(home: &Home) -> (Child, i32) {
    let mut load = home.wharf(&["db", "psql", "--", "-c", LOAD]);
    let load = load.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let url = format!("host={} user=wharf dbname=wharf", home.postgres().join("run").display());
    loop {
        // The server is still starting at first.
        if let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            tokio::spawn(connection);
            let busy = "select pid from pg_stat_activity where query like 'insert into filled%' and state = 'active'";
            if let Some(row) = client.query_opt(busy, &[]).await.unwrap() {
                return (load, row.get(0));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How a child ends; one that does not is killed, and the test fails.
async fn end_of(mut child: Child) -> std::process::ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > ENDLESS {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the command does not end");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn works(home: &Home) {
    let mut look = home.wharf(&["db", "psql", "--", "-XAtc", "select count(*) from filled"]);
    let status = end_of(look.stdout(Stdio::null()).spawn().unwrap()).await;
    assert!(status.success(), "{status:?}");
}

#[tokio::test]
async fn a_process_of_the_server_killed_during_a_load_blocks_nobody() {
    let home = Home::made().await;
    home.sql("create table filled (n int, text text)").await;
    for delay in [0, 50, 150, 400, 800, 1500] {
        let (load, backend) = loading(&home).await;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        kill_9(backend);
        assert!(!end_of(load).await.success());
        works(&home).await;
        assert!(!home.is_running());
    }
}

#[tokio::test]
async fn a_server_that_was_asked_to_stop_while_it_recovered_is_seen_off_by_the_next_command() {
    let home = Home::made().await;
    home.sql("create table filled (n int, text text)").await;
    home.run(&["db", "start"]).await;
    let (load, backend) = loading(&home).await;
    let postmaster = home.postmaster();
    tokio::time::sleep(Duration::from_millis(300)).await;
    kill_9(backend);
    tokio::time::sleep(Duration::from_millis(50)).await;
    // What PostgreSQL 15 never comes to an end with.
    assert!(Command::new("kill").args(["-INT", &postmaster.to_string()]).status().unwrap().success());
    end_of(load).await;
    works(&home).await;
}

#[tokio::test]
async fn a_command_that_waits_for_the_server_ends_when_it_is_asked_to() {
    let home = Home::made().await;
    let lock = std::fs::File::open(home.postgres().join("start.lock")).unwrap();
    lock.lock().unwrap();
    let mut waiting = home.wharf(&["db", "psql", "--", "-c", "select 1"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let waiting = tokio::task::spawn_blocking(move || {
        assert!(said.any(|line| line.unwrap().contains("another wharf is starting or stopping PostgreSQL; waiting")));
        Command::new("kill").arg(waiting.id().to_string()).status().unwrap();
        (waiting, said)
    });
    let (waiting, _said) = waiting.await.unwrap();
    assert_eq!(end_of(waiting).await.code(), Some(4));
    lock.unlock().unwrap();
    assert_eq!(home.sql("select 1").await, "1");
}

#[tokio::test]
async fn a_psql_session_ends_when_wharf_is_asked_to() {
    let home = Home::made().await;
    let mut session = home.wharf(&["db", "psql", "--", "-c", "select pg_sleep(600)"]);
    let session = session.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let url = format!("host={} user=wharf dbname=wharf", home.postgres().join("run").display());
    let sleeps = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'";
    loop {
        if let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            tokio::spawn(connection);
            if client.query_one(sleeps, &[]).await.unwrap().get::<_, i64>(0) > 0 {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(Command::new("kill").arg(session.id().to_string()).status().unwrap().success());
    assert_eq!(end_of(session).await.code(), Some(4));
}

#[tokio::test]
async fn a_server_folder_on_another_disk_behind_a_link_works() {
    let home = Home::made().await;
    let elsewhere = Home::empty();
    std::fs::remove_dir(elsewhere.postgres()).unwrap();
    std::fs::rename(home.postgres(), elsewhere.postgres()).unwrap();
    symlink(elsewhere.postgres(), home.postgres()).unwrap();
    assert_eq!(home.sql("select 1").await, "1");
    assert!(!home.is_running());
    std::fs::rename(elsewhere.postgres(), elsewhere.path().join("gone")).unwrap();
    let error = Database::open(&home.location()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PrivatePostgres);
    assert!(error.detail().contains("a symbolic link that leads to no folder"), "{error}");
}

#[tokio::test]
async fn a_data_folder_that_is_a_link_is_named() {
    let home = Home::made().await;
    let data = home.postgres().join("data");
    std::fs::rename(&data, home.postgres().join("elsewhere")).unwrap();
    symlink(home.postgres().join("elsewhere"), &data).unwrap();
    let error = Database::open(&home.location()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PrivatePostgres);
    assert!(error.detail().contains("data is a symbolic link"), "{error}");
}
