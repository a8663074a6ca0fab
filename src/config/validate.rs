//! A tree checked against the schema: every mistake in our own words, and the JSON value that serde turns into types.
//!
//! Types are given by the schema, not by YAML's guesses: where text is wanted, `0123`, `yes` and `1e5` are text; where a
//! number is wanted, a variable's text may be one. A section without a value counts as left out.

use super::formats;
use super::mistakes::Place;
use super::schema::{Resolved, resolve, words};
use super::tree::{Content, Entry, Flaw, Node, Scalar};
use serde_json::{Map, Number, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a tree turned out to be.
pub struct Validated {
    /// What could be read; with flaws, parts are left out.
    pub value: Value,
    /// Where each key stands, by path (`sources[0].base_url`), and whether its value may be shown.
    pub seen: BTreeMap<String, Seen>,
    /// The mistakes, each with the path of the key it is about.
    pub flaws: Vec<(String, Flaw)>,
}

/// What is known of the value behind a path.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Where the value stands.
    pub place: Place,
    /// Whether it stands in the file as it is and is no secret.
    pub may_be_shown: bool,
}

/// Checks a tree against `schema`.
pub fn validate(root: &Node, schema: &Value) -> Validated {
    let mut walk = Walk { schema, seen: BTreeMap::new(), flaws: Vec::new() };
    let value = walk.node(root, schema, "");
    Validated { value: value.unwrap_or(Value::Null), seen: walk.seen, flaws: walk.flaws }
}

