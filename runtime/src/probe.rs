//! Looking at messages before they are received, and taking one aside to receive it later.

use std::fmt;

use bytemuck::Pod;

use crate::communicator::{Communicator, Status, received, status};
use crate::engine::{Arrival, Completed, Expected, Outcome, Sink, Wanted};
use crate::error::{Error, Result};
use crate::matching::Pattern;
use crate::message::{Message, Received};
use crate::pattern::{Source, TagPattern};

/// What is known of a message that has not been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeStatus {
    /// The rank that sent it.
    pub source: usize,
    /// The tag it was sent with.
    pub tag: i32,
    /// Its size in bytes.
    pub size: u64,
}

impl Communicator {
    /// Blocks until a message from `source` with `tag` is here; it stays to be received.
    ///
    /// # Errors
    /// When nobody can send it any more or the time-out passed.
    pub fn probe(
        &self,
        source: impl Into<Source>,
        tag: impl Into<TagPattern>,
    ) -> Result<ProbeStatus> {
        let pattern = self.pattern(source.into(), tag.into())?;
        self.await_message(&pattern, |communicator| communicator.look(&pattern))
    }

    /// Whether a message from `source` with `tag` is here; it stays to be received. Drives the engine; never waits.
    ///
    /// # Errors
    /// When there is no such rank, the tag is negative, or the link failed.
    pub fn iprobe(
        &self,
        source: impl Into<Source>,
        tag: impl Into<TagPattern>,
    ) -> Result<Option<ProbeStatus>> {
        let pattern = self.pattern(source.into(), tag.into())?;
        self.progress().turn()?;
        Ok(self.look(&pattern))
    }

    /// Blocks until a message from `source` with `tag` is here and takes it: no other receive gets it.
    ///
    /// # Errors
    /// As [`probe`](Self::probe).
    pub fn mprobe(
        &self,
        source: impl Into<Source>,
        tag: impl Into<TagPattern>,
    ) -> Result<MatchedMessage> {
        let pattern = self.pattern(source.into(), tag.into())?;
        self.await_message(&pattern, |communicator| communicator.extract(&pattern))
    }

    /// Takes a message from `source` with `tag`, if one is here: no other receive gets it. Drives the engine; never waits.
    ///
    /// # Errors
    /// As [`iprobe`](Self::iprobe).
    ///
    /// # Examples
    /// ```
    /// phalanx_runtime::testing::run(2, |world| {
    ///     let peer = 1 - world.rank();
    ///     world.send(peer, 3, &[1_u16, 2][..])?;
    ///     let message = loop {
    ///         if let Some(message) = world.improbe(peer, 3)? {
    ///             break message;
    ///         }
    ///     };
    ///     assert_eq!(message.status().size, 4);
    ///     assert_eq!(*message.recv::<[u16]>()?, [1, 2]);
    ///     Ok(())
    /// });
    /// ```
    pub fn improbe(
        &self,
        source: impl Into<Source>,
        tag: impl Into<TagPattern>,
    ) -> Result<Option<MatchedMessage>> {
        let pattern = self.pattern(source.into(), tag.into())?;
        self.progress().turn()?;
        Ok(self.extract(&pattern))
    }

    /// Another thread may take the message between its arrival and our look; then the wait goes on.
    fn await_message<R>(&self, pattern: &Pattern, take: impl Fn(&Self) -> Option<R>) -> Result<R> {
        let expected = Expected {
            layout: 0,
            capacity: usize::MAX,
            name: || "a message".to_owned(),
        };
        let wanted = Wanted {
            pattern: *pattern,
            expected,
        };
        loop {
            let mut hopeless = None;
            self.progress()
                .wait_until(self.limit(&|| self.describe(&wanted)), |engine| {
                    if engine.peek(pattern).is_some() {
                        return true;
                    }
                    hopeless = engine.nobody_will_send(&wanted);
                    hopeless.is_some()
                })?;
            if let Some(error) = hopeless {
                return Err(error);
            }
            if let Some(taken) = take(self) {
                return Ok(taken);
            }
        }
    }

    fn look(&self, pattern: &Pattern) -> Option<ProbeStatus> {
        let (from, tag, size) = self.progress().enter(|core| core.engine.peek(pattern))?;
        Some(ProbeStatus {
            source: self.group().local_rank(from),
            tag,
            size,
        })
    }

    fn extract(&self, pattern: &Pattern) -> Option<MatchedMessage> {
        let arrival = self.progress().enter(|core| core.engine.extract(pattern))?;
        Some(MatchedMessage {
            communicator: self.clone(),
            arrival: Some(arrival),
        })
    }
}

/// A message that has been matched and waits to be received. Dropped unreceived, it goes back to the head of its line.
pub struct MatchedMessage {
    communicator: Communicator,
    arrival: Option<Arrival>,
}

impl MatchedMessage {
    /// What is known of it.
    #[must_use]
    pub fn status(&self) -> ProbeStatus {
        let group = self.communicator.group();
        self.arrival.as_ref().map_or(
            ProbeStatus {
                source: 0,
                tag: 0,
                size: 0,
            },
            |arrival| ProbeStatus {
                source: group.local_rank(arrival.from),
                tag: arrival.envelope.tag(),
                size: arrival.len(),
            },
        )
    }

    /// Receives it, to be read in place. Blocks while a large message is on its way.
    ///
    /// # Errors
    /// When it is of another type (it then goes back to the head of its line), its bytes are invalid, its sender has gone, or the
    /// time-out passed.
    pub fn recv<T: Message + ?Sized>(mut self) -> Result<Received<T>> {
        let completed = self.complete::<T>(None)?;
        received(completed, self.communicator.group())
    }

    /// Receives it into `buffer`. Blocks while a large message is on its way.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and when it is longer than the buffer.
    pub fn recv_into<T: Pod>(mut self, buffer: &mut [T]) -> Result<Status> {
        let completed = self.complete::<[T]>(Some(bytemuck::cast_slice_mut(buffer)))?;
        Ok(status::<T>(&completed.landed(), self.communicator.group()))
    }

    fn complete<T: Message + ?Sized>(&mut self, buffer: Option<&mut [u8]>) -> Result<Completed> {
        let arrival = self.arrival.take().ok_or(Error::Cancelled)?;
        let capacity = buffer.as_ref().map_or(usize::MAX, |buffer| buffer.len());
        let communicator = self.communicator.clone();
        let wanted = communicator.wanted_from::<T>(arrival.pattern(), capacity);
        let begun = communicator
            .progress()
            .enter(|core| core.receive_extracted(arrival, &wanted, Sink::Payload));
        let id = match begun {
            Ok(id) => id,
            Err((arrival, error)) => {
                self.arrival = Some(arrival);
                return Err(error);
            }
        };
        let limit = communicator.limit(&|| "the rest of a matched message".to_owned());
        match communicator.progress().finish(id, limit)? {
            Outcome::Received(completed) => Ok(completed.settle(buffer)),
            Outcome::Sent(_) => Err(Error::Cancelled),
        }
    }
}

impl Drop for MatchedMessage {
    fn drop(&mut self) {
        if let Some(arrival) = self.arrival.take() {
            self.communicator
                .progress()
                .enter(|core| core.engine.restore(arrival));
        }
    }
}

impl fmt::Debug for MatchedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatchedMessage")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
