//! The way back of lent blocks: a list of numbers that any thread of the borrower appends to and the owner reads.
//!
//! The owner never lends more than [`RETURNS`] blocks to one borrower at a time, so the list cannot overflow and returning a block
//! is one addition and one store: no lock, no loop, no wait, in any order. An entry holds the block's number and, in its top 8 bits,
//! the lap, so that zero reads as "not yet" and nothing has to be cleared.
//!
//! A borrower killed between its addition and its store leaves a gap that the owner waits at for ever, which is right: the borrower
//! is dead, and the owner takes back all that it lent to it by its own list.

use std::ops::Deref;

use crossbeam::utils::CachePadded;

use crate::layout::{RETURNS, ReturnPage};
use crate::orders::{RECLAIM, RETURN};
use crate::primitive::{AtomicU32, Ordering};

/// Bits of an entry that hold the block's number.
const NUMBER_BITS: u32 = 24;
/// The largest number of a block.
pub(crate) const MAX_BLOCK: u32 = (1 << NUMBER_BITS) - 1;

/// The borrower's end, shared by its threads.
#[derive(Debug)]
pub(crate) struct ReturnSender<P> {
    page: P,
    /// In a line of its own: threads that return blocks of different owners do not meet.
    next: CachePadded<AtomicU32>,
}

impl<P: Deref<Target = ReturnPage>> ReturnSender<P> {
    pub(crate) fn new(page: P) -> Self {
        Self {
            page,
            next: CachePadded::new(AtomicU32::new(0)),
        }
    }

    /// How many blocks have been given back so far, modulo 2^32.
    pub(crate) fn given_back(&self) -> u32 {
        // Relaxed: a count that only this rank's threads raise, used to be careful, not to synchronise.
        self.next.load(Ordering::Relaxed)
    }

    /// Gives `block` back to its owner. The caller has read its last byte of it.
    #[inline]
    pub(crate) fn give_back(&self, block: u32) {
        // Relaxed: the addition only hands out places; the entry's store publishes.
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        self.page.entries[place as usize % RETURNS].store(entry(place, block), RETURN);
    }
}

/// The owner's end.
#[derive(Debug)]
pub(crate) struct ReturnReceiver<P> {
    page: P,
    next: u32,
}

impl<P: Deref<Target = ReturnPage>> ReturnReceiver<P> {
    pub(crate) fn new(page: P) -> Self {
        Self { page, next: 0 }
    }

    /// The number of the next block that came back. It is the borrower's word: the caller checks it against what it lent.
    #[inline]
    pub(crate) fn try_take(&mut self) -> Option<u32> {
        let found = self.page.entries[self.next as usize % RETURNS].load(RECLAIM);
        if found >> NUMBER_BITS != entry(self.next, 0) >> NUMBER_BITS {
            return None;
        }
        self.next = self.next.wrapping_add(1);
        Some(found & MAX_BLOCK)
    }
}

/// The entry at the `place`-th position counted from the beginning.
#[inline]
fn entry(place: u32, block: u32) -> u32 {
    let lap = (place / RETURNS as u32 + 1) & 0xff;
    lap << NUMBER_BITS | block
}
