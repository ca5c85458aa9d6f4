//! Owned bytes of a received message, wherever they lie.
//!
//! Every payload starts at an address that is a multiple of [`ALIGNMENT`], so that an rkyv archive or a slice of numbers is read
//! where it is. Dropping a payload gives its memory back to whoever owns it.

pub(crate) mod permit;

use std::ops::{Deref, DerefMut};

use phalanx_shm::{BlockMut, Borrowed, InSlot, Words};

use permit::Permit;

/// Alignment in bytes of the first byte of every payload.
pub const ALIGNMENT: usize = 16;

/// Received bytes: inside this value, in a sender's block, or on the heap.
#[derive(Debug)]
#[non_exhaustive]
pub enum Payload {
    /// At most [`Inline::CAPACITY`] bytes, carried by value.
    Inline(Inline),
    /// A block of shared memory, on loan.
    Block(Borrowed),
    /// A buffer of the process.
    Heap(AlignedBytes),
}

impl Payload {
    /// Copies `bytes` into a payload of its own.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Inline::new(bytes).map_or_else(|| Self::Heap(AlignedBytes::copy_of(bytes)), Self::Inline)
    }

    /// The first `len` bytes of a frame's body.
    ///
    /// # Panics
    /// When they are more than [`Inline::CAPACITY`].
    #[must_use]
    #[inline]
    pub fn in_frame(frame: &InSlot<'_>, len: usize) -> Self {
        assert!(len <= Inline::CAPACITY, "{len} bytes in a frame");
        let [_, _, words @ ..] = frame.words();
        let len = len as u8;
        Self::Inline(Inline { words, len })
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(inline) => inline,
            Self::Block(block) => block,
            Self::Heap(bytes) => bytes,
        }
    }
}

/// Bytes that travel with the envelope.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Inline {
    words: [u64; Self::CAPACITY / 8],
    len: u8,
}

impl Inline {
    /// What fits beside the envelope in one cache line.
    pub const CAPACITY: usize = 48;
    /// No bytes.
    pub const EMPTY: Self = Self {
        words: [0; Self::CAPACITY / 8],
        len: 0,
    };

    /// Copies `bytes`, unless they are more than [`Self::CAPACITY`].
    #[must_use]
    #[inline]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut inline = Self::EMPTY;
        inline.len = bytes.len() as u8;
        // One word is the most common message by far; a copy of known length is a single store.
        if let Ok(word) = <[u8; 8]>::try_from(bytes) {
            inline.words[0] = bytemuck::cast(word);
        } else {
            bytemuck::cast_slice_mut(&mut inline.words)
                .get_mut(..bytes.len())?
                .copy_from_slice(bytes);
        }
        Some(inline)
    }

    /// Copies the bytes to the beginning of `into`.
    ///
    /// # Panics
    /// When `into` is shorter.
    #[inline]
    pub fn copy_to(&self, into: &mut [u8]) {
        if self.len == 8
            && let Some(into) = into.first_chunk_mut::<8>()
        {
            *into = bytemuck::cast(self.words[0]);
        } else {
            into[..self.len()].copy_from_slice(self);
        }
    }

    /// The `len` bytes in the body of a frame, unless they are too many.
    #[inline]
    pub(crate) fn load(frame: &Words, len: u8) -> Option<Self> {
        let [_, _, words @ ..] = *frame;
        (usize::from(len) <= Self::CAPACITY).then_some(Self { words, len })
    }

    /// Puts the bytes into the body of a frame.
    #[inline]
    pub(crate) fn store(&self, frame: &mut Words) {
        frame[2..].copy_from_slice(&self.words);
    }
}

impl Deref for Inline {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..usize::from(self.len)]
    }
}

/// Bytes to be written by the program and then sent without another copy.
#[derive(Debug)]
#[non_exhaustive]
pub enum Buffer {
    /// A block of this rank's pool.
    Block(BlockMut),
    /// A buffer of the process.
    Heap(AlignedBytes),
}

