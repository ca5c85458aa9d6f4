//! Settings: what a job can be told, from where, and which source won.
//!
//! There is one list of settings (`config/setting.rs`, documented in `docs/configuration.md`). Each has a
//! default, a key in a TOML file and an environment variable; later sources replace earlier ones:
//!
//! ```text
//! defaults  <  file named by PHALANX_CONFIG  <  PHALANX_* variables  <  flags
//! ```
//!
//! No file is read unless it is named. A name or a value that does not exist is an error that names the
//! nearest one that does, whatever the other sources say: a mistyped setting is never ignored. Each
//! value remembers where it came from, for `phalanx info`.

mod command;
mod field;
mod problem;
mod resolve;
mod setting;
mod text;
mod values;

#[cfg(test)]
mod tests;

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use resolve::{FILE_VARIABLE, Resolution};
use setting::{SETTINGS, position};
use values::Values;

pub use command::{CommandLine, NoCommand};
pub use problem::{ConfigError, Place, Problem};
pub use text::{TextError, parse_duration, parse_size, show_duration, show_size};
pub use values::{
    Binding, CheckSettings, LaunchSettings, MemorySettings, NetworkSettings, OtherHosts,
    ProtocolSettings, SameHost, TransportSettings, WaitPolicy, WaitSettings,
};

pub use phalanx_transport::quic::Congestion;
pub use phalanx_wireup::interfaces::Selection;

/// The value of every setting, and where each came from. Once made it does not change, so every value in it
/// has been checked.
///
/// # Examples
/// ```
/// use phalanx_runtime::config::{Config, WaitPolicy};
///
/// let config = Config::resolve(None, [], &[("wait.policy", "shared")])?;
/// assert_eq!(config.wait().policy, WaitPolicy::Shared);
/// assert_eq!(config.protocol().eager_limit, 16 * 1024);
/// # Ok::<(), phalanx_runtime::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    values: Values,
    /// In the order of the list of settings.
    origins: Vec<Origin>,
}

impl Config {
    /// The configuration of this process: defaults, the file that `PHALANX_CONFIG` names, and the variables.
    ///
    /// Reads the environment and at most one file.
    ///
    /// # Errors
    /// Every unknown or wrong setting, and a file that cannot be read.
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::load(None, &[])
    }

    /// As [`from_environment`](Self::from_environment), with what a command line adds: a `file` that is read
    /// instead of the one that `PHALANX_CONFIG` names, and `flags` as pairs of key and value.
    ///
    /// # Errors
    /// Every unknown or wrong setting, and a file that cannot be read.
    ///
    /// # Examples
    /// ```
    /// use phalanx_runtime::config::{Config, Origin};
    ///
    /// let config = Config::load(None, &[("launch.timeout", "60")])?;
    /// assert_eq!(config.origin("launch.timeout"), Some(&Origin::Flag));
    /// # Ok::<(), phalanx_runtime::config::ConfigError>(())
    /// ```
    pub fn load(file: Option<&Path>, flags: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let mut resolution = Resolution::default();
        let named = match file {
            Some(path) => Some((path.to_owned(), "the command line")),
            None => env::var_os(FILE_VARIABLE).map(|path| (path.into(), FILE_VARIABLE)),
        };
        if let Some((path, named_by)) = named {
            match fs::read_to_string(&path) {
                Ok(text) => resolution.file(&path, &text),
                Err(source) => resolution.problem(Problem::Unreadable {
                    path,
                    named_by,
                    source,
                }),
            }
        }
        resolution.complete(env::vars_os(), flags)
    }

    /// Puts a configuration together from given sources, and touches no other: the path and text of a TOML
    /// `file`, the environment variables `env` (others than `PHALANX_*` are skipped), and `flags` as pairs
    /// of key and value. Of equal names in one source the last one counts.
    ///
    /// # Errors
    /// Every unknown or wrong setting of all sources together.
    ///
    /// # Examples
    /// ```
    /// use phalanx_runtime::config::Config;
    ///
    /// let error = Config::resolve(None, [("PHALANX_EAGER_LIMT".into(), "8KiB".into())], &[]).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "PHALANX_EAGER_LIMT is not a setting; did you mean PHALANX_EAGER_LIMIT?"
    /// );
    /// ```
    pub fn resolve(
        file: Option<(&Path, &str)>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[(&str, &str)],
    ) -> Result<Self, ConfigError> {
        let mut resolution = Resolution::default();
        if let Some((path, text)) = file {
            resolution.file(path, text);
        }
        resolution.complete(env, flags)
    }

    /// Which transport joins which ranks.
    #[must_use]
    pub const fn transport(&self) -> &TransportSettings {
        &self.values.transport
    }

    /// How ranks talk over QUIC.
    #[must_use]
    pub const fn network(&self) -> &NetworkSettings {
        &self.values.network
    }

    /// The thresholds between the ways to move a message.
    #[must_use]
    pub const fn protocol(&self) -> &ProtocolSettings {
        &self.values.protocol
    }

    /// How much memory a rank may take.
    #[must_use]
    pub const fn memory(&self) -> &MemorySettings {
        &self.values.memory
    }

    /// What a rank does until a message comes.
    #[must_use]
    pub const fn wait(&self) -> &WaitSettings {
        &self.values.wait
    }

    /// How `phalanx run` starts the ranks.
    #[must_use]
    pub const fn launch(&self) -> &LaunchSettings {
        &self.values.launch
    }

    /// What is verified about received messages.
    #[must_use]
    pub const fn checks(&self) -> &CheckSettings {
        &self.values.checks
    }

    /// Where the value of the setting `key` came from; `None` if there is no such setting.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        position(key).map(|index| &self.origins[index])
    }

    /// Every setting with its value and origin, by section, as `phalanx info` prints them.
    ///
    /// A launcher that wants its ranks to see the same values exports `variable` and `value` of each entry
    /// that did not come from a default.
    ///
    /// # Examples
    /// ```
    /// use phalanx_runtime::config::Config;
    ///
    /// let config = Config::default();
    /// let wait = config.entries().find(|entry| entry.key == "wait.sleep").unwrap();
    /// assert_eq!((wait.value.as_str(), wait.origin.to_string().as_str()), ("10ms", "default"));
    /// ```
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        SETTINGS
            .iter()
            .zip(&self.origins)
            .map(|(row, origin)| Entry {
                key: row.key,
                variable: row.variable,
                value: row.field.show(self.values.clone()),
                origin,
                meaning: row.meaning,
            })
    }
}

/// Every setting at its default.
impl Default for Config {
    fn default() -> Self {
        Self {
            values: Values::default(),
            origins: vec![Origin::Default; SETTINGS.len()],
        }
    }
}

/// A setting as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// The section and the name in it, as in a file: `wait.policy`.
    pub key: &'static str,
    /// The environment variable: `PHALANX_WAIT`.
    pub variable: &'static str,
    /// The value, as it may be written in a file, a variable or a flag.
    pub value: String,
    /// Where the value came from.
    pub origin: &'a Origin,
    /// What the setting is for, in one line.
    pub meaning: &'static str,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// From nowhere: it is the default.
    Default,
    /// From this file.
    File(PathBuf),
    /// From this environment variable.
    Variable(&'static str),
    /// From the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}
