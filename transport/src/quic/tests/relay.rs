//! A network that a test can make as bad as it likes: it stands between a rank and all who dial it.
//!
//! ```text
//!   rank 0 --\                           /-- a socket for rank 0 --\
//!             >-- the address on the card                           >-- rank 1, where it really is
//!   rank 2 --/                           \-- a socket for rank 2 --/
//! ```
//!
//! What happens to a packet is drawn from a seed and not from a clock; only how late a late packet is, is time.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;

use crate::quic::{Card, Directory, JobId, News, Quic, QuicSettings, Roll};

/// What the network does to packets; of a thousand, so many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Vanish.
    pub(crate) lost: u64,
    /// Arrive twice.
    pub(crate) doubled: u64,
    /// Are overtaken by those behind them.
    pub(crate) late: u64,
    /// How late that is.
    pub(crate) delay: Duration,
    /// What all of this is drawn from.
    pub(crate) seed: u64,
}

impl Weather {
    /// In which everything has to work.
    pub(crate) const STORM: Self = Self {
        lost: 50,
        doubled: 50,
        late: 100,
        delay: Duration::from_millis(2),
        seed: 0x2545_f491_4f6c_dd1d,
    };
    /// In which nothing can.
    pub(crate) const BLACK_HOLE: Self = Self {
        lost: 1000,
        doubled: 0,
        late: 0,
        delay: Duration::ZERO,
        seed: 1,
    };
}

/// The network before one rank.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    switch: Arc<Switch>,
    thread: Option<JoinHandle<()>>,
}

/// What a test can change.
#[derive(Debug)]
struct Switch {
    poke: EventFd,
    weather: Mutex<Weather>,
    ends: AtomicBool,
    /// How often addresses were to change.
    moves: AtomicU64,
    /// How often they have.
    moved: AtomicU64,
}

impl Relay {
    /// A network before `target`.
    pub(crate) fn new(target: SocketAddr, weather: Weather) -> Self {
        let front = UdpSocket::bind((target.ip(), 0)).unwrap();
        front.set_nonblocking(true).unwrap();
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let switch = Arc::new(Switch {
            poke: EventFd::from_flags(flags).unwrap(),
            weather: Mutex::new(weather),
            ends: AtomicBool::new(false),
            moves: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        });
        let address = front.local_addr().unwrap();
        let mut road = Road {
            front,
            target,
            ways: Vec::new(),
            late: Vec::new(),
            numbers: Numbers(weather.seed ^ u64::from(address.port()) << 32),
            switch: Arc::clone(&switch),
        };
        Self {
            address,
            switch,
            thread: Some(thread::spawn(move || road.carry())),
        }
    }

