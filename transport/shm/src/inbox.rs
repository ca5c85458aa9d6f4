//! The receiving side of a rank: all rings that lead to it.
//!
//! Polls the ring that was busy last, then the other watched ones, then those that rang, then the gate. Rings of peers that never
//! talked are not even mapped, so idle peers cost nothing, however many there are.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use crate::bell;
use crate::layout::{Control, RingPage};
use crate::port::PortError;
use crate::primitive::Barrier;
use crate::ring::{Consumer, InSlot};
use crate::segment::{Mapped, Segment};

/// Rings polled without being asked. More make each poll longer than the ring of a bell costs the sender.
const MOST_WATCHED: usize = 8;
/// Frames taken from the hot ring in a row before the others get their turn.
const LONGEST_STREAK: u32 = 16;

/// All rings that lead to one rank.
#[derive(Debug)]
pub(crate) struct Inbox {
    segment: Arc<Segment>,
    rank: usize,
    barrier: Barrier,
    rings: Vec<Option<Consumer<Mapped<RingPage>>>>,
    watched: Vec<usize>,
    /// Rings that rang, are not watched, and have not been found empty since.
    ready: VecDeque<usize>,
    hot: usize,
    streak: u32,
}

impl Inbox {
    pub(crate) fn new(segment: &Arc<Segment>, rank: usize) -> Self {
        let rings = (0..segment.ranks()).map(|_| None).collect();
        let (watched, ready) = (Vec::with_capacity(MOST_WATCHED), VecDeque::new());
        Self {
            segment: Arc::clone(segment),
            rank,
            barrier: segment.barrier(),
            rings,
            watched,
            ready,
            hot: rank,
            streak: 0,
        }
    }

    /// Lets `read` read the next frame where it lies, with its sender; none when there is no frame.
    #[inline(always)]
    pub(crate) fn poll_with<R>(
        &mut self,
        mut read: impl FnMut(usize, &InSlot<'_>) -> R,
    ) -> Result<Option<R>, PortError> {
        if self.streak < LONGEST_STREAK {
            let hot = self.hot;
            if let Some(result) = take(&mut self.rings, hot, |frame| read(hot, frame))? {
                self.streak += 1;
                return Ok(Some(result));
            }
        }
        match self.poll_others()? {
            // The ring is the hot one now, and its frame is still there.
            Some(peer) => take(&mut self.rings, peer, |frame| read(peer, frame)),
            None => Ok(None),
        }
    }

    /// Stops watching, so that every sender rings, and announces sleep. `false` when something arrived meanwhile.
    pub(crate) fn prepare_sleep(&mut self) -> bool {
        if !self.ready.is_empty() {
            return false;
        }
        let watched = self.watched.iter();
        let rings = watched.filter_map(|&peer| self.rings[peer].as_ref());
        if !bell::stop_watching(rings, self.barrier) {
            return false;
        }
        self.watched.clear();
        self.control().announce_sleep()
    }

    /// The next ring that has a frame, fairly among all but the hot one.
    fn poll_others(&mut self) -> Result<Option<usize>, PortError> {
        self.streak = 0;
        loop {
            for index in 0..self.watched.len() {
                let peer = self.watched[index];
                if is_ready(&self.rings, peer) {
                    self.hot = peer;
                    // Who was served goes last.
                    self.watched[index..].rotate_left(1);
                    return Ok(Some(peer));
                }
            }
            while let Some(&peer) = self.ready.front() {
                if is_ready(&self.rings, peer) {
                    self.ready.rotate_left(1);
                    return Ok(Some(peer));
                }
                self.ready.pop_front();
            }
            if !self.control().has_rung() {
                return Ok(None);
            }
            self.answer_bells()?;
        }
    }

    /// Takes note of who rang; the next poll reads them.
    #[cold]
    fn answer_bells(&mut self) -> Result<(), PortError> {
        let mut rang = Vec::new();
        self.control()
            .take_rings(self.rings.len(), |sender| rang.push(sender));
        for sender in rang {
            if sender == self.rank {
                continue;
            }
            let ring = match &mut self.rings[sender] {
                Some(ring) => ring,
                vacant => {
                    let page = Mapped::ring(&self.segment, sender, self.rank)?;
                    vacant.insert(Consumer::new(page))
                }
            };
            if self.watched.contains(&sender) {
                continue;
            }
            if self.watched.len() == MOST_WATCHED {
                if !self.ready.contains(&sender) {
                    self.ready.push_back(sender);
                }
            } else {
                bell::watch(ring, true);
                self.watched.push(sender);
                self.ready.retain(|&peer| peer != sender);
            }
        }
        Ok(())
    }

    fn control(&self) -> &Control {
        self.segment.control(self.rank)
    }
}

#[inline(always)]
fn take<P: Deref<Target = RingPage>, R>(
    rings: &mut [Option<Consumer<P>>],
    peer: usize,
    read: impl FnOnce(&InSlot<'_>) -> R,
) -> Result<Option<R>, PortError> {
    match &mut rings[peer] {
        Some(ring) => ring
            .try_take(read)
            .map_err(|source| PortError::Corrupted { peer, source }),
        None => Ok(None),
    }
}

/// Whether a ring has a frame, or something that [`take`] reports as an error.
fn is_ready<P: Deref<Target = RingPage>>(rings: &[Option<Consumer<P>>], peer: usize) -> bool {
    rings[peer].as_ref().is_some_and(Consumer::is_ready)
}
