//! Links that carry frames between ranks: shared memory, QUIC between hosts, both together, and threads of one process.
//!
//! A [`Link`] moves [`Header`]s with the bytes that belong to them, in order for each pair of ranks. It knows nothing of matching or
//! protocols; it never waits, never queues: "cannot now" is an answer, and what to do about it is the caller's business.

#![forbid(unsafe_code)]

pub mod frame;
pub mod payload;
pub mod quic;

#[cfg(test)]
mod conformance;
mod hosts;
mod inproc;
mod link;
mod shm;

pub use frame::{Envelope, Header, InFrame};
pub use hosts::{Hosts, HostsSleeper};
pub use inproc::{Controls, Inproc, InprocSettings, InprocSleeper};
pub use link::{Capabilities, Found, Link, LinkError, Packet, PeerState, Sleeper, Transport};
pub use payload::{AlignedBytes, Buffer, Inline, Payload};
pub use phalanx_shm::Death;
pub use quic::{Quic, QuicSleeper};
pub use shm::Shm;
