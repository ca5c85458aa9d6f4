//! Starts the ranks: one process and one process group each.
//!
//! A group of its own means that the terminal's Ctrl-C reaches only the launcher, which forwards it once, and that
//! ending a rank ends all that it has started.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use phalanx_shm::handoff::{self, Handoff};
use phalanx_shm::watcher;
use phalanx_wireup::{Place, SegmentSource, WireupSource};

use crate::exchange::Seat;
use crate::group;
use crate::job::LaunchError;
use crate::outcome::Exit;
use crate::plan::Plan;

/// A rank that runs, or has ended and not been waited for. Dropping it kills it and waits.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    death: OwnedFd,
    watched: watcher::Place,
    exit: Option<Exit>,
}

/// The launcher's ends of the pipes of a rank.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// One rank that is to be started.
pub(crate) struct Posting<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) rank: usize,
    /// What it inherits.
    pub(crate) segment: &'a Arc<OwnedFd>,
    /// Its place in the wire-up, if there is one.
    pub(crate) seat: Option<Seat>,
    /// Whether it has a standard input.
    pub(crate) reads: bool,
    /// The only processor that it runs on, if there is one.
    pub(crate) processor: Option<usize>,
    /// Variables of this process that it must not see.
    pub(crate) hidden: &'a [OsString],
    /// Where the watcher finds its group.
    pub(crate) watched: watcher::Place,
}

impl Process {
    /// Starts a rank.
    pub(crate) fn start(posting: Posting<'_>) -> Result<(Self, Pipes), LaunchError> {
        let (plan, rank) = (posting.plan, posting.rank);
        let failed = |source| start_error(plan, rank, source);
        let mut command = command(&posting);
        let watched = posting.watched;
        let stream = posting.seat.map(|seat| seat.stream);
        let handoff = Handoff {
            inherit: [Arc::clone(posting.segment)]
                .into_iter()
                .chain(stream)
                .collect(),
            processor: posting.processor,
            watched: Some(watched.clone()),
        };
        handoff::prepare(&mut command, handoff).map_err(failed)?;
        let mut child = command.spawn().map_err(failed)?;
        let pipes = Pipes {
            stdin: child.stdin.take().map(OwnedFd::from),
            stdout: child.stdout.take().expect("asked for a pipe").into(),
            stderr: child.stderr.take().expect("asked for a pipe").into(),
        };
        match handoff::watch(child.id()) {
            Ok(death) => Ok((
                Self {
                    child,
                    death,
                    watched,
                    exit: None,
                },
                pipes,
            )),
            Err(error) => {
                group::end(&mut child, &watched).map_err(failed)?;
                Err(failed(error))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Readable when the rank has ended; `None` when it has been waited for.
    pub(crate) fn death(&self) -> Option<BorrowedFd<'_>> {
        self.exit.is_none().then(|| self.death.as_fd())
    }

    pub(crate) const fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Sends `signal` to the rank and to what it has started.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.exit.is_none() {
            group::signal(&self.child, signal);
        }
    }

    /// Waits for the rank, and kills what it has left running.
    pub(crate) fn reap(&mut self) -> io::Result<Exit> {
        let exit = group::end(&mut self.child, &self.watched)?.into();
        self.exit = Some(exit);
        Ok(exit)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_none() {
            // Waiting for an own child that has been killed cannot fail.
            group::end(&mut self.child, &self.watched).ok();
        }
    }
}

/// The processors that this process may run on, ascending.
///
/// # Errors
/// If the system does not tell.
pub fn allowed_processors() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    let is_allowed = |&processor: &usize| set.is_set(processor).unwrap_or(false);
    Ok((0..CpuSet::count()).filter(is_allowed).collect())
}

/// Makes room for the descriptors of `ranks` ranks and `agents` agents: the usual limit of 1024 is enough for some 200.
pub(crate) fn raise_descriptor_limit(ranks: usize, agents: usize) -> Result<(), LaunchError> {
    let needed = (ranks + agents) as u64 * DESCRIPTORS_OF_A_RANK + DESCRIPTORS_OF_THE_LAUNCHER;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(LaunchError::system("read its limit of open files"))?;
    if needed > hard {
        return Err(LaunchError::Descriptors {
            ranks,
            needed,
            limit: hard,
        });
    }
    if needed > soft {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
            .map_err(LaunchError::system("raise its limit of open files"))?;
    }
    Ok(())
}

pub(crate) fn set_nonblocking(pipe: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn command(posting: &Posting<'_>) -> Command {
    let program = posting.plan.program(posting.rank);
    let segment = SegmentSource::Inherited(posting.segment.as_raw_fd());
    let mut place = Place::new(posting.rank, posting.plan.size(), segment);
    if let Some(seat) = &posting.seat {
        let stream = WireupSource::Inherited(seat.stream.as_raw_fd());
        place = place.with_wireup(stream).with_job(seat.job);
        if let Some(address) = seat.reached {
            place = place.with_reached(address);
        }
    }
    let mut command = Command::new(program.path());
    for variable in posting.hidden {
        command.env_remove(variable);
    }
    command
        .args(program.all_arguments())
        .envs(
            program
                .all_variables()
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .envs(place.variables())
        .stdin(if posting.reads {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

fn start_error(plan: &Plan, rank: usize, source: io::Error) -> LaunchError {
    let program = plan.program(rank).path().to_owned();
    let is_no_program = source.raw_os_error() == Some(nix::libc::ENOEXEC);
    match source.kind() {
        io::ErrorKind::NotFound => LaunchError::NotFound {
            rank,
            program,
            source,
        },
        io::ErrorKind::PermissionDenied => LaunchError::NotExecutable {
            rank,
            program,
            source,
        },
        _ if is_no_program => LaunchError::NotExecutable {
            rank,
            program,
            source,
        },
        _ => LaunchError::Start {
            rank,
            program,
            source,
        },
    }
}

/// Two pipes, the one that tells of its death, and its socket in the wire-up; three pipes and that one of an agent's process.
const DESCRIPTORS_OF_A_RANK: u64 = 4;

/// Its own streams and their copies, signals, the segment, its end of the watcher's pipe, rank 0's input, the pipe of a starting process: rounded up.
const DESCRIPTORS_OF_THE_LAUNCHER: u64 = 32;
