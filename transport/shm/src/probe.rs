//! The floor of all latencies on this machine: how long a cache line takes between two ranks.
//!
//! Each of the two ranks has a line that the other writes. A round trip is a store, the peer's load of it, the peer's store, our
//! load of that: what a message cannot beat. Benches measure it between their samples, because the machine moves under them.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use crate::life::RankState;
use crate::primitive::{AtomicU64, Ordering};
use crate::segment::Segment;

impl Segment {
    /// Forgets the last measurement of `rank`; both sides do so before either calls [`Self::bounce`].
    pub fn reset_bounce(&self, rank: usize) {
        self.control(rank).probe.0.store(0, Ordering::Release);
    }

    /// Bounces a cache line `rounds` times between the ranks `me` and `peer`, which calls this at the same time with the roles
    /// swapped; the lower rank serves. Returns the time of all rounds together, or none when the peer departs. Blocks by spinning.
    #[must_use]
    pub fn bounce(&self, me: usize, peer: usize, rounds: u64) -> Option<Duration> {
        let (mine, theirs) = (&self.control(me).probe.0, &self.control(peer).probe.0);
        let started = Instant::now();
        for round in 1..=rounds {
            if me < peer {
                theirs.store(round, Ordering::Release);
                self.await_round(mine, round, peer)?;
            } else {
                self.await_round(mine, round, peer)?;
                theirs.store(round, Ordering::Release);
            }
        }
        Some(started.elapsed())
    }

    /// Partner of each load: the peer's Release store above.
    #[inline]
    fn await_round(&self, line: &AtomicU64, round: u64, peer: usize) -> Option<()> {
        let mut turns = 0_u32;
        while line.load(Ordering::Acquire) < round {
            turns += 1;
            if turns.is_multiple_of(1 << 12) {
                if matches!(self.state_of(peer), RankState::Left | RankState::Dead(_)) {
                    return None;
                }
                // The peer may share our core.
                std::thread::yield_now();
            }
            spin_loop();
        }
        Some(())
    }
}
