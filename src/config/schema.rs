//! The JSON Schema of pipeline files: that of the types, with each platform's own keys merged in by `platform`.
//!
//! A connection is checked by `allOf: [{if: {platform is X}, then: X's closed object}]`, where that object has the common
//! keys and the platform's; the same schema serves editors (`wharf schema`) and the validation.

use super::pipeline::Pipeline;
use crate::{source, target};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The whole schema.
pub fn pipeline() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let sources: Vec<Platform> = source::registry::PLATFORMS
            .iter()
            .map(|row| Platform { name: row.name, title: row.title, about: row.about, keys: (row.schema)().to_value() })
            .collect();
        let targets: Vec<Platform> = target::registry::PLATFORMS
            .iter()
            .map(|row| Platform { name: row.name, title: row.title, about: row.about, keys: (row.schema)().to_value() })
            .collect();
        let mut schema = schemars::schema_for!(Pipeline).to_value();
        merge(&mut schema, "Connection", &sources);
        merge(&mut schema, "Account", &targets);
        schema
    });
    &SCHEMA
}

struct Platform {
    name: &'static str,
    title: &'static str,
    about: &'static str,
    keys: Value,
}

/// Gives the definition `object` a branch per platform.
fn merge(schema: &mut Value, object: &str, platforms: &[Platform]) {
    let names: Vec<_> = platforms.iter().map(|platform| platform.name).collect();
    schema["$defs"][object]["properties"]["platform"]["enum"] = json!(names);
    let common = schema["$defs"][object].clone();
    let mut branches = Vec::new();
    for platform in platforms {
        let mut own = platform.keys.clone();
        // Definitions of two platforms may have one name.
        let definitions = own.get_mut("$defs").map(Value::take).unwrap_or_default();
        let prefix = format!("{}.", platform.name);
        rename_references(&mut own, &prefix);
        if let Value::Object(definitions) = definitions {
            for (name, mut definition) in definitions {
                rename_references(&mut definition, &prefix);
                schema["$defs"][format!("{prefix}{name}")] = definition;
            }
        }
        let mut closed = common.clone();
        closed["description"] = json!(format!("{}: {}", platform.title, platform.about));
        closed["additionalProperties"] = json!(false);
        extend(&mut closed, &own);
        let name = format!("{prefix}{object}");
        branches.push(json!({
            "if": { "properties": { "platform": { "const": platform.name } }, "required": ["platform"] },
            "then": { "$ref": format!("#/$defs/{name}") },
        }));
        schema["$defs"][name] = closed;
    }
    schema["$defs"][object]["allOf"] = Value::Array(branches);
}

/// Adds properties and required keys of `own` to `closed`; a platform may sharpen a common key's description.
fn extend(closed: &mut Value, own: &Value) {
    if let (Some(Value::Object(into)), Some(Value::Object(from))) =
        (closed.get_mut("properties"), own.get("properties"))
    {
        into.extend(from.clone());
    }
    if let (Some(Value::Array(into)), Some(Value::Array(from))) = (closed.get_mut("required"), own.get("required")) {
        into.extend(from.iter().cloned());
    }
}

fn rename_references(schema: &mut Value, prefix: &str) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref") {
                *reference = reference.replace("#/$defs/", &format!("#/$defs/{prefix}"));
            }
            members.values_mut().for_each(|member| rename_references(member, prefix));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_references(item, prefix)),
        _ => {}
    }
}

/// A schema with its `$ref` followed and `null` taken out of it.
pub struct Resolved<'schema> {
    /// The schema; `None` where anything goes.
    pub schema: Option<&'schema Map<String, Value>>,
    /// The schema that stood there before a `$ref` was followed: its description is nearer to the key.
    pub outer: Option<&'schema Map<String, Value>>,
    /// Whether `null` is a value of its own.
    pub nullable: bool,
}

