//! An agent, or the root, with its channels.
//!
//! ```text
//!              channel to the parent
//!                       |
//!   door (listener) -> Hub = Agent + channels
//!                     / | \
//!            channels of its children
//! ```
//!
//! One thread drives it, by [`Hub::turn`]: the launcher from its own loop, or [`Hub::serve`] until all have left.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use crate::channel::{Channel, wait};
use crate::exchange::{Agent, AgentEvent, ExchangeError, ProcessEnd, RankSet, Who};

mod door;

use door::{Door, INTRODUCTION};

/// An agent with its channels. [`Client`](crate::Client) has an example.
#[derive(Debug)]
pub struct Hub {
    agent: Agent,
    links: Vec<Link>,
    /// Peers with whom the owner of the hub exchanges the frames, and those for them.
    carried: Vec<Who>,
    to_carry: VecDeque<(Who, Arc<[u8]>)>,
    /// Ranks whose channels have ended and whose processes, as far as is known, have not.
    silent: Vec<Silent>,
    door: Option<Door>,
    events: VecDeque<HubEvent>,
}

/// What the owner of a hub may want to know.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::{Agent, AgentEvent, Shape, Who};
/// use phalanx_wireup::{Hub, HubEvent};
///
/// let mut hub = Hub::new(Agent::root(Shape::new(2).with_ranks(0..2))?);
/// hub.agent_mut().handle_closed(Who::Rank(1), "exited with code 1");
/// let event = hub.poll_event();
/// assert!(matches!(event, Some(HubEvent::Agent(AgentEvent::Lost(loss))) if loss.ranks.contains(1)));
/// # Ok::<(), phalanx_wireup::exchange::ShapeError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum HubEvent {
    /// Something happened in the exchange.
    Agent(AgentEvent),
    /// Somebody was turned away at the door.
    Refused {
        /// From where it came.
        from: SocketAddr,
        /// Why.
        cause: String,
    },
    /// Nobody can be let in for the moment; it is tried again.
    DoorStuck {
        /// Why: mostly that this process may open no more descriptors.
        cause: io::Error,
    },
}

#[derive(Debug)]
struct Link {
    channel: Channel,
    peer: Peer,
    /// Whether the owner of the hub watches the process at the other end.
    is_watched: bool,
}

#[derive(Debug)]
struct Silent {
    who: Who,
    cause: String,
    /// When it is lost, whatever its process does.
    deadline: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Peer {
    Known(Who),
    /// Came in by the door and has to say its name by then.
    Stranger {
        from: SocketAddr,
        deadline: Instant,
    },
}

impl Hub {
    /// A hub without channels.
    #[must_use]
    pub fn new(agent: Agent) -> Self {
        Self {
            agent,
            links: Vec::new(),
            carried: Vec::new(),
            to_carry: VecDeque::new(),
            silent: Vec::new(),
            door: None,
            events: VecDeque::new(),
        }
    }

    /// Uses `channel` to talk to `peer`, the parent or a child.
    pub fn attach(&mut self, peer: Who, channel: Channel) {
        self.links.push(Link {
            channel,
            peer: Peer::Known(peer),
            is_watched: false,
        });
    }

    /// Uses `channel` to talk to `rank`, whose process the owner of this hub watches.
    ///
    /// The channel of a process that dies ends a moment before the process does, and only the latter tells how. So the end of
    /// the channel is a loss only when the owner has not said within a second how the process ended:
    /// [`handle_death`](Self::handle_death).
    pub fn attach_process(&mut self, rank: u32, channel: Channel) {
        self.links.push(Link {
            channel,
            peer: Peer::Known(Who::Rank(rank)),
            is_watched: true,
        });
    }

    /// Leaves it to the owner of the hub to move frames from and to `peer`, who has a way of their own:
    /// [`handle_carried`](Self::handle_carried), [`poll_carried`](Self::poll_carried).
    pub fn carry(&mut self, peer: Who) {
        self.carried.push(peer);
    }

