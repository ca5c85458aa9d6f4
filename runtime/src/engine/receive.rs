//! The receiving half: what a receive asks for, what arrives, and how the two become one.

use phalanx_transport::{AlignedBytes, Envelope, Link, Payload};

use crate::error::{Error, Result, Truncated, TypeMismatch};
use crate::matching::{Address, Pattern, Turn};

use super::operation::{Moving, OpId, Outcome, ReceiveStage, Receiving, Sink, State};
use super::{Engine, peers};

/// A receive: which message, and what it must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) pattern: Pattern,
    pub(crate) expected: Expected,
}

/// What the message of a receive must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// Hash of the type's layout; 0 takes anything.
    pub(crate) layout: u32,
    /// Bytes that there is room for.
    pub(crate) capacity: usize,
    pub(crate) name: fn() -> String,
}

/// A message, or the request of one, on its way to a receive.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) from: usize,
    pub(crate) envelope: Envelope,
    pub(crate) content: Arrived,
}

/// What a message is at its receiver.
#[derive(Debug)]
pub(crate) enum Arrived {
    Bytes(Payload),
    /// It waits at its sender, but for the beginning, if there is one.
    Request {
        send: u64,
        len: u64,
        exposed: Option<u64>,
        beginning: Payload,
    },
}

/// A message in the unexpected queue. The address is the queue's.
#[derive(Debug)]
pub(super) struct Kept {
    layout: u32,
    content: Arrived,
}

/// A finished receive.
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) from: usize,
    pub(crate) tag: i32,
    /// Bytes of the message.
    pub(crate) len: usize,
    /// The bytes, unless they are where the receive wanted them.
    pub(crate) payload: Option<Payload>,
}

impl Arrival {
    #[inline]
    pub(super) fn address(&self) -> Address {
        address(self.from, self.envelope)
    }

    /// Bytes of the message.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.content.len()
    }

    /// What a receive of exactly this message asks for.
    pub(crate) fn pattern(&self) -> Pattern {
        let Address {
            context,
            source,
            tag,
        } = self.address();
        Pattern {
            context,
            source: Some(source),
            tag: Some(tag),
        }
    }

    pub(super) fn into_kept(self) -> Kept {
        Kept {
            layout: self.envelope.layout(),
            content: self.content,
        }
    }

    fn from_kept(address: Address, kept: Kept) -> Self {
        let envelope = Envelope::new(address.context, address.tag, kept.layout);
        Self {
            from: address.source as usize,
            envelope,
            content: kept.content,
        }
    }
}

impl Arrived {
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(payload) => payload.len() as u64,
            Self::Request { len, .. } => *len,
        }
    }

    /// What has come of it: all of it, or a beginning.
    fn bytes(&self) -> Option<&Payload> {
        match self {
            Self::Bytes(payload) => Some(payload),
            Self::Request { beginning, .. } => Some(beginning).filter(|bytes| !bytes.is_empty()),
        }
    }
}

impl Kept {
    /// What has come of it.
    pub(super) fn bytes(&self) -> Option<&Payload> {
        self.content.bytes()
    }

    pub(super) fn is_request_of(&self, wanted: u64) -> bool {
        matches!(self.content, Arrived::Request { send, .. } if send == wanted)
    }

    pub(super) fn is_request(&self) -> bool {
        matches!(self.content, Arrived::Request { .. })
    }
}

impl Engine {
    /// Takes the first waiting message that fits. One of the wrong type or size stays where it is.
    pub(crate) fn claim(&mut self, wanted: &Wanted) -> Result<Option<Arrival>> {
        let Some((address, kept)) = self.unexpected.peek(&wanted.pattern) else {
            return Ok(None);
        };
        let (layout, len) = (kept.layout, kept.content.len());
        self.check_parts(
            &wanted.expected,
            address.source as usize,
            address.tag,
            (layout, len),
        )?;
        let arrival = self
            .unexpected
            .take(&wanted.pattern)
            .map(|(address, kept)| Arrival::from_kept(address, kept));
        if let Some(arrival) = &arrival {
            self.count_taken(arrival);
        }
        Ok(arrival)
    }

    /// Whether a message waits that no receive has taken.
    #[inline]
    pub(crate) fn keeps_any(&self) -> bool {
        !self.unexpected.is_empty()
    }

