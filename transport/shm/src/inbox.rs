//! The receiving side of a rank: all rings that lead to it.
//!
//! Polls the ring that was busy last, then the other watched ones, then those that rang, then the gate; every few turns the other way
//! round, so that busy rings starve nobody. Rings of peers that never talked are not even mapped, so idle peers cost nothing, however
//! many there are. A damaged ring is reported once and then set aside, so that the others are served on.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use crate::bell;
use crate::layout::{Control, RingPage};
use crate::port::PortError;
use crate::ring::{Consumer, Corrupted, InSlot};
use crate::segment::{Mapped, Segment};

/// Rings polled without being asked. More make each poll longer than the ring of a bell costs the sender.
const MOST_WATCHED: usize = 8;
/// Frames taken from the hot ring in a row before the others get their turn.
const LONGEST_STREAK: u32 = 16;
/// Looks beyond the hot ring before those that are not watched come first: a stream looks at its bells once in 128 frames, and who
/// rings gets as long a streak as each of the eight.
const LONGEST_PREFERENCE: u32 = MOST_WATCHED as u32;

/// All rings that lead to one rank.
#[derive(Debug)]
pub(crate) struct Inbox {
    segment: Arc<Segment>,
    rank: usize,
    rings: Box<[Option<Consumer<Mapped<RingPage>>>]>,
    watched: Vec<usize>,
    /// Rings that rang, are not watched, and have not been found empty since.
    ready: VecDeque<usize>,
    hot: usize,
    streak: u32,
    /// Looks beyond the hot ring since those that are not watched came first.
    preference: u32,
    rare: Box<Rare>,
}

/// What polling does not look at.
#[derive(Debug)]
struct Rare {
    /// Peers whose rings were damaged; nothing is read from them any more.
    damaged: Vec<usize>,
    /// Senders that rang, while they are answered.
    rang: Vec<usize>,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new(segment: &Arc<Segment>, rank: usize) -> Self {
        let ranks = segment.ranks();
        Self {
            segment: Arc::clone(segment),
            rank,
            rings: (0..ranks).map(|_| None).collect(),
            watched: Vec::with_capacity(MOST_WATCHED),
            // What is taken here is never more, so that receiving needs no memory later.
            ready: VecDeque::with_capacity(ranks),
            hot: rank,
            streak: 0,
            preference: 0,
            rare: Box::new(Rare {
                damaged: Vec::with_capacity(ranks),
                rang: Vec::with_capacity(ranks),
                closed: false,
            }),
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
            match take(&mut self.rings, hot, |frame| read(hot, frame)) {
                Ok(Some(result)) => {
                    self.streak += 1;
                    self.offer_room(hot);
                    return Ok(Some(result));
                }
                Ok(None) => {}
                Err(source) => return Err(self.set_aside(hot, source)),
            }
        }
        match self.poll_others()? {
            // The ring is the hot one now, and its frame is still there.
            Some(peer) => {
                let taken = take(&mut self.rings, peer, |frame| read(peer, frame));
                self.offer_room(peer);
                taken.map_err(|source| self.set_aside(peer, source))
            }
            None => Ok(None),
        }
    }

    /// Rings a sender that sleeps for want of room, if the last frame taken gave it credit.
    #[inline(always)]
    fn offer_room(&self, sender: usize) {
        if self.rings[sender]
            .as_ref()
            .is_some_and(Consumer::has_just_told)
        {
            let control = self.segment.control(sender);
            control.offer_room(self.rank, self.segment.barrier());
        }
    }

    /// Peers whose rings turned out to be damaged.
    pub(crate) fn damaged(&self) -> &[usize] {
        &self.rare.damaged
    }

    /// Whether [`Self::close`] has been called.
    pub(crate) fn is_closed(&self) -> bool {
        self.rare.closed
    }

    /// Tells every sender exactly what was taken, and takes nothing any more.
    pub(crate) fn close(&mut self) {
        self.rare.closed = true;
        self.watched.clear();
        self.ready.clear();
        for ring in &mut self.rings {
            if let Some(ring) = ring.take() {
                ring.close();
            }
        }
    }

