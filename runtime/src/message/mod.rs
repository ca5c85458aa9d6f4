//! What can be sent: plain slices of numbers as they lie in memory, everything else as an rkyv archive.
//!
//! ```text
//!   &T --as_plain / archive_into--> bytes --link--> Payload --Received::new--> Received<T> --to_owned--> T
//!                                                            checks once       derefs to T::View, in place
//! ```
//!
//! [`Message`] is implemented in two places only: here for `[T]` of plain numbers, and here for every sized type that has a
//! [`Schema`] and rkyv's traits. The derive macro gives a type those, so generated code never touches bytes.
//!
//! Invariant: a view is reached only through [`Message::view`], which checks, or through a [`Received`], which has checked.
//! The accesses that rely on an earlier check are all in `unchecked.rs`.

mod encode;
mod error;
mod fault;
mod layout;
mod name;
mod received;
mod schema;
mod send_buffer;
mod unchecked;
mod view;

use bytemuck::Pod;
use rkyv::{Archive, Deserialize, Serialize};

use view::assert_plain;

pub use error::{EncodeError, InvalidMessage};
pub use layout::Layout;
pub use received::Received;
pub use schema::Schema;
pub use send_buffer::SendBuffer;
pub use unchecked::view_unchecked;
pub use view::View;

// Named by public bounds or by generated code, of no use to a program.
#[doc(hidden)]
pub use {
    encode::{Decoder, Encoder, Slot},
    fault::Fault,
    layout::{join, text},
    rkyv,
};

/// A type whose values can be sent and received.
///
/// Implemented for `[T]` of plain numbers ([`bytemuck::Pod`]) and, by `#[derive(Message)]`, for structs and enums; further for
/// numbers, `bool`, `char`, `()`, `String`, `Option`, `Result`, `Vec`, `VecDeque`, `Box`, arrays, tuples of up to eight, maps
/// and sets. `[T]` and `Vec<T>` are different messages: the first is sent as it lies in memory, the second as an archive.
///
/// # Examples
///
/// ```
/// use phalanx_runtime::message::Message;
/// use phalanx_transport::AlignedBytes;
///
/// let mut buffer = AlignedBytes::zeroed(64);
/// let size = (7u32, "seven".to_owned()).archive_into(buffer.as_mut_slice())?;
/// buffer.truncate(size);
///
/// let pair = <(u32, String)>::view(&buffer)?;
/// assert_eq!(pair.0, 7);
/// assert_eq!(pair.1, "seven");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent: it is not a `Message`",
    label = "not a `Message`",
    note = "add `#[derive(Message)]` to the type; slices are sent as they are if their elements are `bytemuck::Pod`, \
            everything else goes into a `Vec`"
)]
pub trait Message {
    /// What a receiver reads in place: `[T]` for slices, the archive for everything else.
    type View: View + ?Sized;

    /// The owned form: `Vec<T>` for slices, `Self` for everything else.
    type Owned;

    /// Hash of everything that both sides must agree on: names and order of fields, types, archived layout; never the path.
    ///
    /// A constant: nothing is computed when a message is sent.
    ///
    /// ```
    /// use phalanx_runtime::message::Message;
    ///
    /// assert_ne!(<[f64]>::layout(), <[f32]>::layout());
    /// assert_ne!(<[f64]>::layout(), Vec::<f64>::layout());
    /// ```
    fn layout() -> Layout;

    /// The type as a reader knows it, without module paths, for errors.
    ///
    /// ```
    /// use phalanx_runtime::message::Message;
    ///
    /// assert_eq!(<[f64]>::type_name(), "[f64]");
    /// assert_eq!(Vec::<Option<String>>::type_name(), "Vec<Option<String>>");
    /// ```
    #[must_use]
    #[cold]
    fn type_name() -> String {
        name::short(std::any::type_name::<Self>())
    }

    /// The bytes to send if the value is sent as it lies in memory; `None` if it has to be archived.
    ///
    /// ```
    /// use phalanx_runtime::message::Message;
    ///
    /// assert_eq!([1u16, 2][..].as_plain().map(<[u8]>::len), Some(4));
    /// assert_eq!("text".to_owned().as_plain(), None);
    /// ```
    fn as_plain(&self) -> Option<&[u8]>;

    /// Writes the message to the start of `out`, which must begin at an address that is a multiple of 16, and returns the
    /// number of bytes written. Does not allocate once the thread has sent a few messages.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BufferTooSmall`] says how many bytes are needed; `out` then holds nothing of use.
    /// [`EncodeError::Failed`] if the value cannot be archived.
    ///
    /// ```
    /// use phalanx_runtime::message::{EncodeError, Message};
    ///
    /// let error = 1u64.archive_into(&mut []).unwrap_err();
    /// assert!(matches!(error, EncodeError::BufferTooSmall { needed: 8 }));
    /// ```
    fn archive_into(&self, out: &mut [u8]) -> Result<usize, EncodeError>;

    /// Checks that `bytes` are a whole and valid message and returns the view of it.
    ///
    /// # Errors
    ///
    /// [`InvalidMessage`] if the bytes are not valid or do not begin at a multiple of the alignment of the view (16 always
    /// suffices).
    fn view(bytes: &[u8]) -> Result<&Self::View, InvalidMessage> {
        Self::View::check(bytes).map_err(|reason| InvalidMessage::new::<Self>(bytes.len(), reason))
    }

    /// Copies a view into the owned form.
    ///
    /// # Errors
    ///
    /// [`InvalidMessage`] if the value cannot be built, which no supported type does for a checked view.
    ///
    /// ```
    /// use phalanx_runtime::message::Message;
    ///
    /// assert_eq!(<[u8]>::from_view(&[1, 2, 3])?, vec![1, 2, 3]);
    /// # Ok::<(), phalanx_runtime::message::InvalidMessage>(())
    /// ```
    fn from_view(view: &Self::View) -> Result<Self::Owned, InvalidMessage>;
}

impl<T: Pod> Message for [T] {
    type View = Self;
    type Owned = Vec<T>;

    #[inline]
    fn layout() -> Layout {
        layout::of_plain::<T>()
    }

    #[inline]
    fn as_plain(&self) -> Option<&[u8]> {
        const { assert_plain::<T>() };
        Some(bytemuck::cast_slice(self))
    }

    fn archive_into(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        const { assert_plain::<T>() };
        let bytes: &[u8] = bytemuck::cast_slice(self);
        let Some(target) = out.get_mut(..bytes.len()) else {
            return Err(EncodeError::BufferTooSmall {
                needed: bytes.len(),
            });
        };
        target.copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn from_view(view: &Self) -> Result<Vec<T>, InvalidMessage> {
        Ok(view.to_vec())
    }
}

impl<T> Message for T
where
    T: Schema + for<'a> Serialize<Encoder<'a>>,
    T: Archive<Archived: View + Deserialize<T, Decoder>>,
{
    type View = T::Archived;
    type Owned = T;

    #[inline]
    fn layout() -> Layout {
        const { Layout::from_digest(T::D7) }
    }

    #[inline]
    fn as_plain(&self) -> Option<&[u8]> {
        None
    }

    fn archive_into(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        Slot::new(out).archive(self)
    }

    fn from_view(view: &T::Archived) -> Result<T, InvalidMessage> {
        encode::deserialize(view)
            .map_err(|reason| InvalidMessage::new::<Self>(size_of::<T::Archived>(), reason))
    }
}

#[cfg(test)]
mod tests;
