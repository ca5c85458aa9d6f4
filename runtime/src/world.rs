//! Joining a job and leaving it: the one place where all layers are put together.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use phalanx_shm::Segment;
use phalanx_wireup::Place;

use crate::communicator::Communicator;
use crate::config::{Config, SameHost};
use crate::engine::{Engine, Limits};
use crate::error::{Error, Result};
use crate::joining::{self, Joined};
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
    let (rank, size) = (place.rank, place.size);
    if config.transport().same_host == SameHost::Inproc && size > 1 {
        return Err(Error::InprocBetweenProcesses { size });
    }
    let joined = joining::join(&place, &config)?;
    Ok(World::over(joined, (rank, size), Arc::new(config)))
}

impl World {
    /// Joins as `rank` of all ranks that share `segment`.
    pub(crate) fn over_segment(
        segment: Arc<Segment>,
        rank: usize,
        config: Arc<Config>,
    ) -> Result<Self> {
        let size = segment.ranks();
        let port = joining::attach(segment, rank, &config)?;
        Ok(Self::over(Joined::over_segment(port), (rank, size), config))
    }

    /// Joins as `rank` of `size` over any link.
    pub(crate) fn over(joined: Joined, (rank, size): (usize, usize), config: Arc<Config>) -> Self {
        let Joined {
            link,
            neighbours,
            cores,
        } = joined;
        let patience = Patience::new(config.wait(), neighbours, cores.as_ref());
        let engine = Engine::new(rank, size, limits(&config));
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

#[cfg(test)]
mod tests;
