//! A message that has arrived: read in place, released when dropped.

use std::fmt;
use std::ops::Deref;

use phalanx_transport::Payload;

use super::unchecked::Checked;
use super::{InvalidMessage, Message};

/// A received message. It derefs to the view of `T` (for slices the slice, for other types the archive), in the memory in which
/// it arrived; dropping it gives that memory back.
///
/// The bytes are checked once, by [`Received::new`]; reading costs no more than a reference.
///
/// # Examples
///
/// ```
/// use phalanx_runtime::message::Received;
/// use phalanx_transport::Payload;
///
/// let numbers = Received::<[u8]>::new(Payload::copy_of(&[4, 5, 6]), 2, 7)?;
/// assert_eq!(numbers[1], 5);
/// assert_eq!((numbers.source(), numbers.tag(), numbers.size()), (2, 7, 3));
/// assert_eq!(numbers.to_owned(), vec![4, 5, 6]);
/// # Ok::<(), phalanx_runtime::message::InvalidMessage>(())
/// ```
pub struct Received<T: Message + ?Sized> {
    message: Checked<T::View>,
    source: usize,
    tag: i32,
}

impl<T: Message + ?Sized> Received<T> {
    /// Checks `payload`, which came from rank `source` with `tag`, and takes it. Does not block.
    ///
    /// A message that arrives as an archive may nest boxes, vectors, strings and maps up to 1022 deep.
    ///
    /// # Errors
    ///
    /// [`InvalidMessage`] if the payload is not a valid `T`; the payload is released.
    #[inline]
    pub fn new(payload: Payload, source: usize, tag: i32) -> Result<Self, InvalidMessage> {
        match Checked::new(payload) {
            Ok(message) => Ok(Self::from_checked(message, source, tag)),
            Err((payload, reason)) => Err(InvalidMessage::new::<T>(payload.len(), reason)),
        }
    }

    #[inline]
    pub(super) fn from_checked(message: Checked<T::View>, source: usize, tag: i32) -> Self {
        Self {
            message,
            source,
            tag,
        }
    }

    /// The rank that sent the message.
    #[must_use]
    #[inline]
    pub fn source(&self) -> usize {
        self.source
    }

    /// The tag it was sent with.
    #[must_use]
    #[inline]
    pub fn tag(&self) -> i32 {
        self.tag
    }

    /// Its size in bytes, as it was sent.
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        self.message.size()
    }

    /// A copy that no longer depends on the memory in which the message arrived: `Vec<T>` for slices, `T` for other types.
    ///
    /// # Panics
    ///
    /// If memory runs out, as every allocation. A checked message can always be copied.
    #[must_use]
    pub fn to_owned(&self) -> T::Owned {
        T::from_view(self).expect("a checked message can be copied")
    }
}

impl<T: Message + ?Sized> Deref for Received<T> {
    type Target = T::View;

    #[inline]
    fn deref(&self) -> &T::View {
        &self.message
    }
}

impl<T: Message<View: fmt::Debug> + ?Sized> fmt::Debug for Received<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("source", &self.source)
            .field("tag", &self.tag)
            .field("message", &&**self)
            .finish()
    }
}
