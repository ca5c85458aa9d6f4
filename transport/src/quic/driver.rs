//! Drives the endpoint: packets in, events to whom they concern, packets out, and nothing that waits.
//!
//! All that belongs to a rank's link is in one [`Driver`] behind one lock, and whoever has the lock drives it: the program's thread in
//! `poll` and `send`, a thread that sleeps, or the keeper while the program is elsewhere. A connection that has something to do is
//! *listed*, so that a pass costs what there is to do and not how many peers there are.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::{
    ClientConfig, ConnectionEvent, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig,
    EndpointEvent, Event, ServerConfig, StreamEvent, TransportConfig,
};

use crate::link::{LinkError, Packet};

use super::connection::{Conn, Stage};
use super::departure::Lives;
use super::directory::{Directory, Inquiry};
use super::error::{QuicError, Refusal};
use super::identity::Identity;
use super::io::{Datagram, Io};
use super::peer::Peers;
use super::settings::{QuicSettings, SMALLEST_PACKET};
use super::signs::Signs;
use super::verify::{Credentials, Pins};
use super::wire::{Due, Wire};

/// A rank's endpoint, its connections and what it knows of its peers.
pub(super) struct Driver {
    pub(super) rank: usize,
    pub(super) settings: QuicSettings,
    pub(super) peers: Peers,
    pub(super) inquiry: Inquiry,
    /// By the number that the endpoint gave them.
    pub(super) conns: Vec<Option<Box<Conn>>>,
    pub(super) endpoint: Endpoint,
    pub(super) wire: Wire,
    pub(super) client: ClientConfig,
    /// How connections to ranks of other hosts behave, and those to ranks of this one.
    pub(super) abroad: Manners,
    pub(super) home: Manners,
    pub(super) pins: Arc<Pins>,
    pub(super) lives: Arc<Lives>,
    pub(super) signs: Arc<Signs>,
    /// Ranks that are none of this link's business, because they are reached by other means.
    pub(super) reached: Box<[bool]>,
    pub(super) news: News,
    /// How this rank leaves, once it does: having failed or not.
    pub(super) left: Option<bool>,
    /// Peers that may still be dialled only to be told that this rank leaves.
    pub(super) farewells: usize,
}

/// How connections of one kind behave.
pub(super) struct Manners {
    pub(super) transport: Arc<TransportConfig>,
    /// For those who dial this rank.
    pub(super) server: Arc<ServerConfig>,
    /// For those who dial this rank and of whom no card is known.
    pub(super) for_strangers: Arc<ServerConfig>,
}

/// What waits for the layer above.
#[derive(Default)]
pub(super) struct News {
    /// Something came since threads that sleep were told.
    pub(super) fresh: bool,
    /// A peer has told how much it took.
    pub(super) room: bool,
    pub(super) inbox: VecDeque<(usize, Packet)>,
    pub(super) faults: VecDeque<LinkError>,
    pub(super) refusals: VecDeque<Refusal>,
}

impl Driver {
    pub(super) fn new(
        io: Io,
        identity: &Identity,
        ranks: usize,
        directory: Box<dyn Directory>,
        settings: QuicSettings,
    ) -> Result<Self, QuicError> {
        let Credentials {
            pins,
            mut client,
            mut server,
        } = Credentials::new(identity)?;
        // The address of who dialled may change, as routers forget whom they served.
        server.migration(true).max_incoming(2 * ranks);
        let (granted, paths) = (io.granted(), io.paths());
        let abroad = || settings.transport(granted, paths.abroad());
        let home = || settings.transport_home(granted, paths.home());
        let [abroad, home] = [Manners::new(&abroad, &server), Manners::new(&home, &server)];
        client.transport_config(Arc::clone(&abroad.transport));
        server.transport_config(Arc::clone(&abroad.transport));
        keep_memory();
        let mut config = EndpointConfig::default();
        config
            .max_udp_payload_size(LARGEST_ACCEPTED)
            .expect("a size that UDP has");
        let endpoint = Endpoint::new(
            Arc::new(config),
            Some(Arc::new(server)),
            !io.may_fragment(),
            None,
        );
        // Twice what this rank has parts, so that it is never stopped by a receiver that only has not yet said what it took.
        let capacities = [settings.queue, 2 * settings.chunk * settings.chunks];
        Ok(Self {
            rank: identity.rank,
            peers: Peers::new(ranks, capacities),
            inquiry: Inquiry::new(directory),
            conns: Vec::new(),
            endpoint,
            wire: Wire::new(io),
            client,
            abroad,
            home,
            pins,
            lives: Arc::new(Lives::new(ranks)),
            signs: Arc::default(),
            reached: Box::default(),
            news: News::default(),
            left: None,
            farewells: settings.farewells,
            settings,
        })
    }

