//! A shop in memory behind the `Source` trait, with a script of what goes wrong at which call.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use wharf::config::pipeline::{Connection, Pipeline};
use wharf::progress::Progress;
use wharf::source::{
    Absence, Compared, Deletions, Finding, Identity, Incremental, Next, Page, PageRequest, ParentSpec, Seen, Source,
    StreamSpec, Walk,
};
use wharf::stage::Context;
use wharf::stage::extract::{self, ExtractReport, Options};
use wharf::store::{Database, Outcome, Run};
use wharf::tenant::{Credential, Tenant};
use wharf::{Error, Kind, Result};

/// One record at the shop.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub parent: Option<String>,
    pub updated_at: Option<Timestamp>,
    pub raw: Bytes,
}

/// What happens at a call.
pub enum Act {
    /// The body ends after so many records.
    Cut(usize, Kind),
    /// The call fails.
    Fail(Kind),
    /// The user asks to stop while the page is on its way.
    Stop(CancellationToken),
    /// Something happens at the shop before it answers.
    Change(Box<dyn FnOnce(&mut Lists) + Send>),
    /// Something happens to the database before the shop answers.
    Sql(Database, String),
    /// The answer is that of the call before, whatever was asked.
    PageBefore,
    /// The page also holds this.
    Extra(Vec<&'static str>),
}

/// The shop's records by stream and key; keys are in the order of their numbers.
pub type Lists = BTreeMap<&'static str, BTreeMap<u64, Row>>;

/// A call that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub stream: &'static str,
    pub walk: Walk,
    pub parent: Option<String>,
    pub position: Value,
}

/// A shop in memory.
pub struct FakeShop {
    pub streams: Vec<StreamSpec>,
    pub page_size: usize,
    pub absence: Absence,
    lists: Mutex<Lists>,
    /// Records that no list holds, and that are given by key all the same.
    unlisted: Mutex<BTreeSet<(&'static str, u64)>>,
    /// What was asked for by key.
    asked_by_key: Mutex<Vec<(&'static str, Vec<String>)>>,
    /// After so many more questions by key one fails.
    fails_by_key: Mutex<Option<usize>>,
    /// Whatever key is asked for, all records are given.
    ignores_keys: AtomicBool,
    asked: Mutex<Vec<Asked>>,
    script: Mutex<HashMap<usize, Act>>,
    last_page: Mutex<Vec<Bytes>>,
}

/// A list of orders that the platform filters by change.
pub fn orders() -> StreamSpec {
    StreamSpec {
        name: "orders",
        table: "orders",
        doc: "orders",
        parent: None,
        incremental: Incremental::ModifiedSince { overlap: SignedDuration::from_mins(10) },
        reread: false,
        deletions: Deletions::CompareKeys,
        compared: Compared::WHOLE,
    }
}

/// A list of customers that the platform cannot filter.
pub fn customers() -> StreamSpec {
    StreamSpec {
        name: "customers",
        table: "customers",
        incremental: Incremental::FullWalk,
        deletions: Deletions::FullWalk,
        ..orders()
    }
}

/// Products, and the variations of the variable ones.
pub fn products_with_variations() -> Vec<StreamSpec> {
    let products = StreamSpec { name: "products", table: "products", ..orders() };
    let variations = StreamSpec {
        name: "variations",
        table: "variations",
        parent: Some(ParentSpec { table: "products", condition: "payload ->> 'type' = 'variable'" }),
        incremental: Incremental::ChangedParents,
        deletions: Deletions::FullWalk,
        ..orders()
    };
    vec![products, variations]
}

impl FakeShop {
    pub fn new(streams: Vec<StreamSpec>, page_size: usize) -> Arc<Self> {
        Self::with_absence(streams, page_size, Absence::AskedByKey(10))
    }

    /// A shop of whose records that shows that they are gone.
    pub fn with_absence(streams: Vec<StreamSpec>, page_size: usize, absence: Absence) -> Arc<Self> {
        Arc::new(Self {
            streams,
            page_size,
            absence,
            lists: Mutex::default(),
            unlisted: Mutex::default(),
            asked_by_key: Mutex::default(),
            fails_by_key: Mutex::default(),
            ignores_keys: AtomicBool::new(false),
            asked: Mutex::default(),
            script: Mutex::default(),
            last_page: Mutex::default(),
        })
    }

    /// The shop's records, to look at or to change.
    pub fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap()
    }

    /// Puts a record with the fields given.
    pub fn put(&self, stream: &'static str, id: u64, updated_at: Timestamp, fields: Value) {
        put(&mut self.lists(), stream, id, updated_at, fields);
    }

    /// Puts a record as it is, whatever it is.
    pub fn put_raw(&self, stream: &'static str, id: u64, raw: &str) {
        let row = Row { parent: None, updated_at: None, raw: Bytes::from(raw.to_owned()) };
        self.lists().entry(stream).or_default().insert(id, row);
    }

    /// Removes records.
    pub fn remove(&self, stream: &'static str, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            self.lists().entry(stream).or_default().remove(&id);
        }
    }

