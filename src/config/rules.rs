//! What a schema cannot say: rules between keys, addresses, names that must differ, a platform's own looks at its keys.

use super::formats::Wrong;
use super::mistakes::Place;
use super::pipeline::PlatformSettings;
use super::tree::Flaw;
use super::validate::{Seen, Validated};
use crate::source::registry::Remark;
use crate::stage::load::fields::Fields;
use crate::{source, target};
use serde_json::Value;
use std::collections::BTreeMap;
use url::{Host, Url};

/// What the rules find.
#[derive(Default)]
pub struct Findings {
    /// Mistakes, each with the path of the key it is about.
    pub flaws: Vec<(String, Flaw)>,
    /// What is worth a look, though the file can be used.
    pub warnings: Vec<(String, Flaw)>,
}

/// Checks what could be read of a file; parts that are missing or wrong have been named already.
pub fn check(validated: &Validated) -> Findings {
    let mut rules = Rules { seen: &validated.seen, found: Findings::default() };
    let file = &validated.value;
    for (index, connection) in file["sources"].as_array().into_iter().flatten().enumerate() {
        let path = format!("sources[{index}]");
        rules.address(connection, &path);
        rules.servers(&connection["allowed_servers"], &path);
        let inspect = connection["platform"].as_str().and_then(source::registry::find).map(|row| row.inspect);
        rules.platform(connection, &path, inspect);
    }
    rules.address(&file["target"], "target");
    let inspect = file["target"]["platform"].as_str().and_then(target::registry::find).map(|row| row.inspect);
    rules.platform(&file["target"], "target", inspect);
    rules.different_connections(&file["sources"]);
    rules.earlier(&file["contacts"], "contacts", "created_after", "created_before");
    rules.earlier(&file["orders"], "orders", "placed_after", "placed_before");
    rules.expressions(&file["contacts"]["fields"]);
    rules.tags(&file["contacts"]["tags"]);
    rules.keep(&file["archive"]["keep"]);
    rules.found
}

struct Rules<'file> {
    seen: &'file BTreeMap<String, Seen>,
    found: Findings,
}

impl Rules<'_> {
    fn place(&self, path: &str) -> Place {
        self.seen.get(path).map_or(Place { line: 1, column: 1 }, |seen| seen.place)
    }

    fn flaw(&mut self, path: String, message: impl Into<String>, hint: impl Into<String>) {
        let flaw = Flaw { place: self.place(&path), message: message.into(), hint: Some(hint.into()) };
        self.found.flaws.push((path, flaw));
    }

    fn address(&mut self, end: &Value, path: &str) {
        let Some(text) = end["base_url"].as_str() else { return };
        let key = format!("{path}.base_url");
        let allow_http = end["allow_http"].as_bool().unwrap_or(false);
        if let Err(wrong) = base_url(text, allow_http) {
            // An address with a password in it is not shown, nor is one from a variable.
            let may_be_shown = self.seen.get(&key).is_some_and(|seen| seen.may_be_shown) && !text.contains('@');
            let message = match may_be_shown {
                true => format!("`base_url` is `{}`, which {}", text.escape_debug(), wrong.what),
                false => format!("`base_url` {}", wrong.what),
            };
            self.flaw(key, message, wrong.right);
        }
    }

    /// Servers, each an address without a path.
    fn servers(&mut self, servers: &Value, path: &str) {
        for (index, server) in servers.as_array().into_iter().flatten().enumerate() {
            let Some(text) = server.as_str() else { continue };
            let right = "write each server as https://host or https://host:8443";
            let wrong = match base_url(text, true) {
                Err(wrong) => Some((wrong.what, wrong.right)),
                Ok(()) => Url::parse(text).is_ok_and(|url| url.path() != "/").then_some(("has a path", right)),
            };
            if let Some((what, right)) = wrong {
                let message = format!("a server of `allowed_servers` {what}");
                self.flaw(format!("{path}.allowed_servers[{index}]"), message, right);
            }
        }
    }

    /// Who wants nothing kept has hardly meant it.
    fn keep(&mut self, keep: &Value) {
        let Some(keep) = keep.as_object() else { return };
        if !keep.values().any(|count| count.as_u64().is_none_or(|count| count > 0)) {
            let message = "`keep` names no instant to keep";
            self.flaw(
                "archive.keep".into(),
                message,
                "such as {last: 10, daily: 30, monthly: 12}; leave it out to keep all",
            );
        }
    }

    fn platform(&mut self, end: &Value, path: &str, inspect: Option<fn(&PlatformSettings) -> Vec<Remark>>) {
        let (Some(inspect), Some(keys)) = (inspect, end.as_object()) else { return };
        let settings = PlatformSettings(keys.clone().into_iter().collect());
        for remark in inspect(&settings) {
            let key = format!("{path}.{}", remark.key);
            let place = if self.seen.contains_key(&key) { self.place(&key) } else { self.place(path) };
            let flaw = Flaw { place, message: remark.message, hint: remark.hint };
            let list = if remark.warning { &mut self.found.warnings } else { &mut self.found.flaws };
            list.push((key, flaw));
        }
    }

    fn different_connections(&mut self, sources: &Value) {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, connection) in sources.as_array().into_iter().flatten().enumerate() {
            let Some(name) = connection["connection"].as_str() else { continue };
            if let Some(earlier) = first.get(name) {
                let line = self.place(&format!("sources[{earlier}].connection")).line;
                let message = format!("the connection `{name}` is named twice; the first is in line {line}");
                let hint = "every shop has a name of its own, which its rows carry for good";
                self.flaw(format!("sources[{index}].connection"), message, hint);
            } else {
                first.insert(name, index);
            }
        }
    }

    fn earlier(&mut self, section: &Value, path: &str, from: &str, until: &str) {
        // Dates are checked to be year-month-day, so that their texts compare as they do.
        if let (Some(after), Some(before)) = (section[from].as_str(), section[until].as_str())
            && after >= before
        {
            let message = format!("`{from}` is not before `{until}`: nothing would be sent");
            self.flaw(format!("{path}.{until}"), message, "swap the two, or leave one out");
        }
    }

    fn expressions(&mut self, fields: &Value) {
        for (name, expression) in fields.as_object().into_iter().flatten() {
            let Some(expression) = expression.as_str() else { continue };
            let path = format!("contacts.fields.{name}");
            if name.trim().is_empty() {
                self.flaw(
                    path,
                    "a field has no name",
                    "write a property name and an SQL expression: ltv: rfm.monetary",
                );
            } else if let Err(error) = Fields::new(&BTreeMap::from([(name.clone(), expression.to_owned())])) {
                self.flaw(path, error.detail(), error.hint_text().unwrap_or_default());
            }
        }
    }

    fn tags(&mut self, tags: &Value) {
        for (index, tag) in tags["always"].as_array().into_iter().flatten().enumerate() {
            if tag.as_str().is_some_and(|tag| tag.trim().is_empty()) {
                self.flaw(format!("contacts.tags.always[{index}]"), "a tag is empty", "write a word, or leave it out");
            }
        }
    }
}

