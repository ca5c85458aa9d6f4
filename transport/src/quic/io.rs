//! The socket: batches in by GRO, batches out by GSO, and what the system does not take.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use bytes::BytesMut;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};

/// A rank's UDP socket.
pub(super) struct Io {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// Bytes of receive buffer that the system granted.
    granted: usize,
    buffer: Box<[u8]>,
    /// What the socket had no room for. Its packets count as sent, so nothing may be sent before it.
    held: Option<(Transmit, Vec<u8>)>,
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
        Ok(Self {
            local: socket.local_addr()?,
            granted: state.recv_buffer_size((&socket).into())?,
            socket,
            state,
            buffer: vec![0; BATCHES * BATCH].into(),
            held: None,
        })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn granted(&self) -> usize {
        self.granted
    }

    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    pub(super) fn try_clone(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Appends what has arrived, up to four batches, to `packets`.
    pub(super) fn receive(&mut self, packets: &mut Vec<Datagram>) {
        let mut metas = [RecvMeta::default(); BATCHES];
        let mut places = self.buffer.chunks_mut(BATCH).map(IoSliceMut::new);
        let mut places: [IoSliceMut<'_>; BATCHES] =
            std::array::from_fn(|_| places.next().expect("the buffer has so many"));
        // An error is that of a packet sent earlier, or nothing to read: either way there is nothing to read.
        let Ok(count) = self
            .state
            .recv((&self.socket).into(), &mut places, &mut metas)
        else {
            return;
        };
        for (meta, place) in metas[..count].iter().zip(&places) {
            let mut bytes = BytesMut::from(&place[..meta.len]);
            while !bytes.is_empty() {
                let bytes = bytes.split_to(meta.stride.clamp(1, bytes.len()));
                packets.push(Datagram {
                    from: canonical(meta.addr),
                    to: meta.dst_ip,
                    ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                    bytes,
                });
            }
        }
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

/// Batches that are received by one call.
const BATCHES: usize = 4;
/// The longest batch that the kernel makes.
const BATCH: usize = 65_536;
/// The most bytes that the kernel takes in one call.
const MOST_BYTES: usize = 65_507;