    /// Lets something happen at a call, counted from 0 and from now.
    pub fn at_call(&self, call: usize, act: Act) {
        let made = self.asked.lock().unwrap().len();
        self.script.lock().unwrap().insert(made + call, act);
    }

    /// Strikes what has not happened yet.
    pub fn clear_script(&self) {
        self.script.lock().unwrap().clear();
    }

    /// The calls made since this was last asked.
    pub fn take_asked(&self) -> Vec<Asked> {
        let taken = std::mem::take(&mut *self.asked.lock().unwrap());
        self.script.lock().unwrap().clear();
        taken
    }

    /// Leaves records out of all lists; whoever asks by key is given them.
    pub fn unlist(&self, stream: &'static str, ids: impl IntoIterator<Item = u64>) {
        self.unlisted.lock().unwrap().extend(ids.into_iter().map(|id| (stream, id)));
    }

    /// Lists everything again.
    pub fn list_all(&self) {
        self.unlisted.lock().unwrap().clear();
    }

    /// Lets a question by key fail, after so many that do not.
    pub fn fail_by_key_after(&self, questions: usize) {
        *self.fails_by_key.lock().unwrap() = Some(questions);
    }

    /// Gives everything from now on, whatever key is asked for.
    pub fn ignore_keys(&self) {
        self.ignores_keys.store(true, Ordering::Relaxed);
    }

    /// What was asked for by key since this was last asked.
    pub fn take_asked_by_key(&self) -> Vec<(&'static str, Vec<String>)> {
        std::mem::take(&mut *self.asked_by_key.lock().unwrap())
    }

    /// The records that a request selects, by id.
    fn selected(&self, request: &PageRequest<'_>) -> Vec<(u64, Row)> {
        let lists = self.lists();
        let unlisted = self.unlisted.lock().unwrap();
        let rows = lists.get(request.stream.name).into_iter().flatten();
        let mut rows: Vec<(u64, Row)> = rows
            .filter(|(id, _)| !unlisted.contains(&(request.stream.name, **id)))
            .filter(|(_, row)| request.parent.is_none() || row.parent.as_deref() == request.parent)
            .filter(|(_, row)| match request.walk {
                Walk::Everything | Walk::Keys | Walk::NewestUntilKnown => true,
                Walk::ModifiedSince(since) | Walk::CreatedSince(since) => row.updated_at >= Some(*since),
            })
            .map(|(id, row)| (*id, row.clone()))
            .collect();
        if *request.walk == Walk::NewestUntilKnown {
            rows.reverse();
        }
        rows
    }
}

/// Puts a record with the fields given; `parent` among them hangs it on a parent.
pub fn put(lists: &mut Lists, stream: &'static str, id: u64, updated_at: Timestamp, fields: Value) {
    let parent = fields.get("parent").map(|parent| parent.to_string());
    let mut record = json!({ "id": id, "updated": updated_at });
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let row = Row { parent, updated_at: Some(updated_at), raw: Bytes::from(record.to_string()) };
    lists.entry(stream).or_default().insert(id, row);
}

/// The source that reads a [`FakeShop`].
pub struct FakeSource(pub Arc<FakeShop>);

#[async_trait]
impl Source for FakeSource {
    fn streams(&self) -> Vec<StreamSpec> {
        self.0.streams.clone()
    }

