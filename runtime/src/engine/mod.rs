//! Matching and protocols of one rank: what to do with each packet, and what to send next.
//!
//! The engine has no clock, no thread and never waits. Packets go in by [`Engine::handle`]; operations go in by [`Engine::post`] and
//! [`Engine::submit`] and come out finished; [`Engine::advance`] does what can be done now. Whoever waits calls these in a loop
//! (`progress.rs`). Two engines over an in-process link are its test bed.
//!
//! ```text
//!   send                                        receive
//!    |  up to the eager limit: Eager(bytes) ------> matched, or kept in the unexpected queue
//!    |  a buffer of the link:  Eager(buffer) -----> the same, read in place
//!    |  larger: Request(beginning) -------------->  matched, or kept
//!    |          <------------------------- Accept   beginning copied out while the next part is copied in
//!    |          Chunk, Chunk, .. ----------------->  and so on
//!    |  larger, in shared memory: Request(place) ->  copied once by the receiver
//!    |          <--------------------------- Done
//! ```
//! Eager messages that no receive has taken are limited per sender by credit; a sender without credit makes requests, which cost the
//! receiver one entry and the sender an operation each.
//!
//! Bytes that a blocked caller owns are touched only while that caller lends them ([`Lend`]): the engine keeps no borrow.

mod depart;
mod landing;
mod operation;
mod outbox;
mod peers;
mod receive;
mod select;
mod send;
mod stream;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use phalanx_transport::{Header, Link, Packet, Payload};
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::group::Members;
use crate::matching::{Posted, Unexpected};

pub(crate) use depart::Departures;
pub(crate) use landing::{Glance, IntoBuffer, Landing};
use operation::Operations;
pub(crate) use operation::{Lend, OpId, Outcome, OwnedBytes, Sink, Source};
use peers::Peers;
use receive::Kept;
pub(crate) use receive::{Arrival, Arrived, Completed, Expected, Wanted};
pub(crate) use select::select;
pub use select::{Memory, Protocol};
pub(crate) use send::{Send, Tried};

/// Thresholds of the protocols, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) eager: usize,
    pub(crate) pull: usize,
    pub(crate) unexpected: u64,
    pub(crate) check_types: bool,
}

/// All messages and operations of one rank.
#[derive(Debug)]
pub(crate) struct Engine {
    rank: usize,
    limits: Limits,
    operations: Operations,
    posted: Posted<OpId>,
    unexpected: Unexpected<Kept>,
    peers: Peers,
    /// Accepted sends whose bytes are under way, in the order of acceptance.
    streaming: VecDeque<OpId>,
    /// Packets of this rank to itself.
    loopback: VecDeque<Packet>,
    /// Names of types, as their senders announced them.
    names: FxHashMap<u32, String>,
    /// Members of the communicators that are not the whole world, by context.
    groups: FxHashMap<u32, Weak<Members>>,
    /// Turns in which the first of the streams could not go on.
    stalled: u32,
}

impl Engine {
    pub(crate) fn new(rank: usize, size: usize, limits: Limits) -> Self {
        Self {
            rank,
            limits,
            operations: Operations::default(),
            posted: Posted::new(),
            unexpected: Unexpected::new(),
            peers: Peers::new(rank, size, limits.unexpected),
            streaming: VecDeque::new(),
            loopback: VecDeque::new(),
            names: FxHashMap::default(),
            groups: FxHashMap::default(),
            stalled: 0,
        }
    }

    /// Remembers whom a wildcard of `context` stands for.
    pub(crate) fn learn_group(&mut self, context: u32, members: &Arc<Members>) {
        self.groups.retain(|_, members| members.strong_count() != 0);
        self.groups.insert(context, Arc::downgrade(members));
    }

