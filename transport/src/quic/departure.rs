//! Who is there, as far as this rank has heard, where any thread can look without waiting for the driver.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::link::PeerState;

/// The state of each rank, and how often one of them changed.
#[derive(Debug)]
pub(super) struct Lives {
    states: Mutex<Vec<PeerState>>,
    changes: AtomicU32,
}

impl Lives {
    pub(super) fn new(ranks: usize) -> Self {
        Self {
            states: Mutex::new(vec![PeerState::Present; ranks]),
            changes: AtomicU32::new(0),
        }
    }

    pub(super) fn changes(&self) -> u32 {
        // Partner: the Release addition in `record`.
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn state_of(&self, rank: usize) -> PeerState {
        self.states.lock()[rank]
    }

    /// Records how a rank is; whether that is news. A rank that has gone stays gone in the way that was heard first.
    pub(super) fn record(&self, rank: usize, state: PeerState) -> bool {
        let mut states = self.states.lock();
        let news = match states[rank] {
            PeerState::Present => state != PeerState::Present,
            PeerState::Leaving => !matches!(state, PeerState::Present | PeerState::Leaving),
            _ => false,
        };
        if news {
            states[rank] = state;
            // Partner: the Acquire load in `changes`.
            self.changes.fetch_add(1, Ordering::Release);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx_shm::Death;

    #[test]
    fn a_rank_goes_once_and_each_step_counts_once() {
        let lives = Lives::new(2);
        assert!(!lives.record(1, PeerState::Present));
        assert!(lives.record(1, PeerState::Leaving));
        assert!(!lives.record(1, PeerState::Leaving));
        assert!(lives.record(1, PeerState::Left));
        assert!(!lives.record(1, PeerState::Dead(Death::Signal(9))));
        assert!(!lives.record(1, PeerState::Unreachable));
        assert_eq!(lives.state_of(1), PeerState::Left);
        assert_eq!(lives.state_of(0), PeerState::Present);
        assert_eq!(lives.changes(), 2);
    }
}
