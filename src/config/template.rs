//! A commented pipeline file for a platform pair: keys and their order from `template.yaml`, comments from the types'
//! docs, a platform's lines from its row in the registry.
//!
//! In the template, `#= Type.key` stands for the key's description, `#| Type` for the list of an enum's values.

use super::schema;
use crate::source::registry::SourcePlatform;
use crate::target::registry::TargetPlatform;
use serde_json::Value;
use url::Url;

const TEMPLATE: &str = include_str!("template.yaml");
/// Comments are broken before this column.
const WIDTH: usize = 110;
/// The longest name that a pipeline file takes.
const NAME_LENGTH: usize = 60;

/// Where shop and account are, as far as it is known when the file is written.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The shop's.
    pub shop: Option<Url>,
    /// The target account's.
    pub target: Option<Url>,
}

impl Addresses {
    /// Names of pipeline, shop and account. Two shops have two addresses, so their names differ in one database as well;
    /// the accounts of many shops share an address, so theirs is named after the shop, too.
    fn names(&self, source: &SourcePlatform, target: &TargetPlatform) -> [String; 3] {
        let shop = self.shop.as_ref().map(name_of);
        let account = self.target.as_ref().map_or_else(|| target.name.to_owned(), name_of);
        let of_shop = shop.as_deref().unwrap_or("account");
        let pipeline = format!("{}-{}", shop.as_deref().unwrap_or(source.name), target.name);
        let account = format!("{account}-{of_shop}");
        let shop = shop.unwrap_or_else(|| format!("{}-shop", source.name));
        [pipeline, shop, account].map(|name| name.chars().take(NAME_LENGTH).collect())
    }
}

/// A name made of an address: `shop.example`, with a folder `shop.example-pl`.
fn name_of(url: &Url) -> String {
    let folder: String = url
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .map(|part| format!("-{part}"))
        .collect();
    let name = format!("{}{folder}", url.host_str().unwrap_or_default().trim_start_matches("www."));
    let fits = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    name.chars().map(fits).collect::<String>().trim_start_matches(['-', '_', '.']).to_owned()
}

/// The file.
pub fn render(source: &SourcePlatform, target: &TargetPlatform, addresses: &Addresses) -> String {
    let [pipeline, shop, account] = addresses.names(source, target);
    let mut file = String::new();
    let head = format!(
        "{} to {}: a pipeline file for Wharf. Values such as ${{NAME}} come from the environment, ${{file:/path}} from a \
         file: keep secrets there. What is commented out is optional; what is not shows the default, or an example to \
         fill in. `wharf check FILE` tests it, `wharf run FILE` works on it.",
        source.title, target.title
    );
    comment(&mut file, "", &head);
    file.push('\n');
    for line in TEMPLATE.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        match line.trim_start() {
            "@SOURCE_EXAMPLE" => example(&mut file, indent, source.example, addresses.shop.as_ref()),
            "@TARGET_EXAMPLE" => example(&mut file, indent, target.example, addresses.target.as_ref()),
            "# @SOURCE" => comment(&mut file, indent, &introduction(source.title, source.about, source.credentials)),
            "# @TARGET" => comment(&mut file, indent, &introduction(target.title, target.about, target.credentials)),
            text => match (text.strip_prefix("#= "), text.strip_prefix("#| ")) {
                (Some(path), _) => comment(&mut file, indent, &description(path)),
                (_, Some(name)) => {
                    for (value, meaning) in values(name) {
                        comment(&mut file, indent, &format!("- {value}: {meaning}"));
                    }
                }
                _ => {
                    let line = line
                        .replace("@NAME", &pipeline)
                        .replace("@SHOP", &shop)
                        .replace("@ACCOUNT", &account)
                        .replace("@SOURCE_NAME", source.name)
                        .replace("@TARGET_NAME", target.name);
                    file.push_str(&line);
                    file.push('\n');
                }
            },
        }
    }
    file
}

fn introduction(title: &str, about: &str, credentials: &str) -> String {
    format!("{title}: {about}. The keys are made {credentials}.")
}

fn example(file: &mut String, indent: &str, lines: &str, address: Option<&Url>) {
    for line in lines.lines() {
        if let Some(url) = address.filter(|_| line.starts_with("base_url:")) {
            file.push_str(&format!("{indent}base_url: {}\n", url.as_str().trim_end_matches('/')));
            continue;
        }
        file.push_str(&format!("{indent}{line}\n"));
    }
}

/// Writes a comment, broken between words; the lines of a list's item hang below its text.
fn comment(file: &mut String, indent: &str, text: &str) {
    let hang = if text.starts_with("- ") { "  " } else { "" };
    let mut line = format!("{indent}#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            file.push_str(&line);
            file.push('\n');
            line = format!("{indent}#{hang}");
        }
        line.push(' ');
        line.push_str(word);
    }
    file.push_str(&line);
    file.push('\n');
}

/// The description of `Type.key`.
fn description(path: &str) -> String {
    let schema = schema::pipeline();
    let (name, key) = path.split_once('.').unwrap_or((path, ""));
    let object = if name == "Pipeline" { schema } else { &schema["$defs"][name] };
    object["properties"][key]["description"].as_str().unwrap_or_default().to_owned()
}

/// The values of an enum with their meanings.
fn values(name: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let choices = schema::pipeline()["$defs"][name]["oneOf"].as_array();
    choices.into_iter().flatten().map(|choice| (text(&choice["const"]), text(&choice["description"]))).collect()
}

