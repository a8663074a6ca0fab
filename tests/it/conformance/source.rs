//! The checks of a shop platform.

use super::{Failures, HANGS, ensure, shown, within, without_secrets};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use wharf::config::pipeline::Connection;
use wharf::sandbox::{Fault, FaultKind, Sandbox};
use wharf::source::{Absence, Deletions, Next, PageRequest, Seen, Source, StreamSpec, Walk};
use wharf::tenant;
use wharf::{Error, Kind, Result};

/// A shop platform as the battery needs to know it.
#[derive(Clone)]
pub struct SourceCase {
    pub platform: &'static str,
    /// A small shop.
    pub start: fn() -> BoxFuture<'static, Sandbox>,
    /// A connection to it, with a page size that makes `stream` at least four pages long.
    pub connection: fn(&Sandbox) -> Value,
    pub build: fn(&Connection) -> Result<Arc<dyn Source>>,
    /// A stream that is walked, and the path of its calls.
    pub stream: &'static str,
    pub path: &'static str,
    /// The most records of a page.
    pub page_size: usize,
    /// Keys of the connection that hold secrets, and what wrong values of them look like.
    pub secrets: &'static [(&'static str, &'static str)],
    /// What happens when the record with a key leaves that stream and another arrives: changes of the sandbox.
    pub swap: fn(&str) -> Value,
    /// Methods that change nothing.
    pub reading: &'static [&'static str],
    /// Status, body, and what it means.
    pub errors: &'static [(u16, &'static str, Kind)],
}

type Check = for<'a> fn(&'a SourceCase) -> BoxFuture<'a, std::result::Result<(), String>>;

/// All checks.
pub const CHECKS: &[(&str, Check)] = &[
    ("unknown keys are refused by name", |case| Box::pin(unknown_keys(case))),
    ("secrets never show", |case| Box::pin(secrets(case))),
    ("a page holds no more than it should", |case| Box::pin(page_sizes(case))),
    ("a walk resumed from any bookmark loses nothing", |case| Box::pin(bookmarks(case))),
    ("errors mean what they should", |case| Box::pin(errors(case))),
    ("Retry-After is obeyed in every form", |case| Box::pin(retry_after(case))),
    ("the rate is kept", |case| Box::pin(rate(case))),
    ("the health check changes nothing", |case| Box::pin(health(case))),
    ("odd answers are errors and no panic", |case| Box::pin(odd_answers(case))),
    ("a walk that is dropped asks no further", |case| Box::pin(cancellation(case))),
    ("tenants are told apart", |case| Box::pin(tenants(case))),
    ("what a list leaves out is given by key", |case| Box::pin(by_key(case))),
    ("records that leave and arrive between pages cost no other", |case| Box::pin(swaps(case))),
];

/// Runs all checks, some at a time.
pub async fn run(case: &SourceCase) -> Failures {
    let mut failures = Failures::new();
    let outcomes: Vec<_> = futures::stream::iter(CHECKS)
        .map(|(name, check)| async move { (*name, check(case).await) })
        .buffered(4)
        .collect()
        .await;
    for (name, outcome) in outcomes {
        if let Err(what) = outcome {
            failures.push((name, what));
        }
    }
    failures
}

struct Opened {
    sandbox: Sandbox,
    source: Arc<dyn Source>,
    stream: StreamSpec,
}

async fn open(case: &SourceCase, more: Value) -> Opened {
    let sandbox = (case.start)().await;
    let source = (case.build)(&connection(case, &sandbox, more)).unwrap();
    source.prepare().await.unwrap();
    let stream = source.streams().into_iter().find(|stream| stream.name == case.stream).unwrap();
    sandbox.requests().clear();
    Opened { sandbox, source, stream }
}

