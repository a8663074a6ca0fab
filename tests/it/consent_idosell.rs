//! Consent at IdoSell, in every order of arrival: what an account's record, the newsletter's list of each shop and another
//! panel say of one person comes to the same, whether it arrives at once or one record after the other over several runs.
//!
//! Every person of a list is one combination of what the records say; each has as many doubles as there are orders of
//! arrival, and one to whom everything happens at once. What each must come to is also worked out by plain rules.

use crate::support::staged::StagedShop;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wharf::store::{Outcome, Run};

/// Moments, in order; at each something may have been said.
const MOMENTS: [&str; 5] = ["2026-01-10", "2026-02-10", "2026-03-10", "2026-04-10", "2026-05-10"];
/// No moment: who was never asked.
const NEVER: &str = "0000-00-00 00:00:00";

/// What a list says of a person: agreed or not, and when, if ever.
type Said = (bool, Option<usize>);

/// A person.
#[derive(Debug, Clone, Copy)]
struct Person {
    /// When the account's record says that its holder agreed at the first shop.
    account: Option<usize>,
    /// What the list says of each shop, if it knows the person there.
    shops: [Option<Said>; 2],
    /// What the list of another panel says.
    other: Option<Said>,
}

/// Everybody.
fn people() -> Vec<Person> {
    let first = [None, Some((true, Some(1))), Some((true, Some(4))), Some((false, Some(1))), Some((false, Some(4)))];
    let first = first.into_iter().chain([Some((false, None)), Some((true, None))]);
    let second = [
        None,
        Some((true, Some(0))),
        Some((true, Some(3))),
        Some((false, Some(3))),
        Some((false, None)),
        Some((true, None)),
    ];
    let others = [None, Some((true, Some(2))), Some((false, Some(2))), Some((true, None))];
    let mut people = Vec::new();
    for (place, shop) in first.enumerate() {
        for (other_place, other_shop) in second.into_iter().enumerate() {
            for account in [None, Some(1)] {
                people.push(Person { account, shops: [shop, other_shop], other: others[(place + other_place) % 4] });
                people.push(Person {
                    account,
                    shops: [shop, other_shop],
                    other: others[(place + other_place + 1) % 4],
                });
            }
        }
    }
    people
}

/// What a person must have come to: the state, and when it was said; none for when Wharf saw it.
fn expected(person: &Person) -> (&'static str, Option<usize>) {
    let said: Vec<Said> = person.shops.into_iter().flatten().collect();
    let yes = said.iter().filter(|(agreed, _)| *agreed).filter_map(|(_, at)| *at).max();
    let no = said.iter().filter(|(agreed, _)| !agreed).filter_map(|(_, at)| *at).max();
    let agreed_somewhere = said.iter().any(|(agreed, _)| *agreed);
    let own = match (yes.or(person.account.filter(|_| agreed_somewhere)), no, person.account) {
        // Whoever agreed in one shop has agreed, and the account's record tells of it, too.
        (Some(at), _, account) => Some(("opt_in", Some(at.max(account.unwrap_or(at))))),
        // Who is known to have agreed has withdrawn after that.
        (None, Some(at), account) => Some(("opt_out", Some(at.max(account.unwrap_or(at))))),
        // Who agreed without a date did so before anything else was said.
        (None, None, _) if agreed_somewhere => Some(("opt_in", None)),
        // Asked nobody ever was, but this one had agreed.
        (None, None, Some(_)) if !said.is_empty() => return ("opt_out", None),
        (None, None, Some(at)) => Some(("opt_in", Some(at))),
        (None, None, None) => None,
    };
    let other = person.other.map(|(agreed, at)| (if agreed { "opt_in" } else { "opt_out" }, at));
    // The latest counts; equally late, the withdrawal.
    own.into_iter().chain(other).max_by_key(|(state, at)| (*at, *state)).unwrap_or(("unknown", None))
}

/// One record that says something of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Record {
    Account,
    Shop(usize),
    Other,
}

const RECORDS: [Record; 4] = [Record::Account, Record::Shop(0), Record::Shop(1), Record::Other];

/// All orders of arrival: which record comes in which run.
fn arrivals() -> Vec<Vec<Vec<Record>>> {
    let mut orders = vec![vec![RECORDS.to_vec()]];
    for first in RECORDS {
        for second in RECORDS {
            for third in RECORDS {
                for fourth in RECORDS {
                    let order = [first, second, third, fourth];
                    if RECORDS.iter().all(|record| order.contains(record)) {
                        orders.push(order.map(|record| vec![record]).to_vec());
                    }
                }
            }
        }
    }
    // By twos, as when a walk was cut off in between.
    orders.push(vec![vec![RECORDS[0], RECORDS[1]], vec![RECORDS[2], RECORDS[3]]]);
    orders.push(vec![vec![RECORDS[2], RECORDS[3]], vec![RECORDS[0], RECORDS[1]]]);
    orders
}

fn date(at: Option<usize>) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| format!("{} 12:00:00", MOMENTS[at]))
}

