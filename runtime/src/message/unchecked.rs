//! Access to received bytes that were checked before: the only unsafe code of this crate.
//!
//! Two invariants carry it, both kept here because the field of [`Checked`] is private to this file:
//! - the bytes passed [`View::check`] as a `V` (or a caller of an unsafe function vouches for it);
//! - the bytes of a [`Payload`] stay the same, at an address that is a multiple of 16, as long as it lives. A payload in shared
//!   memory is written neither by its sender nor by its receiver between receive and release; that is the trust between the ranks
//!   of one job, stated in the shared-memory crate.

#![expect(
    unsafe_code,
    reason = "a receive checks the bytes once; every later access relies on it"
)]

use std::marker::PhantomData;
use std::ops::Deref;

use bytemuck::Pod;
use phalanx_transport::Payload;
use rkyv::Portable;

use super::{Message, Received, View};
use crate::communicator::Communicator;
use crate::engine::Completed;
use crate::error::{Error, Result};
use crate::pattern::{Source, TagPattern};

/// The view of `bytes` as an `M`, without a check.
///
/// # Safety
///
/// `M::view(bytes)` would succeed, and the bytes do not change while the view lives.
///
/// # Examples
///
/// ```
/// use phalanx_runtime::message::{Message, view_unchecked};
///
/// let bytes = bytemuck::cast_slice(&[1.0f64, 2.0]);
/// assert!(<[f64]>::view(bytes).is_ok());
/// // SAFETY: the line above has checked these bytes.
/// let view = unsafe { view_unchecked::<[f64]>(bytes) };
/// assert_eq!(view, [1.0, 2.0]);
/// ```
#[inline]
#[must_use]
pub unsafe fn view_unchecked<M: Message + ?Sized>(bytes: &[u8]) -> &M::View {
    // SAFETY: the caller vouches that `M::view`, which is `M::View::check`, accepts the bytes.
    unsafe { M::View::assume(bytes) }
}

impl<T: Message + ?Sized> Received<T> {
    /// Takes a payload without checking it.
    ///
    /// # Safety
    ///
    /// `T::view(&payload)` would succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// use phalanx_runtime::message::Received;
    /// use phalanx_transport::Payload;
    ///
    /// // SAFETY: any four bytes are a `[u8]`.
    /// let bytes = unsafe { Received::<[u8]>::new_unchecked(Payload::copy_of(b"four"), 1, 7) };
    /// assert_eq!(&bytes[..], b"four");
    /// ```
    #[inline]
    #[must_use]
    pub unsafe fn new_unchecked(payload: Payload, source: usize, tag: i32) -> Self {
        Self::from_checked(
            Checked {
                payload,
                view: PhantomData,
            },
            source,
            tag,
        )
    }
}

/// A payload that holds a valid `V`.
pub(super) struct Checked<V: ?Sized> {
    payload: Payload,
    /// Shares and moves between threads as a `V` would.
    view: PhantomData<Box<V>>,
}

impl<V: View + ?Sized> Checked<V> {
    /// Checks the payload; on failure says what is wrong with it.
    #[inline]
    pub(super) fn new(payload: Payload) -> Result<Self, (Payload, String)> {
        match V::check(&payload) {
            Ok(_) => Ok(Self {
                payload,
                view: PhantomData,
            }),
            Err(reason) => Err((payload, reason)),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.payload.len()
    }
}

impl<V: View + ?Sized> Deref for Checked<V> {
    type Target = V;

    #[inline]
    fn deref(&self) -> &V {
        // SAFETY: the payload was checked when `self` was made, and its bytes have not changed since (see the top of the file).
        unsafe { V::assume(&self.payload) }
    }
}

impl Communicator {
    /// As [`recv`](Self::recv), without checking the bytes: what [`Message::view`] costs for strings and nested values is saved. That
    /// the message is of type `T` is checked all the same.
    ///
    /// # Safety
    /// The sender must have archived a valid `T` with this version of the type, and nothing may have damaged it on the way: a rank that
    /// writes through a wild pointer makes this undefined behaviour here.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), but for invalid bytes.
    ///
    /// # Examples
    /// ```
    /// phalanx_runtime::testing::run(2, |world| {
    ///     let peer = 1 - world.rank();
    ///     world.send(peer, 0, &"from a rank of this very program".to_owned())?;
    ///     // SAFETY: both ranks run the same program, which has no unsafe code but this.
    ///     let text = unsafe { world.recv_unchecked::<String>(peer, 0)? };
    ///     assert_eq!(&**text, "from a rank of this very program");
    ///     Ok(())
    /// });
    /// ```
    pub unsafe fn recv_unchecked<T: Message + ?Sized>(
        &self,
        source: impl Into<Source>,
        tag: impl Into<TagPattern>,
    ) -> Result<Received<T>> {
        let Completed {
            from, tag, payload, ..
        } = self.receive::<T>(source.into(), tag.into())?;
        let payload = payload.ok_or(Error::Cancelled)?;
        // SAFETY: the caller vouches for the bytes.
        Ok(unsafe { Received::new_unchecked(payload, self.group().local_rank(from), tag) })
    }
}

/// How the bytes of a view are read once they are known to be valid. Public only because [`View`] is; no path leads to it, which
/// closes [`View`].
#[expect(unnameable_types, reason = "seals `View`")]
pub trait Access {
    /// The view of `bytes`.
    ///
    /// # Safety
    ///
    /// [`View::check`] accepts the bytes, and they do not change while the view lives.
    #[doc(hidden)]
    unsafe fn assume(bytes: &[u8]) -> &Self;
}

impl<T: Pod> Access for [T] {
    #[inline]
    unsafe fn assume(bytes: &[u8]) -> &Self {
        if bytes.is_empty() {
            return &[];
        }
        // SAFETY: the caller vouches for the check, which accepts only a whole number of `T` at an aligned address; every
        // pattern of bits is a `T: Pod`; the lifetime is that of `bytes`.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
    }
}

impl<A: Portable> Access for A {
    #[inline]
    unsafe fn assume(bytes: &[u8]) -> &Self {
        // SAFETY: the caller vouches for the check, which accepts only a valid archive of an `A` at the end of the bytes.
        unsafe { rkyv::access_unchecked(bytes) }
    }
}
