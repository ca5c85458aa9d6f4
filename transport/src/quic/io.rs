//! The socket: batches in by GRO, batches out by GSO, and what the system does not take.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use bytes::BytesMut;
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};

use super::paths::Paths;

/// A rank's UDP socket.
pub(super) struct Io {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    paths: Paths,
    /// All that the kernel need be told, or tell, of a single packet is where it goes or comes from.
    is_plain: bool,
    /// Bytes of receive buffer that the system granted.
    granted: usize,
    /// Where batches are received; each has room for the longest.
    places: [BytesMut; BATCHES],
    /// What is left of places whose packets were handed on: the memory can be had back once those have been read.
    spent: Vec<BytesMut>,
    batches: [RecvMeta; BATCHES],
    /// What the kernel says of a batch.
    control: Vec<u8>,
    /// The last look found something.
    busy: bool,
    /// What the socket had no room for. Its packets count as sent, so nothing may be sent before it.
    held: Option<(Transmit, Vec<u8>)>,
    /// How often more the socket shall seem full.
    #[cfg(test)]
    pub(super) full: std::cell::Cell<u32>,
}

/// One packet from the network.
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: BytesMut,
}

impl Io {
    pub(super) fn bind(address: SocketAddr, buffer: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        let state = UdpSocketState::new((&socket).into())?;
        // What is granted decides, not what is asked for; less is no error.
        let _ = state.set_recv_buffer_size((&socket).into(), buffer);
        let _ = state.set_send_buffer_size((&socket).into(), buffer);
        // Everything comes to one address, which need not be said, and all that is sent is marked in the same way.
        let is_plain = address.is_ipv4()
            && !address.ip().is_unspecified()
            && setsockopt(&socket, sockopt::Ipv4PacketInfo, &false).is_ok()
            && setsockopt(&socket, sockopt::Ipv4Tos, &i32::from(MARK as u8)).is_ok();
        Ok(Self {
            local: socket.local_addr()?,
            paths: Paths::of(address.ip()),
            granted: state.recv_buffer_size((&socket).into())?,
            socket,
            state,
            places: std::array::from_fn(|_| BytesMut::zeroed(BATCH)),
            spent: Vec::new(),
            batches: [RecvMeta::default(); BATCHES],
            control: cmsg_space!(i32, u8),
            is_plain,
            busy: false,
            held: None,
            #[cfg(test)]
            full: std::cell::Cell::default(),
        })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn granted(&self) -> usize {
        self.granted
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    pub(super) fn try_clone(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Appends what has arrived, up to four batches, to `packets`; how many bytes that were.
    ///
    /// The first look after one in vain is for one batch only: who awaits one message does not want to wait for the kernel's search for
    /// a second one.
    pub(super) fn receive(&mut self, packets: &mut Vec<Datagram>) -> usize {
        let count = if self.busy || !self.is_plain {
            self.receive_many()
        } else {
            self.receive_one().map_or(0, |batch| {
                self.batches[0] = batch;
                1
            })
        };
        self.busy = count > 0;
        let mut total = 0;
        for index in 0..count {
            let batch = self.batches[index];
            total += batch.len;
            let mut bytes = self.take(index, batch.len);
            let mut push = |bytes| {
                packets.push(Datagram {
                    from: canonical(batch.addr),
                    to: batch.dst_ip,
                    ecn: batch.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                    bytes,
                });
            };
            while batch.stride > 0 && bytes.len() > batch.stride {
                push(bytes.split_to(batch.stride));
            }
            push(bytes);
        }
        total
    }

    /// How many batches were received. An error is that of a packet sent earlier, or nothing to read: either way there is nothing to
    /// read.
    fn receive_many(&mut self) -> usize {
        let mut places = self
            .places
            .each_mut()
            .map(|place| IoSliceMut::new(&mut place[..]));
        self.state
            .recv((&self.socket).into(), &mut places, &mut self.batches)
            .unwrap_or(0)
    }

    /// Receives a batch in the first place. Being ready for more costs more, also when nothing has arrived.
    fn receive_one(&mut self) -> Option<RecvMeta> {
        let mut place = [IoSliceMut::new(&mut self.places[0])];
        let control = Some(&mut self.control[..]);
        let socket = self.socket.as_raw_fd();
        let received =
            recvmsg::<SockaddrStorage>(socket, &mut place, control, MsgFlags::empty()).ok()?;
        let mut batch = RecvMeta::default();
        (batch.len, batch.stride) = (received.bytes, received.bytes);
        batch.addr = SocketAddrV4::from(*received.address?.as_sockaddr_in()?).into();
        for word in received.cmsgs().ok()? {
            match word {
                ControlMessageOwned::UdpGroSegments(size) => batch.stride = size as usize,
                ControlMessageOwned::Ipv4Tos(tos) => {
                    batch.ecn = quinn_udp::EcnCodepoint::from_bits(tos & 3);
                }
                _ => {}
            }
        }
        Some(batch)
    }

    /// The first `len` bytes of a place. Few are copied; many are handed on as they lie, and the place gets other memory, which is that
    /// of earlier packets if they have been read.
    fn take(&mut self, index: usize, len: usize) -> BytesMut {
        let place = &mut self.places[index];
        if len <= WORTH_A_COPY {
            return BytesMut::from(&place[..len]);
        }
        let bytes = place.split_to(len);
        place.clear();
        let other = self
            .spent
            .iter_mut()
            .position(|spent| spent.try_reclaim(BATCH))
            .map(|at| self.spent.swap_remove(at))
            .unwrap_or_else(|| BytesMut::with_capacity(BATCH));
        let rest = std::mem::replace(place, other);
        place.resize(BATCH, 0);
        if self.spent.len() < MOST_SPENT {
            self.spent.push(rest);
        }
        bytes
    }

    /// Whether something waits for room in the socket.
    pub(super) fn is_blocked(&self) -> bool {
        self.held.is_some()
    }

    /// Sends what is held, if the socket has room now. `false` when it still has not.
    pub(super) fn unblock(&mut self) -> bool {
        if let Some((transmit, bytes)) = self.held.take() {
            self.send(transmit, &bytes);
        }
        self.held.is_none()
    }

    /// Sends a batch. What the socket has no room for is held; what the network refuses is lost, as packets are.
    pub(super) fn send(&mut self, transmit: Transmit, bytes: &[u8]) {
        debug_assert!(self.held.is_none(), "the caller has looked");
        let bytes = &bytes[..transmit.size];
        match self.try_send(&transmit, transmit.segment_size, bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.held = Some((transmit, bytes.to_vec()));
            }
            Err(_) => self.send_singly(transmit, bytes),
        }
    }

    /// Sends what was refused as a batch, by a device that does not cut or a path whose packets got smaller: one by one they may
    /// pass, and otherwise the whole batch would be lost without a word. A single packet was lost already: most are probes of a size
    /// that the path does not carry.
    fn send_singly(&mut self, transmit: Transmit, bytes: &[u8]) {
        let Some(size) = transmit.segment_size.filter(|&size| size < bytes.len()) else {
            return;
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let (packet, after) = rest.split_at(size.min(rest.len()));
            if let Err(error) = self.try_send(&transmit, None, packet)
                && error.kind() == ErrorKind::WouldBlock
            {
                let size = rest.len();
                self.held = Some((Transmit { size, ..transmit }, rest.to_vec()));
                return;
            }
            rest = after;
        }
    }

    fn try_send(
        &self,
        transmit: &Transmit,
        segments: Option<usize>,
        bytes: &[u8],
    ) -> io::Result<()> {
        #[cfg(test)]
        if let Some(left) = self.full.get().checked_sub(1) {
            self.full.set(left);
            return Err(ErrorKind::WouldBlock.into());
        }
        // The kernel has to read, check and undo whatever it is told beside the bytes, for each call.
        let is_single = segments.is_none_or(|size| size >= bytes.len());
        if self.is_plain && is_single && transmit.ecn == Some(MARK) && transmit.src_ip.is_none() {
            return self.socket.send_to(bytes, transmit.destination).map(|_| ());
        }
        let transmit = quinn_udp::Transmit {
            destination: self.reachable(transmit.destination),
            ecn: transmit
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: bytes,
            segment_size: segments,
            src_ip: transmit.src_ip,
        };
        self.state.try_send((&self.socket).into(), &transmit)
    }

    /// Packets that may go out in one batch: as many as the device cuts, and as the kernel takes bytes. The kernel refuses a batch of
    /// more than 65507 bytes as a whole, and its error is easily taken for that of a probe of the path's size.
    pub(super) fn segments(&self, packet: u16) -> usize {
        let fit = MOST_BYTES / usize::from(packet.max(1));
        fit.clamp(1, self.state.max_gso_segments().max(1))
    }

    /// Addresses of the older family look different from a socket of the newer one.
    fn reachable(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(old) if self.local.is_ipv6() => {
                SocketAddrV6::new(old.ip().to_ipv6_mapped(), old.port(), 0, 0).into()
            }
            _ => address,
        }
    }

    /// Whether a packet to `address` can leave this socket at all.
    pub(super) fn reaches(&self, address: SocketAddr) -> bool {
        match self.local {
            SocketAddr::V4(_) => address.is_ipv4(),
            SocketAddr::V6(local) => address.is_ipv6() || *local.ip() == Ipv6Addr::UNSPECIFIED,
        }
    }
}

impl AsFd for Io {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The address as a card has it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The mark of packets that a router may mark as having met a queue, instead of dropping them.
const MARK: EcnCodepoint = EcnCodepoint::Ect0;
/// Batches that are received by one call.
const BATCHES: usize = 4;
/// The longest batch that the kernel makes.
const BATCH: usize = 65_536;
/// Bytes up to which a batch is copied. One that waits in a stream for those before it holds its place: at most four times its size.
const WORTH_A_COPY: usize = 16 << 10;
/// Places whose packets are being read, of which the memory is remembered.
const MOST_SPENT: usize = 2 * BATCHES;
/// The most bytes that the kernel takes in one call.
const MOST_BYTES: usize = 65_507;

#[cfg(test)]
mod tests;
