//! Sleep, apart from the link, so that other threads can use that meanwhile.

use std::time::Duration;

use crate::hosts::HostsSleeper;
use crate::inproc::InprocSleeper;
use crate::quic::QuicSleeper;

/// Lets a thread sleep until its rank has mail, without holding the link.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Sleeper {
    /// Sleeps on a word of the segment.
    Shm(phalanx_shm::Sleeper),
    /// Sleeps on a condition of the process.
    Inproc(InprocSleeper),
    /// Sleeps on the socket.
    Quic(QuicSleeper),
    /// Sleeps on a word of the segment, while the socket is seen to.
    Hosts(HostsSleeper),
}

impl Sleeper {
    /// Sleeps, after [`Transport::prepare_sleep`](super::Transport::prepare_sleep) said so, until mail arrives, someone calls [`Self::wake`], or `timeout` has passed.
    pub fn sleep(&self, timeout: Duration) {
        match self {
            Self::Shm(sleeper) => sleeper.sleep(timeout),
            Self::Inproc(sleeper) => sleeper.sleep(timeout),
            Self::Quic(sleeper) => sleeper.sleep(timeout),
            Self::Hosts(sleeper) => sleeper.sleep(timeout),
        }
    }

    /// Wakes all threads of this rank that sleep.
    pub fn wake(&self) {
        match self {
            Self::Shm(sleeper) => sleeper.wake(),
            Self::Inproc(sleeper) => sleeper.wake(),
            Self::Quic(sleeper) => sleeper.wake(),
            Self::Hosts(sleeper) => sleeper.wake(),
        }
    }
}