fn connection(case: &SourceCase, sandbox: &Sandbox, more: Value) -> Connection {
    let mut value = (case.connection)(sandbox);
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

impl Opened {
    /// One page to its end: the keys of its records and what follows.
    async fn page(&self, position: &Value) -> Result<(Vec<String>, Next)> {
        let request = PageRequest {
            stream: &self.stream,
            walk: &Walk::Everything,
            parent: None,
            position,
            bookmark: &Value::Null,
        };
        let mut page = self.source.page(&request).await?;
        let (mut keys, mut seen) = (Vec::new(), Seen::default());
        while let Some(record) = page.records.next().await {
            let identity = self.source.identify(&self.stream, &record?);
            keys.push(identity.map_err(|reason| Error::new(Kind::Protocol, reason))?.key);
            seen.note(keys.last().map(String::as_str));
        }
        let next = self.source.next(&request, &page.meta, &seen)?;
        Ok((keys, next))
    }

    /// From a position to the end: the pages with the position each was asked at.
    async fn walk(&self, mut position: Value) -> Result<Vec<(Value, Vec<String>)>> {
        let mut pages = Vec::new();
        loop {
            let (keys, next) = self.page(&position).await?;
            pages.push((position.clone(), keys));
            match next {
                Next::Page(next) => position = next,
                Next::End | Next::EndAt { .. } => return Ok(pages),
            }
        }
    }
}

async fn unknown_keys(case: &SourceCase) -> std::result::Result<(), String> {
    let sandbox = (case.start)().await;
    match (case.build)(&connection(case, &sandbox, json!({"unheard_of": 1}))) {
        Ok(_) => Err("a key that the platform does not have was taken".to_owned()),
        Err(error) => ensure(error.kind() == Kind::PipelineFile && error.to_string().contains("unheard_of"), || {
            format!("the key is not named: {error}")
        }),
    }
}

async fn secrets(case: &SourceCase) -> std::result::Result<(), String> {
    let sandbox = (case.start)().await;
    let wrong: Value = case.secrets.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let source = (case.build)(&connection(case, &sandbox, wrong)).unwrap();
    let secrets: Vec<String> = case.secrets.iter().map(|(_, value)| (*value).to_owned()).collect();
    let findings = serde_json::to_string(&source.check().await).unwrap();
    without_secrets(&findings, &secrets)?;
    without_secrets(&source.map_settings().to_string(), &secrets)?;
    let stream = source.streams().into_iter().find(|stream| stream.name == case.stream).unwrap();
    // Some answers repeat what they were asked with.
    for status in [400, 401, 403] {
        let body = json!({"code": "bad", "message": secrets}).to_string();
        sandbox.fault(Fault::new(FaultKind::Status, case.path).status(status, body).times(0));
        let request = PageRequest {
            stream: &stream,
            walk: &Walk::Everything,
            parent: None,
            position: &Value::Null,
            bookmark: &Value::Null,
        };
        match source.page(&request).await {
            Ok(_) => return Err(format!("{status} was taken for an answer")),
            Err(error) => without_secrets(&shown(&error), &secrets)?,
        }
        sandbox.clear_faults();
    }
    Ok(())
}

async fn page_sizes(case: &SourceCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    let pages = opened.walk(Value::Null).await.map_err(|error| shown(&error))?;
    ensure(pages.len() >= 4, || format!("{} pages are too few to say anything", pages.len()))?;
    let largest = pages.iter().map(|(_, keys)| keys.len()).max().unwrap_or(0);
    ensure(largest <= case.page_size, || format!("a page held {largest} records"))
}

async fn bookmarks(case: &SourceCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    let pages = opened.walk(Value::Null).await.map_err(|error| shown(&error))?;
    // Pages may overlap, but each brings more than the one before it.
    for pair in pages.windows(2) {
        let new = pair[1].1.iter().filter(|key| !pair[0].1.contains(key)).count();
        ensure(2 * new > pair[1].1.len(), || format!("a page of a quiet list has {new} new records"))?;
    }
    for (at, (position, _)) in pages.iter().enumerate() {
        let again = opened.walk(position.clone()).await.map_err(|error| shown(&error))?;
        let rest: Vec<&String> = pages[at..].iter().flat_map(|(_, keys)| keys).collect();
        let found: Vec<&String> = again.iter().flat_map(|(_, keys)| keys).collect();
        ensure(rest == found, || format!("from bookmark {at}: {} records instead of {}", found.len(), rest.len()))?;
    }
    Ok(())
}

async fn swaps(case: &SourceCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    let quiet = opened.walk(Value::Null).await.map_err(|error| shown(&error))?;
    let before: BTreeSet<&String> = quiet.iter().flat_map(|(_, keys)| keys).collect();
    // After each page two of the first leave, and two arrive: the total stays the same. One alone would be found where pages
    // overlap, even by who does not look.
    let leaving: Vec<&String> = quiet[0].1.iter().take(2 * quiet.len()).collect();
    for (call, keys) in leaving.chunks(2).enumerate() {
        let changes: Vec<Value> =
            keys.iter().flat_map(|key| (case.swap)(key).as_array().cloned().unwrap_or_default()).collect();
        opened.sandbox.fault(Fault::change(case.path, json!(changes)).after(call as u64));
    }
    let disturbed = opened.walk(Value::Null).await.map_err(|error| shown(&error))?;
    opened.sandbox.clear_faults();
    let seen: BTreeSet<&String> = disturbed.iter().flat_map(|(_, keys)| keys).collect();
    let lost: Vec<_> = before.iter().filter(|key| !seen.contains(**key) && !leaving.contains(key)).collect();
    ensure(lost.is_empty(), || format!("lost {lost:?}"))?;
    // The check itself: they left, and as many came.
    let after = opened.walk(Value::Null).await.map_err(|error| shown(&error))?;
    let after: BTreeSet<&String> = after.iter().flat_map(|(_, keys)| keys).collect();
    let came = after.difference(&before).count();
    let gone = leaving.iter().filter(|key| !after.contains(**key)).count();
    ensure(gone >= 8 && came == gone && after.len() == before.len(), || format!("{gone} left and {came} came"))?;
    ensure(disturbed.len() <= 3 * quiet.len(), || format!("{} pages instead of {}", disturbed.len(), quiet.len()))
}

async fn errors(case: &SourceCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    for (status, body, kind) in case.errors {
        opened
            .sandbox
            .fault(Fault::new(FaultKind::Status, case.path).status(*status, *body).times(0).retry_after("1000"));
        let outcome = opened.page(&Value::Null).await;
        opened.sandbox.clear_faults();
        let found = outcome.err().map(|error| error.kind());
        ensure(found == Some(*kind), || format!("{status} {body} is {found:?} instead of {kind:?}"))?;
        if *status == 429 {
            return Ok(());
        }
    }
    Err("the table of errors does not end with 429".to_owned())
}

async fn retry_after(case: &SourceCase) -> std::result::Result<(), String> {
    for (value, least) in [(Some("1"), 900_000), (Some("date:2"), 900_000), (Some("soon"), 0), (None, 0)] {
        let opened = open(case, json!({})).await;
        let fault = Fault::new(FaultKind::Throttle, case.path);
        opened.sandbox.fault(value.map_or(fault.clone(), |value| fault.retry_after(value)));
        let outcome = tokio::time::timeout(Duration::from_secs(60), opened.page(&Value::Null)).await;
        let Ok(outcome) = outcome else { return Err(format!("{value:?} is waited for too long")) };
        outcome.map_err(|error| format!("{value:?}: {}", shown(&error)))?;
        let times: Vec<u64> =
            opened.sandbox.requests().calls(case.platform, case.path).iter().map(|call| call.at_micros).collect();
        let waited = times[1] - times[0];
        ensure(waited >= least, || format!("{value:?}: asked again after {waited} µs"))?;
    }
    let opened = open(case, json!({})).await;
    opened.sandbox.fault(Fault::new(FaultKind::Throttle, case.path).times(0).retry_after("99999999"));
    match tokio::time::timeout(Duration::from_secs(30), opened.page(&Value::Null)).await {
        Ok(Err(error)) => ensure(error.kind() == Kind::Throttled, || format!("an absurd wait is {}", shown(&error))),
        _ => Err("an absurd wait is waited for, or not obeyed".to_owned()),
    }
}

async fn rate(case: &SourceCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({"rate": "8/s"})).await;
    // Calls of the opening were counted by the limit and forgotten by the log: they only make it stricter.
    for _ in 0..20 {
        opened.page(&Value::Null).await.map_err(|error| shown(&error))?;
    }
    within(&opened.sandbox, case.platform, 8)
}

