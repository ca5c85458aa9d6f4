//! Put, fence and get: how every rank learns of the ranks that it talks to, and of those that are lost.
//!
//! Each rank *puts* one small [`Card`] that says how it is reached. A *fence* tells it that all ranks of its host, or of
//! the job, have put theirs. With *get* it fetches the card of a rank when it first talks to it. Cards travel up the tree
//! once, all cards of a host together, and down only where somebody asks; each agent keeps what passed through it. So N
//! ranks that talk to a few others each move some N cards, not N times N.
//!
//! ```text
//!                      Agent::root (launcher or rendezvous)          every card
//!                     /           |            \
//!          agent 0 (host a)   agent 1 (host b)   agent 2 (host c)    cards of their host, and those asked for
//!           /     \            /     \            /     \
//!       rank 0   rank 1    rank 2   rank 3    rank 4   rank 5        Member: cards asked for
//!
//!     up:   hello, put, arrive, get, left, lost, abort, leave
//!     down: welcome, pass, answer, left, lost, abort
//! ```
//!
//! With more hosts than the root wants to serve, agents have agents below them; [`Tree`] lays them out. Without agents of
//! ours (a bare start) all ranks are children of the root.
//!
//! Everything in this module is a state machine without clock, socket or thread. Frames go in by `handle_frame`, come out by
//! `poll_frame`; whoever owns the streams moves them. A frame that is damaged, too long, of another version or out of order is an
//! [`ExchangeError`] that names its sender, and changes nothing.
//!
//! # Losses
//! The connection of a rank or agent that ends without a farewell is a loss. It goes up to the root and from there to all, so
//! that losses and passed fences come in one order everywhere. It ends each fence that needs the lost ranks and each get of
//! their cards; everything else goes on. An abort ends everything. An agent that loses its own way to the root aborts what is
//! below it, for nothing could be learned any more.
//!
//! A rank that leaves says so, and all others are told: who never talked to it has no other way to learn that nothing will come.
//!
//! # Examples
//! A root with two ranks and no agents, all in one thread:
//! ```
//! use std::task::Poll;
//! use phalanx_wireup::exchange::{Agent, Card, Member, Scope, Shape, Who};
//!
//! let mut root = Agent::root(Shape::new(2).with_ranks(0..2))?;
//! let mut ranks = [Member::new(0, 2), Member::new(1, 2)];
//! for rank in &mut ranks {
//!     rank.put(Card::default())?;
//!     rank.start_fence(Scope::Job)?;
//!     rank.start_get(1)?;
//! }
//! // In a program the streams do this.
//! for (number, rank) in (0_u32..).zip(&mut ranks) {
//!     while let Some(frame) = rank.poll_frame() {
//!         root.handle_frame(Who::Rank(number), &frame)?;
//!     }
//! }
//! while let Some((to, frame)) = root.poll_frame() {
//!     let Who::Rank(number) = to else { unreachable!("there are only ranks below this root") };
//!     ranks[number as usize].handle_frame(&frame)?;
//! }
//! for rank in &mut ranks {
//!     assert_eq!(rank.poll_fence(Scope::Job), Poll::Ready(Ok(())));
//!     assert!(matches!(rank.poll_get(1), Poll::Ready(Ok(_))));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agent;
mod card;
mod failure;
mod fence;
mod member;
mod message;
mod ranks;
mod tree;

pub use agent::{Agent, AgentEvent, Shape, ShapeError};
pub use card::{Build, ByteOrder, Card, CardError, Fingerprint, Host};
pub use failure::{Abort, ExchangeError, Failure, Fault, Loss, Misuse, ProcessEnd};
pub use fence::Scope;
pub use member::Member;
pub use message::{MAX_FRAME, MAX_TEXT, VERSION};
pub use ranks::{MAX_RANKS, RankSet};
pub use tree::Tree;

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in the tree.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::Who;
///
/// assert_eq!(Who::Rank(3).to_string(), "rank 3");
/// assert_eq!(Who::Agent(1).to_string(), "agent 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Who {
    /// The root: the launcher, or the rendezvous of a bare start.
    Root,
    /// An agent, by its number; with [`Tree`] that of its host.
    Agent(u32),
    /// A rank.
    Rank(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the root of the wire-up"),
            Self::Agent(number) => write!(f, "agent {number}"),
            Self::Rank(rank) => write!(f, "rank {rank}"),
        }
    }
}
