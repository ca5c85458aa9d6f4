//! Buffers in the memory that messages travel through: loans, which are handed over, and vectors, which are sent uncopied and kept.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use phalanx_transport::Buffer;

use crate::communicator::Communicator;
use crate::engine::Source;
use crate::error::{Result, SendError};
use crate::message::SendBuffer;
use crate::pattern::Tag;
use crate::request::{Finish, Request};

impl Communicator {
    /// A slice of `len` elements to be written and handed to a peer without a copy, whatever its size. Never waits for other ranks.
    /// Its content is unspecified: zeros, or what an earlier message of this rank left.
    ///
    /// # Errors
    /// When memory or the pool's limit is used up.
    ///
    /// # Examples
    /// ```
    /// phalanx_runtime::testing::run(2, |world| {
    ///     let peer = 1 - world.rank();
    ///     let mut loan = world.loan::<[f64]>(1000)?;
    ///     loan.fill(2.0);
    ///     loan.send(peer, 11)?;
    ///     let big = world.recv::<[f64]>(peer, 11)?;
    ///     assert_eq!(big.iter().sum::<f64>(), 2000.0);
    ///     Ok(())
    /// });
    /// ```
    pub fn loan<T: Lendable + ?Sized>(&self, len: usize) -> Result<Loan<T>> {
        let buffer = self.reserve::<T::Element>(len)?;
        Ok(Loan {
            communicator: self.clone(),
            buffer,
            element: PhantomData,
        })
    }

    /// An empty vector with room for `capacity` elements, in memory that peers can read: sending it costs one copy, by the receiver,
    /// instead of two. Never waits for other ranks.
    ///
    /// # Errors
    /// When memory or the pool's limit is used up.
    ///
    /// # Examples
    /// ```
    /// phalanx_runtime::testing::run(2, |world| {
    ///     let peer = 1 - world.rank();
    ///     let mut field = world.shared_vec::<f32>(4)?;
    ///     field.extend_from_slice(&[1.0, 2.0, 3.0])?;
    ///     let mut other = [0.0_f32; 3];
    ///     world.sendrecv((peer, 0), &field[..], (peer, 0), &mut other)?;
    ///     assert_eq!(other, [1.0, 2.0, 3.0]);
    ///     Ok(())
    /// });
    /// ```
    pub fn shared_vec<T: Pod>(&self, capacity: usize) -> Result<SharedVec<T>> {
        let buffer = self.reserve::<T>(capacity)?;
        Ok(SharedVec {
            communicator: self.clone(),
            buffer,
            len: 0,
            element: PhantomData,
        })
    }

    fn reserve<T>(&self, len: usize) -> Result<Buffer> {
        // No more than a slice can have; the pool refuses far less.
        let bytes = len.saturating_mul(size_of::<T>()).min(isize::MAX as usize);
        self.progress().enter(|core| core.reserve(bytes))
    }
}

/// What can be lent: slices of plain numbers.
pub trait Lendable {
    /// The element of the slice.
    type Element: Pod;
}

impl<T: Pod> Lendable for [T] {
    type Element = T;
}

/// A slice in message memory, to be written and then handed over; see [`Communicator::loan`]. Dropped unsent, it goes back to its pool.
pub struct Loan<T: Lendable + ?Sized> {
    communicator: Communicator,
    buffer: Buffer,
    element: PhantomData<fn() -> Box<T::Element>>,
}

impl<T: Pod> Loan<[T]> {
    /// Hands the slice to rank `to`, which reads it where it is if it shares memory with this one; over a network it follows in parts when it
    /// is received. Returns at once unless so many are under way that there is no room.
    ///
    /// # Errors
    /// As [`Communicator::send`].
    pub fn send(self, to: usize, tag: impl Into<Tag>) -> Result<()> {
        let send = self
            .communicator
            .send_header::<[T]>(to, tag.into(), false)?;
        let communicator = self.communicator;
        communicator.progress().send_buffer(
            &send,
            self.buffer,
            communicator.limit(&|| communicator.describe_send(&send)),
        )
    }

    /// Begins to hand the slice to rank `to`. Never waits.
    ///
    /// # Errors
    /// As [`Communicator::isend`]; the loan comes back with the error.
    pub fn isend(self, to: usize, tag: impl Into<Tag>) -> Result<Request<()>, SendError<Self>> {
        let send = match self.communicator.send_header::<[T]>(to, tag.into(), false) {
            Ok(send) => send,
            Err(error) => return Err(SendError { value: self, error }),
        };
        let Self {
            communicator,
            buffer,
            element,
        } = self;
        let len = buffer.len();
        match communicator
            .progress()
            .enter(|core| core.submit(&send, len, Source::Buffer(buffer)))
        {
            Ok(id) => Ok(Request::pending(
                &communicator,
                id,
                Finish::Sent(|_| Ok(())),
            )),
            Err((Source::Buffer(buffer), error)) => Err(SendError {
                value: Self {
                    communicator,
                    buffer,
                    element,
                },
                error,
            }),
            Err(_) => unreachable!("a source that was not submitted is what it was"),
        }
    }
}

impl<T: Pod> Deref for Loan<[T]> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.buffer)
    }
}

impl<T: Pod> DerefMut for Loan<[T]> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.buffer)
    }
}

impl<T: Lendable + ?Sized> fmt::Debug for Loan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan")
            .field("bytes", &self.buffer.len())
            .finish_non_exhaustive()
    }
}

/// A vector of plain numbers in memory that peers can read; see [`Communicator::shared_vec`].
///
/// Derefs to a slice: any part of it, sent from where it lies, is copied once. It grows like a `Vec`, except that growing can fail.
pub struct SharedVec<T: Pod> {
    communicator: Communicator,
    buffer: Buffer,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<T: Pod> SharedVec<T> {
    /// Elements there is room for without growing.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.len() / size_of::<T>().max(1)
    }

    /// Makes room for `additional` more elements.
    ///
    /// # Errors
    /// When memory or the pool's limit is used up; nothing has changed then.
    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        let wanted = self.len.saturating_add(additional);
        if wanted <= self.capacity() {
            return Ok(());
        }
        let mut larger = self
            .communicator
            .reserve::<T>(wanted.max(2 * self.capacity()))?;
        let used = self.len * size_of::<T>();
        larger[..used].copy_from_slice(&self.buffer[..used]);
        self.buffer = larger;
        Ok(())
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub fn push(&mut self, element: T) -> Result<()> {
        self.extend_from_slice(&[element])
    }

    /// Takes the last element off.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.last().copied()?;
        self.len -= 1;
        Some(last)
    }

    /// Adds all `elements` at the end.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub fn extend_from_slice(&mut self, elements: &[T]) -> Result<()> {
        self.reserve(elements.len())?;
        let begin = self.len;
        self.len += elements.len();
        self[begin..].copy_from_slice(elements);
        Ok(())
    }

    /// Sets the length, filling up with copies of `element`.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub fn resize(&mut self, len: usize, element: T) -> Result<()> {
        let begin = self.len;
        self.reserve(len.saturating_sub(begin))?;
        self.len = len;
        if len > begin {
            self[begin..].fill(element);
        }
        Ok(())
    }

    /// Drops all elements from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Drops all elements; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T: Pod> Deref for SharedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.buffer[..self.len * size_of::<T>()])
    }
}

impl<T: Pod> DerefMut for SharedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.buffer[..self.len * size_of::<T>()])
    }
}

impl<T: Pod + Send> SendBuffer for SharedVec<T> {
    type Message = [T];

    fn message(&self) -> &[T] {
        self
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
