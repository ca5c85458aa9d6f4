//! A whole job inside one process: every rank is a thread. For tests, and for trying things out.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use phalanx_shm::{Segment, Shape};
use phalanx_transport::{Inproc, Link};

use crate::config::{Config, SameHost};
use crate::error::Result;
use crate::joining::Joined;
use crate::world::World;

pub use phalanx_transport::{Controls, InprocSettings};

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
///
/// # Examples
/// ```
/// use phalanx_runtime::testing::{InprocSettings, Job};
///
/// // Queues of two packets that arrive late and out of step: what a program may not rely on, it does not find here.
/// let mut faults = InprocSettings::default();
/// faults.capacity = 2;
/// faults.delay = 7;
/// Job::new(3).inproc(faults).run(|world| world.barrier());
/// ```
#[derive(Clone, Debug)]
#[must_use = "a job runs when `run` is called"]
pub struct Job {
    ranks: usize,
    config: Arc<Config>,
    inproc: Option<InprocSettings>,
}

impl Job {
    /// A job of `ranks` ranks with default settings.
    pub fn new(ranks: usize) -> Self {
        Self {
            ranks,
            config: Arc::new(Config::default()),
            inproc: None,
        }
    }

    /// With these settings; `transport.same_host = "inproc"` replaces the shared segment by queues.
    pub fn config(mut self, config: Config) -> Self {
        if config.transport().same_host == SameHost::Inproc {
            self.inproc.get_or_insert_default();
        }
        self.config = Arc::new(config);
        self
    }

    /// Through queues instead of a shared segment: queues that can be short, slow and out of step.
    pub fn inproc(mut self, settings: InprocSettings) -> Self {
        self.inproc = Some(settings);
        self
    }

    /// Runs `rank` on every thread, as [`run`] does.
    ///
    /// # Panics
    /// As [`run`].
    pub fn run<R: Send>(&self, rank: impl Fn(&World) -> Result<R> + Sync) -> Vec<R> {
        let Some(settings) = &self.inproc else {
            let share = ADDRESS_SPACE / self.ranks.max(1) as u64;
            let arena = self.config.memory().arena;
            let shape = Shape {
                ranks: self.ranks,
                arena_bytes: arena.unwrap_or_else(|| share.clamp(LEAST_ARENA, MOST_ARENA)),
            };
            let segment = Segment::within_process(&shape).unwrap_or_else(|error| panic!("{error}"));
            let segment = Arc::new(segment);
            let join =
                |index| World::over_segment(Arc::clone(&segment), index, Arc::clone(&self.config));
            return run_threads(self.ranks, join, rank);
        };
        let links = Inproc::job(self.ranks, *settings);
        self.run_over(links, rank)
    }

    /// Runs `rank` on every thread, through queues whose [`Controls`] it is given: to kill a peer, or to fill up the way to it.
    ///
    /// # Panics
    /// As [`run`].
    pub fn run_with_controls<R: Send>(
        &self,
        rank: impl Fn(&World, &Controls) -> Result<R> + Sync,
    ) -> Vec<R> {
        let links = Inproc::job(self.ranks, self.inproc.unwrap_or_default());
        let Some(controls) = links.first().map(Inproc::controls) else {
            return Vec::new();
        };
        self.run_over(links, |world| rank(world, &controls))
    }

    fn run_over<R: Send>(
        &self,
        links: Vec<Inproc>,
        rank: impl Fn(&World) -> Result<R> + Sync,
    ) -> Vec<R> {
        let links: Vec<_> = links
            .into_iter()
            .map(|link| Mutex::new(Some(link)))
            .collect();
        let join = |index: usize| {
            let link = links[index].lock().take().expect("each rank joins once");
            let joined = Joined {
                link: Link::Inproc(link),
                neighbours: self.ranks,
                cores: None,
            };
            Ok(World::over(
                joined,
                (index, self.ranks),
                Arc::clone(&self.config),
            ))
        };
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
