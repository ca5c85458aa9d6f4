//! The small boundary between the runtime and whatever carries its frames.

use std::sync::Arc;
use std::time::Duration;

use phalanx_shm::{
    BorrowError, Death, Descriptor, InSlot, PoolError, PortError, Segment, SegmentError, Words,
};

use crate::frame::{Envelope, FrameError, Header};
use crate::inproc::{Inproc, InprocSleeper};
use crate::payload::{Buffer, Payload};
use crate::quic::{Quic, QuicSleeper, StreamError};
use crate::shm::Shm;

/// What a link carries: a header, and the bytes it speaks of.
#[derive(Debug)]
#[non_exhaustive]
pub struct Packet {
    /// What it is.
    pub header: Header,
    /// Its bytes; empty where the header stands alone.
    pub payload: Payload,
}

impl Packet {
    /// A packet of its two parts.
    #[must_use]
    #[inline]
    pub fn new(header: Header, payload: Payload) -> Self {
        Self { header, payload }
    }
}

/// What a link found, before anything was made of it.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "whoever polls has to treat both")]
pub enum Found<'a, 'slot> {
    /// A frame, to be read as it is or unpacked by [`Link::unpack`].
    Frame(&'a InSlot<'slot>),
    /// A packet.
    Packet(Packet),
}

/// What a link can do; protocols are chosen by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Name for people: `shm`, `inproc`, `quic`.
    pub name: &'static str,
    /// Most bytes that travel with a header for free.
    pub inline: usize,
    /// A buffer of any size is handed over without a copy.
    pub lends: bool,
    /// A receiver can read a sender's exposed memory.
    pub exposes: bool,
}

impl Capabilities {
    /// Capabilities of their parts.
    #[must_use]
    pub const fn new(name: &'static str, inline: usize, lends: bool, exposes: bool) -> Self {
        Self {
            name,
            inline,
            lends,
            exposes,
        }
    }
}

/// Whether more can come from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    /// As far as anybody knows.
    Present,
    /// It takes no more messages, and sends what it has begun to send.
    Leaving,
    /// It left in good order.
    Left,
    /// It died.
    Dead(Death),
    /// Nothing was heard of it for longer than the link tolerates, or it was never reached. It may be alive behind a broken network.
    Unreachable,
}

/// One way to carry packets between the ranks of a job. No method waits.
///
/// Packets from one rank to another arrive once and in order; those that a rank has not taken when it departs are lost. Only
/// [`Header::Chunk`] may be overtaken by what is no chunk, over links whose small messages do not wait behind large ones; what a
/// rank that dies has not put on the network is lost too. A rank reaches itself without its link. The conformance tests say the rest.
pub trait Transport {
    /// What the link can do on the way to `peer`.
    fn capabilities(&self, peer: usize) -> Capabilities;

    /// Sends a header with a copy of `bytes`; `false` when there is no room now.
    ///
    /// # Errors
    /// When the peer's ring is damaged or memory ran out.
    ///
    /// # Panics
    /// When the header has no room for the bytes: whole messages, requests and chunks carry any number, names few, and all others
    /// stand alone.
    fn send(&mut self, peer: usize, header: &Header, bytes: &[u8]) -> Result<bool, LinkError>;

    /// Sends a whole message with a buffer of [`Self::reserve`], uncopied. Gives the buffer back when there is no room now.
    ///
    /// # Errors
    /// As [`Self::send`].
    ///
    /// # Panics
    /// When the header is not a whole message.
    fn send_buffer(
        &mut self,
        peer: usize,
        header: &Header,
        buffer: Buffer,
    ) -> Result<Option<Buffer>, LinkError>;

    /// A buffer of `len` bytes to write a message into.
    ///
    /// # Errors
    /// When memory ran out.
    fn reserve(&mut self, len: usize) -> Result<Buffer, LinkError>;

    /// Sends a chunk with a copy of as many of the first of `bytes`, of which there are some, as the link likes in one piece, and tells
    /// how many: none when there is no room now, or too many pieces are under way. Those pieces are memory of their own, which
    /// [`Self::send`] does without.
    ///
    /// # Errors
    /// As [`Self::send`].
    ///
    /// # Panics
    /// When the header is no chunk's.
    fn send_part(&mut self, peer: usize, header: &Header, bytes: &[u8])
    -> Result<usize, LinkError>;

    /// The next packet, with its sender. When [`Self::departures`] has shown that a peer has gone, all that it sent comes before the
    /// next `None`.
    ///
    /// # Errors
    /// When a peer sent what cannot be.
    fn poll(&mut self) -> Result<Option<(usize, Packet)>, LinkError>;

    /// Asks, before [`Self::prepare_sleep`], that the sleep also end when a peer takes packets of this rank or gives its buffers back.
    /// Whether there is room has to be looked at once more after the preparation.
    fn want_room(&mut self);

    /// Gets ready to sleep; `false` when something arrived meanwhile. Arrivals, departures and [`Sleeper::wake`] from now on end the
    /// sleep or keep it from beginning; whatever else the caller waits for, departures too, it has to look at once more in between.
    fn prepare_sleep(&mut self) -> bool;

