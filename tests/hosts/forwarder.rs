//! A line between two hosts that loses, delays, reorders and doubles packets: this kernel need have no `netem`.
//!
//! ```text
//!   port0 --- packet socket ---> [ loss | doubling | delay ] ---> packet socket --- port1     and back
//! ```
//! It sees whole frames. Those of TCP and UDP suffer; what asks for addresses passes, because its retries are timed in seconds.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use super::frames::{self, Transport};

/// What becomes of packets, in both directions.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// How long every packet is under way.
    pub(crate) delay: Duration,
    /// Of 1000 packets so many are lost.
    pub(crate) lost: u64,
    /// Of 1000 packets so many come twice.
    pub(crate) doubled: u64,
    /// Of 1000 packets so many are late, by [`LATE`], and so behind some that were sent after them.
    pub(crate) reordered: u64,
    /// No packet of UDP passes.
    pub(crate) blocks_udp: bool,
}

/// A line that runs until it is dropped.
pub(crate) struct Forwarder {
    /// Its end ends the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

/// Packets by what became of them. They are looked at when the traffic is over, so that their order says nothing: all Relaxed.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) passed: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) doubled: AtomicU64,
    pub(crate) reordered: AtomicU64,
    pub(crate) blocked: AtomicU64,
}

impl Forwarder {
    /// Joins `port0` and `port1` of the namespace in which it is called.
    pub(crate) fn start(faults: Faults) -> Self {
        let ports = ["port0", "port1"].map(open);
        let (stop, end) = UnixStream::pair().unwrap();
        let counts = Arc::new(Counts::default());
        let line = Line {
            ports,
            faults,
            counts: Arc::clone(&counts),
            waiting: BinaryHeap::new(),
            accepted: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        };
        let thread = thread::Builder::new().name("forwarder".to_owned());
        let thread = thread.spawn(move || line.run(&end)).unwrap();
        Self {
            stop: Some(stop),
            thread: Some(thread),
            counts,
        }
    }

    pub(crate) fn count(&self, which: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        which(&self.counts).load(Ordering::Relaxed)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A socket that takes and gives the frames of an interface.
fn open(name: &str) -> OwnedFd {
    let mut addresses = getifaddrs()
        .unwrap()
        .filter(|one| one.interface_name == name);
    let link = addresses.find_map(|one| one.address?.as_link_addr().copied());
    let link: LinkAddr = link.unwrap_or_else(|| panic!("no interface is called {name}"));
    let port = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .unwrap();
    // What the line loses it shall lose on purpose.
    setsockopt(&port, sockopt::RcvBufForce, &BUFFER).unwrap();
    setsockopt(&port, sockopt::SndBufForce, &BUFFER).unwrap();
    bind(port.as_raw_fd(), &link).unwrap();
    port
}

struct Line {
    ports: [OwnedFd; 2],
    faults: Faults,
    counts: Arc<Counts>,
    waiting: BinaryHeap<Waiting>,
    accepted: u64,
    random: u64,
}

/// A frame that is under way.
struct Waiting {
    due: Instant,
    /// Frames that are due at one moment keep their order.
    number: u64,
    to: usize,
    frame: Vec<u8>,
}

impl Line {
    fn run(mut self, end: &UnixStream) {
        let mut buffer = vec![0; 1 << 16];
        while self.wait(end) {
            for from in 0..2 {
                for _ in 0..BATCH {
                    match recv(self.ports[from].as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                        Ok(len) => self.accept(1 - from, &mut buffer[..len]),
                        // An interface that goes down says so once.
                        Err(Errno::EAGAIN | Errno::ENETDOWN | Errno::EINTR) => break,
                        Err(error) => panic!("cannot read from port{from}: {error}"),
                    }
                }
            }
            let now = Instant::now();
            while self.waiting.peek().is_some_and(|next| next.due <= now) {
                let Waiting { to, frame, .. } = self.waiting.pop().expect("just seen");
                self.pass_on(to, &frame);
            }
        }
    }

    /// Waits until there is something to do; whether there will be more.
    fn wait(&self, end: &UnixStream) -> bool {
        let mut interests = [
            PollFd::new(self.ports[0].as_fd(), PollFlags::POLLIN),
            PollFd::new(self.ports[1].as_fd(), PollFlags::POLLIN),
            PollFd::new(end.as_fd(), PollFlags::POLLIN),
        ];
        let next = self.waiting.peek();
        let limit = next.map(|next| next.due.saturating_duration_since(Instant::now()));
        match ppoll(&mut interests, limit.map(TimeSpec::from), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("cannot wait for packets: {error}"),
        }
        interests[2].any() != Some(true)
    }

    /// Decides what becomes of a frame.
    fn accept(&mut self, to: usize, frame: &mut [u8]) {
        let Some(transport) = frames::complete(frame) else {
            self.enqueue(to, frame, Duration::ZERO);
            return;
        };
        let Faults {
            delay,
            lost,
            doubled,
            reordered,
            blocks_udp,
        } = self.faults;
        let count = |of: &AtomicU64| of.fetch_add(1, Ordering::Relaxed);
        if blocks_udp && transport == Transport::Udp {
            count(&self.counts.blocked);
            return;
        }
        if self.happens(lost) {
            count(&self.counts.lost);
            return;
        }
        let delay = if self.happens(reordered) {
            count(&self.counts.reordered);
            delay + LATE
        } else {
            delay
        };
        if self.happens(doubled) {
            count(&self.counts.doubled);
            self.enqueue(to, frame, delay);
        }
        count(&self.counts.passed);
        self.enqueue(to, frame, delay);
    }

    fn enqueue(&mut self, to: usize, frame: &[u8], delay: Duration) {
        self.accepted += 1;
        if delay.is_zero() && self.waiting.is_empty() {
            self.pass_on(to, frame);
            return;
        }
        self.waiting.push(Waiting {
            due: Instant::now() + delay,
            number: self.accepted,
            to,
            frame: frame.to_vec(),
        });
    }

    fn pass_on(&self, to: usize, frame: &[u8]) {
        match send(self.ports[to].as_raw_fd(), frame, MsgFlags::empty()) {
            // A full queue loses packets, as it does everywhere.
            Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENETDOWN) => {}
            Err(error) => panic!("cannot write {} bytes to port{to}: {error}", frame.len()),
        }
    }

    /// Whether something happens that happens so many times in a thousand: xorshift, the same sequence in each run.
    fn happens(&mut self, of_thousand: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 1000 < of_thousand
    }
}

/// The greatest is the one to be sent next.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Order {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for Waiting {}

/// How much later a late packet comes: far behind what a sender puts out at once.
const LATE: Duration = Duration::from_millis(2);

/// Frames that are read from one side before the other has its turn.
const BATCH: usize = 64;

/// Bytes of the sockets' buffers.
const BUFFER: usize = 64 << 20;
