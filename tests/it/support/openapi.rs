//! A platform's own OpenAPI file as a judge: requests that break it are refused, answers that break it are named.
//!
//! [`Specification`] knows the file; [`proxy::Proxy`] stands between a connector and its sandbox and lets through only what
//! the specification allows. Specifications are wrong in places: what is known to be otherwise at the platform is mended
//! when the file is loaded, one [`Mend`] each, with the reason. Where the file is absent, tests that need it are skipped
//! with a printed line.
//!
//! Stricter than the letter: fields, query parameters and paths that the file does not know are refused, too, because a
//! misspelt name is silently ignored by the platform.

pub mod proxy;
mod schema;

use axum::http::{HeaderMap, Method};
use jsonschema::{Draft, Validator};
use schema::{coerced, converted};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// A place of the document that is otherwise in reality.
struct Mend {
    /// JSON pointer; what is missing is made.
    pointer: &'static str,
    /// What stands there in reality; null takes it away.
    value: Value,
    /// Why.
    why: &'static str,
}

/// One platform's specification.
pub struct Specification {
    name: &'static str,
    /// What stands before the paths of the document in a request.
    base: &'static str,
    document: Value,
    /// Paths that are known to be missing from the document, up to a final `*`.
    allowed: Vec<String>,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
    /// Whether the platform asks for this header with the key.
    key_header: &'static str,
}

/// An operation found for a request.
struct Found<'a> {
    pointer: String,
    operation: &'a Map<String, Value>,
    /// Parameters that stand beside the operation.
    shared: &'a [Value],
    holes: BTreeMap<String, String>,
}