/// Follows `$ref` and `anyOf: [X, null]`.
pub fn resolve<'schema>(root: &'schema Value, schema: &'schema Value) -> Resolved<'schema> {
    let outer = schema.as_object();
    let mut nullable = false;
    let mut current = outer;
    // schemars never nests deeper than this; a schema that points at itself must not hang us.
    for _ in 0..8 {
        let Some(members) = current else { break };
        if let Some(name) = members.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/")) {
            current = root["$defs"].get(name).and_then(Value::as_object);
            continue;
        }
        if let Some(Value::Array(choices)) = members.get("anyOf") {
            let is_null = |choice: &&Value| choice["type"] == "null";
            nullable |= choices.iter().any(|choice| is_null(&choice));
            current = choices.iter().find(|choice| !is_null(choice)).and_then(Value::as_object);
            continue;
        }
        break;
    }
    if let Some(Value::Array(types)) = current.and_then(|members| members.get("type")) {
        nullable |= types.iter().any(|name| name == "null");
    }
    Resolved { schema: current, outer, nullable }
}

/// Words that a value may be instead of what its schema resolves to: `all` of `anyOf: [number, all]`.
pub fn words<'schema>(root: &'schema Value, schema: &'schema Value) -> Vec<&'schema str> {
    let mut current = schema;
    for _ in 0..8 {
        let reference = current.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
        let Some(behind) = reference.and_then(|name| root["$defs"].get(name)) else { break };
        current = behind;
    }
    let choices = current.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    choices.filter_map(|choice| resolve(root, choice).choices()).flatten().collect()
}

impl<'schema> Resolved<'schema> {
    /// The one type that is not null.
    pub fn kind(&self) -> Option<&'schema str> {
        match self.schema?.get("type")? {
            Value::String(name) => Some(name),
            Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
            _ => None,
        }
    }

    /// The texts allowed, where only some are.
    pub fn choices(&self) -> Option<Vec<&'schema str>> {
        let schema = self.schema?;
        if let Some(Value::Array(values)) = schema.get("enum") {
            return Some(values.iter().filter_map(Value::as_str).collect());
        }
        let Some(Value::Array(values)) = schema.get("oneOf") else { return None };
        let mut choices = Vec::new();
        for value in values {
            match (value.get("const"), value.get("enum")) {
                (Some(Value::String(text)), _) => choices.push(text.as_str()),
                (_, Some(Value::Array(texts))) => choices.extend(texts.iter().filter_map(Value::as_str)),
                _ => return None,
            }
        }
        Some(choices)
    }

    /// A keyword, where the key stands or behind its `$ref`.
    pub fn keyword(&self, name: &str) -> Option<&'schema Value> {
        self.outer.and_then(|schema| schema.get(name)).or_else(|| self.schema?.get(name))
    }

    /// What the key is for: the first sentence of its description.
    pub fn about(&self) -> Option<String> {
        let text = self.keyword("description")?.as_str()?.replace('\n', " ");
        Some(match text.split_once(". ") {
            Some((first, _)) => format!("{first}."),
            None => text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_a_valid_schema() {
        assert!(jsonschema::meta::is_valid(pipeline()));
        assert!(jsonschema::validator_for(pipeline()).is_ok());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(root: &Value, schema: &Value) {
            match schema {
                Value::Object(members) => {
                    if let Some(Value::String(name)) = members.get("$ref") {
                        assert!(root.pointer(name.trim_start_matches('#')).is_some(), "{name}");
                    }
                    members.values().for_each(|member| walk(root, member));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(root, item)),
                _ => {}
            }
        }
        walk(pipeline(), pipeline());
    }

    #[test]
    fn every_key_is_described() {
        for (name, definition) in pipeline()["$defs"].as_object().into_iter().flatten() {
            for (key, property) in definition["properties"].as_object().into_iter().flatten() {
                assert!(resolve(pipeline(), property).about().is_some(), "{name}.{key} has no description");
            }
        }
    }

    #[test]
    fn a_platform_takes_no_common_key_for_itself() {
        let common = ["connection", "account", "platform", "base_url", "allow_http", "rate"];
        for keys in source::registry::PLATFORMS
            .iter()
            .map(|row| (row.schema)())
            .chain(target::registry::PLATFORMS.iter().map(|row| (row.schema)()))
        {
            let keys = keys.to_value();
            for key in common {
                assert!(keys["properties"].get(key).is_none(), "{key}");
            }
        }
    }
}
