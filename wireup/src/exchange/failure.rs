//! What can go wrong: somebody is lost, somebody gave up, somebody sent what nobody sends, or the caller erred.

use serde::{Deserialize, Serialize};

use super::{Build, CardError, MAX_FRAME, MAX_TEXT, RankSet, Scope, VERSION, Who};

/// Somebody whose connection ended without a farewell.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::{Loss, Who};
///
/// let loss = Loss::new(Who::Agent(3), [4, 5].into_iter().collect(), "its connection was closed");
/// assert_eq!(loss.to_string(), "agent 3 with ranks 4-5 was lost: its connection was closed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Loss {
    /// Who was lost.
    pub who: Who,
    /// The ranks that are lost with it.
    pub ranks: RankSet,
    /// How it was noticed.
    pub cause: String,
    /// How the process of a rank ended, where its launcher saw that.
    pub end: Option<ProcessEnd>,
}

/// How a process ended.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::ProcessEnd;
///
/// assert_eq!(ProcessEnd::Signal(9).to_string(), "killed by signal 9");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "there are no others")]
pub enum ProcessEnd {
    /// It exited with this code.
    Exit(u8),
    /// This signal killed it.
    Signal(u8),
}

impl std::fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

impl Loss {
    /// The loss of `who` and with it of `ranks`. A long `cause` is cut.
    #[must_use]
    pub fn new(who: Who, ranks: RankSet, cause: &str) -> Self {
        Self {
            who,
            ranks,
            cause: shortened(cause),
            end: None,
        }
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            who, ranks, cause, ..
        } = self;
        match who {
            Who::Rank(_) => write!(f, "{who} was lost: {cause}"),
            _ => write!(f, "{who} with {ranks} was lost: {cause}"),
        }
    }
}

/// Somebody ended the job.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::{Abort, Who};
///
/// let abort = Abort::new(Who::Rank(3), 7, "the input is empty");
/// assert_eq!(abort.to_string(), "rank 3 aborted the job with code 7: the input is empty");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Abort {
    /// Who.
    pub by: Who,
    /// The exit code that the job shall have.
    pub code: i32,
    /// Why.
    pub text: String,
}

impl Abort {
    /// An abort by `by`. A long `text` is cut.
    #[must_use]
    pub fn new(by: Who, code: i32, text: &str) -> Self {
        Self {
            by,
            code,
            text: shortened(text),
        }
    }
}

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { by, code, text } = self;
        write!(f, "{by} aborted the job with code {code}: {text}")
    }
}

/// A frame that was refused, and who sent it.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::{Member, VERSION};
///
/// let error = Member::new(0, 2).handle_frame(&[VERSION + 1, 0]).unwrap_err();
/// assert!(error.to_string().starts_with("the root of the wire-up sent a frame of version"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{from} sent {fault}")]
#[non_exhaustive]
pub struct ExchangeError {
    /// The sender.
    pub from: Who,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It is too long.
    #[error(
        "a frame of {length} bytes, where {MAX_FRAME} are allowed: it is no part of a wire-up, or damaged"
    )]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It is of another version.
    #[error(
        "a frame of version {version}, and this program speaks version {VERSION}: start all ranks with the same Phalanx"
    )]
    Version {
        /// Its version.
        version: u8,
    },
    /// It is no message.
    #[error("a frame that is no message: it is no part of a wire-up, or damaged")]
    Damaged,
    /// It contradicts what this process knows of the job.
    #[error("{what}: are all ranks of one job, started by the same command?")]
    Contradiction {
        /// What it says.
        what: &'static str,
    },
    /// It may not come now.
    #[error(
        "{what}, which may not come now: this is a bug in the sender, or its connection was swapped with another"
    )]
    OutOfOrder {
        /// What it is.
        what: &'static str,
    },
}

impl Fault {
    pub(super) const fn from(self, from: Who) -> ExchangeError {
        ExchangeError { from, fault: self }
    }
}

/// Why an operation of a rank ends without its result.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::{Failure, Member, Misuse};
///
/// let failure = Member::new(0, 2).start_get(2).unwrap_err();
/// assert_eq!(failure, Failure::Misuse(Misuse::NoSuchRank { rank: 0, of: 2, size: 2 }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Somebody whom it needs is lost.
    #[error("{0}")]
    Lost(Loss),
    /// Somebody ended the job.
    #[error("{0}")]
    Aborted(Abort),
    /// This rank does not belong to the job.
    #[error("rank {rank} was turned away: {cause}")]
    Refused {
        /// This rank.
        rank: u32,
        /// Why, in the words of its agent.
        cause: String,
    },
    /// The connection to the agent ended.
    #[error(
        "rank {rank} lost its agent, and with it the way to all other hosts: {cause} (look for the launcher's last words)"
    )]
    Disconnected {
        /// This rank.
        rank: u32,
        /// How it was noticed.
        cause: String,
    },
    /// The programs cannot talk to each other.
    #[error(
        "rank {rank} on host {host} is {theirs}, this rank is {ours}: start the same program on all hosts"
    )]
    Incompatible {
        /// The other rank.
        rank: u32,
        /// Its host.
        host: String,
        /// Its program.
        theirs: Box<Build>,
        /// This program.
        ours: Box<Build>,
    },
    /// The caller erred.
    #[error(transparent)]
    Misuse(#[from] Misuse),
}

/// What a caller of [`Member`](super::Member) can do wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The card is too large.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A second card.
    #[error("rank {rank} has put its card already: a rank puts one card")]
    PutTwice {
        /// This rank.
        rank: u32,
    },
    /// A fence before the card.
    #[error("rank {rank} came to a fence without having put its card: put it first")]
    NotPut {
        /// This rank.
        rank: u32,
    },
    /// A fence while the last one is not passed.
    #[error("rank {rank} is still waiting at the fence of {scope}: wait until it is passed")]
    FencePending {
        /// This rank.
        rank: u32,
        /// Which fence.
        scope: Scope,
    },
    /// Waiting for what was not started.
    #[error("rank {rank} waits for what it has not started: start the fence or the get first")]
    NotStarted {
        /// This rank.
        rank: u32,
    },
    /// A rank that does not exist.
    #[error(
        "rank {rank} asks for the card of rank {of}, and the job has {size} ranks: the last one is one less"
    )]
    NoSuchRank {
        /// This rank.
        rank: u32,
        /// The rank asked for.
        of: u32,
        /// Ranks of the job.
        size: u32,
    },
    /// After the farewell.
    #[error("rank {rank} has left the wire-up: leave it when nothing is needed any more")]
    Left {
        /// This rank.
        rank: u32,
    },
}

/// Cuts `text` to what a message may carry.
pub(super) fn shortened(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
