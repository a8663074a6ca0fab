//! The checks of a target platform.

use super::{Failures, HANGS, ensure, shown, within, without_secrets};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use wharf::config::pipeline::{Account, Load};
use wharf::sandbox::{Fault, FaultKind, Sandbox};
use wharf::target::{BatchOutcome, Item, Operation, Outcome, Target};
use wharf::tenant::{self, Seen};
use wharf::{Kind, Result};

/// A target platform as the battery needs to know it.
#[derive(Clone)]
pub struct TargetCase {
    pub platform: &'static str,
    /// An empty account.
    pub start: fn() -> BoxFuture<'static, Sandbox>,
    /// The account's part of a pipeline file.
    pub account: fn(&Sandbox) -> Value,
    pub build: fn(&Account, &Load) -> Result<Arc<dyn Target>>,
    /// An operation that the target deduplicates, its path, and a record of it.
    pub idempotent: (&'static str, &'static str, fn(usize) -> Item),
    /// An operation that it does not, its path, and a record of it for the contact of the same number.
    pub appending: (&'static str, &'static str, fn(usize) -> Item),
    /// A record of the second operation that the target refuses or cannot take, whatever surrounds it.
    pub unwelcome: fn() -> Item,
    /// What accepted writes wait for.
    pub settle: fn(&Sandbox),
    /// Keys of the account that hold secrets, and what wrong values of them look like.
    pub secrets: &'static [(&'static str, &'static str)],
    /// Paths of calls that change nothing.
    pub reading: &'static [&'static str],
    /// What of the sandbox's state is not what it holds: counters of calls and the like.
    pub not_held: &'static [&'static str],
    /// Status, body, and what it means for the operation that is deduplicated.
    pub errors: &'static [(u16, &'static str, Kind)],
    /// Odd answers with 200 that do say that the second operation was done: a platform that answers nothing.
    pub successes: &'static [&'static str],
}

type Check = for<'a> fn(&'a TargetCase) -> BoxFuture<'a, std::result::Result<(), String>>;

/// All checks.
pub const CHECKS: &[(&str, Check)] = &[
    ("unknown keys are refused by name", |case| Box::pin(unknown_keys(case))),
    ("secrets never show", |case| Box::pin(secrets(case))),
    ("a batch sent again changes nothing", |case| Box::pin(replay(case))),
    ("a record that is not welcome is told apart", |case| Box::pin(unwelcome(case))),
    ("errors mean what they should", |case| Box::pin(errors(case))),
    ("a call whose fate is open is neither an error nor repeated", |case| Box::pin(open_fate(case))),
    ("a lost answer is found again", |case| Box::pin(found_again(case))),
    ("Retry-After is obeyed", |case| Box::pin(retry_after(case))),
    ("the rate is kept", |case| Box::pin(rate(case))),
    ("the health check changes nothing", |case| Box::pin(health(case))),
    ("odd answers are no success and no panic", |case| Box::pin(odd_answers(case))),
    ("tenants are told apart", |case| Box::pin(tenants(case))),
];

/// Runs all checks, some at a time.
pub async fn run(case: &TargetCase) -> Failures {
    let outcomes: Vec<_> = futures::stream::iter(CHECKS)
        .map(|(name, check)| async move { (*name, check(case).await) })
        .buffered(4)
        .collect()
        .await;
    outcomes.into_iter().filter_map(|(name, outcome)| Some((name, outcome.err()?))).collect()
}

struct Opened<'a> {
    case: &'a TargetCase,
    sandbox: Sandbox,
    target: Arc<dyn Target>,
}

async fn open(case: &TargetCase, load: Value) -> Opened<'_> {
    let sandbox = (case.start)().await;
    let target = (case.build)(&account(case, &sandbox, json!({})), &serde_json::from_value(load).unwrap()).unwrap();
    Opened { case, sandbox, target }
}

