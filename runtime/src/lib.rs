//! Ranks of a job: worlds, communicators, messages and the engine that moves them.
//!
//! ```text
//!   world, communicator, request, scope      what a program calls            (this crate's public face)
//!        | values <-> bytes                  message
//!   progress                                 the one loop: lock, poll, wait
//!        | packets                |
//!   engine, matching              link (phalanx-transport)
//! ```
//! The engine has no clock and no thread; the link never waits; only `progress` does, with the clock.

#![deny(unsafe_code)]

pub mod config;
pub mod describe;
pub mod message;

mod communicator;
mod directory;
mod engine;
mod error;
mod group;
mod joining;
mod loan;
mod matching;
mod meeting;
mod network;
mod nonblocking;
mod notice;
mod pattern;
mod probe;
mod progress;
mod request;
mod scope;
mod together;
mod wait;
mod world;

pub mod testing;

pub use communicator::{Communicator, Status};
pub use error::{Error, JoinError, Result, SendError, Timeout, Truncated, TypeMismatch};
pub use loan::{Lendable, Loan, SharedVec};
pub use pattern::{ANY_SOURCE, ANY_TAG, AnySource, AnyTag, Source, Tag, TagPattern};
pub use phalanx_transport::Death;
pub use probe::{MatchedMessage, ProbeStatus};
pub use request::{Request, test_all, test_any, test_some, wait_all, wait_any, wait_some};
pub use scope::Scope;
pub use world::{World, init};
