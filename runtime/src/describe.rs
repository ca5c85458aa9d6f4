//! What messages do under a configuration, told without sending one: for `phalanx info` and for programs that tune themselves.

use std::ops::RangeInclusive;

use phalanx_transport::{Capabilities, Inproc, Quic, Shm, Transport};

use crate::communicator::Communicator;
use crate::config::{Config, SameHost};
use crate::engine::select;
use crate::error::Result;
use crate::world::limits;

pub use crate::engine::{Memory, Protocol};

/// Where two ranks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Distance {
    /// They are the same.
    SameRank,
    /// On one host.
    SameHost,
    /// On different hosts.
    OtherHost,
}

/// What carries the messages between two ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// No link: a rank copies what it sends to itself once, whatever the size.
    Itself,
    /// The shared memory segment of their host.
    Shm,
    /// Queues between threads of one process.
    Inproc,
    /// The network.
    Quic,
}

impl Carrier {
    /// What joins ranks at this `distance` under `config`.
    ///
    /// # Examples
    /// ```
    /// use phalanx_runtime::config::Config;
    /// use phalanx_runtime::describe::{Carrier, Distance};
    ///
    /// let config = Config::default();
    /// assert_eq!(Carrier::between(&config, Distance::SameHost), Carrier::Shm);
    /// assert_eq!(Carrier::between(&config, Distance::OtherHost), Carrier::Quic);
    /// ```
    #[must_use]
    pub const fn between(config: &Config, distance: Distance) -> Self {
        match (distance, config.transport().same_host) {
            (Distance::SameRank, _) => Self::Itself,
            // Both values of `transport.other_hosts` mean the one link that there is.
            (Distance::OtherHost, _) | (Distance::SameHost, SameHost::Quic) => Self::Quic,
            (Distance::SameHost, SameHost::Inproc) => Self::Inproc,
            (Distance::SameHost, SameHost::Auto | SameHost::Shm) => Self::Shm,
        }
    }

    /// Its name for people: `shm`, `inproc`, `quic`, `itself`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.capabilities() {
            Some(capabilities) => capabilities.name,
            None => "itself",
        }
    }

    /// What its link can do, if it has one.
    const fn capabilities(self) -> Option<Capabilities> {
        match self {
            Self::Itself => None,
            Self::Shm => Some(Shm::CAPABILITIES),
            Self::Inproc => Some(Inproc::CAPABILITIES),
            Self::Quic => Some(Quic::CAPABILITIES),
        }
    }

    /// Most bytes that travel with a header for free; `None` where there is no link.
    #[must_use]
    pub fn inline_bytes(self) -> Option<u64> {
        self.capabilities()
            .map(|capabilities| capabilities.inline as u64)
    }
}

impl Distance {
    /// The key of the setting that decides what joins ranks at this distance, if one does.
    #[must_use]
    pub const fn setting(self) -> Option<&'static str> {
        match self {
            Self::SameRank => None,
            Self::SameHost => Some("transport.same_host"),
            Self::OtherHost => Some("transport.other_hosts"),
        }
    }
}

/// Message sizes that go the same ways.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Band {
    /// Bytes of the messages; the last band ends at `u64::MAX`.
    pub bytes: RangeInclusive<u64>,
    /// The way from memory that only the sender can read.
    pub private: Protocol,
    /// The way from memory that the receiver can read too, if `carrier` lets it.
    pub shared: Protocol,
    /// The way of a loan or an archive.
    pub lent: Protocol,
}

