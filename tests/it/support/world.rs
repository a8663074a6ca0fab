//! A shop, an account, a database and the program between them, for tests that let the program die: what happens at the
//! shop and the account, and runs of the real `wharf` as a child that may not come back.

use super::crm::Crm;
pub use super::happening::Happening;
use super::home::Home;
use super::program::program;
use super::seller::Seller;
use super::{TestDatabase, database};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use wharf::sandbox::salesmanago;
use wharf::sandbox::woocommerce::WooCommerce;
use wharf::sandbox::{Sandbox, SandboxOptions};

/// Longer than any run takes; whatever takes longer hangs.
const HANGS: Duration = Duration::from_secs(150);

/// Numbers that look drawn and are the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Whether everything was done, refused values aside.
    pub fn is_done(&self) -> bool {
        matches!(self.code, Some(0 | 3))
    }
}

/// What a world is like.
#[derive(Debug, Clone)]
pub struct Kind {
    pub seed: u64,
    pub customers: u64,
    pub orders: u64,
    /// Products that the shop keeps of its stock.
    pub products: usize,
    /// Members of the pipeline file, over the usual ones.
    pub pipeline: Value,
    /// What is read.
    pub seller: Seller,
    /// What is fed.
    pub crm: Crm,
}

impl Default for Kind {
    fn default() -> Self {
        Self {
            seed: 1,
            customers: 24,
            orders: 48,
            products: 30,
            pipeline: json!({}),
            seller: Seller::WooCommerce,
            crm: Crm::SalesManago,
        }
    }
}

/// Where a world's database is.
pub enum Place {
    Test {
        /// Gone when the world is.
        _database: TestDatabase,
    },
    Home(Home),
}

/// Everything, and what happened to it that its present state does not tell.
pub struct World {
    pub place: Place,
    pub sandbox: Sandbox,
    pub folder: TempDir,
    /// Where the database is.
    pub url: String,
    /// Where the program finds it; another place where a proxy stands between.
    pub database_url: String,
    /// What is read.
    pub seller: Seller,
    /// What is fed.
    pub crm: Crm,
    /// Whoever has opted out at the account, as [`Crm::find`] names people.
    pub opted_out: BTreeSet<String>,
    /// Of those, people who agreed at the shop afterwards: either may stand.
    pub undecided: BTreeSet<String>,
    /// Addresses that contacts had at some time and may have no more.
    pub former: BTreeSet<String>,
    /// Orders that are not at the shop any more.
    pub gone_orders: BTreeSet<String>,
    /// Records that a person has seen to have arrived, though the answer was lost: held until something changes in them.
    pub left: BTreeSet<String>,
    /// The most calls to the account, and in how many microseconds.
    pub limit: Option<(usize, u64)>,
    /// Whether each contact's events must come oldest first: nothing was lost or changed on the way.
    pub expects_oldest_first: bool,
    /// What has been done, in words that can be repeated.
    pub steps: Vec<String>,
    next: u64,
}

impl World {
    /// A world whose database is on the tests' own server.
    pub async fn new(kind: Kind) -> Self {
        let test = database().await;
        Self::at(test.url.clone(), Place::Test { _database: test }, kind).await
    }

    /// A world on a server of its own.
    pub async fn on_a_server_of_its_own(kind: Kind) -> Self {
        Self::on(Home::made().await, kind).await
    }

    /// A world on that server.
    pub async fn on(home: Home, kind: Kind) -> Self {
        home.run(&["db", "start"]).await;
        let url = home.run(&["-q", "db", "url"]).await.trim().to_owned();
        Self::at(url, Place::Home(home), kind).await
    }

    async fn at(url: String, place: Place, kind: Kind) -> Self {
        let served = kind.crm.served(kind.seller.served(SandboxOptions::default(), &kind));
        let sandbox = Sandbox::start(served).await.unwrap();
        let folder = tempfile::Builder::new().prefix("wharf-world-").tempdir().unwrap();
        let mut world = Self {
            place,
            url: url.clone(),
            sandbox,
            folder,
            database_url: url,
            seller: kind.seller,
            crm: kind.crm,
            opted_out: BTreeSet::new(),
            undecided: BTreeSet::new(),
            former: BTreeSet::new(),
            gone_orders: BTreeSet::new(),
            left: BTreeSet::new(),
            limit: None,
            expects_oldest_first: false,
            steps: Vec::new(),
            next: 0,
        };
        world.seller.trim_catalogue(&world.sandbox, kind.products);
        world.opt_out_beforehand();
        world.write_pipeline(&world.seller.url(&world.sandbox), &world.crm.url(&world.sandbox), &kind.pipeline);
        world
    }

    /// The account has met three of the shop's people before, and they have opted out there.
    fn opt_out_beforehand(&mut self) {
        for email in self.seller.agreed(&self.sandbox).into_iter().take(3) {
            self.opted_out.extend(self.crm.meet(&self.sandbox, &email));
        }
    }

    /// Writes the pipeline file; JSON is YAML.
    pub fn write_pipeline(&self, shop_url: &str, account_url: &str, more: &Value) {
        let mut pipeline = json!({
            "name": "world",
            "sources": [self.seller.source(&self.sandbox, shop_url)],
            "target": self.crm.target(&self.sandbox, account_url),
            "contacts": {"consent": "all"},
            "orders": {"statuses": {"shipped": "IN_PROGRESS"}},
            "load": {"grace": "0s", "guard": {"max_removed_share": 1.0, "max_changed_share": 1.0}},
            "archive": {"to": self.archive(), "every": "run"},
        });
        merge(&mut pipeline, more);
        std::fs::write(self.pipeline(), pipeline.to_string()).unwrap();
    }

