//! Counting who has arrived at a fence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whom a fence waits for.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::Scope;
///
/// assert_eq!(Scope::Host.to_string(), "all ranks of the host");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Scope {
    /// The ranks below one agent.
    Host,
    /// All ranks.
    Job,
}

impl Scope {
    /// Both, in the order of their indices.
    pub(super) const ALL: [Self; 2] = [Self::Host, Self::Job];

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Host => 0,
            Self::Job => 1,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "all ranks of the host",
            Self::Job => "all ranks of the job",
        })
    }
}

/// An agent's side of one scope: the fences passed, and how many children stand before the next.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Fences that all have passed.
    pub(super) passed: u32,
    /// Children that have arrived at the next.
    pub(super) arrived: usize,
    /// Children that have to.
    pub(super) of: usize,
}

impl Gate {
    /// The number of the fence that children arrive at now.
    pub(super) const fn round(&self) -> u32 {
        self.passed.wrapping_add(1)
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.arrived == self.of
    }

    pub(super) const fn open(&mut self) {
        self.passed = self.round();
        self.arrived = 0;
    }
}
