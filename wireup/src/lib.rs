//! Who is rank k, and how to reach it.
//!
//! A process learns its place in the world from a few environment variables that the launcher sets (module
//! [`environment`]); [`Place::discover`] reads them. It is pure: the environment is an argument, nothing opens a
//! descriptor or a socket, so that every rule is tested without starting a process.
//!
//! Three answers are possible:
//! - variables of Phalanx are there and agree: the rank, the size, where the node segment is and how to reach the wire-up;
//! - no variable of any launcher is there: a world of one;
//! - anything else is an error that names the variable, its value and the cure. In particular a program started by a
//!   launcher of another message-passing system ([`ForeignLauncher`]) is told so once, instead of being "rank 0 of 1"
//!   as many times as it was started.
//!
//! Over many hosts ranks learn of each other through a tree of agents ([`exchange`], which has no clock and no socket). A
//! rank takes part by a [`Client`], an agent by a [`Hub`]; both speak over a [`Channel`]: a stream that was inherited from the
//! launcher, or a connection to a [`rendezvous`] that is sealed with the job's [`Token`]. Which addresses a rank offers is in
//! [`interfaces`]; which hosts take part, and which rank runs where, in [`hostlist`].
//!
//! ```text
//!   Place::discover -- fd:N ------> Channel::plain --+
//!                  \- host:port --> Channel::calling -+-> Client: put, fence, get
//!                                                            |
//!                                              Hub of the host, Hub of the launcher
//! ```
#![forbid(unsafe_code)]

mod channel;
mod client;
pub mod environment;
pub mod exchange;
mod foreign;
pub mod hostlist;
mod hub;
pub mod interfaces;
mod place;
pub mod rendezvous;
mod slurm;

pub use channel::{Channel, ChannelError, Halves, Stream, Token, TokenError, TokenProblem};
pub use client::{Awaited, Client, ClientError};
pub use foreign::ForeignLauncher;
pub use hub::{Hub, HubError, HubEvent};
pub use place::{Place, PlaceError, SegmentSource, WireupSource};
pub use slurm::SlurmStep;
