//! Frames between hosts, over QUIC: encrypted, authenticated, and without a thread between the program and the network.
//!
//! ```text
//!  send(peer, header, bytes)                                                   poll() -> (peer, packet)
//!     |                                                                                ^
//!     v   peer.rs: is there room? framing.rs: head, bytes                              | inbox
//!  [small lane]  [bulk lane]                                        framing.rs: [small] [bulk]
//!     |             |        first message at once, others together            |       |
//!     v             v                                                          |       |
//!  connection.rs: two streams, bulk with less priority              connection.rs: two streams
//!     |                                                                        ^
//!     v   quinn-proto: packets, keys, acknowledgements, loss, congestion       |
//!  driver.rs: one pass                                              driver.rs: one pass
//!     |                                                                        ^
//!     v   io.rs: one call for up to 64 packets (GSO)                           |  up to 4 x 64 packets (GRO)
//!     +--------------------------------- UDP ----------------------------------+
//!
//!  who drives: the program, in `poll` and `send`      (here)
//!              a thread of the program that sleeps    (bell.rs; beside.rs, where it sleeps elsewhere)
//!              the keeper, while all are elsewhere    (keeper.rs)
//!  beside it:  identity.rs, verify.rs   who is who
//!              directory.rs             where peers are learned of
//!              meeting.rs, claims.rs    how two ranks come to one connection
//!              ending.rs                how connections end, and what that means
//!              traffic.rs               what travels on it, and how ranks take leave
//!              clock.rs                 time, which stands still while the process does
//! ```
//!
//! A rank binds a [`QuicSocket`], gives its [`Card`] to the others by some trusted way, and makes a [`Quic`] of the socket and a
//! [`Directory`], which knows the cards. Connections come to be when something is sent, and nothing is known of a peer before.
//!
//! Parts of large messages travel in a stream of their own, so that small messages never wait behind them. They keep their order
//! among themselves; whole messages and words of protocols keep theirs.

mod bell;
mod beside;
mod claims;
mod clock;
mod congestion;
mod connection;
mod departure;
mod directory;
mod driver;
mod ending;
mod error;
mod framing;
mod identity;
mod io;
mod keeper;
mod meeting;
mod paths;
mod peer;
mod settings;
mod signs;
mod socket;
#[cfg(test)]
pub(crate) mod tests;
mod traffic;
mod verify;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::frame::Header;
use crate::link::{Capabilities, LinkError, Packet, PeerState, Transport, check, has_room};
use crate::payload::permit::Permits;
use crate::payload::{AlignedBytes, Buffer, Inline};

use driver::Driver;
use keeper::Shared;

pub(crate) use beside::Beside;
pub use directory::{Directory, News, Roll};
pub use error::{QuicError, Refusal};
pub use framing::StreamError;
#[cfg(fuzzing)]
pub use framing::read_stream;
pub use identity::{Card, Fingerprint, Identity, JobId};
pub use settings::{Congestion, QuicSettings};
pub use socket::QuicSocket;
pub use verify::PROTOCOL_VERSION;

/// The link between ranks of different hosts.
///
/// Dropping it is leaving the job, and takes until every peer has what was sent to it, or has gone, or cannot be reached.
pub struct Quic {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
    rank: usize,
    chunk: usize,
    chunks: Permits,
    /// The next sleep is for want of room.
    wants_room: bool,
    /// Packets handed out since the network was looked at.
    taken: u32,
}

impl Quic {
    /// What every link of this kind can do. Nothing is lent: a large buffer that is handed over travels in parts like any other large
    /// message, so that the small ones behind it need not wait.
    pub const CAPABILITIES: Capabilities =
        Capabilities::new("quic", Inline::CAPACITY, false, false);

