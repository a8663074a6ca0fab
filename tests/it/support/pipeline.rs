//! The whole way in one process: a sandbox shop, a fresh database, a sandbox SALESmanago, and a pipeline between them.

use super::{TestDatabase, database};
use std::sync::Arc;
use wharf::config::{self, Pipeline, Variables};
use wharf::progress::Progress;
use wharf::sandbox::{Platform, Sandbox, SandboxOptions, salesmanago, woocommerce};
use wharf::stage::extract::{self, ExtractReport};
use wharf::stage::load::{self, Summary};
use wharf::stage::{Context, transform};
use wharf::store::{Outcome, Run};
use wharf::{source, target};

/// A pipeline with both ends and a database.
pub struct WholeWay {
    pub test: TestDatabase,
    pub sandbox: Sandbox,
    pub pipeline: Pipeline,
}

impl WholeWay {
    /// `pipeline` is the text of a pipeline file; variables are the sandbox's.
    pub async fn open(shop: woocommerce::Options, pipeline: &str) -> Self {
        let sandbox = Sandbox::start(SandboxOptions {
            woocommerce: Some(shop),
            salesmanago: Some(salesmanago::Options::default()),
            ..SandboxOptions::default()
        })
        .await
        .unwrap();
        let mut variables = Variables::only([]);
        for (platform, url) in sandbox.platforms() {
            variables = variables.with(platform.url_variable(), url);
            for (name, value) in platform.credentials() {
                variables = variables.with(name, value);
            }
        }
        let pipeline = config::parse("test.yaml", pipeline, &variables).unwrap().pipeline;
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
