//! Why a value could not become bytes, or bytes a value.

use thiserror::Error;

use super::Message;

/// A value could not be written into a buffer.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The buffer is too small; with `needed` bytes the same call succeeds.
    #[error("the message needs a buffer of {needed} bytes")]
    BufferTooSmall {
        /// Size of the whole message in bytes.
        needed: usize,
    },
    /// The value cannot be archived, whatever the buffer.
    #[error("the message cannot be archived: {0}")]
    Failed(String),
}

/// Received bytes are not a valid message of the type that they were received as.
///
/// # Examples
///
/// ```
/// use phalanx_runtime::message::Message;
///
/// let error = <[u32]>::view(&[1, 2, 3]).unwrap_err();
/// assert!(error.to_string().starts_with("3 bytes are not a valid `[u32]`: "));
/// ```
#[derive(Clone, Debug, Error)]
#[error(
    "{} bytes are not a valid `{}`: {}; build all ranks from one definition of the type",
    .0.size, .0.type_name, .0.reason
)]
pub struct InvalidMessage(Box<Detail>);

impl InvalidMessage {
    #[cold]
    pub(super) fn new<M: Message + ?Sized>(size: usize, reason: String) -> Self {
        Self(Box::new(Detail {
            size,
            type_name: M::type_name(),
            reason,
        }))
    }
}

/// Boxed, so that the result of a check that succeeds stays in registers.
#[derive(Clone, Debug)]
struct Detail {
    size: usize,
    type_name: String,
    reason: String,
}
