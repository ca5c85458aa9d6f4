//! The four ways to come by a segment: made, made on the heap, inherited, met by name.

use std::alloc::{Layout as HeapLayout, alloc_zeroed};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use memmap2::MmapOptions;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};

use super::header::plan_in;
use super::{Allowance, Backing, Segment, SegmentError, Shape};
use crate::layout::{Header, PAGE, Plan};
use crate::named::Named;
use crate::primitive::{Barrier, Ordering};

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
            barrier: Barrier::of_this_kernel(),
            backing: Backing::Heap { start, layout },
            allowance: Allowance::default(),
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
            barrier: Barrier::of_this_kernel(),
            backing: Backing::Named(named),
            allowance: Allowance::default(),
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

    fn map(file: OwnedFd, plan: Plan) -> Result<Self, SegmentError> {
        let map = MmapOptions::new()
            .len(plan.size())
            .map_raw(&file)
            .map_err(SegmentError::Map)?;
        let base = NonNull::new(map.as_mut_ptr()).expect("a mapping is never at address zero");
        Ok(Self {
            base,
            plan,
            barrier: Barrier::of_this_kernel(),
            backing: Backing::Anonymous { file, _map: map },
            allowance: Allowance::default(),
        })
    }
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
