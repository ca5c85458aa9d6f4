//! The floor: how long a cache line takes between the cores of ranks 0 and 1, one way; over the network, how long a datagram.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use phalanx::Communicator;

use crate::network::Network;

/// What a rank probes the floor with.
#[derive(Debug)]
pub(crate) enum Probe {
    /// Memory that the job shares, of which the library knows; processes have no other.
    Library,
    /// Lines that threads share.
    Threads {
        /// Those of the job.
        lines: Arc<Lines>,
        /// Rounds of all probes up to now: equal at both sides.
        rounds: u64,
    },
    /// Sockets between processes.
    Network(Network),
    /// This rank has nobody to probe with.
    Nothing,
}

/// What one probe found, in nanoseconds one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Taken {
    /// A cache line; None when there is nothing to be probed.
    Line(Option<f64>),
    /// The network.
    Network {
        /// None when a datagram was lost.
        udp: Option<f64>,
        tcp: f64,
    },
}

impl Taken {
    /// That to which the samples beside it are compared.
    pub(crate) const fn floor(self) -> Option<f64> {
        match self {
            Self::Line(floor) | Self::Network { udp: floor, .. } => floor,
        }
    }
}

/// What two threads write for each other.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    ranks: [Line; 2],
    /// Whether a rank has gone, for which nobody should wait.
    is_over: AtomicBool,
}

/// Far enough from the next that the cores, which fetch lines in pairs, do not meet.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

/// Says at its end that this rank has gone, whether it returns or panics.
#[derive(Debug)]
pub(crate) struct Presence<'a>(&'a Lines);

impl Probe {
    pub(crate) fn between_threads(lines: &Arc<Lines>) -> Self {
        Self::Threads {
            lines: Arc::clone(lines),
            rounds: 0,
        }
    }

    /// Probes the floor together with `peer`, which does the same.
    pub(crate) fn take(&mut self, world: &Communicator, peer: usize) -> anyhow::Result<Taken> {
        Ok(match self {
            Self::Library => {
                let round_trip = world.cache_line_round_trip(peer, ROUNDS)?;
                Taken::Line(round_trip.map(|time| time.as_nanos() as f64 / 2.0))
            }
            Self::Threads { lines, rounds } => Taken::Line(lines.bounce(world.rank(), rounds)),
            Self::Network(network) => network.bounce(world.rank() == 0)?,
            Self::Nothing => Taken::Line(None),
        })
    }

    /// Whether [`stream`](Self::stream) finds something.
    pub(crate) const fn has_stream(&self) -> bool {
        matches!(self, Self::Network(_))
    }

    /// What a raw stream takes for each of its writes, in nanoseconds.
    pub(crate) fn stream(&mut self, world: &Communicator) -> anyhow::Result<Option<f64>> {
        match self {
            Self::Network(network) => network.stream(world.rank() == 0).map(Some),
            _ => Ok(None),
        }
    }
}

impl Lines {
    pub(crate) fn presence(&self) -> Presence<'_> {
        Presence(self)
    }

    /// As the library does it between processes. None when a rank has gone.
    fn bounce(&self, me: usize, rounds: &mut u64) -> Option<f64> {
        let (mine, theirs) = (&self.ranks[me].0, &self.ranks[1 - me].0);
        let mut turn = || {
            *rounds += 1;
            // Release and Acquire as in messages, whose floor this is; nothing else is published.
            if me == 0 {
                theirs.store(*rounds, Ordering::Release);
                self.await_round(mine, *rounds)
            } else {
                self.await_round(mine, *rounds)?;
                theirs.store(*rounds, Ordering::Release);
                Some(())
            }
        };
        // In the first round the peer is still on its way here.
        turn()?;
        let started = Instant::now();
        (0..ROUNDS).try_for_each(|_| turn())?;
        Some(started.elapsed().as_nanos() as f64 / (2 * ROUNDS) as f64)
    }

    fn await_round(&self, line: &AtomicU64, round: u64) -> Option<()> {
        let mut turns = 0_u32;
        while line.load(Ordering::Acquire) < round {
            turns += 1;
            if turns.is_multiple_of(1 << 12) {
                // Relaxed, for nothing is read after it but the flag itself.
                if self.is_over.load(Ordering::Relaxed) {
                    return None;
                }
                // The peer may share our core.
                thread::yield_now();
            }
            spin_loop();
        }
        Some(())
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Some 20 us between near cores: long beside the clock's 24 ns, short beside the seconds after which virtual cores move.
const ROUNDS: u64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_probe_again_and_again_until_one_goes() {
        let lines = Lines::default();
        let probe = |me: usize, count: usize| {
            let _presence = lines.presence();
            let mut rounds = 0;
            let mut floors = Vec::new();
            for _ in 0..count {
                floors.push(lines.bounce(me, &mut rounds));
            }
            floors
        };
        let (long, short) = thread::scope(|scope| {
            let short = scope.spawn(|| probe(1, 3));
            (probe(0, 4), short.join().unwrap())
        });
        assert!(
            short
                .iter()
                .all(|floor| floor.is_some_and(|time| time > 0.0))
        );
        assert!(
            long[..3]
                .iter()
                .all(|floor| floor.is_some_and(|time| time > 0.0))
        );
        assert_eq!(long[3], None);
    }
}
