//! Who is there: a rank's life as written in its control page, by itself and by its launcher.
//!
//! Death is a fact written by someone who saw it (a launcher that reaped the process), never a guess by a clock.

use crate::primitive::Ordering;
use crate::segment::{Segment, SegmentError};

/// How a rank is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RankState {
    /// Has not attached yet.
    Vacant,
    /// At work.
    Attached,
    /// Takes no more messages, and sends what it has begun to send.
    Leaving,
    /// Left in good order: what it sent stays readable, nothing more will come.
    Left,
    /// Its process ended without leaving.
    Dead(Death),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Death {
    /// It exited with this code.
    Exit(u8),
    /// This signal killed it.
    Signal(u8),
    /// Nobody knows.
    Unknown,
}

const VACANT: u32 = 0;
const ATTACHED: u32 = 1;
const LEFT: u32 = 2;
const DEAD: u32 = 3;
const LEAVING: u32 = 4;

impl Segment {
    /// How `rank` is.
    ///
    /// # Panics
    /// When the segment has no such rank.
    #[must_use]
    pub fn state_of(&self, rank: usize) -> RankState {
        let status = &self.control(rank).status.0;
        // Partner: the Release stores below.
        match status.state.load(Ordering::Acquire) {
            VACANT => RankState::Vacant,
            ATTACHED => RankState::Attached,
            LEAVING => RankState::Leaving,
            LEFT => RankState::Left,
            _ => RankState::Dead(decode(status.end.load(Ordering::Relaxed))),
        }
    }

    /// Changes whenever some [`Self::state_of`] becomes leaving, left or dead, and once more when a rank that left is reported dead.
    #[must_use]
    pub fn departures(&self) -> u32 {
        // Partner: the Release addition in `announce_departure`.
        self.header().departures.load(Ordering::Acquire)
    }

    /// The process that attached as `rank`, if one did.
    #[must_use]
    pub fn process_of(&self, rank: usize) -> Option<u32> {
        Some(self.control(rank).status.0.process.load(Ordering::Relaxed))
            .filter(|&process| process != 0)
    }

    /// Records how `rank` departed and wakes everyone who may wait for it. A rank is gone once; later words do not change how.
    pub fn depart(&self, rank: usize, state: RankState) {
        let status = &self.control(rank).status.0;
        let (code, end) = match state {
            RankState::Leaving => (LEAVING, 0),
            RankState::Left => (LEFT, 0),
            RankState::Dead(death) => (DEAD, encode(death)),
            RankState::Vacant | RankState::Attached => return,
        };
        let previous = status.state.load(Ordering::Relaxed);
        if previous == DEAD || previous == code || previous == LEFT && code != DEAD {
            return;
        }
        if previous == LEFT {
            // It may have been killed between its word and the announcement.
            self.announce_departure();
            return;
        }
        status.end.store(end, Ordering::Relaxed);
        // Partner: the Acquire load in `state_of`.
        if status
            .state
            .compare_exchange(previous, code, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        self.announce_departure();
    }

    fn announce_departure(&self) {
        // Partner: the Acquire load in `departures`.
        self.header().departures.fetch_add(1, Ordering::Release);
        for peer in 0..self.ranks() {
            self.control(peer).wake();
        }
    }

    /// Marks `rank` as taken by this process. The last to come removes the segment's name, if it has one.
    pub(crate) fn claim(&self, rank: usize) -> Result<(), SegmentError> {
        let status = &self.control(rank).status.0;
        if status
            .state
            .compare_exchange(VACANT, ATTACHED, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return Err(SegmentError::Taken {
                rank,
                process: status.process.load(Ordering::Relaxed),
            });
        }
        status.process.store(std::process::id(), Ordering::Relaxed);
        if self.header().attached.fetch_add(1, Ordering::AcqRel) as usize + 1 == self.ranks() {
            self.unlink();
        }
        Ok(())
    }
}

fn encode(death: Death) -> u32 {
    match death {
        Death::Exit(code) => 0x100 | u32::from(code),
        Death::Signal(signal) => 0x200 | u32::from(signal),
        Death::Unknown => 0,
    }
}

fn decode(end: u32) -> Death {
    let [low, kind, ..] = end.to_le_bytes();
    match kind {
        1 => Death::Exit(low),
        2 => Death::Signal(low),
        _ => Death::Unknown,
    }
}
