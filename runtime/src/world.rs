//! Joining a job and leaving it: the one place where all layers are put together.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use phalanx_shm::{PoolSettings, Port, Segment, Shape, handoff};
use phalanx_transport::{Link, LinkError, Shm, Transport};
use phalanx_wireup::{Place, SegmentSource};

use crate::communicator::Communicator;
use crate::config::{Config, ProtocolSettings, SameHost};
use crate::engine::{Engine, Limits};
use crate::error::{Error, Result};
use crate::progress::{Limit, Progress};
use crate::wait::Patience;

/// This process's part in its job, and the communicator of all ranks, to which it derefs.
///
/// Dropping it leaves the job: what was sent is delivered, unless its receiver has left too, and peers that wait for more are told.
#[derive(Debug)]
pub struct World {
    communicator: Communicator,
    config: Arc<Config>,
}

/// Joins the job that this process was started for; without a launcher, a world of one.
///
/// # Errors
/// When the environment or the configuration is wrong, the segment cannot be used, or this process has joined before.
///
/// # Examples
/// ```
/// let world = phalanx_runtime::init()?;
/// println!("rank {} of {}", world.rank(), world.size());
/// # Ok::<(), phalanx_runtime::Error>(())
/// ```
pub fn init() -> Result<World> {
    // The environment names a place once; a second world in it would be a second rank of the same number. Nothing is published by
    // the flag, so Relaxed.
    static JOINED: AtomicBool = AtomicBool::new(false);
    let place = Place::discover(|name| std::env::var(name).ok())?;
    let config = Config::from_environment()?;
    if JOINED.swap(true, Ordering::Relaxed) {
        return Err(Error::AlreadyJoined);
    }
    if config.transport().same_host == SameHost::Inproc && place.size > 1 {
        return Err(Error::InprocBetweenProcesses { size: place.size });
    }
    if place.segment.is_none() && place.size > 1 {
        return Err(Error::NoSharedMemory { size: place.size });
    }
    let arena = config.memory().arena;
    let shape = Shape {
        arena_bytes: arena.unwrap_or_else(|| Shape::roomy(place.size).arena_bytes),
        ..Shape::roomy(place.size)
    };
    let segment = match &place.segment {
        Some(SegmentSource::Inherited(number)) => {
            let descriptor = handoff::take(*number).map_err(|error| {
                Error::from(LinkError::from(phalanx_shm::SegmentError::Attach(error)))
            })?;
            Segment::attach(descriptor)
        }
        Some(SegmentSource::Named(name)) => Segment::join_named(name, &shape),
        _ => Segment::create(&shape),
    };
    World::over_segment(
        Arc::new(segment.map_err(LinkError::from)?),
        place.rank,
        Arc::new(config),
    )
}

impl World {
    /// Joins as `rank` of all ranks that share `segment`.
    pub(crate) fn over_segment(
        segment: Arc<Segment>,
        rank: usize,
        config: Arc<Config>,
    ) -> Result<Self> {
        let size = segment.ranks();
        let port = Port::attach(segment, rank, pool_settings(&config)).map_err(LinkError::from)?;
        Ok(Self::over(Link::Shm(Shm::new(port)), rank, size, config))
    }

    /// Joins as `rank` of `size` over any link.
    pub(crate) fn over(link: Link, rank: usize, size: usize, config: Arc<Config>) -> Self {
        let patience = Patience::new(config.wait(), size, link.segment());
        let engine = Engine::new(rank, size, limits(&config), link.capabilities(rank));
        let progress = Progress::new(link, engine, patience, rank);
        Self {
            communicator: Communicator::world(progress, size),
            config,
        }
    }

    /// The settings of this rank, and where each came from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl Deref for World {
    type Target = Communicator;

    #[inline]
    fn deref(&self) -> &Communicator {
        &self.communicator
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let progress = self.communicator.progress();
        if std::thread::panicking() {
            progress.enter(|core| core.link.leave(true));
            return;
        }
        progress.enter(|core| core.link.stop_receiving());
        // Ends when every peer that something is still due to has taken it or stopped receiving itself.
        let forever = Limit {
            timeout: None,
            what: &|| "what was sent to be taken".to_owned(),
        };
        // An error is a damaged ring: whoever is at its other end cannot be told anything any more.
        let _ = progress.wait_until(forever, |engine| engine.has_sent_all());
        progress.enter(|core| core.link.leave(false));
    }
}

pub(crate) fn limits(config: &Config) -> Limits {
    let protocol = config.protocol();
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Limits {
        eager: bytes(protocol.eager_limit),
        pull: bytes(protocol.pull_limit),
        unexpected: protocol.unexpected_limit,
        check_types: config.checks().types,
    }
}

fn pool_settings(config: &Config) -> PoolSettings {
    let ProtocolSettings { chunk_size, .. } = *config.protocol();
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    PoolSettings::new(
        bytes(chunk_size),
        bytes(config.protocol().chunk_window),
        config.memory().pool_limit.map(bytes),
    )
}

#[cfg(test)]
mod tests;
