//! How large a segment is to be, and what can be.

use super::SegmentError;
use crate::layout::{ARENA_ALIGNMENT, MAX_RANKS, Plan};

/// How large a segment is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Ranks that share the segment.
    pub ranks: usize,
    /// Address space of each rank's arena in bytes; rounded up to a multiple of 2 MiB. Memory is taken only as it is used.
    pub arena_bytes: u64,
}

impl Shape {
    /// A shape for `ranks` ranks with arenas as large as a common address space lets them be: 64 GiB each, 4 TiB together.
    #[must_use]
    pub fn roomy(ranks: usize) -> Self {
        Self {
            ranks,
            arena_bytes: (64_u64 << 30).min((4 << 40) / ranks.max(1) as u64),
        }
    }

    pub(super) fn plan(self) -> Result<Plan, SegmentError> {
        if self.ranks == 0 || self.ranks > MAX_RANKS {
            return Err(SegmentError::Ranks(self.ranks));
        }
        let arena_bytes = usize::try_from(self.arena_bytes).unwrap_or(usize::MAX);
        arena_bytes
            .checked_next_multiple_of(ARENA_ALIGNMENT)
            .filter(|bytes| {
                bytes
                    .checked_mul(self.ranks + 1)
                    .is_some_and(|total| total < 1 << 46)
            })
            .map(|arena_bytes| Plan {
                ranks: self.ranks,
                arena_bytes,
            })
            .ok_or(SegmentError::Arena(self.arena_bytes))
    }
}
