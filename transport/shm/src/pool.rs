//! A rank's blocks: where messages above one cache line live, and user buffers that are sent without a copy.
//!
//! Blocks are powers of two, carved from the rank's arena and never given back to it. All that is known of a block (its place, who
//! holds it, to whom it is lent) is private to the owner; a borrower learns an offset and a length, and later names the block by
//! number. The number is checked against the private record, so a bug of a borrower is an error and not a block with two owners, and
//! the record is the list of what to take back when a borrower dies.
//!
//! Free blocks of a class are used last-in first-out, because the last one is still in the cache. The blocks of pipelined transfers
//! are first-in first-out over a window of 1 MiB: where caches are small, a line that is dirty in the peer's cache costs 7.5 ns to
//! fetch, one that has aged out to the shared cache a quarter of that (measured: 7.5 against 30 GB/s).

mod departed;
mod error;
mod records;
mod settings;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::biased::Biased;
use crate::block::{BlockMut, Descriptor};
use crate::layout::{RETURNS, ReturnPage};
use crate::returns::{MAX_BLOCK, ReturnReceiver};
use crate::segment::{Mapped, Segment};

pub use error::PoolError;
pub use settings::PoolSettings;

/// The smallest block: four cache lines.
const SMALLEST: usize = 256;
/// A block of this size fits into no address space.
const LARGEST: usize = 1 << 62;
/// Blocks below this come from extents of this size that are populated at once.
pub(crate) const EXTENT: usize = 256 << 10;
/// Free blocks that a class has before it looks for returned ones: enough that a ping-pong reads the borrower's list once in a
/// dozen messages, few enough to stay in the first-level cache.
const WARM: usize = 8;

/// The blocks that one rank owns. Shared by its threads.
#[derive(Debug)]
pub struct Pool {
    segment: Arc<Segment>,
    rank: usize,
    state: Biased<State>,
}

/// A block that the owner of this value may write, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) block: u32,
    /// Offset in the segment.
    pub(crate) offset: usize,
    /// Bytes that are populated, at least what was asked for.
    pub(crate) capacity: usize,
}

#[derive(Debug)]
struct State {
    arena: Range<usize>,
    /// Where the next block or extent begins.
    frontier: usize,
    /// What is left of the current extent.
    extent: Range<usize>,
    taken: usize,
    blocks: Vec<Block>,
    free: Vec<FreeList>,
    chunks: VecDeque<u32>,
    chunks_made: bool,
    borrowers: Vec<Option<Borrower>>,
    /// Ranks that hold something.
    lent_to: Vec<usize>,
    settings: PoolSettings,
}

#[derive(Debug, Default)]
struct FreeList {
    blocks: Vec<u32>,
    made: usize,
}

#[derive(Debug)]
struct Block {
    offset: usize,
    /// Bytes populated; a power of two above them is reserved.
    populated: usize,
    class: u32,
    chunk: bool,
    readers: Readers,
}

/// Who reads a block.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Readers {
    Nobody,
    One(u32),
    Many(Vec<u32>),
}

#[derive(Debug)]
struct Borrower {
    returns: ReturnReceiver<Mapped<ReturnPage>>,
    lent: usize,
}

impl Pool {
    pub(crate) fn new(segment: &Arc<Segment>, rank: usize, settings: PoolSettings) -> Arc<Self> {
        let plan = segment.plan();
        let arena = plan.arena(rank)..plan.arena(rank + 1);
        let state = State {
            frontier: arena.start,
            extent: 0..0,
            arena,
            taken: 0,
            blocks: Vec::new(),
            free: (0..=class_of(LARGEST))
                .map(|_| FreeList::default())
                .collect(),
            chunks: VecDeque::new(),
            chunks_made: false,
            borrowers: (0..plan.ranks).map(|_| None).collect(),
            lent_to: Vec::with_capacity(plan.ranks),
            settings,
        };
        Arc::new(Self {
            segment: Arc::clone(segment),
            rank,
            state: Biased::new(state),
        })
    }

