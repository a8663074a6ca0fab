//! The person who decides about what is held: looks at the account, as `wharf rejects` asks for, and says of each record
//! whether it arrived. Looks at nothing but what the account took, word for word, and never errs.

use super::crm::Crm;
use super::world::World;
use serde_json::Value;
use tokio::process::Command;
use wharf::sandbox::Sandbox;

/// A decision.
pub struct Decided {
    /// The order.
    pub key: String,
    /// `order`, or a kind of event.
    pub object: String,
    /// It arrived and is left as it is; otherwise it is sent again.
    pub is_there: bool,
}

impl World {
    /// Has a person look at the account for each record whose outcome is unknown. True if there was anything to decide.
    pub async fn decide(&mut self) -> Result<bool, String> {
        if matches!(self.crm, Crm::SalesManago) {
            return Ok(false);
        }
        let decided = decide(&self.url, &self.sandbox, |words| self.wharf(words, "")).await?;
        for one in &decided {
            if one.is_there {
                self.left.insert(one.key.clone());
            }
            let word = if one.is_there { "there" } else { "not there" };
            self.steps.push(format!("  a person sees that {} {} is {word}", one.object, one.key));
        }
        Ok(!decided.is_empty())
    }
}

/// Looks at an eSputnik account for each record of a database whose outcome is unknown: what arrived is left, what did not
/// is given free to be sent again.
pub async fn decide(url: &str, sandbox: &Sandbox, wharf: impl Fn(&[&str]) -> Command) -> Result<Vec<Decided>, String> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let rejects = "select key::text, object, payload #> '{sending,request}' from delivery.rejects
        where code = 'outcome-unknown' order by key, object";
    let mut all = Vec::new();
    for row in client.query(rejects, &[]).await.unwrap() {
        let (key, object): (String, String) = (row.get(0), row.get(1));
        let is_there = arrived(sandbox, &object, &row.get(2))?;
        all.push(Decided { key, object, is_there });
    }
    for is_there in [true, false] {
        let verb = if is_there { "drop" } else { "retry" };
        let alike: Vec<&Decided> = all.iter().filter(|one| one.is_there == is_there).collect();
        let words = ["-q", "rejects", verb, "--code", "outcome-unknown"];
        let commands: Vec<Vec<&str>> = if alike.len() == all.len() {
            alike.iter().take(1).map(|_| words.to_vec()).collect()
        } else {
            alike.iter().map(|one| [&words[..], &["--key", &one.key]].concat()).collect()
        };
        for command in commands {
            let output = wharf(&command).output().await.unwrap();
            if !output.status.success() {
                return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
            }
        }
    }
    Ok(all)
}

/// Whether the last that the account took of an order on that way is what the call carried.
fn arrived(sandbox: &Sandbox, object: &str, request: &Value) -> Result<bool, String> {
    let id = order_of(request).ok_or_else(|| format!("{object} {request} names no order"))?;
    let account = sandbox.esputnik().unwrap().account();
    let Some(order) = account.orders.find(&id) else { return Ok(false) };
    let count = u32::try_from(account.events.list.len()).unwrap();
    let of_the_order = (0..count).rev().filter(|at| account.events.list[*at as usize].order == order);
    for at in of_the_order {
        let event = account.shown_event(at);
        if (event["via"] == "orders") == (object == "order") {
            let body = event.get("body").ok_or("the account does not keep what arrived")?;
            return Ok(body == request);
        }
    }
    Ok(false)
}

/// The order that a request speaks of.
fn order_of(request: &Value) -> Option<String> {
    let named = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(id) = request.get("externalOrderId") {
        return named(id);
    }
    let params = request["params"].as_array()?;
    params.iter().find(|param| param["name"] == "externalOrderId").and_then(|param| named(&param["value"]))
}