impl Specification {
    /// eSputnik's, if the file is here.
    pub fn esputnik() -> Option<Self> {
        let text_or_json = json!({"anyOf": [
            {"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "object"},
            {"type": "array", "items": {"type": "object"}},
        ]});
        let event = json!({"post": {
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Event"}}}},
            "responses": {"default": {"description": "as in version 2"}},
        }});
        let text = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        let delete = json!({
            "parameters": [text("externalOrderId"), text("from"), text("to")],
            "responses": {"default": {"description": "asynchronous"}},
        });
        let mends = vec![
            Mend {
                pointer: "/components/schemas/EventParameter/properties/value",
                value: text_or_json,
                why: "the file says object and text at once; version 2 takes values as they are, lists too",
            },
            Mend {
                pointer: "/components/schemas/Event/properties/keyValue",
                value: json!({"type": "string"}),
                why: "version 2 has the event's key as version 1 does",
            },
            Mend {
                pointer: "/components/schemas/ContactsBulkUpdate/properties/contactFields/enum",
                value: Value::Null,
                why: "the words of the list stand at the list itself, so that no list would do",
            },
            Mend {
                pointer: "/components/schemas/FieldDescription/properties/type/enum",
                value: Value::Null,
                why: "the platform writes kinds of fields in small letters as well as in capitals",
            },
            Mend {
                pointer: "/components/schemas/FailedContact/properties/externalCustomerId",
                value: json!({"type": "string"}),
                why: "a refused contact comes back as it was sent",
            },
            Mend { pointer: "/paths/~1api~1v3~1event", value: event, why: "the newest version is not in the file" },
            Mend {
                pointer: "/paths/~1api~1v1~1orders/delete",
                value: delete,
                why: "a reference page of its own describes it",
            },
        ];
        Self::load("esputnik", "esputnik/openapi.json", "", "authorization", mends)
    }

    /// IdoSell's, if the file is here.
    pub fn idosell() -> Option<Self> {
        Self::load("idosell", "idosell/openapi-v6.json", "/api/admin/v6", "x-api-key", Vec::new())
    }

    fn load(
        name: &'static str,
        file: &str,
        base: &'static str,
        key_header: &'static str,
        mends: Vec<Mend>,
    ) -> Option<Self> {
        let root = std::env::var("WHARF_SHARED").unwrap_or_else(|_| "../shared".into());
        let path = format!("{root}/platforms/{file}");
        let Ok(bytes) = std::fs::read(&path) else {
            eprintln!("skipped: {path} is not here");
            return None;
        };
        let mut document: Value = serde_json::from_slice(&bytes).unwrap();
        for mend in mends {
            assert!(!mend.why.is_empty());
            schema::put(&mut document, mend.pointer, mend.value);
        }
        Some(Self { name, base, document, allowed: Vec::new(), validators: Mutex::default(), key_header })
    }

    /// Lets a path through that is known to be missing from the file; a final `*` stands for anything.
    pub fn allowing(mut self, path: &str) -> Self {
        self.allowed.push(path.to_owned());
        self
    }

    /// What is wrong with a request, if anything.
    pub fn check_request(&self, method: &Method, target: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if self.is_allowed(path) {
            return Ok(());
        }
        let wrong = |what: String| format!("{}: {method} {path}: {what}", self.name);
        let found = self.find(method, path).map_err(wrong)?;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if header(self.key_header).is_empty() && header("authorization").is_empty() {
            return Err(wrong(format!("no {} header", self.key_header)));
        }
        self.check_parameters(&found, query, headers).map_err(wrong)?;
        self.check_body(&found, header("content-type"), body).map_err(wrong)
    }

    /// What is wrong with an answer, if anything. Lists of one element that came as the element, and numbers that came as
    /// texts, are taken for what they are meant to be.
    pub fn check_answer(&self, method: &Method, path: &str, status: u16, body: &[u8]) -> Result<(), String> {
        if self.is_allowed(path) || body.is_empty() {
            return Ok(());
        }
        let wrong = |what: String| format!("{}: the answer {status} to {method} {path}: {what}", self.name);
        let found = self.find(method, path).map_err(wrong)?;
        let responses = found.operation.get("responses").and_then(Value::as_object);
        let responses = responses.ok_or_else(|| wrong("no answers are described".into()))?;
        let (key, response) = match responses.get_key_value(&status.to_string()) {
            Some(found) => found,
            None => match responses.get_key_value("default") {
                Some(found) => found,
                None if status >= 400 => return Ok(()),
                None => return Err(wrong("this status is not described".into())),
            },
        };
        let Some(content) = response.get("content").and_then(Value::as_object) else { return Ok(()) };
        let Some((media_type, described)) = content.iter().find(|(_, described)| described.get("schema").is_some())
        else {
            return Ok(());
        };
        if described["schema"] == json!({"type": "string"}) {
            // The files write a plain or empty body as a string schema.
            return Ok(());
        }
        let value: Value = serde_json::from_slice(body).map_err(|error| wrong(format!("no JSON: {error}")))?;
        let value = coerced(&self.document, &described["schema"], value);
        let pointer = format!("{}/responses/{key}/content/{}/schema", found.pointer, media_type.replace('/', "~1"));
        self.validate(&pointer, &value, false).map_err(wrong)
    }

    fn is_allowed(&self, path: &str) -> bool {
        self.allowed.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == allowed,
        })
    }

    fn find(&self, method: &Method, path: &str) -> Result<Found<'_>, String> {
        let inner = path.strip_prefix(self.base).ok_or("the path is not below the platform's")?;
        let paths = self.document["paths"].as_object().ok_or("the document has no paths")?;
        let mut alike: Vec<(usize, &String, &Value, BTreeMap<String, String>)> = paths
            .iter()
            .filter_map(|(pattern, item)| {
                let holes = holes(pattern, inner)?;
                Some((holes.len(), pattern, item, holes))
            })
            .collect();
        alike.sort_by_key(|(holes, pattern, _, _)| (*holes, pattern.len()));
        if alike.is_empty() {
            return Err("the path is not known".into());
        }
        let verb = method.as_str().to_lowercase();
        let (_, pattern, item, holes) = alike
            .into_iter()
            .find(|(_, _, item, _)| item.get(&verb).is_some())
            .ok_or("the method is not known at this path")?;
        let operation = item[&verb].as_object().ok_or("the operation is not described")?;
        let shared = item.get("parameters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let pointer = format!("/paths/{}/{verb}", pattern.replace('~', "~0").replace('/', "~1"));
        Ok(Found { pointer, operation, shared, holes })
    }

    fn check_parameters(&self, found: &Found<'_>, query: &str, headers: &HeaderMap) -> Result<(), String> {
        let own = found.operation.get("parameters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut given: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        for parameter in own.iter().chain(found.shared) {
            let name = parameter["name"].as_str().ok_or("a parameter has no name")?;
            let raw = match parameter["in"].as_str() {
                Some("query") => schema::taken(&mut given, parameter),
                Some("path") => found.holes.get(name).map(|text| json!(text)),
                Some("header") => headers.get(name).and_then(|value| value.to_str().ok()).map(|text| json!(text)),
                _ => continue,
            };
            let Some(raw) = raw else {
                if parameter["required"] == true {
                    return Err(format!("the parameter {name} is missing"));
                }
                continue;
            };
            let value = coerced(&self.document, &parameter["schema"], raw);
            self.validate_inline(&parameter["schema"], &value).map_err(|error| format!("{name}: {error}"))?;
        }
        match given.first() {
            Some((name, _)) => Err(format!("the query parameter {name} is not known")),
            None => Ok(()),
        }
    }

    fn check_body(&self, found: &Found<'_>, media_type: &str, body: &[u8]) -> Result<(), String> {
        let Some(wanted) = found.operation.get("requestBody") else {
            return if body.is_empty() { Ok(()) } else { Err("there is a body where none belongs".into()) };
        };
        if body.is_empty() {
            return if wanted["required"] == true { Err("the body is missing".into()) } else { Ok(()) };
        }
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_lowercase();
        if wanted["content"].get(&media_type).is_none() {
            return Err(format!("the media type `{media_type}` is not known"));
        }
        let value: Value = serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
        let pointer = format!("{}/requestBody/content/{}/schema", found.pointer, media_type.replace('/', "~1"));
        self.validate(&pointer, &value, true)
    }

    /// Validates by the schema at a pointer; `strict`: unknown fields are wrong.
    fn validate(&self, pointer: &str, value: &Value, strict: bool) -> Result<(), String> {
        let key = format!("{strict} {pointer}");
        let known = self.validators.lock().unwrap().get(&key).cloned();
        let validator = match known {
            Some(validator) => validator,
            None => {
                let schema = self.document.pointer(pointer).ok_or_else(|| format!("no schema at {pointer}"))?;
                let validator = Arc::new(self.compiled(schema, strict)?);
                self.validators.lock().unwrap().insert(key, Arc::clone(&validator));
                validator
            }
        };
        schema::first_error(&validator, value)
    }

    fn validate_inline(&self, schema: &Value, value: &Value) -> Result<(), String> {
        schema::first_error(&self.compiled(schema, false)?, value)
    }

    fn compiled(&self, schema: &Value, strict: bool) -> Result<Validator, String> {
        let components = self.document["components"]["schemas"].as_object().cloned().unwrap_or_default();
        let components: Map<String, Value> =
            components.iter().map(|(name, schema)| (name.clone(), converted(schema, strict))).collect();
        let whole = json!({"allOf": [converted(schema, strict)], "components": {"schemas": components}});
        jsonschema::options()
            .with_draft(Draft::Draft4)
            .should_validate_formats(true)
            .build(&whole)
            .map_err(|error| format!("the schema cannot be used: {error}"))
    }
}

/// The values of a pattern's `{names}`, if a path is like it.
fn holes(pattern: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut holes = BTreeMap::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(holes),
            (Some(wanted), Some(part)) if wanted.starts_with('{') && wanted.ends_with('}') => {
                let text = percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
                holes.insert(wanted[1..wanted.len() - 1].to_owned(), text);
            }
            (Some(wanted), Some(part)) if wanted == part => {}
            _ => return None,
        }
    }
}