    /// Takes in a frame that the owner has brought from `peer`.
    ///
    /// # Errors
    /// When it is none that may come from there now. The owner then ends its way to `peer`, and says so:
    /// [`end_carried`](Self::end_carried).
    pub fn handle_carried(&mut self, peer: Who, frame: &[u8]) -> Result<(), ExchangeError> {
        self.agent.handle_frame(peer, frame)
    }

    /// The next frame that the owner shall bring to somebody. Does not write to any channel: [`turn`](Self::turn) does.
    pub fn poll_carried(&mut self) -> Option<(Who, Arc<[u8]>)> {
        self.to_carry.pop_front()
    }

    /// Takes note that the owner's way to `peer` has ended.
    pub fn end_carried(&mut self, peer: Who, cause: &str) {
        self.carried.retain(|carried| *carried != peer);
        self.to_carry.retain(|(to, _)| *to != peer);
        self.agent.handle_closed(peer, cause);
    }

    /// Takes note that the process of `rank` has ended. What it said before counts: one that has left is not lost.
    pub fn handle_death(&mut self, rank: u32, end: ProcessEnd) {
        let who = Who::Rank(rank);
        let is_it = |link: &Link| matches!(link.peer, Peer::Known(known) if known == who);
        if let Some(index) = self.links.iter().position(is_it) {
            // Whether its words make sense or not, they were its last.
            self.links[index].take_in(&mut self.agent).ok();
            self.links.swap_remove(index);
        }
        self.silent.retain(|silent| silent.who != who);
        self.agent.handle_death(rank, end);
    }

    /// The agent, to look at.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The agent, to tell it of a death that was seen elsewhere, or to abort. What it has to say goes out with the next
    /// [`turn`](Self::turn).
    pub const fn agent_mut(&mut self) -> &mut Agent {
        &mut self.agent
    }

    /// What has happened since the last call, one thing at a time.
    pub fn poll_event(&mut self) -> Option<HubEvent> {
        let event = self.agent.poll_event().map(HubEvent::Agent);
        event.or_else(|| self.events.pop_front())
    }

    /// The descriptors that [`turn`](Self::turn) waits at, for an own loop that calls it with no limit to wait.
    pub fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let door = self
            .open()
            .map(|door| PollFd::new(door.listener.as_fd(), PollFlags::POLLIN));
        door.into_iter()
            .chain(self.links.iter().flat_map(|link| link.channel.interests()))
    }

