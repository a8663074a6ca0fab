//! Another shop or account behind a name: refused before anything is read or sent, and what a person can say to it.

use crate::support::pipeline::WholeWay;
use crate::support::program::program;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use wharf::config::pipeline::Connection;
use wharf::sandbox::{Platform as _, Sandbox, SandboxOptions, salesmanago, woocommerce};
use wharf::stage::tenant::replace::{self, Figure};
use wharf::stage::tenant::{self, Role};
use wharf::stage::verify::{Extent, verify};
use wharf::stage::{Context, extract, plan};
use wharf::store::{Database, DatabaseLocation, Outcome, Run, address};
use wharf::{Kind, Result, source, target};

const OTHER_CLIENT: &str = "other0client0id1";

async fn whole_way() -> WholeWay {
    let keys = "    consent_meta_keys: [{key: marketing_consent, date_key: marketing_consent_date}]";
    WholeWay::open(woocommerce::Options::small(), keys, "").await
}

/// Another account, as empty as on the first day.
async fn other_account() -> Sandbox {
    let account = salesmanago::Options { client_id: OTHER_CLIENT.into(), ..salesmanago::Options::default() };
    Sandbox::start(SandboxOptions::default().with(account)).await.unwrap()
}

/// Another shop, with the same keys: its orders have the numbers of the first one.
async fn other_shop() -> Sandbox {
    let shop = woocommerce::Options { seed: 4711, ..woocommerce::Options::small() };
    Sandbox::start(SandboxOptions::default().with(shop)).await.unwrap()
}

fn point_at(way: &mut WholeWay, account: &Sandbox) {
    way.pipeline.target.base_url = account.salesmanago_url();
    way.pipeline.target.settings.0.insert("client_id".into(), json!(OTHER_CLIENT));
}

async fn context(way: &WholeWay, command: &str) -> Context {
    let run = Run::begin(&way.test.db, "test", command).await.unwrap();
    Context { db: way.test.db.clone(), run, progress: wharf::progress::Progress::silent(), stop: Default::default() }
}

async fn try_extract(way: &WholeWay) -> Result<()> {
    let context = context(way, "extract").await;
    let connection = &way.pipeline.sources[0];
    let source = source::registry::build(connection).unwrap();
    let read = extract::run(&context, &way.pipeline, connection, source).await;
    context.run.finish(Outcome::Done, None).await.unwrap();
    read.map(|_| ())
}

async fn is_new(way: &WholeWay, role: Role, name: &str) -> Result<Vec<Figure>> {
    let context = context(way, role.name()).await;
    let done = replace::is_new(&context, role, name).await;
    context.run.finish(Outcome::Done, None).await.unwrap();
    done
}

async fn has_moved(way: &WholeWay, role: Role, name: &str) -> Result<()> {
    let context = context(way, role.name()).await;
    let done = replace::has_moved(&context, role, name).await;
    context.run.finish(Outcome::Done, None).await.unwrap();
    done
}

