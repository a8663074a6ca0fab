//! Speed and memory against peers and limits, measured in the same run: `make bench`.
//!
//! Every part prints ratios: Wharf's figure over that of a peer or of a limit, each the median of several rounds that take
//! turns, because machines are noisy and two measurements are comparable only within the same minute. Nothing here asserts;
//! docs/benchmarks.md says how to read it and keeps what was measured.
//!
//! Wharf is measured as users run it: the release program as a process of its own, on a PostgreSQL of its own that is as
//! durable as the private one always is. What stands for shops and accounts is served from this process (`pages`) or by
//! `wharf sandbox`.

mod allowance;
mod archive;
mod compare;
mod diff;
mod esputnik;
mod extract;
mod idosell;
mod load;
mod pages;
mod panel;
mod peers;
mod program;
mod server;
mod shop;
mod transform;
mod whole;
mod world;

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use world::World;

const USAGE: &str = "\
cargo bench --bench speed -- [PART…] [--scale N] [--rounds N] [--peers VENV] [--wharf PROGRAM] [--keep]

Parts: extract idosell transform diff load pacing esputnik archive whole   (all but whole, if none is named)
--scale   the share of the full sizes, in percent [100]: 100,000 orders, 200,000 customers, 1,000,000 contacts
--rounds  how often each side is measured; the median counts [3]
--peers   the virtual environment that benches/peers/install made; without one, peers are left out and said so
--wharf   the program to measure [target/release/wharf]
--keep    leave the databases and files where they are, and say where";

/// What was asked for.
pub struct Options {
    parts: Vec<String>,
    /// Sizes are multiplied by this.
    pub scale: f64,
    /// How often each side is measured.
    pub rounds: usize,
    /// The virtual environment of the peers.
    pub peers: Option<PathBuf>,
    /// The program.
    pub wharf: PathBuf,
    /// Leave everything where it is.
    pub keep: bool,
}

impl Options {
    /// A full size, scaled.
    pub fn size(&self, full: u64) -> u64 {
        ((full as f64 * self.scale) as u64).max(100)
    }
}

const PARTS: [&str; 9] = ["extract", "idosell", "transform", "diff", "load", "pacing", "esputnik", "archive", "whole"];

fn options() -> Result<Options> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let mut options = Options {
        parts: Vec::new(),
        scale: 1.0,
        rounds: 3,
        peers: None,
        wharf: target.join("release/wharf"),
        keep: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n\n{USAGE}"));
        match argument.as_str() {
            // Cargo adds this one.
            "--bench" => {}
            "--scale" => options.scale = value()?.parse::<f64>()? / 100.0,
            "--rounds" => options.rounds = value()?.parse()?,
            "--peers" => options.peers = Some(PathBuf::from(value()?)),
            "--wharf" => options.wharf = PathBuf::from(value()?),
            "--keep" => options.keep = true,
            part if PARTS.contains(&part) => options.parts.push(part.to_owned()),
            _ => bail!("{argument} is not understood\n\n{USAGE}"),
        }
    }
    if options.parts.is_empty() {
        options.parts = PARTS.iter().filter(|part| **part != "whole").map(|part| (*part).to_owned()).collect();
    }
    if !options.wharf.exists() {
        bail!(
            "there is no {}; build it with cargo build --release, or name another by --wharf",
            options.wharf.display()
        );
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = options()?;
    // Plain http is all that is spoken here, but the client wants to know how it would speak https.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::new(&options).await?;
    for part in &options.parts {
        println!("\n## {part}\n");
        match part.as_str() {
            "extract" => extract::measure(&world, &options).await?,
            "idosell" => idosell::measure(&world, &options).await?,
            "transform" => transform::measure(&world, &options).await?,
            "diff" => diff::measure(&world, &options).await?,
            "load" => load::measure(&world, &options).await?,
            "pacing" => load::measure_pacing(&world, &options).await?,
            "esputnik" => esputnik::measure(&world, &options).await?,
            "archive" => archive::measure(&world, &options).await?,
            _ => whole::measure(&world, &options).await?,
        }
    }
    world.end(options.keep);
    Ok(())
}
