//! The archive in an object store: the S3 protocol over real HTTP, by the program as users run it.

use super::run_with_changes;
use crate::support::s3::{Asks, S3};
use crate::support::{self, TestDatabase};
use serde_json::Value;
use std::process::Output;
use tempfile::TempDir;
use tokio::process::Command;

/// Rows that do not become small: their part is uploaded in pieces.
const LAND_NOISE: &str = "
    insert into staging.orders (connection, source_key, payload, payload_hash, run_id)
    select
        'shop',
        'noise ' || i,
        jsonb_build_object('noise', (select string_agg(md5(random()::text || i || n), '') from generate_series(1, 2000) as n)),
        gen_random_uuid(),
        {run}
    from generate_series(1, 400) i";

const PIPELINE: &str = "
name: stored
sources:
  - connection: shop
    platform: woocommerce
    base_url: http://127.0.0.1:9
    consumer_key: key
    consumer_secret: secret
target:
  account: crm
  platform: salesmanago
  base_url: http://127.0.0.1:9
  client_id: id
  api_key: key
  api_secret: secret
  owner: owner@shop.example
";

/// A database whose archive lies in a store.
struct Stored {
    s3: S3,
    db: TestDatabase,
    folder: TempDir,
}

impl Stored {
    async fn new() -> Self {
        let stored =
            Self { s3: S3::start().await, db: support::database().await, folder: tempfile::tempdir().unwrap() };
        let pipeline = format!("{PIPELINE}archive: {{to: '{}'}}\n", stored.s3.place());
        std::fs::write(stored.folder.path().join("stored.yaml"), pipeline).unwrap();
        stored
    }

    fn wharf(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command
            .current_dir(self.folder.path())
            .args(arguments)
            .env("DATABASE_URL", &self.db.url)
            .env_remove("WHARF_FAILPOINTS")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        self.s3.introduce(&mut command);
        command
    }

