//! The platforms that Wharf writes to: one row each. A new platform is its own file, its `sql/deliver` folder and a row
//! here.

use super::{Target, esputnik, salesmanago};
use crate::config::pipeline::{Account, Load, PlatformSettings};
use crate::source::registry::Remark;
use crate::{Error, Kind, Result};
use std::sync::Arc;

/// All of them, in alphabetical order.
pub static PLATFORMS: &[TargetPlatform] = &[esputnik::PLATFORM, salesmanago::PLATFORM];

/// What Wharf has to know of a marketing or CRM platform before it connects to one.
#[derive(Clone, Copy)]
pub struct TargetPlatform {
    /// What `platform:` says: `salesmanago`.
    pub name: &'static str,
    /// What people say: `SALESmanago`.
    pub title: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Where its credentials are found, click by click, for `wharf init` and messages.
    pub credentials: &'static str,
    /// The JSON Schema of its own keys; their doc comments are the reference.
    pub schema: fn() -> schemars::Schema,
    /// The lines of an account for `wharf init`, `base_url` first: YAML, not indented, `# ` before what is optional.
    pub example: &'static str,
    /// Checks values that the schema cannot.
    pub inspect: fn(&PlatformSettings) -> Vec<Remark>,
    /// Makes the target; its client keeps the rate that `load` sets. Makes no call.
    pub build: fn(&Account, &Load) -> Result<Arc<dyn Target>>,
}

/// The platform called `name`.
pub fn find(name: &str) -> Option<&'static TargetPlatform> {
    PLATFORMS.iter().find(|platform| platform.name == name)
}

/// The target of an account.
///
/// # Errors
/// [`Kind::PipelineFile`] for an unknown platform or settings that are not the platform's.
pub fn build(account: &Account, load: &Load) -> Result<Arc<dyn Target>> {
    let platform = find(&account.platform).ok_or_else(|| {
        let known: Vec<_> = PLATFORMS.iter().map(|platform| platform.name).collect();
        Error::new(Kind::PipelineFile, format!("no target platform is called `{}`", account.platform))
            .hint(format!("known are: {}", known.join(", ")))
    })?;
    (platform.build)(account, load).map_err(|error| error.context(&account.account))
}