async fn health(case: &SourceCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    let state = |opened: &Opened| {
        opened.sandbox.platforms().find(|(one, _)| one.name() == case.platform).map(|(one, _)| one.state())
    };
    let before = state(&opened);
    let findings = opened.source.check().await;
    ensure(!findings.is_empty() && findings.iter().all(|finding| finding.ok), || format!("{findings:?}"))?;
    let calls = opened.sandbox.requests().calls(case.platform, "");
    let writing = calls.iter().find(|call| !case.reading.contains(&call.method.as_str()));
    ensure(writing.is_none(), || format!("{writing:?} may change something"))?;
    let clockless = |state: Option<Value>| {
        state.map(|mut state| {
            state.as_object_mut().map(|state| state.remove("now"));
            state
        })
    };
    let (before, after) = (clockless(before), clockless(state(&opened)));
    ensure(before == after, || format!("{before:?} became {after:?}"))
}

async fn odd_answers(case: &SourceCase) -> std::result::Result<(), String> {
    let huge = format!("[{}", "{\"id\": 1},".repeat(400_000));
    let bodies = ["", "null", "{}", "[", "[1, \"a\", null]", "<html></html>", "\u{0}\u{1}", "[[[[[[", huge.as_str()];
    let kinds = [FaultKind::Html, FaultKind::TruncatedJson, FaultKind::Cut];
    let mut faults: Vec<(String, Fault)> = Vec::new();
    for body in bodies {
        let fault = Fault::new(FaultKind::Status, case.path).status(200, body);
        faults.push((body[..body.len().min(20)].to_owned(), fault));
    }
    for kind in kinds {
        faults.push((format!("{kind:?}"), Fault::new(kind, case.path)));
    }
    // Side by side: what may be repeated is repeated, with waits between.
    let mut checks: Vec<BoxFuture<'_, std::result::Result<(), String>>> = Vec::new();
    for (what, fault) in faults {
        checks.push(Box::pin(async move {
            let opened = open(case, json!({})).await;
            opened.sandbox.fault(fault.times(0));
            outcome_without_panic(opened, &what).await
        }));
    }
    let outcomes: Vec<_> = futures::stream::iter(checks).buffered(6).collect().await;
    outcomes.into_iter().collect()
}

