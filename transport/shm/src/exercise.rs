//! Traffic for tests: every rank sends every other the same number of messages of all kinds, and checks each byte of what it gets.
//!
//! What a message is follows from its sender, its receiver and its number, so nothing has to be agreed on and a lost, doubled, torn or
//! overtaking message is noticed. Ranks may be threads, processes or tasks of shuttle. Included by `tests/processes` as well.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::{BlockMut, Borrowed, Descriptor, PoolError, Port, RankState, Words};

const INLINE: u64 = 1;
const BLOCK: u64 = 2;
/// The receiver copies out of a block that the sender keeps until it hears [`DONE`].
const PULLED: u64 = 3;
const DONE: u64 = 4;

/// One rank's part.
#[derive(Debug)]
pub(crate) struct Exercise {
    pub(crate) port: Port,
    me: usize,
    ranks: usize,
    messages: u64,
    largest: usize,
    sent: Vec<u64>,
    received: Vec<u64>,
    exposed: HashMap<(usize, u64), BlockMut>,
    answers: VecDeque<(usize, u64)>,
    held: VecDeque<Borrowed>,
    scratch: Vec<u8>,
}

impl Exercise {
    /// `messages` to each peer, of up to `largest` bytes.
    pub(crate) fn new(port: Port, me: usize, messages: u64, largest: usize) -> Self {
        let ranks = port.segment().ranks();
        Self {
            port,
            me,
            ranks,
            messages,
            largest,
            sent: vec![0; ranks],
            received: vec![0; ranks],
            exposed: HashMap::new(),
            answers: VecDeque::new(),
            held: VecDeque::new(),
            scratch: Vec::new(),
        }
    }

    /// Sends and receives everything, sleeping for at most `nap` at a time when only others can go on.
    pub(crate) fn run(&mut self, nap: Duration, idle: impl Fn()) {
        loop {
            let mut moved = self.receive();
            for peer in self.peers() {
                moved |= self.sent[peer] < self.messages && self.send(peer);
            }
            moved |= self.answer();
            if self.is_done() {
                return;
            }
            if moved {
                continue;
            }
            for peer in self.peers() {
                let state = self.port.segment().state_of(peer);
                assert!(!matches!(state, RankState::Dead(_)), "rank {peer} died");
            }
            // Room in a ring and returned blocks ring no bell, so a rank that has something to send does not sleep.
            let all_sent = self.answers.is_empty()
                && self.peers().all(|peer| self.sent[peer] == self.messages);
            if all_sent && self.port.prepare_sleep() {
                self.port.sleeper().sleep(nap);
            } else {
                idle();
            }
        }
    }

    /// Takes what has arrived; whether that was anything.
    pub(crate) fn receive(&mut self) -> bool {
        let mut moved = false;
        while let Some((from, words)) = self.port.poll().expect("intact rings") {
            self.check(from, &words);
            moved = true;
        }
        moved
    }

    /// Messages received from `peer` so far, each of them whole and in its place.
    pub(crate) fn received_from(&self, peer: usize) -> u64 {
        self.received[peer]
    }

    /// Sends the next message to `peer`, if there is room for it.
    pub(crate) fn send(&mut self, peer: usize) -> bool {
        if !self.port.has_room(peer).expect("an intact ring") {
            return false;
        }
        let number = self.sent[peer];
        let seed = seed(self.me, peer, number);
        let len = 1 + (seed >> 8) as usize % self.largest;
        let words = match seed % 4 {
            0 | 1 => std::array::from_fn(|word| {
                if word == 0 {
                    INLINE << 16
                } else {
                    mix(seed + word as u64)
                }
            }),
            2 => {
                self.scratch.clear();
                self.scratch.extend(content(seed, len));
                match self.port.stage(peer, &self.scratch) {
                    Ok(descriptor) => described(BLOCK, descriptor),
                    Err(PoolError::Lent { .. }) => return false,
                    Err(error) => panic!("{error}"),
                }
            }
            _ => {
                let mut block = self.port.pool().take(len).expect("memory");
                block
                    .iter_mut()
                    .zip(content(seed, len))
                    .for_each(|(place, byte)| *place = byte);
                let words = described(PULLED, block.descriptor());
                self.exposed.insert((peer, number), block);
                words
            }
        };
        assert!(
            self.port.try_push(peer, &words).expect("an intact ring"),
            "room was promised"
        );
        self.sent[peer] += 1;
        true
    }

