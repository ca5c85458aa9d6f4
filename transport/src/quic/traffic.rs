//! What travels on an elected connection: messages and the room for them, and how ranks take leave of each other.
//!
//! A rank that leaves says goodbye behind all that it sent and ends both streams. The peer that has read both to the end calls it gone,
//! not earlier, so that nothing sent is missed, and closes the connection. Whichever of the two hears first of the other's end, by that
//! or by the acknowledgement of all, need not wait any longer.

use std::time::Instant;

use phalanx_shm::Death;

use crate::frame::Header;
use crate::link::{LinkError, Packet, PeerState};
use crate::payload::{AlignedBytes, Payload};

use super::connection::{Conn, Stage};
use super::driver::Driver;
use super::ending::{FAILED, GIVEN_UP, LEFT, NONSENSE, READ};
use super::framing::{Frame, Lane};
use super::peer::{Farewell, cost};
use super::wire::Due;

impl Driver {
    /// Whether a message of `len` bytes may be sent to `peer` now.
    #[inline]
    pub(super) fn admits(
        &mut self,
        peer: usize,
        header: &Header,
        len: usize,
    ) -> Result<bool, LinkError> {
        if self.left.is_some() || self.wire.cut {
            return Err(LinkError::Departed { rank: self.rank });
        }
        let entry = &mut self.peers[peer];
        if entry.gone {
            return self.admits_to_gone(peer, header);
        }
        if entry.lane(Lane::of(header)).has_room(cost(len)) {
            return Ok(true);
        }
        self.look_for_room(peer, header, len)
    }

    /// The word that there is room may have arrived already, and what fills the queue has to go before there can be any.
    #[cold]
    fn look_for_room(
        &mut self,
        peer: usize,
        header: &Header,
        len: usize,
    ) -> Result<bool, LinkError> {
        self.list_peer(peer);
        self.drive();
        let entry = &mut self.peers[peer];
        Ok(!entry.gone && entry.lane(Lane::of(header)).has_room(cost(len)))
    }

    /// A message to a rank that is out of reach fails with what is known of it. What only answers that rank waits, until the layer
    /// above has seen that it has gone: its failure would be that of somebody else's operation.
    #[cold]
    fn admits_to_gone(&self, peer: usize, header: &Header) -> Result<bool, LinkError> {
        match (&self.peers[peer].trouble, header) {
            (Some(trouble), Header::Eager(_) | Header::Request { .. }) => {
                Err(LinkError::Unreachable {
                    peer,
                    trouble: trouble.clone(),
                })
            }
            _ => Ok(false),
        }
    }

    /// Sends a message that is admitted.
    #[inline]
    pub(super) fn send(&mut self, peer: usize, header: &Header, bytes: &[u8]) {
        let frame = Frame::Packet(*header);
        self.peers[peer].lane(Lane::of(header)).push(&frame, bytes);
        self.set_out(peer);
    }

    /// As [`Self::send`], of a buffer that is given away.
    pub(super) fn send_buffer(&mut self, peer: usize, header: &Header, buffer: AlignedBytes) {
        let frame = Frame::Packet(*header);
        self.peers[peer]
            .lane(Lane::of(header))
            .push_buffer(&frame, buffer);
        self.set_out(peer);
    }

    /// The first message since the program looked for others leaves at once, since it may be waited for. Those after it wait for company,
    /// until they fill a packet or the program looks again: that makes 2 million messages a second of 160 thousand.
    #[inline]
    fn set_out(&mut self, peer: usize) {
        let entry = &mut self.peers[peer];
        let Some(at) = entry.elected else {
            let now = self.wire.now();
            self.want(peer, now);
            return self.flush();
        };
        let is_first = entry.flushed != self.wire.passes;
        let is_full = entry.lanes.iter().map(|lane| lane.tail()).sum::<usize>() >= PACKET_FULL;
        entry.flushed = self.wire.passes;
        self.list(at);
        if is_first || is_full {
            self.flush();
        }
    }

    /// The next packet for the layer above.
    #[inline]
    pub(super) fn take(&mut self) -> Option<(usize, Packet)> {
        let (peer, packet) = self.news.inbox.pop_front()?;
        let lane = Lane::of(&packet.header);
        let entry = &mut self.peers[peer];
        if entry.count_taken(lane, cost(packet.payload.len())) && !entry.gone {
            self.list_peer(peer);
        }
        Some((peer, packet))
    }

    /// Reads what has arrived on the streams of a connection.
    pub(super) fn read(&mut self, conn: &mut Conn, now: Instant) {
        let (Stage::Elected, Some(peer)) = (conn.stage, conn.peer) else {
            return;
        };
        for place in 0..conn.inbound() {
            let result = conn.read(place, |lane, frame, payload| {
                self.take_in(peer, lane, frame, payload);
            });
            let result = match result {
                Ok(()) if conn.is_read() && self.peers[peer].goodbye.is_none() => {
                    Err(super::framing::StreamError::End)
                }
                result => result,
            };
            if let Err(source) = result {
                conn.close(now, NONSENSE, &source.to_string());
                self.peers[peer].trouble =
                    Some(format!("rank {peer} at {} sent {source}", conn.remote()));
                self.news
                    .faults
                    .push_back(LinkError::Stream { peer, source });
                return self.gone(peer, PeerState::Unreachable, now);
            }
        }
        if conn.is_read()
            && let Some(failed) = self.peers[peer].goodbye
        {
            let state = if failed {
                // What a thread that panics exits with, if nobody catches it.
                PeerState::Dead(Death::Exit(101))
            } else {
                PeerState::Left
            };
            // That all was read the peer learns at once, since this rank may not be here to acknowledge it later.
            conn.close(now, READ, "");
            self.gone(peer, state, now);
        }
    }