    /// How many peers have departed; changes exactly when some [`Self::state_of`] does.
    fn departures(&self) -> u32;

    /// How a peer is.
    fn state_of(&self, peer: usize) -> PeerState;
}

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
}

macro_rules! each_link {
    ($link:expr, $inner:ident => $call:expr) => {
        match $link {
            Link::Shm($inner) => $call,
            Link::Inproc($inner) => $call,
            Link::Quic($inner) => $call,
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
            Self::Inproc(_) | Self::Quic(_) => Err(LinkError::NotExposed { peer }),
        }
    }

    /// Where `bytes` lie in memory that `peer` can read, if they do.
    #[must_use]
    #[inline]
    pub fn expose(&self, peer: usize, bytes: &[u8]) -> Option<u64> {
        let _ = peer;
        match self {
            Self::Shm(shm) => shm.expose(bytes),
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
            Self::Inproc(_) | Self::Quic(_) => Err(LinkError::NotExposed { peer }),
        }
    }

    /// Tells the peers that this rank takes no more messages.
    pub fn stop_receiving(&mut self) {
        match self {
            Self::Shm(shm) => shm.stop_receiving(),
            Self::Inproc(inproc) => inproc.depart(PeerState::Leaving),
            Self::Quic(quic) => quic.stop_receiving(),
        }
    }

    /// Tells the peers that nothing more comes from this rank: it left, or it `failed`.
    pub fn leave(&mut self, failed: bool) {
        match self {
            Self::Shm(shm) => shm.leave(failed),
            Self::Inproc(inproc) => inproc.leave(failed),
            Self::Quic(quic) => quic.leave(failed),
        }
    }

    /// The segment that the ranks share, if they do.
    #[must_use]
    pub fn segment(&self) -> Option<&Arc<Segment>> {
        match self {
            Self::Shm(shm) => Some(shm.segment()),
            Self::Inproc(_) | Self::Quic(_) => None,
        }
    }

    /// Takes back what a departed peer still held.
    pub fn forget(&mut self, peer: usize) {
        match self {
            Self::Shm(shm) => shm.forget(peer),
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
        }
    }

    /// The handle to sleep and wake with.
    #[must_use]
    pub fn sleeper(&self) -> Sleeper {
        match self {
            Self::Shm(shm) => Sleeper::Shm(shm.sleeper()),
            Self::Inproc(inproc) => Sleeper::Inproc(inproc.sleeper()),
            Self::Quic(quic) => Sleeper::Quic(quic.sleeper()),
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

/// Lets a thread sleep until its rank has mail, without holding the link.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Sleeper {
    /// Sleeps on a word of the segment.
    Shm(phalanx_shm::Sleeper),
    /// Sleeps on a condition of the process.
    Inproc(InprocSleeper),
    /// Sleeps on the socket.
    Quic(QuicSleeper),
}

impl Sleeper {
    /// Sleeps, after [`Transport::prepare_sleep`] said so, until mail arrives, someone calls [`Self::wake`], or `timeout` has passed.
    pub fn sleep(&self, timeout: Duration) {
        match self {
            Self::Shm(sleeper) => sleeper.sleep(timeout),
            Self::Inproc(sleeper) => sleeper.sleep(timeout),
            Self::Quic(sleeper) => sleeper.sleep(timeout),
        }
    }

    /// Wakes all threads of this rank that sleep.
    pub fn wake(&self) {
        match self {
            Self::Shm(sleeper) => sleeper.wake(),
            Self::Inproc(sleeper) => sleeper.wake(),
            Self::Quic(sleeper) => sleeper.wake(),
        }
    }
}

/// Why a link failed. Whatever it says of a peer, this rank goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A peer's ring is damaged.
    #[error(transparent)]
    Port(#[from] PortError),
    /// There is no block.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A peer named memory that is not its own.
    #[error(transparent)]
    Borrow(#[from] BorrowError),
    /// There is no segment.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A peer sent nonsense.
    #[error("rank {peer} sent {source}")]
    Frame {
        /// The sender.
        peer: usize,
        /// What it sent.
        source: FrameError,
    },
    /// A peer's stream is damaged.
    #[error("rank {peer} sent {source}")]
    Stream {
        /// The sender.
        peer: usize,
        /// What it sent.
        source: StreamError,
    },
    /// A peer cannot be reached.
    #[error("{trouble}")]
    Unreachable {
        /// The peer.
        peer: usize,
        /// Who, where and what to do, in a line.
        trouble: String,
    },
    /// The link has no memory that peers can read.
    #[error("rank {peer} exposed memory over a link that cannot: it is of another version")]
    NotExposed {
        /// The sender.
        peer: usize,
    },
    /// The process has no memory.
    #[error(
        "no memory for a buffer of {bytes} bytes: send in smaller pieces or raise the memory limit"
    )]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// This rank itself is gone.
    #[error(
        "rank {rank} has left its job or was killed by its test, so that it can send and receive nothing: let go of its handles"
    )]
    Departed {
        /// This rank.
        rank: usize,
    },
}
