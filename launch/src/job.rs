//! A job: a plan, and how its ranks are run.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use phalanx_shm::SegmentError;

use crate::exit_code::ExitCode;
use crate::hosts::Hosts;
use crate::interrupts::Interrupts;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::supervise::Supervisor;

/// Ranks to be started, watched and ended together.
///
/// # Examples
/// ```
/// use phalanx_launch::{Ending, Job, Output, Plan, Program};
///
/// let program = Program::new("/bin/sh").argument("-c").argument("echo rank $PHALANX_RANK of $PHALANX_SIZE");
/// let outcome = Job::new(Plan::new(2, program)?).output(Output::Capture).run()?;
/// assert_eq!(outcome.ending, Ending::Success);
/// assert_eq!(outcome.ranks[1].stdout, b"rank 1 of 2\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Job {
    pub(crate) plan: Plan,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) interrupts: Option<Interrupts>,
    pub(crate) arena_bytes: Option<u64>,
    pub(crate) has_wireup: bool,
    pub(crate) hosts: Option<Hosts>,
}

/// What rank 0 reads from its standard input. The other ranks find theirs empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// Nothing.
    Empty,
    /// What this process gets on its own standard input. The launcher reads ahead, so what the rank leaves is lost.
    Console,
}

/// Where the output of the ranks goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// To this process's own standard output and standard error, in whole lines.
    Console {
        /// Whether each line begins with `[rank] `.
        tagged: bool,
    },
    /// Into memory, kept apart by rank: [`RankOutcome`](crate::RankOutcome).
    Capture,
}

impl Job {
    /// A job that runs `plan` with empty input and untagged output on the console, without a time limit.
    #[must_use]
    pub const fn new(plan: Plan) -> Self {
        Self {
            plan,
            input: Input::Empty,
            output: Output::Console { tagged: false },
            time_limit: None,
            grace: GRACE,
            interrupts: None,
            arena_bytes: None,
            has_wireup: false,
            hosts: None,
        }
    }

    /// Sets what rank 0 reads.
    #[must_use]
    pub const fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    /// Sets where the output of the ranks goes.
    #[must_use]
    pub const fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Ends the job when `limit` has passed since its start.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Sets how long ranks that are being ended have between SIGTERM and SIGKILL; 2 s unless set.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Passes the signals of this process on to the ranks. Without it signals keep the effect they have.
    #[must_use]
    pub fn interrupts(mut self, interrupts: Interrupts) -> Self {
        self.interrupts = Some(interrupts);
        self
    }

    /// Sets how much address space each rank has for its messages, in bytes; by default as much as a common one allows.
    #[must_use]
    pub const fn arena_bytes(mut self, bytes: u64) -> Self {
        self.arena_bytes = Some(bytes);
        self
    }

    /// Serves a wire-up for the ranks, by which those that are told to talk over the network find each other though they are on one
    /// host.
    #[must_use]
    pub const fn wireup(mut self) -> Self {
        self.has_wireup = true;
        self
    }

    /// Runs the ranks on `hosts` instead of all on this one.
    ///
    /// # Panics
    /// If those have places for another number of ranks than the plan has.
    #[must_use]
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        assert_eq!(hosts.size(), self.plan.size(), "every rank has a place");
        self.hosts = Some(hosts);
        self
    }

    /// Starts all ranks and blocks until every one has ended and been waited for and all output has been written.
    ///
    /// No process is left behind, whatever happens: also not when this process is killed, for the kernel then kills the
    /// ranks, and a watcher, a fork of this process, what they have started. The kernel does so when the calling *thread* ends, which
    /// therefore must not be another's to end. Only what has left the process group of its rank is not found.
    ///
    /// For more than some 300 ranks the limit of open files of this process is raised, as far as the system allows.
    ///
    /// # Errors
    /// If not all ranks could be started. Those that were have then been killed.
    pub fn run(self) -> Result<Outcome, LaunchError> {
        Supervisor::start(self)?.run()
    }
}

/// Why a job could not be started or watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The program does not exist, or the interpreter named in its first line does not.
    #[error(
        "cannot start rank {rank}: {} was not found{}", program.display(), where_it_was_looked_for(program)
    )]
    NotFound {
        /// The rank.
        rank: usize,
        /// The program.
        program: OsString,
        /// What the system said.
        source: io::Error,
    },
    /// The program exists and cannot be executed.
    #[error("cannot start rank {rank}: {} cannot be executed ({source}): is it a program, and executable for this user?", program.display())]
    NotExecutable {
        /// The rank.
        rank: usize,
        /// The program.
        program: OsString,
        /// What the system said.
        source: io::Error,
    },
    /// A process could not be made.
    #[error("cannot start rank {rank} ({}): {source}; see `ulimit -a` for the limits of processes and memory", program.display())]
    Start {
        /// The rank.
        rank: usize,
        /// The program.
        program: OsString,
        /// What the system said.
        source: io::Error,
    },
    /// The limit of open files is too low for so many ranks.
    #[error(
        "{ranks} ranks need {needed} open files but the limit is {limit}: raise it with `ulimit -Hn {needed}`, or lower -n"
    )]
    Descriptors {
        /// The ranks of the job.
        ranks: usize,
        /// The descriptors that watching them takes.
        needed: u64,
        /// How many this process may have at most.
        limit: u64,
    },
    /// A host could not be reached, or its ranks not be started.
    #[error("{text}")]
    Host {
        /// Its name.
        host: String,
        /// With which code the command ends.
        code: ExitCode,
        /// What happened; several lines where the other side had something to say.
        text: String,
    },
    /// The ranks of a host cannot be named in one frame.
    #[error(
        "the ranks of host {host} lie in more than 4096 pieces: number those of a host one after the other (--map-by slot)"
    )]
    Scattered {
        /// Its name.
        host: String,
    },
    /// A signal came before all hosts had started their ranks.
    #[error("ended by signal {signal} while waiting for {waiting} to start")]
    Interrupted {
        /// The signal.
        signal: i32,
        /// For which hosts.
        waiting: String,
    },
    /// The time limit passed before all hosts had started their ranks.
    #[error("the time limit of {} s has passed, while waiting for {waiting} to start", limit.as_secs_f64())]
    Late {
        /// The limit.
        limit: Duration,
        /// For which hosts.
        waiting: String,
    },
    /// The node segment could not be made.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A system call of the launcher's own failed.
    #[error("the launcher cannot {what}: {source}")]
    System {
        /// What it tried to do.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LaunchError {
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            what,
            source: source.into(),
        }
    }
}

fn where_it_was_looked_for(program: &OsString) -> &'static str {
    let path = std::path::Path::new(program);
    if path.components().count() == 1 && !program.as_encoded_bytes().contains(&b'/') {
        " in PATH (a program of the current directory is ./NAME)"
    } else if path.exists() {
        " although the file is there: is the interpreter in its first line installed?"
    } else {
        ""
    }
}

/// Long enough to write a last line and flush a file, short enough not to be taken for a hang.
const GRACE: Duration = Duration::from_secs(2);