/// Checks an address; says what is wrong without repeating it.
fn base_url(text: &str, allow_http: bool) -> Result<(), Wrong> {
    let right = "write the whole address: https://shop.example or https://host.example/shop";
    if text.trim() != text {
        return Err(Wrong { what: "begins or ends with a blank", right: "take the blank out" });
    }
    let url = Url::parse(text).map_err(|error| Wrong {
        what: match error {
            url::ParseError::RelativeUrlWithoutBase => "has no https:// in front",
            url::ParseError::EmptyHost => "has no host",
            url::ParseError::InvalidPort => "has an invalid port",
            _ => "is no address",
        },
        right,
    })?;
    let Some(host) = url.host() else { return Err(Wrong { what: "has no host", right }) };
    if !matches!(url.scheme(), "https" | "http") {
        return Err(Wrong { what: "is no web address", right });
    }
    if !url.username().is_empty() || url.password().is_some() {
        let right = "the platform's own keys hold the credentials; take them out of the address";
        return Err(Wrong { what: "has a user or password in it", right });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Wrong { what: "has a `?` or `#` in it", right: "leave out everything from there on" });
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&host) {
        let right = "use https://, or set `allow_http: true` if everybody on the way may read the data";
        return Err(Wrong { what: "is not encrypted", right });
    }
    Ok(())
}

/// Whether an address is this machine.
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_or_this_machine() {
        for right in [
            "https://shop.example",
            "https://host.example/sub/folder/",
            "http://localhost:8080",
            "http://127.0.0.1:1/x",
            "http://[::1]:8080",
            "http://woo.localhost",
        ] {
            assert_eq!(base_url(right, false), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "shop.example",
            "ftp://shop.example",
            "https://",
            "https://shop.example/?x=1",
            "https://shop.example/#x",
            "https://user:pw@shop.example",
            " https://shop.example",
            "https://shop.example ",
            "http://shop.example",
            "http://localhost.example",
            "https://shop.example:99999",
        ] {
            assert!(base_url(wrong, false).is_err(), "{wrong}");
        }
        assert_eq!(base_url("http://shop.example", true), Ok(()));
    }
}
