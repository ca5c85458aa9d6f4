//! Large messages: parts copied in by the sender while the receiver copies out those before, or one copy out of exposed memory.

use phalanx_shm::Words;
use phalanx_transport::{Header, Link, Packet, Payload, Transport, frame};

use crate::error::{Error, Result};

use super::Engine;
use super::operation::{Lend, OpId, Outcome, ReceiveStage, Receiving, SendStage, Sink, State};
use super::peers::cost;
use super::receive::Completed;

impl Engine {
    /// Copies parts of accepted sends into chunks, as many as there are.
    pub(super) fn stream(&mut self, link: &mut Link, lend: &Lend<'_>) -> Result<bool> {
        let mut moved = false;
        let mut index = 0;
        self.stalled = self.stalled.saturating_add(1);
        while let Some(&id) = self.streaming.get(index) {
            let mut stepped = false;
            let progress = self.stream_one(link, id, lend, &mut stepped)?;
            moved |= stepped;
            if stepped && index == 0 {
                self.stalled = 0;
            }
            match progress {
                // The next in line starts only when this one is out, so that each message is done as early as it can be, unless
                // its receiver has looked away.
                Progress::Blocked if self.stalled < PATIENCE => break,
                // Its bytes are with a caller who is not here; others need not wait for it.
                Progress::Blocked | Progress::OutOfReach => index += 1,
                Progress::Finished => {
                    self.streaming.remove(index);
                }
            }
        }
        Ok(moved)
    }

    fn stream_one(
        &mut self,
        link: &mut Link,
        id: OpId,
        lend: &Lend<'_>,
        moved: &mut bool,
    ) -> Result<Progress> {
        let stalled = self.stalled >= PATIENCE;
        loop {
            let Some(sending) = self.operations.sending(id) else {
                return Ok(Progress::Finished);
            };
            let SendStage::Streaming { receive, position } = sending.stage else {
                return Ok(Progress::Finished);
            };
            let (peer, len) = (sending.peer, sending.len);
            let header = Header::Chunk {
                receive,
                position: position as u64,
            };
            let send = |bytes: &[u8]| {
                let rest = &bytes[position..];
                if peer == self.rank {
                    let packet = Packet::new(header, Payload::copy_of(rest));
                    self.loopback.push_back(packet);
                    return Ok(rest.len());
                }
                send_part(link, peer, &header, rest, stalled)
            };
            let Some(sent) = sending.with_bytes(id, lend, send) else {
                return Ok(Progress::OutOfReach);
            };
            let end = position + sent?;
            if end == position {
                return Ok(Progress::Blocked);
            }
            *moved = true;
            if end == len {
                self.finish_send(peer, id);
                return Ok(Progress::Finished);
            }
            if let SendStage::Streaming { position, .. } = &mut sending.stage {
                *position = end;
            }
        }
    }

    /// Sets a matched request in motion.
    pub(super) fn start_moving(
        &mut self,
        link: &mut Link,
        id: OpId,
        send: u64,
        beginning: Payload,
    ) {
        let Some(receiving) = self.operations.receiving(id) else {
            return;
        };
        let ReceiveStage::Moving(moving) = &mut receiving.stage else {
            return;
        };
        let from = moving.from;
        if moving.exposed.is_none() {
            let receive = id.to_bits();
            let answer = if beginning.len() == moving.len {
                Header::Done { send }
            } else {
                Header::Accept { send, receive }
            };
            // The answer goes before the beginning is copied, so that the sender makes the next part meanwhile.
            self.post_control(from, answer);
            // What went wrong with a peer's queue goes wrong again in the next turn, and is told there.
            let _ = self.flush(link, &Lend::nothing());
            if !beginning.is_empty() {
                self.chunk(from, id, 0, beginning);
            } else if matches!(answer, Header::Done { .. }) {
                self.finish_receive(id);
            }
            return;
        }
        let result = match &mut receiving.sink {
            // Copied when the caller lends its buffer.
            Sink::Caller => return,
            Sink::Discard => Ok(()),
            Sink::Leased(lease) => {
                let offset = moving.exposed.map_or(0, |(_, offset)| offset);
                lease
                    .with(|bytes| link.pull(from, offset, &mut bytes[..moving.len]))
                    .unwrap_or(Ok(()))
            }
            Sink::Payload => {
                let offset = moving.exposed.map_or(0, |(_, offset)| offset);
                link.pull(from, offset, moving.heap.resize(moving.len))
            }
        };
        self.post_control(from, Header::Done { send });
        match result {
            Ok(()) => self.finish_receive(id),
            Err(error) => self.finish(id, Err(error.into())),
        }
    }