    /// Source, tag and bytes of the first waiting message that fits; it stays.
    pub(crate) fn peek(&mut self, pattern: &Pattern) -> Option<(usize, i32, u64)> {
        self.unexpected
            .peek(pattern)
            .map(|(address, kept)| (address.source as usize, address.tag, kept.content.len()))
    }

    /// Takes the first waiting message that fits, whatever it is.
    pub(crate) fn extract(&mut self, pattern: &Pattern) -> Option<(Arrival, Turn)> {
        let (address, kept, turn) = self.unexpected.extract(pattern)?;
        Some((Arrival::from_kept(address, kept), turn))
    }

    /// Puts a message that [`Self::extract`] took back: to a receive that was posted meanwhile, or to where it stood.
    pub(crate) fn restore(&mut self, link: &mut Link, arrival: Arrival, turn: Turn) {
        if let Some(arrival) = self.offer(link, arrival) {
            self.unexpected
                .restore(arrival.address(), arrival.into_kept(), turn);
        }
    }

    /// Hands an extracted message to a receive; it comes back with the error if it is not what the receive expects.
    pub(crate) fn receive_extracted(
        &mut self,
        link: &mut Link,
        arrival: Arrival,
        wanted: &Wanted,
        sink: Sink,
    ) -> std::result::Result<OpId, (Arrival, Error)> {
        if let Err(error) = self.check(&wanted.expected, &arrival) {
            return Err((arrival, error));
        }
        self.count_taken(&arrival);
        Ok(self.begin(link, arrival, wanted, sink))
    }

    /// Posts a receive. A message that is here already is taken at once.
    pub(crate) fn post(&mut self, link: &mut Link, wanted: &Wanted, sink: Sink) -> OpId {
        match self.claim(wanted) {
            Ok(Some(arrival)) => return self.begin(link, arrival, wanted, sink),
            Ok(None) => {}
            Err(error) => return self.operations.add(State::Finished(Err(error))),
        }
        if let Some(error) = self.nobody_will_send(wanted) {
            return self.operations.add(State::Finished(Err(error)));
        }
        let id = self.operations.reserve();
        let place = self.posted.insert(&wanted.pattern, id);
        self.operations.fill(
            id,
            State::Receiving(Receiving {
                wanted: *wanted,
                sink,
                stage: ReceiveStage::Posted(place),
            }),
        );
        id
    }

    /// Makes an operation of a matched message. It may be finished at once.
    pub(crate) fn begin(
        &mut self,
        link: &mut Link,
        arrival: Arrival,
        wanted: &Wanted,
        sink: Sink,
    ) -> OpId {
        let id = self.operations.reserve();
        self.begin_as(
            link,
            id,
            arrival,
            Receiving {
                wanted: *wanted,
                sink,
                stage: ReceiveStage::Posted(crate::matching::Place::NONE),
            },
        );
        id
    }

    /// Gives a message to the first posted receive that fits and can take it. One that cannot, because the message is of another
    /// type or too long, ends with an error; the message comes back if no receive is left.
    #[inline]
    pub(super) fn offer(&mut self, link: &mut Link, arrival: Arrival) -> Option<Arrival> {
        if self.posted.is_empty() {
            return Some(arrival);
        }
        let address = arrival.address();
        while let Some(id) = self.posted.take(address) {
            let Some(State::Receiving(receiving)) = self.operations.take_state(id) else {
                continue;
            };
            if let Err(error) = self.check(&receiving.wanted.expected, &arrival) {
                self.finish(id, Err(error));
                continue;
            }
            self.count_taken(&arrival);
            self.begin_as(link, id, arrival, receiving);
            return None;
        }
        Some(arrival)
    }

    fn begin_as(&mut self, link: &mut Link, id: OpId, arrival: Arrival, mut receiving: Receiving) {
        let Arrival {
            from,
            envelope,
            content,
        } = arrival;
        match content {
            Arrived::Bytes(payload) => {
                let completed = Completed {
                    from,
                    tag: envelope.tag(),
                    len: payload.len(),
                    payload: Some(payload),
                };
                let result = receiving.sink.settle(completed);
                self.finish(id, result.map(Outcome::Received));
            }
            Arrived::Request {
                send,
                len,
                exposed,
                beginning,
            } => {
                let Some(heap) = receiving.sink.heap_for(len) else {
                    // Its credit has been given back and will be once more: the sender takes no more than it is due.
                    self.keep(Arrival {
                        from,
                        envelope,
                        content: Arrived::Request {
                            send,
                            len,
                            exposed,
                            beginning,
                        },
                    });
                    self.finish(
                        id,
                        Err(Error::TooLarge {
                            from,
                            tag: envelope.tag(),
                            sent: len,
                        }),
                    );
                    return;
                };
                let exposed = exposed.map(|offset| (send, offset));
                let moving = Moving {
                    from,
                    envelope,
                    len: len as usize,
                    received: 0,
                    heap,
                    parts: Vec::new(),
                    exposed,
                };
                receiving.stage = ReceiveStage::Moving(moving);
                self.operations.fill(id, State::Receiving(receiving));
                self.start_moving(link, id, send, beginning);
            }
        }
    }

