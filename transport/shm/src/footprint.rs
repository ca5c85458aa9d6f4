//! What a job's shared memory takes, told without making one: pages are allocated when they are first used, so the answer follows
//! from the layout alone.

use crate::layout::{PAGE, Plan};
use crate::pool;

/// Bytes that the segment of a job of `ranks` ranks takes before any of them has sent anything: its header, and a page for each rank.
///
/// # Examples
/// ```
/// assert_eq!(phalanx_shm::idle_bytes(64), 65 * 4096);
/// ```
#[must_use]
pub const fn idle_bytes(ranks: usize) -> u64 {
    let arena_bytes = 0;
    Plan { ranks, arena_bytes }.ring(0, 0) as u64
}

/// Bytes that two ranks take once each has sent the other messages of both kinds, with and without a block: a ring and a page of
/// returned blocks in each direction.
pub const PAIR_BYTES: u64 = 4 * PAGE as u64;

/// Bytes that a rank's pool takes with its first block; it grows by as much where that is used up.
pub const EXTENT_BYTES: u64 = pool::EXTENT as u64;

#[cfg(test)]
#[cfg(not(any(phalanx_loom, phalanx_shuttle)))]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::sync::Arc;

    use nix::sys::stat::fstat;

    use super::*;
    use crate::{PoolSettings, Port, Segment, Shape};

    fn taken(segment: &Segment) -> u64 {
        let file = segment.descriptor().unwrap();
        u64::try_from(fstat(file.as_fd()).unwrap().st_blocks).unwrap() * 512
    }

    /// What the kernel allocates at a time.
    fn unit() -> u64 {
        let mode = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
        let mode = mode.unwrap_or_default();
        let is_huge = mode.contains("[always]") || mode.contains("[force]");
        if is_huge { 2 << 20 } else { PAGE as u64 }
    }

    #[test]
    fn an_idle_job_takes_its_header_and_a_page_for_each_rank() {
        for ranks in [1, 2, 8, 64] {
            let shape = Shape {
                ranks,
                arena_bytes: 2 << 20,
            };
            let segment = Arc::new(Segment::create(&shape).unwrap());
            let _ports: Vec<_> = (0..ranks)
                .map(|rank| {
                    Port::attach(Arc::clone(&segment), rank, PoolSettings::default()).unwrap()
                })
                .collect();
            assert_eq!(taken(&segment), idle_bytes(ranks).next_multiple_of(unit()));
        }
    }

    #[test]
    fn only_ranks_that_talk_take_more() {
        let shape = Shape {
            ranks: 8,
            arena_bytes: 2 << 20,
        };
        let segment = Arc::new(Segment::create(&shape).unwrap());
        let port =
            |rank| Port::attach(Arc::clone(&segment), rank, PoolSettings::default()).unwrap();
        let mut ports = [port(0), port(1)];
        for (me, peer) in [(0, 1), (1, 0)] {
            assert!(ports[me].try_push(peer, &[0; 8]).unwrap());
            let block = ports[me].stage(peer, &[1; 1000]).unwrap();
            drop(ports[peer].borrow(me, block).unwrap());
            // Looks at what was returned.
            ports[me].pool().reclaim(peer);
        }
        let expected = idle_bytes(8) + PAIR_BYTES + 2 * EXTENT_BYTES;
        if unit() == PAGE as u64 {
            assert_eq!(taken(&segment), expected);
        } else {
            assert!(taken(&segment) >= expected);
        }
    }
}
