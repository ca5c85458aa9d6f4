//! The node segment: created once per host and job, mapped by every rank of the host.
//!
//! Anonymous memory (`memfd`) whose descriptor is handed down is the normal case: nothing to clean up, no name to clash, no limit of
//! `/dev/shm`. Ranks without a common parent find each other by name ([`crate::named`]). Ranks that are threads of one process share
//! a segment on the heap, which is also what the sanitizers watch.
//!
//! This file is the only one that turns offsets into references. All of them are bounds- and alignment-checked, and no type that is
//! mapped here has an invalid bit pattern or is reached by `&mut`, so a peer can make us read nonsense but not undefined behaviour.

mod error;

use std::alloc::{Layout as HeapLayout, alloc_zeroed, dealloc};
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};

use crate::layout::{
    ARENA_ALIGNMENT, Control, Header, MAGIC, MAX_RANKS, PAGE, Plan, ReturnPage, RingPage, VERSION,
};
use crate::named::Named;
use crate::primitive::{AtomicU64, Barrier, Ordering};
use crate::system;

pub use error::SegmentError;

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

    fn plan(self) -> Result<Plan, SegmentError> {
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

/// Memory shared by the ranks of one host.
pub struct Segment {
    base: NonNull<u8>,
    plan: Plan,
    barrier: Barrier,
    backing: Backing,
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
    /// Creates the anonymous segment of a job. The descriptor is closed on `exec`: whoever starts the ranks passes it on explicitly
    /// (see [`crate::handoff`]).
    ///
    /// # Errors
    /// When the shape cannot be, or the kernel refuses memory, a descriptor or address space.
    pub fn create(shape: &Shape) -> Result<Self, SegmentError> {
        let plan = shape.plan()?;
        check_file_limit(plan)?;
        let file = memfd_create(
            c"phalanx",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )
        .map_err(|errno| SegmentError::Create(errno.into()))?;
        let file = File::from(file);
        file.set_len(plan.size() as u64)
            .map_err(SegmentError::Create)?;
        // A peer that shrank the file would turn our loads into SIGBUS.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))
            .map_err(|errno| SegmentError::Create(errno.into()))?;
        let segment = Self::map(file.into(), plan)?;
        segment.initialise()?;
        Ok(segment)
    }

    /// Creates a segment on the heap, for ranks that are threads of this process.
    ///
    /// # Errors
    /// When the shape cannot be, or there is not that much address space.
    pub fn within_process(shape: &Shape) -> Result<Self, SegmentError> {
        let plan = shape.plan()?;
        // Asking for a page's alignment would make the allocator write zeros; zeroed memory of ordinary alignment comes untouched.
        let layout = HeapLayout::from_size_align(plan.size() + PAGE, 16)
            .map_err(|_| SegmentError::Arena(shape.arena_bytes))?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })
            .ok_or_else(|| SegmentError::Map(io::ErrorKind::OutOfMemory.into()))?;
        let ahead = start.as_ptr().align_offset(PAGE);
        // SAFETY: the allocation is one page larger than the plan, so that its first page boundary and the plan fit.
        let base = unsafe { start.add(ahead) };
        let segment = Self {
            base,
            plan,
            barrier: barrier_of_this_kernel(),
            backing: Backing::Heap { start, layout },
        };
        segment.initialise()?;
        Ok(segment)
    }

    /// Maps the segment that `file` holds, as inherited from whoever started this rank.
    ///
    /// # Errors
    /// When the descriptor is not a segment, or one of another version.
    pub fn attach(file: OwnedFd) -> Result<Self, SegmentError> {
        let file = File::from(file);
        let size = file.metadata().map_err(SegmentError::Attach)?.len();
        // What could shrink, or lies in a file system that can fill up, would turn our loads into SIGBUS; and so could no segment.
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
        let sealed = seals.is_ok_and(|seals| seals.contains(SealFlag::F_SEAL_SHRINK));
        if !sealed || size < PAGE as u64 {
            return Err(SegmentError::NotASegment { size });
        }
        let first = MmapOptions::new()
            .len(PAGE)
            .map_raw(&file)
            .map_err(SegmentError::Attach)?;
        let base = NonNull::new(first.as_mut_ptr()).expect("a mapping is never at address zero");
        // SAFETY: the page was just mapped, is page-aligned, outlives this reference, and any bytes are a valid header.
        let plan = plan_in(unsafe { base.cast::<Header>().as_ref() }, size)?;
        Self::map(file.into(), plan)
    }

    /// Creates or joins the named segment `name`; ranks without a common parent call this with equal arguments.
    ///
    /// # Errors
    /// When the name cannot be used, or holds something else than a segment of this shape.
    pub fn join_named(name: &str, shape: &Shape) -> Result<Self, SegmentError> {
        let plan = shape.plan()?;
        check_file_limit(plan)?;
        let (named, created) = Named::create_or_open(name, plan.size())?;
        let base = named.base();
        let segment = Self {
            base,
            plan,
            barrier: barrier_of_this_kernel(),
            backing: Backing::Named(named),
        };
        if created {
            segment.initialise().inspect_err(|_| segment.unlink())?;
        } else {
            // To look at a page that is not there yet takes one; where none is left, that is SIGBUS.
            segment.populate(0..PAGE)?;
            segment.await_magic(name)?;
            let size = segment.header().size.load(Ordering::Relaxed);
            let found = plan_in(segment.header(), size).map_err(|error| match error {
                SegmentError::NotASegment { .. } => SegmentError::Name {
                    name: name.to_owned(),
                    reason: "it holds something else than a Phalanx segment".to_owned(),
                },
                other => other,
            })?;
            if found != plan {
                return Err(SegmentError::Shape {
                    name: name.to_owned(),
                    found: found.ranks,
                    wanted: plan.ranks,
                });
            }
        }
        Ok(segment)
    }

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

    /// Removes the segment's name, if it has one: all that wanted it have it.
    pub(crate) fn unlink(&self) {
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

    /// The page in `range` of the segment, allocated if it was not.
    pub(crate) fn populate(&self, range: Range<usize>) -> Result<(), SegmentError> {
        if matches!(self.backing, Backing::Heap { .. }) || range.is_empty() {
            return Ok(());
        }
        let start = range.start / PAGE * PAGE;
        let cells = self.cells(start..range.end.next_multiple_of(PAGE).min(self.plan.size()));
        system::populate(cells).map_err(|source| SegmentError::OutOfMemory {
            bytes: range.len(),
            source,
        })
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

    fn map(file: OwnedFd, plan: Plan) -> Result<Self, SegmentError> {
        let map = MmapOptions::new()
            .len(plan.size())
            .map_raw(&file)
            .map_err(SegmentError::Map)?;
        let base = NonNull::new(map.as_mut_ptr()).expect("a mapping is never at address zero");
        Ok(Self {
            base,
            plan,
            barrier: barrier_of_this_kernel(),
            backing: Backing::Anonymous { file, _map: map },
        })
    }

    /// Writes the header of a fresh segment; the magic goes last, so that who finds it finds the rest.
    fn initialise(&self) -> Result<(), SegmentError> {
        self.populate(0..self.plan.ring(0, 0))?;
        let header = self.header();
        header.version.store(VERSION, Ordering::Relaxed);
        header.layout_hash.store(layout_hash(), Ordering::Relaxed);
        header
            .size
            .store(self.plan.size() as u64, Ordering::Relaxed);
        header.ranks.store(
            u32::try_from(self.plan.ranks).expect("at most MAX_RANKS"),
            Ordering::Relaxed,
        );
        header
            .arena_bytes
            .store(self.plan.arena_bytes as u64, Ordering::Relaxed);
        header
            .barrier
            .store(barrier_code(self.barrier), Ordering::Relaxed);
        // Partner: the Acquire load of the magic in `plan_in`.
        header.magic.store(MAGIC, Ordering::Release);
        Ok(())
    }

    /// Waits for the creator of a named segment to finish its header. It needs microseconds; one that died leaves an error.
    fn await_magic(&self, name: &str) -> Result<(), SegmentError> {
        let started = std::time::Instant::now();
        while self.header().magic.load(Ordering::Acquire) == 0 {
            if started.elapsed() > std::time::Duration::from_secs(10) {
                return Err(SegmentError::Unfinished {
                    name: name.to_owned(),
                });
            }
            std::thread::yield_now();
        }
        Ok(())
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

/// Reads the shape of an existing segment and refuses what this version cannot use.
fn plan_in(header: &Header, size: u64) -> Result<Plan, SegmentError> {
    // Partner: the Release store in `initialise`.
    if header.magic.load(Ordering::Acquire) != MAGIC {
        return Err(SegmentError::NotASegment { size });
    }
    let found = (
        header.version.load(Ordering::Relaxed),
        header.layout_hash.load(Ordering::Relaxed),
    );
    if found != (VERSION, layout_hash()) {
        return Err(SegmentError::Version {
            found: found.0,
            found_layout: found.1,
            own: VERSION,
            own_layout: layout_hash(),
        });
    }
    if header.barrier.load(Ordering::Relaxed) != barrier_code(barrier_of_this_kernel()) {
        return Err(SegmentError::Barrier);
    }
    let shape = Shape {
        ranks: header.ranks.load(Ordering::Relaxed) as usize,
        arena_bytes: header.arena_bytes.load(Ordering::Relaxed),
    };
    let plan = shape.plan()?;
    if plan.size() as u64 != size
        || header.size.load(Ordering::Relaxed) != size
        || plan.arena_bytes as u64 != shape.arena_bytes
    {
        return Err(SegmentError::NotASegment { size });
    }
    Ok(plan)
}

/// Beyond the limit on file sizes, giving a file its size is not an error but a signal (SIGXFSZ).
fn check_file_limit(plan: Plan) -> Result<(), SegmentError> {
    let (limit, _) =
        getrlimit(Resource::RLIMIT_FSIZE).map_err(|errno| SegmentError::Create(errno.into()))?;
    if plan.size() as u64 > limit {
        return Err(SegmentError::Create(Errno::EFBIG.into()));
    }
    Ok(())
}

/// Sleepers use `membarrier` where the kernel has it; asking also registers this process.
pub(crate) fn barrier_of_this_kernel() -> Barrier {
    if system::register_for_membarrier() {
        Barrier::Asymmetric
    } else {
        Barrier::Symmetric
    }
}

fn barrier_code(barrier: Barrier) -> u32 {
    match barrier {
        Barrier::Asymmetric => 1,
        Barrier::Symmetric => 2,
    }
}

/// Changes when a structure changes its size though someone forgot to raise [`VERSION`].
fn layout_hash() -> u32 {
    [
        size_of::<Header>(),
        size_of::<Control>(),
        size_of::<RingPage>(),
        size_of::<ReturnPage>(),
        PAGE,
        MAX_RANKS,
        ARENA_ALIGNMENT,
    ]
    .into_iter()
    .fold(0x811c_9dc5, |hash: u32, size| {
        (hash ^ size as u32).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
#[cfg(not(any(phalanx_loom, phalanx_shuttle)))]
mod tests;