/// The row that stands for a record: connection, table, key, payload.
fn row(record: Record, id: usize, person: &Person) -> Option<(&'static str, &'static str, String, Value)> {
    let email = format!("p{id}@example.com");
    let list = |shop: u32, (agreed, at): Said, registered: &str| {
        let said = json!({"shop_id": shop, "approval": if agreed { "y" } else { "n" }, "date_modification": date(at)});
        json!({"client_number": id, "registered": registered, "email": email, "shops": {shop.to_string(): said}})
    };
    match record {
        Record::Account => {
            let approval = json!([{"shopId": 1, "newsletterEmailApprovalDate": date(person.account)}]);
            let row = json!({"clientId": id, "clientEmail": email, "isUnregistered": "n",
                "newsletterEmailApprovalsData": approval, "newsletterSmsApprovalsData": [],
                "clientsLastModificationDate": "2026-01-01 12:00:00", "clientRegistrationDate": "2025-01-01"});
            Some(("shop", "customers", id.to_string(), row))
        }
        Record::Shop(place) => {
            let shop = u32::try_from(place).unwrap() + 1;
            let said = person.shops[place]?;
            Some(("shop", "subscribers", format!("email-{id}-{shop}"), list(shop, said, "y")))
        }
        Record::Other => Some(("other", "subscribers", format!("email-{id}"), list(1, person.other?, "n"))),
    }
}

/// Writes rows as a run of an extract would.
async fn land(shop: &StagedShop, rows: Vec<(&'static str, &'static str, String, Value)>) {
    let mut tables: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (connection, table, key, payload) in rows {
        let row = json!({"connection": connection, "key": key, "payload": payload});
        tables.entry(table).or_default().push(row);
    }
    let run = Run::begin(&shop.test.db, "test", "extract").await.unwrap();
    let client = shop.client().await;
    for (table, rows) in tables {
        let insert = format!(
            "insert into staging.{table} (connection, source_key, payload, payload_hash, run_id)
             select connection, key, payload, gen_random_uuid(), $2
             from jsonb_to_recordset($1) as landed (connection text, key text, payload jsonb)"
        );
        client.execute(&insert, &[&Value::Array(rows), &run.id]).await.unwrap();
        // As an extract does when a table has grown.
        client.batch_execute(&format!("analyze staging.{table}")).await.unwrap();
    }
    run.finish(Outcome::Done, None).await.unwrap();
}

#[tokio::test]
async fn statements_come_to_the_same_in_whatever_order_they_arrive() {
    let settings = json!({
        "default_country": "PL", "shop_id": "all", "shops": [1, 2], "menu_id": 1, "lang_id": "pol", "currency": "PLN",
        "time_zone": "UTC", "iof_prices": "full", "marketplace": "exclude", "relay_domains": [],
        "unknown_status": "keep", "own_statuses": null, "statuses": {},
    });
    let shop = StagedShop::of("idosell", settings.clone()).await;
    shop.connection("other", &settings).await;
    let (people, arrivals) = (people(), arrivals());
    let id_of = |person: usize, order: usize| 1000 + person * arrivals.len() + order;
    for run in 0..RECORDS.len() {
        let mut rows = Vec::new();
        for (number, person) in people.iter().enumerate() {
            for (order, arrival) in arrivals.iter().enumerate() {
                let records = arrival.get(run).into_iter().flatten();
                rows.extend(records.filter_map(|record| row(*record, id_of(number, order), person)));
            }
        }
        land(&shop, rows).await;
        shop.transform_all(&["shop", "other"], false).await;
    }

    let found = "select email, email_consent, to_char(email_consent_at at time zone 'UTC', 'YYYY-MM-DD')
        from canonical.contacts";
    let rows = shop.client().await.query(found, &[]).await.unwrap();
    let found: BTreeMap<String, (String, Option<String>)> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    let mut wrong = Vec::new();
    for (number, person) in people.iter().enumerate() {
        let (state, at) = expected(person);
        for (order, arrival) in arrivals.iter().enumerate() {
            let id = id_of(number, order);
            let (found_state, found_at) = &found[&format!("p{id}@example.com")];
            let is_dated = found_at.as_deref() == at.map(|at| MOMENTS[at]) || at.is_none() && found_state == "opt_out";
            // Who had agreed and is said to refuse, without a date, has withdrawn when Wharf saw it: nothing older lifts it.
            let said: Vec<Said> = person.shops.into_iter().flatten().collect();
            let was_seen_to_withdraw =
                person.account.is_some() && said.contains(&(false, None)) && !said.iter().any(|(agreed, _)| *agreed);
            let is_right = found_state == state && is_dated
                || was_seen_to_withdraw && found_state == "opt_out" && found_at.as_deref() > MOMENTS.last().copied();
            if !is_right {
                wrong.push(format!("{person:?} by {arrival:?}: {found_state} {found_at:?}, not {state} {at:?}"));
            }
        }
    }
    assert_eq!(found.len(), people.len() * arrivals.len());
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), found.len(), wrong.join("\n"));
}
