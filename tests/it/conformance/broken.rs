//! Each check of the battery is seen to fail: a connector that passes is broken in the one way that the check is there for.

use super::{salesmanago, source, target, woocommerce};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wharf::config::pipeline::{Account, Connection, Load};
use wharf::http::Budget;
use wharf::source::{Absence, Finding, Identity, Next, Page, PageRequest, Seen, Source, StreamSpec};
use wharf::target::{BatchOutcome, ContactState, Found, Item, Operation, Outcome, Target};
use wharf::tenant::Tenant;
use wharf::{Error, Kind, Result};

/// A connector with one thing wrong: the check of the same number must notice.
struct Broken<T: ?Sized> {
    inner: Arc<T>,
    how: usize,
    settings: Value,
    base_url: String,
    times: AtomicUsize,
}

impl<T: ?Sized> Broken<T> {
    /// Calls the platform without asking anybody for a turn.
    async fn hammer(&self, path: &str, times: usize) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for _ in 0..times {
            let _ = http.post(format!("{}{path}", self.base_url)).body("{}").send().await;
            let _ = http.get(format!("{}{path}", self.base_url)).send().await;
        }
    }
}

fn build_source<const HOW: usize>(connection: &Connection) -> Result<Arc<dyn Source>> {
    let mut sound = connection.clone();
    if HOW == 0 {
        sound.settings.0.remove("unheard_of");
    }
    let inner = wharf::source::registry::build(&sound)?;
    let settings = json!(connection.settings.0);
    Ok(Arc::new(Broken {
        inner,
        how: HOW,
        settings,
        base_url: connection.base_url.clone(),
        times: AtomicUsize::new(0),
    }))
}

#[async_trait]
impl Source for Broken<dyn Source> {
    async fn prepare(&self) -> Result<()> {
        self.inner.prepare().await
    }

    fn streams(&self) -> Vec<StreamSpec> {
        self.inner.streams()
    }

    async fn page(&self, request: &PageRequest<'_>) -> Result<Page> {
        let time = self.times.fetch_add(1, Ordering::Relaxed) + 1;
        match self.how {
            5 => self.hammer("/wp-json/wc/v3/orders", 1).await,
            6 => self.hammer("/wp-json/wc/v3/orders", 3).await,
            9 => drop(self.inner.page(request).await?),
            _ => {}
        }
        let page = self.inner.page(request).await;
        let page = match self.how {
            4 => page.map_err(|_| Error::new(Kind::PlatformFailure, "something is wrong"))?,
            8 => page.unwrap(),
            _ => page?,
        };
        let records = match self.how {
            2 => page
                .records
                .flat_map(|record| {
                    let copies: Vec<_> = match record {
                        Ok(record) => vec![Ok(record.clone()), Ok(record)],
                        Err(error) => vec![Err(error)],
                    };
                    futures::stream::iter(copies)
                })
                .boxed(),
            3 if time.is_multiple_of(7) => page.records.skip(1).boxed(),
            8 => page.records.map(|record| Ok(record.unwrap())).boxed(),
            _ => page.records,
        };
        Ok(Page { records, ..page })
    }

    fn absence(&self, stream: &StreamSpec) -> Absence {
        self.inner.absence(stream)
    }

    async fn by_key(&self, stream: &StreamSpec, parent: Option<&str>, keys: &[String]) -> Result<Vec<Bytes>> {
        let mut records = self.inner.by_key(stream, parent, keys).await?;
        if self.how == 11 {
            records.pop();
        }
        Ok(records)
    }

    fn next(&self, request: &PageRequest<'_>, meta: &Value, seen: &Seen) -> Result<Next> {
        // Who does not look at the records of a page cannot tell that the list has moved.
        let blind = Seen { records: seen.records, keys: Vec::new() };
        self.inner.next(request, meta, if self.how == 12 { &blind } else { seen })
    }

    fn identify(&self, stream: &StreamSpec, record: &[u8]) -> std::result::Result<Identity, String> {
        self.inner.identify(stream, record)
    }

    async fn tenant(&self) -> Result<Tenant> {
        let tenant = self.inner.tenant().await?;
        Ok(if self.how == 10 { Tenant { told: Some("any".to_owned()), ..tenant } } else { tenant })
    }

    async fn check(&self) -> Vec<Finding> {
        if self.how == 7 {
            self.hammer("/wp-json/wc/v3/orders", 1).await;
        }
        self.inner.check().await
    }

