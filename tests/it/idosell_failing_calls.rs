//! IdoSell: calls that fail lose nothing and double nothing while the panel changes. Whatever goes wrong on the way of a
//! first read and of later ones, staging afterwards is the panel.

use crate::support::panel::Panel;
use crate::support::pipeline::WholeWay;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wharf::progress::Progress;
use wharf::sandbox::idosell::Options;
use wharf::sandbox::{Fault, FaultKind, Platform as _, Sandbox, SandboxOptions, salesmanago};
use wharf::source;
use wharf::stage::{Context, extract};
use wharf::store::{Outcome, Run};

/// What changed is asked for up to a minute before the present.
const SETTLED: u64 = 120;

/// A gate's whole answer whose fault means something else than "no more".
const BLOCKED: &str = r#"{"errors": {"faultCode": 4, "faultString": "Sklep zablokowany"}}"#;
/// "No more", in the middle of a list.
const EMPTY: &str = r#"{"errors": {"faultCode": 2, "faultString": "Empty result"}}"#;

/// What goes wrong, from the n-th call on and so many times: more often than a call is tried, or less.
fn trouble(turn: u64) -> Vec<Fault> {
    let at = |fault: Fault, after: u64, times: u64| {
        let mut fault = fault.after(after).times(times);
        fault.platform = "idosell".to_owned();
        fault
    };
    let kind = |kind| Fault::new(kind, "/api/admin/v6/*");
    let status = |status: u16, body: &str| {
        let mut fault = kind(FaultKind::Status);
        (fault.status, fault.body) = (Some(status), Some(body.to_owned()));
        fault.content_type = Some("application/json".to_owned());
        fault
    };
    let search = |mut fault: Fault| {
        fault.path = "/api/admin/v6/*/search".to_owned();
        fault
    };
    match turn {
        0 => vec![at(kind(FaultKind::Error), 7, 8)],
        1 => vec![at(kind(FaultKind::Cut), 3, 1), at(kind(FaultKind::TruncatedJson), 9, 8)],
        2 => vec![at(status(207, BLOCKED), 6, 1)],
        3 => vec![at(search(status(207, EMPTY)), 4, 1), at(kind(FaultKind::Drop), 2, 2)],
        4 => vec![at(kind(FaultKind::Slow).delay_ms(30), 2, 3), at(kind(FaultKind::Html), 8, 8)],
        5 => vec![at(kind(FaultKind::Throttle).retry_after("0"), 5, 2), at(status(502, ""), 11, 1)],
        _ => vec![at(status(200, "null"), 5, 8), at(kind(FaultKind::Notices), 1, 1)],
    }
}

struct Way {
    way: WholeWay,
    http: reqwest::Client,
}

