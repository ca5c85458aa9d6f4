//! Programs and how they come about.

use proptest::prelude::*;
use proptest::sample::Index;

/// What all ranks of a job do.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) ranks: usize,
    pub(crate) rounds: Vec<Round>,
}

/// Messages of which none is received in another round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// All receives are posted before anything is sent, so that sends may wait.
    pub(crate) early: bool,
    /// In the order in which each sender sends them.
    pub(crate) messages: Vec<Message>,
    /// Shapes of the patterns, by receiver and communicator.
    shapes: Vec<Shape>,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: usize,
    /// World ranks, which are equal at times.
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) communicator: usize,
    pub(crate) tag: i32,
    pub(crate) len: usize,
    pub(crate) how: Sending,
    pub(crate) taken: Taking,
    /// Orders the receives of a round.
    pub(crate) turn: u16,
}

/// Which part of a pattern is left open, and whether the messages are archives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) any_source: bool,
    pub(crate) any_tag: bool,
    pub(crate) archive: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Sending {
    Blocking,
    BlockingSynchronous,
    Owned,
    Synchronous,
    Loan,
    Shared,
    Dropped,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Taking {
    Receive,
    Into,
    Posted,
    Probed,
    ProbedOften,
    Matched,
    MatchedOften,
    PutBack,
    Scoped,
}

/// The world, a copy of it, and the ranks of equal parity.
pub(crate) const COMMUNICATORS: usize = 3;

impl Round {
    pub(crate) fn shape(&self, to: usize, communicator: usize) -> Shape {
        self.shapes[to * COMMUNICATORS + communicator]
    }

    /// What `rank` receives, in its order.
    pub(crate) fn receives(&self, rank: usize) -> Vec<&Message> {
        let mut all: Vec<_> = self.messages.iter().filter(|m| m.to == rank).collect();
        all.sort_by_key(|message| message.turn);
        all
    }
}

/// Sizes around every threshold of the default and of the tiny settings.
const SIZES: [usize; 24] = [
    0, 1, 8, 16, 47, 48, 49, 63, 64, 65, 100, 256, 1023, 1024, 1025, 4095, 4096, 4097, 16_383,
    16_384, 16_385, 32_769, 65_536, 200_000,
];

fn sending() -> impl Strategy<Value = Sending> {
    prop::sample::select(vec![
        Sending::Blocking,
        Sending::BlockingSynchronous,
        Sending::Owned,
        Sending::Synchronous,
        Sending::Loan,
        Sending::Shared,
        Sending::Dropped,
    ])
}

fn taking() -> impl Strategy<Value = Taking> {
    prop::sample::select(vec![
        Taking::Receive,
        Taking::Into,
        Taking::Posted,
        Taking::Probed,
        Taking::ProbedOften,
        Taking::Matched,
        Taking::MatchedOften,
        Taking::PutBack,
        Taking::Scoped,
    ])
}

fn message(ranks: usize) -> impl Strategy<Value = Message> {
    let place = (0..ranks, any::<Index>(), 0..COMMUNICATORS, 0..3_i32);
    let shape = (
        prop::sample::select(SIZES.to_vec()),
        sending(),
        taking(),
        any::<u16>(),
    );
    (place, shape).prop_map(
        move |((from, to, communicator, tag), (len, how, taken, turn))| {
            // Within the communicator of equal parity there are fewer to choose from.
            let step = if communicator == 2 { 2 } else { 1 };
            let first = if communicator == 2 { from % 2 } else { 0 };
            let members: Vec<usize> = (first..ranks).step_by(step).collect();
            Message {
                id: 0,
                from,
                to: *to.get(&members),
                communicator,
                tag,
                len,
                how,
                taken,
                turn,
            }
        },
    )
}

fn round(ranks: usize) -> impl Strategy<Value = Round> {
    let shape =
        prop::array::uniform3(any::<bool>()).prop_map(|[any_source, any_tag, archive]| Shape {
            any_source,
            any_tag,
            archive,
        });
    let shapes = prop::collection::vec(shape, ranks * COMMUNICATORS);
    let messages = prop::collection::vec(message(ranks), 0..30);
    (any::<bool>(), messages, shapes).prop_map(|(early, mut messages, shapes)| {
        for (id, message) in messages.iter_mut().enumerate() {
            message.id = id;
        }
        Round {
            early,
            messages,
            shapes,
        }
    })
}

pub(crate) fn program() -> impl Strategy<Value = Program> {
    (1..=5_usize).prop_flat_map(|ranks| {
        prop::collection::vec(round(ranks), 1..4).prop_map(move |rounds| Program { ranks, rounds })
    })
}
