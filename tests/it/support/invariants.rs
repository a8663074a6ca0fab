//! What must hold whenever Wharf has come to rest, whatever it went through: one list, used by every test that lets it
//! die. Each check compares with the shop's, the account's or the folder's own state, never with what Wharf says of it.

use super::crm::Crm;
use super::invariants_esputnik as esputnik;
use super::naive::{self, Expected, money, spelled};
use super::world::World;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use wharf::sandbox::Platform as _;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Staging holds what the shop shows, and nothing else.
    StagingIsShop,
    /// The canonical rows are what plain loops over the shop's rows give.
    CanonicalIsNaive,
    /// The account holds what it should hold.
    TargetHolds,
    /// Each event arrived once.
    NoEventTwice,
    /// Who opted out at the account is opted out there.
    OptOutKept,
    /// A contact before its events, a purchase before what undoes it.
    InOrder,
    /// No stretch of time held more calls than allowed.
    WithinLimit,
    /// Every snapshot in the archive is whole, and the root names such alone.
    ArchiveWhole,
    /// No run, lease, batch or record is left open.
    NothingOpen,
    /// Nothing differs from what the account took that the change feed does not lead to.
    NothingMissed,
}

/// One thing that does not hold.
#[derive(Debug, Clone)]
pub struct Broken {
    pub invariant: Invariant,
    pub what: String,
}

/// The invariants that do not hold.
pub fn names(broken: &[Broken]) -> BTreeSet<Invariant> {
    broken.iter().map(|broken| broken.invariant).collect()
}

/// What does not hold, a line each; for messages.
pub fn told(broken: &[Broken]) -> String {
    let lines: Vec<String> = broken.iter().take(12).map(|one| format!("{:?}: {}", one.invariant, one.what)).collect();
    format!("{} invariants' violations\n{}", broken.len(), lines.join("\n"))
}

/// Checks what must hold at any instant, the program dead or at work.
pub fn check_at_any_time(world: &World) -> Vec<Broken> {
    let mut found = Found(Vec::new());
    match &world.crm {
        Crm::SalesManago => drop(account_at_any_time(world, &mut found)),
        Crm::ESputnik(_) => esputnik::at_any_time(world, &mut found),
    }
    limit(world, &mut found);
    archive_at_any_time(world, &mut found);
    found.0
}

/// Checks everything; the program has come to rest.
pub async fn check(world: &World) -> Vec<Broken> {
    let mut found = Found(Vec::new());
    // What the account has accepted takes effect in its own time.
    world.crm.settle(&world.sandbox);
    let wanted = naive::expected(world);
    staging(world, &mut found).await;
    canonical(world, &wanted, &mut found).await;
    match &world.crm {
        Crm::SalesManago => {
            let arrived = account_at_any_time(world, &mut found);
            account(world, &wanted, &arrived, &mut found);
        }
        Crm::ESputnik(_) => {
            esputnik::at_any_time(world, &mut found);
            esputnik::at_rest(world, &wanted, &rejected(world).await, &mut found);
        }
    }
    limit(world, &mut found);
    archive_at_any_time(world, &mut found);
    archive(world, &mut found).await;
    nothing_open(world, &mut found).await;
    nothing_missed(world, &mut found).await;
    found.0
}

/// What `wharf plan --full` finds.
async fn nothing_missed(world: &World, found: &mut Found) {
    match world.audit().await {
        Ok(audit) if audit["missed"] == 0 => {}
        Ok(audit) => found.note(Invariant::NothingMissed, audit.to_string()),
        Err(said) => found.note(Invariant::NothingMissed, said),
    }
}

/// What was refused or is held for a person, by the key that it is known by at the shop.
async fn rejected(world: &World) -> BTreeSet<String> {
    let contacts = "select contacts.email, code from delivery.rejects
         join canonical.contacts on contacts.contact_id = rejects.key where code <> 'opt-out-kept'";
    let orders = "select orders.source_key, code from delivery.rejects
         join canonical.orders on orders.order_id = rejects.key";
    let mut keys: BTreeSet<String> = rows(world, contacts).await.into_keys().collect();
    keys.extend(rows(world, orders).await.into_keys());
    keys
}

