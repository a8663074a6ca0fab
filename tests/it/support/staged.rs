//! A shop put straight into staging, for tests of what raw records mean.

use super::{TestDatabase, database};
use serde_json::{Value, json};
use wharf::progress::Progress;
use wharf::stage::{Context, transform};
use wharf::store::{Outcome, Run};

/// A database with one connection, `shop`, whose staging rows a test writes itself.
pub struct StagedShop {
    pub test: TestDatabase,
    platform: &'static str,
}

impl StagedShop {
    /// A WooCommerce shop.
    pub async fn new(settings: Value) -> Self {
        Self::of("woocommerce", settings).await
    }

    /// A shop of a platform.
    pub async fn of(platform: &'static str, settings: Value) -> Self {
        let test = database().await;
        let shop = Self { test, platform };
        shop.connection("shop", &settings).await;
        shop
    }

    /// Registers a connection, or changes its settings.
    pub async fn connection(&self, connection: &str, settings: &Value) {
        self.client()
            .await
            .execute(
                "insert into ops.connections (connection, platform, base_url, settings)
                 values ($1, $3, 'https://shop.example', $2)
                 on conflict (connection) do update set settings = excluded.settings",
                &[&connection, settings, &self.platform],
            )
            .await
            .unwrap();
    }

    pub async fn client(&self) -> deadpool_postgres::Object {
        self.test.db.client().await.unwrap()
    }

    /// Writes records as an extract run would: each becomes a staging row of a new run, with its id as its key.
    pub async fn stage(&self, connection: &str, table: &str, records: &[Value]) {
        let keyed: Vec<(String, Value)> =
            records.iter().map(|record| (record["id"].to_string(), record.clone())).collect();
        self.stage_as(connection, table, &keyed, None).await;
    }

    /// As [`Self::stage`], with keys given and, where the records hang on another one, its key.
    pub async fn stage_as(&self, connection: &str, table: &str, records: &[(String, Value)], parent: Option<&str>) {
        let run = Run::begin(&self.test.db, "test", "extract").await.unwrap();
        let client = self.client().await;
        for (key, record) in records {
            client
                .execute(
                    &format!(
                        "insert into staging.{table} (connection, source_key, payload, payload_hash, run_id, parent_key)
                         values ($1, $2, $3, gen_random_uuid(), $4, $5)
                         on conflict (connection, source_key) do update
                         set payload = excluded.payload, run_id = excluded.run_id, deleted_at = null"
                    ),
                    &[&connection, key, record, &run.id, &parent],
                )
                .await
                .unwrap();
        }
        run.finish(Outcome::Done, None).await.unwrap();
    }

    /// Marks a record as deleted at the shop.
    pub async fn delete(&self, table: &str, key: &str) {
        let run = Run::begin(&self.test.db, "test", "extract").await.unwrap();
        self.client()
            .await
            .execute(
                &format!("update staging.{table} set deleted_at = now(), run_id = $2 where source_key = $1"),
                &[&key, &run.id],
            )
            .await
            .unwrap();
        run.finish(Outcome::Done, None).await.unwrap();
    }

    /// Transforms `connections` in a run of its own and gives the run's number.
    pub async fn transform_all(&self, connections: &[&str], full: bool) -> i64 {
        let run = Run::begin(&self.test.db, "test", "transform").await.unwrap();
        let ctx = Context {
            db: self.test.db.clone(),
            run: run.clone(),
            progress: Progress::silent(),
            stop: Default::default(),
        };
        let connections: Vec<String> = connections.iter().map(ToString::to_string).collect();
        transform::run(&ctx, &connections, full).await.unwrap();
        run.finish(Outcome::Done, None).await.unwrap();
        run.id
    }

    pub async fn transform(&self) -> i64 {
        self.transform_all(&["shop"], false).await
    }

    /// One value of one row, as text; empty for null or no row.
    pub async fn value(&self, query: &str) -> String {
        let rows = self.client().await.query(&format!("select ({query})::text"), &[]).await.unwrap();
        rows[0].get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// All values of the first column, sorted.
    pub async fn column(&self, query: &str) -> Vec<String> {
        let rows = self.client().await.query(query, &[]).await.unwrap();
        let mut values: Vec<String> =
            rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect();
        values.sort();
        values
    }
}

/// A record with other members.
pub fn with(mut record: Value, changes: Value) -> Value {
    let (Value::Object(fields), Value::Object(changes)) = (&mut record, changes) else { panic!("not objects") };
    fields.extend(changes);
    record
}

/// A customer account with the fields that the mapping reads.
pub fn customer(id: u32, email: &str) -> Value {
    json!({
        "id": id,
        "email": email,
        "first_name": "Anna",
        "last_name": "Nowak",
        "role": "customer",
        "date_created_gmt": "2024-01-01T10:00:00",
        "date_modified_gmt": "2024-01-02T10:00:00",
        "billing": {"email": email, "phone": "601 000 101", "country": "PL", "city": "Warszawa"},
        "meta_data": []
    })
}

/// An order of one line at 12.30 gross, by account `customer_id` (0 for a guest).
pub fn order(id: u32, customer_id: u32, email: &str, product_id: u32) -> Value {
    json!({
        "id": id,
        "number": id.to_string(),
        "status": "completed",
        "currency": "PLN",
        "customer_id": customer_id,
        "total": "12.30",
        "total_tax": "2.30",
        "discount_total": "0.00",
        "discount_tax": "0.00",
        "shipping_total": "0.00",
        "shipping_tax": "0.00",
        "date_created_gmt": "2024-02-01T10:00:00",
        "date_modified_gmt": "2024-02-02T10:00:00",
        "date_paid_gmt": "2024-02-01T10:05:00",
        "date_completed_gmt": "2024-02-02T10:00:00",
        "payment_method_title": "Przelew",
        "billing": {"email": email, "first_name": "Jan", "phone": "", "country": "PL", "address_1": "Testowa 1", "city": "Kraków"},
        "shipping": {},
        "meta_data": [],
        "line_items": [{
            "name": "Kubek", "product_id": product_id, "variation_id": 0, "quantity": 2,
            "total": "10.00", "total_tax": "2.30", "sku": "K-1", "image": {"src": ""}
        }],
        "shipping_lines": [], "fee_lines": [], "coupon_lines": [], "refunds": []
    })
}

/// A category below `parent` (0 for the top).
pub fn category(id: u32, parent: u32, name: &str) -> Value {
    json!({"id": id, "parent": parent, "name": name})
}

/// A product in `categories`.
pub fn product(id: u32, categories: &[u32]) -> Value {
    json!({
        "id": id,
        "name": "Kubek",
        "status": "publish",
        "stock_status": "instock",
        "price": "6.15",
        "regular_price": "",
        "permalink": format!("https://shop.example/p/{id}"),
        "images": [{"src": format!("https://shop.example/i/{id}.jpg")}],
        "categories": categories.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(),
        "date_created_gmt": "2023-01-01T00:00:00",
        "date_modified_gmt": "2023-01-01T00:00:00"
    })
}
