//! What a rank keeps for each peer: how to reach it, what waits for it, and how much of that it has taken.
//!
//! Room is counted from end to end. A sender may have so many bytes of messages waiting, here, on the way, and at the receiver until
//! the layer above takes them; the receiver tells now and then how much it has taken. So a receiver never holds more than that for
//! each peer, always reads its streams to the end, and nothing of what QUIC itself has to say waits behind a message that nobody
//! wants yet.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::{Index, IndexMut};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::SendStream;

use crate::link::PeerState;
use crate::payload::AlignedBytes;

use super::framing::{Frame, LONGEST_HEAD, Lane, encode};

/// All ranks of the job. Of one that nobody has spoken of there is no more than its place.
pub(super) struct Peers {
    places: Vec<Option<Box<Peer>>>,
    /// What there is to say of all those.
    vacant: Peer,
}

/// A peer as this rank sees it.
pub(super) struct Peer {
    /// Where it listens, as its card says; none before that has come.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) lanes: [Outbound; 2],
    pub(super) taken: [Taken; 2],
    /// The connection that everything travels on.
    pub(super) elected: Option<usize>,
    /// When it was first wanted, while there is no connection; when its card came, if that was later.
    pub(super) wanted: Option<Instant>,
    /// Addresses that were tried.
    pub(super) tried: usize,
    /// What is to be looked at again at a certain time.
    pub(super) timer: Option<Instant>,
    /// Nothing more comes from it.
    pub(super) gone: bool,
    /// It took what it was to get from this rank before that left, or cannot be told.
    pub(super) told: bool,
    /// How it said goodbye, if it has.
    pub(super) goodbye: Option<bool>,
    /// What it was told of this rank's own leave.
    pub(super) said: Farewell,
    /// How others say that it went, while its connection has the last word.
    pub(super) elsewhere: Option<PeerState>,
    /// The pass of the driver after which the first message to it went out.
    pub(super) flushed: u64,
    /// Why it cannot be reached.
    pub(super) trouble: Option<String>,
    /// Answers on both lanes to the question "has everything arrived".
    pub(super) echoed: [u64; 2],
}

/// How far a rank's leave has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Farewell {
    /// It stays.
    #[default]
    None,
    /// It takes no more messages.
    Leaving,
    /// It sends none.
    Goodbye,
}

/// One direction of a lane: what waits, and for how much more there is room.
#[derive(Debug)]
pub(super) struct Outbound {
    ready: VecDeque<Bytes>,
    /// Small frames, which travel together.
    tail: BytesMut,
    sent: u64,
    taken: u64,
    capacity: u64,
}

/// How much the layer above has taken of a lane of a peer, and how much of that the peer knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) total: u64,
    pub(super) told: u64,
}

impl Peers {
    /// So many, each with lanes of these `capacities`.
    pub(super) fn new(ranks: usize, capacities: [usize; 2]) -> Self {
        Self {
            places: (0..ranks).map(|_| None).collect(),
            vacant: Peer::new(capacities.map(|capacity| capacity as u64)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Those that somebody has spoken of.
    pub(super) fn known(&self) -> impl Iterator<Item = (usize, &Peer)> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(rank, place)| Some((rank, &**place.as_ref()?)))
    }
}

impl Index<usize> for Peers {
    type Output = Peer;

    #[inline]
    fn index(&self, rank: usize) -> &Peer {
        self.places[rank].as_deref().unwrap_or(&self.vacant)
    }
}

impl IndexMut<usize> for Peers {
    /// Who wants to change something of a peer speaks of it.
    #[inline]
    fn index_mut(&mut self, rank: usize) -> &mut Peer {
        self.places[rank].get_or_insert_with(|| {
            let [small, bulk] = &self.vacant.lanes;
            Box::new(Peer::new([small.capacity, bulk.capacity]))
        })
    }
}

impl Peer {
    fn new(capacities: [u64; 2]) -> Self {
        Self {
            addresses: Vec::new(),
            lanes: capacities.map(Outbound::new),
            taken: [Taken::default(); 2],
            elected: None,
            wanted: None,
            tried: 0,
            timer: None,
            gone: false,
            told: false,
            goodbye: None,
            said: Farewell::None,
            elsewhere: None,
            flushed: 0,
            trouble: None,
            echoed: [0; 2],
        }
    }