/// An answer that is none may be an error or, where it is a list without records, empty; never records, never a panic.
async fn outcome_without_panic(opened: Opened, what: &str) -> std::result::Result<(), String> {
    let task = tokio::spawn(async move { opened.page(&Value::Null).await });
    let outcome = tokio::time::timeout(HANGS, task).await.map_err(|_| format!("{what} hangs"))?;
    outcome.map(drop).map_err(|_| format!("{what} made it panic"))
}

async fn cancellation(case: &SourceCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    let request = PageRequest {
        stream: &opened.stream,
        walk: &Walk::Everything,
        parent: None,
        position: &Value::Null,
        bookmark: &Value::Null,
    };
    let mut page = opened.source.page(&request).await.map_err(|error| shown(&error))?;
    let _ = page.records.next().await;
    drop(page);
    let calls = opened.sandbox.requests().calls(case.platform, "").len();
    // The next page is asked for by nobody but the caller.
    opened.page(&Value::Null).await.map_err(|error| shown(&error))?;
    let now = opened.sandbox.requests().calls(case.platform, "").len();
    ensure(calls == 1 && now == 2, || format!("{calls} calls for one page, {now} for two"))
}

/// One tenant is the same whenever it is asked and whatever its keys; another one is another.
async fn tenants(case: &SourceCase) -> std::result::Result<(), String> {
    let secrets: Vec<String> = case.secrets.iter().map(|(_, value)| (*value).to_owned()).collect();
    let mut seen = Vec::new();
    for sandbox in [(case.start)().await, (case.start)().await] {
        for _ in 0..2 {
            let connection = connection(case, &sandbox, json!({}));
            let tenant = (case.build)(&connection).unwrap().tenant().await.map_err(|error| shown(&error))?;
            seen.push(tenant::Seen {
                platform: case.platform.to_owned(),
                address: tenant::address(&connection.base_url),
                credential: tenant.credential.mark("salt", case.platform),
                told: tenant.told,
            });
        }
        // Nobody is known by what nobody may see.
        let wrong: Value = case.secrets.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let planted = (case.build)(&connection(case, &sandbox, wrong)).unwrap();
        match planted.tenant().await {
            Ok(tenant) => {
                let mark = tenant.credential.mark("salt", case.platform);
                without_secrets(&format!("{tenant:?} {mark}"), &secrets)?;
            }
            Err(error) => without_secrets(&shown(&error), &secrets)?,
        }
    }
    let [first, again, other, _] = seen.as_slice() else { return Err("not four".to_owned()) };
    ensure(again.is(first), || format!("{first} and {again} are one"))?;
    ensure(!other.is(first), || format!("{first} and {other} are two"))
}