    /// Copies the next part of a message straight to where it belongs: to the caller who lends a buffer for it, or to a scope. Whether
    /// the frame was such a part.
    #[inline]
    pub(crate) fn land_part(
        &mut self,
        link: &mut Link,
        (from, words): (usize, &Words),
        lend: &mut Lend<'_>,
    ) -> Result<bool> {
        let Some((receive, position, block)) = frame::chunk_in(words) else {
            return Ok(false);
        };
        let id = OpId::from_bits(receive);
        let Some(Receiving {
            sink,
            stage: ReceiveStage::Moving(moving),
            ..
        }) = self.operations.receiving(id)
        else {
            return Ok(false);
        };
        let start = moving.received;
        let room = (moving.len - start) as u64;
        let is_next = moving.from == from && moving.parts.is_empty() && position == start as u64;
        if !is_next || block.len > room {
            return Ok(false);
        }
        let landed = match (sink, &mut lend.write) {
            (Sink::Caller, Some((lender, buffer))) if *lender == id => {
                Some(link.copy_out(from, block, &mut buffer[start..]))
            }
            (Sink::Leased(lease), _) => {
                lease.with(|bytes| link.copy_out(from, block, &mut bytes[start..]))
            }
            _ => None,
        };
        let Some(landed) = landed else {
            return Ok(false);
        };
        moving.received += landed?;
        if moving.received == moving.len {
            self.finish_receive(id);
        }
        Ok(true)
    }

    /// A part of a message has arrived.
    pub(super) fn chunk(&mut self, from: usize, id: OpId, position: u64, payload: Payload) {
        let Some(receiving) = self.operations.receiving(id) else {
            return;
        };
        let ReceiveStage::Moving(moving) = &mut receiving.stage else {
            return;
        };
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let in_order = start
            == moving.received
                + moving
                    .parts
                    .iter()
                    .map(|(_, part)| part.len())
                    .sum::<usize>();
        if moving.from != from || !in_order || payload.len() > moving.len - start {
            self.finish(id, Err(Error::Damaged { rank: from }));
            return;
        }
        match &mut receiving.sink {
            Sink::Caller => {
                moving.parts.push((start, payload));
                return;
            }
            Sink::Payload => moving.heap.append(&payload),
            Sink::Leased(lease) => {
                lease.with(|bytes| bytes[start..start + payload.len()].copy_from_slice(&payload));
            }
            Sink::Discard => {}
        }
        moving.received += payload.len();
        if moving.received == moving.len {
            self.finish_receive(id);
        }
    }

    /// Moves what has arrived for a blocked caller into the buffer that it lends.
    pub(super) fn fill_lent(&mut self, link: &mut Link, lend: &mut Lend<'_>) -> Result<bool> {
        let Some((id, buffer)) = &mut lend.write else {
            return Ok(false);
        };
        let id = *id;
        let Some(receiving) = self.operations.receiving(id) else {
            return Ok(false);
        };
        let ReceiveStage::Moving(moving) = &mut receiving.stage else {
            return Ok(false);
        };
        if let Some((send, offset)) = moving.exposed {
            let from = moving.from;
            let result = link.pull(from, offset, &mut buffer[..moving.len]);
            self.post_control(from, Header::Done { send });
            self.flush(link, &Lend::nothing())?;
            match result {
                Ok(()) => self.finish_receive(id),
                Err(error) => self.finish(id, Err(error.into())),
            }
            return Ok(true);
        }
        if moving.parts.is_empty() {
            return Ok(false);
        }
        for (start, part) in moving.parts.drain(..) {
            buffer[start..start + part.len()].copy_from_slice(&part);
            moving.received += part.len();
        }
        if moving.received == moving.len {
            self.finish_receive(id);
        }
        Ok(true)
    }

