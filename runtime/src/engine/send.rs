//! The sending half: eager messages at once, requests for the rest, everything in order.

use phalanx_transport::{Buffer, Envelope, Header, Inline, Link, Packet, Payload, Transport};

use crate::error::{Error, Result};

use super::Engine;
use super::operation::{Lend, OpId, Outcome, SendStage, Sending, Source, State};
use super::peers::cost;
use super::select::{Memory, Protocol, select};

/// What a send needs beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Send {
    /// World rank of the receiver.
    pub(crate) peer: usize,
    pub(crate) envelope: Envelope,
    /// Finished only once a receive has matched.
    pub(crate) synchronous: bool,
    /// The receiver may copy the bytes from where they are: the sender can wait until it has.
    pub(crate) may_expose: bool,
    /// The readable name of the type.
    pub(crate) name: fn() -> String,
}

/// What became of a send on the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    Sent,
    /// The link has no room right now.
    NoRoom,
    /// The receiver can copy it from there: [`Engine::try_request`].
    Exposed(u64),
    /// It is [`Engine::submit`]'s.
    Refused,
}

/// What became of the send at the head of a queue.
enum Step {
    /// Out: the next one may follow.
    Gone,
    /// It cannot go now; neither can those behind it.
    Stuck,
}

impl Engine {
    /// Sends a message right now, if nothing stands in its way; the fast path.
    #[inline]
    pub(crate) fn try_eager(
        &mut self,
        link: &mut Link,
        send: &Send,
        bytes: &[u8],
    ) -> Result<Tried> {
        if bytes.len() >= self.limits.pull
            && let Some(offset) = link.expose(send.peer, bytes)
        {
            return Ok(Tried::Exposed(offset));
        }
        let cost = cost(bytes.len());
        let peer = self.peers.get(send.peer);
        if bytes.len() > self.limits.eager
            || send.synchronous
            || !peer.is_clear(send.envelope.layout(), cost)
        {
            return Ok(Tried::Refused);
        }
        let sent = if bytes.len() <= link.capabilities(send.peer).inline {
            link.send_small(send.peer, send.envelope, bytes)?
        } else {
            link.send(send.peer, &Header::Eager(send.envelope), bytes)?
        };
        if !sent {
            return Ok(Tried::NoRoom);
        }
        peer.count_sent(cost);
        Ok(Tried::Sent)
    }

    /// Announces `len` bytes that lie exposed at `offset`, if nothing stands in the way; the fast path for a caller who then waits.
    pub(crate) fn try_request(
        &mut self,
        link: &mut Link,
        send: &Send,
        (offset, len): (u64, usize),
    ) -> Result<Option<OpId>> {
        // Who has gone, and this rank itself, take nothing at all by a fast path.
        if !self
            .peers
            .get(send.peer)
            .is_clear(send.envelope.layout(), 1)
        {
            return Ok(None);
        }
        let id = self.operations.add(State::Sending(Sending {
            peer: send.peer,
            envelope: send.envelope,
            len,
            source: Source::Caller,
            synchronous: send.synchronous,
            may_expose: true,
            name: send.name,
            stage: SendStage::Requested {
                exposed: true,
                offered: 0,
            },
        }));
        let header = Header::Request {
            envelope: send.envelope,
            send: id.to_bits(),
            len: len as u64,
            exposed: Some(offset),
        };
        let sent = link.send(send.peer, &header, &[]);
        if !matches!(sent, Ok(true)) {
            self.operations.remove(id);
        }
        Ok(sent?.then_some(id))
    }

    /// Ends a request of [`Self::try_request`] to which the peer has answered that it needs nothing more.
    pub(crate) fn conclude(&mut self, id: OpId) {
        self.operations.remove(id);
    }

    /// As [`Self::try_eager`], for a buffer of the link, which comes back if it could not go.
    pub(crate) fn try_buffer(
        &mut self,
        link: &mut Link,
        send: &Send,
        buffer: Buffer,
    ) -> Result<Option<Buffer>> {
        let cost = cost(buffer.len());
        let peer = self.peers.get(send.peer);
        if !link.capabilities(send.peer).lends
            || send.synchronous
            || !peer.is_clear(send.envelope.layout(), cost)
        {
            return Ok(Some(buffer));
        }
        let left = link.send_buffer(send.peer, &Header::Eager(send.envelope), buffer)?;
        if left.is_none() {
            peer.count_sent(cost);
        }
        Ok(left)
    }

