//! A pipeline from a sandbox's shop to a sandbox's account, in a database of its own.

use crate::Options;
use crate::program::{self, Ran};
use crate::server::Server;
use crate::world::World;
use anyhow::Result;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Where a shop's data goes.
#[derive(Clone, Copy)]
pub struct Account {
    /// The sandbox's arguments.
    pub sandbox: &'static [&'static str],
    /// The lines of the pipeline file.
    pub lines: &'static str,
}

/// A SALESmanago account.
pub const SALESMANAGO: Account = Account {
    sandbox: &["salesmanago"],
    lines: "target:\n  account: account\n  platform: salesmanago\n  base_url: ${SM_URL}\n  client_id: ${SM_CLIENT_ID}\n  \
            api_key: ${SM_API_KEY}\n  api_secret: ${SM_API_SECRET}\n  owner: ${SM_OWNER}\n",
};

/// Shop, account, pipeline file and database.
pub struct Shop<'a> {
    world: &'a World,
    account: Account,
    /// What is served.
    pub sandbox: Server,
    /// The database.
    pub database: String,
    /// The pipeline file.
    pub file: PathBuf,
}

impl<'a> Shop<'a> {
    /// A shop of some size, and an empty account. `more` are further lines of the pipeline file.
    pub async fn start(world: &'a World, options: &Options, orders: u64, customers: u64, more: &str) -> Result<Self> {
        Self::start_with(world, options, orders, customers, more, (1, SALESMANAGO)).await
    }

    /// The same with the people of another seed, and another account.
    pub async fn start_with(
        world: &'a World,
        options: &Options,
        orders: u64,
        customers: u64,
        more: &str,
        (seed, account): (u64, Account),
    ) -> Result<Self> {
        let (orders, customers, seed) = (orders.to_string(), customers.to_string(), seed.to_string());
        let mut arguments = vec!["woocommerce"];
        arguments.extend(account.sandbox);
        arguments.extend(["--orders", &orders, "--customers", &customers, "--seed", &seed]);
        let sandbox = Server::start(&options.wharf, &arguments).await?;
        let database = world.database().await?;
        let file = world.folder().join(format!("{}.yaml", database.rsplit('/').next().unwrap_or("bench")));
        let shop = Self { world, account, sandbox, database, file };
        shop.write("bench", "shop", "", more)?;
        shop.wharf(&["status"]).await?;
        Ok(shop)
    }

    /// Writes the pipeline file: name, connection, further lines of the target, further lines of the file.
    pub fn write(&self, name: &str, connection: &str, of_target: &str, more: &str) -> Result<()> {
        std::fs::write(
            &self.file,
            format!(
                "name: {name}\nsources:\n  - connection: {connection}\n    platform: woocommerce\n    \
                 base_url: ${{WOO_URL}}\n    auth: query\n    consumer_key: ${{WOO_KEY}}\n    \
                 consumer_secret: ${{WOO_SECRET}}\n    consent_meta_keys: [{{key: marketing_consent}}]\n\
                 {}{of_target}{more}",
                self.account.lines
            ),
        )?;
        Ok(())
    }

    /// Runs the program on the database; `{}` among the arguments stands for the pipeline file.
    pub async fn wharf(&self, arguments: &[&str]) -> Result<Ran> {
        self.wharf_with(arguments, &[]).await
    }

    /// The same with further environment, which wins over that of the sandbox.
    pub async fn wharf_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Ran> {
        let file = self.file.to_string_lossy();
        let arguments: Vec<&str> = arguments.iter().map(|a| if *a == "{}" { file.as_ref() } else { *a }).collect();
        let mut command = self.world.wharf(&self.database, &arguments);
        command.envs(self.sandbox.environment()).envs(environment.iter().copied());
        program::run(command, &[0, 3]).await
    }

    /// About this share of the shop's rows changes, each seed another part. Where `renames` is false, the category that is
    /// renamed with them gets its name back: it is one row of the shop, but a tag of thousands of contacts.
    pub async fn change(&self, share: f64, seed: u64, renames: bool) -> Result<()> {
        let changed = self.ask(&json!({ "share": share, "seed": seed })).await?;
        for change in changed["changes"].as_array().into_iter().flatten() {
            if change["what"] == "category renamed" && !renames {
                let fields = json!({ "name": change["old"] });
                self.ask(&json!({ "update": { "entity": "categories", "id": change["id"], "fields": fields } }))
                    .await?;
            }
        }
        Ok(())
    }

    /// Puts the shop's clock an hour forward: runs that follow one another at once would read what the last ones read again,
    /// because each looks back for some minutes.
    pub async fn wait_an_hour(&self) -> Result<()> {
        self.ask(&json!({ "advance_seconds": 3600 })).await.map(drop)
    }

    async fn ask(&self, change: &Value) -> Result<Value> {
        let url = format!("{}/_sandbox/change", self.sandbox.variable("woocommerce", "WOO_URL"));
        let answer = reqwest::Client::new().post(url).body(change.to_string()).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }
}
