//! Ranks that nobody of ours started meet at an address: `PHALANX_RENDEZVOUS=host:port`, with a token in the file
//! `PHALANX_TOKEN_FILE`.
//!
//! Whoever owns the address runs a [`Hub`](crate::Hub) with its door open; all ranks [`connect`]. The channel is sealed with
//! the token ([`Channel`]), so that only ranks of the job get in and nobody can read or change what they say.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::channel::{Channel, ChannelError, Token};
use crate::client::{Client, ClientError};

/// Connects to the rendezvous at `address` (`host:port`) and joins as rank `rank` of `size`.
///
/// Blocks until it is let in, for at most `limit`. The rendezvous may start later, and its name may not be known yet: both are
/// tried again.
///
/// # Errors
/// [`ConnectError`] when nobody answers within `limit`, or who does knows another token or another job.
///
/// # Panics
/// If `rank` is not below `size`.
///
/// # Examples
/// ```
/// use std::net::TcpListener;
/// use std::thread;
/// use std::time::Duration;
/// use phalanx_wireup::exchange::{Agent, Shape};
/// use phalanx_wireup::{Hub, Token, rendezvous};
///
/// const LIMIT: Duration = Duration::from_secs(60);
/// # let folder = tempfile::tempdir()?;
/// let token = Token::create(&folder.path().join("token"))?;
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?.to_string();
///
/// let mut hub = Hub::new(Agent::root(Shape::new(1).with_ranks(0..1))?);
/// hub.open_door(listener, token.clone())?;
/// let server = thread::spawn(move || hub.serve(LIMIT));
///
/// let client = rendezvous::connect(&address, &token, 0, 1, LIMIT)?;
/// client.leave(LIMIT)?;
/// server.join().expect("no panic")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn connect(
    address: &str,
    token: &Token,
    rank: u32,
    size: u32,
    limit: Duration,
) -> Result<Client, ConnectError> {
    let deadline = Instant::now().checked_add(limit);
    let left = || {
        deadline.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        })
    };
    let mut pause = FIRST_PAUSE;
    let stream = loop {
        let source = match reach(address, left().min(ATTEMPT)) {
            Ok(stream) => break stream,
            Err(source) => source,
        };
        if left() <= pause {
            return Err(ConnectError::Unreachable {
                rank,
                address: address.to_owned(),
                limit,
                source,
            });
        }
        // A thousand ranks shall not knock all at once, as often as they can.
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    let refused = |source| ConnectError::Refused {
        rank,
        address: address.to_owned(),
        source,
    };
    let channel = prepare(&stream)
        .map_err(ChannelError::from)
        .and_then(|()| Channel::calling(stream, token))
        .map_err(|source| ConnectError::Channel {
            rank,
            address: address.to_owned(),
            source,
        })?;
    Client::join(channel, rank, size, left()).map_err(refused)
}

/// Why a rank did not get into its job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answers.
    #[error(
        "rank {rank} could not reach the rendezvous {address} within {limit:?} ({source}): is it started, is \
         PHALANX_RENDEZVOUS right, and does no firewall stand in between?"
    )]
    Unreachable {
        /// This rank.
        rank: u32,
        /// The address.
        address: String,
        /// How long it was tried.
        limit: Duration,
        /// What the last attempt met.
        source: io::Error,
    },
    /// The connection cannot be used.
    #[error("rank {rank} cannot use its connection to the rendezvous {address}: {source}")]
    Channel {
        /// This rank.
        rank: u32,
        /// The address.
        address: String,
        /// Why.
        source: ChannelError,
    },
    /// It was not let in.
    #[error("rank {rank} was not let in at the rendezvous {address}: {source}")]
    Refused {
        /// This rank.
        rank: u32,
        /// The address.
        address: String,
        /// Why.
        source: ClientError,
    },
}

/// Sends small frames at once, and notices within [`SILENCE`] that the other host is gone, be it without a word.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_ALIVE)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_ALIVE)?;
    // While something waits to be acknowledged the system asks nothing, and repeats itself for a quarter of an hour.
    setsockopt(stream, sockopt::TcpUserTimeout, &SILENCE)?;
    Ok(())
}

/// Tries the addresses of a name one after the other.
fn reach(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        // The system takes no time-out of zero.
        match TcpStream::connect_timeout(&address, limit.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A host that does not even refuse within this time is tried again.
const ATTEMPT: Duration = Duration::from_secs(3);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Seconds of silence before the system asks whether the other side is still there, and between two such questions.
const KEEP_ALIVE: u32 = 5;

/// Milliseconds after which a host that answers nothing counts as gone. The rank that keeps the rendezvous cannot end before.
const SILENCE: u32 = 20_000;
