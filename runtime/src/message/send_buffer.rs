//! Values that a non-blocking send takes and gives back.

use std::sync::Arc;

use bytemuck::Pod;

use super::Message;

/// A value that can be moved into a send: it owns what it sends and comes back when the send is complete.
///
/// `Vec<T>`, `Box<[T]>` and `Arc<[T]>` of plain numbers are sent as `[T]`, so that a `Vec` is received into any buffer of
/// numbers. `#[derive(Message)]` implements it for the type itself.
///
/// # Examples
///
/// ```
/// use phalanx_runtime::message::SendBuffer;
///
/// assert_eq!(vec![1u8, 2].message(), [1, 2]);
/// assert_eq!("text".to_owned().message(), "text");
/// ```
pub trait SendBuffer: Send + 'static {
    /// What is sent.
    type Message: Message + ?Sized;

    /// The message inside.
    fn message(&self) -> &Self::Message;
}

impl<T: Pod + Send> SendBuffer for Vec<T> {
    type Message = [T];

    #[inline]
    fn message(&self) -> &[T] {
        self
    }
}

impl<T: Pod + Send> SendBuffer for Box<[T]> {
    type Message = [T];

    #[inline]
    fn message(&self) -> &[T] {
        self
    }
}

impl<T: Pod + Send + Sync> SendBuffer for Arc<[T]> {
    type Message = [T];

    #[inline]
    fn message(&self) -> &[T] {
        self
    }
}

impl SendBuffer for String {
    type Message = Self;

    #[inline]
    fn message(&self) -> &Self {
        self
    }
}
