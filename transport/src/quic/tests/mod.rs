//! What only this link has: hosts, a network between them, and strangers on it. Everything else is in the conformance tests.

mod hostile;
mod learning;
mod paths;
mod pitfalls;
mod refusals;
pub(crate) mod relay;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::frame::{Envelope, Header};
use crate::link::{Packet, PeerState, Transport};
use crate::quic::framing::{Frame, Lane};
use crate::quic::{Card, Identity, JobId, Quic, QuicSettings, QuicSocket, Roll};

/// Time after which a test counts as hanging.
const HANG: Duration = Duration::from_secs(120);

/// The links of a job on this host, in the order of ranks.
pub(crate) fn job(ranks: usize, settings: &QuicSettings) -> Vec<Quic> {
    let job = JobId::random().unwrap();
    let sockets: Vec<_> = (0..ranks).map(|rank| bind(rank, job, settings)).collect();
    let cards: Vec<Card> = sockets.iter().map(QuicSocket::card).collect();
    let join = |socket| enrol(socket, &cards);
    sockets.into_iter().map(join).collect()
}

/// The link of a rank that knows these cards from the beginning.
fn enrol(socket: QuicSocket, cards: &[Card]) -> Quic {
    let roll = Roll::new(cards.to_vec());
    Quic::join(socket, cards.len(), Box::new(roll)).unwrap()
}

fn bind(rank: usize, job: JobId, settings: &QuicSettings) -> QuicSocket {
    bind_at(rank, job, settings, "127.0.0.1:0".parse().unwrap())
}

fn bind_at(rank: usize, job: JobId, settings: &QuicSettings, address: SocketAddr) -> QuicSocket {
    let identity = Identity::generate(rank, job).unwrap();
    QuicSocket::bind(identity, address, settings.clone()).unwrap()
}

/// A whole message that a test can tell from others.
fn numbered(number: i32) -> Header {
    Header::Eager(Envelope::new(3, number, 5))
}

/// The next packet.
#[track_caller]
fn receive(link: &mut Quic) -> (usize, Packet) {
    let mut arrived = None;
    await_that("an arrival", || {
        arrived = link.poll().unwrap();
        arrived.is_some()
    });
    arrived.expect("just seen")
}

/// Carries a message back and forth.
fn ping_pong(links: &mut [Quic], rounds: i32) {
    for round in 0..rounds {
        for (from, to) in [(0, 1), (1, 0)] {
            assert!(links[from].send(to, &numbered(round), &[7; 300]).unwrap());
            let (sender, packet) = receive(&mut links[to]);
            assert_eq!((sender, packet.header), (from, numbered(round)));
            assert_eq!(*packet.payload, [7; 300]);
        }
    }
}

/// Waits until a peer is out of reach; what is said of it.
#[track_caller]
fn await_trouble(link: &mut Quic, peer: usize) -> String {
    await_that("the end of a peer", || {
        assert!(link.poll().unwrap().is_none());
        link.state_of(peer) == PeerState::Unreachable
    });
    link.trouble_with(peer).expect("there is a reason")
}

/// Waits until somebody was turned away; what is said of it.
#[track_caller]
fn await_refusal(link: &mut Quic) -> String {
    let mut refusals = Vec::new();
    await_that("a refusal", || {
        assert!(link.poll().unwrap().is_none());
        refusals.extend(link.take_refusals());
        !refusals.is_empty()
    });
    refusals[0].to_string()
}

/// Calls `look` until it says so; fails when that takes for ever.
#[track_caller]
fn await_that(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + HANG;
    while !look() {
        assert!(Instant::now() < end, "{what} never happens");
        thread::yield_now();
    }
}

/// Whom a rank has asked for an answer.
pub(crate) struct Asked {
    number: u64,
    peers: Vec<usize>,
}

impl Quic {
    fn address(&self) -> SocketAddr {
        self.shared.sit().driver.wire.io.local()
    }

    /// How often the program has driven.
    pub(crate) fn passes(&self) -> u64 {
        self.shared.sit().driver.wire.passes
    }

    /// Connections there are, to whomever.
    pub(crate) fn connections(&self) -> usize {
        self.shared.sit().driver.endpoint.open_connections()
    }

    /// Asks every peer that this rank is connected to, or about to be, to answer behind all that it has sent.
    pub(crate) fn ask(&self) -> Asked {
        let mut seat = self.shared.sit();
        seat.driver.wire.passes += 1;
        let number = seat.driver.wire.passes;
        let peers: Vec<_> = (0..seat.driver.peers.len())
            .filter(|&peer| {
                let entry = &seat.driver.peers[peer];
                !entry.gone && (entry.elected.is_some() || entry.wanted.is_some())
            })
            .collect();
        for &peer in &peers {
            for lane in Lane::ALL {
                seat.driver.peers[peer].push_word(lane, &Frame::Echo(number));
            }
            seat.driver.list_peer(peer);
        }
        seat.driver.flush();
        self.shared.rise(&mut seat);
        Asked { number, peers }
    }

    /// Whether all have who are still there.
    pub(crate) fn is_answered(&self, asked: &Asked) -> bool {
        let driver = &self.shared.sit().driver;
        asked.peers.iter().all(|&peer| {
            let entry = &driver.peers[peer];
            entry.gone || entry.echoed.iter().all(|&echoed| echoed >= asked.number)
        })
    }

    /// Waits until all that this rank has sent is at its peers, and all that they had sent is here.
    pub(crate) fn settle(&self) {
        if self.shared.sit().driver.wire.cut {
            return;
        }
        let asked = self.ask();
        await_that("an answer", || {
            self.shared.drive(&mut self.shared.sit());
            self.is_answered(&asked)
        });
    }

    /// Ends this rank as the end of its process would.
    pub(crate) fn crash(&self) {
        self.shared.sit().driver.wire.cut = true;
        self.shared.bell.ring_loudly();
    }
}
