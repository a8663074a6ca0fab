//! Canonical rows put straight into the database, with the change feed, for tests of what is sent.

use super::fake_target::FakeTarget;
use super::{TestDatabase, database};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharf::config::Pipeline;
use wharf::progress::Progress;
use wharf::stage::load::tally::Tally;
use wharf::stage::load::{self, Patience, Summary};
use wharf::stage::plan::{self, Record, Report};
use wharf::stage::{Context, rejects};
use wharf::store::{Outcome, Run};
use wharf::target::Target;

/// A database, a target and a pipeline between them.
pub struct Shop {
    pub test: TestDatabase,
    pub target: Arc<FakeTarget>,
    pub pipeline: Pipeline,
    pub patience: Patience,
}

/// A pipeline from shop `shop` into account `crm`, with `more` members.
pub fn pipeline(more: &Value) -> Pipeline {
    let mut value = json!({
        "name": "test",
        "sources": [{"connection": "shop", "platform": "woocommerce", "base_url": "https://shop.example"}],
        "target": {"account": "crm", "platform": "salesmanago", "base_url": "https://crm.example"},
    });
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

/// Id of the contact that tests call by this address.
pub fn contact_id(email: &str) -> Uuid {
    id("contact", email)
}

/// Id of the order that tests call by this key.
pub fn order_id(key: &str) -> Uuid {
    id("order", key)
}

fn id(kind: &str, name: &str) -> Uuid {
    let hash = xxhash_rust::xxh3::xxh3_128(format!("{kind} {name}").as_bytes());
    Uuid::from_u128(hash)
}

impl Shop {
    pub async fn new(more: Value) -> Self {
        let patience = Patience {
            appear: Duration::from_secs(30),
            grace: Duration::ZERO,
            pause: Duration::from_millis(5),
            ..Patience::default()
        };
        let test = database().await;
        // The shop has been read and mapped, whatever of it a test writes.
        let mapped = "insert into ops.connections (connection, platform, base_url, mapped_settings)
            values ('shop', 'woocommerce', 'https://shop.example', '{}')";
        test.db.client().await.unwrap().batch_execute(mapped).await.unwrap();
        Self { test, target: Arc::new(FakeTarget::new()), pipeline: pipeline(&more), patience }
    }

    pub async fn client(&self) -> deadpool_postgres::Object {
        self.test.db.client().await.unwrap()
    }

    /// One value from the database, as text.
    pub async fn value(&self, query: &str) -> String {
        let row = self.client().await.query_one(&format!("select ({query})::text"), &[]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    pub async fn count(&self, of: &str) -> i64 {
        self.client().await.query_one(&format!("select count(*) from {of}"), &[]).await.unwrap().get(0)
    }

    /// Runs statements as a transform would: in a run of its own. `$run` stands for its number.
    pub async fn change(&self, statements: &str) {
        let run = Run::begin(&self.test.db, "test", "transform").await.unwrap();
        let text = format!("begin; {}; commit", statements.replace("$run", &run.id.to_string()));
        self.client().await.batch_execute(&text).await.unwrap();
        run.finish(Outcome::Done, None).await.unwrap();
    }

    /// Writes a contact with an account; `more` overrides its columns.
    pub async fn contact(&self, email: &str, more: Value) -> Uuid {
        self.contacts(&[(email, more)]).await;
        contact_id(email)
    }

    /// Writes contacts in one run.
    pub async fn contacts(&self, contacts: &[(&str, Value)]) {
        let mut statements = String::new();
        for (email, more) in contacts {
            let mut row = json!({
                "contact_id": contact_id(email), "email": email, "registered": true, "newsletter": false,
                "email_consent": "opt_in", "email_consent_at": "2024-05-01T00:00:00Z", "sms_consent": "unknown",
                "extra": {}, "created_at": "2024-04-01T00:00:00Z", "updated_at": "2024-05-01T00:00:00Z",
            });
            row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let mut source = row.clone();
            let key = format!("account:{email}");
            source.as_object_mut().unwrap().extend(
                json!({"connection": "shop", "source_key": key, "kind": "account"}).as_object().unwrap().clone(),
            );
            statements.push_str(&replace("contacts", &row, "contact_id"));
            statements.push_str(&replace("contact_sources", &source, "contact_id"));
        }
        self.change(&statements).await;
    }

    /// Gives a contact tags of an origin.
    pub async fn tags(&self, email: &str, origin: &str, tags: &[&str]) {
        let contact = contact_id(email);
        let mut statements =
            format!("delete from canonical.contact_tags where contact_id = '{contact}' and origin = '{origin}';");
        for tag in tags {
            let row = json!({"contact_id": contact, "tag": tag, "origin": origin});
            statements.push_str(&insert("contact_tags", &row));
        }
        statements.push_str(&feed("contact_tags", &contact.to_string(), contact));
        self.change(&statements).await;
    }

    /// Writes an order of a contact with one line; `more` overrides its columns.
    pub async fn order(&self, email: &str, key: &str, more: Value) -> Uuid {
        self.orders(&[(email, key, more)]).await;
        order_id(key)
    }

    /// Writes orders in one run.
    pub async fn orders(&self, orders: &[(&str, &str, Value)]) {
        let mut statements = String::new();
        for (email, key, more) in orders {
            let mut row = json!({
                "contact_id": contact_id(email), "order_id": order_id(key), "connection": "shop", "source_key": key,
                "number": key, "status": "DELIVERED", "currency": "PLN", "total": "99.90",
                "placed_at": "2024-05-02T10:00:00Z", "utm": {}, "extra": {},
            });
            let mut more = more.clone();
            let items = more.as_object_mut().unwrap().remove("items");
            row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            statements.push_str(&replace("orders", &row, "order_id"));
            statements.push_str(&format!("delete from canonical.order_items where order_id = '{}';", order_id(key)));
            let one = json!([{"sku": "SKU-1", "name": "Thing", "quantity": 1}]);
            for (line, item) in items.unwrap_or(one).as_array().unwrap().iter().enumerate() {
                let mut item = item.clone();
                item.as_object_mut().unwrap().extend(
                    json!({"contact_id": row["contact_id"], "order_id": row["order_id"], "line": line + 1,
                        "connection": "shop"})
                    .as_object()
                    .unwrap()
                    .clone(),
                );
                statements.push_str(&insert("order_items", &item));
            }
        }
        self.change(&statements).await;
    }

    /// A contact's e-mail changes at the shop: its source and orders move to the new identity.
    pub async fn moves(&self, from: &str, to: &str) {
        let (old, new) = (contact_id(from), contact_id(to));
        self.change(&format!(
            "insert into canonical.contacts
                select (jsonb_populate_record(c, jsonb_build_object('contact_id', '{new}', 'email', '{to}'))).*
                from canonical.contacts c where contact_id = '{old}' on conflict do nothing;
             insert into canonical.contact_sources
                select (jsonb_populate_record(s, jsonb_build_object('contact_id', '{new}', 'email', '{to}'))).*
                from canonical.contact_sources s where contact_id = '{old}' on conflict do nothing;
             with gone as (delete from canonical.orders where contact_id = '{old}' returning *)
                insert into canonical.orders
                select (jsonb_populate_record(gone::canonical.orders, jsonb_build_object('contact_id', '{new}'))).* from gone;
             with gone as (delete from canonical.order_items where contact_id = '{old}' returning *)
                insert into canonical.order_items
                select (jsonb_populate_record(gone::canonical.order_items, jsonb_build_object('contact_id', '{new}'))).*
                from gone;
             delete from canonical.contacts where contact_id = '{old}';
             delete from canonical.contact_sources where contact_id = '{old}';
             insert into canonical.contact_moves (contact_id, moved_to, email, run_id)
                values ('{old}', '{new}', '{from}', $run);
             insert into canonical.changes (run_id, entity, key, contact_id, op, old)
                values ($run, 'contact_sources', 'shop:account', '{new}', 'update', jsonb_build_object('contact_id', '{old}')),
                       ($run, 'contacts', '{old}', '{old}', 'delete', '{{}}')"
        ))
        .await;
    }

    /// A contact is deleted in every shop.
    pub async fn deletes(&self, email: &str) {
        let contact = contact_id(email);
        self.change(&format!(
            "delete from canonical.contacts where contact_id = '{contact}';
             delete from canonical.contact_sources where contact_id = '{contact}';
             insert into canonical.changes (run_id, entity, key, contact_id, op, old)
                values ($run, 'contacts', '{contact}', '{contact}', 'delete', '{{}}')"
        ))
        .await;
    }

    /// A run of its own for a stage.
    pub async fn context(&self) -> Context {
        let run = Run::begin(&self.test.db, &self.pipeline.name, "load").await.unwrap();
        Context { db: self.test.db.clone(), run, progress: Progress::silent(), stop: CancellationToken::new() }
    }

    pub async fn try_load(&self) -> wharf::Result<Summary> {
        self.load_as(&load::Options::default()).await
    }

    pub async fn load_as(&self, options: &load::Options) -> wharf::Result<Summary> {
        let context = self.context().await;
        let target: Arc<dyn Target> = self.target.clone();
        let result = load::load_as(&context, &self.pipeline, target, self.patience, options).await;
        let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Stopped };
        context.run.finish(outcome, result.as_ref().err()).await.unwrap();
        result
    }

    pub async fn load(&self) -> Tally {
        self.try_load().await.unwrap().tally
    }

    /// A load in a process that dies when the script says so; true if it did.
    pub async fn load_that_may_die(&self) -> bool {
        let context = self.context().await;
        let (target, pipeline, patience): (Arc<dyn Target>, _, _) =
            (self.target.clone(), self.pipeline.clone(), self.patience);
        let work = async move {
            let result = load::load_with(&context, &pipeline, target, patience).await;
            context.run.finish(Outcome::Done, result.as_ref().err()).await.unwrap();
            result.unwrap();
        };
        tokio::spawn(work).await.is_err()
    }

    pub async fn plan(&self) -> (Report, Vec<Record>) {
        self.plan_as(&plan::Options::default()).await
    }

    pub async fn plan_as(&self, options: &plan::Options) -> (Report, Vec<Record>) {
        let mut records = Vec::new();
        let report = plan::plan_as(
            &self.test.db,
            &self.pipeline,
            self.target.as_ref(),
            &Progress::silent(),
            &CancellationToken::new(),
            options,
            |record| {
                records.push(record);
                Ok(())
            },
        )
        .await
        .unwrap();
        (report, records)
    }

    /// `(entity, code)` of all delivery rejects, sorted.
    pub async fn rejects(&self) -> Vec<(String, String)> {
        let list = rejects::list(&self.test.db, &rejects::Filter::default(), 1000).await.unwrap();
        let mut rejects: Vec<_> = list.into_iter().map(|reject| (reject.entity, reject.code)).collect();
        rejects.sort();
        rejects
    }
}

fn insert(table: &str, row: &Value) -> String {
    let columns: Vec<&String> = row.as_object().unwrap().keys().collect();
    let names = columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let text = row.to_string().replace('\'', "''");
    // What the row does not have is left to the table's own defaults.
    format!(
        "insert into canonical.{table} ({names})
         select {names} from jsonb_populate_record(null::canonical.{table}, '{text}');"
    )
}

/// Columns that a table has and the row has not are dropped by `insert`, so a source row may carry the contact's.
fn replace(table: &str, row: &Value, key: &str) -> String {
    let key_value = row[key].as_str().unwrap();
    let contact: Uuid = row["contact_id"].as_str().unwrap().parse().unwrap();
    let feed_key = if key == "order_id" { key_value.to_owned() } else { contact.to_string() };
    format!(
        "delete from canonical.{table} where {key} = '{key_value}'; {} {}",
        insert(table, row),
        feed(table, &feed_key, contact)
    )
}

fn feed(entity: &str, key: &str, contact: Uuid) -> String {
    format!(
        "insert into canonical.changes (run_id, entity, key, contact_id, op)
         values ($run, '{entity}', '{key}', '{contact}', 'insert');"
    )
}
