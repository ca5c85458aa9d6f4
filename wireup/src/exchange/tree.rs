//! The tree over many hosts.
//!
//! ```text
//!   fan-out 2, one agent for each host:      root
//!                                           /    \
//!                                     agent 0    agent 1
//!                                     /    \      /    \
//!                                   2       3    4      5
//! ```

use super::{Agent, RankSet, Shape, ShapeError, Who};

/// Lays out one agent for each host below a root, at most `fan_out` below each.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::{Tree, Who};
///
/// // Four hosts with two ranks each.
/// let tree = Tree::new((0_u32..4).map(|host| (host * 2..host * 2 + 2).into()).collect(), 2);
/// assert_eq!(tree.parent(1), Who::Root);
/// assert_eq!(tree.parent(2), Who::Agent(0));
/// assert_eq!(tree.agent(2)?.parent(), Some(Who::Agent(0)));
/// # Ok::<(), phalanx_wireup::exchange::ShapeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    /// The ranks of each host, whose index is its agent's number.
    hosts: Vec<RankSet>,
    /// Those and the ranks of the agents below.
    subtrees: Vec<RankSet>,
    size: u32,
    fan_out: usize,
}

impl Tree {
    /// The tree over hosts with these ranks.
    ///
    /// # Panics
    /// If `fan_out` is zero.
    #[must_use]
    pub fn new(hosts: Vec<RankSet>, fan_out: usize) -> Self {
        assert!(fan_out > 0, "a tree needs branches");
        let mut subtrees = hosts.clone();
        for index in (fan_out..hosts.len()).rev() {
            let parent = (index - fan_out) / fan_out;
            subtrees[parent] = subtrees[parent].union(&subtrees[index]);
        }
        let ranks: usize = hosts.iter().map(RankSet::len).sum();
        Self {
            hosts,
            subtrees,
            // More ranks than can be counted are refused when the root is made.
            size: u32::try_from(ranks).unwrap_or(u32::MAX),
            fan_out,
        }
    }

    /// The parent of agent `number`.
    #[must_use]
    pub fn parent(&self, number: u32) -> Who {
        let above = (number as usize).checked_sub(self.fan_out);
        above
            .and_then(|index| u32::try_from(index / self.fan_out).ok())
            .map_or(Who::Root, Who::Agent)
    }

    /// The root.
    ///
    /// # Errors
    /// When the hosts have not every rank of the job exactly once, or a host has none.
    pub fn root(&self) -> Result<Agent, ShapeError> {
        Agent::root(self.with_agents(Shape::new(self.size), 0))
    }

    /// Agent `number`.
    ///
    /// # Errors
    /// When a rank is on two hosts, or the host has none.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn agent(&self, number: u32) -> Result<Agent, ShapeError> {
        let index = number as usize;
        let shape = Shape::new(self.size).with_ranks(self.hosts[index].clone());
        let first = (index + 1) * self.fan_out;
        Agent::below(number, self.parent(number), self.with_agents(shape, first))
    }

    /// `shape` with the agents from `first` on below it.
    fn with_agents(&self, shape: Shape, first: usize) -> Shape {
        let end = self.subtrees.len().min(first.saturating_add(self.fan_out));
        (first..end).fold(shape, |shape, index| {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            shape.with_agent(number, self.subtrees[index].clone())
        })
    }
}
