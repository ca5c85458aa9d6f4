//! A whole job inside one process: every rank is a thread. For tests, and for trying things out.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use phalanx_shm::{Segment, Shape};

use crate::config::Config;
use crate::error::Result;
use crate::world::World;

/// Runs `rank` on `ranks` threads, each with the world of one rank, and returns their results in order of rank.
///
/// The ranks talk through a segment on the heap, by the code that processes use.
///
/// # Panics
/// When a rank panics or returns an error: with what it said. The others then find their peer dead and end.
///
/// # Examples
/// ```
/// let sums = phalanx_runtime::testing::run(4, |world| {
///     let right = (world.rank() + 1) % world.size();
///     world.send(right, 0, &[world.rank() as u64][..])?;
///     let left = world.recv::<[u64]>(phalanx_runtime::ANY_SOURCE, 0)?;
///     Ok(left[0])
/// });
/// assert_eq!(sums, [3, 0, 1, 2]);
/// ```
pub fn run<R: Send>(ranks: usize, rank: impl Fn(&World) -> Result<R> + Sync) -> Vec<R> {
    Job::new(ranks).run(rank)
}

/// A job of threads, to be configured before it runs.
#[derive(Clone, Debug)]
#[must_use = "a job runs when `run` is called"]
pub struct Job {
    ranks: usize,
    config: Arc<Config>,
}

impl Job {
    /// A job of `ranks` ranks with default settings.
    pub fn new(ranks: usize) -> Self {
        Self {
            ranks,
            config: Arc::new(Config::default()),
        }
    }

    /// With these settings.
    pub fn config(self, config: Config) -> Self {
        Self {
            config: Arc::new(config),
            ..self
        }
    }

    /// Runs `rank` on every thread, as [`run`] does.
    ///
    /// # Panics
    /// As [`run`].
    pub fn run<R: Send>(&self, rank: impl Fn(&World) -> Result<R> + Sync) -> Vec<R> {
        let share = ADDRESS_SPACE / self.ranks.max(1) as u64;
        let shape = Shape {
            ranks: self.ranks,
            arena_bytes: self
                .config
                .memory()
                .arena
                .unwrap_or_else(|| share.clamp(LEAST_ARENA, MOST_ARENA)),
        };
        let segment = Segment::within_process(&shape).unwrap_or_else(|error| panic!("{error}"));
        let segment = Arc::new(segment);
        let join =
            |index| World::over_segment(Arc::clone(&segment), index, Arc::clone(&self.config));
        run_threads(self.ranks, join, rank)
    }
}

/// Arenas on the heap count against what the kernel is willing to promise, although they are hardly used.
const ADDRESS_SPACE: u64 = 4 << 30;
const LEAST_ARENA: u64 = 32 << 20;
const MOST_ARENA: u64 = 1 << 30;

/// Runs one rank per thread; the first failure by rank is passed on.
fn run_threads<R: Send>(
    ranks: usize,
    join: impl Fn(usize) -> Result<World> + Sync,
    rank: impl Fn(&World) -> Result<R> + Sync,
) -> Vec<R> {
    let (join, rank) = (&join, &rank);
    let results: Vec<_> = thread::scope(|scope| {
        let one = |index| {
            move || {
                catch_unwind(AssertUnwindSafe(|| {
                    let world = join(index)
                        .unwrap_or_else(|error| panic!("rank {index} cannot join: {error}"));
                    rank(&world).unwrap_or_else(|error| panic!("rank {index} failed: {error}"))
                }))
            }
        };
        let threads: Vec<_> = (0..ranks)
            .map(|index| {
                thread::Builder::new()
                    .name(format!("rank {index}"))
                    .spawn_scoped(scope, one(index))
                    .expect("a thread for each rank")
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(Err))
            .collect()
    });
    results
        .into_iter()
        .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
        .collect()
}