    #[inline]
    pub(super) fn lane(&mut self, lane: Lane) -> &mut Outbound {
        &mut self.lanes[lane as usize]
    }

    /// Adds a frame of the link's own, for which there is always room.
    pub(super) fn push_word(&mut self, lane: Lane, frame: &Frame) {
        encode(frame, 0, &mut self.lane(lane).tail);
    }

    /// Records that the layer above took `cost` of a lane; whether the peer is to be told.
    #[inline]
    pub(super) fn count_taken(&mut self, lane: Lane, cost: u64) -> bool {
        let taken = &mut self.taken[lane as usize];
        taken.total += cost;
        let due = taken.total - taken.told >= self.lanes[lane as usize].capacity / 4;
        if due {
            self.tell_taken();
        }
        due
    }

    #[cold]
    fn tell_taken(&mut self) {
        let totals = self.taken.map(|taken| taken.total);
        for taken in &mut self.taken {
            taken.told = taken.total;
        }
        self.push_word(Lane::Small, &Frame::Room(totals));
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.lanes.iter().all(Outbound::is_empty)
    }
}

impl Outbound {
    fn new(capacity: u64) -> Self {
        Self {
            ready: VecDeque::new(),
            tail: BytesMut::new(),
            sent: 0,
            taken: 0,
            capacity,
        }
    }

    /// Whether there is room for a message of `cost`. For one of any size there is when nothing waits.
    #[inline]
    pub(super) fn has_room(&self, cost: u64) -> bool {
        let waiting = self.sent - self.taken;
        waiting == 0 || waiting + cost <= self.capacity
    }

    /// Adds a message, for which there is room.
    #[inline]
    pub(super) fn push(&mut self, frame: &Frame, bytes: &[u8]) {
        self.sent += cost(bytes.len());
        let needed = LONGEST_HEAD + bytes.len();
        if self.tail.capacity() - self.tail.len() < needed {
            // One piece of memory for many messages, and the same again once the peer has acknowledged them.
            self.tail.reserve(needed.max(TAIL));
        }
        encode(frame, bytes.len(), &mut self.tail);
        self.tail.extend_from_slice(bytes);
    }

    /// As [`Self::push`], without a copy where one would cost more than an entry in the queue.
    pub(super) fn push_buffer(&mut self, frame: &Frame, buffer: AlignedBytes) {
        if buffer.len() < WORTH_AN_ENTRY {
            return self.push(frame, &buffer);
        }
        self.sent += cost(buffer.len());
        encode(frame, buffer.len(), &mut self.tail);
        self.seal();
        self.ready.push_back(Bytes::from_owner(Owned(buffer)));
    }

    /// The receiver says how much it has taken. What it was not sent it cannot have taken.
    pub(super) fn make_room(&mut self, taken: u64) {
        self.taken = self.taken.max(taken.min(self.sent));
    }

    /// Hands as much to the stream as that takes.
    pub(super) fn write(&mut self, stream: &mut SendStream<'_>) {
        self.seal();
        while !self.ready.is_empty() {
            // A stream that is stopped or closed belongs to a connection whose end is about to be seen.
            let Ok(written) = stream.write_chunks(self.ready.make_contiguous()) else {
                return;
            };
            self.ready.drain(..written.chunks);
        }
    }

    /// Bytes that wait for company.
    #[inline]
    pub(super) fn tail(&self) -> usize {
        self.tail.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.tail.is_empty()
    }

    /// Forgets what waits; nobody will take it.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.tail.clear();
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.ready.push_back(self.tail.split().freeze());
        }
    }
}

/// What a message counts beside its bytes, so that empty ones are bounded too.
#[inline]
pub(super) fn cost(len: usize) -> u64 {
    len as u64 + 64
}

/// A buffer that goes back to its set when the peer has acknowledged it.
struct Owned(AlignedBytes);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes of memory for small messages that is asked for at a time.
const TAIL: usize = 8 << 10;
/// Bytes from which on a piece of its own is cheaper than a copy.
const WORTH_AN_ENTRY: usize = 4096;
