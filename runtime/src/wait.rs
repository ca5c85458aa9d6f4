//! How to wait: look again, then let others run, then sleep.
//!
//! With a core for each rank it pays to look for as long as a sleep and a wake-up cost, some 25 to 50 us. With more ranks than cores
//! whoever looks steals the time in which the message could be made: after a fraction of a microsecond `sched_yield` lets it, at
//! 2 us a hop instead of a scheduler slice of 4000. Either way a rank that finds nothing for long sleeps and costs nothing.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use crate::config::{WaitPolicy, WaitSettings};

/// When to go from one way of waiting to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long to look.
    pub(crate) spin: Duration,
    /// How often to let others run then.
    pub(crate) yields: u32,
    /// The longest sleep between two looks.
    pub(crate) sleep: Duration,
}

impl Patience {
    /// What the settings say, for `ranks` on this host.
    pub(crate) fn new(settings: &WaitSettings, ranks: usize) -> Self {
        let crowded = match settings.policy {
            WaitPolicy::Dedicated => false,
            WaitPolicy::Shared => true,
            WaitPolicy::Auto => ranks > allowed_cores(),
        };
        let spin = if crowded {
            CROWDED_SPIN
        } else {
            DEDICATED_SPIN
        };
        Self {
            spin: settings.spin.unwrap_or(spin),
            yields: settings.yields.unwrap_or(YIELDS),
            sleep: settings.sleep,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Look,
    Yield,
    Sleep,
}

/// One wait.
#[derive(Debug)]
pub(crate) struct Backoff {
    looks: u32,
    yields: u32,
    since: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            looks: 0,
            yields: 0,
            since: None,
        }
    }

    /// Something happened: patience is fresh.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }

    /// Whether the first phase, in which nothing but looking is done, goes on. Pauses for a moment if so.
    #[inline]
    pub(crate) fn looks_on(&mut self, patience: &Patience) -> bool {
        self.looks += 1;
        spin_loop();
        // Reading the clock costs as much as several looks.
        !self.looks.is_multiple_of(LOOKS_PER_CLOCK) || self.time_is_left(patience)
    }

    #[cold]
    fn time_is_left(&mut self, patience: &Patience) -> bool {
        let now = Instant::now();
        now - *self.since.get_or_insert(now) < patience.spin
    }

    pub(crate) fn next(&mut self, patience: &Patience) -> Step {
        if self.yields == 0 && self.looks_on(patience) {
            return Step::Look;
        }
        if self.yields < patience.yields {
            self.yields += 1;
            return Step::Yield;
        }
        self.yields = patience.yields.max(1);
        Step::Sleep
    }
}

/// Cores that this process may run on, by affinity and by the quota of its container.
pub(crate) fn allowed_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

const DEDICATED_SPIN: Duration = Duration::from_micros(50);
const CROWDED_SPIN: Duration = Duration::from_nanos(300);
const YIELDS: u32 = 50;
const LOOKS_PER_CLOCK: u32 = 8;