    /// The rank that owns the blocks.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The segment the blocks lie in.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Bytes of memory that the pool has taken so far.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.state.enter().taken
    }

    /// A block of at least `len` bytes for the caller to write. Its content is whatever an earlier use left.
    ///
    /// # Errors
    /// When memory, address space or the limit is used up.
    pub fn take(self: &Arc<Self>, len: usize) -> Result<BlockMut, PoolError> {
        let held = self.hold(len)?;
        Ok(BlockMut::new(Arc::clone(self), held, len))
    }

    /// Copies the first of `bytes`, as many as fit, into a chunk of the transfer window lent to `borrower`; none while all chunks are under
    /// way. Without a guard, as [`Self::stage`].
    ///
    /// # Errors
    /// When the window cannot be allocated.
    pub(crate) fn stage_chunk(
        &self,
        borrower: usize,
        bytes: &[u8],
    ) -> Result<Option<Descriptor>, PoolError> {
        let mut state = self.state.enter();
        if !state.chunks_made {
            state.make_chunks(&self.segment)?;
        }
        if state.chunks.is_empty() {
            state.collect()?;
        }
        if state.chunks.is_empty() || state.room_of(&self.segment, self.rank, borrower)? == 0 {
            return Ok(None);
        }
        let Some(number) = state.chunks.pop_front() else {
            return Ok(None);
        };
        state.lend(number, borrower);
        let held = state.held(number);
        drop(state);
        let bytes = &bytes[..bytes.len().min(held.capacity)];
        self.segment.copy_in(held.offset, bytes);
        Ok(Some(Descriptor {
            block: number,
            offset: held.offset as u64,
            len: bytes.len() as u64,
        }))
    }

    /// As [`Self::take`], without a guard.
    #[inline]
    pub(crate) fn hold(&self, len: usize) -> Result<Held, PoolError> {
        if len > self.segment.arena_bytes() {
            return Err(PoolError::Arena {
                arena: self.segment.arena_bytes(),
                wanted: len,
            });
        }
        let class = class_of(len);
        let mut state = self.state.enter();
        let list = state.class(class);
        if let Some(number) = list.blocks.pop() {
            if state.blocks[number as usize].populated >= len {
                return Ok(state.held(number));
            }
            state.class(class).blocks.push(number);
        }
        state.hold_slow(&self.segment, class, len)
    }

    /// Copies `bytes` into a block lent to `borrower`.
    ///
    /// No guard, and so no locked instruction between the copy and the publication that follows: it would wait until the lines of the
    /// block have come over from their last reader, which the copy's stores need not.
    #[inline]
    pub(crate) fn stage(&self, borrower: usize, bytes: &[u8]) -> Result<Descriptor, PoolError> {
        let held = self.hold(bytes.len())?;
        self.segment.copy_in(held.offset, bytes);
        self.lend(held.block, &[borrower])
            .inspect_err(|_| self.release(held.block))?;
        Ok(Descriptor {
            block: held.block,
            offset: held.offset as u64,
            len: bytes.len() as u64,
        })
    }

    /// Takes back a block that was held and not lent.
    #[inline]
    pub(crate) fn release(&self, block: u32) {
        self.state.enter().free(block);
    }

    /// Records that `block`, held until now, is read by each of `readers` until it returns it.
    #[inline]
    pub(crate) fn lend(&self, block: u32, readers: &[usize]) -> Result<(), PoolError> {
        let mut state = self.state.enter();
        for (index, &borrower) in readers.iter().enumerate() {
            if readers[..index].contains(&borrower) {
                return Err(PoolError::NamedTwice { borrower });
            }
            if state.room_of(&self.segment, self.rank, borrower)? == 0 {
                return Err(PoolError::Lent { borrower });
            }
        }
        if readers.len() > 1 {
            state.blocks[block as usize]
                .readers
                .expect_many(readers.len())?;
        }
        for &borrower in readers {
            state.lend(block, borrower);
        }
        Ok(())
    }

    /// How many blocks `borrower` holds, as far as its returns have been read.
    #[must_use]
    pub fn lent(&self, borrower: usize) -> usize {
        self.state.enter().borrowers[borrower]
            .as_ref()
            .map_or(0, |entry| entry.lent)
    }

    /// Reads all lists of returned blocks.
    ///
    /// # Errors
    /// When a borrower names a block that it does not hold.
    pub fn collect(&self) -> Result<(), PoolError> {
        self.state.enter().collect()
    }
}

