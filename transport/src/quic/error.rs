//! What goes wrong when a rank takes its place on the network, and who was turned away.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a rank has no place on the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuicError {
    /// There is no socket.
    #[error(
        "no UDP socket at {address}: {source}: choose an address of this host, and port 0 or one that is free"
    )]
    Bind {
        /// Where it was to be.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// There is no key or no certificate.
    #[error("this rank cannot make itself a key and a certificate: {0}")]
    Identity(String),
    /// The system denies what the link needs beside its socket.
    #[error("no {what} for the QUIC link: {source}: raise the limits of this process")]
    System {
        /// What it denies.
        what: &'static str,
        /// What it says.
        source: io::Error,
    },
    /// This rank is not one of the job.
    #[error("there is no rank {rank} in a job of {ranks} ranks: ranks count from 0")]
    NoRank {
        /// This rank.
        rank: usize,
        /// Ranks there are.
        ranks: usize,
    },
    /// A setting cannot be.
    #[error("{name} cannot be {value}: {cure}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What it was to be.
        value: String,
        /// What it may be.
        cure: &'static str,
    },
}

impl QuicError {
    pub(super) fn identity(reason: impl fmt::Display) -> Self {
        Self::Identity(reason.to_string())
    }
}

/// Somebody who was turned away, or who turned this rank away.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Where it is.
    pub address: SocketAddr,
    /// Why; a whole line with [`Self::address`] before it.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.reason)
    }
}
