//! From sources to a configuration: reads each source, finds its settings in the list, keeps the problems.
//!
//! Pure: the text of the file, the variables and the flags are arguments. A problem does not stop the
//! reading, so that everything wrong is reported at once.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use strsim::osa_distance;
use toml::de::{DeTable, DeValue};

use super::{
    Config, Origin,
    problem::{ConfigError, Place, Problem, nearest},
    setting::{SETTINGS, position},
    text::show_size,
};

/// A configuration that is being put together, from the weakest source to the strongest.
#[derive(Default)]
pub(super) struct Resolution {
    config: Config,
    problems: Vec<Problem>,
}

impl Resolution {
    /// Takes the settings of a TOML file with this text.
    pub(super) fn file(&mut self, path: &Path, text: &str) {
        let line_of = |offset| {
            1 + text
                .bytes()
                .take(offset)
                .filter(|byte| *byte == b'\n')
                .count()
        };
        let (document, faults) = DeTable::parse_recoverable(text);
        if !faults.is_empty() {
            self.problems
                .extend(faults.iter().map(|fault| Problem::Syntax {
                    path: path.to_owned(),
                    line: line_of(fault.span().map_or(0, |span| span.start)),
                    reason: fault.message().to_owned(),
                }));
            return;
        }
        let mut entries = Vec::new();
        flatten(document.get_ref(), "", &mut entries);
        entries.sort_by_key(|entry| entry.offset);
        for entry in entries {
            let place = Place::File {
                path: path.to_owned(),
                line: line_of(entry.offset),
                key: entry.key.clone(),
            };
            self.entry(&entry, place);
        }
    }

    /// Takes an environment variable, if it is one of ours.
    fn variable(&mut self, name: &OsStr, value: &OsStr) {
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            return;
        }
        let name = name.to_string_lossy();
        if WIRING.contains(&name.as_ref()) {
            return;
        }
        let place = Place::Variable(name.to_string());
        let Some(index) = SETTINGS.iter().position(|row| row.variable == name) else {
            let known = SETTINGS.iter().map(|row| row.variable).chain(WIRING);
            // The prefix that all share says nothing about which one was meant.
            let nearest = nearest(bare(&name), known, |name, known| {
                osa_distance(name, bare(known))
            });
            self.problems.push(Problem::Unknown { place, nearest });
            return;
        };
        match value.to_str() {
            Some(text) => self.assign(index, text, place),
            None => self.problems.push(Problem::NotText {
                variable: SETTINGS[index].variable,
                expected: SETTINGS[index].field.expected(),
            }),
        }
    }

    /// Takes the setting `key` from the command line.
    fn flag(&mut self, key: &str, text: &str) {
        let place = Place::Flag(key.to_owned());
        match position(key) {
            Some(index) => self.assign(index, text, place),
            None => self.unknown_key(key, place),
        }
    }

    /// Notes a problem that reading a source met before its settings were seen.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Takes the two sources that are stronger than a file; the configuration is then complete.
    pub(super) fn complete(
        mut self,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[(&str, &str)],
    ) -> Result<Config, ConfigError> {
        for (name, value) in env {
            self.variable(&name, &value);
        }
        for (key, text) in flags {
            self.flag(key, text);
        }
        self.finish()
    }

    /// The configuration, if nothing was wrong.
    fn finish(mut self) -> Result<Config, ConfigError> {
        if self.problems.is_empty() {
            self.problems.extend(contradiction(&self.config));
        }
        if self.problems.is_empty() {
            Ok(self.config)
        } else {
            Err(ConfigError::new(self.problems))
        }
    }

    fn entry(&mut self, entry: &Entry<'_>, place: Place) {
        let expected = match position(&entry.key) {
            Some(index) => match scalar(entry.value) {
                Some(text) => return self.assign(index, &text, place),
                None => SETTINGS[index].field.expected(),
            },
            None if is_section(&entry.key) => "a table of settings".to_owned(),
            None => return self.unknown_key(&entry.key, place),
        };
        self.problems.push(Problem::Value {
            place,
            expected,
            found: format!("a value of type {}", entry.value.type_str()),
            nearest: Vec::new(),
        });
    }

    fn assign(&mut self, index: usize, text: &str, place: Place) {
        let row = &SETTINGS[index];
        let text = text.trim();
        if row.field.assign(&mut self.config.values, text).is_some() {
            self.config.origins[index] = match place {
                Place::File { path, .. } => Origin::File(path),
                Place::Variable(_) => Origin::Variable(row.variable),
                Place::Flag(_) => Origin::Flag,
            };
            return;
        }
        self.problems.push(Problem::Value {
            place,
            expected: row.field.expected(),
            found: format!("`{}`", text.escape_debug()),
            nearest: nearest(text, row.field.words(), osa_distance),
        });
    }

    fn unknown_key(&mut self, key: &str, place: Place) {
        let keys = SETTINGS.iter().map(|row| row.key);
        let nearest = nearest(key, keys, |key, known| {
            // The right name in the wrong section is a near miss too.
            osa_distance(key, known).min(1 + osa_distance(name(key), name(known)))
        });
        self.problems.push(Problem::Unknown { place, nearest });
    }
}

