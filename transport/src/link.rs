//! The small boundary between the runtime and whatever carries its frames.

mod contract;
mod error;
mod sleeper;

use std::sync::Arc;

use phalanx_shm::{Descriptor, Segment, Words};

use crate::frame::{Envelope, Header};
use crate::hosts::Hosts;
use crate::inproc::Inproc;
use crate::payload::{Buffer, Payload};
use crate::quic::Quic;
use crate::shm::Shm;

pub use contract::{Capabilities, Found, Packet, PeerState, Transport};
pub(crate) use contract::{check, has_room};
pub use error::LinkError;
pub use sleeper::Sleeper;

/// The links there are. A closed set, so that the hot path is a `match` and not a call through a table.
#[derive(Debug)]
#[non_exhaustive]
pub enum Link {
    /// Ranks of one host through shared memory.
    Shm(Shm),
    /// Ranks that are threads of this process.
    Inproc(Inproc),
    /// Ranks of different hosts through the network.
    Quic(Quic),
    /// Ranks of several hosts, each by the shortest way.
    Hosts(Hosts),
}

macro_rules! each_link {
    ($link:expr, $inner:ident => $call:expr) => {
        match $link {
            Link::Shm($inner) => $call,
            Link::Inproc($inner) => $call,
            Link::Quic($inner) => $call,
            Link::Hosts($inner) => $call,
        }
    };
}

impl Link {
    /// Sends a message of at most [`Capabilities::inline`] bytes; `false` when there is no room now.
    ///
    /// # Errors
    /// As [`Transport::send`].
    #[inline]
    pub fn send_small(
        &mut self,
        peer: usize,
        envelope: Envelope,
        bytes: &[u8],
    ) -> Result<bool, LinkError> {
        match self {
            Self::Shm(shm) => shm.send_small(peer, envelope, bytes),
            Self::Inproc(inproc) => inproc.send(peer, &Header::Eager(envelope), bytes),
            Self::Quic(quic) => quic.send(peer, &Header::Eager(envelope), bytes),
            Self::Hosts(hosts) => hosts.send_small(peer, envelope, bytes),
        }
    }

    /// As [`Transport::poll`], but lets `read` see a frame where it lies.
    ///
    /// # Errors
    /// When a peer sent what cannot be.
    #[inline(always)]
    pub fn poll_with<R>(
        &mut self,
        mut read: impl FnMut(usize, Found<'_, '_>) -> R,
    ) -> Result<Option<R>, LinkError> {
        match self {
            Self::Shm(shm) => shm.poll_with(|peer, frame| read(peer, Found::Frame(frame))),
            Self::Hosts(hosts) => hosts.poll_with(read),
            _ => Ok(self
                .poll()?
                .map(|(peer, packet)| read(peer, Found::Packet(packet)))),
        }
    }

    /// Makes a packet of a frame.
    ///
    /// # Errors
    /// When a peer sent what cannot be.
    pub fn unpack(&mut self, peer: usize, words: &Words) -> Result<Packet, LinkError> {
        match self {
            Self::Shm(shm) => shm.unpack(peer, words),
            Self::Hosts(hosts) => hosts.shared_with(peer)?.unpack(peer, words),
            Self::Inproc(_) | Self::Quic(_) => Err(LinkError::NotExposed { peer }),
        }
    }

    /// Copies a block that `peer` sent to the beginning of `into`, and returns it; tells how many bytes that were.
    ///
    /// # Errors
    /// When the block cannot be the peer's, or the link has none.
    ///
    /// # Panics
    /// When `into` is shorter than the block.
    #[inline]
    pub fn copy_out(
        &mut self,
        peer: usize,
        block: Descriptor,
        into: &mut [u8],
    ) -> Result<usize, LinkError> {
        match self {
            Self::Shm(shm) => shm.copy_out(peer, block, into),
            Self::Hosts(hosts) => hosts.shared_with(peer)?.copy_out(peer, block, into),
            Self::Inproc(_) | Self::Quic(_) => Err(LinkError::NotExposed { peer }),
        }
    }

    /// The bytes of a block that `peer` sent, read where they are as long as that does not starve their owner.
    ///
    /// # Errors
    /// As [`Self::copy_out`].
    #[inline]
    pub fn payload_of(&mut self, peer: usize, block: Descriptor) -> Result<Payload, LinkError> {
        match self {
            Self::Shm(shm) => shm.payload_of(peer, block),
            Self::Hosts(hosts) => hosts.shared_with(peer)?.payload_of(peer, block),
            Self::Inproc(_) | Self::Quic(_) => Err(LinkError::NotExposed { peer }),
        }
    }