    async fn page(&self, request: &PageRequest<'_>) -> Result<Page> {
        let call = {
            let mut asked = self.0.asked.lock().unwrap();
            asked.push(Asked {
                stream: request.stream.name,
                walk: request.walk.clone(),
                parent: request.parent.map(str::to_owned),
                position: request.position.clone(),
            });
            asked.len() - 1
        };
        let act = self.0.script.lock().unwrap().remove(&call);
        let (mut cut, mut extra, mut repeat) = (None, Vec::new(), false);
        match act {
            None => {}
            Some(Act::Cut(records, kind)) => cut = Some((records, kind)),
            Some(Act::Fail(kind)) => return Err(Error::new(kind, "the shop was told to fail")),
            Some(Act::Stop(stop)) => stop.cancel(),
            Some(Act::Change(change)) => change(&mut self.0.lists()),
            Some(Act::Sql(db, statement)) => db.client().await?.batch_execute(&statement).await?,
            Some(Act::PageBefore) => repeat = true,
            Some(Act::Extra(records)) => extra = records,
        }
        // A page begins after a key, so that a list that shrinks leaves nothing out.
        let after = request.position.as_u64();
        let selected = self.0.selected(request);
        let total = selected.len() as u64;
        let newest_first = *request.walk == Walk::NewestUntilKnown;
        let rest: Vec<(u64, Row)> = if newest_first {
            // Pages of a sorted list are counted, so that rows move on to later ones when new ones come.
            selected.into_iter().skip(usize::try_from(after.unwrap_or(0)).unwrap()).collect()
        } else {
            selected.into_iter().filter(|(id, _)| after.is_none_or(|a| *id > a)).collect()
        };
        let last = match rest.iter().take(self.0.page_size).last() {
            Some(_) if newest_first => Some(after.unwrap_or(0) + self.0.page_size as u64),
            last => last.map(|(id, _)| *id),
        };
        let meta = if rest.len() > self.0.page_size { json!(last) } else { Value::Null };
        let mut records: Vec<Result<Bytes>> = rest
            .into_iter()
            .take(self.0.page_size)
            .map(|(id, row)| Ok(if *request.walk == Walk::Keys { format!("{{\"id\":{id}}}").into() } else { row.raw }))
            .chain(extra.into_iter().map(|raw| Ok(Bytes::from_static(raw.as_bytes()))))
            .collect();
        let mut last_page = self.0.last_page.lock().unwrap();
        if repeat {
            records = last_page.iter().cloned().map(Ok).collect();
        }
        *last_page = records.iter().flatten().cloned().collect();
        if let Some((kept, kind)) = cut {
            records.truncate(kept);
            records.push(Err(Error::new(kind, "the body ended in the middle")));
        }
        Ok(Page { records: stream::iter(records).boxed(), meta, total: Some(total), before: None })
    }

    fn absence(&self, _: &StreamSpec) -> Absence {
        self.0.absence
    }

    async fn by_key(&self, stream: &StreamSpec, parent: Option<&str>, keys: &[String]) -> Result<Vec<Bytes>> {
        let fails = self.0.fails_by_key.lock().unwrap().as_mut().is_some_and(|left| {
            let is_due = *left == 0;
            *left = left.saturating_sub(1);
            is_due
        });
        if fails {
            *self.0.fails_by_key.lock().unwrap() = None;
            return Err(Error::new(Kind::Unreachable, "the shop was told to fail"));
        }
        self.0.asked_by_key.lock().unwrap().push((stream.name, keys.to_vec()));
        let lists = self.0.lists();
        if self.0.ignores_keys.load(Ordering::Relaxed) {
            return Ok(lists.get(stream.name).into_iter().flatten().map(|(_, row)| row.raw.clone()).collect());
        }
        let rows = keys.iter().filter_map(|key| lists.get(stream.name)?.get(&key.parse().ok()?));
        Ok(rows.filter(|row| parent.is_none() || row.parent.as_deref() == parent).map(|row| row.raw.clone()).collect())
    }

    fn next(&self, _: &PageRequest<'_>, meta: &Value, _: &Seen) -> Result<Next> {
        Ok(if meta.is_null() { Next::End } else { Next::Page(meta.clone()) })
    }