/// A key of a file with its sections, its value, and where in the text it is.
struct Entry<'a> {
    key: String,
    value: &'a DeValue<'a>,
    offset: usize,
}

/// Collects what `table` holds, down to whatever is not a table of further entries.
fn flatten<'a>(table: &'a DeTable<'a>, section: &str, entries: &mut Vec<Entry<'a>>) {
    for (name, value) in table {
        let part = name.get_ref();
        // Quoted where a file needs quotes: a dot inside a name is not the dot between section and name.
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let part = if part.bytes().all(bare) {
            part.to_string()
        } else {
            format!("{part:?}")
        };
        let key = if section.is_empty() {
            part
        } else {
            format!("{section}.{part}")
        };
        match value.get_ref() {
            DeValue::Table(inner)
                if position(&key).is_none() && (is_section(&key) || !inner.is_empty()) =>
            {
                flatten(inner, &key, entries);
            }
            value => entries.push(Entry {
                key,
                value,
                offset: name.span().start,
            }),
        }
    }
}

/// A plain value of a file as it would be written in a variable; `None` for a table, an array or a date.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        // Hexadecimal and the like become decimal; a number too large to convert is out of every range anyway.
        DeValue::Integer(number) => Some(
            i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn is_section(key: &str) -> bool {
    SETTINGS.iter().any(|row| {
        row.key
            .split_once('.')
            .is_some_and(|(section, _)| section == key)
    })
}

/// The name of a variable without the prefix.
fn bare(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// The part of a key after its section.
fn name(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

fn contradiction(config: &Config) -> Option<Problem> {
    let protocol = config.protocol();
    let window = protocol.chunk_window;
    (window < protocol.chunk_size).then(|| {
        Problem::Contradiction(format!(
            "protocol.chunk_window ({}) is less than one chunk of protocol.chunk_size ({}); raise the one or lower the other",
            show_size(window),
            show_size(protocol.chunk_size),
        ))
    })
}

/// What the names of all our environment variables start with.
const PREFIX: &str = "PHALANX_";

/// The variable that names the file.
pub(super) const FILE_VARIABLE: &str = "PHALANX_CONFIG";

/// Variables that tell a rank who it is and where to find the others. They are no settings.
pub(super) const WIRING: [&str; 8] = [
    "PHALANX_RANK",
    "PHALANX_SIZE",
    "PHALANX_SEGMENT",
    "PHALANX_RENDEZVOUS",
    "PHALANX_TOKEN_FILE",
    "PHALANX_JOB",
    "PHALANX_REACHED",
    FILE_VARIABLE,
];
