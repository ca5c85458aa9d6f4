//! One rank's place in the node segment: its rings out, its rings in, its blocks.
//!
//! All that is unsafe about shared memory ends here. There is one port per rank and segment (the rank's state word sees to it), the
//! port's methods take `&mut self`, and so every ring has one producer and one consumer.

use std::sync::Arc;
use std::time::Duration;

use crate::bell;
use crate::block::{BlockMut, BorrowError, Borrowed, Descriptor, Lending};
use crate::inbox::Inbox;
use crate::layout::{RETURNS, RingPage};
use crate::life::RankState;
use crate::pool::{Pool, PoolError, PoolSettings};
use crate::ring::{Corrupted, InSlot, Producer, Words};
use crate::segment::{Mapped, Segment, SegmentError};

/// A rank's end of everything.
#[derive(Debug)]
pub struct Port {
    segment: Arc<Segment>,
    rank: usize,
    outgoing: Vec<Option<Producer<Mapped<RingPage>>>>,
    inbox: Inbox,
    pool: Arc<Pool>,
    lending: Arc<Lending>,
    /// Blocks that each other rank has lent to this one so far, modulo 2^32.
    borrowed: Vec<u32>,
    /// Blocks that have been copied out and not returned yet.
    read: Vec<(usize, u32)>,
}

/// Blocks of one owner that this rank keeps before it copies: half of what the owner lends, so that messages on their way fit too.
const MOST_HELD: u32 = RETURNS as u32 / 2;

/// Blocks that wait to be returned together: few, because they are missing at their owners.
const MOST_READ: usize = 8;

/// What can go wrong with a peer's rings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// A ring holds what its protocol does not allow.
    #[error(
        "the ring shared with rank {peer} is damaged ({source}): that rank, or this one, wrote through a wild pointer"
    )]
    Corrupted {
        /// The rank at the other end.
        peer: usize,
        /// What was found.
        source: Corrupted,
    },
    /// A page of the segment cannot be had.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// No block can be had.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A peer named a block that cannot be.
    #[error(transparent)]
    Borrow(#[from] BorrowError),
}

impl Port {
    /// Takes the place of `rank`.
    ///
    /// # Errors
    /// When someone has it already, or the settings cannot be.
    ///
    /// # Panics
    /// When the segment has no such rank.
    pub fn attach(
        segment: Arc<Segment>,
        rank: usize,
        settings: PoolSettings,
    ) -> Result<Self, SegmentError> {
        settings.check()?;
        segment.claim(rank)?;
        Ok(Self {
            rank,
            outgoing: (0..segment.ranks()).map(|_| None).collect(),
            inbox: Inbox::new(&segment, rank),
            pool: Pool::new(&segment, rank, settings),
            lending: Lending::new(&segment, rank),
            borrowed: vec![0; segment.ranks()],
            read: Vec::with_capacity(MOST_READ),
            segment,
        })
    }

    /// The segment.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The rank.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The rank's blocks.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Publishes one frame to `peer`; `false` when its ring is full. Never waits.
    ///
    /// # Errors
    /// When the ring cannot be mapped or is damaged.
    #[inline]
    pub fn try_push(&mut self, peer: usize, words: &Words) -> Result<bool, PortError> {
        self.publish(peer, |ring| ring.try_push(words))
    }

    /// As [`Self::try_push`], with a frame of two words and at most 48 `bytes`, which are copied once.
    ///
    /// # Errors
    /// As [`Self::try_push`].
    ///
    /// # Panics
    /// When the bytes are more than fit.
    #[inline]
    pub fn try_push_bytes(
        &mut self,
        peer: usize,
        (word, second): (u64, u64),
        bytes: &[u8],
    ) -> Result<bool, PortError> {
        self.publish(peer, |ring| ring.try_push_bytes(word, second, bytes))
    }

    #[inline(always)]
    fn publish(
        &mut self,
        peer: usize,
        push: impl FnOnce(&mut Producer<Mapped<RingPage>>) -> Result<bool, Corrupted>,
    ) -> Result<bool, PortError> {
        let ring = producer(&mut self.outgoing, &self.segment, self.rank, peer)?;
        if !push(ring).map_err(|source| PortError::Corrupted { peer, source })? {
            return Ok(false);
        }
        if bell::must_ring(ring.page(), self.segment.barrier()) {
            self.segment.control(peer).ring(self.rank);
        }
        Ok(true)
    }

