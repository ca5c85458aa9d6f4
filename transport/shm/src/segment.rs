//! The node segment: created once per host and job, mapped by every rank of the host.
//!
//! Anonymous memory (`memfd`) whose descriptor is handed down is the normal case: nothing to clean up, no name to clash, no limit of
//! `/dev/shm`. Ranks without a common parent find each other by name ([`crate::named`]). Ranks that are threads of one process share
//! a segment on the heap, which is also what the sanitizers watch.
//!
//! This file and `mapped` are the only ones that turn offsets into references. All of them are bounds- and alignment-checked, and no type that is
//! mapped here has an invalid bit pattern or is reached by `&mut`, so a peer can make us read nonsense but not undefined behaviour.

mod error;
mod header;
mod mapped;
mod origin;
mod populate;
mod shape;

use std::alloc::{Layout as HeapLayout, dealloc};
use std::fmt;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use memmap2::MmapRaw;

use crate::layout::{Control, Header, Plan};
use crate::named::Named;
use crate::primitive::Barrier;

use mapped::Shared;
use populate::Allowance;

pub use error::SegmentError;
pub(crate) use mapped::Mapped;
pub use shape::Shape;

/// Memory shared by the ranks of one host.
pub struct Segment {
    base: NonNull<u8>,
    plan: Plan,
    barrier: Barrier,
    backing: Backing,
    allowance: Allowance,
}

/// What keeps the memory alive.
enum Backing {
    Anonymous {
        file: OwnedFd,
        _map: MmapRaw,
    },
    Named(Named),
    Heap {
        start: NonNull<u8>,
        layout: HeapLayout,
    },
}

// SAFETY: the base is the start of a mapping that lives as long as the segment and is not tied to a thread.
unsafe impl Send for Segment {}
// SAFETY: through a shared segment, memory is reached only as atomics, as cells whose protocol says who may touch them when, and by
// raw copies of blocks that one rank at a time may write.
unsafe impl Sync for Segment {}

impl Segment {
    /// Ranks that share the segment.
    #[must_use]
    pub fn ranks(&self) -> usize {
        self.plan.ranks
    }

    /// Address space of one rank's arena, in bytes.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.plan.arena_bytes
    }

    /// The descriptor to hand to the ranks; none for a segment that has a name or lies on the heap.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.backing {
            Backing::Anonymous { file, .. } => Some(file.as_fd()),
            Backing::Named(_) | Backing::Heap { .. } => None,
        }
    }

    /// Where `bytes` lies in the segment, if it does.
    #[must_use]
    #[inline]
    pub fn offset_of(&self, bytes: &[u8]) -> Option<usize> {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.base.as_ptr() as usize);
        (offset < self.plan.size()
            && bytes.len() <= self.plan.size() - offset
            && offset >= self.plan.arena(0))
        .then_some(offset)
    }

    /// Removes the segment's name, if it has one and all that want it have it. The last rank to attach does so by itself; where some of
    /// its ranks are on other hosts, whoever knows that no more will come.
    pub fn unlink(&self) {
        if let Backing::Named(named) = &self.backing {
            named.unlink();
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan
    }

    pub(crate) fn barrier(&self) -> Barrier {
        self.barrier
    }

    pub(crate) fn header(&self) -> &Header {
        self.at(0)
    }

    pub(crate) fn control(&self, rank: usize) -> &Control {
        assert!(rank < self.plan.ranks, "rank {rank} of {}", self.plan.ranks);
        self.at(self.plan.control(rank))
    }

    /// Memory of the segment of which nothing is known: a peer may be writing it.
    pub(crate) fn cells(&self, range: Range<usize>) -> &[std::cell::UnsafeCell<u8>] {
        assert!(
            range.start <= range.end && range.end <= self.plan.size(),
            "{range:?} lies outside the segment"
        );
        // SAFETY: the range lies in the mapping, as just checked.
        let start = unsafe { self.base.add(range.start) };
        // SAFETY: bytes in cells have no invalid pattern, need no alignment, and may be written by others meanwhile.
        unsafe { std::slice::from_raw_parts(start.cast().as_ptr(), range.len()) }
    }

    /// Writes `bytes` into memory that the caller alone may write: a block that it holds.
    #[inline]
    pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let cells = self.cells(offset..offset + bytes.len());
        // SAFETY: the cells are mapped and as many as the bytes, which lie elsewhere or are read before they are overwritten; whoever
        // else looks at a block before its descriptor is published has a bug, and reads bytes all the same.
        unsafe {
            std::ptr::copy(
                bytes.as_ptr(),
                cells.as_ptr().cast_mut().cast::<u8>(),
                bytes.len(),
            )
        };
    }

    fn at<T: Shared>(&self, offset: usize) -> &T {
        // SAFETY: `checked` found the place inside the mapping and aligned; `Shared` allows any bytes and concurrent change.
        unsafe { self.checked::<T>(offset).as_ref() }
    }

    fn checked<T: Shared>(&self, offset: usize) -> NonNull<T> {
        assert!(
            offset + size_of::<T>() <= self.plan.size(),
            "offset {offset} lies outside the segment"
        );
        // SAFETY: the offset lies in the mapping, as just checked.
        let place = unsafe { self.base.add(offset) }.cast::<T>();
        assert!(place.is_aligned(), "offset {offset} is not aligned");
        place
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Backing::Heap { start, layout } = self.backing {
            // SAFETY: this is the allocation of `within_process`, freed once; nothing refers to it without holding the segment.
            unsafe { dealloc(start.as_ptr(), layout) };
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.backing {
            Backing::Anonymous { .. } => "anonymous",
            Backing::Named(_) => "named",
            Backing::Heap { .. } => "heap",
        };
        f.debug_struct("Segment")
            .field("kind", &kind)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(any(phalanx_loom, phalanx_shuttle)))]
mod tests;
