//! The place of a process in its world: rank, size, and where the node segment is.
//!
//! Half a set of variables is always an error. Guessing would turn a typing mistake in a job script into N worlds of
//! one that all print the right answer N times.

use std::os::fd::RawFd;

use crate::environment::{RANK, SEGMENT, SIZE};
use crate::foreign::ForeignLauncher;

/// Where a process stands in its world.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The rank of this process, below `size`.
    pub rank: usize,
    /// The number of ranks, at least one.
    pub size: usize,
    /// The segment shared by the ranks of this host; `None` only in a world of one.
    pub segment: Option<SegmentSource>,
}

/// How a rank gets hold of the node segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentSource {
    /// A descriptor that the launcher left open for the rank.
    Inherited(RawFd),
    /// Named shared memory, for ranks without a common parent.
    Named(String),
}

impl Place {
    /// The place of a process that no launcher started: rank 0 of 1.
    #[must_use]
    pub const fn alone() -> Self {
        Self {
            rank: 0,
            size: 1,
            segment: None,
        }
    }

    /// The place of rank `rank` of `size`, as a launcher hands it out.
    ///
    /// # Panics
    /// If `rank` is not below `size`.
    #[must_use]
    pub const fn new(rank: usize, size: usize, segment: SegmentSource) -> Self {
        assert!(rank < size, "a rank is below the size of its world");
        Self {
            rank,
            size,
            segment: Some(segment),
        }
    }

    /// Reads the place of this process from the environment `env`, in most programs
    /// `|name| std::env::var(name).ok()`.
    ///
    /// # Errors
    /// [`PlaceError::Foreign`] where only a foreign launcher's variables are there; the other variants where the
    /// variables of Phalanx are incomplete, malformed or contradict each other.
    ///
    /// # Examples
    /// ```
    /// use phalanx_wireup::{Place, SegmentSource};
    ///
    /// let environment = |name: &str| match name {
    ///     "PHALANX_RANK" => Some("2".to_owned()),
    ///     "PHALANX_SIZE" => Some("8".to_owned()),
    ///     "PHALANX_SEGMENT" => Some("fd:3".to_owned()),
    ///     _ => None,
    /// };
    /// let place = Place::discover(environment)?;
    /// assert_eq!((place.rank, place.size), (2, 8));
    /// assert_eq!(place.segment, Some(SegmentSource::Inherited(3)));
    ///
    /// assert_eq!(Place::discover(|_| None)?, Place::alone());
    /// # Ok::<(), phalanx_wireup::PlaceError>(())
    /// ```
    pub fn discover(env: impl Fn(&str) -> Option<String>) -> Result<Self, PlaceError> {
        let (rank, size) = match (env(RANK), env(SIZE)) {
            (Some(rank), Some(size)) => (number(RANK, &rank)?, number(SIZE, &size)?),
            (Some(value), None) => {
                return Err(PlaceError::Incomplete {
                    present: RANK,
                    value,
                    missing: SIZE,
                });
            }
            (None, Some(value)) => {
                return Err(PlaceError::Incomplete {
                    present: SIZE,
                    value,
                    missing: RANK,
                });
            }
            (None, None) => return Self::without_launcher(env),
        };
        if rank >= size {
            return Err(PlaceError::OutOfRange { rank, size });
        }
        let segment = env(SEGMENT).map(SegmentSource::parse).transpose()?;
        if size > 1 && segment.is_none() {
            return Err(PlaceError::NoSegment { size });
        }
        Ok(Self {
            rank,
            size,
            segment,
        })
    }

    /// The variables that make [`discover`](Self::discover) in a rank find this place. A launcher sets all of them and
    /// thereby replaces those of an outer job.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![(RANK, self.rank.to_string()), (SIZE, self.size.to_string())];
        variables.extend(
            self.segment
                .as_ref()
                .map(|segment| (SEGMENT, segment.to_string())),
        );
        variables
    }

    fn without_launcher(env: impl Fn(&str) -> Option<String>) -> Result<Self, PlaceError> {
        if let Some(value) = env(SEGMENT) {
            return Err(PlaceError::Incomplete {
                present: SEGMENT,
                value,
                missing: RANK,
            });
        }
        match ForeignLauncher::detect(env) {
            Some(launcher) => Err(PlaceError::Foreign(launcher)),
            None => Ok(Self::alone()),
        }
    }
}

impl SegmentSource {
    fn parse(value: String) -> Result<Self, PlaceError> {
        let parsed = match value.split_once(':') {
            Some(("fd", digits)) => digits
                .parse()
                .ok()
                .filter(|&fd: &RawFd| fd >= 0)
                .map(Self::Inherited),
            Some(("name", name)) if !name.is_empty() => Some(Self::Named(name.to_owned())),
            _ => None,
        };
        parsed.ok_or(PlaceError::BadSegment { value })
    }
}

/// The value of `PHALANX_SEGMENT`.
impl std::fmt::Display for SegmentSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inherited(descriptor) => write!(f, "fd:{descriptor}"),
            Self::Named(name) => write!(f, "name:{name}"),
        }
    }
}

/// Why the place of this process could not be found out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// One variable is there, its companion is not.
    #[error(
        "{present}={value} is set but {missing} is not: start the program with `phalanx run`, or set both"
    )]
    Incomplete {
        /// The variable that is set.
        present: &'static str,
        /// Its value.
        value: String,
        /// The variable that is missing.
        missing: &'static str,
    },
    /// A variable that must be a number is not one.
    #[error(
        "{variable}={value:?} is not a whole number from 0: start the program with `phalanx run`, or correct it"
    )]
    NotANumber {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// The rank is not below the size.
    #[error(
        "PHALANX_RANK={rank} is not below PHALANX_SIZE={size}: ranks count from 0, so the last one is one less than \
         the size"
    )]
    OutOfRange {
        /// The rank.
        rank: usize,
        /// The size.
        size: usize,
    },
    /// More than one rank and no segment to meet in.
    #[error(
        "PHALANX_SIZE={size} but PHALANX_SEGMENT is not set, so the ranks have no shared memory to meet in: start the \
         program with `phalanx run`, or give all ranks the same PHALANX_SEGMENT=name:NAME"
    )]
    NoSegment {
        /// The size.
        size: usize,
    },
    /// The segment's description is malformed.
    #[error(
        "PHALANX_SEGMENT={value:?} is neither fd:NUMBER nor name:NAME: start the program with `phalanx run`"
    )]
    BadSegment {
        /// The value.
        value: String,
    },
    /// The process was started, with others, by a launcher that Phalanx does not understand.
    #[error("{0}")]
    Foreign(ForeignLauncher),
}

fn number(variable: &'static str, value: &str) -> Result<usize, PlaceError> {
    value.parse().map_err(|_| PlaceError::NotANumber {
        variable,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests;
