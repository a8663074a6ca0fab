//! The shop platforms that Wharf reads: one row each. A new platform is its own file, its `sql/map` folder and a row here.

use super::{Source, idosell, woocommerce};
use crate::config::pipeline::{Connection, PlatformSettings};
use crate::{Error, Kind, Result};
use std::sync::Arc;

/// All of them, in alphabetical order.
pub static PLATFORMS: &[SourcePlatform] = &[idosell::PLATFORM, woocommerce::PLATFORM];

/// What Wharf has to know of a shop platform before it connects to one.
#[derive(Clone, Copy)]
pub struct SourcePlatform {
    /// What `platform:` says: `woocommerce`.
    pub name: &'static str,
    /// What people say: `WooCommerce`.
    pub title: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Where its credentials are made, click by click, for `wharf init` and messages.
    pub credentials: &'static str,
    /// The JSON Schema of its own keys; their doc comments are the reference.
    pub schema: fn() -> schemars::Schema,
    /// The lines of a connection for `wharf init`, `base_url` first: YAML, not indented, `# ` before what is optional.
    pub example: &'static str,
    /// Checks values that the schema cannot.
    pub inspect: fn(&PlatformSettings) -> Vec<Remark>,
    /// Makes the source. Makes no call.
    pub build: fn(&Connection) -> Result<Arc<dyn Source>>,
}

/// Something about one of a platform's own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The key.
    pub key: &'static str,
    /// Whether the file can be used all the same.
    pub warning: bool,
    /// What is wrong; never the value.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// The platform called `name`.
pub fn find(name: &str) -> Option<&'static SourcePlatform> {
    PLATFORMS.iter().find(|platform| platform.name == name)
}

/// The source of a connection.
///
/// # Errors
/// [`Kind::PipelineFile`] for an unknown platform or settings that are not the platform's.
pub fn build(connection: &Connection) -> Result<Arc<dyn Source>> {
    let platform = find(&connection.platform).ok_or_else(|| {
        let known: Vec<_> = PLATFORMS.iter().map(|platform| platform.name).collect();
        Error::new(Kind::PipelineFile, format!("no shop platform is called `{}`", connection.platform))
            .hint(format!("known are: {}", known.join(", ")))
    })?;
    (platform.build)(connection).map_err(|error| error.context(&connection.connection))
}
