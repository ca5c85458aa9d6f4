//! The first page: written once by whoever creates the segment, read and doubted by everyone else.

use super::{Segment, SegmentError, Shape};
use crate::layout::{
    ARENA_ALIGNMENT, Control, Header, MAGIC, MAX_RANKS, PAGE, Plan, ReturnPage, RingPage, VERSION,
};
use crate::primitive::{Barrier, Ordering};

impl Segment {
    /// Writes the header of a fresh segment; the magic goes last, so that who finds it finds the rest.
    pub(super) fn initialise(&self) -> Result<(), SegmentError> {
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
    pub(super) fn await_magic(&self, name: &str) -> Result<(), SegmentError> {
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
}

/// Reads the shape of an existing segment and refuses what this version cannot use.
pub(super) fn plan_in(header: &Header, size: u64) -> Result<Plan, SegmentError> {
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
    if header.barrier.load(Ordering::Relaxed) != barrier_code(Barrier::of_this_kernel()) {
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
