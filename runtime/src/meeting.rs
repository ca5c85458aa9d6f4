//! Where the ranks of a job meet that do not all share memory: at the agent of their host, or at a rendezvous, which rank 0 keeps.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use phalanx_shm::handoff;
use phalanx_wireup::exchange::{Agent, Shape};
use phalanx_wireup::{Channel, Client, Hub, HubEvent, Place, Token, WireupSource, rendezvous};

use crate::error::JoinError;
use crate::notice::notice;

/// Where a rank meets the others.
pub(crate) struct Meeting {
    pub(crate) client: Client,
    /// The public number of the job.
    pub(crate) job: [u8; 16],
    /// An address of this host by which others come here.
    pub(crate) reached: Option<IpAddr>,
    /// The thread that keeps the rendezvous, if this rank does.
    pub(crate) rendezvous: Option<JoinHandle<()>>,
}

impl Meeting {
    pub(crate) fn attend(place: &Place, source: &WireupSource) -> Result<Self, JoinError> {
        let [rank, size] = [place.rank, place.size].map(|number| {
            u32::try_from(number)
                .expect("no job has 2^32 ranks, nor a process that many places for them")
        });
        match source {
            WireupSource::Inherited(number) => {
                let stream = UnixStream::from(
                    handoff::take(*number)
                        .map_err(JoinError::system("take over the stream of its launcher"))?,
                );
                let channel = Channel::plain(stream)
                    .map_err(JoinError::system("use the stream of its launcher"))?;
                Ok(Self {
                    client: Client::join(channel, rank, size, JOINING)?,
                    job: place.job.unwrap_or_default(),
                    reached: place.reached,
                    rendezvous: None,
                })
            }
            WireupSource::Rendezvous {
                address,
                token_file,
            } => {
                let token = Token::read(token_file)?;
                let rendezvous = match rank {
                    0 => keep_rendezvous(address, &token, size)?,
                    _ => None,
                };
                Ok(Self {
                    client: rendezvous::connect(address, &token, rank, size, JOINING)?,
                    job: place.job.unwrap_or_else(|| token.job()),
                    reached: place.reached.or_else(|| way_to(address)),
                    rendezvous,
                })
            }
            _ => Err(JoinError::NoWireup { size: place.size }),
        }
    }
}

/// Keeps the rendezvous at `address`, if that is an address of this host which nobody else listens at.
fn keep_rendezvous(
    address: &str,
    token: &Token,
    size: u32,
) -> Result<Option<JoinHandle<()>>, JoinError> {
    let failed = |source| JoinError::Rendezvous {
        address: address.to_owned(),
        source,
    };
    // A name that nobody knows yet is for the attempts to connect to wait for.
    for address in address.to_socket_addrs().into_iter().flatten() {
        let listener = match TcpListener::bind(address) {
            Ok(listener) => listener,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse
                ) =>
            {
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        let shape = Shape::new(size).with_ranks(0..size);
        let root = Agent::root(shape).expect("the root has all ranks as children");
        let mut hub = Hub::new(root);
        hub.open_door(listener, token.clone()).map_err(failed)?;
        let keeper = thread::Builder::new().name("phalanx-rendezvous".to_owned());
        let keeper = keeper.spawn(move || keep(hub)).map_err(failed)?;
        return Ok(Some(keeper));
    }
    Ok(None)
}

/// Serves until all ranks have left or are lost.
fn keep(mut hub: Hub) {
    while !hub.is_finished() {
        if hub.turn(Duration::MAX).is_err() {
            // Ranks see their connections end, which says as much as could be said here.
            return;
        }
        while let Some(event) = hub.poll_event() {
            if let HubEvent::Refused { from, cause } = event {
                notice(&format!(
                    "{from} was turned away at the rendezvous: {cause}"
                ));
            }
        }
    }
}

/// The address of this host from which the rendezvous is reached. Nothing is sent for that: the system looks into its table of routes.
fn way_to(address: &str) -> Option<IpAddr> {
    address.to_socket_addrs().ok()?.find_map(|address| {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(address).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

/// How long ranks wait for each other when they join: as long as a cluster may take to start the last of them.
pub(crate) const JOINING: Duration = Duration::from_secs(300);