    /// Joins a job of so many ranks, of which `directory` knows how they are reached.
    ///
    /// ```
    /// use phalanx_transport::quic::{Identity, JobId, Quic, QuicSettings, QuicSocket, Roll};
    /// use phalanx_transport::{Envelope, Header, Transport};
    ///
    /// let job = JobId::random()?;
    /// let mut sockets = Vec::new();
    /// for rank in 0..2 {
    ///     let identity = Identity::generate(rank, job)?;
    ///     let address = "127.0.0.1:0".parse()?;
    ///     sockets.push(QuicSocket::bind(identity, address, QuicSettings::default())?);
    /// }
    /// // Between hosts, the wire-up carries the cards.
    /// let cards: Vec<_> = sockets.iter().map(QuicSocket::card).collect();
    /// let mut links = Vec::new();
    /// for socket in sockets {
    ///     links.push(Quic::join(socket, 2, Box::new(Roll::new(cards.clone())))?);
    /// }
    ///
    /// let hello = Header::Eager(Envelope::new(0, 7, 0));
    /// assert!(links[0].send(1, &hello, b"hello")?);
    /// let (sender, packet) = loop {
    ///     if let Some(arrived) = links[1].poll()? {
    ///         break arrived;
    ///     }
    /// };
    /// assert_eq!((sender, packet.header), (0, hello));
    /// assert_eq!(&*packet.payload, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the job has no such rank, or the system has no thread or descriptor left.
    pub fn join(
        socket: QuicSocket,
        ranks: usize,
        directory: Box<dyn Directory>,
    ) -> Result<Self, QuicError> {
        let QuicSocket {
            identity,
            settings,
            io,
        } = socket;
        let rank = identity.rank;
        if rank >= ranks {
            return Err(QuicError::NoRank { rank, ranks });
        }
        let (chunk, chunks) = (settings.chunk, Permits::new(settings.chunks));
        let system = |what| move |source| QuicError::System { what, source };
        let driver = Driver::new(io, &identity, ranks, directory, settings)?;
        let shared = Shared::new(driver, chunks.clone()).map_err(system("descriptors"))?;
        let shared = Arc::new(shared);
        let keeper = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("phalanx-quic".to_owned())
                .spawn(move || shared.keep())
                .map_err(system("thread"))?
        };
        Ok(Self {
            shared,
            keeper: Some(keeper),
            rank,
            chunk,
            chunks,
            wants_room: false,
            taken: 0,
        })
    }

    /// Who was turned away, or turned this rank away, since the last call. Each is a line for the person who runs the job.
    ///
    /// ```
    /// # use phalanx_transport::quic::Quic;
    /// fn report(link: &Quic) {
    ///     for refusal in link.take_refusals() {
    ///         eprintln!("{refusal}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn take_refusals(&self) -> Vec<Refusal> {
        self.shared.sit().driver.news.refusals.drain(..).collect()
    }

    /// Why a peer is [`PeerState::Unreachable`], naming its address; a line for the person who runs the job.
    #[must_use]
    pub fn trouble_with(&self, peer: usize) -> Option<String> {
        self.shared.sit().driver.peers[peer].trouble.clone()
    }

    /// Records what somebody else knows of `peer`: the launcher of its host has seen it die. Silence on the network is less than that.
    pub fn record(&self, peer: usize, state: PeerState) {
        let mut seat = self.shared.sit();
        seat.driver.record(peer, state);
        self.shared.rise(&mut seat);
    }

    pub(crate) fn stop_receiving(&mut self) {
        let mut seat = self.shared.sit();
        seat.driver.stop_receiving();
        self.shared.rise(&mut seat);
    }

    pub(crate) fn leave(&mut self, failed: bool) {
        let mut seat = self.shared.sit();
        seat.driver.leave(failed);
        self.shared.rise(&mut seat);
    }

    pub(crate) fn sleeper(&self) -> QuicSleeper {
        QuicSleeper(Arc::clone(&self.shared))
    }
}

impl Transport for Quic {
    fn capabilities(&self, _: usize) -> Capabilities {
        Self::CAPABILITIES
    }

    #[inline]
    fn send(&mut self, peer: usize, header: &Header, bytes: &[u8]) -> Result<bool, LinkError> {
        check(self.rank, peer, header, has_room(header, bytes.len()));
        let mut seat = self.shared.sit();
        let admitted = seat.driver.admits(peer, header, bytes.len())?;
        if admitted {
            seat.driver.send(peer, header, bytes);
        }
        self.shared.rise(&mut seat);
        Ok(admitted)
    }