    /// Withdraws a receive: what has not been matched never will be, what is on its way is thrown away on arrival. Returns whether it
    /// had not been matched.
    pub(crate) fn withdraw_receive(&mut self, id: OpId) -> bool {
        let Some(receiving) = self.operations.receiving(id) else {
            return false;
        };
        match &receiving.stage {
            ReceiveStage::Posted(place) => {
                let place = *place;
                self.posted.withdraw(place);
                self.operations.remove(id);
                true
            }
            ReceiveStage::Moving(_) => {
                receiving.sink = Sink::Discard;
                self.discard(id);
                false
            }
        }
    }

    /// Withdraws a receive that nothing has matched; says whether that was so.
    pub(crate) fn withdraw_receive_if_unmatched(&mut self, id: OpId) -> bool {
        let posted = self
            .operations
            .receiving(id)
            .is_some_and(|receiving| matches!(receiving.stage, ReceiveStage::Posted(_)));
        posted && self.withdraw_receive(id)
    }

    /// Whether a message may go to a receive.
    #[inline]
    pub(super) fn check(&self, expected: &Expected, arrival: &Arrival) -> Result<()> {
        self.check_parts(
            expected,
            arrival.from,
            arrival.envelope.tag(),
            (arrival.envelope.layout(), arrival.len()),
        )
    }

    #[inline]
    fn check_parts(
        &self,
        expected: &Expected,
        from: usize,
        tag: i32,
        (layout, len): (u32, u64),
    ) -> Result<()> {
        let same = layout == expected.layout
            || layout == 0
            || expected.layout == 0
            || !self.limits.check_types;
        if same && len <= expected.capacity as u64 {
            Ok(())
        } else {
            Err(self.refuse(expected, from, tag, (layout, len)))
        }
    }

    #[cold]
    fn refuse(
        &self,
        expected: &Expected,
        from: usize,
        tag: i32,
        (layout, sent): (u32, u64),
    ) -> Error {
        if sent > expected.capacity as u64
            && (layout == expected.layout || !self.limits.check_types)
        {
            return Error::Truncated(Box::new(Truncated {
                from,
                tag,
                sent,
                capacity: expected.capacity,
            }));
        }
        Error::TypeMismatch(Box::new(TypeMismatch {
            from,
            tag,
            sent: self.name_of(layout),
            expected: (expected.name)(),
        }))
    }

    /// Counts an eager message that has left the queue for good.
    #[inline]
    pub(super) fn count_taken(&mut self, arrival: &Arrival) {
        if let Some(bytes) = arrival.content.bytes()
            && arrival.from != self.rank
        {
            self.peers.take(arrival.from, peers::cost(bytes.len()));
        }
    }
}

impl Sink {
    /// Puts a whole message where it belongs.
    fn settle(&mut self, mut completed: Completed) -> Result<Completed> {
        if let Self::Leased(lease) = self {
            let copied = completed.payload.take().and_then(|payload| {
                lease.with(|bytes| bytes[..payload.len()].copy_from_slice(&payload))
            });
            return copied.map(|()| completed).ok_or(Error::Cancelled);
        }
        Ok(completed)
    }

    /// Room for a message of `len` bytes that collects on the heap; empty when it collects elsewhere, none when there is no memory.
    fn heap_for(&self, len: u64) -> Option<AlignedBytes> {
        let len = usize::try_from(len).ok()?;
        if matches!(self, Self::Payload) {
            AlignedBytes::with_capacity(len)
        } else {
            Some(AlignedBytes::default())
        }
    }
}

/// What a message from `from` in `envelope` is matched by.
#[inline]
pub(super) fn address(from: usize, envelope: Envelope) -> Address {
    Address {
        context: envelope.context(),
        source: from as u32,
        tag: envelope.tag(),
    }
}