fn state(sandbox: &Sandbox) -> Value {
    let account = sandbox.salesmanago().unwrap();
    account.account().settle(jiff::Timestamp::now().as_millisecond());
    account.state()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_is_refused_until_it_is_said_to_be_new_and_then_gets_everything() {
    let mut way = whole_way().await;
    way.run().await;
    way.run().await;
    let first = state(&way.sandbox);
    let old_settings = (way.pipeline.target.base_url.clone(), way.pipeline.target.settings.clone());
    let other = other_account().await;
    point_at(&mut way, &other);

    let refused = way.try_load().await.unwrap_err();
    assert_eq!((refused.kind(), refused.kind().exit() as i32), (Kind::Tenant, 5));
    assert!(refused.to_string().contains(OTHER_CLIENT), "{refused}");
    assert!(refused.hint_text().unwrap().contains("wharf db account crm --is-new"), "{:?}", refused.hint_text());
    let target = target::registry::build(&way.pipeline.target, &way.pipeline.load).unwrap();
    let (progress, stop) = (wharf::progress::Progress::silent(), Default::default());
    let planned = plan::plan(&way.test.db, &way.pipeline, target.as_ref(), &progress, &stop, |_| Ok(())).await;
    assert_eq!(planned.unwrap_err().kind(), Kind::Tenant);
    let verified = verify(&way.test.db, &way.pipeline, target, Extent::All, &progress, &stop).await;
    assert_eq!(verified.unwrap_err().kind(), Kind::Tenant);
    assert_eq!(other.requests().calls("salesmanago", "").len(), 0, "nothing was asked, nothing was sent");

    is_new(&way, Role::Account, "crm").await.unwrap();
    let loaded = way.try_load().await.unwrap();
    assert!(loaded.first_load);
    // What waited for its contact to appear.
    way.try_load().await.unwrap();
    let second = state(&other);
    for figure in ["contacts", "opted_in", "tags", "events", "events_by_type"] {
        assert_eq!(second[figure], first[figure], "{figure}");
    }
    assert_eq!(second["automations"], json!(0));
    assert_eq!(state(&way.sandbox), first, "the old account was left alone");

    (way.pipeline.target.base_url, way.pipeline.target.settings) = old_settings;
    assert_eq!(way.try_load().await.unwrap_err().kind(), Kind::Tenant, "a file with the old credentials");
    let kept = way.rows("select count(*) > 0 from delivery.ledger where target like 'crm until %'").await;
    assert_eq!(kept, ["t"], "what was sent to the old account is still known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_has_moved_keeps_everything() {
    let mut way = whole_way().await;
    way.run().await;
    way.run().await;
    // The same account under another name of its host.
    way.pipeline.target.base_url = way.pipeline.target.base_url.replace("127.0.0.1", "localhost");
    assert_eq!(
        has_moved(&way, Role::Account, "crm").await.unwrap_err().kind(),
        Kind::Command,
        "nobody was refused yet"
    );
    assert_eq!(way.try_load().await.unwrap_err().kind(), Kind::Tenant);
    has_moved(&way, Role::Account, "crm").await.unwrap();
    let loaded = way.try_load().await.unwrap();
    assert_eq!((loaded.tally.all_sent(), loaded.first_load), (0, false));
    let unknown = is_new(&way, Role::Account, "unheard-of").await.unwrap_err();
    assert_eq!(unknown.kind(), Kind::Command);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_secrets_of_the_same_account_and_new_keys_of_the_same_shop_need_no_word() {
    let mut way = whole_way().await;
    way.run().await;
    way.sandbox.salesmanago().unwrap().account().options.api_secret = "a new secret".into();
    way.pipeline.target.settings.0.insert("api_secret".into(), json!("a new secret"));
    way.pipeline.target.settings.0.insert("api_key".into(), json!("another text"));
    way.try_load().await.unwrap();

    // A shop tells everybody who it is.
    let mut settings = way.pipeline.sources[0].settings.clone();
    settings.0.insert("consumer_key".into(), json!(format!("ck_{}", "0".repeat(40))));
    let rotated = Connection { settings, ..way.pipeline.sources[0].clone() };
    let source = source::registry::build(&rotated).unwrap();
    tenant::of_connection(&way.test.db, &rotated, source.as_ref()).await.unwrap();
    let marks = way.rows("select credential from ops.tenants where role = 'connection'").await;
    assert!(marks[0].starts_with("key ") && !marks[0].contains("ck_"), "{marks:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_shop_is_refused_until_it_is_said_to_be_new_and_takes_the_place_without_a_word_to_the_target() {
    let mut way = whole_way().await;
    way.run().await;
    way.run().await;
    let before = state(&way.sandbox);
    let calls = way.sandbox.requests().calls("salesmanago", "").len();
    let other = other_shop().await;
    way.pipeline.sources[0].base_url = other.woocommerce_url();
    assert_eq!(try_extract(&way).await.unwrap_err().kind(), Kind::Tenant);
    let asked: Vec<String> = other.requests().calls("woocommerce", "").iter().map(|call| call.path.clone()).collect();
    assert!(asked.iter().all(|path| path == "/wp-json"), "only who it is: {asked:?}");

    is_new(&way, Role::Connection, "shop").await.unwrap();
    for table in ["orders", "contacts", "products", "categories", "contact_sources"] {
        assert_eq!(way.rows(&format!("select count(*) from canonical.{table}")).await, ["0"], "{table}");
    }
    let left = way.try_load().await.unwrap();
    assert_eq!(left.tally.all_sent(), 0, "{:?}", left.tally);
    assert_eq!(way.sandbox.requests().calls("salesmanago", "").len() - calls, 0, "no target hears of it");
    assert_eq!(state(&way.sandbox), before);

    let (_, loaded) = way.run().await;
    assert!(loaded.first_load, "16,915 contacts of another shop start no automations");
    way.run().await;
    let after = state(&way.sandbox);
    assert_eq!(after["automations"], before["automations"]);
    let number = |value: &Value| value.as_u64().unwrap();
    let wanted = way.rows("select count(*) from delivery.ledger where target = 'crm' and object <> 'contact'").await;
    assert_eq!(
        number(&after["events"]) - number(&before["events"]),
        wanted[0].parse::<u64>().unwrap(),
        "orders of the same numbers are other orders"
    );
    assert!(number(&after["events"]) > number(&before["events"]));
    let (read, sent) = way.run().await;
    assert_eq!((read.total().landed.changed, sent.tally.all_sent(), sent.first_load), (0, 0, false));
}

/// The files of a pipeline between the platforms of a sandbox.
struct Program {
    folder: tempfile::TempDir,
    url: String,
}

impl Program {
    fn new(url: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), url: url.to_owned() }
    }

    fn write(&self, shop: &Sandbox, account: &Sandbox, client: &str) {
        let options = salesmanago::Options::default();
        let file = json!({
            "name": "test",
            "sources": [{"connection": "shop", "platform": "woocommerce", "base_url": shop.woocommerce_url(),
                "consumer_key": woocommerce::CONSUMER_KEY, "consumer_secret": woocommerce::CONSUMER_SECRET,
                "auth": "basic",
                "consent_meta_keys": [{"key": "marketing_consent", "date_key": "marketing_consent_date"}]}],
            "target": {"account": "crm", "platform": "salesmanago", "base_url": account.salesmanago_url(),
                "client_id": client, "api_key": "any", "api_secret": options.api_secret, "owner": options.users[0]},
        });
        std::fs::write(self.path().join("shop.yaml"), file.to_string()).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn wharf(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = program(self.path(), arguments, &self.url, "");
        let Output { status, stdout, stderr } =
            command.env("NO_PROXY", "*").env("WHARF_HOME", self.path().join("home")).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_refuses_with_code_5_says_what_would_happen_and_does_it_only_when_told() {
    let test = crate::support::database().await;
    let shop = woocommerce::Options { customers: 20, orders: 30, ..woocommerce::Options::small() };
    let sandbox =
        Sandbox::start(SandboxOptions::default().with(shop).with(salesmanago::Options::default())).await.unwrap();
    let wharf = Program::new(&test.url);
    let client = salesmanago::Options::default().client_id;
    wharf.write(&sandbox, &sandbox, &client);
    let (code, _, said) = wharf.wharf(&["run", "shop.yaml"]).await;
    assert!([0, 3].contains(&code), "{said}");
    let (code, shown, _) = wharf.wharf(&["db", "account"]).await;
    assert!(code == 0 && shown.contains(&client) && shown.contains("account crm"), "{shown}");

    let other = other_account().await;
    wharf.write(&sandbox, &other, OTHER_CLIENT);
    for command in ["run", "load", "plan", "verify", "check"] {
        let (code, shown, said) = wharf.wharf(&[command, "shop.yaml"]).await;
        // The server of tests runs without fsync, which a check finds, too.
        assert!(code == 5 || command == "check" && code == 2, "{command}: {code} {shown}{said}");
        let both = format!("{shown}{said}");
        assert!(both.contains("--is-new") && both.contains("--has-moved"), "{command}: {both}");
        assert!(command == "check" || both.contains("WH-509"), "{command}: {both}");
    }
    let ledger = "select count(*) || ' ' || count(*) filter (where target = 'crm') from delivery.ledger";
    let held = async || -> String {
        let client = test.db.client().await.unwrap();
        client.query_one(ledger, &[]).await.unwrap().get(0)
    };
    let before = held().await;
    let (code, shown, said) = wharf.wharf(&["db", "account", "crm", "--is-new"]).await;
    assert!(code == 0 && said.contains("--yes") && shown.contains("records of the ledger"), "{shown}{said}");
    assert_eq!(held().await, before, "without --yes nothing is done");
    let (code, shown, said) = wharf.wharf(&["db", "account", "crm", "--is-new", "--yes"]).await;
    assert_eq!(code, 0, "{shown}{said}");
    assert!(held().await.ends_with(" 0"));
    let (code, shown, said) = wharf.wharf(&["load", "shop.yaml"]).await;
    assert!([0, 3, 4].contains(&code) && said.contains("first load"), "{shown}{said}");
    assert!(state(&other)["contacts"].as_u64().unwrap() > 0);
    let (_, shown, said) = wharf.wharf(&["check", "shop.yaml"]).await;
    assert!(shown.contains("what a first load starts there") && !shown.contains("--is-new"), "{shown}{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_has_a_database_of_its_own_beside_the_one_that_is_named() {
    let test = crate::support::database().await;
    // What the demo needs on a server of one's own, and nothing else does.
    let client = test.db.client().await.unwrap();
    let role: String = client.query_one("select quote_ident(current_user)", &[]).await.unwrap().get(0);
    crate::support::postgres::as_admin(&format!("alter role {role} createdb")).await;
    let wharf = Program::new(&test.url);
    let tables = "select count(*) || ' ' || coalesce(max(run_id), 0) from ops.runs";
    for _ in 0..2 {
        let (code, shown, said) = wharf.wharf(&["demo", "--small"]).await;
        assert_eq!(code, 0, "{shown}{said}");
        assert!(shown.contains("_demo"), "{shown}");
        let client = test.db.client().await.unwrap();
        let runs: String = client.query_one(tables, &[]).await.unwrap().get(0);
        assert_eq!(runs, "0 0", "nothing was written into the database that the user named");
    }
    // Somebody's own data under that name is not touched.
    let client = test.db.client().await.unwrap();
    let name: String = client.query_one("select current_database() || '_demo'", &[]).await.unwrap().get(0);
    let beside = DatabaseLocation::Url(address::with_database(&test.url, &name).unwrap());
    let demo = Database::connect(&beside).await.unwrap();
    let forget = "delete from ops.settings where name = 'demo'";
    demo.client().await.unwrap().batch_execute(forget).await.unwrap();
    let (code, _, said) = wharf.wharf(&["demo", "--small"]).await;
    assert!(code == 2 && said.contains("no demo has made"), "{said}");
    demo.close().await;
    client.batch_execute(&format!("drop database {name} with (force)")).await.unwrap();
}