    /// How to talk to whoever is at `address`.
    pub(super) fn manners_to(&self, address: SocketAddr) -> &Manners {
        match self.wire.io.paths().is_home(address.ip().to_canonical()) {
            true => &self.home,
            false => &self.abroad,
        }
    }

    /// One pass: what is listed, what has arrived, what is due.
    pub(super) fn drive(&mut self) {
        if self.wire.cut {
            return;
        }
        let now = self.wire.now();
        self.work(now);
        let received = self.receive(now);
        self.learn(now);
        self.expire(now);
        if received <= AT_ONCE {
            self.look(now);
        }
        // A short message that is awaited is handed up first. What it gives this rank to say goes out with the answer, or with the next
        // pass: nobody sleeps, and the keeper does not rest, while a connection is listed.
        if received > AT_ONCE || self.news.inbox.is_empty() {
            self.work(now);
        }
    }

    /// Reads what the listed connections have received, and leaves all else for later.
    fn look(&mut self, now: Instant) {
        for place in 0..self.wire.listed.len() {
            let at = self.wire.listed[place];
            let Some(mut conn) = self.conns[at].take() else {
                continue;
            };
            self.hear(at, &mut conn, now);
            self.conns[at] = Some(conn);
        }
    }

    /// As [`Self::drive`], without looking for what has arrived.
    pub(super) fn flush(&mut self) {
        if !self.wire.cut {
            let now = self.wire.now();
            self.work(now);
        }
    }