    /// Runs the program to its good end; the document that it prints.
    async fn done(&self, arguments: &[&str]) -> Value {
        let output = self.wharf(&[&["--json"][..], arguments].concat()).output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    async fn archive(&self) -> String {
        self.done(&["archive", "stored.yaml"]).await["snapshot"].as_str().unwrap().to_owned()
    }

    /// What readers of `*/snapshot=*/` would find.
    fn snapshots(&self) -> Vec<String> {
        let published = self.s3.objects().into_iter().filter(|object| object.ends_with("/_manifest.json"));
        published.filter(|object| object.contains("/snapshot=") && !object.starts_with('_')).collect()
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn count(db: &TestDatabase, table: &str) -> i64 {
    let statement = format!("select count(*) from {table}");
    db.client().await.unwrap().query_one(&statement, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_in_a_store_is_written_verified_compared_restored_and_pruned() {
    let stored = Stored::new().await;
    run_with_changes(&stored.db, LAND_NOISE).await;
    let first = stored.archive().await;
    run_with_changes(&stored.db, super::LAND_ORDER).await;
    let second = stored.archive().await;
    let part = stored.s3.folder().join(format!("staging.orders/snapshot={first}/part-00000.parquet"));
    assert!(std::fs::metadata(part).unwrap().len() > 8 << 20, "too small to be uploaded in pieces");
    assert!(stored.s3.objects().iter().all(|object| !object.starts_with("_writing")), "{:?}", stored.s3.objects());

    let place = stored.s3.place();
    let verified = stored.done(&["archive", "verify", "--at", &place]).await;
    assert_eq!(verified["findings"], serde_json::json!([]), "{verified}");
    let compared = stored.wharf(&["archive", "diff", &place, &first, &second]).output().await.unwrap();
    assert!(compared.status.success() && told(&compared).contains("staging.orders"), "{}", told(&compared));

    let empty = support::database().await;
    stored.done(&["archive", "restore", &place, "--snapshot", &first, "--database-url", &empty.url]).await;
    assert_eq!(count(&empty, "staging.orders").await, 400);

    let pruned = stored.done(&["archive", "prune", "stored.yaml", "--last", "1"]).await;
    assert_eq!(pruned["dropped"], serde_json::json!([first]));
    let left = stored.s3.objects();
    assert!(!left.iter().any(|object| object.starts_with(&format!("staging.orders/snapshot={first}"))), "{left:?}");
    assert_eq!(stored.done(&["archive", "verify", "--at", &place]).await["findings"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_killed_at_any_write_leaves_no_half_snapshot_to_be_seen() {
    let stored = Stored::new().await;
    run_with_changes(&stored.db, LAND_NOISE).await;
    let place = stored.s3.place();
    for (asks, nth) in
        [(Asks::UploadPart, 1), (Asks::CompleteUpload, 1), (Asks::Copy, 1), (Asks::Copy, 8), (Asks::Delete, 1)]
    {
        stored.s3.hold(asks, nth).await;
        let mut killed = stored.wharf(&["archive", "stored.yaml"]).spawn().unwrap();
        tokio::select! {
            () = stored.s3.is_reached() => {}
            ended = killed.wait() => panic!("ended before it was killed: {ended:?}"),
        }
        killed.kill().await.unwrap();
        stored.s3.let_go().await;
        assert!(!stored.s3.objects().contains(&"_latest.json".to_owned()), "{asks:?} {nth}");
        let parts = |manifest: &String| -> usize {
            let text = std::fs::read(stored.s3.folder().join(manifest)).unwrap();
            serde_json::from_slice::<Value>(&text).unwrap()["parts"].as_array().unwrap().len()
        };
        for manifest in stored.snapshots() {
            let folder = manifest.trim_end_matches("_manifest.json");
            let there = stored.s3.objects().iter().filter(|object| object.starts_with(folder)).count();
            assert_eq!(there, parts(&manifest) + 1, "{asks:?} {nth}: {folder} is seen and not whole");
        }
    }
    stored.archive().await;
    assert!(stored.s3.objects().iter().all(|object| !object.starts_with("_writing")), "{:?}", stored.s3.objects());
    assert_eq!(stored.done(&["archive", "verify", "--at", &place]).await["findings"], serde_json::json!([]));
    let empty = support::database().await;
    stored.done(&["archive", "restore", &place, "--database-url", &empty.url]).await;
    assert_eq!(count(&empty, "staging.orders").await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_credential_is_told_with_the_variable_to_set() {
    let stored = Stored::new().await;
    for (variable, wrong) in [("AWS_SECRET_ACCESS_KEY", "quite-wrong"), ("AWS_ACCESS_KEY_ID", "NOBODY")] {
        let output = stored.wharf(&["archive", "stored.yaml"]).env(variable, wrong).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        assert!(told(&output).contains(variable) && !told(&output).contains("quite-wrong"), "{}", told(&output));
    }
    let missing = stored.wharf(&["archive", "stored.yaml", "--to", "s3://no-such-bucket/a"]).output().await.unwrap();
    assert!(!missing.status.success() && told(&missing).contains("create it"), "{}", told(&missing));
    let plain =
        stored.wharf(&["archive", "stored.yaml"]).env("AWS_ENDPOINT", "http://192.0.2.1").output().await.unwrap();
    assert!(plain.status.code() == Some(2) && told(&plain).contains("AWS_ALLOW_HTTP"), "{}", told(&plain));
    assert_eq!(stored.s3.objects(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_with_more_than_a_thousand_objects_is_listed_whole() {
    let stored = Stored::new().await;
    let snapshot = stored.archive().await;
    let pages = stored.s3.folder().join("_snapshots");
    let page = std::fs::read(pages.join(format!("{snapshot}.json"))).unwrap();
    let mut page: Value = serde_json::from_slice(&page).unwrap();
    for n in 0..1_050 {
        let name = format!("20200101T000000.{n:06}Z");
        page["snapshot"] = name.as_str().into();
        std::fs::write(pages.join(format!("{name}.json")), page.to_string()).unwrap();
    }
    let found = stored.done(&["archive", "prune", "stored.yaml", "--last", "1", "--dry-run"]).await;
    assert_eq!(found["dropped"].as_array().unwrap().len(), 1_050, "{found}");
}
