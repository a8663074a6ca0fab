//! `${NAME}`, `${NAME:-default}` and `${file:/path}` inside values of a pipeline file.
//!
//! Values come from the environment or a file and never enter a message; names, defaults and paths stand in the file.

use std::collections::BTreeMap;

/// Where values of `${…}` come from: given ones first, then the environment of the process.
#[derive(Clone, Default)]
pub struct Variables {
    given: BTreeMap<String, String>,
    /// Whether the environment and files are looked at.
    closed: bool,
}

impl Variables {
    /// The environment of the process.
    pub fn environment() -> Self {
        Self::default()
    }

    /// These and nothing else; files are not read either.
    pub fn only(given: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { given: given.into_iter().collect(), closed: true }
    }

    /// Sets one, before the environment's.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.given.insert(name.into(), value.into());
        self
    }

    fn get(&self, name: &str) -> Option<String> {
        let from_environment = || if self.closed { None } else { std::env::var(name).ok() };
        self.given.get(name).cloned().or_else(from_environment)
    }
}

/// A text with its variables filled in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// The text.
    pub text: String,
    /// What was filled in, for people: `${WOO_KEY}`. Empty if the text stands in the file as it is.
    pub from: Vec<String>,
}

/// Why a text cannot be filled in: what is wrong, what would be right.
pub type Unfilled = (String, String);

/// Fills in every `${…}` of a text; `$${` stands for `${` itself.
///
/// # Errors
/// All that is wrong with it.
pub fn fill(text: &str, variables: &Variables) -> Result<Filled, Vec<Unfilled>> {
    let mut filled = Filled::default();
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        let after = &rest[at + 2..];
        if let Some(literal) = before.strip_suffix('$') {
            filled.text.push_str(literal);
            filled.text.push_str("${");
            rest = after;
            continue;
        }
        filled.text.push_str(before);
        let Some(end) = after.find('}') else {
            let hint = "write ${NAME}; a `${` that is meant as it stands is written `$${`";
            wrong.push(("a variable has no closing `}`".into(), hint.into()));
            rest = "";
            break;
        };
        let inside = &after[..end];
        match value_of(inside, variables) {
            Ok(value) => {
                filled.text.push_str(&value);
                filled.from.push(format!("${{{}}}", inside.split(":-").next().unwrap_or(inside)));
            }
            Err(unfilled) => wrong.push(unfilled),
        }
        rest = &after[end + 1..];
    }
    filled.text.push_str(rest);
    if wrong.is_empty() { Ok(filled) } else { Err(wrong) }
}

fn value_of(inside: &str, variables: &Variables) -> Result<String, Unfilled> {
    if let Some(path) = inside.strip_prefix("file:") {
        return if variables.closed { Ok(String::new()) } else { secret_file(path) };
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let first_fits = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !first_fits || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let hint = "names are letters, digits and `_`: ${WOO_KEY}, ${WOO_KEY:-default}; a file is ${file:/path}";
        return Err((format!("`${{{inside}}}` names no variable"), hint.into()));
    }
    match (variables.get(name), default) {
        // As in the shell: `:-` also stands in for an empty value.
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((
            format!("the environment variable {name} is not set"),
            format!(
                "export {name}=…, or write ${{{name}:-default}}, or ${{file:/run/secrets/{}}}",
                name.to_lowercase()
            ),
        )),
    }
}

/// The largest secret file that is read.
const SECRET_FILE_LIMIT: u64 = 64 * 1024;

fn secret_file(path: &str) -> Result<String, Unfilled> {
    let unreadable =
        |why: String| (format!("the file {path} cannot be used: {why}"), "look at the path and its rights".into());
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !size.is_file() || size.len() > SECRET_FILE_LIMIT {
        return Err(unreadable(format!("a secret is a regular file of at most {SECRET_FILE_LIMIT} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".into()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> Variables {
        Variables::only([("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())])
    }

    fn text(of: &str) -> Option<String> {
        fill(of, &some()).ok().map(|filled| filled.text)
    }

    #[test]
    fn variables_are_filled_in_anywhere() {
        assert_eq!(text("x${A}y${A}").as_deref(), Some("x1y1"));
        assert_eq!(text("plain").as_deref(), Some("plain"));
    }

    #[test]
    fn a_default_stands_in_for_a_missing_or_empty_value() {
        assert_eq!(text("${NONE:-d}").as_deref(), Some("d"));
        assert_eq!(text("${EMPTY:-d}").as_deref(), Some("d"));
        assert_eq!(text("${EMPTY}").as_deref(), Some(""));
        assert_eq!(text("${A:-d}").as_deref(), Some("1"));
    }

    #[test]
    fn two_dollars_mean_one() {
        assert_eq!(text("$${A}").as_deref(), Some("${A}"));
        assert_eq!(text("cost: 5$").as_deref(), Some("cost: 5$"));
    }

    #[test]
    fn every_missing_variable_is_named() {
        let wrong = fill("${ONE} ${TWO} ${1X} ${open", &some()).err().unwrap_or_default();
        let all: Vec<_> = wrong.iter().map(|(what, _)| what.as_str()).collect();
        assert_eq!(
            all,
            [
                "the environment variable ONE is not set",
                "the environment variable TWO is not set",
                "`${1X}` names no variable",
                "a variable has no closing `}`",
            ]
        );
    }

    #[test]
    fn a_secret_file_loses_its_last_line_break() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("secret");
        std::fs::write(&path, "s3cret\n")?;
        let filled = fill(&format!("${{file:{}}}", path.display()), &Variables::environment());
        assert_eq!(filled.map(|filled| filled.text), Ok("s3cret".to_owned()));
        let missing = fill("${file:/no/such/file}", &Variables::environment());
        assert!(missing.is_err_and(|wrong| wrong[0].0.contains("/no/such/file")));
        Ok(())
    }

    proptest! {
        #[test]
        fn no_text_upsets_it(text in "[${}a-zA-Z:\\-\\PC]*") {
            let _ = fill(&text, &some());
        }
    }
}