/// What was found so far.
pub struct Found(Vec<Broken>);

impl Found {
    /// Notes one thing.
    pub fn note(&mut self, invariant: Invariant, what: impl Into<String>) {
        self.0.push(Broken { invariant, what: what.into() });
    }

    /// Notes each key at which two maps differ.
    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        invariant: Invariant,
        of: &str,
        wanted: &BTreeMap<String, T>,
        found: &BTreeMap<String, T>,
    ) {
        let keys: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
        for key in keys {
            match (wanted.get(key), found.get(key)) {
                (Some(wanted), Some(found)) if wanted == found => {}
                (wanted, found) => self.note(invariant, format!("{of} {key}: should be {wanted:?}, is {found:?}")),
            }
        }
    }
}

/// Rows of a query: the first column, and the others as texts.
async fn rows(world: &World, query: &str) -> BTreeMap<String, Vec<String>> {
    // The server may have been killed since the last look.
    let (client, connection) = tokio_postgres::connect(&world.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let answer = client.simple_query(query).await.unwrap();
    let mut rows = BTreeMap::new();
    for message in answer {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            let others = (1..row.len()).map(|at| row.get(at).unwrap_or("-").to_owned()).collect();
            rows.insert(row.get(0).unwrap_or("-").to_owned(), others);
        }
    }
    rows
}

async fn staging(world: &World, found: &mut Found) {
    for (table, shown) in world.seller.shown(&world.sandbox) {
        let query =
            format!("select source_key, payload from staging.{table} where connection = 'shop' and deleted_at is null");
        let mut held = rows(world, &query).await;
        held.retain(|key, _| !world.seller.may_stay(key, &shown));
        let comparable = |row: Value| world.seller.comparable(row);
        let held: BTreeMap<String, Value> =
            held.into_iter().map(|(key, rest)| (key, comparable(serde_json::from_str(&rest[0]).unwrap()))).collect();
        let wanted: BTreeMap<String, Value> = shown.into_iter().map(|(key, row)| (key, comparable(row))).collect();
        let keys: BTreeSet<&String> = wanted.keys().chain(held.keys()).collect();
        for key in keys {
            match (wanted.get(key), held.get(key)) {
                (Some(wanted), Some(held)) if wanted == held => {}
                (Some(_), Some(_)) => {
                    found.note(Invariant::StagingIsShop, format!("{table} {key} is not as at the shop"))
                }
                (Some(_), None) => found.note(Invariant::StagingIsShop, format!("{table} {key} is missing")),
                _ => found.note(Invariant::StagingIsShop, format!("{table} {key} is not at the shop any more")),
            }
        }
    }
}

fn shown(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(|| "-".to_owned())
}