    /// Begins a send of `len` bytes. They come back if the peer has gone.
    pub(crate) fn submit(
        &mut self,
        link: &mut Link,
        send: &Send,
        len: usize,
        source: Source,
    ) -> std::result::Result<OpId, (Source, Error)> {
        let Send {
            peer,
            envelope,
            synchronous,
            may_expose,
            name,
        } = *send;
        if let Some(error) = self.peers.refuses(peer) {
            return Err((source, error));
        }
        let sending = Sending {
            peer,
            envelope,
            len,
            source,
            synchronous,
            may_expose,
            name,
            stage: SendStage::Queued,
        };
        let id = self.operations.add(State::Sending(sending));
        self.peers.queue_send(peer, id);
        // What went wrong with a peer's queue goes wrong again in the next turn, and is told there.
        let _ = self.flush(link, &Lend::nothing());
        Ok(id)
    }

    /// Sends what is queued, as far as there is room.
    pub(super) fn flush(&mut self, link: &mut Link, lend: &Lend<'_>) -> Result<bool> {
        let mut moved = false;
        for peer in self.peers.take_busy() {
            let result = self.flush_peer(link, peer, lend, &mut moved);
            if !self.peers.get(peer).is_idle() {
                self.peers.mark_busy(peer);
            }
            result?;
        }
        Ok(moved)
    }

    fn flush_peer(
        &mut self,
        link: &mut Link,
        peer: usize,
        lend: &Lend<'_>,
        moved: &mut bool,
    ) -> Result<()> {
        while let Some(header) = self.peers.get(peer).control.front().copied() {
            if !link.send(peer, &header, &[])? {
                return Ok(());
            }
            self.peers.get(peer).control.pop_front();
            *moved = true;
        }
        while let Some(id) = self.peers.get(peer).sends.front().copied() {
            let step = match self.operations.remove_sending(id) {
                Some(sending) if peer == self.rank => self.send_to_self(id, sending, lend),
                Some(sending) => self.send_next(link, id, sending, lend),
                // Withdrawn while it was queued.
                None => Ok(Step::Gone),
            };
            match step {
                Ok(Step::Stuck) => return Ok(()),
                Ok(Step::Gone) => {}
                Err(error) => self.finish(id, Err(error)),
            }
            self.peers.get(peer).sends.pop_front();
            *moved = true;
        }
        Ok(())
    }

    /// Tries the send at the head of a queue; it was taken out of its operation and goes back unless it finished.
    fn send_next(
        &mut self,
        link: &mut Link,
        id: OpId,
        sending: Sending,
        lend: &Lend<'_>,
    ) -> Result<Step> {
        if !self.announce(link, &sending)? {
            return Ok(self.put_back(id, sending, Step::Stuck));
        }
        let lent = matches!(sending.source, Source::Buffer(_));
        let Some(place) = sending.with_bytes(id, lend, |bytes| link.expose(sending.peer, bytes))
        else {
            return Ok(self.put_back(id, sending, Step::Stuck));
        };
        let memory = match place {
            _ if lent => Memory::Lent,
            Some(_) if sending.may_expose => Memory::Shared,
            _ => Memory::Private,
        };
        let way = select(
            sending.len,
            memory,
            sending.synchronous,
            &link.capabilities(sending.peer),
            &self.limits,
        );
        let eager = matches!(way, Protocol::Inline | Protocol::Eager);
        if way == Protocol::Handover || lent && eager {
            return self.send_buffer(link, id, sending);
        }
        let cost = cost(sending.len);
        let peer = self.peers.get(sending.peer);
        if eager && peer.has_credit(cost) {
            let header = Header::Eager(sending.envelope);
            let sent = sending
                .with_bytes(id, lend, |bytes| link.send(sending.peer, &header, bytes))
                .unwrap_or(Ok(false))?;
            if !sent {
                return Ok(self.put_back(id, sending, Step::Stuck));
            }
            peer.count_sent(cost);
            self.finish(id, Ok(Outcome::Sent(sending.source)));
            return Ok(Step::Gone);
        }
        let exposed = place.filter(|_| way == Protocol::Pulled);
        self.request(link, id, sending, (exposed, lend))
    }