/// The known name nearest to a misspelt one, if one is near.
pub fn nearest<'name>(wrong: &str, known: impl IntoIterator<Item = &'name str>) -> Option<&'name str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let wrong = plain(wrong);
    let length = wrong.chars().count();
    let near = (length / 3).max(1);
    let begins = |name: &str| length >= 4 && plain(name).replace('_', "").starts_with(&wrong.replace('_', ""));
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &plain(name)), name))
        .filter(|(distance, name)| *distance <= near || begins(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

struct Walk<'schema> {
    schema: &'schema Value,
    seen: BTreeMap<String, Seen>,
    flaws: Vec<(String, Flaw)>,
}

impl<'schema> Walk<'schema> {
    /// The value, or nothing where it is wrong.
    fn node(&mut self, node: &Node, schema: &'schema Value, path: &str) -> Option<Value> {
        let resolved = resolve(self.schema, schema);
        let may_be_shown = match &node.content {
            Content::Scalar(scalar) => scalar.from.is_empty() && !is_secret(&resolved),
            _ => true,
        };
        self.seen.insert(path.to_owned(), Seen { place: node.place, may_be_shown });
        match &node.content {
            Content::Unknown => None,
            Content::Scalar(scalar) if scalar.is_null() && resolved.nullable => Some(Value::Null),
            Content::Scalar(scalar) if words(self.schema, schema).contains(&scalar.text.as_str()) => {
                Some(json!(scalar.text))
            }
            Content::Scalar(scalar) => self.scalar(scalar, node.place, &resolved, path),
            Content::List(items) => self.list(items, node.place, &resolved, path),
            Content::Map(entries) => self.map(entries, node.place, &resolved, path),
        }
    }

    fn scalar(&mut self, scalar: &Scalar, place: Place, resolved: &Resolved<'schema>, path: &str) -> Option<Value> {
        if let Some(choices) = resolved.choices() {
            return self.choice(scalar, place, resolved, &choices, path);
        }
        let typed = scalar.plain || !scalar.from.is_empty();
        match resolved.kind() {
            Some(_) if scalar.is_null() => {
                let message = format!("{} has no value, but must be {}", subject(path), wanted(resolved));
                self.flaw(path, place, message, resolved.about());
                None
            }
            Some("string") => self.text(scalar, place, resolved, path),
            Some("boolean") => match scalar.text.as_str() {
                "true" | "True" | "TRUE" if typed => Some(json!(true)),
                "false" | "False" | "FALSE" if typed => Some(json!(false)),
                _ => self.wrong_type(path, place, &shown(scalar, resolved), resolved),
            },
            Some(kind @ ("integer" | "number")) => {
                let number = if typed { number(&scalar.text, kind == "integer") } else { None };
                match number {
                    Some(number) => self.in_range(number, scalar, place, resolved, path),
                    None => self.wrong_type(path, place, &shown(scalar, resolved), resolved),
                }
            }
            Some(_) => self.wrong_type(path, place, &shown(scalar, resolved), resolved),
            None => Some(untyped(scalar)),
        }
    }

    fn choice(
        &mut self,
        scalar: &Scalar,
        place: Place,
        resolved: &Resolved<'schema>,
        choices: &[&'schema str],
        path: &str,
    ) -> Option<Value> {
        if choices.contains(&scalar.text.as_str()) {
            return Some(json!(scalar.text));
        }
        let list = choices.join(", ");
        let hint = match nearest(&scalar.text, choices.iter().copied()) {
            Some(near) if scalar.from.is_empty() => format!("did you mean `{near}`? allowed: {list}"),
            _ => format!("allowed: {list}"),
        };
        let message = format!("{} is {}, which is none of its values", subject(path), shown(scalar, resolved));
        self.flaw(path, place, message, Some(hint));
        None
    }

    fn text(&mut self, scalar: &Scalar, place: Place, resolved: &Resolved<'schema>, path: &str) -> Option<Value> {
        let source = source(scalar);
        let at_least = resolved.keyword("minLength").and_then(Value::as_u64).unwrap_or(0);
        if (scalar.text.chars().count() as u64) < at_least {
            self.flaw(path, place, format!("{}{source} is empty", subject(path)), resolved.about());
            return None;
        }
        if let Some(Value::String(format)) = resolved.keyword("format")
            && let Err(wrong) = formats::check(format, &scalar.text)
        {
            let message = match scalar.from.is_empty() && !is_secret(resolved) {
                true => format!("{} is {}, which {}", subject(path), shown(scalar, resolved), wrong.what),
                false => format!("{}{source} {}", subject(path), wrong.what),
            };
            self.flaw(path, place, message, Some(wrong.right.into()));
            return None;
        }
        Some(json!(scalar.text))
    }

    fn in_range(
        &mut self,
        number: Number,
        scalar: &Scalar,
        place: Place,
        resolved: &Resolved<'schema>,
        path: &str,
    ) -> Option<Value> {
        let bound = |name: &str| resolved.keyword(name).and_then(Value::as_f64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        let value = number.as_f64()?;
        if low.is_none_or(|low| value >= low) && high.is_none_or(|high| value <= high) {
            return Some(Value::Number(number));
        }
        let allowed = match (low, high) {
            (Some(low), Some(high)) => format!("write a number from {low} to {high}"),
            (Some(low), None) => format!("write a number from {low} on"),
            (None, Some(high)) => format!("write a number up to {high}"),
            (None, None) => return None,
        };
        let message = format!("{} is {}, which is out of range", subject(path), shown(scalar, resolved));
        self.flaw(path, place, message, Some(allowed));
        None
    }

    fn list(&mut self, items: &[Node], place: Place, resolved: &Resolved<'schema>, path: &str) -> Option<Value> {
        let of_items = match (resolved.kind(), resolved.schema) {
            (Some("array"), Some(schema)) => schema.get("items").unwrap_or(&ANYTHING),
            (None, _) if resolved.choices().is_none() => &ANYTHING,
            _ => return self.wrong_type(path, place, "a list", resolved),
        };
        let at_least = resolved.keyword("minItems").and_then(Value::as_u64).unwrap_or(0);
        if (items.len() as u64) < at_least {
            self.flaw(path, place, format!("{} is an empty list", subject(path)), resolved.about());
        }
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            values.extend(self.node(item, of_items, &format!("{path}[{index}]")));
        }
        Some(Value::Array(values))
    }

    fn map(&mut self, entries: &[Entry], place: Place, resolved: &Resolved<'schema>, path: &str) -> Option<Value> {
        match (resolved.kind(), resolved.schema) {
            (Some("object"), Some(schema)) => {
                let schema = branch(self.schema, schema, entries);
                self.object(entries, place, schema, path)
            }
            (None, _) if resolved.choices().is_none() => self.object(entries, place, &NO_KEYWORDS, path),
            _ => self.wrong_type(path, place, "a mapping of keys to values", resolved),
        }
    }

    fn object(
        &mut self,
        entries: &[Entry],
        place: Place,
        schema: &'schema Map<String, Value>,
        path: &str,
    ) -> Option<Value> {
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&NO_KEYWORDS);
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut values = Map::new();
        let mut misspelt = Vec::new();
        for entry in entries {
            let key_path = join(path, &entry.key);
            let of_value = match (properties.get(&entry.key), schema.get("additionalProperties")) {
                (Some(of_key), _) => of_key,
                (None, Some(Value::Bool(false))) => {
                    misspelt.extend(self.unknown_key(entry, properties, path, &key_path));
                    continue;
                }
                (None, Some(of_others)) => of_others,
                (None, None) => &ANYTHING,
            };
            if !required.contains(&entry.key.as_str()) && self.is_empty_section(entry, of_value) {
                continue;
            }
            if let Some(value) = self.node(&entry.node, of_value, &key_path) {
                values.insert(entry.key.clone(), value);
            }
        }
        for key in required {
            if !entries.iter().any(|entry| entry.key == key) && !misspelt.contains(&key) {
                let about = properties.get(key).and_then(|of_key| resolve(self.schema, of_key).about());
                self.flaw(&join(path, key), place, format!("`{key}` is missing{}", within(path)), about);
            }
        }
        Some(Value::Object(values))
    }

    /// Whether a key stands there without anything below it, as when all of it has been commented out.
    fn is_empty_section(&self, entry: &Entry, schema: &'schema Value) -> bool {
        let resolved = resolve(self.schema, schema);
        let is_section = matches!(resolved.kind(), Some("object" | "array"));
        is_section && matches!(&entry.node.content, Content::Scalar(scalar) if scalar.is_null())
    }

    /// Names an unknown key; returns the known one that it most likely stands for.
    fn unknown_key(
        &mut self,
        entry: &Entry,
        properties: &'schema Map<String, Value>,
        path: &str,
        key_path: &str,
    ) -> Option<&'schema str> {
        let key = entry.key.as_str();
        let known: Vec<&'schema str> = properties.keys().map(String::as_str).collect();
        let is_address = matches!(key, "url" | "site_url" | "shop_url" | "endpoint" | "host" | "address" | "domain");
        let address = known.iter().copied().find(|name| is_address && *name == "base_url");
        let meant = address.or_else(|| nearest(key, known.iter().copied()));
        let section = if path.is_empty() { self.section_of(key, properties) } else { None };
        let guess = match (address, meant, section) {
            (Some(name), ..) => format!("the address is `{name}` on every platform; "),
            (None, _, Some(section)) => format!("it belongs below `{section}`; "),
            (None, Some(name), None) => format!("did you mean `{name}`? "),
            (None, None, None) => String::new(),
        };
        let hint = format!("{guess}known here: {}", known.join(", "));
        self.flaw(key_path, entry.place, format!("unknown key `{key}`{}", within(path)), Some(hint));
        meant
    }

    /// The section whose key this is.
    fn section_of(&self, key: &str, properties: &Map<String, Value>) -> Option<String> {
        let has_key = |section: &Value| {
            let resolved = resolve(self.schema, section);
            resolved.schema.and_then(|schema| schema.get("properties")).is_some_and(|known| known.get(key).is_some())
        };
        properties.iter().find(|(_, section)| has_key(section)).map(|(name, _)| name.clone())
    }

    fn wrong_type(&mut self, path: &str, place: Place, is: &str, resolved: &Resolved<'schema>) -> Option<Value> {
        let message = format!("{} is {is}, but must be {}", subject(path), wanted(resolved));
        self.flaw(path, place, message, resolved.about());
        None
    }

    fn flaw(&mut self, path: &str, place: Place, message: String, hint: Option<String>) {
        self.flaws.push((path.to_owned(), Flaw { place, message, hint }));
    }
}

