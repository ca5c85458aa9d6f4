//! What can go wrong, each said in one line: who, what, where, and the cure.

use std::fmt;
use std::io;
use std::time::Duration;

use phalanx_transport::quic::QuicError;
use phalanx_transport::{Death, LinkError};
use phalanx_wireup::interfaces::NoAddress;
use phalanx_wireup::rendezvous::ConnectError;
use phalanx_wireup::{ClientError, PlaceError, TokenError};

use crate::config::ConfigError;
use crate::message::{EncodeError, InvalidMessage};

/// The result of most operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. Ranks are numbered as in the world.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The time given to a blocking call is over. Nothing was lost: a message that arrives later waits for another receive.
    #[error("{0}")]
    Timeout(Box<Timeout>),
    /// The peer's process ended without leaving the job.
    #[error("rank {rank} died ({}) before {doing}", describe(*.how))]
    PeerDied {
        /// Who died.
        rank: usize,
        /// How its process ended.
        how: Death,
        /// What this rank wanted of it.
        doing: &'static str,
    },
    /// The peer cannot be reached through the network, or has not been heard of for long. It may be alive.
    #[error("rank {rank} became unreachable before {doing}: {trouble}")]
    PeerUnreachable {
        /// Who cannot be reached.
        rank: usize,
        /// What this rank wanted of it.
        doing: &'static str,
        /// Where it was to be, and how it is known.
        trouble: Box<str>,
    },
    /// The peer left the job in good order, and what is waited for was not among what it sent.
    #[error(
        "rank {rank} left the job before {doing}: let both sides agree on how many messages there are"
    )]
    PeerLeft {
        /// Who left.
        rank: usize,
        /// What this rank wanted of it.
        doing: &'static str,
    },
    /// The message is of another type than the receive. It waits for a receive of the right type.
    #[error("{0}")]
    TypeMismatch(Box<TypeMismatch>),
    /// The message is longer than the buffer. It waits for a receive with a larger one.
    #[error("{0}")]
    Truncated(Box<Truncated>),
    /// The bytes of the message are not a value of its type.
    #[error("message from rank {from} with tag {tag}: {reason}")]
    InvalidMessage {
        /// The sender.
        from: usize,
        /// Its tag.
        tag: i32,
        /// What is wrong.
        reason: InvalidMessage,
    },
    /// The value cannot be archived.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The sender took back a message that was on its way: its time ran out, or its scope ended in an error.
    #[error("rank {rank} took its message with tag {tag} back while it was on its way")]
    Withdrawn {
        /// The sender.
        rank: usize,
        /// The message's tag.
        tag: i32,
    },
    /// A peer sent parts of a message that do not fit together.
    #[error(
        "rank {rank} sent parts of a message that do not fit together: its memory is damaged, or it is of another version"
    )]
    Damaged {
        /// The sender.
        rank: usize,
    },
    /// There is no memory for a message.
    #[error(
        "no memory for the {sent} bytes that rank {from} sent with tag {tag}: receive into a buffer of your own, or in parts"
    )]
    TooLarge {
        /// The sender.
        from: usize,
        /// The message's tag.
        tag: i32,
        /// Bytes of the message.
        sent: u64,
    },
    /// The operation was cancelled by this rank.
    #[error("the operation was cancelled")]
    Cancelled,
    /// There is no such rank.
    #[error("there is no rank {rank} among {size}: ranks are numbered from 0")]
    NoSuchRank {
        /// The rank named.
        rank: usize,
        /// Ranks of the communicator.
        size: usize,
    },
    /// Tags are not negative.
    #[error("tag {0} is negative: tags of messages are 0 to 2147483647")]
    InvalidTag(i32),
    /// Memory, the shared segment or a peer's memory is not as it should be.
    #[error(transparent)]
    Link(Box<LinkError>),
    /// This process cannot find its place in the job.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The configuration has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration asks for queues inside one process, and the ranks are processes.
    #[error(
        "transport.same_host = inproc joins threads, but the {size} ranks of this job are processes: set it to auto or shm"
    )]
    InprocBetweenProcesses {
        /// Ranks of the job.
        size: usize,
    },
    /// This process could not join its job.
    #[error(transparent)]
    Join(Box<JoinError>),
    /// The world was asked for twice.
    #[error(
        "this process has joined its job already: pass the world, or a clone of its communicator, to where it is needed"
    )]
    AlreadyJoined,
}