    /// Stops watching, so that every sender rings, and announces sleep. `false` when something arrived meanwhile.
    pub(crate) fn prepare_sleep(&mut self) -> bool {
        if !self.ready.is_empty() {
            return false;
        }
        let watched = self.watched.iter();
        let rings = watched.filter_map(|&peer| self.rings[peer].as_ref());
        if !bell::stop_watching(rings, self.segment.barrier()) {
            return false;
        }
        self.watched.clear();
        self.control().announce_sleep()
    }

    /// The next ring that has a frame, fairly among all but the hot one.
    fn poll_others(&mut self) -> Result<Option<usize>, PortError> {
        self.streak = 0;
        self.preference += 1;
        if self.preference >= LONGEST_PREFERENCE
            && let Some(peer) = self.prefer_unwatched()?
        {
            return Ok(Some(peer));
        }
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
            if let Some(peer) = self.next_ready() {
                return Ok(Some(peer));
            }
            if !self.control().has_rung() {
                return Ok(None);
            }
            self.answer_bells()?;
        }
    }

    /// Lets the rings that are not watched go first for once.
    #[cold]
    fn prefer_unwatched(&mut self) -> Result<Option<usize>, PortError> {
        self.preference = 0;
        if self.control().has_rung() {
            self.answer_bells()?;
        }
        Ok(self.next_ready())
    }

    /// The next of the rings that rang and have a frame, in turn.
    fn next_ready(&mut self) -> Option<usize> {
        while let Some(&peer) = self.ready.front() {
            if is_ready(&self.rings, peer) {
                self.ready.rotate_left(1);
                self.hot = peer;
                return Some(peer);
            }
            self.ready.pop_front();
        }
        None
    }

    /// Takes note of who rang; the next poll reads them.
    #[cold]
    fn answer_bells(&mut self) -> Result<(), PortError> {
        let mut rang = std::mem::take(&mut self.rare.rang);
        self.control()
            .take_rings(self.rings.len(), |sender| rang.push(sender));
        let mut failed = None;
        for sender in rang.drain(..) {
            if let Err(error) = self.answer(sender) {
                // Its frame waits, and the bell is off: only a bell makes anybody look there again.
                self.control().ring(sender);
                failed = failed.or(Some(error));
            }
        }
        self.rare.rang = rang;
        failed.map_or(Ok(()), Err)
    }

    /// Watches the ring of `sender`, or puts it among those that are asked in turn.
    fn answer(&mut self, sender: usize) -> Result<(), PortError> {
        if self.rare.closed || sender == self.rank || self.rare.damaged.contains(&sender) {
            return Ok(());
        }
        let ring = match &mut self.rings[sender] {
            Some(ring) => ring,
            vacant => {
                let page = Mapped::ring(&self.segment, sender, self.rank)?;
                vacant.insert(Consumer::new(page))
            }
        };
        if self.watched.contains(&sender) {
            return Ok(());
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
        Ok(())
    }

    /// Reads nothing more from a damaged ring: what else it holds cannot be told from damage.
    #[cold]
    fn set_aside(&mut self, peer: usize, source: Corrupted) -> PortError {
        if let Some(ring) = self.rings[peer].take() {
            // Its sender need not ring for what nobody will read, and gets the blocks of that back when this rank leaves.
            bell::watch(&ring, true);
            ring.close();
        }
        self.watched.retain(|&watched| watched != peer);
        self.ready.retain(|&ready| ready != peer);
        self.rare.damaged.push(peer);
        PortError::Corrupted { peer, source }
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
) -> Result<Option<R>, Corrupted> {
    match &mut rings[peer] {
        Some(ring) => ring.try_take(read),
        None => Ok(None),
    }
}

/// Whether a ring has a frame, or something that [`take`] reports as an error.
fn is_ready<P: Deref<Target = RingPage>>(rings: &[Option<Consumer<P>>], peer: usize) -> bool {
    rings[peer].as_ref().is_some_and(Consumer::is_ready)
}