    /// Where `bytes` lie in memory that `peer` can read, if they do.
    #[must_use]
    #[inline]
    pub fn expose(&self, peer: usize, bytes: &[u8]) -> Option<u64> {
        match self {
            Self::Shm(shm) => shm.expose(bytes),
            Self::Hosts(hosts) => hosts.expose(peer, bytes),
            Self::Inproc(_) | Self::Quic(_) => None,
        }
    }

    /// Copies what `peer` exposed at `offset` into `into`.
    ///
    /// # Errors
    /// When the place is not the peer's, or the link exposes nothing.
    pub fn pull(&self, peer: usize, offset: u64, into: &mut [u8]) -> Result<(), LinkError> {
        match self {
            Self::Shm(shm) => shm.pull(peer, offset, into),
            Self::Hosts(hosts) => hosts.pull(peer, offset, into),
            Self::Inproc(_) | Self::Quic(_) => Err(LinkError::NotExposed { peer }),
        }
    }

    /// Tells the peers that this rank takes no more messages.
    pub fn stop_receiving(&mut self) {
        match self {
            Self::Shm(shm) => shm.stop_receiving(),
            Self::Inproc(inproc) => inproc.depart(PeerState::Leaving),
            Self::Quic(quic) => quic.stop_receiving(),
            Self::Hosts(hosts) => hosts.stop_receiving(),
        }
    }

    /// Tells the peers that nothing more comes from this rank: it left, or it `failed`.
    pub fn leave(&mut self, failed: bool) {
        match self {
            Self::Shm(shm) => shm.leave(failed),
            Self::Inproc(inproc) => inproc.leave(failed),
            Self::Quic(quic) => quic.leave(failed),
            Self::Hosts(hosts) => hosts.leave(failed),
        }
    }

    /// The segment that the ranks of this host share, if they do.
    #[must_use]
    pub fn segment(&self) -> Option<&Arc<Segment>> {
        match self {
            Self::Shm(shm) => Some(shm.segment()),
            Self::Hosts(hosts) => Some(hosts.segment()),
            Self::Inproc(_) | Self::Quic(_) => None,
        }
    }

    /// Takes back what a departed peer still held.
    pub fn forget(&mut self, peer: usize) {
        match self {
            Self::Shm(shm) => shm.forget(peer),
            Self::Hosts(hosts) => hosts.forget(peer),
            // Its buffers are the process's, which frees them with the last reader.
            Self::Inproc(_) | Self::Quic(_) => {}
        }
    }

    /// Why a peer is [`PeerState::Unreachable`], with its address; a line for whoever runs the job.
    #[must_use]
    pub fn trouble_with(&self, peer: usize) -> Option<String> {
        match self {
            Self::Shm(_) | Self::Inproc(_) => None,
            Self::Quic(quic) => quic.trouble_with(peer),
            Self::Hosts(hosts) => hosts.quic().trouble_with(peer),
        }
    }

    /// The handle to sleep and wake with.
    #[must_use]
    pub fn sleeper(&self) -> Sleeper {
        match self {
            Self::Shm(shm) => Sleeper::Shm(shm.sleeper()),
            Self::Inproc(inproc) => Sleeper::Inproc(inproc.sleeper()),
            Self::Quic(quic) => Sleeper::Quic(quic.sleeper()),
            Self::Hosts(hosts) => Sleeper::Hosts(hosts.sleeper()),
        }
    }
}

impl Transport for Link {
    #[inline]
    fn capabilities(&self, peer: usize) -> Capabilities {
        each_link!(self, link => link.capabilities(peer))
    }

    #[inline]
    fn send(&mut self, peer: usize, header: &Header, bytes: &[u8]) -> Result<bool, LinkError> {
        each_link!(self, link => link.send(peer, header, bytes))
    }

    #[inline]
    fn send_buffer(
        &mut self,
        peer: usize,
        header: &Header,
        buffer: Buffer,
    ) -> Result<Option<Buffer>, LinkError> {
        each_link!(self, link => link.send_buffer(peer, header, buffer))
    }

    #[inline]
    fn reserve(&mut self, len: usize) -> Result<Buffer, LinkError> {
        each_link!(self, link => link.reserve(len))
    }

    #[inline]
    fn send_part(
        &mut self,
        peer: usize,
        header: &Header,
        bytes: &[u8],
    ) -> Result<usize, LinkError> {
        each_link!(self, link => link.send_part(peer, header, bytes))
    }

    #[inline]
    fn poll(&mut self) -> Result<Option<(usize, Packet)>, LinkError> {
        each_link!(self, link => link.poll())
    }

    fn want_room(&mut self) {
        each_link!(self, link => link.want_room());
    }

    fn prepare_sleep(&mut self) -> bool {
        each_link!(self, link => link.prepare_sleep())
    }

    fn departures(&self) -> u32 {
        each_link!(self, link => link.departures())
    }

    fn state_of(&self, peer: usize) -> PeerState {
        each_link!(self, link => link.state_of(peer))
    }
}