impl State {
    fn class(&mut self, class: u32) -> &mut FreeList {
        let index = class as usize;
        if self.free.len() <= index {
            self.free.resize_with(index + 1, FreeList::default);
        }
        &mut self.free[index]
    }

    fn held(&self, number: u32) -> Held {
        let block = &self.blocks[number as usize];
        Held {
            block: number,
            offset: block.offset,
            capacity: block.populated,
        }
    }

    #[cold]
    fn hold_slow(&mut self, segment: &Segment, class: u32, len: usize) -> Result<Held, PoolError> {
        if self.class(class).made >= WARM || size_of_class(class) > EXTENT {
            self.collect()?;
        }
        if let Some(number) = self.class(class).blocks.pop() {
            self.populate(segment, number, len)
                .inspect_err(|_| self.free(number))?;
            return Ok(self.held(number));
        }
        self.make_room_to_record(class)?;
        let offset = self.carve(segment, size_of_class(class))?;
        let populated = if size_of_class(class) < EXTENT {
            size_of_class(class)
        } else {
            0
        };
        let number = self.add(Block {
            offset,
            populated,
            class,
            chunk: false,
            readers: Readers::Nobody,
        })?;
        self.class(class).made += 1;
        self.populate(segment, number, len)
            .inspect_err(|_| self.free(number))?;
        Ok(self.held(number))
    }

    /// Makes the first `len` bytes of a large block real.
    fn populate(&mut self, segment: &Segment, number: u32, len: usize) -> Result<(), PoolError> {
        let block = &self.blocks[number as usize];
        if block.populated >= len {
            return Ok(());
        }
        let len = len.next_multiple_of(4096).min(size_of_class(block.class));
        let fresh = block.offset + block.populated..block.offset + len;
        self.charge(fresh.len())?;
        segment
            .populate(fresh.clone())
            .inspect_err(|_| self.taken -= fresh.len())?;
        self.blocks[number as usize].populated = len;
        Ok(())
    }

    /// Cuts `size` bytes of address space off the arena; small ones are real at once.
    fn carve(&mut self, segment: &Segment, size: usize) -> Result<usize, PoolError> {
        if size >= EXTENT {
            return self.advance(size);
        }
        if self.extent.len() < size {
            self.extent = self.grow(segment, EXTENT)?;
        }
        let start = self.extent.start;
        self.extent.start += size;
        Ok(start)
    }

    /// Takes `size` bytes of the arena and makes them real, or takes nothing: callers try again when there is no memory.
    fn grow(&mut self, segment: &Segment, size: usize) -> Result<Range<usize>, PoolError> {
        let before = (self.frontier, self.taken);
        let grown = self
            .charge(size)
            .and_then(|()| self.advance(size))
            .and_then(|start| {
                segment.populate(start..start + size)?;
                Ok(start..start + size)
            });
        if grown.is_err() {
            (self.frontier, self.taken) = before;
        }
        grown
    }

    fn advance(&mut self, size: usize) -> Result<usize, PoolError> {
        let start = self.frontier.next_multiple_of(4096);
        if start > self.arena.end || self.arena.end - start < size {
            return Err(PoolError::Arena {
                arena: self.arena.len(),
                wanted: size,
            });
        }
        self.frontier = start + size;
        Ok(start)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), PoolError> {
        if let Some(limit) = self.settings.limit
            && self.taken + bytes > limit
        {
            return Err(PoolError::Limit {
                taken: self.taken,
                limit,
                wanted: bytes,
            });
        }
        self.taken += bytes;
        Ok(())
    }

    fn add(&mut self, block: Block) -> Result<u32, PoolError> {
        let number = u32::try_from(self.blocks.len())
            .ok()
            .filter(|&number| number <= MAX_BLOCK);
        let number = number.ok_or_else(|| PoolError::Arena {
            arena: self.arena.len(),
            wanted: size_of_class(block.class),
        })?;
        self.blocks.push(block);
        Ok(number)
    }

