//! What a test does to a job behind the ranks' backs.

use std::sync::Arc;

use phalanx_shm::Death;

use crate::inproc::job::Job;
use crate::link::PeerState;

/// A handle on the links of one [`Inproc`](crate::Inproc) job; clones control the same job.
///
/// ```
/// use phalanx_transport::{Envelope, Header, Inproc, InprocSettings, PeerState, Transport};
///
/// let mut links = Inproc::job(2, InprocSettings::default());
/// let controls = links[0].controls();
/// let header = Header::Eager(Envelope::new(0, 0, 0));
///
/// controls.fill_up(0, 1);
/// assert!(!links[0].send(1, &header, &[])?);
/// controls.release(0, 1);
/// assert!(links[0].send(1, &header, &[])?);
///
/// controls.kill(0);
/// assert!(matches!(links[1].state_of(0), PeerState::Dead(_)));
/// assert!(links[1].poll()?.is_some(), "what it sent before stays readable");
/// assert!(links[0].send(1, &header, &[]).is_err());
/// # Ok::<(), phalanx_transport::LinkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Controls {
    job: Arc<Job>,
}

impl Controls {
    pub(super) fn new(job: Arc<Job>) -> Self {
        Self { job }
    }

    /// Ends `rank` as SIGKILL would: it departs, its peers are woken, and whatever its thread still asks of its link is refused with
    /// [`LinkError::Departed`](crate::LinkError::Departed). What it sent before stays readable; what it had not read is lost. A rank
    /// that has gone already stays as it is.
    ///
    /// # Panics
    /// When the job has no such rank.
    pub fn kill(&self, rank: usize) {
        self.job.depart(rank, PeerState::Dead(Death::Signal(9)));
    }

    /// Lets `from` hear "no room now" whenever it sends to `to`, until [`Self::release`]. What is under way arrives.
    ///
    /// # Panics
    /// When the job has no rank `to`.
    pub fn fill_up(&self, from: usize, to: usize) {
        self.job.mailbox(to).set_filled(from, true);
    }

    /// Ends what [`Self::fill_up`] began. Wakes nobody, as a link with room again does not.
    ///
    /// # Panics
    /// When the job has no rank `to`.
    pub fn release(&self, from: usize, to: usize) {
        self.job.mailbox(to).set_filled(from, false);
    }
}
