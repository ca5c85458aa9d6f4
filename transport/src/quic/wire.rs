//! What a driver has in hand: socket, time, and the list of what is to be done.

use std::collections::BTreeSet;
use std::time::Instant;

use super::clock::Clock;
use super::io::{Datagram, Io};

/// Socket, time, and what is to be done with them.
pub(super) struct Wire {
    pub(super) io: Io,
    pub(super) clock: Clock,
    pub(super) timers: BTreeSet<(Instant, Due)>,
    pub(super) listed: Vec<usize>,
    /// Those that have more to do than one pass does.
    pub(super) later: Vec<usize>,
    /// How often the program itself has driven.
    pub(super) passes: u64,
    pub(super) packets: Vec<Datagram>,
    pub(super) scratch: Vec<u8>,
    /// Nothing goes in or out any more, as if the process had been killed.
    pub(super) cut: bool,
}

/// What is to be looked at again at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Conn(usize),
    Peer(usize),
}

impl Wire {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            clock: Clock::new(Instant::now()),
            timers: BTreeSet::new(),
            listed: Vec::new(),
            later: Vec::new(),
            passes: 1,
            packets: Vec::new(),
            scratch: Vec::new(),
            cut: false,
        }
    }

    /// The time, as connections see it.
    #[inline]
    pub(super) fn now(&mut self) -> Instant {
        self.clock.read(Instant::now())
    }

    /// Moves what is `due` from one time to another.
    pub(super) fn retime(&mut self, due: Due, from: &mut Option<Instant>, to: Option<Instant>) {
        if *from == to {
            return;
        }
        if let Some(was) = *from {
            self.timers.remove(&(was, due));
        }
        if let Some(becomes) = to {
            self.timers.insert((becomes, due));
        }
        *from = to;
    }
}
