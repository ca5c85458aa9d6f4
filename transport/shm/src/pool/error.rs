//! Why there is no block, and what to do about it.

use crate::layout::RETURNS;
use crate::segment::SegmentError;

/// Why there is no block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// Too many blocks are with this borrower; it has to return some first.
    #[error(
        "rank {borrower} holds {RETURNS} blocks of this rank: let it drop some of what it received"
    )]
    Lent {
        /// The rank that holds them.
        borrower: usize,
    },
    /// The pool may not grow further.
    #[error(
        "the pool has {taken} of {limit} bytes and needs {wanted} more: raise PHALANX_POOL_LIMIT or drop received messages"
    )]
    Limit {
        /// Bytes taken so far.
        taken: usize,
        /// The limit.
        limit: usize,
        /// Bytes asked for.
        wanted: usize,
    },
    /// The arena's address space is used up.
    #[error(
        "the arena of {arena} bytes has no room for {wanted} more: raise memory.arena (PHALANX_ARENA)"
    )]
    Arena {
        /// Size of the arena.
        arena: usize,
        /// Bytes asked for.
        wanted: usize,
    },
    /// The kernel has no memory.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A borrower returned what it did not have.
    #[error(
        "rank {borrower} returned block {block}, which it does not hold: its memory is damaged"
    )]
    Corrupted {
        /// The rank.
        borrower: usize,
        /// The number it named.
        block: u32,
    },
}