    /// What is to stand on the card of the rank behind it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn change(&self, weather: Weather) {
        *self.switch.weather.lock() = weather;
    }

    /// Gives everybody who dialled another port towards the rank, as a router does that forgot whom it served; waits until it has.
    pub(crate) fn change_ports(&self) {
        let number = self.switch.moves.fetch_add(1, Ordering::Relaxed) + 1;
        self.switch.poke.write(1).unwrap();
        super::await_that("new ports", || {
            self.switch.moved.load(Ordering::Relaxed) >= number
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.switch.ends.store(true, Ordering::Relaxed);
        self.switch.poke.write(1).unwrap();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The thread of a relay.
struct Road {
    front: UdpSocket,
    target: SocketAddr,
    ways: Vec<Way>,
    late: Vec<(Instant, Parcel)>,
    numbers: Numbers,
    switch: Arc<Switch>,
}

/// How one who dialled is led to the rank.
struct Way {
    client: SocketAddr,
    back: UdpSocket,
}

/// A packet on the way at this place, towards the rank or back.
#[derive(Clone)]
struct Parcel {
    way: usize,
    inward: bool,
    bytes: Vec<u8>,
}

impl Road {
    fn carry(&mut self) {
        while !self.switch.ends.load(Ordering::Relaxed) {
            self.rest();
            let moves = self.switch.moves.load(Ordering::Relaxed);
            if moves != self.switch.moved.load(Ordering::Relaxed) {
                for way in &mut self.ways {
                    way.back = leading_to(self.target);
                }
                self.switch.moved.store(moves, Ordering::Relaxed);
            }
            let mut bytes = vec![0; 1 << 16];
            while let Ok((len, client)) = self.front.recv_from(&mut bytes) {
                let way = self.way_of(client);
                self.take(way, true, &bytes[..len]);
            }
            for way in 0..self.ways.len() {
                // An error says that the rank is gone: nothing comes from there.
                while let Ok(len) = self.ways[way].back.recv(&mut bytes) {
                    self.take(way, false, &bytes[..len]);
                }
            }
            let now = Instant::now();
            let due = self.late.extract_if(.., |(due, _)| *due <= now);
            for (_, parcel) in due.collect::<Vec<_>>() {
                self.deliver(&parcel);
            }
        }
    }

    fn rest(&self) {
        let now = Instant::now();
        let wait = self.late.iter().map(|(due, _)| *due).min();
        let wait = wait.map(|due| due.saturating_duration_since(now).into());
        let sockets = self.ways.iter().map(|way| way.back.as_fd());
        let sockets = sockets.chain([self.front.as_fd(), self.switch.poke.as_fd()]);
        let mut places: Vec<_> = sockets
            .map(|socket| PollFd::new(socket, PollFlags::POLLIN))
            .collect();
        let _ = ppoll(&mut places, wait, None);
        let _ = self.switch.poke.read();
    }

    fn way_of(&mut self, client: SocketAddr) -> usize {
        let known = self.ways.iter().position(|way| way.client == client);
        known.unwrap_or_else(|| {
            let back = leading_to(self.target);
            self.ways.push(Way { client, back });
            self.ways.len() - 1
        })
    }

    fn take(&mut self, way: usize, inward: bool, bytes: &[u8]) {
        let weather = *self.switch.weather.lock();
        let mut hits = |of_a_thousand| self.numbers.next() % 1000 < of_a_thousand;
        let (is_lost, is_doubled) = (hits(weather.lost), hits(weather.doubled));
        let is_late = hits(weather.late);
        if is_lost {
            return;
        }
        let bytes = bytes.to_vec();
        let parcel = Parcel { way, inward, bytes };
        if is_doubled {
            self.deliver(&parcel);
        }
        if is_late {
            self.late.push((Instant::now() + weather.delay, parcel));
        } else {
            self.deliver(&parcel);
        }
    }

    /// What a full socket does not take is lost, as on any network.
    fn deliver(&self, parcel: &Parcel) {
        let Way { client, back } = &self.ways[parcel.way];
        let _ = if parcel.inward {
            back.send(&parcel.bytes)
        } else {
            self.front.send_to(&parcel.bytes, client)
        };
    }
}

fn leading_to(target: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((target.ip(), 0)).unwrap();
    socket.connect(target).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Random numbers that are the same in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A directory of ranks that are reached through relays, which it keeps.
#[derive(Debug)]
struct Through {
    roll: Roll,
    _relays: Arc<Vec<Relay>>,
}

impl Directory for Through {
    fn ask(&mut self, rank: usize) {
        self.roll.ask(rank);
    }

    fn poll(&mut self) -> Option<News> {
        self.roll.poll()
    }

    fn input(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.roll.input()
    }
}

/// The links of a job whose ranks reach each other through `weather`, in the order of ranks, and the networks before them.
pub(crate) fn job_through(
    ranks: usize,
    settings: &QuicSettings,
    weather: Weather,
) -> (Vec<Quic>, Arc<Vec<Relay>>) {
    let job = JobId::random().unwrap();
    let sockets: Vec<_> = (0..ranks)
        .map(|rank| super::bind(rank, job, settings))
        .collect();
    let relays: Arc<Vec<_>> = Arc::new(
        sockets
            .iter()
            .map(|socket| Relay::new(socket.address(), weather))
            .collect(),
    );
    let cards: Vec<Card> = sockets
        .iter()
        .zip(&*relays)
        .map(|(socket, relay)| Card {
            addresses: vec![relay.address()],
            ..socket.card()
        })
        .collect();
    let join = |socket| {
        let directory = Through {
            roll: Roll::new(cards.clone()),
            _relays: Arc::clone(&relays),
        };
        Quic::join(socket, ranks, Box::new(directory)).unwrap()
    };
    (sockets.into_iter().map(join).collect(), relays)
}