    /// When there is something to do, if nothing arrives before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.wire.io.is_blocked() {
            return Some(self.wire.clock.real(self.wire.clock.last() + SOCKET_REST));
        }
        if !self.wire.listed.is_empty() {
            return Some(self.wire.clock.real(self.wire.clock.last()));
        }
        let timer = self.wire.timers.first().map(|(due, _)| *due);
        let due = [timer, self.inquiry.due()].into_iter().flatten().min()?;
        Some(self.wire.clock.real(due))
    }

    /// Whether there is a connection, or will be.
    #[inline]
    pub(super) fn is_live(&self) -> bool {
        !self.wire.timers.is_empty() || self.endpoint.open_connections() > 0
    }

    /// Takes in what has arrived; how many bytes that were.
    fn receive(&mut self, now: Instant) -> usize {
        let mut packets = std::mem::take(&mut self.wire.packets);
        let received = self.wire.io.receive(&mut packets);
        for packet in packets.drain(..) {
            self.handle(packet, now);
        }
        self.wire.packets = packets;
        received
    }

    fn handle(&mut self, packet: Datagram, now: Instant) {
        let Datagram {
            from,
            to,
            ecn,
            bytes,
        } = packet;
        let mut answer = std::mem::take(&mut self.wire.scratch);
        answer.clear();
        let event = self.endpoint.handle(now, from, to, ecn, bytes, &mut answer);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                self.wire.scratch = answer;
                self.pass_on(handle, event);
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                self.receive_guest(incoming, now, &mut answer);
                self.wire.scratch = answer;
            }
            Some(DatagramEvent::Response(transmit)) => {
                // An answer to nobody in particular is not worth keeping when the socket is full.
                if !self.wire.io.is_blocked() {
                    self.wire.io.send(transmit, &answer);
                }
                self.wire.scratch = answer;
            }
            None => self.wire.scratch = answer,
        }
    }

    fn pass_on(&mut self, handle: ConnectionHandle, event: ConnectionEvent) {
        let Some(conn) = self.conns.get_mut(handle.0).and_then(Option::as_mut) else {
            return;
        };
        conn.quic.handle_event(event);
        // Why it was refused is known only now, and only until the next packet.
        if conn.stage == Stage::Shaking
            && let Some(reason) = self.pins.take_refusal()
        {
            conn.refused = Some(reason);
        }
        self.list(handle.0);
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(due, what)) = self.wire.timers.first()
            && due <= now
        {
            self.wire.timers.pop_first();
            match what {
                Due::Conn(at) => {
                    let Some(conn) = self.conns[at].as_mut() else {
                        continue;
                    };
                    conn.timer = None;
                    conn.quic.handle_timeout(now);
                    if conn.patience.is_some_and(|end| end <= now) {
                        self.lose_patience(at, now);
                    } else {
                        self.list(at);
                    }
                }
                Due::Peer(peer) => {
                    self.peers[peer].timer = None;
                    self.meet_again(peer, now);
                }
            }
        }
    }

    /// Does what the listed connections have to do, and what that gives others to do.
    fn work(&mut self, now: Instant) {
        if !self.wire.io.unblock() {
            return;
        }
        while let Some(at) = self.wire.listed.pop() {
            if self.process(at, now)
                && let Some(conn) = &mut self.conns[at]
            {
                conn.listed = true;
                self.wire.later.push(at);
            }
        }
        std::mem::swap(&mut self.wire.listed, &mut self.wire.later);
    }

    /// Lets one connection do what it has to; whether it has more to send than goes in one pass.
    fn process(&mut self, at: usize, now: Instant) -> bool {
        let Some(mut conn) = self.conns[at].take() else {
            return false;
        };
        conn.listed = false;
        let mut drained = self.tell_endpoint(at, &mut conn);
        self.hear(at, &mut conn, now);
        if conn.stage == Stage::Elected {
            self.converse(&mut conn, now);
        }
        let more = self.transmit(&mut conn, now);
        drained |= self.tell_endpoint(at, &mut conn);
        let next = [conn.quic.poll_timeout(), conn.patience];
        let timer = next.into_iter().flatten().min();
        let timer = timer.filter(|_| !drained);
        // Most packets move the time on, by a little. To look too early, and then note the right time, is cheaper than to note each.
        let is_early = conn.timer.is_some() && timer.is_some() && conn.timer <= timer;
        if !is_early {
            self.wire.retime(Due::Conn(at), &mut conn.timer, timer);
        }
        if drained {
            self.unelect(at, &conn);
            return false;
        }
        self.conns[at] = Some(conn);
        more
    }

    fn hear(&mut self, at: usize, conn: &mut Conn, now: Instant) {
        while let Some(event) = conn.quic.poll() {
            self.note(at, conn, event, now);
        }
    }

    fn note(&mut self, at: usize, conn: &mut Conn, event: Event, now: Instant) {
        match event {
            Event::Connected => self.connected(at, conn, now),
            Event::ConnectionLost { reason } => self.lost(at, conn, reason, now),
            Event::Stream(StreamEvent::Opened { .. }) => {
                conn.accept();
                if conn.stage == Stage::Known {
                    self.elect(at, conn, now);
                }
                self.read(conn, now);
            }
            Event::Stream(StreamEvent::Readable { .. }) => self.read(conn, now),
            Event::Stream(StreamEvent::Finished { id } | StreamEvent::Stopped { id, .. }) => {
                conn.acknowledge(id);
            }
            _ => {}
        }
    }

    /// Forwards what the endpoint has to know; whether the connection is over for it.
    fn tell_endpoint(&mut self, at: usize, conn: &mut Conn) -> bool {
        let mut drained = false;
        while let Some(event) = conn.quic.poll_endpoint_events() {
            drained |= event.is_drained();
            if let Some(event) = self.endpoint.handle_event(ConnectionHandle(at), event) {
                conn.quic.handle_event(event);
            }
        }
        drained
    }

    /// Sends what a connection has; whether it has more.
    fn transmit(&mut self, conn: &mut Conn, now: Instant) -> bool {
        let mut batch = std::mem::take(&mut self.wire.scratch);
        let mut more = true;
        for _ in 0..BATCHES_PER_PASS {
            if self.wire.io.is_blocked() {
                break;
            }
            batch.clear();
            let segments = self.wire.io.segments(conn.quic.current_mtu());
            let Some(transmit) = conn.quic.poll_transmit(now, segments, &mut batch) else {
                more = false;
                break;
            };
            // What fits into the smallest packet was all there was, but for the odd probe, which is looked for when nobody waits.
            let was_all = transmit.size < usize::from(SMALLEST_PACKET);
            self.wire.io.send(transmit, &batch);
            if was_all {
                break;
            }
        }
        self.wire.scratch = batch;
        more
    }

    /// Puts a connection into the list of those that have something to do.
    #[inline]
    pub(super) fn list(&mut self, at: usize) {
        if let Some(Some(conn)) = self.conns.get_mut(at)
            && !std::mem::replace(&mut conn.listed, true)
        {
            self.wire.listed.push(at);
        }
    }

    /// Lists the connection that leads to `peer`, if there is one.
    pub(super) fn list_peer(&mut self, peer: usize) {
        if let Some(at) = self.peers[peer].elected {
            self.list(at);
        }
    }

    /// Adds a connection that the endpoint has made.
    pub(super) fn add(&mut self, handle: ConnectionHandle, conn: Conn) {
        let at = handle.0;
        if self.conns.len() <= at {
            self.conns.resize_with(at + 1, || None);
        }
        self.conns[at] = Some(Box::new(conn));
        self.list(at);
    }

    /// Forgets a connection and all that it holds without a word to its other end.
    pub(super) fn drop_conn(&mut self, at: usize) {
        let Some(mut conn) = self.conns[at].take() else {
            return;
        };
        self.wire.retime(Due::Conn(at), &mut conn.timer, None);
        self.unelect(at, &conn);
        let drained = EndpointEvent::drained();
        self.endpoint.handle_event(ConnectionHandle(at), drained);
    }

    /// The place of a connection will be another's.
    fn unelect(&mut self, at: usize, conn: &Conn) {
        if let Some(peer) = conn.peer
            && self.peers[peer].elected == Some(at)
        {
            self.peers[peer].elected = None;
        }
    }
}