    /// Throws away what has arrived of a message nobody wants any more; the rest follows it.
    pub(super) fn discard(&mut self, id: OpId) {
        self.operations.detach(id);
        let Some(slot) = self.operations.get_mut(id) else {
            return;
        };
        let State::Receiving(receiving) = &mut slot.state else {
            return;
        };
        let ReceiveStage::Moving(moving) = &mut receiving.stage else {
            return;
        };
        moving.received += moving
            .parts
            .drain(..)
            .map(|(_, part)| part.len())
            .sum::<usize>();
        let (from, over) = (moving.from, moving.received == moving.len);
        if let Some((send, _)) = moving.exposed {
            self.post_control(from, Header::Done { send });
            self.finish_receive(id);
        } else if over {
            self.finish_receive(id);
        }
    }

    /// The sender took a request back: it is forgotten, unless it has been accepted already.
    pub(super) fn withdrawn(&mut self, from: usize, send: u64) {
        let mine = |address: crate::matching::Address, kept: &super::receive::Kept| {
            address.source as usize == from && kept.is_request_of(send)
        };
        if let Some((_, kept)) = self.unexpected.take_where(mine) {
            if let Some(bytes) = kept.bytes() {
                self.peers.take(from, cost(bytes.len()));
            }
            self.post_control(from, Header::Done { send });
        }
    }

    /// The sender will not send the rest.
    pub(super) fn aborted(&mut self, from: usize, id: OpId) {
        let Some(receiving) = self.operations.receiving(id) else {
            return;
        };
        let ReceiveStage::Moving(moving) = &receiving.stage else {
            return;
        };
        if moving.from == from {
            let tag = moving.envelope.tag();
            self.finish(id, Err(Error::Withdrawn { rank: from, tag }));
        }
    }

    fn finish_receive(&mut self, id: OpId) {
        let Some(receiving) = self.operations.receiving(id) else {
            return;
        };
        let ReceiveStage::Moving(moving) = &mut receiving.stage else {
            return;
        };
        let heap = std::mem::take(&mut moving.heap);
        let payload = matches!(receiving.sink, Sink::Payload).then_some(Payload::Heap(heap));
        let completed = Completed {
            from: moving.from,
            tag: moving.envelope.tag(),
            len: moving.len,
            payload,
        };
        self.finish(id, Ok(Outcome::Received(completed)));
    }
}

/// Turns without progress after which a receiver counts as looking away: fewer than a wait makes before it sleeps.
const PATIENCE: u32 = 32;

/// Bytes of a part when there is no chunk: at most a ring full of them is under way.
const SPARE_PART: usize = 32 << 10;

/// How a stream stands.
enum Progress {
    Blocked,
    OutOfReach,
    Finished,
}

/// Sends the next part of what remains; none when there is no room for it.
#[inline]
fn send_part(
    link: &mut Link,
    peer: usize,
    header: &Header,
    rest: &[u8],
    stalled: bool,
) -> Result<usize> {
    let sent = link.send_part(peer, header, rest)?;
    if sent != 0 || !stalled {
        return Ok(sent);
    }
    // The parts under way may all lie in the rings of receivers that have looked away, or left.
    let part = &rest[..rest.len().min(SPARE_PART)];
    Ok(if link.send(peer, header, part)? {
        part.len()
    } else {
        0
    })
}
