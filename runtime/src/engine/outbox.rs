//! The queues of sends that could not go at once: each peer's in order, by eager message, handed-over buffer, or request.

use phalanx_transport::{Header, Inline, Link, Packet, Payload, Transport};

use crate::error::{Error, Result};

use super::Engine;
use super::operation::{Lend, OpId, Operations, Outcome, SendStage, Sending, Source, State};
use super::peers::cost;
use super::select::{Memory, Protocol, select};
use super::send::request;

/// What became of the send at the head of a queue.
enum Step {
    /// Out: the next one may follow.
    Gone,
    /// It cannot go now; neither can those behind it.
    Stuck,
}

impl Engine {
    /// Sends what is queued, as far as there is room.
    pub(super) fn flush(&mut self, link: &mut Link, lend: &Lend<'_>) -> Result<bool> {
        let (mut moved, mut result) = (false, Ok(()));
        for peer in self.peers.take_busy() {
            // What is wrong with one peer is told when the others have had their turn.
            let flushed = self.flush_peer(link, peer, lend, &mut moved);
            result = result.and(flushed);
            if !self.peers.get(peer).is_idle() {
                self.peers.mark_busy(peer);
            }
        }
        result.map(|()| moved)
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
        let header = request(sending.envelope, id, sending.len, exposed);
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
            let header = request(sending.envelope, id, sending.len, None);
            let packet = Packet::new(header, Payload::copy_of(&[]));
            self.loopback.push_back(packet);
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
}

impl Operations {
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