    fn take_in(&mut self, peer: usize, lane: Lane, frame: Frame, payload: Payload) {
        let entry = &mut self.peers[peer];
        match frame {
            Frame::Packet(header) => {
                if self.left.is_none() {
                    let packet = Packet::new(header, payload);
                    self.news.inbox.push_back((peer, packet));
                    self.news.fresh = true;
                }
            }
            Frame::Room(taken) => {
                self.news.room = true;
                for (lane, taken) in entry.lanes.iter_mut().zip(taken) {
                    lane.make_room(taken);
                }
            }
            Frame::Leaving => self.note_life(peer, PeerState::Leaving),
            Frame::Goodbye { failed } => entry.goodbye = Some(failed),
            // The connection is in hand, and what is queued goes out before it is put back.
            Frame::Echo(number) => entry.push_word(lane, &Frame::Echoed(number)),
            Frame::Echoed(number) => entry.echoed[lane as usize] = number,
        }
    }

    /// Hands what waits to an elected connection, and takes leave on it when that is due.
    pub(super) fn converse(&mut self, conn: &mut Conn, now: Instant) {
        let Some(peer) = conn.peer else {
            return;
        };
        let entry = &mut self.peers[peer];
        if entry.gone {
            return;
        }
        conn.write(entry);
        let Some(failed) = self.left.filter(|_| entry.is_flushed()) else {
            return;
        };
        conn.finish();
        if conn.is_delivered() {
            entry.told = true;
            conn.close(now, if failed { FAILED } else { LEFT }, "");
        }
    }

    /// Tells every peer that this rank takes no more messages.
    pub(super) fn stop_receiving(&mut self) {
        if self.left.is_none() {
            self.note_life(self.rank, PeerState::Leaving);
            self.tell_all();
        }
    }

    /// Tells every peer that nothing more comes from this rank.
    pub(super) fn leave(&mut self, failed: bool) {
        if self.left.is_some() {
            return;
        }
        self.left = Some(failed);
        self.news.inbox.clear();
        let state = if failed {
            PeerState::Dead(Death::Exit(101))
        } else {
            PeerState::Left
        };
        self.note_life(self.rank, state);
        self.tell_all();
    }

    /// Takes leave of every peer that has to hear it from this rank itself.
    fn tell_all(&mut self) {
        let now = self.wire.now();
        let reports = self.inquiry.reports();
        for peer in 0..self.peers.len() {
            let is_in_touch = self.is_in_touch(peer);
            let is_mine = peer == self.rank || self.is_reached(peer);
            if is_mine || self.peers[peer].gone || reports && !is_in_touch {
                continue;
            }
            if !is_in_touch {
                if self.farewells == 0 {
                    continue;
                }
                self.farewells -= 1;
            }
            self.take_leave(peer);
            self.want(peer, now);
            self.list_peer(peer);
        }
        self.flush();
    }

    /// Whether `rank` is reached by other means.
    pub(super) fn is_reached(&self, rank: usize) -> bool {
        self.reached.get(rank).is_some_and(|&reached| reached)
    }

    /// Tells a peer that this rank leaves, if it does and has not said so.
    pub(super) fn take_leave(&mut self, peer: usize) {
        let (due, frame) = match self.left {
            Some(failed) => (Farewell::Goodbye, Frame::Goodbye { failed }),
            None if self.lives.state_of(self.rank) == PeerState::Leaving => {
                (Farewell::Leaving, Frame::Leaving)
            }
            None => return,
        };
        if self.peers[peer].said < due {
            self.peers[peer].said = due;
            self.peers[peer].push_word(Lane::Small, &frame);
        }
    }

    pub(super) fn note_life(&mut self, rank: usize, state: PeerState) {
        // Whoever sees that a peer has gone sees also that there is still something of it.
        self.signs.show_mail(self.news.has_mail());
        self.news.fresh |= self.lives.record(rank, state);
    }

    /// Whether every peer knows that this rank has left, or will never know it from this rank.
    pub(super) fn is_forgotten(&self) -> bool {
        let mut peers = self.peers.known();
        self.wire.cut
            || peers.all(|(_, peer)| peer.gone || peer.told || peer.said != Farewell::Goodbye)
    }

    /// A peer has gone: nothing more will be sent to it, and what waits for it is let go.
    pub(super) fn gone(&mut self, peer: usize, state: PeerState, now: Instant) {
        self.note_life(peer, state);
        let entry = &mut self.peers[peer];
        if std::mem::replace(&mut entry.gone, true) {
            return;
        }
        entry.wanted = None;
        entry.lanes.iter_mut().for_each(|lane| lane.clear());
        let mut timer = entry.timer.take();
        self.wire.retime(Due::Peer(peer), &mut timer, None);
        for at in 0..self.conns.len() {
            let Some(conn) = self.conns[at].as_mut() else {
                continue;
            };
            if conn.peer == Some(peer) && conn.stage != Stage::Elected && conn.stage != Stage::Over
            {
                conn.close(now, GIVEN_UP, "it has given this rank up");
                self.list(at);
            }
        }
    }

    /// Records what somebody else knows of a peer, and lets go of all that is held for it.
    pub(super) fn record(&mut self, peer: usize, state: PeerState) {
        if state == PeerState::Leaving || state == PeerState::Present {
            return self.note_life(peer, state);
        }
        let now = self.wire.now();
        self.gone(peer, state, now);
        if let Some(at) = self.peers[peer].elected {
            self.drop_conn(at);
        }
    }
}

/// Bytes of small messages that are worth a packet of their own.
const PACKET_FULL: usize = 8 << 10;
