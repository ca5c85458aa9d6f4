//! Why there is no block, and what to do about it.

use std::collections::TryReserveError;

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
    /// A block comes back once from each reader, so a reader is named once.
    #[error("rank {borrower} is named twice as a reader of one block: name each reader once")]
    NamedTwice {
        /// The reader.
        borrower: usize,
    },
    /// The block is of another rank, or of another job: its own rank alone can lend it.
    #[error(
        "rank {rank} cannot lend a block of another pool, that of rank {owner}: copy the bytes into a block of its own"
    )]
    Foreign {
        /// The rank that tried.
        rank: usize,
        /// The rank whose block it is.
        owner: usize,
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
    /// The process has no memory for the pool's records.
    #[error(
        "no memory to record another block ({0}): raise the limit on address space (ulimit -v) or drop received messages"
    )]
    Records(#[source] TryReserveError),
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
