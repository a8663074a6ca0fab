//! Parameters of a call: a query in the platform's two-level brackets, a body wrapped in `params`. A parameter that the
//! emulation does not know is refused, so that nobody relies on a filter that would do nothing.

use super::gate::Refusal;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// The most rows of a page, and the most numbers in a query.
pub const MOST: usize = 100;

/// The query of a call.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    pub fn read(query: &str) -> Self {
        let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A parameter, if it is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// `name[inner]`.
    pub fn inner(&self, name: &str, inner: &str) -> Option<&str> {
        self.get(&format!("{name}[{inner}]"))
    }

    /// A list by commas.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        self.get(name).map(|text| text.split(',').map(|part| part.trim().to_owned()).collect())
    }

    /// A list of numbers by commas, a hundred at most.
    ///
    /// # Errors
    /// 422 for other things and for more.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<u64>>, Refusal> {
        let Some(list) = self.list(name) else { return Ok(None) };
        if list.len() > MOST {
            return Err(Refusal::unreadable(&format!("{name}: najwyżej {MOST}")));
        }
        let numbers = list.iter().map(|text| text.parse().map_err(|_| Refusal::unreadable(name)));
        numbers.collect::<Result<_, _>>().map(Some)
    }

    /// Refuses what is not among the known names; `name[inner]` is known by its outer one.
    ///
    /// # Errors
    /// 422 with the name.
    pub fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let outer = |name: &str| name.split('[').next().unwrap_or_default().to_owned();
        match self.0.iter().map(|(name, _)| outer(name)).find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Refusal::unreadable(&format!("nieznany parametr {name}"))),
            None => Ok(()),
        }
    }
}

/// The parameters of a body.
pub type Params = Map<String, Value>;

/// The object in the wrapper; `None` where the wrapper is missing or holds nothing.
pub fn wrapped(body: &Value) -> Option<&Params> {
    body.get("params").and_then(Value::as_object).filter(|params| !params.is_empty())
}

/// Refuses what is not among the known names.
///
/// # Errors
/// 422 with the name.
pub fn only(params: &Params, known: &[&str]) -> Result<(), Refusal> {
    match params.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Refusal::unreadable(&format!("nieznany parametr {name}"))),
        None => Ok(()),
    }
}

/// A text.
///
/// # Errors
/// 422 for anything else.
pub fn text<'a>(params: &'a Params, name: &str) -> Result<Option<&'a str>, Refusal> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Refusal::unreadable(name)),
    }
}

/// A list of texts.
///
/// # Errors
/// 422 for anything else.
pub fn texts(params: &Params, name: &str) -> Result<Option<Vec<String>>, Refusal> {
    let Some(list) = list(params, name)? else { return Ok(None) };
    let texts = list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| Refusal::unreadable(name)));
    texts.collect::<Result<_, _>>().map(Some)
}

/// A list of numbers.
///
/// # Errors
/// 422 for anything else.
pub fn numbers(params: &Params, name: &str) -> Result<Option<Vec<u64>>, Refusal> {
    let Some(list) = list(params, name)? else { return Ok(None) };
    let numbers = list.iter().map(|item| item.as_u64().ok_or_else(|| Refusal::unreadable(name)));
    numbers.collect::<Result<_, _>>().map(Some)
}

/// A list.
///
/// # Errors
/// 422 for anything else.
pub fn list<'a>(params: &'a Params, name: &str) -> Result<Option<&'a Vec<Value>>, Refusal> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list).filter(|list| !list.is_empty())),
        Some(_) => Err(Refusal::unreadable(name)),
    }
}

/// An object.
///
/// # Errors
/// 422 for anything else.
pub fn object<'a>(params: &'a Params, name: &str) -> Result<Option<&'a Params>, Refusal> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Refusal::unreadable(name)),
    }
}

/// A page of a list, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Which.
    pub page: usize,
    /// How many rows it has.
    pub limit: usize,
}

impl Page {
    /// Reads a page from its two parameters.
    ///
    /// # Errors
    /// 422 for what is no page, and for a limit that is not from 1 to 100.
    pub fn read(page: Option<&Value>, limit: Option<&Value>) -> Result<Self, Refusal> {
        let number = |value: Option<&Value>, name: &str, usual: u64| match value {
            None | Some(Value::Null) => Ok(usual),
            Some(value) => {
                let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
                number.ok_or_else(|| Refusal::unreadable(name))
            }
        };
        let page = number(page, "results page", 0)?;
        let limit = number(limit, "results limit", MOST as u64)?;
        if !(1..=MOST as u64).contains(&limit) {
            return Err(Refusal::unreadable("results limit: 1..100"));
        }
        let page = usize::try_from(page).map_err(|_| Refusal::unreadable("results page"))?;
        Ok(Self { page, limit: limit as usize })
    }

    /// The page of a body in camelCase.
    ///
    /// # Errors
    /// As [`Page::read`].
    pub fn camel(params: &Params) -> Result<Self, Refusal> {
        Self::read(params.get("resultsPage"), params.get("resultsLimit"))
    }

    /// The page of a body in snake_case.
    ///
    /// # Errors
    /// As [`Page::read`].
    pub fn snake(params: &Params) -> Result<Self, Refusal> {
        Self::read(params.get("results_page"), params.get("results_limit"))
    }

    /// The page of a query, by the names of its parameters.
    ///
    /// # Errors
    /// As [`Page::read`].
    pub fn of(query: &Query, page: &str, limit: &str) -> Result<Self, Refusal> {
        let value = |name: &str| query.get(name).map(|text| Value::String(text.to_owned()));
        Self::read(value(page).as_ref(), value(limit).as_ref())
    }

    /// How many rows come before it.
    pub fn offset(self) -> usize {
        self.page.saturating_mul(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn brackets_and_commas_are_read() {
        let query = Query::read("clientsIds=1,2&range%5Bdate%5D%5Bdate_begin%5D=2026-02-14+00%3A00%3A00");
        assert_eq!(query.numbers("clientsIds").unwrap(), Some(vec![1, 2]));
        assert_eq!(query.get("range[date][date_begin]"), Some("2026-02-14 00:00:00"));
        assert!(query.only(&["clientsIds", "range"]).is_ok());
        assert!(query.only(&["clientsIds"]).is_err());
    }

    #[test]
    fn a_page_has_one_to_a_hundred_rows() {
        assert_eq!(Page::read(Some(&json!(2)), Some(&json!("50"))).unwrap().offset(), 100);
        assert_eq!(Page::read(None, None).unwrap(), Page { page: 0, limit: 100 });
        for limit in [json!(0), json!(101), json!("many")] {
            assert!(Page::read(None, Some(&limit)).is_err(), "{limit}");
        }
        assert!(Page::read(Some(&json!(-1)), None).is_err());
    }
}
