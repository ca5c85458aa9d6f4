//! Operations in flight: what each still needs, and what came of it.

use std::any::Any;
use std::fmt;
use std::task::Waker;

use phalanx_shm::{ReadLease, WriteLease};
use phalanx_transport::{AlignedBytes, Buffer, Envelope, Payload};
use slab::Slab;

use crate::error::{Error, Result};
use crate::matching::Place;

use super::receive::{Completed, Wanted};

/// Names an operation; a name is not used again for 2^32 operations in the same place, so a late packet finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OpId {
    index: u32,
    generation: u32,
}

impl OpId {
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

/// Bytes that an operation owns and gives back when it is done.
pub(crate) trait OwnedBytes: Send {
    fn bytes(&self) -> &[u8];
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl fmt::Debug for dyn OwnedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes().len())
    }
}

/// Where the bytes of a send are.
#[derive(Debug)]
pub(crate) enum Source {
    /// With a caller that is blocked and lends them.
    Caller,
    /// With the operation.
    Owned(Box<dyn OwnedBytes>),
    /// With a scope.
    Leased(ReadLease),
    /// In a buffer of the link, to be sent as it is.
    Buffer(Buffer),
    /// Gone: sent as a buffer, or withdrawn.
    Spent,
}

/// Where the bytes of a receive go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// To a caller that is blocked and lends its buffer for large messages; small ones come as payload.
    Caller,
    /// Into a payload, to be read in place.
    Payload,
    /// To a scope.
    Leased(WriteLease),
    /// Nowhere: who wanted them has gone.
    Discard,
}

/// What blocked callers lend for the time of one call.
#[derive(Debug)]
pub(crate) struct Lend<'a> {
    pub(crate) read: Option<(OpId, &'a [u8])>,
    pub(crate) write: Option<(OpId, &'a mut [u8])>,
}

impl Lend<'_> {
    pub(crate) fn nothing() -> Self {
        Self {
            read: None,
            write: None,
        }
    }
}

/// What came of a finished operation.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A send, with what it owned.
    Sent(Source),
    /// A receive.
    Received(Completed),
}

/// How far a send is.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) peer: usize,
    pub(super) envelope: Envelope,
    pub(super) len: usize,
    pub(super) source: Source,
    pub(super) synchronous: bool,
    pub(super) may_expose: bool,
    /// The readable name of the type, for the first message of its kind.
    pub(super) name: fn() -> String,
    pub(super) stage: SendStage,
}

#[derive(Debug)]
pub(super) enum SendStage {
    /// In its peer's queue.
    Queued,
    /// The peer knows of it and will accept, or copy it and be done.
    /// `offered` bytes went along.
    Requested { exposed: bool, offered: usize },
    /// Accepted, and sent up to `position`.
    Streaming { receive: u64, position: usize },
    /// Taken back; the peer's answer is awaited, nobody else's.
    Withdrawn,
}

/// How far a receive is.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) wanted: Wanted,
    pub(super) sink: Sink,
    pub(super) stage: ReceiveStage,
}

#[derive(Debug)]
pub(super) enum ReceiveStage {
    Posted(Place),
    /// Matched by a request.
    Moving(Moving),
}

/// A large message on its way in.
#[derive(Debug)]
pub(super) struct Moving {
    pub(super) from: usize,
    pub(super) envelope: Envelope,
    pub(super) len: usize,
    pub(super) received: usize,
    /// Where it collects, when it becomes a payload.
    pub(super) heap: AlignedBytes,
    /// Parts that wait for the caller to lend its buffer.
    pub(super) parts: Vec<(usize, Payload)>,
    /// Where it lies with the sender, and the sender's name for it, when it is to be copied from there.
    pub(super) exposed: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(super) enum State {
    Sending(Sending),
    Receiving(Receiving),
    Finished(Result<Outcome>),
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) waker: Option<Waker>,
    /// Nobody will ask what came of it.
    pub(super) detached: bool,
    generation: u32,
}

/// All operations in flight.
#[derive(Debug, Default)]
pub(super) struct Operations {
    slots: Slab<Slot>,
    generation: u32,
    /// How many run to their end with nobody waiting for them.
    detached: usize,
    /// Wakers of finished operations, to be called by who leaves the engine.
    pub(super) woken: Vec<Waker>,
}