    /// Whether a frame to `peer` would be taken now.
    ///
    /// # Errors
    /// As [`Self::try_push`].
    #[inline]
    pub fn has_room(&mut self, peer: usize) -> Result<bool, PortError> {
        let ring = producer(&mut self.outgoing, &self.segment, self.rank, peer)?;
        ring.has_room()
            .map_err(|source| PortError::Corrupted { peer, source })
    }

    /// Copies `bytes` into a block lent to `peer`; the frame with the descriptor must follow.
    ///
    /// # Errors
    /// When there is no block.
    #[inline]
    pub fn stage(&mut self, peer: usize, bytes: &[u8]) -> Result<Descriptor, PoolError> {
        self.pool.stage(peer, bytes)
    }

    /// As [`Self::stage`], but copies only what fits into one chunk of the transfer window; none while all chunks are under way.
    ///
    /// # Errors
    /// When the window cannot be allocated.
    #[inline]
    pub fn stage_chunk(
        &mut self,
        peer: usize,
        bytes: &[u8],
    ) -> Result<Option<Descriptor>, PoolError> {
        self.pool.stage_chunk(peer, bytes)
    }

    /// Lends `block` to each of `readers`; frames with the descriptor must follow.
    ///
    /// # Errors
    /// Gives the block back when one of the readers already holds too many or is named twice, or when the block is another rank's.
    #[inline]
    pub fn lend(
        &mut self,
        block: BlockMut,
        readers: &[usize],
    ) -> Result<Descriptor, (BlockMut, PoolError)> {
        debug_assert!(
            !readers.is_empty(),
            "a block lent to nobody would never come back"
        );
        if !Arc::ptr_eq(block.pool(), &self.pool) {
            let (rank, owner) = (self.rank, block.pool().rank());
            return Err((block, PoolError::Foreign { rank, owner }));
        }
        if let Err(error) = self.pool.lend(block.descriptor().block, readers) {
            return Err((block, error));
        }
        let descriptor = block.descriptor();
        block.into_lent();
        Ok(descriptor)
    }

    /// A guard on the block that `owner` sent.
    ///
    /// # Errors
    /// When the descriptor cannot be.
    #[inline]
    pub fn borrow(
        &mut self,
        owner: usize,
        descriptor: Descriptor,
    ) -> Result<Borrowed, BorrowError> {
        let borrowed = self.lending.borrow(owner, descriptor)?;
        self.borrowed[owner] = self.borrowed[owner].wrapping_add(1);
        Ok(borrowed)
    }

    /// Whether this rank holds so many blocks of `owner` that the next message is better copied and its block returned: an owner lends
    /// a fixed number of blocks and no more, and a program that keeps what it receives must not stop its senders.
    #[must_use]
    #[inline]
    pub fn holds_many(&self, owner: usize) -> bool {
        self.borrowed[owner].wrapping_sub(self.lending.given_back(owner)) > MOST_HELD
    }

    /// Copies the block that `owner` sent to the beginning of `into` and returns it to its owner when there is nothing better to do.
    ///
    /// # Errors
    /// When the descriptor cannot be.
    ///
    /// # Panics
    /// When `into` is shorter than the block.
    #[inline]
    pub fn copy_out(
        &mut self,
        owner: usize,
        descriptor: Descriptor,
        into: &mut [u8],
    ) -> Result<(), BorrowError> {
        self.lending.copy_out(owner, descriptor, into)?;
        // Giving it back now would put a store to a line that the owner has between this message and the answer to it.
        self.borrowed[owner] = self.borrowed[owner].wrapping_add(1);
        self.read.push((owner, descriptor.block));
        if self.read.len() >= MOST_READ {
            self.return_read()?
        }
        Ok(())
    }

    #[cold]
    fn return_read(&mut self) -> Result<(), BorrowError> {
        self.read
            .drain(..)
            .try_for_each(|(owner, block)| self.lending.give_back(owner, block))
    }

    /// Where in the segment `bytes` lie, if they are in this rank's arena: peers take nothing else for what this rank exposes. A block
    /// on loan from another rank is not.
    #[must_use]
    #[inline]
    pub fn expose(&self, bytes: &[u8]) -> Option<u64> {
        let plan = self.segment.plan();
        let offset = self.segment.offset_of(bytes)?;
        (offset >= plan.arena(self.rank) && offset + bytes.len() <= plan.arena(self.rank + 1))
            .then_some(offset as u64)
    }

    /// Copies what `owner` exposes at `offset` of the segment into `into`.
    ///
    /// # Errors
    /// When the place lies outside the owner's arena.
    pub fn pull(&self, owner: usize, offset: u64, into: &mut [u8]) -> Result<(), BorrowError> {
        self.lending.pull(owner, offset, into)
    }

