//! Archives a value straight into the buffer it is sent from, and back.
//!
//! [`Slot`] keeps counting when the buffer is full instead of stopping, so that one failed attempt tells the exact size of the
//! second.

use rkyv::api::{deserialize_using, serialize_using};
use rkyv::de::pooling::Unpool;
use rkyv::rancor::Strategy;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::sharing::Unshare;
use rkyv::ser::{Positional, Serializer, Writer};
use rkyv::util::with_arena;
use rkyv::{Deserialize, Serialize};

use super::{EncodeError, Fault};

/// The rkyv serializer of messages: into a [`Slot`], with the thread's arena as scratch space.
pub type Encoder<'a> = Strategy<Serializer<Slot<'a>, ArenaHandle<'a>, Unshare>, Fault>;

/// The rkyv deserializer of messages.
pub type Decoder = Strategy<Unpool, Fault>;

/// A buffer that an archive is written to from its start.
#[derive(Debug)]
pub struct Slot<'a> {
    out: &'a mut [u8],
    /// Bytes the archive has so far, written or not.
    position: usize,
}

impl<'a> Slot<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, position: 0 }
    }

    /// Writes the archive of `value` and returns its size in bytes.
    pub(super) fn archive<T>(self, value: &T) -> Result<usize, EncodeError>
    where
        T: for<'b> Serialize<Encoder<'b>>,
    {
        let capacity = self.out.len();
        let size = with_arena(|arena| {
            let mut serializer = Serializer::new(self, arena.acquire(), Unshare);
            serialize_using::<_, Fault>(value, &mut serializer)?;
            Ok(serializer.writer.position)
        })
        .map_err(|error: Fault| EncodeError::Failed(error.to_string()))?;
        if size > capacity {
            return Err(EncodeError::BufferTooSmall { needed: size });
        }
        Ok(size)
    }
}

impl Positional for Slot<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.position
    }
}

impl<E> Writer<E> for Slot<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        let end = self.position + bytes.len();
        if let Some(target) = self.out.get_mut(self.position..end) {
            target.copy_from_slice(bytes);
        }
        self.position = end;
        Ok(())
    }
}

/// Builds the value that `archived` stands for; on failure says why not.
pub(super) fn deserialize<T>(archived: &impl Deserialize<T, Decoder>) -> Result<T, String> {
    deserialize_using::<T, _, Fault>(archived, &mut Unpool).map_err(|error| error.to_string())
}