    fn send_buffer(
        &mut self,
        peer: usize,
        header: &Header,
        buffer: Buffer,
    ) -> Result<Option<Buffer>, LinkError> {
        check(self.rank, peer, header, matches!(header, Header::Eager(_)));
        let mut seat = self.shared.sit();
        if !seat.driver.admits(peer, header, buffer.len())? {
            self.shared.rise(&mut seat);
            return Ok(Some(buffer));
        }
        let bytes = match buffer {
            Buffer::Heap(bytes) => bytes,
            foreign @ Buffer::Block(_) => AlignedBytes::copy_of(&foreign),
        };
        seat.driver.send_buffer(peer, header, bytes);
        self.shared.rise(&mut seat);
        Ok(None)
    }

    fn reserve(&mut self, len: usize) -> Result<Buffer, LinkError> {
        let mut bytes =
            AlignedBytes::with_capacity(len).ok_or(LinkError::OutOfMemory { bytes: len })?;
        bytes.resize(len).fill(0);
        Ok(Buffer::Heap(bytes))
    }

    fn send_part(
        &mut self,
        peer: usize,
        header: &Header,
        bytes: &[u8],
    ) -> Result<usize, LinkError> {
        check(
            self.rank,
            peer,
            header,
            matches!(header, Header::Chunk { .. }),
        );
        let bytes = &bytes[..bytes.len().min(self.chunk)];
        let mut seat = self.shared.sit();
        let mut sent = 0;
        if seat.driver.admits(peer, header, bytes.len())?
            && let Some(permit) = self.chunks.try_take()
        {
            let copy = AlignedBytes::copy_of(bytes).with_permit(permit);
            seat.driver.send_buffer(peer, header, copy);
            sent = bytes.len();
        }
        self.shared.rise(&mut seat);
        Ok(sent)
    }

    #[inline]
    fn poll(&mut self) -> Result<Option<(usize, Packet)>, LinkError> {
        let mut seat = self.shared.sit();
        if seat.is_over() {
            return Err(LinkError::Departed { rank: self.rank });
        }
        if self.taken < MOST_TAKEN
            && let Some(packet) = seat.driver.take()
        {
            self.taken += 1;
            self.shared.show(&seat);
            return Ok(Some(packet));
        }
        self.taken = 0;
        self.shared.drive(&mut seat);
        let found = match seat.driver.take() {
            Some(packet) => Ok(Some(packet)),
            None => seat.driver.news.faults.pop_front().map_or(Ok(None), Err),
        };
        self.shared.show(&seat);
        found
    }

    fn want_room(&mut self) {
        self.wants_room = true;
    }

    fn prepare_sleep(&mut self) -> bool {
        let wants_room = std::mem::take(&mut self.wants_room);
        let mut seat = self.shared.sit();
        self.shared.drive(&mut seat);
        self.shared.announce(&mut seat, wants_room)
    }

    fn departures(&self) -> u32 {
        self.shared.lives.changes()
    }

    fn state_of(&self, peer: usize) -> PeerState {
        self.shared.lives.state_of(peer)
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.leave(false);
        self.shared.end();
        if let Some(keeper) = self.keeper.take() {
            // It ends with a panic only if there is a bug, of which it has told.
            let _ = keeper.join();
        }
    }
}

impl fmt::Debug for Quic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quic")
            .field("rank", &self.rank)
            .finish_non_exhaustive()
    }
}

/// Lets a thread sleep until its rank has mail. Separate from the link, so that other threads can use that meanwhile.
#[derive(Clone)]
pub struct QuicSleeper(Arc<Shared>);

impl QuicSleeper {
    pub(crate) fn sleep(&self, timeout: Duration) {
        self.0.sleep(timeout);
    }

    pub(crate) fn wake(&self) {
        self.0.bell.ring_loudly();
    }
}

impl fmt::Debug for QuicSleeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSleeper").finish_non_exhaustive()
    }
}

/// Packets handed out before the network is looked at again.
const MOST_TAKEN: u32 = 64;