    /// When [`turn`](Self::turn) has something to do though nothing comes, for an own loop that has no door.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.silent.iter().map(|silent| silent.deadline).min()
    }

    /// Writes what the agent has to say, waits for at most `limit` until something comes, and takes it in.
    ///
    /// A connection that fails or brings what nobody of ours sends is closed, and its peer counts as lost: that is an event,
    /// not an error.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub fn turn(&mut self, limit: Duration) -> io::Result<()> {
        self.send();
        let now = Instant::now();
        let deadlines = self.links.iter().filter_map(|link| match link.peer {
            Peer::Stranger { deadline, .. } => Some(deadline.saturating_duration_since(now)),
            Peer::Known(_) => None,
        });
        let stuck = self.door.iter().filter_map(|door| door.stuck_until);
        let others = stuck.chain(self.deadline());
        let others = others.map(|end| end.saturating_duration_since(now));
        let limit = deadlines.chain(others).fold(limit, Duration::min);
        wait(&mut self.interests().collect::<Vec<_>>(), limit)?;
        self.admit();
        self.take_in();
        self.give_up_silent();
        self.send();
        Ok(())
    }

    /// Serves until every child has left or is lost and all is written.
    ///
    /// # Errors
    /// [`HubError::TimedOut`] when `limit` passes before, naming the ranks that have not come.
    pub fn serve(&mut self, limit: Duration) -> Result<(), HubError> {
        let deadline = Instant::now().checked_add(limit);
        while !self.is_finished() {
            let left = deadline.map_or(Duration::MAX, |end| {
                end.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                let absent = self.agent.absent();
                return Err(HubError::TimedOut { limit, absent });
            }
            self.turn(left)?;
        }
        Ok(())
    }

    /// Whether every child has left or is lost and all is written.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let mut links = self.links.iter();
        self.agent.is_finished() && !links.any(|link| link.channel.has_more_to_write())
    }

    /// Takes in what has come by all channels, and closes those that are of no more use.
    fn take_in(&mut self) {
        let mut index = 0;
        while index < self.links.len() {
            let link = &mut self.links[index];
            match link.take_in(&mut self.agent) {
                Ok(()) => index += 1,
                Err(cause) => self.close(index, cause),
            }
        }
    }

    /// Writes what the agent has to say.
    fn send(&mut self) {
        while let Some((to, frame)) = self.agent.poll_frame() {
            if self.carried.contains(&to) {
                self.to_carry.push_back((to, frame));
                continue;
            }
            let mut links = self.links.iter_mut();
            let link = links.find(|link| matches!(link.peer, Peer::Known(who) if who == to));
            // A channel that cannot take it is closed when it is read or flushed.
            if let Some(link) = link {
                link.channel.queue(frame.to_vec()).ok();
            }
        }
        let mut index = 0;
        while index < self.links.len() {
            match self.links[index].channel.flush() {
                Ok(_) => index += 1,
                // Its last words may be waiting to be read.
                Err(error) => {
                    let link = &mut self.links[index];
                    let cause = link.take_in(&mut self.agent).err();
                    self.close(index, cause.unwrap_or_else(|| error.to_string()));
                }
            }
        }
    }

    /// Ranks that closed their channels and go on are lost.
    fn give_up_silent(&mut self) {
        let now = Instant::now();
        let late = self.silent.extract_if(.., |silent| silent.deadline <= now);
        for silent in late {
            self.agent.handle_closed(silent.who, &silent.cause);
        }
    }

    fn close(&mut self, index: usize, cause: String) {
        let mut link = self.links.swap_remove(index);
        match link.peer {
            Peer::Known(who) if link.is_watched => self.silent.push(Silent {
                who,
                cause,
                deadline: Instant::now() + DEATH,
            }),
            Peer::Known(who) => self.agent.handle_closed(who, &cause),
            Peer::Stranger { from, .. } => {
                link.refuse(&cause);
                self.events.push_back(HubEvent::Refused { from, cause });
            }
        }
    }
}

impl Link {
    /// Hands all that has come to the agent. The error says why the link is to be closed.
    fn take_in(&mut self, agent: &mut Agent) -> Result<(), String> {
        let filled = self.channel.fill();
        loop {
            match self.channel.next_frame() {
                Ok(Some(frame)) => self.handle(agent, &frame)?,
                Ok(None) => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        filled.map_err(|error| error.to_string())?;
        match self.peer {
            Peer::Stranger { deadline, .. } if Instant::now() >= deadline => {
                Err(format!("it did not say its name within {INTRODUCTION:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Tells a stranger why it is not let in, if it can be told anything.
    fn refuse(&mut self, cause: &str) {
        let refusal = Agent::refusal(cause);
        let _ = self
            .channel
            .queue(refusal)
            .and_then(|()| self.channel.flush());
    }

    fn handle(&mut self, agent: &mut Agent, frame: &[u8]) -> Result<(), String> {
        let who = match self.peer {
            Peer::Known(who) => who,
            Peer::Stranger { .. } => agent
                .greeted_by(frame)
                .map_err(|fault| format!("it sent {fault}"))?,
        };
        self.peer = Peer::Known(who);
        agent
            .handle_frame(who, frame)
            .map_err(|error| error.to_string())
    }
}

/// Why a hub stopped serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The system cannot wait for descriptors.
    #[error("the wire-up cannot wait for its connections: {0}")]
    System(#[from] io::Error),
    /// The time is over.
    #[error(
        "the wire-up was not over after {limit:?}; absent: {absent} (start them, or wait longer)"
    )]
    TimedOut {
        /// How long it served.
        limit: Duration,
        /// Ranks that never came.
        absent: RankSet,
    },
}

/// How long the process of a closed channel has to be seen to have ended: usually microseconds, on a busy machine longer.
const DEATH: Duration = Duration::from_secs(1);
