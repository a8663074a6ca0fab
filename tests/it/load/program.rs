//! The program itself: `wharf load` killed at any point, and what `plan`, `status` and `rejects` say.

use crate::support::canonical::Shop;
use crate::support::home::kill_9;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use wharf::sandbox::salesmanago::{Apply, Options};
use wharf::sandbox::{Platform as _, Sandbox, SandboxOptions};

/// A database with canonical rows, an emulated account, and a pipeline file between them.
struct Bench {
    shop: Shop,
    sandbox: Sandbox,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new(load: Value, account: Value) -> Self {
        let options = Options { apply: Apply::AfterRequests(1), ..Options::default() };
        let served = SandboxOptions::default().with(options);
        let sandbox = Sandbox::start(served).await.unwrap();
        let platform = sandbox.salesmanago().unwrap();
        let mut target = json!({"account": "crm", "platform": "salesmanago", "base_url": sandbox.salesmanago_url()});
        for (variable, value) in platform.credentials() {
            target[variable.trim_start_matches("SM_").to_lowercase()] = json!(value);
        }
        target.as_object_mut().unwrap().extend(account.as_object().unwrap().clone());
        // JSON is YAML.
        let pipeline = json!({
            "name": "test",
            "sources": [{"connection": "shop", "platform": "woocommerce", "base_url": "https://shop.example",
                "consumer_key": "ck_0123456789abcdef0123456789abcdef01234567",
                "consumer_secret": "cs_fedcba9876543210fedcba9876543210fedcba98"}],
            "target": target,
            "load": load,
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop.yaml"), pipeline.to_string()).unwrap();
        Self { shop: Shop::new(json!({})).await, sandbox, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("shop.yaml")
    }

    fn wharf(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.current_dir(self.folder.path()).args(arguments).env("DATABASE_URL", &self.shop.test.url);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.wharf(arguments).output().unwrap()
    }

    /// The one JSON document that a command gives, and its exit code.
    fn json(&self, arguments: &[&str]) -> (Value, i32) {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        let value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
        (value, output.status.code().unwrap())
    }

    fn calls(&self) -> u64 {
        self.sandbox.salesmanago().unwrap().account().calls.values().sum()
    }

    /// How often each order arrived, by `type externalId`.
    fn events(&self, emails: &[String]) -> BTreeMap<String, u64> {
        let account = self.sandbox.salesmanago().unwrap().account();
        let mut events = BTreeMap::new();
        for card in emails.iter().filter_map(|email| account.find(email)) {
            for number in account.events_of(card) {
                let event = account.event(number);
                let order = event.fields()["externalId"].as_str().unwrap().to_owned();
                *events.entry(format!("{} {order}", event.kind())).or_default() += 1;
            }
        }
        events
    }
}

async fn people(shop: &Shop, n: usize) -> Vec<String> {
    let emails: Vec<String> = (0..n).map(|n| format!("c{n}@shop.example")).collect();
    let contacts: Vec<(&str, Value)> = emails.iter().map(|email| (email.as_str(), json!({}))).collect();
    shop.contacts(&contacts).await;
    let keys: Vec<String> = (0..n).map(|n| format!("o{n}")).collect();
    let orders: Vec<(&str, &str, Value)> =
        emails.iter().zip(&keys).map(|(email, key)| (email.as_str(), key.as_str(), json!({}))).collect();
    shop.orders(&orders).await;
    emails
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_killed_after_any_call_sends_no_purchase_twice_and_loses_none() {
    let bench = Bench::new(json!({"grace": "0s"}), json!({"contact_batch": 10, "event_batch": 4})).await;
    let emails = people(&bench.shop, 20).await;
    let mut kills = 0;
    // One call further each time, counted from the beginning of each process.
    for further in 1..=8 {
        let before = bench.calls();
        let mut child =
            bench.wharf(&["-q", "load", "shop.yaml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let ended = loop {
            if bench.calls() >= before + further {
                break false;
            }
            if child.try_wait().unwrap().is_some() {
                break true;
            }
            tokio::task::yield_now().await;
        };
        if !ended {
            kill_9(i32::try_from(child.id()).unwrap());
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills >= 3, "{kills} kills");
    let output = bench.run(&["load", "shop.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: BTreeMap<String, u64> = (0..20).map(|n| (format!("PURCHASE o{n}"), 1)).collect();
    assert_eq!(bench.events(&emails), expected);
    assert_eq!(bench.sandbox.salesmanago().unwrap().state()["violations"], json!({}));
    assert_eq!(bench.shop.count("delivery.pending").await, 0);
    assert_eq!(bench.shop.count("delivery.ledger where state <> 'acknowledged'").await, 0);
    assert_eq!(bench.shop.count("delivery.batches where finished_at is null").await, 0);
    assert_eq!(bench.shop.count("ops.runs where finished_at is null").await, 0);

    let (again, code) = bench.json(&["--json", "load", "shop.yaml"]);
    assert_eq!((&again["tally"]["calls"], code), (&json!({}), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_say_what_a_load_will_do_did_and_could_not_do() {
    let bench = Bench::new(json!({"rate": "50/s"}), json!({"location": "shop_pl"})).await;
    let emails = people(&bench.shop, 3).await;
    bench.shop.contact("no-mail", json!({"email": null, "phone": "+48600000001"})).await;
    let file = bench.file().display().to_string();

    let (plan, code) = bench.json(&["--json", "plan", &file]);
    assert_eq!((code, &plan["tally"]["sent"]), (0, &json!({"contacts new": 3, "purchase": 3})));
    assert_eq!((&plan["baseline"], &plan["first_load"]), (&json!("first"), &json!(true)));
    assert_eq!(bench.calls(), 0, "a plan makes no call");
    assert_eq!(bench.shop.count("ops.runs where command = 'plan'").await, 0);
    let lines = String::from_utf8(bench.run(&["--json", "--verbose", "plan", &file]).stdout).unwrap();
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 4 + 3 + 1, "the records, then the counts");
    let text = String::from_utf8(bench.run(&["--verbose", "plan", &file]).stdout).unwrap();
    assert!(text.contains("consent.email.state: (nothing) -> opt_in"), "{text}");
    assert!(!text.contains("sandbox-secret"), "{text}");

    let (load, code) = bench.json(&["--json", "load", &file]);
    assert_eq!(code, 3, "somebody has no e-mail");
    for part in ["sent", "calls", "rejected", "skipped"] {
        assert_eq!(load["tally"][part], plan["tally"][part], "{part}");
    }
    assert_eq!(bench.events(&emails).len(), 3);

    let (status, code) = bench.json(&["--json", "status", &file]);
    assert_eq!(code, 0);
    let target = &status["targets"][0];
    assert_eq!(
        (&target["pending_contacts"], &target["pending_orders"], &target["held"], &target["ledger"]),
        (&json!(0), &json!(0), &json!(0), &json!({"contact": 3, "purchase": 3}))
    );
    assert_eq!((&status["runs"][0]["command"], &status["runs"][0]["outcome"]), (&json!("load"), &json!("rejects")));
    assert_eq!(load["rejects"], json!({"new": 1, "standing": 1}));
    // An old reject has been told of.
    let (again, code) = bench.json(&["--json", "load", &file, "--full"]);
    assert_eq!((code, &again["rejects"]), (0, &json!({"new": 0, "standing": 1})));
    assert_eq!(bench.json(&["--json", "load", &file, "--strict"]).1, 3);
    assert_eq!(status["rejects"][0], json!({"stage": "delivery", "scope": "crm/test", "code": "no-email", "n": 1}));
    assert_eq!(status["working"], json!([]));
    let words = String::from_utf8(bench.run(&["status"]).stdout).unwrap();
    assert!(words.contains("target crm (salesmanago, pipeline test): pending 0 contacts, 0 orders"), "{words}");
    let (unknown, code) = bench.json(&["--json", "status", "tset"]);
    assert_eq!((code, &unknown["error"]["hint"]), (2, &json!("it knows: test")));

    let (list, _) = bench.json(&["--json", "rejects", "list", "--stage", "delivery"]);
    let key = list[0]["key"].as_str().unwrap().to_owned();
    assert_eq!(list[0]["value"], json!("+48600000001"), "whose it is");
    let shown = String::from_utf8(bench.run(&["rejects", "show", "--key", &key]).stdout).unwrap();
    assert!(shown.contains("no-email"), "{shown}");
    assert_eq!(bench.run(&["rejects", "retry"]).status.code(), Some(2), "which ones must be said");
    let (retried, _) = bench.json(&["--json", "rejects", "retry", "--key", &key]);
    assert_eq!(retried, json!({"delivery": 1, "canonical": 0, "staging": 0}));
    assert_eq!(bench.run(&["load", &file]).status.code(), Some(3));
    let (dropped, _) = bench.json(&["--json", "rejects", "drop", "--code", "no-email"]);
    assert_eq!(dropped, json!({"dropped": 1}));
    assert_eq!(bench.json(&["--json", "rejects"]).0, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_tells_the_dead_from_the_living_and_the_stale_from_the_fresh() {
    let bench = Bench::new(json!({}), json!({})).await;
    people(&bench.shop, 1).await;
    bench.run(&["load", "shop.yaml"]);
    let client = bench.shop.client().await;
    // A run whose process is gone left its row as it was; one that lives holds its lock.
    let dead = "insert into ops.runs (pipeline, command, holder) values ('test', 'extract', 'gone/1/x')";
    client.batch_execute(dead).await.unwrap();
    let alive = wharf::store::Run::begin(&bench.shop.test.db, "test", "transform").await.unwrap();
    client.batch_execute(dead).await.unwrap();
    let (status, code) = bench.json(&["--json", "status", "test"]);
    let runs = status["runs"].as_array().unwrap();
    let outcomes: Vec<&Value> = runs.iter().take(4).map(|run| &run["outcome"]).collect();
    assert_eq!((outcomes, code), (vec![&json!("died"), &Value::Null, &json!("died"), &json!("done")], 0));
    let words = String::from_utf8(bench.run(&["status", "test"]).stdout).unwrap();
    assert_eq!(words.matches("  running").count(), 1, "{words}");
    alive.finish(wharf::store::Outcome::Done, None).await.unwrap();

    let reading = "insert into ops.cursors (connection, stream) values ('shop', 'orders'), ('shop', 'customers');
        insert into ops.readings (connection, stream, read_at)
        values ('shop', 'orders', now() - interval '3 hours'), ('shop', 'customers', now() - interval '1 minute')";
    client.batch_execute(reading).await.unwrap();
    assert_eq!(bench.json(&["--json", "status", "test"]).1, 0, "nobody has set a limit");
    let file = std::fs::read_to_string(bench.file()).unwrap();
    std::fs::write(bench.file(), file.replacen('{', "{\"fresh_within\": \"2h\", ", 1)).unwrap();
    // The file says it; from then on the name is enough.
    for pipeline in ["shop.yaml", "test"] {
        let (status, code) = bench.json(&["--json", "status", pipeline]);
        assert_eq!(code, 1);
        let stale: Vec<(&Value, &Value)> =
            status["streams"].as_array().unwrap().iter().map(|stream| (&stream["stream"], &stream["stale"])).collect();
        assert_eq!(stale, [(&json!("customers"), &json!(false)), (&json!("orders"), &json!(true))]);
    }
    let words = String::from_utf8(bench.run(&["status", "test"]).stdout).unwrap();
    assert!(words.contains("stream shop/orders  read 3 h 0 min ago, newest change -  STALE (fresh_within 2 h 0 min)"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_of_an_empty_database_says_what_comes_first() {
    let bench = Bench::new(json!({}), json!({})).await;
    bench.shop.client().await.batch_execute("delete from ops.connections").await.unwrap();
    for command in ["load", "plan"] {
        let (said, code) = bench.json(&["--json", command, "shop.yaml"]);
        assert_eq!((code, &said["error"]["code"]), (2, &json!("WH-100")), "{said}");
        assert!(said["error"]["hint"].as_str().unwrap().contains("wharf extract"), "{said}");
    }
    assert_eq!(bench.shop.count("delivery.consumers").await, 0, "the first load is still to come");
    let registered = "insert into ops.connections (connection, platform, base_url) values ('shop', 'woocommerce', 'x')";
    bench.shop.client().await.batch_execute(registered).await.unwrap();
    let (said, code) = bench.json(&["--json", "load", "shop.yaml"]);
    assert_eq!(code, 2);
    assert!(said["error"]["hint"].as_str().unwrap().starts_with("`wharf transform`"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_a_run_ended_is_noted_by_what_has_to_be_done_next() {
    use wharf::commands::{Global, parse, with_run};
    use wharf::error::Exit;
    use wharf::{Error, Kind};
    let test = crate::support::database().await;
    let options = parse(&["wharf".into(), "-q".into(), "status".into()]).unwrap().options;
    let global = Global::new(&options);
    for (result, outcome) in [
        (Ok(Exit::Done), "done"),
        (Ok(Exit::Rejected), "rejects"),
        (Ok(Exit::Stopped), "stopped"),
        (Ok(Exit::Decision), "decision"),
        (Err(Kind::DoneElsewhere), "waits"),
        (Err(Kind::LeaseHeld), "stopped"),
        (Err(Kind::Guard), "decision"),
        (Err(Kind::Credentials), "failed"),
    ] {
        let work = async |_| result.map_err(|kind| Error::new(kind, "so it ended"));
        let ended = with_run(&global, &test.db, "shop", "run", work).await.map_err(|error| error.kind());
        assert_eq!(ended, result);
        let client = test.db.client().await.unwrap();
        let row = client.query_one("select outcome from ops.runs order by run_id desc limit 1", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), outcome, "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_end_with_code_2_and_nothing_is_lost() {
    let bench = Bench::new(json!({}), json!({"api_secret": "wrong"})).await;
    people(&bench.shop, 2).await;
    let (error, code) = bench.json(&["--json", "load", "shop.yaml"]);
    assert_eq!((code, &error["error"]["code"]), (2, &json!("WH-201")));
    assert!(!error.to_string().contains("wrong\""), "{error}");
    assert_eq!(bench.shop.count("delivery.pending").await, 4);
}
