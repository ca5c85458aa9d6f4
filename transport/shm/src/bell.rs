//! How a receiver learns which of its many rings hold something, and how it sleeps.
//!
//! A receiver polls only the few rings that it *watches*; a sender whose ring is not watched sets its bit and then the gate's
//! `PENDING` after each publication. Going to sleep, a receiver stops watching all rings, so that every sender rings, and then raises
//! `SLEEPING` in the same word that ringing changes: the sender's own read-modify-write tells it that someone must be woken.
//!
//! A sender that has no room sleeps as well. It says before that it *wants room*, and who takes its frames or returns its blocks rings
//! it then.
//!
//! Three races are to be won, and loom explores them (`model.rs`):
//! - *watched -> unwatched*: the sender publishes, then looks at `watched`; the receiver clears `watched`, then looks at the slot.
//!   [`Barrier`] between each pair makes at least one of them see the other.
//! - *no room -> wanting room*: the same with the roles swapped. The receiver publishes what it took, then looks at `wants_room`.
//! - *ringing -> sleeping*: both change the gate, and one of the two changes comes second.

use std::ops::Deref;
use std::time::Duration;

use crate::layout::{Control, RingPage};
use crate::orders::RING;
use crate::primitive::{Barrier, Ordering};
use crate::ring::Consumer;
use crate::system;

/// Gate bit: some bell has been rung since the owner last looked.
const PENDING: u32 = 1;
/// Gate bit: the owner sleeps, or is about to.
const SLEEPING: u32 = 2;

impl Control {
    /// Sender: tells the owner that the ring of `sender` holds something, and wakes it if need be.
    pub(crate) fn ring(&self, sender: usize) {
        self.rung[sender / 64].fetch_or(1 << (sender % 64), RING);
        if self.bell.gate.fetch_or(PENDING, RING) & SLEEPING != 0 {
            self.wake();
        }
    }

    /// Wakes the owner's threads, if any sleeps. Only the one who takes the flag away pays for the system call.
    pub(crate) fn wake(&self) {
        if self.bell.gate.fetch_and(!SLEEPING, RING) & SLEEPING != 0 {
            system::futex_wake_all(&self.bell.gate);
        }
    }

    /// Owner: whether a bell has been rung. A hint; [`Self::take_rings`] synchronises.
    #[inline]
    pub(crate) fn has_rung(&self) -> bool {
        self.bell.gate.load(Ordering::Relaxed) & PENDING != 0
    }

    /// Owner: clears the bells and calls `found` for each sender that rang.
    pub(crate) fn take_rings(&self, senders: usize, mut found: impl FnMut(usize)) {
        // First the gate, then the bits: a sender sets them the other way round, so that a bit missed here finds the gate closed and
        // opens it again.
        self.bell.gate.fetch_and(!PENDING, RING);
        for (index, word) in self.rung.iter().enumerate().take(senders.div_ceil(64)) {
            let mut bits = if word.load(Ordering::Relaxed) == 0 {
                0
            } else {
                word.swap(0, RING)
            };
            while bits != 0 {
                let sender = index * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if sender < senders {
                    found(sender);
                }
            }
        }
    }

    /// Owner, once no ring is watched: announces that it is about to sleep. `false`, and no announcement, when a bell has been rung.
    pub(crate) fn announce_sleep(&self) -> bool {
        // One step, and none when refused: a flag raised and taken back could be one that another thread of this rank sleeps on.
        let raised = |gate| (gate & PENDING == 0).then_some(gate | SLEEPING);
        // Relaxed: who is refused changes nothing, and synchronises when it takes the rings.
        self.bell
            .gate
            .fetch_update(RING, Ordering::Relaxed, raised)
            .is_ok()
    }

    /// Owner, after the announcement: sleeps until it is woken or `timeout` has passed. May return early.
    pub(crate) fn sleep(&self, timeout: Duration) {
        system::futex_wait(&self.bell.gate, SLEEPING, timeout);
        self.have_room();
        // Whoever takes the flag away wakes everyone: another thread of this rank may sleep on it, and no sender would know.
        self.wake();
    }
}

impl Control {
    /// Owner, before it stops watching: who makes room from now on rings. Whether there is room has to be looked at once more.
    pub(crate) fn want_room(&self) {
        // Relaxed: the barrier of `stop_watching` orders it before that look.
        self.wants_room.0.store(1, Ordering::Relaxed);
    }

    /// Owner: takes that back.
    pub(crate) fn have_room(&self) {
        // Relaxed: seen late, it costs a peer a ring.
        self.wants_room.0.store(0, Ordering::Relaxed);
    }

    /// Peer `me`, after it made room for the owner: rings if that waits for it.
    #[inline]
    pub(crate) fn offer_room(&self, me: usize, barrier: Barrier) {
        barrier.light();
        // Relaxed: the barrier before orders it after what made room.
        if self.wants_room.0.load(Ordering::Relaxed) != 0 {
            self.ring(me);
        }
    }
}

/// Sender, after it published in `ring`: whether it must ring.
#[inline(always)]
pub(crate) fn must_ring(ring: &RingPage, barrier: Barrier) -> bool {
    barrier.light();
    // Relaxed: the barrier before orders it after the publication.
    ring.watched.0.load(Ordering::Relaxed) == 0
}

/// Receiver: tells the sender of a ring whether it may leave out ringing.
pub(crate) fn watch<P: Deref<Target = RingPage>>(ring: &Consumer<P>, watched: bool) {
    // Relaxed: seen late, `true` costs the sender a ring; `false` is followed by the barrier.
    let value = u32::from(watched);
    ring.page().watched.0.store(value, Ordering::Relaxed);
}

/// Receiver: stops watching all of `rings`, so that every sender rings. `false`, and they are watched as before, when a frame arrived
/// whose sender may not have rung.
pub(crate) fn stop_watching<'a, P: Deref<Target = RingPage> + 'a>(
    rings: impl Iterator<Item = &'a Consumer<P>> + Clone,
    barrier: Barrier,
) -> bool {
    rings.clone().for_each(|ring| watch(ring, false));
    barrier.heavy();
    let quiet = !rings.clone().any(Consumer::is_ready);
    if !quiet {
        rings.for_each(|ring| watch(ring, true));
    }
    quiet
}