static ANYTHING: Value = Value::Bool(true);
static NO_KEYWORDS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// The closed object of the platform that a connection or account names, or nearly names; else the object itself.
fn branch<'schema>(
    root: &'schema Value,
    schema: &'schema Map<String, Value>,
    entries: &[Entry],
) -> &'schema Map<String, Value> {
    let platform = entries.iter().find(|entry| entry.key == "platform").and_then(|entry| match &entry.node.content {
        Content::Scalar(scalar) => Some(scalar.text.as_str()),
        _ => None,
    });
    let branches: Vec<(&str, &Value)> = schema
        .get("allOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|branch| Some((branch["if"]["properties"]["platform"]["const"].as_str()?, &branch["then"])))
        .collect();
    let meant = platform.and_then(|platform| nearest(platform, branches.iter().map(|(name, _)| *name)));
    branches
        .iter()
        .find(|(name, _)| Some(*name) == meant)
        .and_then(|(_, object)| resolve(root, object).schema)
        .unwrap_or(schema)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What a sentence on a path begins with.
fn subject(path: &str) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    match key.rsplit_once('[') {
        Some((list, index)) => {
            let index = index.trim_end_matches(']').parse::<usize>().map_or(0, |index| index + 1);
            format!("item {index} of `{list}`")
        }
        None if key.is_empty() => "the file".to_owned(),
        None => format!("`{key}`"),
    }
}