    /// Allocates the whole window at once: a window that grew on demand would stay small and hot, which is the slow case.
    fn make_chunks(&mut self, segment: &Segment) -> Result<(), PoolError> {
        let PoolSettings {
            chunk_size,
            chunk_window,
            ..
        } = self.settings;
        let count = (chunk_window / chunk_size).max(2);
        self.make_room_to_record_chunks(count)?;
        let start = self.grow(segment, count * chunk_size)?.start;
        for index in 0..count {
            let offset = start + index * chunk_size;
            let block = Block {
                offset,
                populated: chunk_size,
                class: class_of(chunk_size),
                chunk: true,
                readers: Readers::Nobody,
            };
            let number = self.add(block)?;
            self.chunks.push_back(number);
        }
        self.chunks_made = true;
        Ok(())
    }

    #[inline]
    fn free(&mut self, number: u32) {
        let Block { chunk, class, .. } = self.blocks[number as usize];
        if chunk {
            self.chunks.push_back(number);
        } else {
            self.class(class).blocks.push(number);
        }
    }

    /// How many more blocks `borrower` may get.
    #[inline]
    fn room_of(
        &mut self,
        segment: &Arc<Segment>,
        owner: usize,
        borrower: usize,
    ) -> Result<usize, PoolError> {
        if self.borrowers[borrower].is_none() {
            let returns = ReturnReceiver::new(Mapped::returns(segment, owner, borrower)?);
            self.borrowers[borrower] = Some(Borrower { returns, lent: 0 });
        }
        if self.borrowers[borrower]
            .as_ref()
            .is_some_and(|entry| entry.lent == RETURNS)
        {
            self.collect()?;
        }
        Ok(RETURNS
            - self.borrowers[borrower]
                .as_ref()
                .map_or(0, |entry| entry.lent))
    }

    #[inline]
    fn lend(&mut self, number: u32, borrower: usize) {
        self.blocks[number as usize].readers.add(borrower as u32);
        let entry = self.borrowers[borrower]
            .as_mut()
            .expect("room_of made the entry");
        if entry.lent == 0 {
            self.lent_to.push(borrower);
        }
        entry.lent += 1;
    }

    fn collect(&mut self) -> Result<(), PoolError> {
        let mut index = 0;
        while let Some(&borrower) = self.lent_to.get(index) {
            while let Some(number) = self.borrowers[borrower]
                .as_mut()
                .and_then(|entry| entry.returns.try_take())
            {
                let holds = self
                    .blocks
                    .get(number as usize)
                    .is_some_and(|block| block.readers.contains(borrower as u32));
                if !holds {
                    return Err(PoolError::Corrupted {
                        borrower,
                        block: number,
                    });
                }
                self.take_back(number, borrower as u32);
                if let Some(entry) = &mut self.borrowers[borrower] {
                    entry.lent -= 1;
                }
            }
            if self.borrowers[borrower]
                .as_ref()
                .is_some_and(|entry| entry.lent == 0)
            {
                self.lent_to.swap_remove(index);
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    fn take_back(&mut self, number: u32, reader: u32) {
        if self.blocks[number as usize].readers.remove(reader) {
            self.free(number);
        }
    }
}

impl Readers {
    fn contains(&self, rank: u32) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(one) => *one == rank,
            Self::Many(many) => many.contains(&rank),
        }
    }

    fn add(&mut self, rank: u32) {
        match self {
            Self::Nobody => *self = Self::One(rank),
            Self::One(one) => *self = Self::Many(vec![*one, rank]),
            Self::Many(many) => many.push(rank),
        }
    }

    /// Takes one `rank` off; true when nobody is left.
    fn remove(&mut self, rank: u32) -> bool {
        match self {
            Self::Nobody => return false,
            Self::One(_) => *self = Self::Nobody,
            Self::Many(many) => {
                if let Some(index) = many.iter().position(|&reader| reader == rank) {
                    many.swap_remove(index);
                }
                if many.is_empty() {
                    *self = Self::Nobody;
                }
            }
        }
        *self == Self::Nobody
    }
}

/// Number of the smallest class that holds `len` bytes; for more than any arena has, of one that no arena holds.
#[inline]
fn class_of(len: usize) -> u32 {
    len.clamp(SMALLEST, LARGEST)
        .next_power_of_two()
        .trailing_zeros()
        - SMALLEST.trailing_zeros()
}

fn size_of_class(class: u32) -> usize {
    SMALLEST << class
}

#[cfg(test)]
#[cfg(not(any(phalanx_loom, phalanx_shuttle)))]
mod tests;