impl Buffer {
    /// Shortens the content to its first `len` bytes; a longer `len` changes nothing.
    pub fn truncate(&mut self, len: usize) {
        match self {
            Self::Block(block) => block.set_len(len.min(block.len())),
            Self::Heap(bytes) => bytes.truncate(len),
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Block(block) => block,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Block(block) => block,
            Self::Heap(bytes) => bytes.as_mut_slice(),
        }
    }
}

/// A heap buffer aligned to [`ALIGNMENT`].
///
/// It lies in a vector of bytes, from its first place that is aligned: bytes that may lie anywhere are added to those by a single copy,
/// and to a vector of aligned words by two, or by one and zeros before it.
#[derive(Debug, Default)]
pub struct AlignedBytes {
    memory: Vec<u8>,
    /// Where the content begins; that is nowhere, at 0, before there is any memory.
    start: usize,
    /// For buffers of a bounded set.
    permit: Option<Permit>,
}

impl AlignedBytes {
    /// A buffer of `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        // Zeros that come with new memory cost nothing.
        let mut buffer = Self::of(vec![0; len + SLACK]);
        buffer.memory.truncate(buffer.start + len);
        buffer
    }

    /// An empty buffer with room for `len` bytes; none when there is no memory for it.
    #[must_use]
    pub fn with_capacity(len: usize) -> Option<Self> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(len.checked_add(SLACK)?).ok()?;
        Some(Self::of(memory))
    }

    /// A buffer in this memory, all of whose bytes are content but those before the beginning.
    fn of(mut memory: Vec<u8>) -> Self {
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        memory.resize(memory.len().max(start), 0);
        Self {
            memory,
            start,
            permit: None,
        }
    }

    /// Makes room for so many bytes more.
    fn grow(&mut self, more: usize) {
        if self.memory.capacity() - self.memory.len() >= more {
            return;
        }
        let len = self.len();
        let room = (len + more).max(2 * len) + SLACK;
        let mut grown = Self::of(Vec::with_capacity(room));
        grown.memory.extend_from_slice(self);
        grown.permit = self.permit.take();
        *self = grown;
    }

    /// Adds `bytes` at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        self.grow(bytes.len());
        self.memory.extend_from_slice(bytes);
    }

    /// Sets the length to `len` and returns all bytes to be written; new ones are zero.
    #[must_use]
    pub fn resize(&mut self, len: usize) -> &mut [u8] {
        self.grow(len.saturating_sub(self.len()));
        self.memory.resize(self.start + len, 0);
        self.as_mut_slice()
    }

    /// A buffer holding a copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::of(Vec::with_capacity(bytes.len() + SLACK));
        copy.memory.extend_from_slice(bytes);
        copy
    }

    /// The bytes, to be written.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.memory.is_empty() {
            return bytemuck::cast_slice_mut::<u128, u8>(&mut []);
        }
        &mut self.memory[self.start..]
    }

    /// Shortens the buffer to its first `len` bytes; a longer `len` changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.memory.truncate(self.start.saturating_add(len));
    }

    /// The buffer, giving `permit` back when it is dropped.
    pub(crate) fn with_permit(mut self, permit: Permit) -> Self {
        self.permit = Some(permit);
        self
    }
}

/// Bytes of memory beside the content, so that it can be aligned.
const SLACK: usize = ALIGNMENT - 1;

impl Clone for AlignedBytes {
    /// A copy of the bytes; a place in a bounded set is not copied.
    fn clone(&self) -> Self {
        Self::copy_of(self)
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // What is empty has no memory, or its beginning is the end of that: both are aligned.
        if self.memory.is_empty() {
            return bytemuck::cast_slice::<u128, u8>(&[]);
        }
        &self.memory[self.start..]
    }
}

#[cfg(test)]
mod tests;