impl Way {
    async fn open() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let panel = Options { customers: 90, orders: 130, products: 40, ..Options::small() };
        let options = SandboxOptions::default().with(panel).with(salesmanago::Options::default());
        let sandbox = Sandbox::start(options).await.unwrap();
        let file = std::fs::read_to_string("pipelines/idosell-salesmanago.yaml").unwrap();
        let mut way = WholeWay::begin(sandbox, &file, &[]).await;
        let mine = &mut way.pipeline.sources[0];
        mine.rate = Some("10000/s".parse().unwrap());
        mine.compare_keys_every = "0s".parse().unwrap();
        mine.settings.0.insert("per_page".to_owned(), json!(20));
        Self { way, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    fn change(&self, request: Value) {
        self.way.sandbox.idosell().unwrap().change(&request).unwrap();
    }

    /// The panel goes on: rows of every kind change, come and go.
    fn goes_on(&self, turn: u64) {
        self.change(json!({"share": 0.06, "seed": turn}));
        let name = format!("nowa{turn}");
        self.change(
            json!({"create_client": {"login": name, "email": format!("{name}@example.com"), "email_news": true}}),
        );
        self.change(
            json!({"subscribe": {"email": format!("czytelnik{turn}@example.com"), "agreed": turn.is_multiple_of(2)}}),
        );
        self.change(json!({"place_order": {"email": format!("gosc{turn}@example.com"), "status": "new"}}));
        // Orders are only cancelled, people vanish.
        self.change(json!({"delete_client": 45 + turn}));
        self.change(json!({"order_status": {"id": self.first_order(), "status": "canceled"}}));
        self.change(json!({"advance_seconds": SETTLED}));
    }

    fn first_order(&self) -> u64 {
        let shop = self.way.sandbox.idosell().unwrap().read();
        (1..100_000).find(|id| shop.order(*id).is_some()).unwrap()
    }

    /// Reads what changed.
    async fn read(&self) -> wharf::Result<()> {
        let run = Run::begin(&self.way.test.db, &self.way.pipeline.name, "extract").await.unwrap();
        let (progress, stop) = (Progress::silent(), Default::default());
        let context = Context { db: self.way.test.db.clone(), run: run.clone(), progress, stop };
        let connection = &self.way.pipeline.sources[0];
        let source = source::registry::build(connection).unwrap();
        let options = extract::Options::default();
        let read = extract::run_with(&context, &self.way.pipeline, connection, source, &options).await.1;
        run.finish(Outcome::Done, None).await.unwrap();
        read
    }

    /// What staging holds: table and key, and the record.
    async fn staged(&self) -> BTreeMap<String, Value> {
        let client = self.way.test.db.client().await.unwrap();
        let mut rows = BTreeMap::new();
        for table in ["customers", "subscribers", "orders"] {
            let query = format!("select source_key, payload from staging.{table} where deleted_at is null");
            for row in client.query(&query, &[]).await.unwrap() {
                rows.insert(format!("{table} {}", row.get::<_, String>(0)), comparable(row.get(1)));
            }
        }
        rows
    }

    /// What the panel shows, by the names that staging has for it.
    async fn shown(self) -> (BTreeMap<String, Value>, WholeWay) {
        let Self { way, http } = self;
        let WholeWay { test, sandbox, pipeline } = way;
        let panel = Panel { sandbox, http };
        let always = json!({"ordersDateBegin": "2000-01-01 00:00:00", "ordersDateEnd": "2099-01-01 00:00:00"});
        let by = |date: &str| {
            let mut range = always.clone();
            range["ordersDateType"] = json!(date);
            json!({"ordersRange": {"ordersDateRange": range}})
        };
        let mut rows = BTreeMap::new();
        for row in panel.every_client("").await {
            rows.insert(format!("customers {}", row["clientId"]), comparable(row));
        }
        for (channel, key) in [("email", "email"), ("sms", "sms")] {
            for approval in ["y", "n"] {
                let asked = json!({"shops": [{"shop_id": 1, "approval": approval}]});
                for row in panel.every(&format!("clients/newsletter/{channel}/search"), asked).await {
                    rows.insert(format!("subscribers {key}-{}", row["client_number"]), comparable(row));
                }
            }
        }
        for row in panel.every("orders/orders/search", by("modified")).await {
            rows.insert(format!("orders {}", row["orderSerialNumber"]), comparable(row));
        }
        for row in panel.every("orders/unfinished/search", by("add")).await {
            rows.insert(format!("orders unfinished-{}", row["orderSerialNumber"]), comparable(row));
        }
        (rows, WholeWay { test, sandbox: panel.sandbox, pipeline })
    }
}

/// A change of consent does not touch the client, whose own approvals may therefore be old: the lists are what counts.
fn comparable(mut row: Value) -> Value {
    if let Some(fields) = row.as_object_mut() {
        for approvals in ["newsletterEmailApprovalsData", "newsletterSmsApprovalsData"] {
            fields.remove(approvals);
        }
    }
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_calls_fail_on_the_way_staging_is_the_panel_when_they_do_no_more() {
    let this = Way::open().await;
    let mut failed = 0;
    for turn in 0..7 {
        for fault in trouble(turn) {
            this.way.sandbox.fault(fault);
        }
        failed += u64::from(this.read().await.is_err());
        this.way.sandbox.clear_faults();
        this.goes_on(turn);
    }
    assert!((3..7).contains(&failed), "{failed} of 7 reads failed: some faults are to be outlived, and some not");
    // The first read may still be going on, and what changed meanwhile is the next one's matter.
    this.read().await.unwrap();
    this.read().await.unwrap();
    let found = this.staged().await;
    let (expected, _way) = this.shown().await;
    let wrong: Vec<&String> =
        expected.keys().chain(found.keys()).filter(|key| expected.get(*key) != found.get(*key)).collect();
    assert!(wrong.is_empty(), "{} of {} rows differ: {wrong:?}", wrong.len(), expected.len());
    for table in ["customers", "subscribers email-", "subscribers sms-", "orders 1", "orders unfinished-"] {
        assert!(found.keys().any(|key| key.starts_with(table)), "there are no {table}");
    }
}
