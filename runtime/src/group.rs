//! Which world ranks a communicator consists of, and in which order.

use std::sync::Arc;

use rustc_hash::FxHashMap;

/// The members of a communicator. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Group {
    /// All ranks of the world, in order.
    World(usize),
    /// Some of them.
    Some(Arc<Members>),
}

/// Both directions of the numbering.
#[derive(Debug)]
pub(crate) struct Members {
    world_of: Vec<usize>,
    local_of: FxHashMap<usize, usize>,
}

impl Members {
    /// The members' numbers in the world.
    pub(crate) fn world_ranks(&self) -> impl Iterator<Item = usize> + '_ {
        self.world_of.iter().copied()
    }
}

impl Group {
    /// The group whose rank k is the world's rank `world_of[k]`.
    pub(crate) fn of(world_of: Vec<usize>) -> Self {
        let local_of = world_of
            .iter()
            .enumerate()
            .map(|(local, &world)| (world, local))
            .collect();
        Self::Some(Arc::new(Members { world_of, local_of }))
    }

    #[inline]
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::World(size) => *size,
            Self::Some(members) => members.world_of.len(),
        }
    }

    /// The world's number for the group's rank.
    #[inline]
    pub(crate) fn world_rank(&self, local: usize) -> Option<usize> {
        match self {
            Self::World(size) => (local < *size).then_some(local),
            Self::Some(members) => members.world_of.get(local).copied(),
        }
    }

    /// The group's number for a rank of the world that is a member.
    #[inline]
    pub(crate) fn local_rank(&self, world: usize) -> usize {
        match self {
            Self::World(_) => world,
            Self::Some(members) => members.local_of.get(&world).copied().unwrap_or(usize::MAX),
        }
    }
}
