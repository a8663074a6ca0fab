//! The platforms that a sandbox can serve: one row each. A new platform is its own folder and a row here; the command,
//! its help and the control endpoints follow.
//!
//! The model: a platform's **options** are a plain serialisable value that knows how to open the platform ([`Opens`]).
//! A **wish** is what the command line says for all platforms alike, such as a shop's size and seed, and by name for one
//! (`--set woocommerce.folder=shop`). A row turns a wish into options.

use super::{Opener, Platform, esputnik, idosell, salesmanago, woocommerce};
use crate::{Error, Kind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;

/// All of them, in alphabetical order.
pub static PLATFORMS: &[SandboxPlatform] =
    &[esputnik::PLATFORM, idosell::PLATFORM, salesmanago::PLATFORM, woocommerce::PLATFORM];

/// What has to be known of a platform before it is served.
#[derive(Debug, Clone, Copy)]
pub struct SandboxPlatform {
    /// What pipelines call it: `woocommerce`.
    pub name: &'static str,
    /// What is emulated, in a few words for the help.
    pub about: &'static str,
    /// The platform as it is wished for. Opens nothing yet.
    pub wished: fn(&Wish) -> Result<Opener>,
    /// The names and usual values of its own settings, for `--set`.
    pub settings: fn() -> Value,
}

/// Options of a platform: a value that knows how to open it.
pub trait Opens: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// What is opened.
    type Platform: Platform;

    /// Opens the platform whose server's address is `origin`.
    ///
    /// # Errors
    /// [`Kind::Io`] where a stock in files cannot be read; [`Kind::Command`] for options that make no sense.
    fn open(self, origin: String) -> Result<Self::Platform>;
}

/// What the command line says, for all platforms alike; each takes what it can use.
#[derive(Debug, Clone)]
pub struct Wish {
    /// How many orders a shop has.
    pub orders: Option<u64>,
    /// How many customers with an account a shop has.
    pub customers: Option<u64>,
    /// Another seed, other people.
    pub seed: u64,
    /// A taste in seconds instead of the usual size.
    pub small: bool,
    /// The time zone of a shop.
    pub zone: String,
    /// The moment at which a shop's stock ends and its clock begins.
    pub now: jiff::Timestamp,
    /// A folder with a shop in files.
    pub load: Option<PathBuf>,
    /// Settings of one platform each: platform, name, value.
    pub settings: Vec<(String, String, String)>,
}

impl Wish {
    /// A shop's customers and orders, where `usual` is its size unless something else is said.
    pub fn size(&self, usual: (u64, u64)) -> (u64, u64) {
        let orders = self.orders.unwrap_or(usual.1);
        // A larger shop has more customers, unless it is said how many.
        let customers = self.customers.unwrap_or(if self.orders.is_some() { orders * 2 / 5 } else { usual.0 });
        (customers, orders)
    }

    /// The folder of a shop in files, which must exist.
    ///
    /// # Errors
    /// [`Kind::Command`] if it does not.
    pub fn folder(&self) -> Result<Option<PathBuf>> {
        if let Some(folder) = self.load.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(Error::new(Kind::Command, format!("{} is no folder", folder.display()))
                .hint("give a folder with customers.ndjson, orders.ndjson and so on"));
        }
        Ok(self.load.clone())
    }

    /// The options with this platform's settings over them, ready to be opened.
    ///
    /// # Errors
    /// [`Kind::Command`] for a setting that the platform does not have, and a value that it does not take.
    pub fn opener<O: Opens>(&self, platform: &str, options: O) -> Result<Opener> {
        let unusable =
            |error| Error::new(Kind::Internal, format!("the options of {platform} are unusable")).because(error);
        let mut values = serde_json::to_value(&options).map_err(unusable)?;
        for (_, name, text) in self.settings.iter().filter(|(wanted, _, _)| wanted == platform) {
            let setting = format!("{platform}.{name}");
            let Some(value) = values.get_mut(name.as_str()) else {
                let known: Vec<String> =
                    values.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
                return Err(Error::new(Kind::Command, format!("there is no setting `{setting}`"))
                    .hint(format!("{platform} has {}", known.join(", "))));
            };
            let earlier = value.clone();
            // What is written plainly is JSON where it can be, else a text.
            *value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
            if let Err(error) = serde_json::from_value::<O>(values.clone()) {
                return Err(Error::new(Kind::Command, format!("`{setting}` does not take this value: {error}"))
                    .hint(format!("it usually is {earlier}")));
            }
        }
        Ok(Opener::new(serde_json::from_value::<O>(values).map_err(unusable)?))
    }
}

/// The platform called `name`.
pub fn find(name: &str) -> Option<&'static SandboxPlatform> {
    PLATFORMS.iter().find(|platform| platform.name == name)
}

/// Options as [`SandboxPlatform::settings`] shows them.
pub fn shown<O: Serialize>(options: &O) -> Value {
    serde_json::to_value(options).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(settings: &[(&str, &str, &str)]) -> Wish {
        let settings =
            settings.iter().map(|(platform, name, value)| ((*platform).into(), (*name).into(), (*value).into()));
        Wish {
            orders: None,
            customers: None,
            seed: 1,
            small: true,
            zone: "Europe/Warsaw".into(),
            now: jiff::Timestamp::constant(1_790_812_800, 0),
            load: None,
            settings: settings.collect(),
        }
    }

    #[test]
    fn platforms_are_in_alphabetical_order_and_found_by_name() {
        assert!(PLATFORMS.is_sorted_by_key(|platform| platform.name));
        for platform in PLATFORMS {
            assert_eq!(find(platform.name).map(|found| found.name), Some(platform.name));
            assert!((platform.settings)().is_object(), "{}", platform.name);
            assert!((platform.wished)(&wish(&[])).is_ok(), "{}", platform.name);
        }
    }

    #[test]
    fn a_setting_goes_to_its_platform_and_an_unknown_one_is_refused_with_the_known_ones() {
        let open = find("woocommerce").unwrap().wished;
        assert!(open(&wish(&[("woocommerce", "as_tls", "false"), ("elsewhere", "folder", "1")])).is_ok());
        let unknown = open(&wish(&[("woocommerce", "colour", "red")])).unwrap_err();
        assert!(unknown.to_string().contains("woocommerce.colour"), "{unknown}");
        let wrong = open(&wish(&[("woocommerce", "as_tls", "perhaps")])).unwrap_err();
        assert!(wrong.to_string().contains("woocommerce.as_tls"), "{wrong}");
    }
}
