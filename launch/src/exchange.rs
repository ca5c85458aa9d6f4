//! The wire-up of this host: by it ranks that share no segment learn how to reach each other.
//!
//! Each rank of this host has a socket to here, which it inherits; the other end belongs to the hub of this process. A job whose ranks
//! all meet in one segment has none of this.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::PollFd;
use phalanx_wireup::exchange::{Agent, ProcessEnd, Shape, Who};
use phalanx_wireup::{Channel, Hub};

use crate::job::LaunchError;
use crate::outcome::Exit;

/// The public number of a job, which keeps ranks of different jobs apart on the network.
pub(crate) type JobNumber = [u8; 16];

/// The end of the wire-up in this process, the launcher or an agent.
#[derive(Debug)]
pub(crate) struct Exchange {
    hub: Hub,
    job: JobNumber,
    /// The address by which this host was reached, for its ranks to offer.
    reached: Option<IpAddr>,
}

/// What a rank of this host is handed so that it can take part.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) stream: Arc<OwnedFd>,
    pub(crate) job: JobNumber,
    pub(crate) reached: Option<IpAddr>,
}

impl Exchange {
    /// That of a launcher, with everybody below it.
    pub(crate) fn root(job: JobNumber, shape: Shape) -> Result<Self, LaunchError> {
        let agent = Agent::root(shape).map_err(io::Error::other);
        agent
            .map(|agent| Self::new(job, agent))
            .map_err(LaunchError::system("lay out the wire-up"))
    }

    /// That of an agent.
    pub(crate) fn below(
        job: JobNumber,
        number: u32,
        parent: Who,
        shape: Shape,
    ) -> Result<Self, LaunchError> {
        let agent = Agent::below(number, parent, shape).map_err(io::Error::other);
        agent
            .map(|agent| Self::new(job, agent))
            .map_err(LaunchError::system("lay out the wire-up"))
    }

    fn new(job: JobNumber, agent: Agent) -> Self {
        Self {
            hub: Hub::new(agent),
            job,
            reached: None,
        }
    }

    /// Tells the ranks that are seated from now on by which address their host was reached.
    pub(crate) const fn reached_by(&mut self, address: Option<IpAddr>) {
        self.reached = address;
    }

    /// A place for rank `rank` of this host, whose process is about to be started.
    pub(crate) fn seat(&mut self, rank: usize) -> io::Result<Seat> {
        let (ours, theirs) = UnixStream::pair()?;
        self.hub.attach_process(number(rank), Channel::plain(ours)?);
        Ok(Seat {
            stream: Arc::new(theirs.into()),
            job: self.job,
            reached: self.reached,
        })
    }

    /// Lets the owner move the frames of these agents.
    pub(crate) fn carry(&mut self, peers: impl IntoIterator<Item = Who>) {
        for peer in peers {
            self.hub.carry(peer);
        }
    }

    /// Takes in a frame from an agent, or what is wrong with it.
    pub(crate) fn handle(&mut self, peer: Who, frame: &[u8]) -> Result<(), String> {
        let handled = self.hub.handle_carried(peer, frame);
        handled.map_err(|error| error.to_string())
    }

    /// The next frame for an agent.
    pub(crate) fn next_frame(&mut self) -> Option<(Who, Arc<[u8]>)> {
        self.hub.poll_carried()
    }

    /// The way to an agent has ended.
    pub(crate) fn lost(&mut self, peer: Who, cause: &str) {
        self.hub.end_carried(peer, cause);
    }

    /// What to wait for, until [`deadline`](Self::deadline).
    pub(crate) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.hub.interests()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.hub.deadline()
    }

    /// Moves what can be moved. Does not block.
    pub(crate) fn advance(&mut self) -> io::Result<()> {
        self.hub.turn(Duration::ZERO)?;
        // What became of ranks is the business of who started them.
        while self.hub.poll_event().is_some() {}
        Ok(())
    }

    /// Tells everybody that the process of `rank`, of this host, has ended.
    pub(crate) fn died(&mut self, rank: usize, exit: Exit) {
        self.hub.handle_death(number(rank), process_end(exit));
    }
}

/// A number that no other job has.
pub(crate) fn job_number() -> io::Result<JobNumber> {
    let mut number = JobNumber::default();
    File::open("/dev/urandom")?.read_exact(&mut number)?;
    Ok(number)
}

pub(crate) const fn exit(end: ProcessEnd) -> Exit {
    match end {
        ProcessEnd::Exit(code) => Exit::Code(code as i32),
        ProcessEnd::Signal(signal) => Exit::Signal(signal as i32),
    }
}

pub(crate) fn process_end(exit: Exit) -> ProcessEnd {
    // Wait statuses have a byte for either.
    match exit {
        Exit::Code(code) => ProcessEnd::Exit(u8::try_from(code).unwrap_or(u8::MAX)),
        Exit::Signal(signal) => ProcessEnd::Signal(u8::try_from(signal).unwrap_or(u8::MAX)),
    }
}

/// Plans have at most [`MAX_RANKS`](crate::MAX_RANKS) ranks.
pub(crate) fn number(rank: usize) -> u32 {
    u32::try_from(rank).expect("plans have fewer ranks")
}