    /// The next frame from anyone, with its sender. Never waits.
    ///
    /// # Errors
    /// When a ring turns out to be damaged: once, and then the others are polled on.
    #[inline]
    pub fn poll(&mut self) -> Result<Option<(usize, Words)>, PortError> {
        self.poll_with(|peer, frame| (peer, frame.words()))
    }

    /// As [`Self::poll`], but lets `read` read the frame where it lies.
    ///
    /// # Errors
    /// As [`Self::poll`].
    #[inline(always)]
    pub fn poll_with<R>(
        &mut self,
        read: impl FnMut(usize, &InSlot<'_>) -> R,
    ) -> Result<Option<R>, PortError> {
        let found = self.inbox.poll_with(read)?;
        if found.is_none() && !self.read.is_empty() {
            self.return_read()?;
        }
        Ok(found)
    }

    /// Peers whose rings to this rank turned out to be damaged. Each was reported once by [`Self::poll`]; nothing comes from them any
    /// more.
    #[must_use]
    pub fn damaged(&self) -> &[usize] {
        self.inbox.damaged()
    }

    /// Takes back what `peer`, which has departed, can never return: all that it held, if it died; the blocks of frames that it never
    /// took, if it left. What it took it has returned, or still reads. `block_of` tells which block a frame describes. Returns how many
    /// blocks came back. To be called once, after the last frame to the peer.
    ///
    /// # Errors
    /// When the ring to the peer is damaged.
    pub fn forget(
        &mut self,
        peer: usize,
        block_of: impl FnMut(&Words) -> Option<u32>,
    ) -> Result<usize, PortError> {
        match (self.segment.state_of(peer), &self.outgoing[peer]) {
            (RankState::Dead(_), _) => Ok(self.pool.reclaim(peer)),
            (RankState::Left, Some(ring)) => {
                let untaken = ring
                    .untaken()
                    .map_err(|source| PortError::Corrupted { peer, source })?;
                Ok(self
                    .pool
                    .take_back(peer, untaken.iter().filter_map(block_of)))
            }
            _ => Ok(0),
        }
    }

    /// Whether [`Self::leave`] has been called, after which nothing is ever received.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Departs as `state` says: returns what was read, tells every sender what was taken, and takes nothing any more.
    pub fn leave(&mut self, state: RankState) {
        // A list that cannot be mapped loses its owner some blocks; there is nobody left to tell.
        let _ = self.return_read();
        self.inbox.close();
        self.segment.depart(self.rank, state);
    }

    /// Asks, before [`Self::prepare_sleep`], to be woken also when a peer takes frames or returns blocks. Over with the sleep. Whether
    /// there is room has to be looked at once more after the preparation.
    pub fn want_room(&mut self) {
        self.segment.control(self.rank).want_room();
    }

    /// Gets ready to sleep; `false` when something arrived meanwhile. Then [`Sleeper::sleep`] may be called, without this port.
    pub fn prepare_sleep(&mut self) -> bool {
        let ready = self.inbox.prepare_sleep();
        if !ready {
            self.segment.control(self.rank).have_room();
        }
        ready
    }

    /// The handle to sleep and wake with.
    #[must_use]
    pub fn sleeper(&self) -> Sleeper {
        Sleeper {
            segment: Arc::clone(&self.segment),
            rank: self.rank,
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.leave(RankState::Left);
    }
}

/// Lets a thread sleep until its rank has mail. Separate from the port, so that other threads can use that meanwhile.
#[derive(Clone, Debug)]
pub struct Sleeper {
    segment: Arc<Segment>,
    rank: usize,
}

impl Sleeper {
    /// Sleeps, after [`Port::prepare_sleep`] said so, until mail arrives, someone calls [`Self::wake`], or `timeout` has passed.
    pub fn sleep(&self, timeout: Duration) {
        self.segment.control(self.rank).sleep(timeout);
    }

    /// Wakes all threads of this rank that sleep.
    pub fn wake(&self) {
        self.segment.control(self.rank).wake();
    }
}

#[inline]
fn producer<'a>(
    outgoing: &'a mut [Option<Producer<Mapped<RingPage>>>],
    segment: &Arc<Segment>,
    rank: usize,
    peer: usize,
) -> Result<&'a mut Producer<Mapped<RingPage>>, SegmentError> {
    let place = &mut outgoing[peer];
    if place.is_none() {
        *place = Some(Producer::new(Mapped::ring(segment, rank, peer)?));
    }
    Ok(place.as_mut().expect("just filled"))
}

#[cfg(test)]
#[cfg(not(any(phalanx_loom, phalanx_shuttle)))]
mod tests;