    /// Whether nothing waits to be sent: then a receiver need only look at the link.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.streaming.is_empty() && self.loopback.is_empty() && self.peers.nothing_queued()
    }

    /// Whether everything that this rank sent is out of its hands.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.is_quiet() && !self.operations.any_send()
    }

    /// Takes one packet in. A message that no posted receive claims goes to `wanted`, the receive of the caller who is waiting right
    /// now, if it fits, and otherwise to the unexpected queue.
    #[inline]
    pub(crate) fn handle(
        &mut self,
        link: &mut Link,
        from: usize,
        packet: Packet,
        wanted: Option<&Wanted>,
    ) -> Result<Option<Arrival>> {
        let (envelope, content) = match packet.header {
            Header::Eager(envelope) => (envelope, Arrived::Bytes(packet.payload)),
            Header::Request {
                envelope,
                send,
                len,
                exposed,
            } => {
                let beginning = packet.payload;
                let request = Arrived::Request {
                    send,
                    len,
                    exposed,
                    beginning,
                };
                (envelope, request)
            }
            header => {
                self.control(link, from, header, packet.payload)?;
                return Ok(None);
            }
        };
        let arrival = Arrival {
            from,
            envelope,
            content,
        };
        self.arrive(link, arrival, wanted)
    }

    /// Does what can be done now: packets to this rank itself, queued packets and parts of large messages. Says whether anything
    /// moved.
    pub(crate) fn advance(&mut self, link: &mut Link, lend: &mut Lend<'_>) -> Result<bool> {
        let mut moved = false;
        while let Some(packet) = self.loopback.pop_front() {
            self.handle(link, self.rank, packet, None)?;
            moved = true;
        }
        if !self.peers.nothing_queued() {
            moved |= self.flush(link, lend)?;
        }
        if !self.streaming.is_empty() {
            moved |= self.stream(link, lend)?;
        }
        moved |= self.fill_lent(link, lend)?;
        Ok(moved)
    }

    #[inline]
    fn arrive(
        &mut self,
        link: &mut Link,
        arrival: Arrival,
        wanted: Option<&Wanted>,
    ) -> Result<Option<Arrival>> {
        let Some(arrival) = self.offer(link, arrival) else {
            return Ok(None);
        };
        if let Some(wanted) = wanted
            && wanted.pattern.fits(arrival.address())
        {
            if let Err(error) = self.check(&wanted.expected, &arrival) {
                self.keep(arrival);
                return Err(error);
            }
            self.count_taken(&arrival);
            return Ok(Some(arrival));
        }
        self.keep(arrival);
        Ok(None)
    }

    /// Puts a message into the unexpected queue.
    #[cold]
    fn keep(&mut self, arrival: Arrival) {
        self.unexpected
            .insert(arrival.address(), arrival.into_kept());
    }

    #[cold]
    fn control(
        &mut self,
        link: &mut Link,
        from: usize,
        header: Header,
        payload: Payload,
    ) -> Result<()> {
        match header {
            Header::Accept { send, receive } => self.accepted(from, OpId::from_bits(send), receive),
            Header::Chunk { receive, position } => {
                self.chunk(from, OpId::from_bits(receive), position, payload)
            }
            Header::Done { send } => self.finish_send(from, OpId::from_bits(send)),
            Header::Withdraw { send } => self.withdrawn(from, send),
            Header::Abort { receive } => self.aborted(from, OpId::from_bits(receive)),
            Header::Credit { taken } => self.peers.credit(from, taken),
            Header::TypeName { layout } => {
                self.names
                    .insert(layout, String::from_utf8_lossy(&payload).into_owned());
            }
            _ => {}
        }
        if !self.peers.nothing_queued() {
            self.flush(link, &Lend::nothing())?;
        }
        Ok(())
    }

    /// Queues a header for `peer`, or for this rank itself.
    fn post_control(&mut self, peer: usize, header: Header) {
        if peer == self.rank {
            self.loopback
                .push_back(Packet::new(header, Payload::copy_of(&[])));
        } else {
            self.peers.queue_control(peer, header);
        }
    }

    /// The operation `id`, if it has finished, with what came of it.
    pub(crate) fn take_finished(&mut self, id: OpId) -> Option<Result<Outcome>> {
        self.operations.take_finished(id)
    }

    /// The error of a finished operation, taken with it; one that went well, or was taken before, stays as it is.
    pub(crate) fn take_error(&mut self, id: OpId) -> Option<Error> {
        self.operations.take_error(id)
    }

    pub(crate) fn is_finished(&self, id: OpId) -> bool {
        self.operations.is_finished(id)
    }

    /// Remembers whom to wake when the operation finishes.
    pub(crate) fn set_waker(&mut self, id: OpId, waker: &std::task::Waker) {
        if let Some(slot) = self.operations.get_mut(id) {
            slot.waker = Some(waker.clone());
        }
    }

    /// Whether futures have finished whose tasks do not know it yet.
    #[inline]
    pub(crate) fn has_woken(&self) -> bool {
        !self.operations.woken.is_empty()
    }

    /// The wakers of their tasks, to be called outside.
    pub(crate) fn take_woken(&mut self) -> Vec<std::task::Waker> {
        std::mem::take(&mut self.operations.woken)
    }

    fn finish(&mut self, id: OpId, result: Result<Outcome>) {
        self.operations.finish(id, result);
    }

    fn name_of(&self, layout: u32) -> String {
        self.names
            .get(&layout)
            .cloned()
            .unwrap_or_else(|| format!("a type of layout {layout:08x}"))
    }

    /// What to say of an operation whose peer has gone.
    fn gone(&self, peer: usize, doing: &'static str) -> Option<Error> {
        self.peers.gone(peer, doing)
    }
}
