//! Why links fail.

use phalanx_shm::{BorrowError, PoolError, PortError, SegmentError};

use crate::frame::FrameError;
use crate::quic::StreamError;

/// Why a link failed. Whatever it says of a peer, this rank goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A peer's ring is damaged.
    #[error(transparent)]
    Port(#[from] PortError),
    /// There is no block.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A peer named memory that is not its own.
    #[error(transparent)]
    Borrow(#[from] BorrowError),
    /// There is no segment.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A peer sent nonsense.
    #[error("rank {peer} sent {source}")]
    Frame {
        /// The sender.
        peer: usize,
        /// What it sent.
        source: FrameError,
    },
    /// A peer's stream is damaged.
    #[error("rank {peer} sent {source}")]
    Stream {
        /// The sender.
        peer: usize,
        /// What it sent.
        source: StreamError,
    },
    /// A peer cannot be reached.
    #[error("{trouble}")]
    Unreachable {
        /// The peer.
        peer: usize,
        /// Who, where and what to do, in a line.
        trouble: String,
    },
    /// The link has no memory that peers can read.
    #[error("rank {peer} exposed memory over a link that cannot: it is of another version")]
    NotExposed {
        /// The sender.
        peer: usize,
    },
    /// The process has no memory.
    #[error(
        "no memory for a buffer of {bytes} bytes: send in smaller pieces or raise the memory limit"
    )]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// This rank itself is gone.
    #[error(
        "rank {rank} has left its job or was killed by its test, so that it can send and receive nothing: let go of its handles"
    )]
    Departed {
        /// This rank.
        rank: usize,
    },
}