impl Manners {
    fn new(transport: &dyn Fn() -> TransportConfig, server: &ServerConfig) -> Self {
        let with = |transport: &Arc<TransportConfig>| {
            let mut server = server.clone();
            server.transport_config(Arc::clone(transport));
            Arc::new(server)
        };
        let mut narrow = transport();
        narrow.receive_window(STRANGERS_WINDOW.into());
        let transport = Arc::new(transport());
        Self {
            server: with(&transport),
            for_strangers: with(&Arc::new(narrow)),
            transport,
        }
    }
}

/// Lets the allocator keep what large messages need. That of glibc gives the end of its memory back to the system as soon as 128 KiB
/// there are free, and gets it anew for the next message, page by page: a tenth of the time of each byte. Once it has freed a block of
/// this size it keeps twice as much.
fn keep_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(MEMORY_KEPT)));
}

const MEMORY_KEPT: usize = 4 << 20;
/// Batches that one connection sends before the others have their turn.
const BATCHES_PER_PASS: usize = 4;
/// Bytes received in one pass up to which what they say is handed up before anything else is done.
const AT_ONCE: usize = 4096;
/// The largest packet that a rank takes.
const LARGEST_ACCEPTED: u16 = 65_527;
/// Bytes that somebody may send who has not yet been recognised; what he sends is kept unread until he is.
const STRANGERS_WINDOW: u32 = 64 << 10;
/// How long a full socket is left alone.
const SOCKET_REST: Duration = Duration::from_millis(1);
/// How long somebody may take for the handshake that he began.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