/// Of every stream whose absence is asked about: the records asked for and no others, as the list gives them, and nothing
/// for a key that nobody has.
async fn by_key(case: &SourceCase) -> std::result::Result<(), String> {
    const UNKNOWN: &str = "987654321";
    let opened = open(case, json!({})).await;
    let streams = opened.source.streams();
    let mut asked = 0;
    for stream in streams.iter().filter(|stream| stream.deletions != Deletions::None) {
        let Absence::AskedByKey(at_once) = opened.source.absence(stream) else {
            ensure(stream.deletions != Deletions::CompareKeys, || format!("{} cannot be asked by key", stream.name))?;
            continue;
        };
        let Some((parent, listed)) = some_records(&opened, &streams, stream).await? else { continue };
        let wanted: Vec<String> = listed.keys().step_by(2).take(at_once - 1).cloned().collect();
        let mut keys = wanted.clone();
        keys.push(UNKNOWN.to_owned());
        let given = opened.source.by_key(stream, parent.as_deref(), &keys).await.map_err(|error| shown(&error))?;
        let given = keyed(&opened, stream, given)?;
        let given_keys: Vec<&String> = given.keys().collect();
        ensure(given_keys == wanted.iter().collect::<Vec<_>>(), || {
            format!("{}: asked for {wanted:?}, it gives {given_keys:?}", stream.name)
        })?;
        for (key, record) in &given {
            let same = without(record, stream) == without(&listed[key], stream);
            ensure(same, || format!("{} {key} is not as its list gives it", stream.name))?;
        }
        let none = opened.source.by_key(stream, parent.as_deref(), &[UNKNOWN.to_owned()]).await;
        ensure(none.as_ref().is_ok_and(Vec::is_empty), || format!("{}: an unknown key: {none:?}", stream.name))?;
        asked += 1;
    }
    ensure(asked > 0, || "no stream is asked by key".to_owned())
}

/// A record without what does not count as change.
fn without(record: &Value, stream: &StreamSpec) -> Value {
    let mut record = record.clone();
    if let Some(members) = record.as_object_mut() {
        members.retain(|name, _| !stream.compared.without.contains(&name.as_str()));
        for name in stream.compared.as_sets {
            if let Some(list) = members.get_mut(*name).and_then(Value::as_array_mut) {
                list.sort_by_key(Value::to_string);
            }
        }
    }
    record
}

type Keyed = std::collections::BTreeMap<String, Value>;

fn keyed(opened: &Opened, stream: &StreamSpec, records: Vec<bytes::Bytes>) -> std::result::Result<Keyed, String> {
    let mut keyed = Keyed::new();
    for record in records {
        let key = opened.source.identify(stream, &record)?.key;
        keyed.insert(key, serde_json::from_slice(&record).map_err(|error| error.to_string())?);
    }
    Ok(keyed)
}

/// The first page of a stream that has records; of one with parents, the first that has any, with its parent.
async fn some_records(
    opened: &Opened,
    streams: &[StreamSpec],
    stream: &StreamSpec,
) -> std::result::Result<Option<(Option<String>, Keyed)>, String> {
    let mut parents = vec![None];
    if let Some(spec) = &stream.parent {
        let of_parents = streams.iter().find(|one| one.table == spec.table && one.parent.is_none());
        let of_parents = of_parents.ok_or_else(|| format!("nobody reads {}", spec.table))?;
        let records = first_page(opened, of_parents, None).await?;
        parents = keyed(opened, of_parents, records)?.into_keys().map(Some).collect();
    }
    for parent in parents {
        let records = first_page(opened, stream, parent.as_deref()).await?;
        if records.len() > 1 {
            return Ok(Some((parent, keyed(opened, stream, records)?)));
        }
    }
    Ok(None)
}

async fn first_page(
    opened: &Opened,
    stream: &StreamSpec,
    parent: Option<&str>,
) -> std::result::Result<Vec<bytes::Bytes>, String> {
    let request =
        PageRequest { stream, walk: &Walk::Everything, parent, position: &Value::Null, bookmark: &Value::Null };
    let page = opened.source.page(&request).await.map_err(|error| shown(&error))?;
    let records: Vec<Result<bytes::Bytes>> = page.records.collect().await;
    records.into_iter().map(|record| record.map_err(|error| shown(&error))).collect()
}