    fn identify(&self, _: &StreamSpec, record: &[u8]) -> std::result::Result<Identity, String> {
        #[derive(serde::Deserialize)]
        struct Head {
            id: Option<u64>,
            updated: Option<Timestamp>,
        }
        let head: Head = serde_json::from_slice(record).map_err(|error| error.to_string())?;
        let id = head.id.ok_or("the record has no id")?;
        Ok(Identity { key: id.to_string(), updated_at: head.updated, parent: None })
    }

    async fn tenant(&self) -> Result<Tenant> {
        Ok(Tenant::known_by(Credential::Public("the fake shop".into())))
    }

    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    fn map_settings(&self) -> Value {
        json!({ "consent_keys": ["newsletter"] })
    }

    fn calls(&self) -> u64 {
        self.0.asked.lock().unwrap().len() as u64
    }
}

/// A pipeline without sources.
pub fn pipeline() -> Pipeline {
    serde_json::from_value(json!({
        "name": "shop-crm",
        "sources": [],
        "target": { "account": "crm", "platform": "salesmanago", "base_url": "http://localhost" },
        "orders": { "statuses": { "sent": "DELIVERED" } },
    }))
    .unwrap()
}

/// A connection with the defaults.
pub fn connection(name: &str) -> Connection {
    serde_json::from_value(json!({
        "connection": name, "platform": "fake", "base_url": "http://user:secret@localhost/shop",
    }))
    .unwrap()
}

/// One extract as the command does it: a run of its own, ended with its outcome.
pub async fn extract_with(
    db: &Database,
    connection: &Connection,
    shop: &Arc<FakeShop>,
    options: &Options,
    stop: CancellationToken,
) -> (i64, ExtractReport, Result<()>) {
    let run = Run::begin(db, "shop-crm", "extract").await.unwrap();
    let context = Context { db: db.clone(), run: run.clone(), progress: Progress::silent(), stop };
    let source = Arc::new(FakeSource(shop.clone()));
    let (report, result) = extract::run_with(&context, &pipeline(), connection, source, options).await;
    let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
    // The connection may have been cut by the script; then the next run closes this one.
    let _ = run.finish(outcome, result.as_ref().err()).await;
    (run.id, report, result)
}

/// An extract without options that nobody stops.
pub async fn extract(db: &Database, connection: &Connection, shop: &Arc<FakeShop>) -> (i64, ExtractReport, Result<()>) {
    extract_with(db, connection, shop, &Options::default(), CancellationToken::new()).await
}

/// One row of staging.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub payload: Value,
    pub parent: Option<String>,
    pub deleted: bool,
    pub run_id: i64,
    /// Changes with every write to the row.
    pub version: String,
}

/// The rows of a staging table, by key.
pub async fn stored(db: &Database, connection: &str, table: &str) -> BTreeMap<String, Stored> {
    let statement = format!(
        "select source_key, payload, parent_key, deleted_at is not null, run_id, xmin::text || ' ' || ctid::text
         from staging.{table} where connection = $1"
    );
    let rows = db.client().await.unwrap().query(&statement, &[&connection]).await.unwrap();
    rows.iter()
        .map(|row| {
            let stored = Stored {
                payload: row.get(1),
                parent: row.get(2),
                deleted: row.get(3),
                run_id: row.get(4),
                version: row.get(5),
            };
            (row.get(0), stored)
        })
        .collect()
}

/// The rows that are not marked deleted, as the shop would have them.
pub async fn live(db: &Database, connection: &str, table: &str) -> BTreeMap<u64, Value> {
    let rows = stored(db, connection, table).await;
    rows.into_iter().filter(|(_, row)| !row.deleted).map(|(key, row)| (key.parse().unwrap(), row.payload)).collect()
}

/// The shop's rows as values.
pub fn at_shop(shop: &FakeShop, stream: &str) -> BTreeMap<u64, Value> {
    let lists = shop.lists();
    let rows = lists.get(stream).into_iter().flatten();
    rows.map(|(id, row)| (*id, serde_json::from_slice(&row.raw).unwrap())).collect()
}
