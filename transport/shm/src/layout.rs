//! What lies where in the node segment: drawn first, then as types. No logic.
//!
//! ```text
//! offset                 what                     size
//! 0                      header                   one page
//! 1 page                 control pages            ranks pages, one per rank
//! after the control      ring pages               ranks * ranks pages: [sender][receiver]
//! after the rings        return pages             ranks * ranks pages: [owner][borrower]
//! next multiple of 2 MiB arenas                   ranks * arena_bytes
//! ```
//!
//! Every page of a fresh segment reads as zero, and zero is the right initial state of all of it: a rank may write to a peer that has
//! not started yet. Pages are allocated when first used; a pair that never talks costs address space only.
//!
//! | page | field | offset | type | written by |
//! |---|---|---|---|---|
//! | header | magic | 0 | u64 | creator, last |
//! | | version | 8 | u32 | creator |
//! | | layout hash | 12 | u32 | creator |
//! | | size in bytes | 16 | u64 | creator |
//! | | ranks | 24 | u32 | creator |
//! | | barrier (1 asymmetric, 2 symmetric) | 28 | u32 | creator |
//! | | arena bytes | 32 | u64 | creator |
//! | | attached ranks so far | 40 | u32 | each rank once |
//! | | departures: ranks that left or died | 64 | u32 | who leaves, the launcher |
//! | | cores: bit per core that some rank may use | 128 | 16 u64 | each rank adds its own |
//! | control | gate: PENDING, SLEEPING; futex word | 0 | u32 | owner and its senders |
//! | | state: vacant, attached, left, dead | 64 | u32 | owner, the launcher |
//! | | process id | 68 | u32 | owner |
//! | | exit code or signal | 72 | u32 | the launcher |
//! | | cache-line probe | 128 | u64 | the probing peer |
//! | | wants room: sleeps until a peer makes some | 192 | u32 | owner |
//! | | bells: bit per sender | 512 | 64 u64 | senders set, owner clears |
//! | ring | consumed slots | 0 | u64 | receiver |
//! | | watched | 64 | u32 | receiver |
//! | | slots | 128 | 62 lines | sender |
//! | return | block number and lap | 0 | 1024 u32 | borrower |
//!
//! A slot is one cache line: `[0..8)` the word (lap in its low 16 bits, stored last), `[8..64)` the rest of the frame.

use crate::primitive::{AtomicU32, AtomicU64, UnsafeCell};

/// Bytes in a page of this layout; the machine's page may be a divisor or a multiple of it.
pub(crate) const PAGE: usize = 4096;
/// Bytes in a cache line.
pub(crate) const LINE: usize = 64;
/// Slots of one ring: what a page has left beside two lines that the receiver writes.
#[cfg(not(phalanx_loom))]
pub(crate) const SLOTS: usize = 62;
/// The smallest ring that wraps: loom's state space grows with every slot.
#[cfg(phalanx_loom)]
pub(crate) const SLOTS: usize = 2;
/// Entries of a return page, and so the most blocks that one rank lends to another at a time.
#[cfg(not(phalanx_loom))]
pub(crate) const RETURNS: usize = 1024;
#[cfg(phalanx_loom)]
pub(crate) const RETURNS: usize = 2;
/// Words of bells; 64 senders each.
#[cfg(not(phalanx_loom))]
pub(crate) const BELL_WORDS: usize = 64;
#[cfg(phalanx_loom)]
pub(crate) const BELL_WORDS: usize = 1;
/// Words of cores; 64 each.
pub(crate) const CORE_WORDS: usize = 16;
/// The most ranks that one segment holds.
pub const MAX_RANKS: usize = 64 * 64;
/// Arenas begin and end on a multiple of this, so that huge pages can back them.
pub(crate) const ARENA_ALIGNMENT: usize = 2 << 20;

/// `"PHALANX1"`, as the bytes lie in memory on a little-endian machine.
pub(crate) const MAGIC: u64 = 0x3158_4e41_4c41_4850;
/// Raised by one whenever a field of this file moves or changes its meaning.
pub(crate) const VERSION: u32 = 2;

/// First page of the segment.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    pub(crate) layout_hash: AtomicU32,
    pub(crate) size: AtomicU64,
    pub(crate) ranks: AtomicU32,
    pub(crate) barrier: AtomicU32,
    pub(crate) arena_bytes: AtomicU64,
    pub(crate) attached: AtomicU32,
    pub(crate) _line: [u8; 20],
    pub(crate) departures: AtomicU32,
    pub(crate) _rest_of_line: [u8; 60],
    pub(crate) cores: [AtomicU64; CORE_WORDS],
}

/// A rank's own page.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Control {
    pub(crate) bell: Bell,
    pub(crate) status: Line<Status>,
    pub(crate) probe: Line<AtomicU64>,
    pub(crate) wants_room: Line<AtomicU32>,
    pub(crate) _reserved: [Line<AtomicU64>; 4],
    pub(crate) rung: [AtomicU64; BELL_WORDS],
}

/// The word a rank sleeps on.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Bell {
    pub(crate) gate: AtomicU32,
}

/// Life of a rank as its peers and its launcher see it.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Status {
    pub(crate) state: AtomicU32,
    pub(crate) process: AtomicU32,
    pub(crate) end: AtomicU32,
}

/// One ordered pair of ranks: what flows from the sender to the receiver.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RingPage {
    pub(crate) consumed: Line<AtomicU64>,
    pub(crate) watched: Line<AtomicU32>,
    pub(crate) slots: [Slot; SLOTS],
}

/// One frame on its way.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) word: AtomicU64,
    pub(crate) body: UnsafeCell<[u64; 7]>,
}

/// Numbers of blocks on their way back from a borrower to their owner.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ReturnPage {
    pub(crate) entries: [AtomicU32; RETURNS],
}

/// A value alone in its cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Line<T>(pub(crate) T);

#[cfg(not(phalanx_loom))]
const _: () = {
    assert!(size_of::<Header>() <= PAGE && std::mem::offset_of!(Header, departures) == LINE);
    assert!(std::mem::offset_of!(Header, cores) == 2 * LINE);
    assert!(size_of::<Control>() == 1024 && std::mem::offset_of!(Control, rung) == 512);
    assert!(std::mem::offset_of!(Control, probe) == 128);
    assert!(std::mem::offset_of!(Control, wants_room) == 192);
    assert!(size_of::<RingPage>() == PAGE && size_of::<Slot>() == LINE);
    assert!(std::mem::offset_of!(RingPage, slots) == 2 * LINE);
    assert!(size_of::<ReturnPage>() == PAGE);
};

/// Where each part of a segment of a given shape begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) ranks: usize,
    pub(crate) arena_bytes: usize,
}

impl Plan {
    pub(crate) const fn control(self, rank: usize) -> usize {
        PAGE * (1 + rank)
    }

    pub(crate) const fn ring(self, sender: usize, receiver: usize) -> usize {
        PAGE * (1 + self.ranks + sender * self.ranks + receiver)
    }

    pub(crate) const fn returns(self, owner: usize, borrower: usize) -> usize {
        PAGE * (1 + self.ranks + self.ranks * self.ranks + owner * self.ranks + borrower)
    }

    pub(crate) const fn arena(self, rank: usize) -> usize {
        (PAGE * (1 + self.ranks + 2 * self.ranks * self.ranks)).next_multiple_of(ARENA_ALIGNMENT)
            + rank * self.arena_bytes
    }

    pub(crate) const fn size(self) -> usize {
        self.arena(self.ranks)
    }
}