    pub fn pipeline(&self) -> PathBuf {
        self.folder.path().join("world.yaml")
    }

    pub fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    /// The shop, where it is a WooCommerce.
    pub fn shop(&self) -> &WooCommerce {
        self.sandbox.woocommerce().unwrap()
    }

    pub fn account(&self) -> &salesmanago::SalesManago {
        self.sandbox.salesmanago().unwrap()
    }

    /// The program, with failpoints set.
    pub fn wharf(&self, arguments: &[&str], failpoints: &str) -> Command {
        program(self.folder.path(), arguments, &self.database_url, failpoints)
    }

    /// What `wharf plan --full` finds; what it said instead, where it says nothing of an audit.
    pub async fn audit(&self) -> Result<Value, String> {
        let ran = ended(self.wharf(&["-q", "--json", "plan", "world.yaml", "--full"], "").spawn().unwrap()).await;
        let report: Value = serde_json::from_str(&ran.stdout).map_err(|error| format!("{error}: {ran:?}"))?;
        report.get("audit").cloned().ok_or_else(|| format!("no audit: {ran:?}"))
    }

    /// Its server, where it has one of its own.
    pub fn home(&self) -> &Home {
        match &self.place {
            Place::Home(home) => home,
            Place::Test { .. } => panic!("this world has no server of its own"),
        }
    }

    /// Kills the youngest process that serves a client; the server then throws everybody out and recovers.
    pub async fn kill_a_backend(&self) {
        let Ok((client, connection)) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await else { return };
        tokio::spawn(connection);
        let backends = "select pid from pg_stat_activity
            where backend_type = 'client backend' and pid <> pg_backend_pid()
            order by backend_start desc limit 1";
        if let Ok(Some(row)) = client.query_opt(backends, &[]).await {
            // It may have ended by itself a moment ago.
            let _ = std::process::Command::new("kill").args(["-9", &row.get::<_, i32>(0).to_string()]).output();
        }
    }

    /// Runs all stages.
    pub async fn run(&self, failpoints: &str) -> Ran {
        let mut command = self.wharf(&["-q", "run", "world.yaml"], failpoints);
        ended(command.spawn().unwrap()).await
    }

    /// Runs until everything is done; a run may stop early where an earlier one has left something open, and a person
    /// decides what nobody else can.
    pub async fn run_until_settled(&mut self) -> Result<(), String> {
        self.run_until_done().await?;
        while self.decide().await? {
            self.run_until_done().await?;
        }
        Ok(())
    }

    /// Runs until everything is done that needs nobody.
    pub async fn run_until_done(&self) -> Result<(), String> {
        self.run_until_done_with("").await
    }

    pub async fn run_until_done_with(&self, failpoints: &str) -> Result<(), String> {
        let mut last = String::new();
        self.settle();
        for _ in 0..4 {
            let ran = self.run(failpoints).await;
            // What only a second walk through a list can settle is settled by the next run.
            let is_settled = ran.is_done() && !self.is_in_doubt().await;
            if is_settled {
                return Ok(());
            }
            last = format!("exit {:?}, signal {:?}: {}", ran.code, ran.signal, ran.stderr);
        }
        Err(format!("four runs without failpoints did not come to an end: {last}"))
    }

    /// Whether a whole walk has missed what another has to miss as well.
    async fn is_in_doubt(&self) -> bool {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let statement = "select exists (select from ops.doubtful_keys)";
        client.query_one(statement, &[]).await.unwrap().get(0)
    }

    /// Changes the shop, past all faults.
    pub fn change(&self, request: Value) -> Value {
        self.seller.change(&self.sandbox, &request)
    }

    /// Moves the shop's clock; its time then, as the shop writes it.
    pub fn advance(&self, seconds: u32) -> String {
        let now = self.change(json!({"advance_seconds": seconds}));
        now["now"].as_str().unwrap().to_owned()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn told(&mut self, step: String) {
        self.steps.push(step);
    }

    /// Something of every kind, so that each stage has work and each failpoint is reached.
    pub fn burst(&mut self, dice: &mut Dice) {
        self.advance(600);
        for what in Happening::ALL {
            self.happen(*what, dice);
        }
        self.settle();
    }

    /// Lets so much time pass at the shop that everything can be asked for.
    pub fn settle(&self) {
        self.seller.settle(&self.sandbox);
    }
}

/// Waits for a child; one that hangs is killed and the test fails.
pub async fn ended(child: tokio::process::Child) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let output = tokio::time::timeout(HANGS, child.wait_with_output()).await.expect("the program hangs").unwrap();
    Ran {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(super) fn has_agreed(user: &Value) -> bool {
    let entries = user["meta_data"].as_array();
    entries.into_iter().flatten().any(|entry| entry["key"] == "marketing_consent" && entry["value"] == "yes")
}

pub(super) fn id(row: &Value) -> u64 {
    row["id"].as_u64().unwrap_or_default()
}

/// Lays members over an object, objects member by member.
fn merge(value: &mut Value, more: &Value) {
    match (value, more) {
        (Value::Object(value), Value::Object(more)) => {
            for (name, member) in more {
                merge(value.entry(name.clone()).or_insert(Value::Null), member);
            }
        }
        (value, more) => *value = more.clone(),
    }
}
