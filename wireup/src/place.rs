//! The place of a process in its world: rank, size, where the node segment is, and how to reach the wire-up.
//!
//! Half a set of variables is always an error. Guessing would turn a typing mistake in a job script into N worlds of
//! one that all print the right answer N times.

use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;

use crate::environment::{JOB, RANK, REACHED, RENDEZVOUS, SEGMENT, SIZE, TOKEN_FILE};
use crate::foreign::ForeignLauncher;
use crate::slurm::SlurmStep;

/// Where a process stands in its world.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The rank of this process, below `size`.
    pub rank: usize,
    /// The number of ranks, at least one.
    pub size: usize,
    /// The segment shared by the ranks of this host; `None` in a world of one, and where the wire-up has to tell.
    pub segment: Option<SegmentSource>,
    /// How to reach the wire-up; `None` where all ranks are on this host.
    pub wireup: Option<WireupSource>,
    /// The public number of the job, where its launcher has given it one.
    pub job: Option<[u8; 16]>,
    /// The address by which the launcher reached this host.
    pub reached: Option<IpAddr>,
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

/// How a rank reaches the wire-up, which tells it of the ranks on other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireupSource {
    /// A byte stream to the agent of this host, which the launcher left open for the rank.
    Inherited(RawFd),
    /// The address of a rendezvous, for ranks that nobody of ours started.
    Rendezvous {
        /// The address, `host:port`.
        address: String,
        /// The file with the token that secures the channel.
        token_file: PathBuf,
    },
}

impl Place {
    /// The place of a process that no launcher started: rank 0 of 1.
    #[must_use]
    pub const fn alone() -> Self {
        Self {
            rank: 0,
            size: 1,
            segment: None,
            wireup: None,
            job: None,
            reached: None,
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
            wireup: None,
            job: None,
            reached: None,
        }
    }

    /// The same place, in the job of this number.
    ///
    /// # Examples
    /// ```
    /// use phalanx_wireup::{Place, SegmentSource};
    ///
    /// let place = Place::new(2, 8, SegmentSource::Inherited(3)).with_job([0xa5; 16]);
    /// assert!(place.variables().contains(&("PHALANX_JOB", "a5".repeat(16))));
    /// ```
    #[must_use]
    pub fn with_job(self, job: [u8; 16]) -> Self {
        Self {
            job: Some(job),
            ..self
        }
    }

