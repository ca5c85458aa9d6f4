//! On how many cores the ranks of a job run: whether they have one each decides how they wait.
//!
//! No rank can tell by itself. One that is bound to a core of its own may use one core, and so may each of eight that share one. So
//! every rank adds the cores that it may use to a set in the segment's header, and whoever waits counts them.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::layout::CORE_WORDS;
use crate::primitive::Ordering;
use crate::segment::Segment;

impl Segment {
    /// Adds the cores that this thread may run on to those of the job's ranks on this host. Returns how many it may.
    pub fn add_cores(&self) -> usize {
        // A kernel that cannot say has more cores than the set, or none that could be told apart.
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        let mut count = 0;
        for core in (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)) {
            let word = &self.header().cores[core / 64 % CORE_WORDS];
            // Relaxed: a set that only grows, read as a hint.
            word.fetch_or(1 << (core % 64), Ordering::Relaxed);
            count += 1;
        }
        count
    }

    /// How many cores the ranks that have joined so far may run on, together.
    #[must_use]
    pub fn cores(&self) -> usize {
        // Relaxed: as above.
        let words = self.header().cores.iter();
        words
            .map(|word| word.load(Ordering::Relaxed).count_ones() as usize)
            .sum()
    }
}

#[cfg(test)]
#[cfg(not(phalanx_shuttle))]
mod tests {
    use crate::{Segment, Shape};

    #[test]
    fn cores_that_several_ranks_may_use_count_once() {
        let segment = Segment::create(&Shape::roomy(2)).unwrap();
        assert_eq!(segment.cores(), 0);
        let mine = segment.add_cores();
        assert!(mine > 0);
        assert_eq!(segment.add_cores(), mine);
        assert_eq!(segment.cores(), mine);
    }
}
