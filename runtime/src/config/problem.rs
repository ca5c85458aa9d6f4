//! What can be wrong with a configuration, said so that it can be put right.
//!
//! Every problem names where it is, what was expected there, and what was probably meant.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use super::field::alternatives;

/// Everything that is wrong with the configuration, one problem on each line.
#[derive(Debug, Error)]
#[error("{}", lines(problems))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// What came of reading all sources; `problems` has entries.
    pub(super) const fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// The problems, in the order of the sources; never empty.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// A name that is neither a setting nor, for a variable, one that wires a rank up.
    #[error(
        "{place} is not a setting{}",
        hint(nearest, "; `phalanx info` lists all settings")
    )]
    Unknown {
        /// Where the name is.
        place: Place,
        /// The names that are closest to it, if any is close.
        nearest: Vec<&'static str>,
    },
    /// A value that the setting does not take.
    #[error("{place}: expected {expected}, found {found}{}", hint(nearest, ""))]
    Value {
        /// Where the value is.
        place: Place,
        /// What the setting takes.
        expected: String,
        /// What was found instead.
        found: String,
        /// The words that are closest to what was found, if any is close.
        nearest: Vec<&'static str>,
    },
    /// Settings that are fine alone and do not go together.
    #[error("{0}")]
    Contradiction(String),
    /// A variable whose value is not text.
    #[error("the value of {variable} is not valid UTF-8; set it to {expected}")]
    NotText {
        /// The variable.
        variable: &'static str,
        /// What the setting takes.
        expected: String,
    },
    /// A file that is not TOML.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line in it, from 1.
        line: usize,
        /// What the parser of TOML says.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}, which {named_by} names: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What named the file.
        named_by: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line in it, from 1.
        line: usize,
        /// The key, with its section.
        key: String,
    },
    /// In this environment variable.
    Variable(String),
    /// In a flag, as this key.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, key } => write!(f, "{}:{line}: {key}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(key) => write!(f, "flag {key}"),
        }
    }
}

/// The known names at the least distance from `typed`, if that is no more than half of what was typed.
pub(super) fn nearest(
    typed: &str,
    known: impl IntoIterator<Item = &'static str>,
    distance: impl Fn(&str, &str) -> usize,
) -> Vec<&'static str> {
    let mut least = (typed.chars().count() / 2).clamp(1, MOST_EDITS);
    let mut names = Vec::new();
    for name in known {
        let edits = distance(typed, name);
        if edits < least {
            names.clear();
            least = edits;
        }
        if edits == least {
            names.push(name);
        }
    }
    names
}

fn hint(nearest: &[&str], otherwise: &str) -> String {
    if nearest.is_empty() {
        otherwise.to_owned()
    } else {
        format!("; did you mean {}?", alternatives(nearest))
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// More edits than this make another word, not a slip.
const MOST_EDITS: usize = 4;
