//! `${NAME}`, `${NAME:-default}` and `${file:/path}` inside values of a pipeline file.
//!
//! Values come from the environment or a file and never enter a message; names, defaults and paths stand in the file.

use crate::error::{Error, Kind};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Where values of `${…}` come from: given ones first, then the environment of the process, then files of variables.
#[derive(Clone, Default)]
pub struct Variables {
    given: BTreeMap<String, String>,
    from_files: BTreeMap<String, String>,
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
        Self { given: given.into_iter().collect(), closed: true, ..Self::default() }
    }

    /// Sets one, before the environment's.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.given.insert(name.into(), value.into());
        self
    }

    /// Adds those of a file; what an earlier file or the environment has stays.
    pub fn or(mut self, values: &EnvFile) -> Self {
        for (name, value) in &values.0 {
            self.from_files.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }

    /// The value of a variable: that of the environment, or else of a file.
    pub fn get(&self, name: &str) -> Option<String> {
        let from_environment = || if self.closed { None } else { std::env::var(name).ok() };
        let from_files = || self.from_files.get(name).cloned();
        self.given.get(name).cloned().or_else(from_environment).or_else(from_files)
    }
}

/// A file of variables, one `NAME=value` a line, as shells and containers read them. Its values are never shown.
#[derive(Clone, Default)]
pub struct EnvFile(BTreeMap<String, String>);

impl EnvFile {
    /// Reads a file. The environment of the process stays as it is.
    ///
    /// # Errors
    /// [`Kind::Command`] if it cannot be read, or has a line that is none; the line is not shown, it may be a secret.
    pub fn read(path: &Path) -> crate::Result<Self> {
        let shown = path.display();
        let mut values = BTreeMap::new();
        let failed = |values: &BTreeMap<String, String>, error: dotenvy::Error| match error {
            dotenvy::Error::Io(error) => {
                Error::new(Kind::Command, format!("the file of variables {shown} cannot be read")).because(error)
            }
            _ => {
                let place = values.len() + 1;
                Error::new(Kind::Command, format!("{shown}: what should be variable {place} is no NAME=value"))
                    .hint("a value with blanks, `#` or `$` stands in single quotes: NAME='value'")
            }
        };
        for pair in dotenvy::from_path_iter(path).map_err(|error| failed(&values, error))? {
            let (name, value) = pair.map_err(|error| failed(&values, error))?;
            values.insert(name, value);
        }
        Ok(Self(values))
    }

    /// The file `.env` beside a pipeline file; none if there is none.
    ///
    /// # Errors
    /// As [`EnvFile::read`].
    pub fn beside(pipeline: &Path) -> crate::Result<Self> {
        let path = pipeline.with_file_name(".env");
        if path.is_file() { Self::read(&path) } else { Ok(Self::default()) }
    }

    /// Its value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for EnvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
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

    #[test]
    fn the_environment_comes_before_a_file_and_one_file_before_the_next() -> crate::Result<()> {
        let folder = tempfile::tempdir()?;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("first", "# a comment\nA_WHARF_TEST=one\nPATH=nowhere\nQUOTED='a $b # c'\n")?;
        write(".env", "A_WHARF_TEST=two\nexport ANOTHER=\"3\"\n")?;
        let first = EnvFile::read(&folder.path().join("first"))?;
        let beside = EnvFile::beside(&folder.path().join("shop.yaml"))?;
        let variables = Variables::environment().or(&first).or(&beside);
        let text = |of: &str| fill(of, &variables).map(|filled| filled.text).ok();
        assert_eq!(text("${A_WHARF_TEST}${ANOTHER}${QUOTED}").as_deref(), Some("one3a $b # c"));
        assert_ne!(text("${PATH}").as_deref(), Some("nowhere"));
        Ok(())
    }

    #[test]
    fn a_line_that_is_no_variable_is_told_without_being_shown() -> crate::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("wrong");
        std::fs::write(&path, "A=1\nhunter2 hunter2\n")?;
        let error = EnvFile::read(&path).err().map(|error| format!("{error:?}")).unwrap_or_default();
        assert!(error.contains("variable 2") && !error.contains("hunter2"), "{error}");
        let missing = EnvFile::read(&folder.path().join("missing")).err().map(|error| error.kind());
        assert_eq!(missing, Some(Kind::Command));
        std::fs::write(&path, "SECRET=hunter2\n")?;
        assert_eq!(format!("{:?}", EnvFile::read(&path)?), r#"["SECRET"]"#);
        Ok(())
    }

    proptest! {
        #[test]
        fn no_text_upsets_it(text in "[${}a-zA-Z:\\-\\PC]*") {
            let _ = fill(&text, &some());
        }
    }
}
