//! A server that is set to answer commits before they are on disk, as some are for speed, and loses the last of them.

use crate::support::home::Home;
use crate::support::invariants::{check, told};
use crate::support::world::{Kind, World, ended};
use serde_json::json;
use std::time::Duration;

/// How long a program may take to the point where it is halted.
const HANGS: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_intent_was_committed_is_not_sent_again_by_whatever_server() {
    let home = Home::made().await;
    // Longer than it takes to kill it.
    home.set("synchronous_commit = off\nwal_writer_delay = '10s'");
    let world = World::on(home, Kind { pipeline: json!({"load": {"parallel": 1}}), ..Kind::default() }).await;

    // The contacts take the first calls, the events those from the seventh on.
    let child = world.wharf(&["-q", "run", "world.yaml"], "load/after-call-before-outcome=stop@8").spawn().unwrap();
    let id = child.id().unwrap();
    tokio::time::timeout(HANGS, halted(id)).await.expect("the program never came to its second call of events");
    world.kill_a_backend().await;
    std::process::Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
    assert_eq!(ended(child).await.signal, Some(9));
    world.home().run(&["db", "start"]).await;

    world.run_until_done().await.unwrap();
    let broken = check(&world).await;
    assert!(broken.is_empty(), "{}", told(&broken));
}

/// Waits until a process is halted.
async fn halted(id: u32) {
    let is_halted = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    while !is_halted() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