async fn canonical(world: &World, wanted: &Expected, found: &mut Found) {
    // What somebody said before the address changed hands is history, which the shop's present rows do not tell.
    let consent =
        |email: &str, state: &str| if world.former.contains(email) { "-".to_owned() } else { state.to_owned() };
    let contacts: BTreeMap<String, Vec<String>> = wanted
        .contacts
        .iter()
        .map(|(email, contact)| {
            let mut row: Vec<String> =
                [&contact.first_name, &contact.last_name, &contact.company, &contact.city, &contact.country]
                    .map(shown)
                    .into();
            row.push(if contact.registered { "t" } else { "f" }.to_owned());
            row.push(consent(email, contact.consent));
            (email.clone(), row)
        })
        .collect();
    let mut held = rows(
        world,
        "select email, first_name, last_name, company, city, country, registered, email_consent
         from canonical.contacts where email is not null",
    )
    .await;
    for (email, row) in &mut held {
        row[6] = consent(email, &row[6]);
    }
    found.compare(Invariant::CanonicalIsNaive, "contact", &contacts, &held);

    let tags: BTreeMap<String, Vec<String>> = wanted
        .contacts
        .iter()
        .filter(|(_, contact)| !contact.tags.is_empty())
        .map(|(email, contact)| (email.clone(), vec![contact.tags.iter().cloned().collect::<Vec<_>>().join("|")]))
        .collect();
    let held = rows(
        world,
        "select email, string_agg(distinct tag collate \"C\", '|')
         from canonical.contact_tags join canonical.contacts using (contact_id)
         where email is not null group by email",
    )
    .await;
    found.compare(Invariant::CanonicalIsNaive, "tags of", &tags, &held);

    let orders: BTreeMap<String, Vec<String>> = wanted
        .orders
        .iter()
        .map(|(key, order)| {
            let row = vec![
                order.number.clone(),
                shown(&order.email),
                order.status.unwrap_or("-").to_owned(),
                order.is_paid.to_string(),
                order.is_returned.to_string(),
                order.currency.clone(),
                order.total.to_string(),
                order.lines.to_string(),
                order.lines_total.to_string(),
            ];
            (key.clone(), row)
        })
        .collect();
    let mut held = rows(
        world,
        "select o.source_key, o.number, c.email, o.status, (o.payment_status = 'paid')::text,
            (coalesce(o.extra ->> 'returned', '') = 'true')::text, o.currency, o.total,
            (select count(*) from canonical.order_items i where i.order_id = o.order_id and i.contact_id = o.contact_id),
            (select coalesce(sum(line_total), 0) from canonical.order_items i
             where i.order_id = o.order_id and i.contact_id = o.contact_id)
         from canonical.orders o left join canonical.contacts c using (contact_id)",
    )
    .await;
    for row in held.values_mut() {
        for at in [6, 8] {
            row[at] = money(&json!(row[at])).to_string();
        }
    }
    found.compare(Invariant::CanonicalIsNaive, "order", &orders, &held);

    let rfm: BTreeMap<String, Vec<String>> = wanted
        .rfm
        .iter()
        .map(|((email, currency), (orders, spent))| {
            (format!("{email} {currency}"), vec![orders.to_string(), spent.to_string()])
        })
        .collect();
    let mut held = rows(
        world,
        "select email || ' ' || currency, frequency, monetary from marts.rfm join canonical.contacts using (contact_id)
         where email is not null",
    )
    .await;
    for row in held.values_mut() {
        row[1] = money(&json!(row[1])).to_string();
    }
    found.compare(Invariant::CanonicalIsNaive, "rfm of", &rfm, &held);
}

/// How often an order's purchase arrived, and what undoes it, with the places of the first ones among all events.
#[derive(Debug, Default, Clone)]
struct Arrived {
    purchases: Vec<u32>,
    undone: Vec<u32>,
}

/// What arrived, order by order; what may never be is noted.
fn account_at_any_time(world: &World, found: &mut Found) -> BTreeMap<String, Arrived> {
    let state = world.account().state();
    if state["violations"] != json!({}) {
        found.note(Invariant::InOrder, format!("the account complains: {}", state["violations"]));
    }
    let account = world.account().account();
    let mut arrived: BTreeMap<String, Arrived> = BTreeMap::new();
    let cards = u32::try_from(account.all_cards().len()).unwrap();
    for card in 0..cards {
        let mut newest = i64::MIN;
        for number in account.events_of(card) {
            let event = account.event(number);
            if world.expects_oldest_first && event.date < newest {
                let email = &account.card(card).email;
                found.note(Invariant::InOrder, format!("{email}: an event came after a younger one"));
            }
            newest = newest.max(event.date);
            let key = event.fields()["detail2"].as_str().unwrap_or_default().to_owned();
            let order = arrived.entry(key).or_default();
            match event.kind() {
                "PURCHASE" => order.purchases.push(number),
                _ => order.undone.push(number),
            }
        }
    }
    for (key, order) in &arrived {
        if order.purchases.len() > 1 || order.undone.len() > 1 {
            found.note(Invariant::NoEventTwice, format!("order {key}: {order:?}"));
        }
        if let Some(undone) = order.undone.first()
            && order.purchases.first().is_none_or(|purchase| purchase > undone)
        {
            found.note(Invariant::InOrder, format!("order {key} was undone before it was bought: {order:?}"));
        }
    }
    for number in &world.opted_out {
        let card = account.card(number.parse().unwrap());
        if !card.opted_out {
            found.note(Invariant::OptOutKept, format!("{} opted out there and is opted in again", card.email));
        }
    }
    arrived
}

