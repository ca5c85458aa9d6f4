//! Frames between the ranks of several hosts: through the segment to those that map it, and through the network to all others.
//!
//! ```text
//!   send(peer) -- shares[peer]? --+-- yes --> Shm
//!                                 +-- no ---> Quic
//!   poll: Shm every time; Quic when it has shown that it has something, and otherwise now and then
//!   sleep: on the segment's doorbell; the keeper of Quic rests on the socket meanwhile and rings it
//! ```
//!
//! A look at the network is a system call, which costs as much as forty looks at the segment. So a rank that has talked to no other
//! host never makes one here: the keeper finds out when that changes. With a connection the network is looked at each time after a
//! packet came or went, then less and less often, but never so seldom that it counts beside the time on the wire.

use std::sync::Arc;
use std::time::Duration;

use phalanx_shm::{RankState, Segment};

use crate::frame::{Envelope, Header};
use crate::link::{Capabilities, Found, LinkError, Packet, PeerState, Transport};
use crate::payload::Buffer;
use crate::quic::{Beside, Quic};
use crate::shm::Shm;

/// The link of a rank that shares a segment with some of its peers. Dropping it is leaving the job, as dropping [`Quic`] is.
#[derive(Debug)]
pub struct Hosts {
    // Dropped first: who shares the segment need not wait until other hosts know that this rank left.
    shm: Shm,
    quic: Quic,
    shares: Box<[bool]>,
    turn: Turn,
}

/// When the network has its turn.
#[derive(Debug)]
struct Turn {
    /// What may still be looked for in the segment before.
    credit: u32,
    /// Vain looks at the segment between two looks at the network.
    interval: u32,
}

impl Hosts {
    /// A link over both: to each rank for which `shares` holds through the segment, to all others through the network. Ranks have the
    /// same numbers everywhere, so the segment has places for all of them.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use phalanx_shm::{PoolSettings, Port, Segment, Shape};
    /// use phalanx_transport::quic::{Identity, JobId, QuicSettings, QuicSocket, Roll};
    /// use phalanx_transport::{Hosts, PeerState, Quic, Shm, Transport};
    ///
    /// let identity = Identity::generate(0, JobId::random()?)?;
    /// let socket = QuicSocket::bind(identity, "127.0.0.1:0".parse()?, QuicSettings::default())?;
    /// let cards = vec![socket.card()];
    /// let quic = Quic::join(socket, 3, Box::new(Roll::new(cards)))?;
    ///
    /// let segment = Arc::new(Segment::within_process(&Shape { ranks: 3, arena_bytes: 1 << 20 })?);
    /// let [first, second] = [0, 1].map(|rank| Port::attach(Arc::clone(&segment), rank, PoolSettings::default()));
    ///
    /// // Ranks 0 and 1 are on this host, rank 2 is on another.
    /// let link = Hosts::new(Shm::new(first?), quic, vec![true, true, false]);
    /// assert_eq!(link.capabilities(1).name, "shm");
    /// assert_eq!(link.capabilities(2).name, "quic");
    /// drop(second?);
    /// assert_eq!(link.state_of(1), PeerState::Left);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// When `shares` does not name each rank of the segment, or the two links are of different ranks.
    #[must_use]
    pub fn new(shm: Shm, mut quic: Quic, shares: Vec<bool>) -> Self {
        let ranks = shm.segment().ranks();
        assert_eq!(shares.len(), ranks, "each rank shares the segment or not");
        assert_eq!(shm.port().rank(), quic.rank(), "two links of one rank");
        let mut reached = shares.clone();
        reached[quic.rank()] = true;
        quic.stand_beside(reached, shm.sleeper());
        Self {
            shm,
            quic,
            shares: shares.into(),
            turn: Turn {
                credit: SELDOM * VAIN,
                interval: SELDOM,
            },
        }
    }

    /// The part that leads to other hosts.
    #[must_use]
    pub fn quic(&self) -> &Quic {
        &self.quic
    }

