//! How a pool may use its arena, and which settings cannot be.

use super::LARGEST;
use crate::layout::LINE;
use crate::segment::SegmentError;

/// How a pool uses its arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSettings {
    /// Bytes of one chunk of a pipelined transfer; a power of two, and at least a cache line.
    pub chunk_size: usize,
    /// Bytes of all chunks together.
    pub chunk_window: usize,
    /// Bytes of memory that the pool may take, if limited.
    pub limit: Option<usize>,
}

impl PoolSettings {
    /// Settings of their parts.
    #[must_use]
    pub const fn new(chunk_size: usize, chunk_window: usize, limit: Option<usize>) -> Self {
        Self {
            chunk_size,
            chunk_window,
            limit,
        }
    }

    /// Refuses a chunk that is not a power of two of cache lines: blocks begin on a line, and the window is divided by it.
    pub(crate) fn check(&self) -> Result<(), SegmentError> {
        let size = self.chunk_size;
        if size.is_power_of_two() && (LINE..=LARGEST).contains(&size) {
            Ok(())
        } else {
            Err(SegmentError::ChunkSize(size))
        }
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            chunk_size: 32 << 10,
            chunk_window: 1 << 20,
            limit: None,
        }
    }
}
