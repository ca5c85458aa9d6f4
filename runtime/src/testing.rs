//! A whole job inside one process: every rank is a thread. For tests, and for trying things out.

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use phalanx_shm::{Segment, Shape};
use phalanx_transport::quic::{Identity, JobId, QuicSocket, Roll};
use phalanx_transport::{Inproc, Link, Quic};

use crate::config::{Config, NetworkSettings, SameHost};
use crate::error::{JoinError, Result};
use crate::joining::Joined;
use crate::network;
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
    carrier: Carrier,
}

/// What joins the ranks of a job.
#[derive(Clone, Copy, Debug)]
enum Carrier {
    /// A segment on the heap, by the code that processes use.
    Segment,
    /// Queues.
    Inproc(InprocSettings),
    /// QUIC over loopback, as if each rank were on a host of its own.
    Quic,
}

impl Job {
    /// A job of `ranks` ranks with default settings.
    pub fn new(ranks: usize) -> Self {
        Self {
            ranks,
            config: Arc::new(Config::default()),
            carrier: Carrier::Segment,
        }
    }

    /// With these settings; `transport.same_host` replaces the shared segment by queues (`inproc`) or by QUIC over loopback (`quic`).
    pub fn config(mut self, config: Config) -> Self {
        self.carrier = match (config.transport().same_host, self.carrier) {
            (SameHost::Quic, _) => Carrier::Quic,
            (SameHost::Inproc, Carrier::Segment) => Carrier::Inproc(InprocSettings::default()),
            (_, carrier) => carrier,
        };
        self.config = Arc::new(config);
        self
    }

    /// Through queues instead of a shared segment: queues that can be short, slow and out of step.
    pub fn inproc(mut self, settings: InprocSettings) -> Self {
        self.carrier = Carrier::Inproc(settings);
        self
    }

    /// Runs `rank` on every thread, as [`run`] does.
    ///
    /// # Panics
    /// As [`run`].
    pub fn run<R: Send>(&self, rank: impl Fn(&World) -> Result<R> + Sync) -> Vec<R> {
        match self.carrier {
            Carrier::Segment => self.run_over_segment(rank),
            Carrier::Inproc(settings) => {
                let links = Inproc::job(self.ranks, settings).into_iter();
                self.run_over(links.map(Link::Inproc).collect(), rank)
            }
            Carrier::Quic => {
                let links = loopback(self.ranks, self.config.network());
                let links = links.unwrap_or_else(|error| panic!("{error}"));
                self.run_over(links.into_iter().map(Link::Quic).collect(), rank)
            }
        }
    }

    /// Runs `rank` on every thread, through queues whose [`Controls`] it is given: to kill a peer, or to fill up the way to it.
    ///
    /// # Panics
    /// As [`run`].
    pub fn run_with_controls<R: Send>(
        &self,
        rank: impl Fn(&World, &Controls) -> Result<R> + Sync,
    ) -> Vec<R> {
        let settings = match self.carrier {
            Carrier::Inproc(settings) => settings,
            _ => InprocSettings::default(),
        };
        let links = Inproc::job(self.ranks, settings);
        let Some(controls) = links.first().map(Inproc::controls) else {
            return Vec::new();
        };
        let links = links.into_iter().map(Link::Inproc).collect();
        self.run_over(links, |world| rank(world, &controls))
    }

    fn run_over_segment<R: Send>(&self, rank: impl Fn(&World) -> Result<R> + Sync) -> Vec<R> {
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
        run_threads(self.ranks, join, rank)
    }

    fn run_over<R: Send>(
        &self,
        links: Vec<Link>,
        rank: impl Fn(&World) -> Result<R> + Sync,
    ) -> Vec<R> {
        let links: Vec<_> = links
            .into_iter()
            .map(|link| Mutex::new(Some(link)))
            .collect();
        let join = |index: usize| {
            let link = links[index].lock().take().expect("each rank joins once");
            let joined = Joined {
                link,
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

/// Links between ranks of this process over QUIC. Each has the cards of all.
fn loopback(ranks: usize, settings: &NetworkSettings) -> Result<Vec<Quic>, JoinError> {
    let job = JobId::random()?;
    let bind = |rank| {
        let identity = Identity::generate(rank, job)?;
        Ok(network::bind(&identity, Some(Ipv4Addr::LOCALHOST.into()), settings)?.0)
    };
    let sockets: Vec<_> = (0..ranks).map(bind).collect::<Result<_, JoinError>>()?;
    let cards: Vec<_> = sockets.iter().map(QuicSocket::card).collect();
    let join = |socket| Quic::join(socket, ranks, Box::new(Roll::new(cards.clone())));
    Ok(sockets.into_iter().map(join).collect::<Result<_, _>>()?)
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
