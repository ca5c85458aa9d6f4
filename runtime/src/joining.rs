//! From a place in the job to a link: which memory this rank shares with whom, and how it is reached from elsewhere.
//!
//! ```text
//!   place -- segment alone ------------------------------> Shm
//!        \-- wire-up --> Client: put the card, fence, get
//!                          |  nobody else maps the segment --> Quic
//!                          \--- some do ---------------------> Hosts: Shm for those, Quic for all others
//! ```
//! Who shares memory is known from what was done, not from names: the launcher gave the ranks of a host one descriptor, or they came
//! to the same named segment and are seen in it.

use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use phalanx_shm::{PoolSettings, Port, RankState, Segment, SegmentError, Shape, handoff};
use phalanx_transport::quic::{Identity, JobId, Quic};
use phalanx_transport::{Hosts, Link, LinkError, Shm};
use phalanx_wireup::exchange::{Host, Scope};
use phalanx_wireup::{Client, Place, SegmentSource, WireupSource};

use crate::config::{Config, ProtocolSettings, SameHost};
use crate::directory::{WireupDirectory, to_wireup};
use crate::error::JoinError;
use crate::meeting::{JOINING, Meeting};
use crate::network;

/// A rank's way to all others.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) link: Link,
    /// Ranks that share the cores of this host, as far as it is known.
    pub(crate) neighbours: usize,
    /// Where these ranks tell each other which cores they run on.
    pub(crate) cores: Option<Arc<Segment>>,
}

impl Joined {
    /// A job whose ranks all share one segment.
    pub(crate) fn over_segment(port: Port) -> Self {
        let segment = Arc::clone(port.segment());
        Self {
            link: Link::Shm(Shm::new(port)),
            neighbours: segment.ranks(),
            cores: Some(segment),
        }
    }
}

/// Joins the job as `place` and `config` say. Where ranks meet over the wire-up this waits for them, for at most [`JOINING`].
pub(crate) fn join(place: &Place, config: &Config) -> Result<Joined, JoinError> {
    let Place { rank, size, .. } = *place;
    let same_host = config.transport().same_host;
    match &place.wireup {
        Some(source) if size > 1 => over_hosts(place, source, config),
        _ if same_host == SameHost::Quic && size > 1 => Err(JoinError::NoWireup { size }),
        _ => {
            let port = attach(segment_of(place, config)?, rank, config)?;
            Ok(Joined::over_segment(port))
        }
    }
}

/// Attaches `rank` to its segment.
pub(crate) fn attach(
    segment: Arc<Segment>,
    rank: usize,
    config: &Config,
) -> Result<Port, JoinError> {
    Ok(Port::attach(segment, rank, pool_settings(config)).map_err(LinkError::from)?)
}

fn over_hosts(place: &Place, source: &WireupSource, config: &Config) -> Result<Joined, JoinError> {
    let Place { rank, size, .. } = *place;
    let Meeting {
        mut client,
        job,
        reached,
        rendezvous,
    } = Meeting::attend(place, source)?;
    let identity = Identity::generate(rank, JobId::from_bytes(job))?;
    let (socket, addresses) = network::bind(&identity, reached, config.network())?;
    let host = Host::read().map_err(JoinError::system("read the identity of this host"))?;
    client.put(to_wireup(&identity.card(addresses), host))?;
    let is_handed = matches!(place.segment, Some(SegmentSource::Inherited(_)));
    let is_apart = config.transport().same_host == SameHost::Quic;
    // A segment that is there anyway tells the ranks how many cores they have, even if no message goes through it.
    let segment = match is_apart && !is_handed {
        true => None,
        false => Some(meeting_place(place, &mut client, config)?),
    };
    let shared = segment.clone().filter(|_| !is_apart);
    let port = shared
        .map(|segment| attach(segment, rank, config))
        .transpose()?;
    let here: Vec<bool> = match &segment {
        // The launcher gave its descriptor to all ranks of this host.
        Some(_) if is_handed => {
            let host = client.host_ranks();
            (0_u32..)
                .take(size)
                .map(|rank| host.contains(rank))
                .collect()
        }
        // Who is seen in the segment after all have come to it shares it, and nobody else ever will.
        Some(segment) => {
            client.fence(Scope::Job, JOINING)?;
            segment.unlink();
            let is_here = |rank| segment.state_of(rank) != RankState::Vacant;
            (0..size).map(is_here).collect()
        }
        None => vec![false; size],
    };
    let directory = WireupDirectory::new(client, JobId::from_bytes(job), rendezvous);
    let quic = Quic::join(socket, size, Box::new(directory))?;
    let neighbours = here.iter().filter(|&&is_here| is_here).count().max(1);
    let link = match port {
        Some(port) if neighbours > 1 => Link::Hosts(Hosts::new(Shm::new(port), quic, here)),
        _ => Link::Quic(quic),
    };
    Ok(Joined {
        link,
        neighbours,
        cores: segment,
    })
}

