//! `wharf sandbox` as a process of its own: a shop and an account that behave like real ones.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A sandbox; it ends with the value.
pub struct Server {
    _child: Child,
    /// What it serves.
    pub description: Value,
}

impl Server {
    /// Starts it with further arguments.
    pub async fn start(wharf: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(wharf)
            .args(["--json", "sandbox", "--port", "0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut text = String::new();
        let description = loop {
            text.push_str(&lines.next_line().await?.context("the sandbox ended")?);
            if let Ok(description) = serde_json::from_str(&text) {
                break description;
            }
        };
        Ok(Self { _child: child, description })
    }

    /// A variable of a platform's: address or credentials.
    pub fn variable(&self, platform: &str, name: &str) -> String {
        self.description[platform]["environment"][name].as_str().unwrap_or_default().to_owned()
    }

    /// All variables.
    pub fn environment(&self) -> Vec<(String, String)> {
        let platforms = self.description.as_object().into_iter().flat_map(|platforms| platforms.values());
        platforms
            .filter_map(|platform| platform["environment"].as_object())
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect()
    }
}
