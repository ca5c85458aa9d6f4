//! Owned bytes of a received message, wherever they lie.
//!
//! Every payload starts at an address that is a multiple of [`ALIGNMENT`], so that an rkyv archive or a slice of numbers is read
//! where it is. Dropping a payload gives its memory back to whoever owns it.

use std::ops::Deref;

/// Alignment in bytes of the first byte of every payload.
pub const ALIGNMENT: usize = 16;

/// Received bytes: inside this value or on the heap.
#[derive(Debug)]
#[non_exhaustive]
pub enum Payload {
    /// At most [`Inline::CAPACITY`] bytes, carried by value.
    Inline(Inline),
    /// A buffer of the process.
    Heap(AlignedBytes),
}

impl Payload {
    /// Copies `bytes` into a payload of its own.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Inline::new(bytes).map_or_else(|| Self::Heap(AlignedBytes::copy_of(bytes)), Self::Inline)
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(inline) => inline,
            Self::Heap(bytes) => bytes,
        }
    }
}

/// Bytes that travel with the envelope.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Inline {
    bytes: [u8; Self::CAPACITY],
    len: u8,
}

impl Inline {
    /// What fits beside the envelope in one cache line.
    pub const CAPACITY: usize = 48;

    /// Copies `bytes`, unless they are more than [`Self::CAPACITY`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut inline = Self {
            bytes: [0; Self::CAPACITY],
            len: u8::try_from(bytes.len()).ok()?,
        };
        inline.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(inline)
    }
}

impl Deref for Inline {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A heap buffer aligned to [`ALIGNMENT`].
#[derive(Clone, Debug, Default)]
pub struct AlignedBytes {
    words: Vec<u128>,
    len: usize,
}

impl AlignedBytes {
    /// A buffer of `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(ALIGNMENT)],
            len,
        }
    }

    /// A buffer holding a copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.as_mut_slice().copy_from_slice(bytes);
        copy
    }

    /// The bytes, to be written.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }

    /// Shortens the buffer to its first `len` bytes; a longer `len` changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }
}
