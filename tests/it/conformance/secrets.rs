//! No secret of any connector is in what the program prints, logs, stores or plans, at the most talkative level, through
//! success and failure alike.

use super::{ensure, without_secrets};
use crate::support::world::{Kind, World, ended};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use wharf::sandbox::woocommerce::{CONSUMER_KEY, CONSUMER_SECRET};
use wharf::sandbox::{Fault, FaultKind, Platform as _};

/// The secrets of the pipeline, also as they travel. The account's id is none: it names the account.
fn secrets(world: &World) -> Vec<String> {
    let of_account = world.account().credentials().into_iter();
    let of_account = of_account.filter(|(name, _)| name.contains("KEY") || name.contains("SECRET"));
    let mut secrets: Vec<String> = of_account.map(|(_, value)| value).collect();
    secrets.extend([CONSUMER_KEY.to_owned(), CONSUMER_SECRET.to_owned()]);
    secrets.push(BASE64_STANDARD.encode(format!("{CONSUMER_KEY}:{CONSUMER_SECRET}")));
    secrets
}

/// Every row of every table of the database, as text.
async fn everything_stored(world: &World) -> String {
    let (client, connection) = tokio_postgres::connect(&world.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let tables = "select format('%I.%I', schemaname, tablename) from pg_tables
        where schemaname not in ('pg_catalog', 'information_schema')";
    let mut all = String::new();
    for row in client.query(tables, &[]).await.unwrap() {
        let name: String = row.get(0);
        let rows = client.query(&format!("select t::text from {name} as t"), &[]).await.unwrap();
        all.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_printed_logged_stored_or_planned_whatever_happens() {
    let world = World::new(Kind { customers: 8, orders: 12, products: 5, ..Kind::default() }).await;
    let secrets = secrets(&world);
    let mut said = String::new();
    for arguments in [
        &["check", "world.yaml"][..],
        &["-vv", "extract", "world.yaml"],
        &["-vv", "transform", "world.yaml"],
        &["--json", "-v", "plan", "world.yaml"],
        &["-vv", "run", "world.yaml"],
        &["--json", "status", "world.yaml"],
        &["--json", "rejects"],
    ] {
        let mut command = world.wharf(arguments, "");
        let ran = ended(command.env("WHARF_LOG", "trace").env("RUST_BACKTRACE", "1").spawn().unwrap()).await;
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    }
    // Failures say the most.
    for (status, path) in [(401, "/wp-json/*"), (403, "/api/*"), (500, "/wp-json/wc/v3/orders*"), (400, "/wp-json/*")] {
        let echo = format!("{{\"message\": \"{}\"}}", secrets.join(" "));
        world.sandbox.fault(Fault::new(FaultKind::Status, path).status(status, echo).times(0).retry_after("1000"));
        for arguments in [&["check", "world.yaml"][..], &["-vv", "run", "world.yaml"]] {
            let mut command = world.wharf(arguments, "");
            let ran = ended(command.env("WHARF_LOG", "trace").spawn().unwrap()).await;
            said.push_str(&ran.stdout);
            said.push_str(&ran.stderr);
        }
        world.sandbox.clear_faults();
    }
    ensure(said.len() > 10_000, || format!("only {} bytes were said", said.len())).unwrap();
    for line in said.lines() {
        without_secrets(line, &secrets).unwrap();
    }
    let stored = everything_stored(&world).await;
    ensure(stored.len() > 10_000, || format!("only {} bytes are stored", stored.len())).unwrap();
    assert!(without_secrets(&stored, &secrets).is_ok(), "a secret is in the database");
}
