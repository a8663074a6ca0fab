//! `wharf check` against emulated platforms: what it says, what it returns, and that it stops when asked.

use super::support;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use wharf::sandbox::{Sandbox, SandboxOptions, salesmanago, woocommerce};

const PIPELINE: &str = "\
name: shop
sources:
  - connection: my-shop
    platform: woocommerce
    base_url: ${WOO_URL}
    consumer_key: ${WOO_KEY}
    consumer_secret: ${WOO_SECRET}
    auth: basic
target:
  account: my-crm
  platform: salesmanago
  base_url: ${SM_URL}
  client_id: ${SM_CLIENT_ID}
  api_key: any-text
  api_secret: ${SM_API_SECRET}
  owner: owner@shop.example
";

async fn sandbox() -> Sandbox {
    let options = SandboxOptions::default().with(woocommerce::Options::small()).with(salesmanago::Options::default());
    Sandbox::start(options).await.unwrap()
}

fn wharf(folder: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    let home = folder.join("home");
    command
        .current_dir(folder)
        .env_clear()
        .env("WHARF_HOME", home)
        .env("NO_PROXY", "*")
        .envs(variables.iter().copied());
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Folder with the pipeline file, variables that open both ends.
async fn set_up(sandbox: &Sandbox, pipeline: &str) -> (tempfile::TempDir, Vec<(&'static str, String)>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.yaml"), pipeline).unwrap();
    let account = salesmanago::Options::default();
    let variables = vec![
        ("WOO_URL", sandbox.woocommerce_url()),
        ("WOO_KEY", woocommerce::CONSUMER_KEY.to_owned()),
        ("WOO_SECRET", woocommerce::CONSUMER_SECRET.to_owned()),
        ("SM_URL", sandbox.salesmanago_url()),
        ("SM_CLIENT_ID", account.client_id),
        ("SM_API_SECRET", account.api_secret),
    ];
    (folder, variables)
}

async fn check(folder: &Path, variables: &[(&'static str, String)], more: &[&str]) -> (Option<i32>, serde_json::Value) {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut command = wharf(folder, &variables);
    command.args(["--json", "check", "shop.yaml"]).args(more);
    let output = output(command).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let document = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON document: {text}"));
    assert!(!text.contains(woocommerce::CONSUMER_SECRET) && !text.contains("sandbox-secret"), "{text}");
    (output.status.code(), document)
}

fn set(variables: &mut [(&'static str, String)], name: &str, value: &str) {
    for variable in variables.iter_mut().filter(|variable| variable.0 == name) {
        variable.1 = value.to_owned();
    }
}

fn failed_at(document: &serde_json::Value) -> Vec<String> {
    let ends = document["ends"].as_array().unwrap().iter();
    let failed = ends.filter(|end| end["findings"].as_array().unwrap().iter().any(|finding| finding["ok"] == false));
    failed.map(|end| end["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn good_credentials_at_both_ends_are_taken_without_a_changing_call() {
    let sandbox = sandbox().await;
    let (folder, variables) = set_up(&sandbox, PIPELINE).await;
    let (code, document) = check(folder.path(), &variables, &[]).await;
    assert_eq!((code, failed_at(&document)), (Some(0), vec![]), "{document:#}");
    assert_eq!(document["ends"].as_array().unwrap().len(), 2);
    assert!(!folder.path().join("home").exists(), "a check makes no database");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_fails_at_the_end_that_refuses_it() {
    let sandbox = sandbox().await;
    let (folder, mut variables) = set_up(&sandbox, PIPELINE).await;
    set(&mut variables, "WOO_SECRET", "cs_0000000000000000000000000000000000000000");
    let (code, document) = check(folder.path(), &variables, &[]).await;
    assert_eq!((code, failed_at(&document)), (Some(2), vec!["my-shop".to_owned()]), "{document:#}");
    let (folder, mut variables) = set_up(&sandbox, PIPELINE).await;
    set(&mut variables, "SM_API_SECRET", "not-the-secret");
    let (code, document) = check(folder.path(), &variables, &[]).await;
    assert_eq!((code, failed_at(&document)), (Some(2), vec!["my-crm".to_owned()]), "{document:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_makes_no_call() {
    let sandbox = sandbox().await;
    let (folder, mut variables) = set_up(&sandbox, PIPELINE).await;
    set(&mut variables, "WOO_URL", "https://shop.invalid");
    let (code, document) = check(folder.path(), &variables, &["--offline"]).await;
    assert_eq!((code, document["ends"].as_array().unwrap().len()), (Some(0), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_are_tried_where_there_is_a_database_and_a_forgetful_server_is_told_of() {
    let sandbox = sandbox().await;
    let database = support::database().await;
    for (expression, ok) in [("upper(city) || rfm.segment", true), ("no_such_column", false)] {
        let pipeline = format!("{PIPELINE}contacts: {{fields: {{town: \"{expression}\"}}}}\n");
        let (folder, mut variables) = set_up(&sandbox, &pipeline).await;
        variables.push(("DATABASE_URL", database.url()));
        let (code, document) = check(folder.path(), &variables, &[]).await;
        // The tests' server does without fsync.
        let failed = if ok { vec!["server"] } else { vec!["contacts.fields", "server"] };
        assert_eq!(
            (code, failed_at(&document)),
            (Some(2), failed.into_iter().map(str::to_owned).collect()),
            "{document:#}"
        );
        assert_eq!(document["ends"].as_array().unwrap().len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_are_tried_on_empty_tables_where_there_are_none_and_nothing_is_left_of_it() {
    let sandbox = sandbox().await;
    let fields = "contacts:\n  fields:\n    town: upper(city)\n    score: rfm.recencyy\n";
    let pipeline = format!("{PIPELINE}{fields}");
    let (folder, mut variables) = set_up(&sandbox, &pipeline).await;
    let empty = support::postgres::empty_database_url().await;
    for url in [None, Some(empty.clone())] {
        variables.retain(|variable| variable.0 != "DATABASE_URL");
        variables.extend(url.map(|url| ("DATABASE_URL", url)));
        let (code, document) = check(folder.path(), &variables, &[]).await;
        assert_eq!(code, Some(2), "{document:#}");
        let end = document["ends"].as_array().unwrap().iter().find(|end| end["name"] == "contacts.fields").unwrap();
        let findings = end["findings"].as_array().unwrap();
        assert_eq!(findings.len(), 1, "{document:#}");
        let line = pipeline.lines().position(|line| line.contains("recencyy")).unwrap() + 1;
        let detail = findings[0]["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("shop.yaml:{line}:12: contacts.fields.score: column")), "{detail}");
        assert!(detail.contains("recencyy"), "{detail}");
    }
    assert!(!folder.path().join("home").exists(), "a check makes no database");
    let db = wharf::store::Database::connect(&wharf::store::DatabaseLocation::Url(empty)).await.unwrap();
    let client = db.client().await.unwrap();
    let made = client.query_one("select count(*) from pg_namespace where nspname = 'canonical'", &[]).await.unwrap();
    assert_eq!(made.get::<_, i64>(0), 0, "nor tables in one");

    let (code, document) = check(folder.path(), &variables, &["--offline"]).await;
    assert_eq!(code, Some(0));
    assert!(document["not_tried"].as_str().unwrap().contains("contacts.fields"), "{document:#}");
    // A run finds it before the shop is asked for anything.
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for verb in ["run", "load", "plan"] {
        let mut command = wharf(folder.path(), &variables);
        command.args(["--json", verb, "shop.yaml"]);
        let output = output(command).await;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &said["error"]["code"]), (Some(2), &"WH-101".into()), "{verb}: {said}");
        assert_eq!(said["error"]["mistakes"][0]["key"], "contacts.fields.score", "{said}");
    }
    let steps = client.query_one("select count(*) from ops.run_steps", &[]).await.unwrap();
    assert_eq!(steps.get::<_, i64>(0), 0, "no stream was begun");
}

/// A shop that takes connections and never answers; the check is stopped when the first has arrived.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_check_with_code_4() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let sandbox = sandbox().await;
    let (folder, mut variables) = set_up(&sandbox, PIPELINE).await;
    set(&mut variables, "WOO_URL", &url);
    let work = move || {
        for signal in ["INT", "TERM"] {
            let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut child = wharf(folder.path(), &variables)
                .args(["check", "shop.yaml"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let (mut connection, _) = silent.accept().unwrap();
            let mut first_byte = [0];
            connection.read_exact(&mut first_byte).unwrap();
            let id = child.id().to_string();
            assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
            let said: Vec<String> = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
            assert_eq!(child.wait().unwrap().code(), Some(4), "{said:?}");
            assert!(said.iter().any(|line| line.contains("press again to stop at once")), "{said:?}");
            assert!(said.iter().any(|line| line.starts_with("error[WH-503]")), "{said:?}");
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}