    fn map_settings(&self) -> Value {
        if self.how == 1 { self.settings.clone() } else { self.inner.map_settings() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_check_of_sources_fails_on_a_source_broken_for_it() {
    let builds = [
        build_source::<0>,
        build_source::<1>,
        build_source::<2>,
        build_source::<3>,
        build_source::<4>,
        build_source::<5>,
        build_source::<6>,
        build_source::<7>,
        build_source::<8>,
        build_source::<9>,
        build_source::<10>,
        build_source::<11>,
        build_source::<12>,
    ];
    assert_eq!(builds.len(), source::CHECKS.len());
    for (build, (name, check)) in builds.into_iter().zip(source::CHECKS) {
        let case = source::SourceCase { build, ..woocommerce::case() };
        assert!(check(&case).await.is_err(), "`{name}` did not notice the source that was broken for it");
    }
}

fn build_target<const HOW: usize>(account: &Account, load: &Load) -> Result<Arc<dyn Target>> {
    let mut sound = account.clone();
    if HOW == 0 {
        sound.settings.0.remove("unheard_of");
    }
    let inner = wharf::target::registry::build(&sound, load)?;
    let settings = json!(account.settings.0);
    Ok(Arc::new(Broken { inner, how: HOW, settings, base_url: account.base_url.clone(), times: AtomicUsize::new(0) }))
}

#[async_trait]
impl Target for Broken<dyn Target> {
    fn operations(&self) -> Vec<Operation> {
        self.inner.operations()
    }

    async fn send(&self, operation: &Operation, items: &[Item], first_load: bool) -> Result<BatchOutcome> {
        let time = self.times.fetch_add(1, Ordering::Relaxed);
        let mut items = items.to_vec();
        match self.how {
            2 => items.push(salesmanago::contact(1000 + time)),
            7 => self.hammer("/api/contact/batchupsertv2", 1).await,
            8 => self.hammer("/api/contact/batchupsertv2", 3).await,
            _ => {}
        }
        let mut sent = self.inner.send(operation, &items, first_load).await;
        if self.how == 5 && sent.as_ref().is_ok_and(|sent| matches!(sent.outcomes.first(), Some(Outcome::Unknown(_)))) {
            sent = self.inner.send(operation, &items, first_load).await;
        }
        let all_well = || BatchOutcome { outcomes: vec![Outcome::Acknowledged(None); items.len()], reference: None };
        match self.how {
            3 => Ok(all_well()),
            4 => sent.map_err(|_| Error::new(Kind::PlatformFailure, "something is wrong")),
            10 => Ok(sent.unwrap_or_else(|_| all_well())),
            _ => sent,
        }
    }

    async fn look_up(&self, operation: &Operation, items: &[Item]) -> Result<Vec<Found>> {
        if self.how == 6 { Ok(vec![Found::Absent; items.len()]) } else { self.inner.look_up(operation, items).await }
    }

    async fn contacts(&self, addresses: &[String]) -> Result<Vec<Option<ContactState>>> {
        self.inner.contacts(addresses).await
    }

    fn contacts_per_call(&self) -> usize {
        self.inner.contacts_per_call()
    }

    async fn tenant(&self) -> Result<Tenant> {
        let tenant = self.inner.tenant().await?;
        Ok(if self.how == 11 { Tenant { told: Some("any".to_owned()), ..tenant } } else { tenant })
    }

    fn first_load(&self) -> String {
        self.inner.first_load()
    }

    async fn check(&self) -> Vec<Finding> {
        if self.how == 9 {
            let operation = self.inner.operations().into_iter().find(|one| one.name == "upsert contacts").unwrap();
            let _ = self.inner.send(&operation, &[salesmanago::contact(77)], false).await;
        }
        self.inner.check().await
    }

    fn keep_to(&self, budget: Arc<dyn Budget>) {
        self.inner.keep_to(budget);
    }

    fn deliver_settings(&self) -> Value {
        if self.how == 1 { self.settings.clone() } else { self.inner.deliver_settings() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_check_of_targets_fails_on_a_target_broken_for_it() {
    let builds = [
        build_target::<0>,
        build_target::<1>,
        build_target::<2>,
        build_target::<3>,
        build_target::<4>,
        build_target::<5>,
        build_target::<6>,
        build_target::<7>,
        build_target::<8>,
        build_target::<9>,
        build_target::<10>,
        build_target::<11>,
    ];
    assert_eq!(builds.len(), target::CHECKS.len());
    for (build, (name, check)) in builds.into_iter().zip(target::CHECKS) {
        let case = target::TargetCase { build, ..salesmanago::case() };
        assert!(check(&case).await.is_err(), "`{name}` did not notice the target that was broken for it");
    }
}
