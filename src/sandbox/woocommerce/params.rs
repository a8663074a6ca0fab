//! Parameters of a request as PHP reads them, and the shop's refusals of bad ones (sheet, section 3). May use the site's
//! settings for dates.

use super::answers::WpError;
use super::site::Site;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

/// The parameters of a query in the order given.
#[derive(Debug, Clone, Default)]
pub struct Params(pub Vec<(String, String)>);

impl Params {
    /// Reads a query: `+` is a blank, `a[]` becomes `a[0]`, `a[1]`…, as PHP numbers them.
    pub fn parse(query: &str) -> Self {
        let mut params: Vec<(String, String)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let mut name = decode(name);
            if let Some(list) = name.strip_suffix("[]") {
                let prefix = format!("{list}[");
                let number = params.iter().filter(|(known, _)| known.starts_with(&prefix)).count();
                name = format!("{list}[{number}]");
            }
            let value = decode(value);
            // The same name twice: the last one counts.
            params.retain(|(known, _)| *known != name);
            params.push((name, value));
        }
        Self(params)
    }

    /// A parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A list: `a=1,2` or `a[]=1&a[]=2`.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        let prefix = format!("{name}[");
        let mut items = Vec::new();
        let mut is_given = false;
        for (known, value) in &self.0 {
            if known == name {
                is_given = true;
                items.extend(value.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()));
            } else if known.starts_with(&prefix) {
                is_given = true;
                items.push(value.clone());
            }
        }
        is_given.then_some(items)
    }

    /// Whether a switch is on: `true` or `1`.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1" | "yes"))
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Collects what is wrong with the parameters of one request.
#[derive(Debug, Default)]
pub struct Refusals(Vec<(String, &'static str, String)>);

impl Refusals {
    /// Notes a bad parameter.
    pub fn add(&mut self, name: &str, code: &'static str, message: impl Into<String>) {
        self.0.push((name.to_owned(), code, message.into()));
    }

    /// The shop's answer, if anything was wrong.
    ///
    /// # Errors
    /// 400 rest_invalid_param.
    pub fn check(self) -> Result<(), WpError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.0.iter().map(|(name, _, _)| name.as_str()).collect();
        let mut params = Map::new();
        let mut details = Map::new();
        for (name, code, message) in &self.0 {
            params.insert(name.clone(), json!(message));
            details.insert(name.clone(), json!({ "code": code, "message": message, "data": null }));
        }
        let message = format!("Invalid parameter(s): {}", names.join(", "));
        Err(WpError::new(400, "rest_invalid_param", message).with("params", params).with("details", details))
    }

    /// A whole number within bounds, or the default where it is not given.
    pub fn integer(&mut self, params: &Params, name: &str, default: i64, least: i64, most: Option<i64>) -> i64 {
        let Some(text) = params.get(name) else { return default };
        let Ok(number) = text.trim().parse::<i64>() else {
            self.add(name, "rest_invalid_type", format!("{name} is not of type integer."));
            return default;
        };
        match most {
            Some(most) if number < least || number > most => {
                let message = format!("{name} must be between {least} (inclusive) and {most} (inclusive)");
                self.add(name, "rest_out_of_bounds", message);
            }
            None if number < least => {
                let message = format!("{name} must be greater than or equal to {least}");
                self.add(name, "rest_out_of_bounds", message);
            }
            _ => return number,
        }
        default
    }

    /// One of a list of words, or the default where it is not given.
    pub fn word<'a>(&mut self, params: &'a Params, name: &str, default: &'a str, known: &[&str]) -> &'a str {
        let Some(text) = params.get(name) else { return default };
        if known.contains(&text) {
            return text;
        }
        self.add(name, "rest_not_in_enum", format!("{name} is not one of {}.", spoken_list(known)));
        default
    }

    /// A bound in time (UTC seconds).
    pub fn date(&mut self, params: &Params, name: &str, site: &Site, dates_are_gmt: bool) -> Option<i64> {
        let text = params.get(name)?;
        let bound = site.bound(text, dates_are_gmt);
        if bound.is_none() {
            self.add(name, "rest_invalid_date", "Invalid date.");
        }
        bound
    }

    /// A list of ids.
    pub fn ids(&mut self, params: &Params, name: &str) -> Option<Vec<u64>> {
        let items = params.list(name)?;
        let mut ids = Vec::new();
        for (position, item) in items.iter().enumerate() {
            match item.trim().parse() {
                Ok(id) => ids.push(id),
                Err(_) => {
                    self.add(name, "rest_invalid_type", format!("{name}[{position}] is not of type integer."));
                    return None;
                }
            }
        }
        Some(ids)
    }
}

/// `a, b, and c`.
pub fn spoken_list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, two] => format!("{one} and {two}"),
        [head @ .., last] => format!("{}, and {last}", head.join(", ")),
    }
}

/// Trims a row to `_fields`; a row left without any field is an empty list, as PHP writes an empty array.
pub fn trim_fields(row: &Value, fields: &[String]) -> Value {
    let mut kept = Map::new();
    for field in fields {
        let path: Vec<&str> = field.split('.').collect();
        let mut value = Some(row);
        for step in &path {
            value = value.and_then(|value| value.get(step));
        }
        let Some(value) = value else { continue };
        insert_at(&mut kept, &path, value.clone());
    }
    if kept.is_empty() { json!([]) } else { Value::Object(kept) }
}

fn insert_at(object: &mut Map<String, Value>, path: &[&str], value: Value) {
    let [step, rest @ ..] = path else { return };
    if rest.is_empty() {
        object.insert((*step).to_owned(), value);
        return;
    }
    let inner = object.entry(*step).or_insert_with(|| json!({}));
    if let Value::Object(inner) = inner {
        insert_at(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_both_spellings_and_numbered_as_php_does() {
        let params = Params::parse("status[]=a&status[]=b&include=1,2&x=a+b%2Bc");
        assert_eq!(params.0[0].0, "status[0]");
        assert_eq!(params.0[1].0, "status[1]");
        assert_eq!(params.list("status"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(params.list("include"), Some(vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(params.get("x"), Some("a b+c"));
    }

    #[test]
    fn a_row_left_without_any_field_is_an_empty_list() {
        let row = json!({ "id": 7, "billing": { "email": "a@example.com", "phone": "1" } });
        let fields = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            trim_fields(&row, &fields("id,billing.email")),
            json!({ "id": 7, "billing": { "email": "a@example.com" } })
        );
        assert_eq!(trim_fields(&row, &fields("nothing")), json!([]));
    }
}
