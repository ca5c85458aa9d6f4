//! The sending half: messages that go at once, and the life of those that do not. What waits in a queue is in `outbox.rs`.

use phalanx_transport::{Buffer, Envelope, Header, Link, Transport};

use crate::error::{Error, Result};

use super::Engine;
use super::operation::{Lend, OpId, Outcome, SendStage, Sending, Source, State};
use super::peers::cost;

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
        let mut sending = Sending::new(send, len, Source::Caller);
        sending.stage = SendStage::Requested {
            exposed: true,
            offered: 0,
        };
        let id = self.operations.add(State::Sending(sending));
        let header = request(send.envelope, id, len, Some(offset));
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
        if let Some(error) = self.peers.refuses(send.peer) {
            return Err((source, error));
        }
        let sending = Sending::new(send, len, source);
        let id = self.operations.add(State::Sending(sending));
        self.peers.queue_send(send.peer, id);
        // What went wrong with a peer's queue goes wrong again in the next turn, and is told there.
        let _ = self.flush(link, &Lend::nothing());
        Ok(id)
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
        } else {
            self.operations.detach(id);
        }
    }

    /// Whether a buffer that was given away may be sent with nobody waiting for it. So many at a time, as a receiver may hold over a link
    /// that lends.
    pub(crate) fn may_let_go(&self, link: &Link, send: &Send) -> bool {
        let is_own = send.peer == self.rank;
        !send.synchronous
            && !is_own
            && !link.capabilities(send.peer).lends
            && self.operations.detached() < MOST_LET_GO
    }
}

/// How a message is announced as operation `id`, whose bytes lie `exposed` or will follow.
pub(super) fn request(envelope: Envelope, id: OpId, len: usize, exposed: Option<u64>) -> Header {
    Header::Request {
        envelope,
        send: id.to_bits(),
        len: len as u64,
        exposed,
    }
}

/// Buffers under way that nobody waits for.
const MOST_LET_GO: usize = 1024;

impl Sending {
    /// A send of `len` bytes that waits for its turn.
    fn new(send: &Send, len: usize, source: Source) -> Self {
        Self {
            peer: send.peer,
            envelope: send.envelope,
            len,
            source,
            synchronous: send.synchronous,
            may_expose: send.may_expose,
            name: send.name,
            stage: SendStage::Queued,
        }
    }

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