    #[inline]
    pub(crate) fn send_small(
        &mut self,
        peer: usize,
        envelope: Envelope,
        bytes: &[u8],
    ) -> Result<bool, LinkError> {
        if self.shares[peer] {
            return self.shm.send_small(peer, envelope, bytes);
        }
        self.send_away(peer, &Header::Eager(envelope), bytes)
    }

    #[cold]
    fn send_away(&mut self, peer: usize, header: &Header, bytes: &[u8]) -> Result<bool, LinkError> {
        self.turn.hurry();
        self.quic.send(peer, header, bytes)
    }

    #[inline(always)]
    pub(crate) fn poll_with<R>(
        &mut self,
        mut read: impl FnMut(usize, Found<'_, '_>) -> R,
    ) -> Result<Option<R>, LinkError> {
        if self.turn.credit == 0
            && let Some((peer, packet)) = self.look_away()?
        {
            return Ok(Some(read(peer, Found::Packet(packet))));
        }
        let found = self
            .shm
            .poll_with(|peer, frame| read(peer, Found::Frame(frame)))?;
        if found.is_some() {
            self.turn.spend(1);
            return Ok(found);
        }
        self.turn.spend(VAIN);
        // Whoever drives the network may have found something, and a peer counts as gone as soon as its last packet lies there.
        if self.quic.has_mail()
            && let Some((peer, packet)) = self.look_away()?
        {
            return Ok(Some(read(peer, Found::Packet(packet))));
        }
        Ok(None)
    }

    /// Looks at the network, if there can be anything.
    #[cold]
    fn look_away(&mut self) -> Result<Option<(usize, Packet)>, LinkError> {
        if !self.quic.is_live() && !self.quic.has_mail() {
            self.turn.rest();
            return Ok(None);
        }
        self.quic.come_back();
        let found = self.quic.poll();
        match found {
            Ok(None) => self.turn.relax(),
            _ => self.turn.hurry(),
        }
        found
    }

    /// The link to a peer that shares the segment.
    #[inline]
    pub(crate) fn shared_with(&mut self, peer: usize) -> Result<&mut Shm, LinkError> {
        if self.shares[peer] {
            Ok(&mut self.shm)
        } else {
            Err(LinkError::NotExposed { peer })
        }
    }

    #[inline]
    pub(crate) fn expose(&self, peer: usize, bytes: &[u8]) -> Option<u64> {
        self.shm.expose(bytes).filter(|_| self.shares[peer])
    }

    pub(crate) fn pull(&self, peer: usize, offset: u64, into: &mut [u8]) -> Result<(), LinkError> {
        if !self.shares[peer] {
            return Err(LinkError::NotExposed { peer });
        }
        self.shm.pull(peer, offset, into)
    }

    pub(crate) fn stop_receiving(&mut self) {
        self.shm.stop_receiving();
        self.quic.stop_receiving();
    }

    pub(crate) fn leave(&mut self, failed: bool) {
        self.shm.leave(failed);
        self.quic.leave(failed);
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        self.shm.segment()
    }

    pub(crate) fn forget(&mut self, peer: usize) {
        if self.shares[peer] {
            if let (PeerState::Present | PeerState::Leaving, PeerState::Dead(death)) =
                (self.shm.state_of(peer), self.quic.state_of(peer))
            {
                // Where no launcher watches the ranks of this host, whoever hears of a death writes it down for all.
                self.shm.segment().depart(peer, RankState::Dead(death));
            }
            self.shm.forget(peer);
        }
    }

    pub(crate) fn sleeper(&self) -> HostsSleeper {
        HostsSleeper {
            doorbell: self.shm.sleeper(),
            network: self.quic.beside(),
        }
    }
}

impl Transport for Hosts {
    fn capabilities(&self, peer: usize) -> Capabilities {
        if self.shares[peer] {
            self.shm.capabilities(peer)
        } else {
            self.quic.capabilities(peer)
        }
    }

    #[inline]
    fn send(&mut self, peer: usize, header: &Header, bytes: &[u8]) -> Result<bool, LinkError> {
        if self.shares[peer] {
            self.shm.send(peer, header, bytes)
        } else {
            self.send_away(peer, header, bytes)
        }
    }

