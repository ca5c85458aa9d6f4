//! Guards of blocks: one writer before a block is sent, any number of readers after.
//!
//! A block is written only through [`BlockMut`], which its owner holds and sending consumes, and read only through [`Borrowed`],
//! between the arrival of its descriptor and the guard's drop. The descriptor's publication and the return list order the two.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::layout::ReturnPage;
use crate::pool::{Held, Pool};
use crate::returns::{MAX_BLOCK, ReturnSender};
use crate::segment::{Mapped, Segment, SegmentError};

/// Every block begins on a cache line.
const BLOCK_ALIGNMENT: u64 = 64;

/// Where a sent block lies, as it travels in a frame. Everything in it is the sender's word until [`Lending::borrow`] checked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The owner's number of the block.
    pub block: u32,
    /// Offset in the segment, in bytes.
    pub offset: u64,
    /// Length of the content, in bytes.
    pub len: u64,
}

/// A block to be written and sent; back in its pool when dropped.
pub struct BlockMut {
    pool: Arc<Pool>,
    start: NonNull<u8>,
    held: Held,
    len: usize,
}

// SAFETY: the block is plain memory, reachable through this guard alone, and the pool is shared between threads.
unsafe impl Send for BlockMut {}
// SAFETY: a shared guard only reads.
unsafe impl Sync for BlockMut {}

impl BlockMut {
    pub(crate) fn new(pool: Arc<Pool>, held: Held, len: usize) -> Self {
        debug_assert!(len <= held.capacity);
        let cells = pool
            .segment()
            .cells(held.offset..held.offset + held.capacity);
        let start = NonNull::new(cells.as_ptr().cast_mut().cast())
            .expect("a slice is never at address zero");
        Self {
            pool,
            start,
            held,
            len,
        }
    }

    /// Bytes that the block can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.held.capacity
    }

    /// Sets the length of the content to `len`.
    ///
    /// # Panics
    /// When the block cannot hold that many bytes.
    pub fn set_len(&mut self, len: usize) {
        assert!(
            len <= self.held.capacity,
            "a block of {} bytes cannot hold {len}",
            self.held.capacity
        );
        self.len = len;
    }

    /// The pool the block belongs to.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What a peer needs to know to read it.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            block: self.held.block,
            offset: self.held.offset as u64,
            len: self.len as u64,
        }
    }

    /// Forgets the guard without returning the block: it is lent now.
    pub(crate) fn into_lent(self) {
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the guard is never dropped, so the pool's handle is dropped once, here.
        unsafe { std::ptr::drop_in_place(&raw mut this.pool) };
    }
}

impl Deref for BlockMut {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the block's bytes are mapped and initialised (zero at first), and nobody writes them but through this guard.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for BlockMut {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the guard is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for BlockMut {
    fn drop(&mut self) {
        self.pool.release(self.held.block);
    }
}

impl fmt::Debug for BlockMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockMut")
            .field("block", &self.held.block)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// What a rank needs to read other ranks' blocks and to return them.
#[derive(Debug)]
pub struct Lending {
    segment: Arc<Segment>,
    rank: usize,
    returns: Vec<std::sync::OnceLock<ReturnSender<Mapped<ReturnPage>>>>,
}

/// Why a descriptor was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BorrowError {
    /// It is no place of a block in its owner's arena.
    #[error(
        "rank {owner} sent a block at {offset}+{len}, which is no block of its arena: its memory is damaged"
    )]
    OutOfBounds {
        /// The sender.
        owner: usize,
        /// Offset named.
        offset: u64,
        /// Length named.
        len: u64,
    },
    /// The list for returning it cannot be mapped.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

impl Lending {
    pub(crate) fn new(segment: &Arc<Segment>, rank: usize) -> Arc<Self> {
        let returns = (0..segment.ranks())
            .map(|_| std::sync::OnceLock::new())
            .collect();
        Arc::new(Self {
            segment: Arc::clone(segment),
            rank,
            returns,
        })
    }

    /// A guard on the block that `owner` sent.
    ///
    /// # Errors
    /// When the descriptor points outside the owner's arena.
    #[inline]
    pub fn borrow(
        self: &Arc<Self>,
        owner: usize,
        descriptor: Descriptor,
    ) -> Result<Borrowed, BorrowError> {
        let bytes = self.find(owner, descriptor)?;
        self.connect(owner)?;
        Ok(Borrowed {
            lending: Arc::clone(self),
            start: bytes.cast(),
            len: bytes.len(),
            owner,
            block: descriptor.block,
        })
    }

    /// Copies the block that `owner` sent to the beginning of `into`, without a guard: [`Self::give_back`] must follow.
    ///
    /// # Panics
    /// When `into` is shorter than the block.
    #[inline]
    pub(crate) fn copy_out(
        &self,
        owner: usize,
        descriptor: Descriptor,
        into: &mut [u8],
    ) -> Result<(), BorrowError> {
        let bytes = self.find(owner, descriptor)?;
        copy(bytes, &mut into[..bytes.len()]);
        Ok(())
    }

