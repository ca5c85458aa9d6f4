//! Sends and receives that return at once and own their buffers.

use std::any::Any;

use crate::communicator::{Communicator, received};
use crate::engine::{OwnedBytes, Sink, Source};
use crate::error::{Error, Result, SendError};
use crate::message::{Message, Received, SendBuffer};
use crate::pattern::{Source as From, Tag, TagPattern};
use crate::request::{Finish, Request};

impl Communicator {
    /// Begins to send `buffer` to rank `to`; it comes back when the send has finished. Never waits.
    ///
    /// # Errors
    /// When there is no such rank, the tag is negative, the value cannot be archived or memory ran out; the buffer comes back with
    /// the error.
    ///
    /// # Examples
    /// ```
    /// phalanx_runtime::testing::run(2, |world| {
    ///     let peer = 1 - world.rank();
    ///     let sent = world.isend(peer, 9, vec![1_u8; 1 << 20])?;
    ///     let got = world.recv::<[u8]>(peer, 9)?;
    ///     assert_eq!(got.len(), 1 << 20);
    ///     assert_eq!(sent.wait()?.len(), 1 << 20);
    ///     Ok(())
    /// });
    /// ```
    pub fn isend<B: SendBuffer>(
        &self,
        to: usize,
        tag: impl Into<Tag>,
        buffer: B,
    ) -> Result<Request<B>, SendError<B>> {
        self.isend_as(to, tag.into(), buffer, false)
    }

    /// As [`isend`](Self::isend), but finished only when a receive has matched the message.
    ///
    /// # Errors
    /// As [`isend`](Self::isend).
    pub fn issend<B: SendBuffer>(
        &self,
        to: usize,
        tag: impl Into<Tag>,
        buffer: B,
    ) -> Result<Request<B>, SendError<B>> {
        self.isend_as(to, tag.into(), buffer, true)
    }

    /// Begins to receive a message from `source` with `tag`. Never waits. Messages go to receives in the order in which these were
    /// posted.
    ///
    /// # Errors
    /// When there is no such rank or the tag is negative.
    pub fn irecv<T: Message + ?Sized>(
        &self,
        source: impl Into<From>,
        tag: impl Into<TagPattern>,
    ) -> Result<Request<Received<T>>> {
        let wanted = self.wanted::<T>(source.into(), tag.into(), usize::MAX)?;
        let id = self
            .progress()
            .enter(|core| core.post(&wanted, Sink::Payload));
        Ok(Request::pending(self, id, Finish::Received(received::<T>)))
    }

    fn isend_as<B: SendBuffer>(
        &self,
        to: usize,
        tag: Tag,
        buffer: B,
        synchronous: bool,
    ) -> Result<Request<B>, SendError<B>> {
        let send = match self.send_header::<B::Message>(to, tag, synchronous) {
            Ok(send) => send,
            Err(error) => {
                return Err(SendError {
                    value: buffer,
                    error,
                });
            }
        };
        let Some(bytes) = buffer.message().as_plain() else {
            let submitted = self.archive(buffer.message()).and_then(|archive| {
                let len = archive.len();
                self.progress()
                    .enter(|core| core.submit(&send, len, Source::Buffer(archive)))
                    .map_err(|(_, error)| error)
            });
            return match submitted {
                Ok(id) => Ok(Request::pending(self, id, Finish::Kept(buffer))),
                Err(error) => Err(SendError {
                    value: buffer,
                    error,
                }),
            };
        };
        let len = bytes.len();
        match self.progress().enter(|core| core.try_eager(&send, bytes)) {
            Ok(true) => return Ok(Request::ready(self, buffer)),
            Ok(false) => {}
            Err(error) => {
                return Err(SendError {
                    value: buffer,
                    error,
                });
            }
        }
        let owned = Source::Owned(Box::new(Owned(buffer)));
        match self.progress().enter(|core| core.submit(&send, len, owned)) {
            Ok(id) => Ok(Request::pending(self, id, Finish::Sent(give_back::<B>))),
            Err((source, error)) => match give_back::<B>(source) {
                Ok(value) => Err(SendError { value, error }),
                Err(_) => unreachable!("a source that was not submitted is what it was"),
            },
        }
    }
}

/// A buffer of the program in the hands of an operation.
struct Owned<B>(B);

impl<B: SendBuffer> OwnedBytes for Owned<B> {
    fn bytes(&self) -> &[u8] {
        self.0.message().as_plain().unwrap_or(&[])
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The buffer that a finished send owned.
fn give_back<B: SendBuffer>(source: Source) -> Result<B> {
    let Source::Owned(owned) = source else {
        return Err(Error::Cancelled);
    };
    owned
        .into_any()
        .downcast::<Owned<B>>()
        .map(|owned| owned.0)
        .map_err(|_| Error::Cancelled)
}