    fn send_buffer(
        &mut self,
        peer: usize,
        header: &Header,
        buffer: Buffer,
    ) -> Result<Option<Buffer>, LinkError> {
        if self.shares[peer] {
            return self.shm.send_buffer(peer, header, buffer);
        }
        self.turn.hurry();
        self.quic.send_buffer(peer, header, buffer)
    }

    /// A block of the segment, which every peer of this host reads in place; to other hosts it is copied once.
    fn reserve(&mut self, len: usize) -> Result<Buffer, LinkError> {
        self.shm.reserve(len)
    }

    fn send_part(
        &mut self,
        peer: usize,
        header: &Header,
        bytes: &[u8],
    ) -> Result<usize, LinkError> {
        if self.shares[peer] {
            return self.shm.send_part(peer, header, bytes);
        }
        self.turn.hurry();
        self.quic.send_part(peer, header, bytes)
    }

    #[inline]
    fn poll(&mut self) -> Result<Option<(usize, Packet)>, LinkError> {
        let found = self.poll_with(|peer, found| match found {
            Found::Frame(frame) => (peer, Err(frame.words())),
            Found::Packet(packet) => (peer, Ok(packet)),
        })?;
        match found {
            Some((peer, Ok(packet))) => Ok(Some((peer, packet))),
            Some((peer, Err(words))) => Ok(Some((peer, self.shm.unpack(peer, &words)?))),
            None => Ok(None),
        }
    }

    fn want_room(&mut self) {
        self.shm.want_room();
        self.quic.want_room();
    }

    fn prepare_sleep(&mut self) -> bool {
        if self.quic.has_mail() || !self.shm.prepare_sleep() {
            return false;
        }
        // The doorbell first: what the network brings from the second announcement on rings it.
        let ready = self.quic.prepare_beside();
        if !ready {
            // What has come may have rung before the flag was raised, on which another thread may sleep by now.
            self.shm.sleeper().wake();
        }
        ready
    }

    fn departures(&self) -> u32 {
        let away = self.quic.departures();
        self.shm.departures().wrapping_add(away)
    }

    fn state_of(&self, peer: usize) -> PeerState {
        let away = || self.quic.state_of(peer);
        if !self.shares[peer] {
            return away();
        }
        match self.shm.state_of(peer) {
            here @ (PeerState::Present | PeerState::Leaving) => match away() {
                dead @ PeerState::Dead(_) => dead,
                _ => here,
            },
            gone => gone,
        }
    }
}

impl Turn {
    /// Counts a look at the segment.
    #[inline(always)]
    fn spend(&mut self, cost: u32) {
        self.credit = self.credit.saturating_sub(cost);
    }

    /// The network is busy, or about to be.
    #[inline]
    fn hurry(&mut self) {
        self.interval = 1;
        self.credit = VAIN;
    }

    /// It had nothing.
    fn relax(&mut self) {
        self.interval = (2 * self.interval).min(SELDOM);
        self.credit = self.interval * VAIN;
    }

    /// There is nobody.
    fn rest(&mut self) {
        self.interval = SELDOM;
        self.credit = SELDOM * VAIN;
    }
}

/// Lets a thread sleep until its rank has mail. Separate from the link, so that other threads can use that meanwhile.
#[derive(Clone, Debug)]
pub struct HostsSleeper {
    doorbell: phalanx_shm::Sleeper,
    network: Beside,
}

impl HostsSleeper {
    pub(crate) fn sleep(&self, timeout: Duration) {
        self.network.while_asleep(|| self.doorbell.sleep(timeout));
    }

    pub(crate) fn wake(&self) {
        self.doorbell.wake();
    }
}

/// Vain looks at the segment between two at a network that is silent: a microsecond or so, beside ten that a packet takes.
const SELDOM: u32 = 32;
/// What a vain look costs, in frames found. A stream through the segment lets the network wait eight times as long, since each of its
/// frames is worth more than a look that finds nothing.
const VAIN: u32 = 8;

#[cfg(test)]
mod tests;