    /// Announces a message. Its beginning goes along, if there is credit for it: the receiver copies that while its answer is on the
    /// way back.
    fn request(
        &mut self,
        link: &mut Link,
        id: OpId,
        mut sending: Sending,
        (exposed, lend): (Option<u64>, &Lend<'_>),
    ) -> Result<Step> {
        let peer = self.peers.get(sending.peer);
        let beginning = sending.len.min(self.limits.eager);
        let goes_along = exposed.is_none() && beginning != 0 && peer.has_credit(cost(beginning));
        let offered = if goes_along { beginning } else { 0 };
        let header = Header::Request {
            envelope: sending.envelope,
            send: id.to_bits(),
            len: sending.len as u64,
            exposed,
        };
        let send = |bytes: &[u8]| link.send(sending.peer, &header, &bytes[..offered]);
        let sent = sending.with_bytes(id, lend, send).unwrap_or(Ok(false))?;
        if !sent {
            return Ok(self.put_back(id, sending, Step::Stuck));
        }
        if goes_along {
            peer.count_sent(cost(beginning));
        }
        sending.stage = SendStage::Requested {
            exposed: exposed.is_some(),
            offered,
        };
        Ok(self.put_back(id, sending, Step::Gone))
    }

    fn send_buffer(&mut self, link: &mut Link, id: OpId, mut sending: Sending) -> Result<Step> {
        let Source::Buffer(buffer) = std::mem::replace(&mut sending.source, Source::Spent) else {
            unreachable!("the caller has looked");
        };
        match link.send_buffer(sending.peer, &Header::Eager(sending.envelope), buffer)? {
            None => {
                // The bytes stay in this rank's memory; the receiver keeps an entry. Credit is counted, not asked for: loans are
                // bounded by the pool and by how many blocks a borrower may hold.
                let cost = cost(sending.len);
                self.peers.get(sending.peer).count_sent(cost);
                self.finish(id, Ok(Outcome::Sent(sending.source)));
                Ok(Step::Gone)
            }
            Some(buffer) => {
                sending.source = Source::Buffer(buffer);
                Ok(self.put_back(id, sending, Step::Stuck))
            }
        }
    }

    /// A rank's messages to itself are copied and never wait for the receive, unless they are synchronous.
    fn send_to_self(&mut self, id: OpId, mut sending: Sending, lend: &Lend<'_>) -> Result<Step> {
        self.names
            .entry(sending.envelope.layout())
            .or_insert_with(sending.name);
        if sending.synchronous {
            let header = Header::Request {
                envelope: sending.envelope,
                send: id.to_bits(),
                len: sending.len as u64,
                exposed: None,
            };
            self.loopback
                .push_back(Packet::new(header, Payload::copy_of(&[])));
            sending.stage = SendStage::Requested {
                exposed: false,
                offered: 0,
            };
            return Ok(self.put_back(id, sending, Step::Gone));
        }
        let Some(copy) = sending.with_bytes(id, lend, Payload::copy_of) else {
            return Ok(self.put_back(id, sending, Step::Stuck));
        };
        self.loopback
            .push_back(Packet::new(Header::Eager(sending.envelope), copy));
        self.finish(id, Ok(Outcome::Sent(sending.source)));
        Ok(Step::Gone)
    }

    /// Tells the peer the name of a type ahead of its first message. `false` when there is no room now.
    fn announce(&mut self, link: &mut Link, sending: &Sending) -> Result<bool> {
        let layout = sending.envelope.layout();
        if self.peers.get(sending.peer).knows(layout) {
            return Ok(true);
        }
        let name = (sending.name)();
        let end = name.floor_char_boundary(Inline::CAPACITY);
        let sent = link.send(
            sending.peer,
            &Header::TypeName { layout },
            &name.as_bytes()[..end],
        )?;
        if sent {
            self.peers.get(sending.peer).learn(layout);
        }
        Ok(sent)
    }

    fn put_back(&mut self, id: OpId, sending: Sending, step: Step) -> Step {
        self.operations.put_back(id, sending);
        step
    }

    /// The peer wants the bytes of a request.
    pub(super) fn accepted(&mut self, from: usize, id: OpId, receive: u64) {
        let sending = self
            .operations
            .sending(id)
            .filter(|sending| sending.peer == from);
        let Some(sending) = sending else {
            // Over for another reason, of which its owner still has to learn.
            self.post_control(from, Header::Abort { receive });
            return;
        };
        match sending.stage {
            SendStage::Requested { offered, .. } if offered == sending.len => {
                self.finish_send(from, id);
            }
            SendStage::Requested { offered, .. } => {
                sending.stage = SendStage::Streaming {
                    receive,
                    position: offered,
                };
                self.streaming.push_back(id);
            }
            SendStage::Withdrawn => {
                self.operations.remove(id);
                self.post_control(from, Header::Abort { receive });
            }
            SendStage::Queued | SendStage::Streaming { .. } => {
                self.post_control(from, Header::Abort { receive });
            }
        }
    }

    /// The peer needs nothing more of a send.
    pub(super) fn finish_send(&mut self, from: usize, id: OpId) {
        let Some(sending) = self
            .operations
            .sending(id)
            .filter(|sending| sending.peer == from)
        else {
            return;
        };
        let withdrawn = matches!(sending.stage, SendStage::Withdrawn);
        let source = std::mem::replace(&mut sending.source, Source::Spent);
        let outcome = if withdrawn {
            Err(Error::Cancelled)
        } else {
            Ok(Outcome::Sent(source))
        };
        self.finish(id, outcome);
    }

    /// Gives a send up: its bytes will not be touched again, unless the peer can see them itself, in which case its answer has to be
    /// awaited. Returns whether the operation is over.
    pub(crate) fn withdraw_send(&mut self, id: OpId) -> bool {
        let Some(sending) = self.operations.sending(id) else {
            return true;
        };
        let peer = sending.peer;
        match std::mem::replace(&mut sending.stage, SendStage::Withdrawn) {
            // Its entry in the queue finds nothing and is passed over.
            SendStage::Queued => {
                self.operations.remove(id);
                true
            }
            SendStage::Requested { exposed, .. } => {
                self.post_control(peer, Header::Withdraw { send: id.to_bits() });
                !exposed
            }
            SendStage::Streaming { receive, .. } => {
                self.streaming.retain(|&streaming| streaming != id);
                self.operations.remove(id);
                self.post_control(peer, Header::Abort { receive });
                true
            }
            SendStage::Withdrawn => true,
        }
    }

    /// Gives up an operation that has not finished.
    pub(crate) fn withdraw_unfinished(&mut self, id: OpId) {
        if !self.is_finished(id) {
            self.withdraw_send(id);
            self.withdraw_receive(id);
        }
        self.detach(id);
    }

    /// Lets an operation run to its end with nobody waiting for it.
    pub(crate) fn detach(&mut self, id: OpId) {
        let finished = self.operations.is_finished(id);
        if finished {
            self.operations.remove(id);
        } else if let Some(slot) = self.slot(id) {
            slot.detached = true;
        }
    }
}

impl Sending {
    /// Calls `use_bytes` with the message, if it is within reach.
    pub(super) fn with_bytes<R>(
        &self,
        id: OpId,
        lend: &Lend<'_>,
        use_bytes: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        match &self.source {
            Source::Caller => lend
                .read
                .filter(|(lender, _)| *lender == id)
                .map(|(_, bytes)| use_bytes(bytes)),
            Source::Owned(owned) => Some(use_bytes(owned.bytes())),
            Source::Leased(lease) => lease.with(use_bytes),
            Source::Buffer(buffer) => Some(use_bytes(buffer)),
            Source::Spent => Some(use_bytes(&[])),
        }
    }
}

impl super::operation::Operations {
    /// Takes the parts of a send out for a moment, so that the engine can be used meanwhile.
    fn remove_sending(&mut self, id: OpId) -> Option<Sending> {
        let slot = self.get_mut(id)?;
        match std::mem::replace(&mut slot.state, State::Finished(Err(Error::Cancelled))) {
            State::Sending(sending) => Some(sending),
            other => {
                slot.state = other;
                None
            }
        }
    }

    fn put_back(&mut self, id: OpId, sending: Sending) {
        if let Some(slot) = self.get_mut(id) {
            slot.state = State::Sending(sending);
        }
    }
}
