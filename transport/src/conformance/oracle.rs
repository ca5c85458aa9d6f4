//! Random schedules against the simplest model there is: a queue for each pair.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::conformance::{Job, assert_silent, is_away, next, pattern};
use crate::frame::Header;
use crate::frame::tests::{any_envelope, any_header};
use crate::link::{Link, Packet, Transport};
use crate::payload::{Buffer, Inline, Payload};

const RANKS: usize = 3;
/// Payloads that receivers keep at a time; more could use up an arena of the tests.
const MOST_KEPT: usize = 32;

#[derive(Clone, Debug)]
enum Step {
    Send(usize, usize, Header, usize),
    SendBuffer(usize, usize, Header, usize),
    SendPart(usize, usize, Header, usize),
    Poll(usize),
    Drop(prop::sample::Index),
}

/// What must arrive.
type Sent = (Header, Vec<u8>);

/// The links, and what should be in them.
struct Play {
    links: Vec<Link>,
    /// By sender, receiver and lane: over a network, parts of large messages have an order of their own.
    expected: BTreeMap<(usize, usize, bool), VecDeque<Sent>>,
    kept: Vec<(Vec<u8>, Payload)>,
    step: usize,
}

pub(super) fn any_schedule_delivers_what_a_queue_for_each_pair_would(job: Job) {
    let config = Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    };
    let schedule = prop::collection::vec(any_step(), 0..250);
    TestRunner::new(config)
        .run(&schedule, |steps| {
            let mut play = Play {
                links: job(RANKS),
                expected: BTreeMap::new(),
                kept: Vec::new(),
                step: 0,
            };
            for step in steps {
                play.perform(step);
            }
            play.finish();
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

impl Play {
    fn perform(&mut self, step: Step) {
        self.step += 1;
        match step {
            Step::Send(from, to, header, len) => {
                let bytes = pattern(self.step, len);
                if self.links[from].send(to, &header, &bytes).unwrap() {
                    self.expect(from, to, header, bytes);
                }
            }
            Step::SendBuffer(from, to, header, len) => {
                let buffer = self.links[from].reserve(len).unwrap();
                self.hand_over(from, to, header, buffer);
            }
            Step::SendPart(from, to, header, len) => {
                let bytes = pattern(self.step, len);
                let sent = self.links[from].send_part(to, &header, &bytes).unwrap();
                if sent != 0 {
                    self.expect(from, to, header, bytes[..sent].to_vec());
                }
            }
            Step::Poll(at) => {
                if let Some(arrival) = self.links[at].poll().unwrap() {
                    self.take(at, arrival);
                }
            }
            Step::Drop(index) => {
                if !self.kept.is_empty() {
                    let index = index.index(self.kept.len());
                    let (bytes, payload) = self.kept.swap_remove(index);
                    assert_eq!(*payload, *bytes, "a kept payload changed");
                }
            }
        }
    }

    fn hand_over(&mut self, from: usize, to: usize, header: Header, mut buffer: Buffer) {
        let bytes = pattern(self.step, buffer.len());
        buffer.copy_from_slice(&bytes);
        match self.links[from].send_buffer(to, &header, buffer).unwrap() {
            None => self.expect(from, to, header, bytes),
            Some(buffer) => assert_eq!(*buffer, *bytes, "a refused buffer changed"),
        }
    }

    fn expect(&mut self, from: usize, to: usize, header: Header, bytes: Vec<u8>) {
        let lane = self.lane(from, to, &header);
        let queue = self.expected.entry((from, to, lane)).or_default();
        queue.push_back((header, bytes));
    }

    fn lane(&self, from: usize, to: usize, header: &Header) -> bool {
        matches!(header, Header::Chunk { .. }) && is_away(&self.links[from], to)
    }

    fn take(&mut self, at: usize, arrival: (usize, Packet)) {
        let (from, Packet { header, payload }) = arrival;
        let lane = self.lane(from, at, &header);
        let expected = self
            .expected
            .get_mut(&(from, at, lane))
            .and_then(VecDeque::pop_front);
        let (expected, bytes) = expected.expect("nobody sent this");
        assert_eq!(header, expected);
        assert_eq!(*payload, *bytes);
        self.kept.push((bytes, payload));
        if self.kept.len() > MOST_KEPT {
            self.kept.remove(0);
        }
    }

    fn is_expected(&self, at: usize) -> bool {
        let mut expected = self.expected.iter();
        expected.any(|(&(_, to, _), queue)| to == at && !queue.is_empty())
    }

    fn finish(mut self) {
        for at in 0..RANKS {
            while self.is_expected(at)
                && let Some(arrival) = next(&mut self.links[at])
            {
                self.take(at, arrival);
            }
            assert_silent(&mut self.links[at]);
        }
        assert!(
            self.expected.values().all(VecDeque::is_empty),
            "packets are lost"
        );
        for (bytes, payload) in self.kept {
            assert_eq!(*payload, *bytes, "a kept payload changed");
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let copied = (any_header(), any_len()).prop_map(|(header, len)| match header {
        Header::Eager(_) | Header::Request { .. } | Header::Chunk { .. } => (header, len),
        Header::TypeName { .. } => (header, len % (Inline::CAPACITY + 1)),
        _ => (header, 0),
    });
    let chunk = (any::<u64>(), any::<u64>())
        .prop_map(|(receive, position)| Header::Chunk { receive, position });
    let lent = any_envelope().prop_map(Header::Eager);
    prop_oneof![
        3 => (any_pair(), copied).prop_map(|((from, to), (header, len))| Step::Send(from, to, header, len)),
        2 => (any_pair(), lent, any_len()).prop_map(|((from, to), header, len)| Step::SendBuffer(from, to, header, len)),
        2 => (any_pair(), chunk, any_len()).prop_map(|((from, to), header, len)| Step::SendPart(from, to, header, len.max(1))),
        4 => (0..RANKS).prop_map(Step::Poll),
        1 => any::<prop::sample::Index>().prop_map(Step::Drop),
    ]
}

fn any_pair() -> impl Strategy<Value = (usize, usize)> {
    (0..RANKS, 1..RANKS).prop_map(|(from, ahead)| (from, (from + ahead) % RANKS))
}

fn any_len() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..=48, 49_usize..=300, 0_usize..=100_000]
}