/// The names of the variables in a text, each once, in its order.
pub fn variables(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let uncommented = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    for piece in uncommented.flat_map(|line| line.split("${").skip(1)) {
        if let Some((name, _)) = piece.split_once('}')
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EXAMPLE, Variables, parse};
    use crate::{source, target};

    /// A value that fits wherever a platform's example names a variable.
    fn some_value(name: &str) -> String {
        match name {
            _ if name.ends_with("_URL") => "https://platform.example".into(),
            _ if name.ends_with("_OWNER") => "owner@shop.example".into(),
            _ => "1".into(),
        }
    }

    #[test]
    fn every_pair_gives_a_file_that_is_right_once_its_variables_are_set() {
        for source in source::registry::PLATFORMS {
            for target in target::registry::PLATFORMS {
                let file = render(source, target, &Addresses::default());
                let given = variables(&file).into_iter().map(|name| (name.clone(), some_value(&name)));
                let parsed = parse("init.yaml", &file, &Variables::only(given));
                let wrong = parsed.err().map(|error| format!("{error}: {:?}", std::error::Error::source(&error)));
                assert_eq!(wrong, None, "{file}");
            }
        }
    }

    #[test]
    fn what_is_commented_out_is_right_too() {
        for (source, target) in source::registry::PLATFORMS.iter().zip(target::registry::PLATFORMS) {
            let file = render(source, target, &Addresses::default());
            // A comment that begins like a key is a key.
            let with_all: Vec<String> = file
                .lines()
                .map(|line| {
                    let text = line.trim_start();
                    let is_key = text.strip_prefix("# ").is_some_and(|text| {
                        let key = text.trim_start_matches([' ', '-']).split(':').next().unwrap_or_default();
                        let like_a_key = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                        !text.starts_with("- ") && text.contains(':') && like_a_key
                    });
                    if is_key { line.replacen("# ", "", 1) } else { line.to_owned() }
                })
                .collect();
            let file = with_all.join("\n");
            let given = variables(&file).into_iter().map(|name| (name.clone(), some_value(&name)));
            let parsed = parse("init.yaml", &file, &Variables::only(given));
            let wrong = parsed.err().map(|error| format!("{error}: {:?}", std::error::Error::source(&error)));
            assert_eq!(wrong, None, "{file}");
        }
    }

    #[test]
    fn shop_and_account_are_named_after_their_addresses() {
        let source = source::registry::find("woocommerce").unwrap();
        let target = target::registry::find("salesmanago").unwrap();
        let url = |text: &str| Some(Url::parse(text).unwrap());
        let addresses =
            Addresses { shop: url("https://www.shop.example/pl/"), target: url("https://app2.salesmanago.com") };
        let file = render(source, target, &addresses);
        for line in [
            "name: shop.example-pl-salesmanago",
            "  - connection: shop.example-pl",
            "    base_url: https://www.shop.example/pl",
            "  account: app2.salesmanago.com-shop.example-pl",
            "  base_url: https://app2.salesmanago.com",
        ] {
            assert!(file.lines().any(|found| found == line), "{line}\n{file}");
        }
        let given = variables(&file).into_iter().map(|name| (name.clone(), some_value(&name)));
        assert!(parse("init.yaml", &file, &Variables::only(given)).is_ok());
    }

    #[test]
    fn every_placeholder_finds_its_words() {
        for line in TEMPLATE.lines().map(str::trim_start) {
            if let Some(path) = line.strip_prefix("#= ") {
                assert!(!description(path).is_empty(), "{path}");
            }
            if let Some(name) = line.strip_prefix("#| ") {
                assert!(!values(name).is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn every_common_key_is_in_the_template() {
        let schema = schema::pipeline();
        for name in
            ["Pipeline", "Connection", "Account", "Contacts", "Tags", "Orders", "Load", "Archive", "ArchiveKeep"]
        {
            let object = if name == "Pipeline" { schema } else { &schema["$defs"][name] };
            for key in object["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
                // Nothing runs a pipeline by the clock yet.
                let elsewhere = ["platform", "base_url", "allow_http", "schedule"].contains(&key.as_str());
                assert!(elsewhere || TEMPLATE.contains(&format!("#= {name}.{key}\n")), "{name}.{key}");
            }
        }
    }

    /// Every file in `pipelines/` named after a pair is what `wharf init` writes for it; UPDATE_GOLDEN=1 writes it anew.
    #[test]
    fn the_examples_are_what_init_writes() {
        let mut examples = 0;
        for source in source::registry::PLATFORMS {
            for target in target::registry::PLATFORMS {
                let path = format!("{}/pipelines/{}-{}.yaml", env!("CARGO_MANIFEST_DIR"), source.name, target.name);
                let Ok(written) = std::fs::read_to_string(&path) else { continue };
                let file = render(source, target, &Addresses::default());
                examples += 1;
                if std::env::var_os("UPDATE_GOLDEN").is_some() {
                    assert!(std::fs::write(&path, &file).is_ok());
                } else {
                    assert!(file == written, "{path}: UPDATE_GOLDEN=1 writes it anew");
                }
            }
        }
        assert!(examples > 0);
        let first = source::registry::find("woocommerce").zip(target::registry::find("salesmanago"));
        assert!(
            first.is_some_and(|(source, target)| render(source, target, &Addresses::default()) == EXAMPLE),
            "EXAMPLE is one of them"
        );
    }
}
