//! What every link promises.

use phalanx_shm::{Death, InSlot};

use super::LinkError;
use crate::frame::Header;
use crate::payload::{Buffer, Inline, Payload};

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
    /// A frame, to be read as it is or unpacked by [`Link::unpack`](super::Link::unpack).
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

    /// Gets ready to sleep; `false` when something arrived meanwhile. Arrivals, departures and [`Sleeper::wake`](super::Sleeper::wake) from now on end the
    /// sleep or keep it from beginning; whatever else the caller waits for, departures too, it has to look at once more in between.
    fn prepare_sleep(&mut self) -> bool;

    /// How many peers have departed; changes exactly when some [`Self::state_of`] does.
    fn departures(&self) -> u32;

    /// How a peer is.
    fn state_of(&self, peer: usize) -> PeerState;
}

/// Refuses what not every link can carry, so that what works over one works over all of them.
///
/// # Panics
/// When this rank is its own peer, or the header has no room for what is to be sent with it.
#[inline]
pub(crate) fn check(rank: usize, peer: usize, header: &Header, has_room: bool) {
    assert_ne!(peer, rank, "a rank reaches itself without a link");
    assert!(has_room, "{header:?} has no room for these bytes");
}

/// Whether a header may be sent with so many bytes.
#[inline]
pub(crate) fn has_room(header: &Header, bytes: usize) -> bool {
    match header {
        Header::Eager(_) | Header::Request { .. } | Header::Chunk { .. } => true,
        Header::TypeName { .. } => bytes <= Inline::CAPACITY,
        _ => bytes == 0,
    }
}
