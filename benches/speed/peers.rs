//! The peers' side: scripts in `benches/peers`, run by the virtual environment that `benches/peers/install` made.

use crate::Options;
use crate::program;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use tokio::process::Command;

/// Runs a peer; `None`, and a line that says so, where there is no virtual environment. A peer prints one JSON object, with
/// the `seconds` it measured itself: the start of an interpreter is nobody's speed.
pub async fn run(options: &Options, script: &str, arguments: &[&str]) -> Result<Option<Value>> {
    let Some(environment) = &options.peers else {
        println!("({script} left out: no --peers)");
        return Ok(None);
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(script);
    let mut command = Command::new(environment.join("bin/python"));
    command.arg(&script).args(arguments);
    // Peers may report home; here they do not.
    for (name, value) in [("RUNTIME__DLTHUB_TELEMETRY", "false"), ("DO_NOT_TRACK", "1"), ("DRT_TELEMETRY", "0")] {
        command.env(name, value);
    }
    let ran = program::run(command, &[0]).await?;
    let line = ran.output.lines().last().with_context(|| format!("{} printed nothing", script.display()))?;
    Ok(Some(serde_json::from_str(line).with_context(|| format!("{} printed no JSON", script.display()))?))
}

/// The seconds that a peer measured.
pub fn seconds(answer: &Value) -> Result<f64> {
    answer["seconds"].as_f64().context("the peer gave no seconds")
}
