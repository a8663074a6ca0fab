//! The whole way in one process: a sandbox shop, a fresh database, a sandbox SALESmanago, and a pipeline between them.

use super::{TestDatabase, database};
use std::sync::Arc;
use wharf::config::{self, Pipeline, Variables};
use wharf::progress::Progress;
use wharf::sandbox::{Platform, Sandbox, SandboxOptions, salesmanago, woocommerce};
use wharf::stage::extract::{self, ExtractReport};
use wharf::stage::load::{self, Summary};
use wharf::stage::plan::{self, Record, Report};
use wharf::stage::{Context, transform};
use wharf::store::{Outcome, Run};
use wharf::{source, target};

/// From the sandbox's shop to its account; further keys of the shop and further sections go in between and behind.
fn pipeline(shop: &str, rest: &str) -> String {
    format!(
        "name: test
sources:
  - connection: shop
    platform: woocommerce
    base_url: ${{WOO_URL}}
    consumer_key: ${{WOO_KEY}}
    consumer_secret: ${{WOO_SECRET}}
{shop}
target:
  account: crm
  platform: salesmanago
  base_url: ${{SM_URL}}
  client_id: ${{SM_CLIENT_ID}}
  api_key: ${{SM_API_KEY}}
  api_secret: ${{SM_API_SECRET}}
  owner: ${{SM_OWNER}}
{rest}
"
    )
}

/// A pipeline with both ends and a database.
pub struct WholeWay {
    pub test: TestDatabase,
    pub sandbox: Sandbox,
    pub pipeline: Pipeline,
}

impl WholeWay {
    /// `keys` are further keys of the shop in the pipeline file, `rest` its further sections.
    pub async fn open(shop: woocommerce::Options, keys: &str, rest: &str) -> Self {
        let options = SandboxOptions::default().with(shop).with(salesmanago::Options::default());
        let sandbox = Sandbox::start(options).await.unwrap();
        Self::begin(sandbox, &pipeline(keys, rest), &[]).await
    }

    /// The pipeline of a file between the platforms of a sandbox; `instead` are variables that stand for the sandbox's own.
    pub async fn begin(sandbox: Sandbox, file: &str, instead: &[(&str, &str)]) -> Self {
        let mut variables = Variables::only([]);
        for (name, value) in sandbox.environment() {
            variables = variables.with(name, value);
        }
        for (name, value) in instead {
            variables = variables.with(*name, *value);
        }
        let mut pipeline = config::parse("test.yaml", file, &variables).unwrap().pipeline;
        for source in &mut pipeline.sources {
            // Tests see what changed in an old customer at once.
            source.full_walk_every.get_or_insert("0s".parse().unwrap());
        }
        Self { test: database().await, sandbox, pipeline }
    }

    /// One run: extract, transform, load.
    pub async fn run(&self) -> (ExtractReport, Summary) {
        let run = Run::begin(&self.test.db, &self.pipeline.name, "run").await.unwrap();
        let context = Context {
            db: self.test.db.clone(),
            run: run.clone(),
            progress: Progress::silent(),
            stop: Default::default(),
        };
        let connection = &self.pipeline.sources[0];
        let source = source::registry::build(connection).unwrap();
        let extracted = extract::run(&context, &self.pipeline, connection, source).await.unwrap();
        transform::run(&context, std::slice::from_ref(&connection.connection), false).await.unwrap();
        let target = target::registry::build(&self.pipeline.target, &self.pipeline.load).unwrap();
        let loaded = load::load(&context, &self.pipeline, target).await.unwrap();
        run.finish(Outcome::Done, None).await.unwrap();
        (extracted, loaded)
    }

    /// Reads everything there is at the shop, deletions included, and says what it means; sends nothing.
    pub async fn read_all(&self) {
        self.try_read_all(true).await.unwrap();
    }

    /// The same, with a limit to deletions unless they are allowed; what was read means what it means however that ends.
    pub async fn try_read_all(&self, allow_deletions: bool) -> wharf::Result<()> {
        let context = self.context("transform").await;
        let connection = &self.pipeline.sources[0];
        let source = source::registry::build(connection).unwrap();
        let options = extract::Options { full: true, allow_deletions, ..Default::default() };
        let read = extract::run_with(&context, &self.pipeline, connection, source, &options).await.1;
        transform::run(&context, std::slice::from_ref(&connection.connection), false).await.unwrap();
        context.run.finish(Outcome::Done, None).await.unwrap();
        read
    }

    /// Sends what is pending.
    pub async fn load(&self) -> Summary {
        self.try_load().await.unwrap()
    }

    /// Sends what is pending, if nothing stops it.
    pub async fn try_load(&self) -> wharf::Result<Summary> {
        let context = self.context("load").await;
        let target = target::registry::build(&self.pipeline.target, &self.pipeline.load).unwrap();
        let loaded = load::load(&context, &self.pipeline, target).await;
        context.run.finish(Outcome::Done, loaded.as_ref().err()).await.unwrap();
        loaded
    }

    /// What a load would do.
    pub async fn plan(&self, options: &plan::Options) -> (Report, Vec<Record>) {
        let target = target::registry::build(&self.pipeline.target, &self.pipeline.load).unwrap();
        let (progress, stop) = (Progress::silent(), Default::default());
        let mut records = Vec::new();
        let see = |record| {
            records.push(record);
            Ok(())
        };
        let report = plan::plan_as(&self.test.db, &self.pipeline, target.as_ref(), &progress, &stop, options, see);
        let report = report.await.unwrap();
        (report, records)
    }

    async fn context(&self, command: &str) -> Context {
        let run = Run::begin(&self.test.db, &self.pipeline.name, command).await.unwrap();
        Context { db: self.test.db.clone(), run, progress: Progress::silent(), stop: Default::default() }
    }

    /// The emulated account.
    pub fn account(&self) -> &Arc<salesmanago::SalesManago> {
        self.sandbox.salesmanago().unwrap()
    }

    /// A figure of the emulated account.
    pub fn figure(&self, pointer: &str) -> u64 {
        self.account().state().pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or(0)
    }

    /// Rows of a query as texts joined by a blank, nulls as `-`, in the query's order.
    pub async fn rows(&self, query: &str) -> Vec<String> {
        let client = self.test.db.client().await.unwrap();
        let rows = client.simple_query(query).await.unwrap();
        rows.iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|column| row.get(column).unwrap_or("-")).collect::<Vec<_>>().join(" "))
                }
                _ => None,
            })
            .collect()
    }
}