    fn check(&mut self, from: usize, words: &Words) {
        if words[0] >> 16 == DONE {
            self.exposed
                .remove(&(from, words[1]))
                .expect("an answer to what was exposed");
            return;
        }
        let number = self.received[from];
        let seed = seed(from, self.me, number);
        let len = 1 + (seed >> 8) as usize % self.largest;
        match (seed % 4, words[0] >> 16) {
            (0 | 1, INLINE) => {
                assert!(
                    (1..8).all(|word| words[word] == mix(seed + word as u64)),
                    "message {number} of {from}"
                );
            }
            (2, BLOCK) => {
                let block = self
                    .port
                    .borrow(from, descriptor(words))
                    .expect("a good descriptor");
                assert!(
                    block.iter().copied().eq(content(seed, len)),
                    "block {number} of {from}"
                );
                self.held.push_back(block);
                // Returned later and out of order.
                if self.held.len() > 5 {
                    let place = seed as usize % self.held.len();
                    self.held.remove(place);
                }
            }
            (3, PULLED) => {
                let descriptor = descriptor(words);
                self.scratch.resize(len, 0);
                assert_eq!(descriptor.len, len as u64);
                self.port
                    .pull(from, descriptor.offset, &mut self.scratch)
                    .expect("a good place");
                assert!(
                    self.scratch.iter().copied().eq(content(seed, len)),
                    "pulled {number} of {from}"
                );
                self.answers.push_back((from, number));
            }
            (_, kind) => panic!("message {number} of {from} has kind {kind}"),
        }
        self.received[from] += 1;
    }

    /// Tells the sender of a pulled message that it was; whether there was one.
    pub(crate) fn answer(&mut self) -> bool {
        let Some(&(peer, number)) = self.answers.front() else {
            return false;
        };
        let words = [DONE << 16, number, 0, 0, 0, 0, 0, 0];
        let sent = self.port.try_push(peer, &words).expect("an intact ring");
        if sent {
            self.answers.pop_front();
        }
        sent
    }

    fn is_done(&self) -> bool {
        self.answers.is_empty()
            && self.exposed.is_empty()
            && self.peers().all(|peer| {
                self.sent[peer] == self.messages && self.received[peer] == self.messages
            })
    }

    fn peers(&self) -> impl Iterator<Item = usize> + use<> {
        let me = self.me;
        (0..self.ranks).filter(move |&peer| peer != me)
    }
}

/// The frame that describes a block.
pub(crate) fn described(kind: u64, descriptor: Descriptor) -> Words {
    [
        kind << 16,
        descriptor.block.into(),
        descriptor.offset,
        descriptor.len,
        0,
        0,
        0,
        0,
    ]
}

/// What such a frame describes.
pub(crate) fn descriptor(words: &Words) -> Descriptor {
    Descriptor {
        block: words[1] as u32,
        offset: words[2],
        len: words[3],
    }
}

fn seed(from: usize, to: usize, number: u64) -> u64 {
    mix(number << 24 | (from as u64) << 12 | to as u64)
}

fn content(seed: u64, len: usize) -> impl Iterator<Item = u8> {
    (0..len as u64).map(move |index| (mix(seed ^ index >> 3) >> (index % 8 * 8)) as u8)
}

/// Splitmix64: neighbouring numbers give unrelated results.
pub(crate) fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
