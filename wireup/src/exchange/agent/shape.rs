//! What an agent has to know before it begins: who is below it.

use super::{RankSet, Who};
use crate::exchange::MAX_RANKS;

/// Who is below an agent or the root.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::{Agent, Shape};
///
/// // A root that serves two hosts of four ranks each.
/// let shape = Shape::new(8).with_agent(0, 0..4).with_agent(1, 4..8);
/// assert!(Agent::root(shape).is_ok());
/// // Rank 7 would be nowhere.
/// let error = Agent::root(Shape::new(8).with_ranks(0..7)).unwrap_err();
/// assert_eq!(error.to_string(), "rank 7 has no place in the tree: give every rank of the job a parent");
/// ```
#[derive(Clone, Debug)]
pub struct Shape {
    pub(super) size: u32,
    pub(super) ranks: RankSet,
    agents: Vec<(u32, RankSet)>,
}

impl Shape {
    /// A job of `size` ranks, and nobody below yet.
    #[must_use]
    pub fn new(size: u32) -> Self {
        Self {
            size,
            ranks: RankSet::default(),
            agents: Vec::new(),
        }
    }

    /// With `ranks` as children: those of its own host, or all ranks of a bare start.
    #[must_use]
    pub fn with_ranks(mut self, ranks: impl Into<RankSet>) -> Self {
        self.ranks = self.ranks.union(&ranks.into());
        self
    }

    /// With agent `number` as a child, and `ranks` below that.
    #[must_use]
    pub fn with_agent(mut self, number: u32, ranks: impl Into<RankSet>) -> Self {
        self.agents.push((number, ranks.into()));
        self
    }

    /// All ranks below, if each is below one child only.
    pub(super) fn check(&self) -> Result<RankSet, ShapeError> {
        let mut below = self.ranks.clone();
        for (number, ranks) in &self.agents {
            if below.overlaps(ranks) || ranks.is_empty() {
                let agent = Who::Agent(*number);
                let ranks = ranks.clone();
                return Err(ShapeError::Agent { agent, ranks });
            }
            below = below.union(ranks);
        }
        let is_twice = self.children().len() != self.ranks.len() + self.agents.len();
        let size = self.size;
        if is_twice || below.is_empty() || below.last() >= Some(size) || size > MAX_RANKS {
            return Err(ShapeError::Numbers { size, below });
        }
        if !self.ranks.is_portion() {
            return Err(ShapeError::Scattered);
        }
        Ok(below)
    }

    /// Each child and the ranks below it.
    pub(super) fn children(&self) -> std::collections::BTreeMap<Who, RankSet> {
        let ranks = self.ranks.iter();
        let ranks = ranks.map(|rank| (Who::Rank(rank), RankSet::from(rank..rank + 1)));
        let agents = self.agents.iter();
        ranks
            .chain(agents.map(|(number, ranks)| (Who::Agent(*number), ranks.clone())))
            .collect()
    }
}

/// A tree that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// An agent's ranks are elsewhere too, or it has none.
    #[error(
        "{agent} cannot have {ranks}: give each agent at least one rank, and each rank one parent"
    )]
    Agent {
        /// The agent.
        agent: Who,
        /// Its ranks.
        ranks: RankSet,
    },
    /// Ranks without a parent.
    #[error("{missing} has no place in the tree: give every rank of the job a parent")]
    Missing {
        /// The ranks.
        missing: RankSet,
    },
    /// Numbers of ranks or agents that cannot be.
    #[error(
        "a job of {size} ranks cannot have {below} below one agent: number ranks from 0, agents once, and have at most \
         {MAX_RANKS} ranks"
    )]
    Numbers {
        /// Ranks of the job.
        size: u32,
        /// Ranks below.
        below: RankSet,
    },
    /// The ranks of one host are too scattered for a frame.
    #[error(
        "the ranks of one host lie in more than 4096 pieces: number the ranks of a host one after the other"
    )]
    Scattered,
}
