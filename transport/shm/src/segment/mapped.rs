//! Structures of the segment, each with what keeps it mapped.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Segment, SegmentError};
use crate::layout::{Control, Header, ReturnPage, RingPage};
use crate::primitive::AtomicU64;

/// A structure of the segment together with what keeps it mapped.
pub(crate) struct Mapped<T> {
    target: NonNull<T>,
    _segment: Arc<Segment>,
}

// SAFETY: a shared structure is atomics and protocol-guarded cells in memory that lives as long as the segment held here; it belongs
// to no thread.
unsafe impl<T: Shared> Send for Mapped<T> {}
// SAFETY: as above; what may be done through a shared reference is the protocol's to say (one producer, one consumer).
unsafe impl<T: Shared> Sync for Mapped<T> {}

impl<T: Shared> Mapped<T> {
    fn new(segment: &Arc<Segment>, offset: usize) -> Result<Self, SegmentError> {
        segment.populate(offset..offset + size_of::<T>())?;
        Ok(Self {
            target: segment.checked(offset),
            _segment: Arc::clone(segment),
        })
    }
}

impl Mapped<RingPage> {
    pub(crate) fn ring(
        segment: &Arc<Segment>,
        sender: usize,
        receiver: usize,
    ) -> Result<Self, SegmentError> {
        Self::new(segment, segment.plan.ring(sender, receiver))
    }
}

impl Mapped<ReturnPage> {
    pub(crate) fn returns(
        segment: &Arc<Segment>,
        owner: usize,
        borrower: usize,
    ) -> Result<Self, SegmentError> {
        Self::new(segment, segment.plan.returns(owner, borrower))
    }
}

impl<T: Shared> Deref for Mapped<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: `Segment::checked` made the pointer, the segment keeps the mapping, `Shared` allows concurrent change.
        unsafe { self.target.as_ref() }
    }
}

impl<T> fmt::Debug for Mapped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("at", &self.target)
            .finish_non_exhaustive()
    }
}

/// Types that may be mapped: any bytes are valid, and all that others may change is an atomic or in a cell.
///
/// # Safety
/// Implementers promise both.
pub(crate) unsafe trait Shared {}
// SAFETY: atomics and padding bytes only.
unsafe impl Shared for Header {}
// SAFETY: atomics only.
unsafe impl Shared for Control {}
// SAFETY: atomics, and arrays of integers in cells.
unsafe impl Shared for RingPage {}
// SAFETY: atomics only.
unsafe impl Shared for ReturnPage {}
// SAFETY: an atomic.
unsafe impl Shared for AtomicU64 {}