fn account(case: &TargetCase, sandbox: &Sandbox, more: Value) -> Account {
    let mut value = (case.account)(sandbox);
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

impl Opened<'_> {
    fn operation(&self, name: &str) -> Operation {
        self.target.operations().into_iter().find(|operation| operation.name == name).unwrap()
    }

    async fn send(&self, name: &str, items: &[Item]) -> Result<BatchOutcome> {
        self.target.send(&self.operation(name), items, false).await
    }

    /// Contacts that are there.
    async fn contacts(&self, count: usize) -> std::result::Result<Vec<Item>, String> {
        let (name, _, make) = self.case.idempotent;
        let items: Vec<Item> = (0..count).map(make).collect();
        self.send(name, &items).await.map_err(|error| shown(&error))?;
        (self.case.settle)(&self.sandbox);
        Ok(items)
    }

    fn calls(&self, path: &str) -> usize {
        self.sandbox.requests().calls(self.case.platform, path).len()
    }

    /// What the account holds.
    fn held(&self) -> Value {
        (self.case.settle)(&self.sandbox);
        let found = self.sandbox.platforms().find(|(one, _)| one.name() == self.case.platform);
        let mut state = found.unwrap().0.state();
        for counter in self.case.not_held {
            state.as_object_mut().unwrap().remove(*counter);
        }
        state
    }
}

async fn unknown_keys(case: &TargetCase) -> std::result::Result<(), String> {
    let sandbox = (case.start)().await;
    match (case.build)(&account(case, &sandbox, json!({"unheard_of": 1})), &Load::default()) {
        Ok(_) => Err("a key that the platform does not have was taken".to_owned()),
        Err(error) => ensure(error.kind() == Kind::PipelineFile && error.to_string().contains("unheard_of"), || {
            format!("the key is not named: {error}")
        }),
    }
}

async fn secrets(case: &TargetCase) -> std::result::Result<(), String> {
    let sandbox = (case.start)().await;
    let wrong: Value = case.secrets.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let target = (case.build)(&account(case, &sandbox, wrong), &Load::default()).unwrap();
    let secrets: Vec<String> = case.secrets.iter().map(|(_, value)| (*value).to_owned()).collect();
    without_secrets(&serde_json::to_string(&target.check().await).unwrap(), &secrets)?;
    without_secrets(&target.deliver_settings().to_string(), &secrets)?;
    let (name, _, make) = case.idempotent;
    let operation = target.operations().into_iter().find(|operation| operation.name == name).unwrap();
    match target.send(&operation, &[make(0)], false).await {
        Ok(_) => Err("wrong credentials were taken".to_owned()),
        Err(error) => without_secrets(&shown(&error), &secrets),
    }
}

async fn replay(case: &TargetCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    opened.contacts(5).await?;
    let once = opened.held();
    opened.contacts(5).await?;
    let twice = opened.held();
    ensure(once == twice, || format!("{once} became {twice}"))
}

async fn unwelcome(case: &TargetCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    opened.contacts(3).await?;
    let (name, _, make) = case.appending;
    let items = [make(0), (case.unwelcome)(), make(2)];
    let outcomes = match opened.send(name, &items).await {
        Ok(outcome) => outcome.outcomes,
        // A batch that is refused as a whole is halved by the loader: alone, each must be told apart.
        Err(error) if error.kind() == Kind::Refused => {
            let mut outcomes = Vec::new();
            for item in &items {
                match opened.send(name, std::slice::from_ref(item)).await {
                    Ok(one) => outcomes.extend(one.outcomes),
                    Err(error) => outcomes.push(Outcome::Refused { code: "refused", reason: error.to_string() }),
                }
            }
            outcomes
        }
        Err(error) => return Err(shown(&error)),
    };
    ensure(outcomes.len() == 3, || format!("{} outcomes for 3 records", outcomes.len()))?;
    let taken = |outcome: &Outcome| matches!(outcome, Outcome::Acknowledged(_));
    ensure(taken(&outcomes[0]) && taken(&outcomes[2]), || format!("the good ones were not taken: {outcomes:?}"))?;
    let is_told = match &outcomes[1] {
        Outcome::Refused { reason, .. } | Outcome::Later(reason) => !reason.is_empty(),
        _ => false,
    };
    ensure(is_told, || format!("the bad one is {:?}", outcomes[1]))
}

