//! Memory of the process for what a pool knows of its blocks: an error where it runs out, before anything has changed.

use std::collections::TryReserveError;

use super::{PoolError, Readers, State};

impl State {
    /// Makes sure that one more block of `class` can be recorded now, and put back among the free ones whenever that is.
    pub(super) fn make_room_to_record(&mut self, class: u32) -> Result<(), PoolError> {
        reserve(|| self.blocks.try_reserve(1))?;
        let list = self.class(class);
        // All blocks of the class may be free at the same time.
        let missing = (list.made + 1).saturating_sub(list.blocks.len());
        reserve(|| list.blocks.try_reserve(missing))
    }

    /// As [`Self::make_room_to_record`], for the `count` chunks of the window.
    pub(super) fn make_room_to_record_chunks(&mut self, count: usize) -> Result<(), PoolError> {
        reserve(|| self.blocks.try_reserve(count))?;
        reserve(|| self.chunks.try_reserve(count))
    }
}

impl Readers {
    /// Makes sure that `count` readers can be added.
    #[cold]
    pub(super) fn expect_many(&mut self, count: usize) -> Result<(), PoolError> {
        let mut many = Vec::new();
        reserve(|| many.try_reserve_exact(count))?;
        if *self == Self::Nobody {
            *self = Self::Many(many);
        }
        Ok(())
    }
}

fn reserve(attempt: impl FnOnce() -> Result<(), TryReserveError>) -> Result<(), PoolError> {
    attempt().map_err(PoolError::Records)
}
