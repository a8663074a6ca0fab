//! OpenAPI 3.0 schemas as JSON Schema, and texts as what a schema wants.

use jsonschema::Validator;
use serde_json::{Map, Number, Value, json};

/// Keys of a schema that JSON Schema knows with the same meaning, apart from those that hold schemas.
const PLAIN: [&str; 13] = [
    "type",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
];
/// Formats that can be told right from wrong.
const FORMATS: [&str; 2] = ["date", "date-time"];

/// An OpenAPI schema as JSON Schema; `strict`: an object that names its fields takes no others.
pub fn converted(schema: &Value, strict: bool) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    if let Some(target) = fields.get("$ref") {
        return json!({"$ref": target});
    }
    let mut out = Map::new();
    for name in PLAIN {
        out.extend(fields.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    out.extend(
        fields
            .get("format")
            .filter(|format| format.as_str().is_some_and(|format| FORMATS.contains(&format)))
            .map(|format| ("format".to_owned(), format.clone())),
    );
    // `required: true` at a field itself is a slip of whoever wrote the file; the list at the object is what counts.
    out.extend(fields.get("required").filter(|list| list.is_array()).map(|list| ("required".to_owned(), list.clone())));
    for name in ["items", "not"] {
        out.extend(fields.get(name).map(|inner| (name.to_owned(), converted(inner, strict))));
    }
    for name in ["oneOf", "anyOf", "allOf"] {
        if let Some(Value::Array(list)) = fields.get(name) {
            // Fields of a composition stand in several places, so none of them can be complete by itself.
            out.insert(name.to_owned(), list.iter().map(|inner| converted(inner, strict && name != "allOf")).collect());
        }
    }
    if let Some(Value::Object(properties)) = fields.get("properties") {
        let inner = properties.iter().map(|(name, inner)| (name.clone(), converted(inner, strict)));
        out.insert("properties".into(), Value::Object(inner.collect()));
        let is_whole =
            !properties.is_empty() && !["oneOf", "anyOf", "allOf"].iter().any(|name| fields.contains_key(*name));
        if strict && is_whole {
            out.insert("additionalProperties".into(), false.into());
        }
    }
    match fields.get("additionalProperties") {
        Some(inner @ Value::Object(_)) => drop(out.insert("additionalProperties".into(), converted(inner, strict))),
        Some(Value::Bool(truth)) => drop(out.insert("additionalProperties".into(), (*truth).into())),
        _ => {}
    }
    mend_enum(&mut out);
    if fields.get("nullable") == Some(&Value::Bool(true)) {
        return json!({"anyOf": [out, {"type": "null"}]});
    }
    out.into()
}

/// Words of an enumeration that are written as texts although the type is another one.
fn mend_enum(schema: &mut Map<String, Value>) {
    let numeric = matches!(schema.get("type").and_then(Value::as_str), Some("integer" | "number"));
    if let Some(Value::Array(words)) = schema.get_mut("enum").filter(|_| numeric) {
        for word in words {
            if let Some(number) = word.as_str().and_then(as_number) {
                *word = number.into();
            }
        }
    }
}

fn as_number(text: &str) -> Option<Number> {
    text.parse::<i64>().ok().map(Number::from).or_else(|| text.parse().ok().and_then(Number::from_f64))
}

/// A value as the schema wants it, where that can be told: texts that are numbers or truth, one element where a list is
/// wanted, null where a list is wanted. What cannot be told stays as it is.
pub fn coerced(document: &Value, schema: &Value, value: Value) -> Value {
    let schema = resolved(document, schema);
    if value.is_null() && schema["nullable"] == true {
        return value;
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        return parts.iter().fold(value, |value, part| coerced(document, part, value));
    }
    match (schema["type"].as_str(), value) {
        (Some("array"), Value::Null) => json!([]),
        (Some("array"), Value::Array(list)) => {
            list.into_iter().map(|element| coerced(document, &schema["items"], element)).collect()
        }
        (Some("array"), one) => json!([coerced(document, &schema["items"], one)]),
        (Some("object"), Value::Object(fields)) => {
            let properties = &schema["properties"];
            let inner = fields.into_iter().map(|(name, inner)| {
                let inner = match properties.get(&name) {
                    Some(schema) => coerced(document, schema, inner),
                    None => inner,
                };
                (name, inner)
            });
            Value::Object(inner.collect())
        }
        (Some("integer" | "number"), Value::String(text)) => {
            as_number(&text).map_or(Value::String(text), Value::Number)
        }
        (Some("boolean"), Value::String(text)) if text == "true" || text == "false" => json!(text == "true"),
        (_, value) => value,
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    match target.and_then(|pointer| document.pointer(pointer)) {
        Some(found) => resolved(document, found),
        None => schema,
    }
}

/// Takes a parameter out of a query, in the style that it is described with.
pub fn taken(given: &mut Vec<(String, String)>, parameter: &Value) -> Option<Value> {
    let name = parameter["name"].as_str()?;
    let is_deep = parameter["style"] == "deepObject" || parameter["schema"]["type"] == "object";
    if is_deep {
        let mut whole = Value::Null;
        given.retain(|(there, text)| {
            let inner = there.strip_prefix(name).filter(|rest| rest.starts_with('['));
            if let Some(rest) = inner {
                let keys: Vec<&str> = rest.split(['[', ']']).filter(|key| !key.is_empty()).collect();
                insert(&mut whole, &keys, text);
            }
            inner.is_none()
        });
        return Some(whole).filter(|whole| !whole.is_null());
    }
    let is_list = parameter["schema"]["type"] == "array";
    let mut values = Vec::new();
    given.retain(|(there, text)| {
        let is_it = there == name;
        if is_it {
            values.push(text.clone());
        }
        !is_it
    });
    if values.is_empty() {
        return None;
    }
    if !is_list {
        // A parameter that comes twice is no single value.
        return Some(if values.len() == 1 { json!(values.remove(0)) } else { json!(values) });
    }
    if parameter["explode"] == false {
        return Some(values.iter().flat_map(|value| value.split(',')).map(|part| json!(part)).collect());
    }
    Some(json!(values))
}

fn insert(whole: &mut Value, keys: &[&str], text: &str) {
    let Some((first, rest)) = keys.split_first() else {
        *whole = json!(text);
        return;
    };
    if !whole.is_object() {
        *whole = json!({});
    }
    insert(&mut whole[*first], rest, text);
}

/// Puts a value at a pointer; what is missing on the way is made, null takes it away.
pub fn put(document: &mut Value, pointer: &str, value: Value) {
    let parts: Vec<String> =
        pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let (last, way) = parts.split_last().unwrap();
    let mut place = document;
    for part in way {
        place = place.as_object_mut().unwrap().entry(part.clone()).or_insert_with(|| json!({}));
    }
    let place = place.as_object_mut().unwrap();
    match value {
        Value::Null => drop(place.remove(last)),
        value => drop(place.insert(last.clone(), value)),
    }
}

/// The first thing that is wrong, with its place.
pub fn first_error(validator: &Validator, value: &Value) -> Result<(), String> {
    match validator.iter_errors(value).next() {
        None => Ok(()),
        Some(error) => {
            let mut text = error.to_string();
            text.truncate(text.floor_char_boundary(600));
            Err(format!("at `{}`: {text}", error.instance_path()))
        }
    }
}