async fn errors(case: &TargetCase) -> std::result::Result<(), String> {
    let (name, path, make) = case.idempotent;
    for (status, body, kind) in case.errors {
        let opened = open(case, json!({})).await;
        opened.sandbox.fault(Fault::new(FaultKind::Status, path).status(*status, *body).times(0).retry_after("1000"));
        let found = opened.send(name, &[make(0)]).await.err().map(|error| error.kind());
        ensure(found == Some(*kind), || format!("{status} {body} is {found:?} instead of {kind:?}"))?;
    }
    Ok(())
}

async fn open_fate(case: &TargetCase) -> std::result::Result<(), String> {
    let (name, path, make) = case.appending;
    for kind in [FaultKind::Lost, FaultKind::Cut, FaultKind::Error, FaultKind::Html, FaultKind::TruncatedJson] {
        let opened = open(case, json!({})).await;
        opened.contacts(2).await?;
        opened.sandbox.fault(Fault::new(kind, path).times(0));
        match opened.send(name, &[make(0), make(1)]).await {
            Ok(outcome) => ensure(
                outcome.outcomes.len() == 2 && outcome.outcomes.iter().all(|one| matches!(one, Outcome::Unknown(_))),
                || format!("{kind:?}: {:?}", outcome.outcomes),
            )?,
            Err(error) => return Err(format!("{kind:?} is the error {}", shown(&error))),
        }
        let calls = opened.calls(path);
        ensure(calls == 1, || format!("{kind:?}: the call was made {calls} times"))?;
    }
    Ok(())
}

async fn found_again(case: &TargetCase) -> std::result::Result<(), String> {
    use wharf::target::Found;
    let (name, path, make) = case.appending;
    let opened = open(case, json!({})).await;
    opened.contacts(2).await?;
    opened.sandbox.fault(Fault::new(FaultKind::Lost, path));
    opened.send(name, &[make(0)]).await.map_err(|error| shown(&error))?;
    let found =
        opened.target.look_up(&opened.operation(name), &[make(0), make(1)]).await.map_err(|error| shown(&error))?;
    // Who cannot tell says so; who can tells right.
    let is_right = |found: &Found, present: bool| match found {
        Found::Present(_) => present,
        Found::Absent => !present,
        Found::CannotTell(why) => !why.is_empty(),
    };
    ensure(found.len() == 2 && is_right(&found[0], true) && is_right(&found[1], false), || format!("{found:?}"))?;
    // Whether a card stands at an address has to be known: a rename that is repeated would leave a card behind.
    let (name, _, make) = case.idempotent;
    let found =
        opened.target.look_up(&opened.operation(name), &[make(0), make(900)]).await.map_err(|error| shown(&error))?;
    ensure(matches!(found[..], [Found::Present(Some(_)), Found::Absent]), || format!("of contacts: {found:?}"))
}

async fn retry_after(case: &TargetCase) -> std::result::Result<(), String> {
    let (name, path, make) = case.idempotent;
    for (value, least) in [(Some("1"), 900_000), (Some("date:2"), 900_000), (Some("soon"), 0), (None, 0)] {
        let opened = open(case, json!({})).await;
        let fault = Fault::new(FaultKind::Throttle, path);
        opened.sandbox.fault(value.map_or(fault.clone(), |value| fault.retry_after(value)));
        let sending = tokio::time::timeout(Duration::from_secs(60), opened.send(name, &[make(0)])).await;
        let Ok(sent) = sending else { return Err(format!("{value:?} is waited for too long")) };
        // To stop and leave it to the next run is right, too; to ask again too early is not.
        match sent {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Throttled => continue,
            Err(error) => return Err(format!("{value:?}: {}", shown(&error))),
        }
        let times: Vec<u64> =
            opened.sandbox.requests().calls(case.platform, path).iter().map(|call| call.at_micros).collect();
        let waited = times.get(1).copied().unwrap_or(u64::MAX) - times[0];
        ensure(waited >= least, || format!("{value:?}: asked again after {waited} µs"))?;
    }
    let opened = open(case, json!({})).await;
    opened.sandbox.fault(Fault::new(FaultKind::Throttle, path).times(0).retry_after("99999999"));
    match tokio::time::timeout(Duration::from_secs(30), opened.send(name, &[make(0)])).await {
        Ok(Err(error)) => ensure(error.kind() == Kind::Throttled, || format!("an absurd wait is {}", shown(&error))),
        _ => Err("an absurd wait is waited for, or not obeyed".to_owned()),
    }
}