/// The ways of messages that `carrier` carries, from the smallest to the largest, with the settings of `config`. The bands cover every
/// size, each once, and differ from their neighbours; there are none where a rank sends to itself. `synchronous` asks for those of
/// [`ssend`](crate::Communicator::ssend), and of a sender whose credit is used up.
///
/// # Examples
/// ```
/// use phalanx_runtime::config::Config;
/// use phalanx_runtime::describe::{Carrier, Protocol, bands};
///
/// let config = Config::default();
/// let shm = bands(&config, Carrier::Shm, false);
/// assert_eq!((*shm[0].bytes.start(), shm[0].private), (0, Protocol::Inline));
/// assert_eq!(shm[0].lent, Protocol::Handover);
///
/// // Nothing is handed over between hosts.
/// let quic = bands(&config, Carrier::Quic, false);
/// assert!(quic.iter().all(|band| band.lent == band.private));
/// ```
#[must_use]
pub fn bands(config: &Config, carrier: Carrier, synchronous: bool) -> Vec<Band> {
    let Some(capabilities) = carrier.capabilities() else {
        return Vec::new();
    };
    let limits = limits(config);
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
    /// What carries messages between this rank and `rank`. Does not block, and says nothing of whether `rank` is there.
    ///
    /// # Errors
    /// When there is no such rank.
    ///
    /// # Examples
    /// ```
    /// use phalanx_runtime::describe::Carrier;
    ///
    /// phalanx_runtime::testing::run(2, |world| {
    ///     assert_eq!(world.carrier_to(1 - world.rank())?, Carrier::Shm);
    ///     assert_eq!(world.carrier_to(world.rank())?, Carrier::Itself);
    ///     Ok(())
    /// });
    /// ```
    pub fn carrier_to(&self, rank: usize) -> Result<Carrier> {
        let peer = self.world_rank(rank)?;
        if peer == self.progress().rank() {
            return Ok(Carrier::Itself);
        }
        let name = self
            .progress()
            .enter(|core| core.link.capabilities(peer).name);
        let mut carriers = [Carrier::Shm, Carrier::Inproc, Carrier::Quic].into_iter();
        let carrier = carriers.find(|carrier| carrier.name() == name);
        Ok(carrier.expect("there are no other links"))
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

    fn carrier() -> impl Strategy<Value = Carrier> {
        prop_oneof![
            Just(Carrier::Shm),
            Just(Carrier::Inproc),
            Just(Carrier::Quic)
        ]
    }

    fn joined(same_host: &str, distance: Distance) -> Carrier {
        let config = Config::resolve(None, [], &[("transport.same_host", same_host)]).unwrap();
        Carrier::between(&config, distance)
    }

    #[test]
    fn the_setting_of_a_host_says_nothing_of_other_hosts() {
        for (same_host, expected) in [
            ("auto", Carrier::Shm),
            ("shm", Carrier::Shm),
            ("quic", Carrier::Quic),
            ("inproc", Carrier::Inproc),
        ] {
            assert_eq!(joined(same_host, Distance::SameHost), expected);
            assert_eq!(joined(same_host, Distance::OtherHost), Carrier::Quic);
            assert_eq!(joined(same_host, Distance::SameRank), Carrier::Itself);
        }
    }

    #[test]
    fn every_deciding_setting_is_one() {
        let config = Config::default();
        for distance in [Distance::SameHost, Distance::OtherHost] {
            assert!(config.origin(distance.setting().unwrap()).is_some());
        }
        assert_eq!(Distance::SameRank.setting(), None);
    }

    #[test]
    fn a_rank_alone_has_no_bands() {
        assert_eq!(bands(&Config::default(), Carrier::Itself, false), []);
        assert_eq!(Carrier::Itself.name(), "itself");
    }

    proptest! {
        #[test]
        fn bands_say_what_the_engine_does(
            eager in 48_u64..1 << 20, pull in 48_u64..1 << 22, len in 0_usize..1 << 23, synchronous: bool, carrier in carrier(),
        ) {
            let (eager, pull) = (eager.to_string(), pull.to_string());
            let flags = [("protocol.eager_limit", &*eager), ("protocol.pull_limit", &*pull)];
            let config = Config::resolve(None, [], &flags).unwrap();
            let bands = bands(&config, carrier, synchronous);
            let capabilities = carrier.capabilities().unwrap();
            let way = |memory| select(len, memory, synchronous, &capabilities, &limits(&config));
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