/// The segment of a job whose ranks are all on this host.
fn segment_of(place: &Place, config: &Config) -> Result<Arc<Segment>, JoinError> {
    let shape = shape(place.size, config);
    let segment = match &place.segment {
        Some(SegmentSource::Inherited(number)) => return inherited_segment(*number),
        Some(SegmentSource::Named(name)) => Segment::join_named(name, &shape),
        _ => Segment::create(&shape),
    };
    Ok(Arc::new(segment.map_err(LinkError::from)?))
}

/// The segment of this host's ranks of a job that may have others elsewhere. Ranks that nobody of ours started meet in one whose name
/// follows from the certificate of rank 0, which no job before had, and from the namespaces of network and processes: what is apart by
/// intent is not joined behind its back.
fn meeting_place(
    place: &Place,
    client: &mut Client,
    config: &Config,
) -> Result<Arc<Segment>, JoinError> {
    let name = match &place.segment {
        Some(SegmentSource::Inherited(number)) => return inherited_segment(*number),
        Some(SegmentSource::Named(name)) => name.clone(),
        _ => {
            let [network, processes] = ["net", "pid"].map(|kind| {
                let path = format!("/proc/self/ns/{kind}");
                std::fs::metadata(&path).map(|space| space.ino())
            });
            let failed = JoinError::system("read its namespaces");
            let (network, processes) = match (network, processes) {
                (Ok(network), Ok(processes)) => (network, processes),
                (Err(error), _) | (_, Err(error)) => return Err(failed(error)),
            };
            let first = client.get(0, JOINING)?.fingerprint;
            let [run, ..] = first.0.as_chunks::<8>().0 else {
                unreachable!("a fingerprint has 32 bytes");
            };
            let run = u64::from_be_bytes(*run);
            format!("/phalanx-{run:016x}-{network}-{processes}")
        }
    };
    let segment = Segment::join_named(&name, &shape(place.size, config));
    Ok(Arc::new(segment.map_err(LinkError::from)?))
}

fn inherited_segment(number: RawFd) -> Result<Arc<Segment>, JoinError> {
    let descriptor = handoff::take(number).map_err(SegmentError::Attach);
    let segment = descriptor.and_then(Segment::attach);
    Ok(Arc::new(segment.map_err(LinkError::from)?))
}

fn shape(ranks: usize, config: &Config) -> Shape {
    let roomy = Shape::roomy(ranks);
    Shape {
        arena_bytes: config.memory().arena.unwrap_or(roomy.arena_bytes),
        ..roomy
    }
}

fn pool_settings(config: &Config) -> PoolSettings {
    let ProtocolSettings {
        chunk_size,
        chunk_window,
        ..
    } = *config.protocol();
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    PoolSettings::new(
        bytes(chunk_size),
        bytes(chunk_window),
        config.memory().pool_limit.map(bytes),
    )
}