fn account(world: &World, wanted: &Expected, arrived: &BTreeMap<String, Arrived>, found: &mut Found) {
    let account = world.account().account();
    for card in account.all_cards() {
        let email = card.email.to_string();
        if !wanted.contacts.contains_key(&email) && !world.former.contains(&email) {
            found.note(Invariant::TargetHolds, format!("card {email} is nobody's"));
        }
    }
    for key in arrived.keys() {
        if !wanted.orders.contains_key(key) && !world.gone_orders.contains(key) {
            found.note(Invariant::TargetHolds, format!("there is an event of order {key}, which never was"));
        }
    }
    for (key, order) in &wanted.orders {
        let empty = Arrived::default();
        let there = arrived.get(key).unwrap_or(&empty);
        let is_bought = order.status == Some("DELIVERED") || (order.status == Some("IN_PROGRESS") && order.is_paid);
        let can_be_sent = order.email.is_some() && (order.lines > 0 || order.total != 0);
        if is_bought && can_be_sent && there.purchases.is_empty() {
            found.note(Invariant::TargetHolds, format!("the purchase of order {key} is missing"));
        }
        if order.status == Some("CANCELLED") && there.undone.is_empty() && !there.purchases.is_empty() {
            found.note(Invariant::TargetHolds, format!("order {key} was undone, and the account does not know"));
        }
    }
    for (email, contact) in &wanted.contacts {
        let Some(number) = account.find(email) else {
            found.note(Invariant::TargetHolds, format!("contact {email} is missing"));
            continue;
        };
        let card = account.card(number);
        let details = card.details();
        let name: Vec<&str> =
            [&contact.first_name, &contact.last_name].into_iter().flatten().map(|part| part.trim()).collect();
        let name = name.join(" ");
        if !name.is_empty() && details.get("name").and_then(Value::as_str) != Some(&name) {
            found
                .note(Invariant::TargetHolds, format!("{email} should be called {name}, is {:?}", details.get("name")));
        }
        if let Some(key) = &contact.account
            && details.get("externalId").and_then(Value::as_str) != Some(key)
        {
            found.note(Invariant::TargetHolds, format!("{email} should be {key}, is {:?}", details.get("externalId")));
        }
        let tags: BTreeSet<String> = contact.tags.iter().map(|tag| spelled(tag)).collect();
        let there: BTreeSet<String> = account.tags_of(number).into_iter().map(str::to_owned).collect();
        if tags != there {
            let missing: Vec<_> = tags.difference(&there).collect();
            let too_many: Vec<_> = there.difference(&tags).collect();
            found.note(Invariant::TargetHolds, format!("{email}: tags missing {missing:?}, too many {too_many:?}"));
        }
        let handle = number.to_string();
        let is_known = ![&world.opted_out, &world.undecided].iter().any(|known| known.contains(&handle))
            && !world.former.contains(email);
        if is_known && card.opted_out == (contact.consent == "opt_in") {
            let word = if card.opted_out { "out" } else { "in" };
            found.note(Invariant::TargetHolds, format!("{email} says {}, the card is opted {word}", contact.consent));
        }
    }
}

fn limit(world: &World, found: &mut Found) {
    let Some((calls, micros)) = world.limit else { return };
    let calls_made = world.sandbox.requests().calls(world.crm.platform(), "");
    let times: Vec<u64> = calls_made.iter().map(|call| call.at_micros).collect();
    if let Some(at) = times.windows(calls + 1).position(|window| window[calls] - window[0] < micros) {
        let span = times[at + calls] - times[at];
        found.note(Invariant::WithinLimit, format!("{} calls in {span} µs, from call {at} on", calls + 1));
    }
}

