//! What is wrong in a pipeline file: all of it at once, each with its place and what would be right.
//!
//! Values enter a message only when they stand in the file itself; one that came from a variable is described.

use serde::Serialize;
use std::fmt;

/// A place in a file; lines and columns begin with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, counted in characters.
    pub column: usize,
}

/// One mistake, or, where the file can be used as it is, one thing worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The file as it was named on the command line.
    pub file: String,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The key it is about: `sources[0].base_url`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.place.line, self.place.column, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n    {hint}")?;
        }
        Ok(())
    }
}

/// All mistakes of a file, in the order of their places.
#[derive(Debug)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Sorts them by place.
    pub fn new(mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| mistake.place);
        Self(list)
    }

    /// The mistakes.
    pub fn list(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "  {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
