//! `wharf changes`: what readers of the feed get, how their place is kept, and that reading costs what is new.

use crate::support::TestDatabase;
use crate::support::staged::{StagedShop, customer, order};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use wharf::store::feed::{self, Beginning, Consumer, Position};
use wharf::store::{Outcome, Run};

fn command(db: &TestDatabase, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.args(arguments).env("DATABASE_URL", &db.url).env_remove("WHARF_LOG").stdin(Stdio::null());
    command
}

async fn wharf(db: &TestDatabase, arguments: &[&str]) -> Output {
    let mut command = command(db, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The changes that a command gave, one object a line.
async fn read(db: &TestDatabase, arguments: &[&str]) -> Vec<Value> {
    let output = wharf(db, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn seqs(changes: &[Value]) -> Vec<i64> {
    changes.iter().map(|change| change["seq"].as_i64().unwrap()).collect()
}

async fn small_shop() -> StagedShop {
    let shop = StagedShop::new(json!({})).await;
    shop.stage("shop", "customers", &[customer(1, "anna@shop.example"), customer(2, "ewa@shop.example")]).await;
    shop.stage("shop", "orders", &[order(100, 1, "anna@shop.example", 50)]).await;
    shop.transform().await;
    shop
}

async fn rename(shop: &StagedShop, name: &str) {
    let mut record = customer(1, "anna@shop.example");
    record["first_name"] = json!(name);
    record["date_modified_gmt"] = json!("2025-01-01T00:00:00");
    shop.stage("shop", "customers", &[record]).await;
    shop.transform().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_every_change_once_and_goes_on_where_it_stopped() {
    let shop = small_shop().await;
    let all: i64 = shop.value("select count(*) from canonical.changes").await.parse().unwrap();
    let mut seen = BTreeSet::new();
    // In small bites: a place within a run is kept too.
    loop {
        let bite = read(&shop.test, &["changes", "--json", "--consumer", "bill", "--limit", "3"]).await;
        if bite.is_empty() {
            break;
        }
        assert!(bite.len() <= 3);
        assert!(seqs(&bite).into_iter().all(|seq| seen.insert(seq)), "a change came twice: {bite:?}");
    }
    assert_eq!(i64::try_from(seen.len()).unwrap(), all);
    rename(&shop, "Hanna").await;
    let changes = read(&shop.test, &["changes", "--json", "--consumer", "bill"]).await;
    let contact = changes.iter().find(|change| change["entity"] == "contacts").unwrap();
    assert_eq!((&contact["op"], &contact["old"]["first_name"]), (&json!("update"), &json!("Anna")));
    assert_eq!(contact["row"]["first_name"], "Hanna", "the row as it is now");
    assert_eq!(contact["row"]["email"], "anna@shop.example");
    assert!(read(&shop.test, &["changes", "--json", "--consumer", "bill"]).await.is_empty());
    // Without a name nothing is kept, and a name can be set back.
    assert!(read(&shop.test, &["changes", "--json"]).await.len() > changes.len());
    let again = read(&shop.test, &["changes", "--json", "--consumer", "bill", "--from-beginning"]).await;
    assert_eq!(seqs(&again), seqs(&read(&shop.test, &["changes", "--json"]).await));
    let listed: Value =
        serde_json::from_slice(&wharf(&shop.test, &["changes", "consumers", "--json"]).await.stdout).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["behind"]), (&json!("bill"), &json!(0)));
    assert_eq!(wharf(&shop.test, &["changes", "forget", "bill"]).await.status.code(), Some(0));
    assert_eq!(wharf(&shop.test, &["changes", "forget", "bill"]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entity_shows_its_row_as_it_is_now() {
    let shop = small_shop().await;
    shop.stage("shop", "categories", &[crate::support::staged::category(3, 0, "Kubki: duże")]).await;
    shop.stage("shop", "products", &[crate::support::staged::product(50, &[3])]).await;
    shop.transform().await;
    let changes = read(&shop.test, &["changes", "--json"]).await;
    let entities: BTreeSet<&str> = changes.iter().map(|change| change["entity"].as_str().unwrap()).collect();
    assert_eq!(entities, BTreeSet::from(feed::ENTITIES));
    for change in &changes {
        assert!(change["row"].is_object(), "{change}");
    }
    let tagged =
        changes.iter().any(|change| change["entity"] == "contact_tags" && change["row"]["tag"] == "Kubki: duże");
    assert!(tagged, "a tag with a colon is found");
    let human = text(&wharf(&shop.test, &["changes", "--entity", "products"]).await.stdout);
    assert!(human.starts_with("run ") && human.contains("insert products shop:50"), "{human}");
    assert_eq!(human.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reader_of_a_consumer_is_told_who_reads_and_a_filter_may_not_change() {
    let shop = small_shop().await;
    let session = shop.test.db.dedicated().await.unwrap();
    let entities = ["orders".to_owned()];
    Consumer::take(&session, "bill", None, Some(&entities)).await.unwrap();
    let output = wharf(&shop.test, &["changes", "--consumer", "bill"]).await;
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains(wharf::store::run::holder()), "{}", text(&output.stderr));
    assert_eq!(wharf(&shop.test, &["changes", "forget", "bill"]).await.status.code(), Some(4));
    drop(session);
    let freed = "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())";
    while shop.value(freed).await != "0" {
        tokio::task::yield_now().await;
    }
    let output = wharf(&shop.test, &["changes", "--consumer", "bill"]).await;
    assert_eq!(output.status.code(), Some(2), "it would never see what it has passed of other entities");
    let orders = read(&shop.test, &["changes", "--consumer", "bill", "--entity", "orders", "--json"]).await;
    assert_eq!(orders.len(), 1);
}

struct Following {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Following {
    fn begin(db: &TestDatabase, arguments: &[&str]) -> Self {
        let mut child = command(db, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn change(&mut self) -> Value {
        tokio::task::block_in_place(|| serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap())
    }

    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        tokio::task::block_in_place(|| {
            let pid = self.child.id().to_string();
            assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
            let mut said = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            (self.child.wait().unwrap().code(), said)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_changes_as_they_come_and_stops_between_pages() {
    let shop = small_shop().await;
    let mut following = Following::begin(&shop.test, &["changes", "--json", "--follow", "--consumer", "live"]);
    let all: i64 = shop.value("select count(*) from canonical.changes").await.parse().unwrap();
    for _ in 0..all {
        following.change();
    }
    rename(&shop, "Hanna").await;
    let mut entities = BTreeSet::new();
    while !entities.contains("contacts") {
        entities.insert(following.change()["entity"].as_str().unwrap().to_owned());
    }
    let (code, said) = following.end("-INT");
    assert_eq!(code, Some(0), "{said}");
    assert!(read(&shop.test, &["changes", "--json", "--consumer", "live"]).await.is_empty(), "its place was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_killed_has_skipped_nothing() {
    let shop = small_shop().await;
    let mut following = Following::begin(&shop.test, &["changes", "--json", "--follow", "--consumer", "live"]);
    let first = following.change();
    following.end("-KILL");
    // The lines of the page had left, or its place was not kept: nothing lies between.
    let place: Option<i64> = shop.value("select seq from ops.consumers").await.parse().ok();
    let run: i64 = shop.value("select run_id from ops.consumers").await.parse().unwrap();
    assert!(run == 0 || place >= first["seq"].as_i64() || place.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_it_quietly_and_its_page_is_not_lost() {
    let shop = StagedShop::new(json!({})).await;
    let run = Run::begin(&shop.test.db, "test", "transform").await.unwrap();
    shop.client()
        .await
        .execute(
            "insert into canonical.changes (run_id, entity, key, op, old)
             select $1, 'products', 'shop:' || n, 'delete', jsonb_build_object('name', repeat('x', 1000))
             from generate_series(1, 3000) n",
            &[&run.id],
        )
        .await
        .unwrap();
    run.finish(Outcome::Done, None).await.unwrap();
    let mut following = Following::begin(&shop.test, &["changes", "--json", "--consumer", "short"]);
    following.change();
    let Following { mut child, lines } = following;
    drop(lines);
    let (status, said) = tokio::task::block_in_place(|| {
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (child.wait().unwrap(), said)
    });
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    let rest = read(&shop.test, &["changes", "--json", "--consumer", "short"]).await;
    assert!(rest.len() == 3000, "the page that did not leave whole comes again, here the first: {}", rest.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_costs_what_is_new_whatever_lies_before_it() {
    let shop = small_shop().await;
    let client = shop.client().await;
    client
        .batch_execute(
            "insert into canonical.changes (run_id, entity, key, op)
             select 1 + n / 1000, 'products', 'shop:' || n, 'update' from generate_series(1, 50000) n;
             analyze canonical.changes",
        )
        .await
        .unwrap();
    let text = std::fs::read_to_string("sql/changes/read.sql").unwrap();
    let filled = ["49", "null", "60", "null", "1000"]
        .iter()
        .enumerate()
        .fold(text, |text, (place, value)| text.replace(&format!("${}", place + 1), value));
    let rows = client.query(&format!("explain {filled}"), &[]).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("changes_position") && !plan.contains("Seq Scan on changes"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_readers_get_the_same_by_the_function() {
    let shop = small_shop().await;
    rename(&shop, "Hanna").await;
    let session = shop.test.db.dedicated().await.unwrap();
    let start = Beginning::Everything.position(&session).await.unwrap();
    let through = feed::complete_run(&session).await.unwrap();
    let pages = feed::page(&session, start, through, None, 10_000).await.unwrap();
    let ours: Vec<i64> = pages.iter().map(|change| change.position.seq.unwrap()).collect();
    let rows = session.query("select seq from canonical.changes_after(0)", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), ours);
    let none = feed::page(&session, Position::after(through), through, None, 10).await.unwrap();
    assert_eq!(none, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_gives_logical_consumers_each_change_in_the_order_of_commits() {
    let shop = StagedShop::new(json!({})).await;
    let client = shop.client().await;
    let level: String = client.query_one("show wal_level", &[]).await.unwrap().get(0);
    if level != "logical" {
        eprintln!("skipped: this server's wal_level is {level}");
        return;
    }
    client
        .batch_execute("create publication wharf_changes for table canonical.changes with (publish = 'insert')")
        .await
        .unwrap();
    let slot = shop.value("select current_database()").await;
    client.execute("select pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot]).await.unwrap();
    shop.stage("shop", "customers", &[customer(1, "anna@shop.example")]).await;
    shop.transform().await;
    rename(&shop, "Hanna").await;
    // The test server commits without waiting for its log, and decoding reads what has been written.
    client.batch_execute("begin; set local synchronous_commit = on; create table flushed (); commit").await.unwrap();
    let messages = client
        .query(
            "select data from pg_logical_slot_get_binary_changes($1, null, null, 'proto_version', '1', 'publication_names', 'wharf_changes')",
            &[&slot],
        )
        .await
        .unwrap();
    client.execute("select pg_drop_replication_slot($1)", &[&slot]).await.unwrap();
    let inserted: Vec<i64> = messages.iter().filter_map(|row| inserted_seq(row.get(0))).collect();
    let expected: Vec<i64> = client
        .query("select seq from canonical.changes order by run_id, seq", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(expected.len() > 4);
    assert_eq!(inserted, expected);
}

/// The first column of an insert message of pgoutput: `I`, relation (4), `N`, columns (2), `t`, length (4), text.
fn inserted_seq(message: &[u8]) -> Option<i64> {
    if message.first() != Some(&b'I') {
        return None;
    }
    let length = usize::try_from(u32::from_be_bytes(message[9..13].try_into().unwrap())).unwrap();
    Some(std::str::from_utf8(&message[13..13 + length]).unwrap().parse().unwrap())
}
