//! Which hosts a job may use, and which rank runs on which of them.
//!
//! ```text
//!   --host a:4,b:4          parse_list --+
//!   --hostfile FILE         parse_file --+--> Vec<HostSlots> --> place --> the host of each rank
//!   SLURM_JOB_NODELIST ..   from_slurm --+
//! ```
//!
//! Nothing is looked up: whether a host exists, and which of two names is the same machine, is for ssh or Slurm to say. A
//! name that begins with a hyphen is refused, since ssh would take it for an option.

use std::fmt;

mod cursor;
mod hostfile;
mod nodes;
mod placement;
#[cfg(test)]
mod tests;

pub use hostfile::{parse_file, parse_list};
pub use nodes::{expand_nodes, from_slurm};
pub use placement::{MapBy, Overload, PlacementError, place};

/// A host and how many ranks it takes.
///
/// # Examples
/// ```
/// use phalanx_wireup::hostlist::{HostSlots, parse_list};
///
/// assert_eq!(parse_list("node01:4")?, [HostSlots::new("node01", 4)]);
/// # Ok::<(), phalanx_wireup::hostlist::HostListError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostSlots {
    /// Its name or address, with the user before an `@` where one was given; an IPv6 address has no brackets.
    pub host: String,
    /// Ranks that it takes, at least one.
    pub slots: u32,
    /// Ranks that it takes when more are placed than there are slots; `None` where nothing limits them.
    pub max_slots: Option<u32>,
}

impl HostSlots {
    /// A host that takes `slots` ranks.
    #[must_use]
    pub fn new(host: impl Into<String>, slots: u32) -> Self {
        Self {
            host: host.into(),
            slots,
            max_slots: None,
        }
    }
}

/// A list of hosts that cannot be understood: where, what, and the cure.
///
/// # Examples
/// ```
/// use phalanx_wireup::hostlist::parse_file;
///
/// let error = parse_file("node01 slots=4\nnode02 slots=four\n").unwrap_err();
/// assert_eq!((error.line, error.column), (2, 14));
/// assert_eq!(
///     error.to_string(),
///     "line 2, column 14: \"four\" is no number of ranks: write a whole number from 1 to 65535"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {found:?} {problem}")]
#[non_exhaustive]
pub struct HostListError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The text that stands there.
    pub found: String,
    /// What is wrong with it.
    pub problem: HostListProblem,
}

/// What can be wrong in a list of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostListProblem {
    /// Nothing names a host.
    NoHost,
    /// The name has a character that no host has, or begins with a hyphen.
    BadName,
    /// Not a number of slots.
    BadSlots,
    /// Not one of the words that may stand after a host.
    UnknownKey,
    /// A word without its value.
    NoValue,
    /// The number of slots or its limit is given a second time.
    Twice,
    /// The limit is below the number of slots.
    MaximumBelowSlots,
    /// A bracket is not closed, or was not opened.
    Bracket,
    /// Not a range of numbers.
    BadRange,
    /// More hosts than a list may have.
    TooManyHosts,
    /// More nodes than there are numbers of tasks, or the other way round.
    TasksDoNotFit,
}

impl fmt::Display for HostListProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHost => "names no host: write HOST or HOST:SLOTS, such as node01:4",
            Self::BadName => {
                "is no name of a host: use letters, digits, dots, hyphens (not first) and underscores, and put an IPv6 \
                 address in brackets"
            }
            Self::BadSlots => "is no number of ranks: write a whole number from 1 to 65535",
            Self::UnknownKey => "is not known here: use slots=N, max_slots=N, or MPICH's binding= and ifname=",
            Self::NoValue => "has no value: write KEY=VALUE, such as slots=4",
            Self::Twice => "says a second time how many ranks the host takes: remove one of the two",
            Self::MaximumBelowSlots => "is less than the slots of the host: raise max_slots or lower slots",
            Self::Bracket => "has a bracket without its partner: write ranges as node[01-04,07]",
            Self::BadRange => "is no range of numbers: write FIRST-LAST with FIRST not above LAST, such as 01-04",
            Self::TooManyHosts => "makes more than 65536 hosts: shorten the ranges",
            Self::TasksDoNotFit => {
                "does not give each node its number of tasks: pass the two variables of one Slurm step or job"
            }
        })
    }
}

/// Puts `entry` into `hosts`. A host that is named again brings further slots, as with the launchers of the MPIs.
fn add(hosts: &mut Vec<HostSlots>, entry: HostSlots) {
    match hosts.iter_mut().find(|known| known.host == entry.host) {
        Some(known) => {
            known.max_slots = match (known.max_slots, entry.max_slots) {
                (None, None) => None,
                (first, second) => Some(
                    first
                        .unwrap_or(known.slots)
                        .saturating_add(second.unwrap_or(entry.slots)),
                ),
            };
            known.slots = known.slots.saturating_add(entry.slots);
        }
        None => hosts.push(entry),
    }
}

/// Far more than any cluster has, and little memory.
const MOST_HOSTS: usize = 65_536;

/// Far more ranks than a host can run.
const MOST_SLOTS: u32 = 65_535;