impl From<LinkError> for Error {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Unreachable { peer, trouble } => Self::PeerUnreachable {
                rank: peer,
                doing: "it took a message",
                trouble: trouble.into(),
            },
            error => Self::Link(Box::new(error)),
        }
    }
}

/// Why a process could not join its job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The segment cannot be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The network cannot be used.
    #[error(transparent)]
    Network(#[from] QuicError),
    /// This host has no address to offer.
    #[error(transparent)]
    Address(#[from] NoAddress),
    /// The token of the job cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The rendezvous was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The ranks did not come together.
    #[error(transparent)]
    Meeting(#[from] ClientError),
    /// The rendezvous cannot be kept.
    #[error(
        "rank 0 cannot keep the rendezvous at {address}: {source}; name an address of its host in PHALANX_RENDEZVOUS, and a port above 1023 that is free"
    )]
    Rendezvous {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The ranks have no way to learn of each other.
    #[error(
        "the {size} ranks are to talk over QUIC but were told of no place to meet: start them by `phalanx run`, or set PHALANX_RENDEZVOUS and PHALANX_TOKEN_FILE"
    )]
    NoWireup {
        /// Ranks of the job.
        size: usize,
    },
    /// The system refuses something.
    #[error("this rank could not {what}: {source}")]
    System {
        /// What it was to do.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl JoinError {
    /// Makes an error of what the system said when this rank was to do `what`.
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Link(error) => error.into(),
            error => Self::Join(Box::new(error)),
        }
    }
}

/// An owned send that did not begin, with what was to be sent.
#[derive(thiserror::Error)]
#[error("{error}")]
pub struct SendError<B> {
    /// The value, unsent.
    pub value: B,
    /// Why.
    pub error: Error,
}

impl<B> fmt::Debug for SendError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<B> From<SendError<B>> for Error {
    fn from(failed: SendError<B>) -> Self {
        failed.error
    }
}

/// What was waited for, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeout {
    /// The rank that waited.
    pub rank: usize,
    /// What it waited for.
    pub what: String,
    /// For how long.
    pub waited: Duration,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rank {} waited {:?} in vain for {}",
            self.rank, self.waited, self.what
        )
    }
}

/// Both types of a message that met a receive of another type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeMismatch {
    /// The sender.
    pub from: usize,
    /// The message's tag.
    pub tag: i32,
    /// The type that was sent.
    pub sent: String,
    /// The type that the receive asked for.
    pub expected: String,
}

impl fmt::Display for TypeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            tag,
            sent,
            expected,
        } = self;
        write!(
            f,
            "rank {from} sent `{sent}` with tag {tag}, but `{expected}` was to be received: "
        )?;
        if sent == expected {
            write!(
                f,
                "their fields differ, so build all ranks from one definition of the type"
            )
        } else {
            write!(
                f,
                "receive `{sent}`, or give the two kinds of message different tags"
            )
        }
    }
}

/// Both sizes of a message that did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Truncated {
    /// The sender.
    pub from: usize,
    /// The message's tag.
    pub tag: i32,
    /// Bytes of the message.
    pub sent: u64,
    /// Bytes of the buffer.
    pub capacity: usize,
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            tag,
            sent,
            capacity,
        } = self;
        write!(
            f,
            "rank {from} sent {sent} bytes with tag {tag}, but the buffer holds {capacity}: probe for the size first, or receive without a buffer"
        )
    }
}

fn describe(how: Death) -> String {
    match how {
        Death::Exit(code) => format!("exit code {code}"),
        Death::Signal(signal) => nix::sys::signal::Signal::try_from(i32::from(signal)).map_or_else(
            |_| format!("signal {signal}"),
            |name| format!("signal {signal}, {name}"),
        ),
        _ => "nobody saw how".to_owned(),
    }
}
