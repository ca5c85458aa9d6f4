//! How to wait: look again, then let others run, then sleep.
//!
//! With a core for each rank it pays to look for as long as a sleep and a wake-up cost, some 25 to 50 us. With more ranks than cores
//! whoever looks steals the time in which the message could be made: after a fraction of a microsecond `sched_yield` lets it, at
//! 2 us a hop instead of a scheduler slice of 4000. Either way a rank that finds nothing for long sleeps and costs nothing.

use std::hint::spin_loop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use phalanx_shm::Segment;

use crate::config::{WaitPolicy, WaitSettings};

/// When to go from one way of waiting to the next.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    spin: Spin,
    /// How often to let others run then.
    pub(crate) yields: u32,
    /// The longest sleep between the first two looks; it doubles a few times while nothing happens.
    pub(crate) sleep: Duration,
}

impl Patience {
    /// What the settings say, for `ranks` on this host: processes that tell each other their cores in `segment`, or threads of this
    /// process.
    pub(crate) fn new(
        settings: &WaitSettings,
        ranks: usize,
        segment: Option<&Arc<Segment>>,
    ) -> Self {
        let spin = match (settings.spin, settings.policy, segment) {
            (Some(spin), ..) => Spin::For(spin),
            (None, WaitPolicy::Dedicated, _) => Spin::For(DEDICATED_SPIN),
            (None, WaitPolicy::Shared, _) => Spin::For(CROWDED_SPIN),
            (None, WaitPolicy::Auto, None) => Spin::For(spin_of(ranks, parallelism())),
            (None, WaitPolicy::Auto, Some(segment)) => Spin::ByCores {
                ranks,
                quota: join(segment),
                segment: Arc::clone(segment),
            },
        };
        Self {
            spin,
            yields: settings.yields.unwrap_or(YIELDS),
            sleep: settings.sleep,
        }
    }

    /// How long to look.
    fn spin(&self) -> Duration {
        match &self.spin {
            Spin::For(spin) => *spin,
            Spin::ByCores {
                ranks,
                segment,
                quota,
            } => spin_of(*ranks, segment.cores().min(*quota)),
        }
    }
}

/// How long to look.
#[derive(Clone, Debug)]
enum Spin {
    For(Duration),
    /// As the cores of the ranks that have joined suggest, and those that the container's quota leaves.
    ByCores {
        ranks: usize,
        segment: Arc<Segment>,
        quota: usize,
    },
}

/// Adds this rank's cores to those of the job. Returns how many its quota leaves the ranks of its container.
fn join(segment: &Segment) -> usize {
    let (bound, usable) = (segment.add_cores(), parallelism());
    if usable < bound { usable } else { usize::MAX }
}

fn spin_of(ranks: usize, cores: usize) -> Duration {
    if ranks > cores {
        CROWDED_SPIN
    } else {
        DEDICATED_SPIN
    }
}

/// Cores that this process may use, by affinity and by the quota of its container.
fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Look,
    Yield,
    /// At most so long.
    Sleep(Duration),
}

/// One wait.
#[derive(Debug)]
pub(crate) struct Backoff {
    looks: u32,
    yields: u32,
    sleeps: u32,
    since: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            looks: 0,
            yields: 0,
            sleeps: 0,
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
        let is_due = self.looks == FIRST_LOOKS || self.looks.is_multiple_of(LOOKS_PER_CLOCK);
        !is_due || self.time_is_left(patience)
    }

    #[cold]
    fn time_is_left(&mut self, patience: &Patience) -> bool {
        let spin = patience.spin();
        if spin <= CROWDED_SPIN {
            // The first looks took about that long.
            return false;
        }
        let now = Instant::now();
        now - *self.since.get_or_insert(now) < spin
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
        let longest = patience.sleep.saturating_mul(1 << self.sleeps);
        self.sleeps = (self.sleeps + 1).min(MOST_DOUBLINGS);
        Step::Sleep(longest)
    }
}

const DEDICATED_SPIN: Duration = Duration::from_micros(50);
const CROWDED_SPIN: Duration = Duration::from_nanos(300);
const YIELDS: u32 = 50;
/// Looks before it is asked for the first time how long to look.
const FIRST_LOOKS: u32 = 4;
const LOOKS_PER_CLOCK: u32 = 32;
/// Whatever a rank waits for wakes it; that it looks by itself as well is for what nobody has thought of, and must not cost a job with
/// hundreds of idle ranks its cores.
const MOST_DOUBLINGS: u32 = 5;

#[cfg(test)]
mod tests {
    use phalanx_shm::Shape;

    use super::*;

    /// How long the only rank of a segment, and one of more than any machine has cores, look.
    fn spins(policy: WaitPolicy) -> [Duration; 2] {
        let settings = WaitSettings {
            policy,
            ..WaitSettings::default()
        };
        [1, 4096].map(|ranks| {
            let shape = Shape {
                ranks,
                arena_bytes: 0,
            };
            let segment = Arc::new(Segment::create(&shape).unwrap());
            Patience::new(&settings, ranks, Some(&segment)).spin()
        })
    }

    #[test]
    fn ranks_that_outnumber_their_cores_look_for_less_long() {
        assert_eq!(spins(WaitPolicy::Auto), [DEDICATED_SPIN, CROWDED_SPIN]);
        assert_eq!(spins(WaitPolicy::Dedicated), [DEDICATED_SPIN; 2]);
        assert_eq!(spins(WaitPolicy::Shared), [CROWDED_SPIN; 2]);
    }

    #[test]
    fn an_idle_rank_sleeps_ever_longer_until_something_happens() {
        let settings = WaitSettings {
            policy: WaitPolicy::Shared,
            yields: Some(0),
            ..WaitSettings::default()
        };
        let patience = Patience::new(&settings, 2, None);
        let mut backoff = Backoff::new();
        let sleeps = |times: usize, backoff: &mut Backoff| {
            let steps = std::iter::repeat_with(|| backoff.next(&patience));
            let naps = steps.filter_map(|step| match step {
                Step::Sleep(longest) => Some(longest),
                Step::Look | Step::Yield => None,
            });
            naps.take(times).last()
        };
        assert_eq!(sleeps(1, &mut backoff), Some(settings.sleep));
        assert_eq!(sleeps(1, &mut backoff), Some(2 * settings.sleep));
        assert_eq!(sleeps(100, &mut backoff), Some(32 * settings.sleep));
        backoff.reset();
        assert_eq!(sleeps(1, &mut backoff), Some(settings.sleep));
    }

    #[test]
    fn each_core_of_a_rank_that_joins_counts() {
        let shape = Shape {
            ranks: parallelism(),
            arena_bytes: 0,
        };
        let segment = Arc::new(Segment::create(&shape).unwrap());
        let patience = Patience::new(&WaitSettings::default(), shape.ranks, Some(&segment));
        assert_eq!(patience.spin(), DEDICATED_SPIN);
    }
}
