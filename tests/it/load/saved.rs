//! A plan that was saved is applied exactly, or not at all.

use super::counts;
use crate::support::canonical::{Shop, contact_id};
use crate::support::fake_target::Act;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wharf::stage::{load, plan};
use wharf::{Kind, Result};

struct Saved {
    shop: Shop,
    folder: TempDir,
}

impl Saved {
    async fn new() -> Self {
        let shop = Shop::new(json!({"contacts": {"tags": {"always": ["shop"]}}})).await;
        Self { shop, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn save(&self, name: &str) -> plan::Report {
        let options = plan::Options { out: Some(self.path(name)), ..plan::Options::default() };
        self.shop.plan_as(&options).await.0
    }

    async fn apply(&self, path: &Path) -> Result<load::Summary> {
        self.shop.load_as(&load::Options { plan: Some(path.to_owned()), ..load::Options::default() }).await
    }

    /// The plan is refused with these words, and nothing is sent.
    async fn refuses(&self, path: &Path, words: &str) {
        let error = self.apply(path).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Plan, "{error}");
        assert!(error.detail().contains(words), "{error}");
        assert!(self.shop.target.take_calls().is_empty(), "{words}");
    }
}

async fn people(shop: &Shop, range: std::ops::Range<usize>) {
    let emails: Vec<String> = range.map(|n| format!("c{n}@shop.example")).collect();
    let all: Vec<(&str, Value)> =
        emails.iter().map(|email| (email.as_str(), json!({"city": "Łódź \\ \"1\""}))).collect();
    shop.contacts(&all).await;
    let orders: Vec<(&str, &str, Value)> =
        emails.iter().map(|email| (email.as_str(), email.as_str(), json!({}))).collect();
    shop.orders(&orders).await;
}

#[tokio::test]
async fn a_saved_plan_is_applied_exactly_and_only_once() {
    for name in ["shop.plan", "shop.plan.zst"] {
        let saved = Saved::new().await;
        people(&saved.shop, 0..7).await;
        let report = saved.save(name).await;
        let path = saved.path(name);
        assert_eq!(report.saved, Some(14));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "it holds personal data");
        assert_eq!(std::fs::read_dir(saved.folder.path()).unwrap().count(), 1, "nothing is left beside it");

        // What became pending since is not sent.
        people(&saved.shop, 7..9).await;
        let loaded = saved.apply(&path).await.unwrap();
        assert_eq!(loaded.tally.sent, report.tally.sent);
        assert_eq!(loaded.tally.calls, report.tally.calls);
        assert_eq!(saved.shop.count("delivery.pending").await, 4);
        saved.shop.target.take_calls();
        saved.refuses(&path, "it was applied already").await;
        assert_eq!(saved.shop.load().await.sent, counts(&[("contacts new", 2), ("purchase", 2)]));
    }
}

#[tokio::test]
async fn a_plan_is_refused_where_the_world_has_moved() {
    let saved = Saved::new().await;
    people(&saved.shop, 0..3).await;
    saved.save("first").await;
    saved.shop.contact("c1@shop.example", json!({"city": "Gdańsk"})).await;
    let error = saved.apply(&saved.path("first")).await.unwrap_err();
    assert!(
        error.detail().contains(&format!(
            "1 of its records would be sent differently now, or not at all: contact {}",
            contact_id("c1@shop.example")
        )),
        "{error}"
    );
    assert!(saved.shop.target.take_calls().is_empty());
    saved.shop.load().await;

    // Here the shop has not moved, but what the account holds has.
    saved.shop.contact("c2@shop.example", json!({"city": "Sopot"})).await;
    saved.save("second").await;
    saved.shop.client().await
        .batch_execute("update delivery.ledger set payload = payload || '{\"phone\": \"+48601000101\"}' where payload->>'email' like 'c2@%'")
        .await.unwrap();
    saved.shop.target.take_calls();
    saved.refuses(&saved.path("second"), "1 of its records").await;
}

#[tokio::test]
async fn a_plan_that_is_cut_edited_or_another_ones_is_refused() {
    let mut saved = Saved::new().await;
    people(&saved.shop, 0..3).await;
    saved.save("plan").await;
    let path = saved.path("plan");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (name, changed, words) in [
        ("edited", text.replacen("\"SHOP\"", "\"SHOP\",\"VIP\"", 1), "it was edited"),
        ("record-gone", [&lines[..2], &lines[3..]].concat().join("\n") + "\n", "it was edited"),
        ("cut", lines[..4].join("\n") + "\n", "it was cut"),
        ("cut-in-a-line", text[..text.len() - 9].to_owned(), "it was cut"),
        ("empty", String::new(), "it is empty"),
        ("other", "hello\nworld\n".to_owned(), "it is no plan of Wharf"),
        ("newer", text.replacen("\"wharf_plan\":1", "\"wharf_plan\":99", 1), "does not read"),
    ] {
        assert_ne!(changed, text, "{name}");
        std::fs::write(saved.path(name), changed).unwrap();
        saved.refuses(&saved.path(name), words).await;
    }
    std::fs::write(saved.path("plan.zst"), &text[..100]).unwrap();
    saved.refuses(&saved.path("plan.zst"), "it was cut").await;
    assert_eq!(saved.apply(&saved.path("none")).await.unwrap_err().kind(), Kind::Io);

    let other = Saved::new().await;
    other.refuses(&path, "another database").await;
    saved.shop.pipeline.contacts.tags.always = vec!["vip".into()];
    saved.refuses(&path, "in another way since").await;
    saved.shop.pipeline.target.account = "other-crm".into();
    saved.refuses(&path, "the account `crm`").await;
    saved.shop.pipeline.name = "another".into();
    saved.refuses(&path, "the pipeline `test`").await;
}

#[tokio::test]
async fn a_plan_that_was_stopped_in_the_middle_goes_on_where_it_was() {
    let saved = Saved::new().await;
    people(&saved.shop, 0..7).await;
    let report = saved.save("plan").await;
    saved.shop.target.script(&[Act::Do, Act::Fail(Kind::Throttled)]);
    let path = saved.path("plan");
    assert_eq!(saved.apply(&path).await.unwrap_err().kind(), Kind::Throttled);
    let there = saved.shop.count("delivery.ledger where state = 'acknowledged'").await;
    assert!((1..14).contains(&there), "{there}");
    let rest = saved.apply(&path).await.unwrap();
    assert_eq!(rest.tally.all_sent() + u64::try_from(there).unwrap(), report.tally.all_sent());
    let mut events = saved.shop.target.events();
    events.dedup();
    assert_eq!((events.len(), saved.shop.target.events().len()), (7, 7), "no purchase twice");
}

#[tokio::test]
async fn a_plan_of_everything_holds_what_the_feed_does_not_and_deletions_too() {
    let saved = Saved::new().await;
    people(&saved.shop, 0..3).await;
    saved.shop.load().await;
    saved
        .shop
        .client()
        .await
        .batch_execute("update canonical.contacts set city = 'Gdynia' where email like 'c1@%'")
        .await
        .unwrap();
    saved.shop.deletes("c2@shop.example").await;
    saved.shop.moves("c0@shop.example", "new@shop.example").await;
    let options = plan::Options { full: true, out: Some(saved.path("full")), ..plan::Options::default() };
    let (report, _) = saved.shop.plan_as(&options).await;
    assert_eq!(report.saved, Some(3));
    let loaded = saved.apply(&saved.path("full")).await.unwrap();
    assert_eq!(loaded.tally.sent, counts(&[("contacts changed", 1), ("contacts rename", 1), ("contacts untag", 1)]));
}
