//! Why a canonical row is what it is: which record gave each value and by which rule, and what was sent of it.
//!
//! The documents are made by `sql/explain/`, from the same tables and by the same orders as the transform; nothing of what
//! a rule means may enter here. Nothing is written.

use crate::store::Database;
use crate::{Error, Kind, Result, sql};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

/// What is to be explained.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// A contact, by e-mail, phone or id.
    Contact(String),
    /// An order, by number, key or id; of one connection where it is named.
    Order {
        /// Number, key or id.
        which: String,
        /// The shop.
        connection: Option<String>,
    },
}

/// Explains it. `payloads` adds what was sent.
///
/// # Errors
/// [`Kind::Command`] if there is no such thing, or several, with what was near; those of the database.
pub async fn explain(db: &Database, wanted: &Wanted, payloads: bool) -> Result<Value> {
    let client = db.client().await?;
    match wanted {
        Wanted::Contact(who) => {
            let rows = client.query(sql::file("explain/find_contact.sql")?, &[who]).await?;
            let found = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
            contact(&client, only(found, "contact", who)?, payloads).await
        }
        Wanted::Order { which, connection } => {
            let rows = client.query(sql::file("explain/find_order.sql")?, &[which, connection]).await?;
            let found = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
            order(&client, only(found, "order", which)?, payloads).await
        }
    }
}

/// The one that was meant.
fn only(found: Vec<(Uuid, String, bool)>, what: &str, asked: &str) -> Result<Uuid> {
    let exact: Vec<&(Uuid, String, bool)> = found.iter().filter(|(_, _, exact)| *exact).collect();
    let names = |list: &[&(Uuid, String, bool)]| {
        list.iter().map(|(id, name, _)| format!("{name} ({id})")).collect::<Vec<_>>().join(", ")
    };
    match exact.as_slice() {
        [(id, ..)] => Ok(*id),
        [] => {
            let near: Vec<_> = found.iter().collect();
            Err(Error::new(Kind::Command, format!("there is no {what} `{asked}`")).hint(if near.is_empty() {
                format!("name a {what} of this database by what the shop shows of it, or by its id")
            } else {
                format!("near it: {}", names(&near))
            }))
        }
        several => Err(Error::new(Kind::Command, format!("`{asked}` may be {} {what}s", several.len()))
            .hint(format!("name one by its id, or an order's shop by --connection: {}", names(several)))),
    }
}

/// Everything about a contact.
///
/// # Errors
/// Those of the database; [`Kind::Command`] if it has gone meanwhile.
pub async fn contact(client: &Client, id: Uuid, payloads: bool) -> Result<Value> {
    let mut told = document(client, "explain/contact.sql", id).await?;
    let mut keys = vec![id];
    let orders = told["orders"].as_array().into_iter().flatten();
    keys.extend(orders.filter_map(|order| order["order_id"].as_str()?.parse::<Uuid>().ok()));
    let row: Value =
        client.query_one("select to_jsonb(c) from canonical.contacts c where contact_id = $1", &[&id]).await?.get(0);
    complete(client, &mut told, &keys, ("contacts", id), row, payloads).await?;
    Ok(json!({ "contact": told }))
}

async fn order(client: &Client, id: Uuid, payloads: bool) -> Result<Value> {
    let mut told = document(client, "explain/order.sql", id).await?;
    let row = told["order"].clone();
    complete(client, &mut told, &[id], ("orders", id), row, payloads).await?;
    Ok(json!({ "order": told }))
}

async fn document(client: &Client, file: &str, id: Uuid) -> Result<Value> {
    let row = client.query_opt(sql::file(file)?, &[&id]).await?;
    row.map(|row| row.get(0)).ok_or_else(|| {
        Error::new(Kind::Command, format!("{id} has gone a moment ago")).hint("ask again: it may have moved")
    })
}

/// Adds what was sent and what the feed says.
async fn complete(
    client: &Client,
    told: &mut Value,
    keys: &[Uuid],
    (entity, id): (&str, Uuid),
    row: Value,
    payloads: bool,
) -> Result<()> {
    let keys = keys.to_vec();
    told["delivery"] = client.query_one(sql::file("explain/delivery.sql")?, &[&keys, &payloads]).await?.get(0);
    told["history"] =
        client.query_one(sql::file("explain/history.sql")?, &[&entity, &id.to_string(), &row]).await?.get(0);
    Ok(())
}