impl Operations {
    pub(super) fn add(&mut self, state: State) -> OpId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slots.insert(Slot {
            state,
            waker: None,
            detached: false,
            generation,
        });
        OpId {
            index: u32::try_from(index).expect("fewer operations than 2^32 are in flight"),
            generation,
        }
    }

    /// A name for an operation that [`Self::fill`] or [`Self::finish`] makes right away.
    pub(super) fn reserve(&mut self) -> OpId {
        self.add(State::Finished(Err(Error::Cancelled)))
    }

    pub(super) fn fill(&mut self, id: OpId, state: State) {
        if let Some(slot) = self.get_mut(id) {
            slot.state = state;
        }
    }

    /// Takes what an operation is out for a moment; [`Self::fill`] or [`Self::finish`] follows.
    pub(super) fn take_state(&mut self, id: OpId) -> Option<State> {
        let slot = self.get_mut(id)?;
        Some(std::mem::replace(
            &mut slot.state,
            State::Finished(Err(Error::Cancelled)),
        ))
    }

    pub(super) fn get(&self, id: OpId) -> Option<&Slot> {
        self.slots
            .get(id.index as usize)
            .filter(|slot| slot.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: OpId) -> Option<&mut Slot> {
        self.slots
            .get_mut(id.index as usize)
            .filter(|slot| slot.generation == id.generation)
    }

    pub(super) fn sending(&mut self, id: OpId) -> Option<&mut Sending> {
        match &mut self.get_mut(id)?.state {
            State::Sending(sending) => Some(sending),
            _ => None,
        }
    }

    pub(super) fn receiving(&mut self, id: OpId) -> Option<&mut Receiving> {
        match &mut self.get_mut(id)?.state {
            State::Receiving(receiving) => Some(receiving),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, id: OpId) -> Option<State> {
        self.get(id)?;
        let slot = self.slots.remove(id.index as usize);
        self.detached -= usize::from(slot.detached);
        Some(slot.state)
    }

    /// Lets an operation that has not finished run to its end with nobody waiting for it.
    pub(super) fn detach(&mut self, id: OpId) {
        if let Some(slot) = self.get_mut(id)
            && !std::mem::replace(&mut slot.detached, true)
        {
            self.detached += 1;
        }
    }

    /// How many operations run to their end with nobody waiting for them.
    pub(super) fn detached(&self) -> usize {
        self.detached
    }

    pub(super) fn is_finished(&self, id: OpId) -> bool {
        self.get(id)
            .is_none_or(|slot| matches!(slot.state, State::Finished(_)))
    }

    pub(super) fn any_send(&self) -> bool {
        self.slots
            .iter()
            .any(|(_, slot)| matches!(slot.state, State::Sending(_)))
    }

    /// All operations for which `wanted` holds.
    pub(super) fn ids_where(&self, wanted: impl Fn(&State) -> bool) -> Vec<OpId> {
        let named = |(index, slot): (usize, &Slot)| OpId {
            index: index as u32,
            generation: slot.generation,
        };
        self.slots
            .iter()
            .filter(|(_, slot)| wanted(&slot.state))
            .map(named)
            .collect()
    }

    pub(super) fn finish(&mut self, id: OpId, result: Result<Outcome>) {
        let Some(slot) = self.get_mut(id) else { return };
        if slot.detached {
            self.remove(id);
            return;
        }
        slot.state = State::Finished(result);
        self.woken
            .extend(self.slots[id.index as usize].waker.take());
    }

    pub(super) fn take_error(&mut self, id: OpId) -> Option<Error> {
        let failed = self
            .get(id)
            .is_some_and(|slot| matches!(slot.state, State::Finished(Err(_))));
        if !failed {
            return None;
        }
        match self.remove(id)? {
            State::Finished(Err(error)) => Some(error),
            _ => None,
        }
    }

    pub(super) fn take_finished(&mut self, id: OpId) -> Option<Result<Outcome>> {
        if self.get(id).is_none() {
            // Who asks twice gets an answer, not a hang.
            return Some(Err(Error::Cancelled));
        }
        if !self.is_finished(id) {
            return None;
        }
        match self.remove(id)? {
            State::Finished(result) => Some(result),
            State::Sending(_) | State::Receiving(_) => None,
        }
    }
}
