//! What became of a job and of each of its ranks.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

/// How one rank ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "Unix knows no third way")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
}

impl Exit {
    /// Whether the rank exited with code 0.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        status.signal().map_or_else(
            || Self::Code(status.code().expect("no signal, so there is a code")),
            Self::Signal,
        )
    }
}

/// A clause without its subject: `exited with code 7`, `was killed by signal 11 (SIGSEGV)`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "was killed by signal {number} ({signal})"),
                Err(_) => write!(f, "was killed by signal {number}"),
            },
        }
    }
}

/// Why a job came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Every rank exited with code 0.
    Success,
    /// A rank failed, and the others were ended.
    RankFailed {
        /// The first rank that failed.
        rank: usize,
        /// How it ended.
        exit: Exit,
    },
    /// The connection to a host on which ranks ran was lost.
    HostLost {
        /// The name by which it was reached.
        host: String,
    },
    /// The launcher got this signal and passed it on.
    Interrupted {
        /// The number of the signal.
        signal: i32,
    },
    /// The time limit passed.
    TimedOut,
    /// Nobody reads the launcher's standard output any more.
    OutputClosed,
    /// The launcher could not write its output, and has said why.
    OutputFailed,
}

/// The result of a job of which every rank was started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// Why the job ended.
    pub ending: Ending,
    /// What the launcher had to say, a line each; with [`Output::Console`](crate::Output::Console) it was also printed.
    pub notices: Vec<String>,
    /// One for each rank.
    pub ranks: Vec<RankOutcome>,
}

/// The result of one rank.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RankOutcome {
    /// Its process id, which may meanwhile belong to another process.
    pub pid: u32,
    /// How it ended. A rank whose host was lost counts as killed by SIGKILL, for that is what happens to it there; one that was not
    /// started any more, since others had failed on other hosts, as ended by SIGTERM.
    pub exit: Exit,
    /// All it wrote to standard output, with [`Output::Capture`](crate::Output::Capture); otherwise empty.
    pub stdout: Vec<u8>,
    /// The same of standard error.
    pub stderr: Vec<u8>,
}