/// Whatever a reader may find must be whole.
fn archive_at_any_time(world: &World, found: &mut Found) {
    let root = world.archive();
    let Ok(folders) = std::fs::read_dir(&root) else { return };
    for entity in folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for snapshot in std::fs::read_dir(&entity).unwrap().map(|entry| entry.unwrap().path()) {
            if snapshot.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snapshot=")) {
                snapshot_is_whole(&snapshot, found);
            }
        }
    }
    let latest = document(&root.join("_latest.json")).unwrap_or_default();
    for (entity, snapshot) in latest["entities"].as_object().into_iter().flatten() {
        if manifest(&root, entity, snapshot).is_none() {
            found.note(Invariant::ArchiveWhole, format!("the root names a snapshot of {entity} that is not there"));
        }
    }
}

fn manifest(root: &Path, entity: &str, snapshot: &Value) -> Option<Value> {
    let folder = format!("snapshot={}", snapshot.as_str().unwrap_or_default());
    document(&root.join(entity).join(folder).join("_manifest.json"))
}

async fn archive(world: &World, found: &mut Found) {
    let root = world.archive();
    let Some(latest) = document(&root.join("_latest.json")) else {
        found.note(Invariant::ArchiveWhole, "the root has no page");
        return;
    };
    if root.join("_writing").exists() {
        found.note(Invariant::ArchiveWhole, "unpublished work was left behind");
    }
    for (entity, snapshot) in latest["entities"].as_object().into_iter().flatten() {
        let Some(manifest) = manifest(&root, entity, snapshot).filter(|_| !entity.starts_with("marts.")) else {
            continue;
        };
        let count = rows(world, &format!("select 'rows', count(*) from {entity}")).await;
        let archived =
            if entity == "canonical.changes" { feed_rows(&root, &manifest) } else { manifest["rows"].as_u64() };
        if archived.is_none_or(|archived| count["rows"][0] != archived.to_string()) {
            let words = format!("{entity} has {} rows, the archive {archived:?}", count["rows"][0]);
            found.note(Invariant::ArchiveWhole, words);
        }
    }
}

/// Rows of the change feed in its snapshots, of which each begins where one before it ends; none if the chain has a gap.
fn feed_rows(root: &Path, newest: &Value) -> Option<u64> {
    let folders = std::fs::read_dir(root.join("canonical.changes")).ok()?;
    let all: Vec<Value> = folders.filter_map(|folder| document(&folder.ok()?.path().join("_manifest.json"))).collect();
    let (mut link, mut sum) = (newest, 0);
    loop {
        sum += link["rows"].as_u64()?;
        let after = link["after_run"].as_i64()?;
        if after == 0 {
            return Some(sum);
        }
        link = all.iter().find(|one| one["watermark"] == after && one["after_run"].as_i64() < Some(after))?;
    }
}

fn document(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn snapshot_is_whole(folder: &Path, found: &mut Found) {
    let shown = folder.display();
    let Some(manifest) = document(&folder.join("_manifest.json")) else {
        found.note(Invariant::ArchiveWhole, format!("{shown} has no manifest"));
        return;
    };
    for part in manifest["parts"].as_array().into_iter().flatten() {
        let name = part["file"].as_str().unwrap_or_default();
        let bytes = std::fs::read(folder.join(name)).unwrap_or_default();
        if part["sha256"].as_str() != Some(hex::encode(Sha256::digest(&bytes)).as_str()) {
            found.note(Invariant::ArchiveWhole, format!("{shown}/{name} is not what its manifest says"));
        }
    }
}

async fn nothing_open(world: &World, found: &mut Found) {
    let left: Vec<String> = world.left.iter().map(|key| format!("'{key}'")).collect();
    let ledger = format!(
        "delivery.ledger where state <> 'acknowledged' and not (state = 'held' and key::text = any (array[{}]::text[]))",
        left.join(",")
    );
    for (what, query) in [
        ("runs", "ops.runs where finished_at is null"),
        ("leases", "ops.leases where holder <> ''"),
        ("batches", "delivery.batches where finished_at is null"),
        ("ledger rows", &ledger),
        ("pending records", "delivery.pending"),
        ("walks", "ops.cursors where walk is not null"),
    ] {
        let count = rows(world, &format!("select 'count', count(*) from {query}")).await;
        if count["count"][0] != "0" {
            found.note(Invariant::NothingOpen, format!("{} {what} are open", count["count"][0]));
        }
    }
}
