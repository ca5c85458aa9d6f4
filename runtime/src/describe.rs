//! What messages do under a configuration, told without sending one: for `phalanx info` and for programs that tune themselves.

use std::ops::RangeInclusive;

use phalanx_transport::{Shm, Transport};

use crate::communicator::Communicator;
use crate::config::Config;
use crate::engine::select;
use crate::error::Result;
use crate::world::limits;

pub use crate::engine::{Memory, Protocol};

/// Message sizes that go the same ways.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Band {
    /// Bytes of the messages; the last band ends at `u64::MAX`.
    pub bytes: RangeInclusive<u64>,
    /// The way from memory that only the sender can read.
    pub private: Protocol,
    /// The way from memory that the receiver can read too.
    pub shared: Protocol,
    /// The way of a loan or an archive.
    pub lent: Protocol,
}

/// The ways of messages between ranks that share memory, from the smallest to the largest, with the settings of `config`. The bands
/// cover every size, each once, and differ from their neighbours. `synchronous` asks for those of
/// [`ssend`](crate::Communicator::ssend), and of a sender whose credit is used up.
///
/// # Examples
/// ```
/// use phalanx_runtime::config::Config;
/// use phalanx_runtime::describe::{Protocol, bands};
///
/// let bands = bands(&Config::default(), false);
/// assert_eq!(bands[0].private, Protocol::Inline);
/// assert_eq!(*bands[0].bytes.start(), 0);
/// ```
#[must_use]
pub fn bands(config: &Config, synchronous: bool) -> Vec<Band> {
    let (limits, capabilities) = (limits(config), Shm::CAPABILITIES);
    let mut starts = [
        0,
        capabilities.inline.saturating_add(1),
        limits.eager.saturating_add(1),
        limits.pull,
    ];
    starts.sort_unstable();
    let mut bands: Vec<Band> = Vec::new();
    for start in starts {
        let way = |memory| select(start, memory, synchronous, &capabilities, &limits);
        let band = Band {
            bytes: start as u64..=u64::MAX,
            private: way(Memory::Private),
            shared: way(Memory::Shared),
            lent: way(Memory::Lent),
        };
        match bands.last_mut() {
            Some(last) if last.goes_as(&band) => {}
            Some(last) if *last.bytes.start() == start as u64 => *last = band,
            Some(last) => {
                last.bytes = *last.bytes.start()..=start as u64 - 1;
                bands.push(band);
            }
            None => bands.push(band),
        }
    }
    bands
}

impl Communicator {
    /// What carries messages between this rank and `rank`: `shm`, `quic` or `inproc`, and `self` for those to this rank itself. Does not
    /// block, and says nothing of whether `rank` is there.
    ///
    /// # Errors
    /// When there is no such rank.
    ///
    /// # Examples
    /// ```
    /// phalanx_runtime::testing::run(2, |world| {
    ///     assert_eq!(world.link_to(1 - world.rank())?, "shm");
    ///     assert_eq!(world.link_to(world.rank())?, "self");
    ///     Ok(())
    /// });
    /// ```
    pub fn link_to(&self, rank: usize) -> Result<&'static str> {
        let peer = self.world_rank(rank)?;
        if peer == self.progress().rank() {
            return Ok("self");
        }
        let name = |link: &phalanx_transport::Link| link.capabilities(peer).name;
        Ok(self.progress().enter(|core| name(&core.link)))
    }
}

impl Band {
    fn goes_as(&self, other: &Self) -> bool {
        (self.private, self.shared, self.lent) == (other.private, other.shared, other.lent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bands_say_what_the_engine_does(
            eager in 48_u64..1 << 20, pull in 48_u64..1 << 22, len in 0_usize..1 << 23, synchronous: bool,
        ) {
            let (eager, pull) = (eager.to_string(), pull.to_string());
            let flags = [("protocol.eager_limit", &*eager), ("protocol.pull_limit", &*pull)];
            let config = Config::resolve(None, [], &flags).unwrap();
            let bands = bands(&config, synchronous);
            let way = |memory| select(len, memory, synchronous, &Shm::CAPABILITIES, &limits(&config));
            let holding: Vec<_> = bands.iter().filter(|band| band.bytes.contains(&(len as u64))).collect();
            prop_assert_eq!(holding.len(), 1);
            prop_assert_eq!(holding[0].private, way(Memory::Private));
            prop_assert_eq!(holding[0].shared, way(Memory::Shared));
            prop_assert_eq!(holding[0].lent, way(Memory::Lent));
            prop_assert!(bands.windows(2).all(|pair| !pair[0].goes_as(&pair[1])));
            prop_assert!(bands.windows(2).all(|pair| pair[0].bytes.end() + 1 == *pair[1].bytes.start()));
        }
    }
}