    #[inline]
    fn find(
        &self,
        owner: usize,
        descriptor: Descriptor,
    ) -> Result<NonNull<[std::cell::UnsafeCell<u8>]>, BorrowError> {
        let Descriptor { block, offset, len } = descriptor;
        // A number too large for its place in the return list would take the lap's.
        if !offset.is_multiple_of(BLOCK_ALIGNMENT) || block > MAX_BLOCK {
            return Err(BorrowError::OutOfBounds { owner, offset, len });
        }
        self.locate(owner, offset, len)
    }

    /// How many blocks have been returned to `owner` so far, modulo 2^32.
    pub(crate) fn given_back(&self, owner: usize) -> u32 {
        self.returns[owner]
            .get()
            .map_or(0, ReturnSender::given_back)
    }

    /// Returns a block that was read without a guard.
    pub(crate) fn give_back(&self, owner: usize, block: u32) -> Result<(), BorrowError> {
        self.connect(owner)?;
        if let Some(returns) = self.returns[owner].get() {
            returns.give_back(block);
            self.offer_room(owner);
        }
        Ok(())
    }

    /// Rings an owner that sleeps until its blocks come back.
    #[inline]
    fn offer_room(&self, owner: usize) {
        let control = self.segment.control(owner);
        control.offer_room(self.rank, self.segment.barrier());
    }

    /// Copies bytes that `owner` exposes at `offset` into `into`.
    ///
    /// # Errors
    /// When the place lies outside the owner's arena.
    pub fn pull(&self, owner: usize, offset: u64, into: &mut [u8]) -> Result<(), BorrowError> {
        let source = self.locate(owner, offset, into.len() as u64)?;
        copy(source, into);
        Ok(())
    }

    #[inline]
    fn locate(
        &self,
        owner: usize,
        offset: u64,
        len: u64,
    ) -> Result<NonNull<[std::cell::UnsafeCell<u8>]>, BorrowError> {
        let refused = || BorrowError::OutOfBounds { owner, offset, len };
        let plan = self.segment.plan();
        let arena = plan.arena(owner)..plan.arena(owner + 1);
        let start = usize::try_from(offset).map_err(|_| refused())?;
        let end = usize::try_from(len)
            .ok()
            .and_then(|len| start.checked_add(len))
            .ok_or_else(refused)?;
        if start < arena.start || end > arena.end {
            return Err(refused());
        }
        Ok(NonNull::from(self.segment.cells(start..end)))
    }

    #[inline]
    fn connect(&self, owner: usize) -> Result<(), SegmentError> {
        if self.returns[owner].get().is_none() {
            let sender = ReturnSender::new(Mapped::returns(&self.segment, owner, self.rank)?);
            // Two threads may have come here at once; the page has one sender, the first.
            let _ = self.returns[owner].set(sender);
        }
        Ok(())
    }
}

/// Copies memory of a peer that lies in its arena to `into`, which is as long.
#[inline]
fn copy(source: NonNull<[std::cell::UnsafeCell<u8>]>, into: &mut [u8]) {
    assert_eq!(
        source.len(),
        into.len(),
        "a copy has two ends of one length"
    );
    // SAFETY: the source is mapped, for `locate` found it; it is as long as the destination, which is exclusively ours and lies
    // elsewhere or is another block. The owner promised not to write until we say that we are done; if it does, the bytes are wrong
    // but still bytes.
    unsafe { std::ptr::copy(source.cast::<u8>().as_ptr(), into.as_mut_ptr(), into.len()) };
}

/// A block of another rank, read in place; returned when dropped.
pub struct Borrowed {
    lending: Arc<Lending>,
    start: NonNull<u8>,
    len: usize,
    owner: usize,
    block: u32,
}

// SAFETY: the block is plain memory that nobody writes while it is lent; returning it is safe from any thread.
unsafe impl Send for Borrowed {}
// SAFETY: a shared guard only reads.
unsafe impl Sync for Borrowed {}

impl Borrowed {
    /// The rank whose block it is.
    #[must_use]
    pub fn owner(&self) -> usize {
        self.owner
    }
}

impl Deref for Borrowed {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `locate` found the bytes in the owner's arena; the owner does not write them before we return the block.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Borrowed {
    #[inline]
    fn drop(&mut self) {
        if let Some(returns) = self.lending.returns[self.owner].get() {
            returns.give_back(self.block);
            self.lending.offer_room(self.owner);
        }
    }
}

impl fmt::Debug for Borrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrowed")
            .field("owner", &self.owner)
            .field("block", &self.block)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