    /// The same place, on a host that the launcher reached at `address`.
    ///
    /// # Examples
    /// ```
    /// use phalanx_wireup::{Place, SegmentSource};
    ///
    /// let place = Place::new(2, 8, SegmentSource::Inherited(3)).with_reached("192.0.2.7".parse()?);
    /// assert!(place.variables().contains(&("PHALANX_REACHED", "192.0.2.7".to_owned())));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn with_reached(self, address: IpAddr) -> Self {
        Self {
            reached: Some(address),
            ..self
        }
    }

    /// The same place, reaching ranks on other hosts through `wireup`.
    ///
    /// # Examples
    /// ```
    /// use phalanx_wireup::{Place, SegmentSource, WireupSource};
    ///
    /// let place = Place::new(2, 8, SegmentSource::Inherited(3)).with_wireup(WireupSource::Inherited(4));
    /// assert!(place.variables().contains(&("PHALANX_RENDEZVOUS", "fd:4".to_owned())));
    /// ```
    #[must_use]
    pub fn with_wireup(self, wireup: WireupSource) -> Self {
        Self {
            wireup: Some(wireup),
            ..self
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
        let wireup = WireupSource::discover(&env)?;
        let (rank, size) = match (env(RANK), env(SIZE)) {
            (Some(rank), Some(size)) => (number(RANK, &rank)?, number(SIZE, &size)?),
            (Some(value), None) => return Err(PlaceError::incomplete(RANK, value, SIZE)),
            (None, Some(value)) => return Err(PlaceError::incomplete(SIZE, value, RANK)),
            (None, None) => match Self::numbered_by_slurm(&env, wireup.as_ref()) {
                Some(numbers) => numbers,
                None => return Self::without_launcher(env),
            },
        };
        if rank >= size {
            return Err(PlaceError::OutOfRange { rank, size });
        }
        let segment = env(SEGMENT).map(SegmentSource::parse).transpose()?;
        if size > 1 && segment.is_none() && wireup.is_none() {
            return Err(PlaceError::NoSegment { size });
        }
        Ok(Self {
            rank,
            size,
            segment,
            wireup,
            job: given(&env, JOB).map(job).transpose()?,
            reached: given(&env, REACHED).map(address).transpose()?,
        })
    }

    /// The variables that make [`discover`](Self::discover) in a rank find this place. A launcher sets all of them and
    /// thereby replaces those of an outer job; some are therefore there also when they are empty.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![(RANK, self.rank.to_string()), (SIZE, self.size.to_string())];
        variables.extend(
            self.segment
                .as_ref()
                .map(|segment| (SEGMENT, segment.to_string())),
        );
        let rendezvous = self.wireup.as_ref().map(ToString::to_string);
        variables.push((RENDEZVOUS, rendezvous.unwrap_or_default()));
        let digits = |job: &[u8; 16]| job.iter().map(|byte| format!("{byte:02x}")).collect();
        variables.push((JOB, self.job.as_ref().map(digits).unwrap_or_default()));
        let reached = self.reached.as_ref().map(ToString::to_string);
        variables.push((REACHED, reached.unwrap_or_default()));
        if let Some(WireupSource::Rendezvous { token_file, .. }) = &self.wireup {
            variables.push((TOKEN_FILE, token_file.display().to_string()));
        }
        variables
    }

    /// Slurm numbers the ranks only where the user says how they shall meet; without that `srun` is a foreign launcher.
    fn numbered_by_slurm(
        env: &impl Fn(&str) -> Option<String>,
        wireup: Option<&WireupSource>,
    ) -> Option<(usize, usize)> {
        let step = wireup.and_then(|_| SlurmStep::detect(env))?;
        Some((step.rank(), step.size()))
    }

    fn without_launcher(env: impl Fn(&str) -> Option<String>) -> Result<Self, PlaceError> {
        if let Some(value) = env(SEGMENT) {
            return Err(PlaceError::incomplete(SEGMENT, value, RANK));
        }
        let rendezvous = env(RENDEZVOUS).filter(|value| !value.is_empty());
        match (ForeignLauncher::detect(env), rendezvous) {
            (Some(launcher), _) => Err(PlaceError::Foreign(launcher)),
            (None, Some(value)) => Err(PlaceError::incomplete(RENDEZVOUS, value, RANK)),
            (None, None) => Ok(Self::alone()),
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

impl WireupSource {
    fn discover(env: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, PlaceError> {
        let token_file = env(TOKEN_FILE);
        let Some(value) = env(RENDEZVOUS) else {
            return match token_file {
                Some(value) => Err(PlaceError::incomplete(TOKEN_FILE, value, RENDEZVOUS)),
                None => Ok(None),
            };
        };
        // An empty one is the word of a launcher that hides an outer job's, whose token file then means nothing either.
        if value.is_empty() {
            return Ok(None);
        }
        let Some((host, port)) = value.rsplit_once(':') else {
            return Err(PlaceError::BadRendezvous { value });
        };
        if host == "fd" {
            return match port.parse() {
                Ok(fd) if fd >= 0 => Ok(Some(Self::Inherited(fd))),
                _ => Err(PlaceError::BadRendezvous { value }),
            };
        }
        // An IPv6 address without brackets would lose its last group to the port.
        let is_bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if host.is_empty() || is_bare_ipv6 || !is_port {
            return Err(PlaceError::BadRendezvous { value });
        }
        match token_file {
            Some(file) if !file.is_empty() => Ok(Some(Self::Rendezvous {
                address: value,
                token_file: file.into(),
            })),
            _ => Err(PlaceError::incomplete(RENDEZVOUS, value, TOKEN_FILE)),
        }
    }
}

/// The value of `PHALANX_RENDEZVOUS`.
impl std::fmt::Display for WireupSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inherited(descriptor) => write!(f, "fd:{descriptor}"),
            Self::Rendezvous { address, .. } => f.write_str(address),
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
         program with `phalanx run`, give all ranks of one host the same PHALANX_SEGMENT=name:NAME, or set \
         PHALANX_RENDEZVOUS and PHALANX_TOKEN_FILE"
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
    /// The address of the rendezvous is malformed.
    #[error(
        "PHALANX_RENDEZVOUS={value:?} is neither HOST:PORT nor fd:NUMBER: name the host and a port from 1 to 65535 \
         where the ranks meet, an IPv6 address in brackets"
    )]
    BadRendezvous {
        /// The value.
        value: String,
    },
    /// The number of the job is malformed.
    #[error(
        "PHALANX_JOB={value:?} is not 32 hexadecimal digits: start the program with `phalanx run`, or leave it out"
    )]
    BadJob {
        /// The value.
        value: String,
    },
    /// The address by which this host was reached is malformed.
    #[error(
        "PHALANX_REACHED={value:?} is no IP address: start the program with `phalanx run`, or leave it out"
    )]
    BadAddress {
        /// The value.
        value: String,
    },
    /// The process was started, with others, by a launcher that Phalanx does not understand.
    #[error("{0}")]
    Foreign(ForeignLauncher),
}

impl PlaceError {
    const fn incomplete(present: &'static str, value: String, missing: &'static str) -> Self {
        Self::Incomplete {
            present,
            value,
            missing,
        }
    }
}

/// A variable that counts as not set when it is empty.
fn given(env: &impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}

fn job(value: String) -> Result<[u8; 16], PlaceError> {
    let is_number = value.len() == 32 && value.bytes().all(|digit| digit.is_ascii_hexdigit());
    match u128::from_str_radix(&value, 16) {
        Ok(number) if is_number => Ok(number.to_be_bytes()),
        _ => Err(PlaceError::BadJob { value }),
    }
}

fn address(value: String) -> Result<IpAddr, PlaceError> {
    value.parse().map_err(|_| PlaceError::BadAddress { value })
}

fn number(variable: &'static str, value: &str) -> Result<usize, PlaceError> {
    value.parse().map_err(|_| PlaceError::NotANumber {
        variable,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests;
