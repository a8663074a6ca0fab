//! Pipeline files: YAML in, typed and validated settings out. Nothing outside is touched but the environment and the
//! files that `${file:…}` names.
//!
//! The way of a file: [`tree`] (places, variables) → [`validate`] (types, by the [`schema`] that the types give) →
//! [`rules`] (between keys) → serde ([`pipeline`]). Every step collects its mistakes, so that all are named in one go.

pub mod formats;
pub mod mistakes;
pub mod pipeline;
mod rules;
pub mod schema;
pub mod template;
mod tree;
mod validate;
pub mod variables;

pub use pipeline::Pipeline;
pub use variables::Variables;

use crate::{Error, Kind, Result};
use mistakes::{Mistake, Mistakes, Place};
use std::path::Path;
use tree::Flaw;

/// The commented example that `wharf demo` runs: WooCommerce to SALESmanago.
pub const EXAMPLE: &str = include_str!("../../pipelines/woocommerce-salesmanago.yaml");

/// Larger than any pipeline file.
const FILE_LIMIT: u64 = 1024 * 1024;

/// A pipeline and what is worth a look in its file.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub pipeline: Pipeline,
    /// What is worth a look, though the file can be used.
    pub warnings: Vec<Mistake>,
}

/// Reads a pipeline file with given variables.
///
/// # Errors
/// [`Kind::PipelineFile`]: the file cannot be read, or has mistakes; then all of them are in the cause
/// ([`mistakes::Mistakes`]), each with its line.
pub fn load(path: &Path, variables: &Variables) -> Result<Loaded> {
    let name = path.display().to_string();
    let unreadable = |why: String| {
        Error::new(Kind::PipelineFile, format!("the pipeline file {name} cannot be read: {why}"))
            .hint("`wharf init SOURCE TARGET --out FILE` writes a new one")
    };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if size.is_dir() {
        return Err(unreadable("it is a folder".into()));
    }
    if size.len() > FILE_LIMIT {
        return Err(unreadable(format!("it is larger than {FILE_LIMIT} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    match String::from_utf8(bytes) {
        Ok(text) => {
            let mut loaded = parse(&name, &text, variables)?;
            if let Some(archive) = &mut loaded.pipeline.archive {
                archive.to = beside(path, &archive.to);
            }
            Ok(loaded)
        }
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let place = place_behind(&String::from_utf8_lossy(good));
            let hint = Some("save the file as UTF-8".to_owned());
            Err(in_error(&name, vec![(String::new(), Flaw { place, message: "not UTF-8 text".into(), hint })], ""))
        }
    }
}

/// What a pipeline file calls `to`, seen from where wharf runs: a folder is named relative to the file.
fn beside(file: &Path, to: &str) -> String {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|_| !to.contains("://") && Path::new(to).is_relative()) {
        Some(folder) => folder.join(to).components().collect::<std::path::PathBuf>().display().to_string(),
        None => to.to_owned(),
    }
}

/// Reads the text of a pipeline file; `name` is what messages call the file.
///
/// # Errors
/// As [`load`].
pub fn parse(name: &str, text: &str, variables: &Variables) -> Result<Loaded> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (root, flaws) = tree::read(text, variables);
    let mut flaws: Vec<(String, Flaw)> = flaws.into_iter().map(|flaw| (String::new(), flaw)).collect();
    let Some(root) = root else {
        if flaws.is_empty() {
            let hint = Some("`wharf init SOURCE TARGET` writes a commented one".to_owned());
            let place = Place { line: 1, column: 1 };
            flaws.push((String::new(), Flaw { place, message: "the file is empty".into(), hint }));
        }
        return Err(in_error(name, flaws, text));
    };
    let validated = validate::validate(&root, schema::pipeline());
    let found = rules::check(&validated);
    flaws.extend(validated.flaws);
    flaws.extend(found.flaws);
    if !flaws.is_empty() {
        return Err(in_error(name, flaws, text));
    }
    let pipeline = serde_path_to_error::deserialize(validated.value).map_err(|error| {
        // The schema and the types are one: this is a format that only the type knows. Its words may hold the value.
        let path = error.path().to_string();
        let place = validated.seen.get(&path).map_or(Place { line: 1, column: 1 }, |seen| seen.place);
        let flaw = Flaw { place, message: format!("`{path}` has a value that cannot be used"), hint: None };
        in_error(name, vec![(path, flaw)], text)
    })?;
    Ok(Loaded { pipeline, warnings: in_file(name, found.warnings, text) })
}

/// Mistakes that only a later look has found: keys (`contacts.fields.ltv`), each with what is wrong and a hint, become an
/// error with their places in the file.
pub fn mistaken(path: &Path, mistakes: Vec<(String, String, Option<String>)>) -> Error {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let (root, _) = tree::read(text, &Variables::environment());
    let seen = root.map(|root| validate::validate(&root, schema::pipeline()).seen).unwrap_or_default();
    let flaws = mistakes.into_iter().map(|(key, message, hint)| {
        let place = seen.get(&key).map_or(Place { line: 1, column: 1 }, |seen| seen.place);
        (key.clone(), Flaw { place, message: format!("{key}: {message}"), hint })
    });
    in_error(&name, flaws.collect(), text)
}

fn in_error(name: &str, flaws: Vec<(String, Flaw)>, text: &str) -> Error {
    let mistakes = in_file(name, flaws, text);
    let count = match mistakes.len() {
        1 => "a mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    Error::new(Kind::PipelineFile, format!("{name} has {count}"))
        .because(Mistakes::new(mistakes))
        .hint("`wharf schema` describes every key, `wharf init SOURCE TARGET` writes a commented file")
}

fn in_file(name: &str, flaws: Vec<(String, Flaw)>, text: &str) -> Vec<Mistake> {
    let last_line = text.lines().count().max(1);
    let in_place = |place: Place| {
        // A syntax error at the end of a text may be told of the line behind it.
        if place.line > last_line && !text.is_empty() {
            place_behind(text.trim_end_matches(['\r', '\n']))
        } else {
            place
        }
    };
    let mistakes = flaws.into_iter().map(|(key, flaw)| Mistake {
        file: name.to_owned(),
        place: in_place(flaw.place),
        key,
        message: flaw.message,
        hint: flaw.hint,
    });
    mistakes.collect()
}

/// The place right behind a text.
fn place_behind(text: &str) -> Place {
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    Place { line: text.matches('\n').count() + 1, column: last_line.chars().count() + 1 }
}

#[cfg(test)]
mod tests;