async fn rate(case: &TargetCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({"rate": "8/s"})).await;
    let (name, _, make) = case.idempotent;
    for n in 0..20 {
        opened.send(name, &[make(n)]).await.map_err(|error| shown(&error))?;
    }
    within(&opened.sandbox, case.platform, 8)
}

async fn health(case: &TargetCase) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    opened.contacts(2).await?;
    let before = opened.held();
    opened.sandbox.requests().clear();
    let findings = opened.target.check().await;
    ensure(!findings.is_empty() && findings.iter().all(|finding| finding.ok), || format!("{findings:?}"))?;
    let calls = opened.sandbox.requests().calls(case.platform, "");
    let writing = calls.iter().find(|call| !case.reading.contains(&call.path.as_str()));
    ensure(writing.is_none(), || format!("{writing:?} may change something"))?;
    let after = opened.held();
    ensure(before == after, || format!("{before} became {after}"))
}

async fn odd_answers(case: &TargetCase) -> std::result::Result<(), String> {
    let huge = format!("[{}", "{\"success\": true},".repeat(100_000));
    let bodies = ["", "null", "{}", "[", "<html></html>", "\u{0}\u{1}", "[[[[[[", huge.as_str()];
    // Side by side: what may be repeated is repeated, with waits between.
    let mut checks: Vec<BoxFuture<'_, std::result::Result<(), String>>> = Vec::new();
    for (name, path, make) in [case.idempotent, case.appending] {
        for body in bodies {
            checks.push(Box::pin(odd_answer(case, name, path, make, body)));
        }
    }
    let outcomes: Vec<_> = futures::stream::iter(checks).buffered(8).collect().await;
    outcomes.into_iter().collect()
}

async fn odd_answer(
    case: &TargetCase,
    name: &str,
    path: &str,
    make: fn(usize) -> Item,
    body: &str,
) -> std::result::Result<(), String> {
    let opened = open(case, json!({})).await;
    opened.contacts(1).await?;
    opened.sandbox.fault(Fault::new(FaultKind::Status, path).status(200, body).times(0));
    let (target, operation) = (opened.target.clone(), opened.operation(name));
    let sending = tokio::spawn(async move { target.send(&operation, &[make(0)], false).await });
    let what = format!("{name}: {}", &body[..body.len().min(20)]);
    let sent = tokio::time::timeout(HANGS, sending).await.map_err(|_| format!("{what} hangs"))?;
    let sent = sent.map_err(|_| format!("{what} made it panic"))?;
    let is_success = sent.is_ok_and(|sent| sent.outcomes.iter().any(|one| matches!(one, Outcome::Acknowledged(_))));
    let may_succeed = name == case.appending.0 && case.successes.contains(&body);
    ensure(!is_success || may_succeed, || format!("{what} was taken for a success"))
}

/// One tenant is the same whenever it is asked and whatever its keys; another one is another.
async fn tenants(case: &TargetCase) -> std::result::Result<(), String> {
    let secrets: Vec<String> = case.secrets.iter().map(|(_, value)| (*value).to_owned()).collect();
    let mut seen = Vec::new();
    for sandbox in [(case.start)().await, (case.start)().await] {
        for _ in 0..2 {
            let account = account(case, &sandbox, json!({}));
            let tenant =
                (case.build)(&account, &Load::default()).unwrap().tenant().await.map_err(|error| shown(&error))?;
            seen.push(Seen {
                platform: case.platform.to_owned(),
                address: tenant::address(&account.base_url),
                credential: tenant.credential.mark("salt", case.platform),
                told: tenant.told,
            });
        }
        // Nobody is known by what nobody may see.
        let wrong: Value = case.secrets.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let planted = (case.build)(&account(case, &sandbox, wrong), &Load::default()).unwrap();
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
