//! The link beside shared memory. Its rank looks at the network only now and then, and sleeps on the doorbell of its segment.
//!
//! Sleep is announced at the doorbell first and here second, under the lock of the driver. News that were found before that are seen
//! by who announces; news that are found later ring the doorbell. While somebody sleeps there, the keeper rests on the socket; if it
//! did not yet, and there is a connection, it is told to, so that what arrives wakes the rank at once. Without a connection, its tick
//! is soon enough for whoever dials.

use std::fmt;
use std::sync::Arc;

use super::Quic;
use super::keeper::Shared;

impl Quic {
    /// This rank.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// From now on the ranks for which `reached` holds are reached by other means and none of this link's business, and mail rings
    /// `doorbell`.
    pub(crate) fn stand_beside(&mut self, reached: Vec<bool>, doorbell: phalanx_shm::Sleeper) {
        self.shared.bell.ring_too(doorbell);
        self.shared.sit().driver.reached = reached.into();
    }

    /// Whether there is something to poll.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.shared.signs.has_mail()
    }

    /// Whether there is a connection, or will be.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        self.shared.signs.is_live()
    }

    /// As [`Transport::prepare_sleep`](crate::Transport::prepare_sleep), for a sleep at the doorbell, where it is announced already.
    pub(crate) fn prepare_beside(&mut self) -> bool {
        let wants_room = std::mem::take(&mut self.wants_room);
        let mut seat = self.shared.sit();
        if self.is_live() {
            self.shared.drive(&mut seat);
        }
        let ready = self.shared.announce(&mut seat, wants_room);
        if ready {
            self.shared.rest_apart(&seat);
        }
        ready
    }

    /// The program is here and drives: if it announced a sleep, it has thought better of it.
    #[inline]
    pub(crate) fn come_back(&self) {
        self.shared.come_back();
    }

    /// For who sleeps at the doorbell.
    pub(crate) fn beside(&self) -> Beside {
        Beside(Arc::clone(&self.shared))
    }
}

/// Tells the keeper how long it has to stand in for a sleeper.
#[derive(Clone)]
pub(crate) struct Beside(Arc<Shared>);

impl Beside {
    pub(crate) fn while_asleep(&self, sleep: impl FnOnce()) {
        self.0.fall_asleep();
        sleep();
        self.0.wake_up();
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").finish_non_exhaustive()
    }
}
