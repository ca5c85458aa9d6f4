//! What the ranks of a job share: a mailbox for each, and who is still there.
//!
//! Locks are taken in one order: a rank's own life, then a mailbox. A sender holds its life while it delivers, so that nothing arrives
//! from a rank that its peers have seen depart.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::inproc::InprocSettings;
use crate::inproc::mailbox::Mailbox;
use crate::link::{LinkError, Packet, PeerState};
use crate::payload::permit::{Permit, Permits};

/// The ranks of a job.
pub(super) struct Job {
    places: Vec<Place>,
    departures: AtomicU32,
}

/// What belongs to one rank.
struct Place {
    life: Mutex<PeerState>,
    mailbox: Mailbox,
    /// Chunks that the rank may still have under way.
    chunks: Permits,
}

impl Job {
    pub(super) fn new(ranks: usize, settings: InprocSettings) -> Self {
        let place = |rank| Place {
            life: Mutex::new(PeerState::Present),
            mailbox: Mailbox::new(rank, settings),
            chunks: Permits::new(settings.chunks.max(1)),
        };
        Self {
            places: (0..ranks).map(place).collect(),
            departures: AtomicU32::new(0),
        }
    }

    pub(super) fn mailbox(&self, rank: usize) -> &Mailbox {
        &self.places[rank].mailbox
    }

    pub(super) fn take_permit(&self, rank: usize) -> Option<Permit> {
        self.places[rank].chunks.try_take()
    }

    /// Delivers the packet that `make` makes, which is called only if there is room.
    pub(super) fn post(
        &self,
        from: usize,
        to: usize,
        make: impl FnOnce() -> Packet,
    ) -> Result<bool, LinkError> {
        self.alive(from)?;
        // The sender is the only one who can use up the room, so it is still there after the copy, which needs no lock.
        if !self.mailbox(to).has_room(from) {
            return Ok(false);
        }
        let packet = make();
        let life = self.places[from].life.lock();
        if is_gone(*life) {
            return Err(LinkError::Departed { rank: from });
        }
        self.mailbox(to).deliver(from, packet);
        Ok(true)
    }

    pub(super) fn poll(&self, rank: usize) -> Result<Option<(usize, Packet)>, LinkError> {
        self.alive(rank)?;
        let Some((sender, packet, was_full)) = self.mailbox(rank).poll() else {
            return Ok(None);
        };
        if was_full {
            self.mailbox(sender).wake();
        }
        Ok(Some((sender, packet)))
    }

    pub(super) fn prepare_sleep(&self, rank: usize) -> bool {
        // A rank that is gone learns of it from its next poll, so it must not sleep.
        self.mailbox(rank).announce_sleep() && self.alive(rank).is_ok()
    }

    pub(super) fn departures(&self) -> u32 {
        // Partner: the Release addition in `depart`.
        self.departures.load(Ordering::Acquire)
    }

    pub(super) fn state_of(&self, rank: usize) -> PeerState {
        *self.places[rank].life.lock()
    }

    /// Records how `rank` departs and wakes everyone who may wait for it. A rank is gone once; later words change nothing.
    pub(super) fn depart(&self, rank: usize, state: PeerState) {
        {
            let mut life = self.places[rank].life.lock();
            if is_gone(*life) || *life == state {
                return;
            }
            if is_gone(state) {
                // Who sees the departure finds all that was sent before.
                for place in &self.places {
                    place.mailbox.hasten(rank);
                }
                self.mailbox(rank).abandon();
            }
            *life = state;
        }
        // Partner: the Acquire load in `departures`.
        self.departures.fetch_add(1, Ordering::Release);
        for place in &self.places {
            place.mailbox.wake();
        }
    }

    fn alive(&self, rank: usize) -> Result<(), LinkError> {
        if is_gone(self.state_of(rank)) {
            Err(LinkError::Departed { rank })
        } else {
            Ok(())
        }
    }
}

/// Whether nothing more comes from a rank in this state.
fn is_gone(state: PeerState) -> bool {
    matches!(state, PeerState::Left | PeerState::Dead(_))
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("ranks", &self.places.len())
            .field("departures", &self.departures)
            .finish_non_exhaustive()
    }
}