/// ` in sources[0]`, for keys that may stand at several places.
fn within(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" in `{path}`") }
}

fn is_secret(resolved: &Resolved<'_>) -> bool {
    resolved.keyword("format").is_some_and(|format| format == "password")
}

/// A value for a message: as it stands in the file, cut; or where it came from.
fn shown(scalar: &Scalar, resolved: &Resolved<'_>) -> String {
    if let Some(names) = origin(scalar) {
        return format!("the value of {names}");
    }
    // A password may stand in a URL.
    if is_secret(resolved) || scalar.text.contains('@') {
        return "a value that is not shown".into();
    }
    let mut text: String = scalar.text.chars().take(60).flat_map(char::escape_debug).collect();
    if scalar.text.chars().nth(60).is_some() {
        text.push('…');
    }
    if scalar.plain { format!("`{text}`") } else { format!("the text `{text}`") }
}

/// ` (from ${NAME})`, or nothing for what stands in the file.
fn source(scalar: &Scalar) -> String {
    origin(scalar).map(|names| format!(" (from {names})")).unwrap_or_default()
}

fn origin(scalar: &Scalar) -> Option<String> {
    if scalar.from.is_empty() { None } else { Some(scalar.from.join(" and ")) }
}

fn wanted(resolved: &Resolved<'_>) -> &'static str {
    if resolved.choices().is_some() {
        return "one word";
    }
    match resolved.kind() {
        Some("string") => "text",
        Some("boolean") => "true or false",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("array") => "a list",
        _ => "a mapping of keys to values",
    }
}

fn number(text: &str, whole: bool) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.bytes().next()?.is_ascii_digit() {
        return None;
    }
    match text.parse::<i64>() {
        Ok(number) => Some(number.into()),
        Err(_) if whole => None,
        Err(_) => text.parse().ok().filter(|number: &f64| number.is_finite()).and_then(Number::from_f64),
    }
}

/// A scalar where the schema says nothing: YAML's own reading of it.
fn untyped(scalar: &Scalar) -> Value {
    if scalar.is_null() {
        return Value::Null;
    }
    match scalar.text.as_str() {
        _ if !scalar.plain => json!(scalar.text),
        "true" => json!(true),
        "false" => json!(false),
        text => number(text, false).map_or_else(|| json!(text), Value::Number),
    }
}
