//! The exit code of the command: every way to end and its number, in one table.
//!
//! Numbers from 124 follow `timeout`, `env` and the shells, so that scripts need not learn new ones.

use crate::job::LaunchError;
use crate::outcome::{Ending, Exit};

/// How the command `phalanx` ends.
///
/// # Examples
/// ```
/// use phalanx_launch::{Ending, Exit, ExitCode};
///
/// let crashed = Ending::RankFailed { rank: 3, exit: Exit::Signal(11) };
/// assert_eq!(ExitCode::from(&crashed).number(), 139);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitCode {
    /// All went well: 0.
    Success,
    /// The code of the first rank that failed.
    Rank(u8),
    /// The command line is wrong: 2.
    Usage,
    /// The time limit passed: 124.
    TimedOut,
    /// The launcher itself could not do its work: 125.
    Launcher,
    /// The program is there but cannot be executed: 126.
    NotExecutable,
    /// The program is not there: 127.
    NotFound,
    /// 128 and the number of the signal that killed the first failing rank, or that the launcher was sent.
    Signal(u8),
}

impl ExitCode {
    /// The number that the shell sees.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Rank(code) => code,
            Self::Usage => 2,
            Self::TimedOut => 124,
            Self::Launcher => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Signal(signal) => 128 | signal,
        }
    }

    /// Signal numbers end at 64.
    fn signal(number: i32) -> Self {
        u8::try_from(number).map_or(Self::Launcher, Self::Signal)
    }
}

impl From<&Ending> for ExitCode {
    fn from(ending: &Ending) -> Self {
        match *ending {
            Ending::Success => Self::Success,
            Ending::RankFailed {
                exit: Exit::Code(code),
                ..
            } => u8::try_from(code).map_or(Self::Launcher, Self::Rank),
            Ending::RankFailed {
                exit: Exit::Signal(signal),
                ..
            }
            | Ending::Interrupted { signal } => Self::signal(signal),
            Ending::TimedOut => Self::TimedOut,
            Ending::OutputClosed => Self::signal(nix::libc::SIGPIPE),
            Ending::OutputFailed | Ending::HostLost { .. } => Self::Launcher,
        }
    }
}

impl From<&LaunchError> for ExitCode {
    fn from(error: &LaunchError) -> Self {
        match error {
            LaunchError::NotFound { .. } => Self::NotFound,
            LaunchError::NotExecutable { .. } => Self::NotExecutable,
            LaunchError::Host { code, .. } => *code,
            LaunchError::Interrupted { signal, .. } => Self::signal(*signal),
            LaunchError::Late { .. } => Self::TimedOut,
            _ => Self::Launcher,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_its_number() {
        let failed = |exit| Ending::RankFailed { rank: 1, exit };
        for (ending, number) in [
            (Ending::Success, 0),
            (failed(Exit::Code(1)), 1),
            (failed(Exit::Code(255)), 255),
            (failed(Exit::Signal(9)), 137),
            (failed(Exit::Signal(64)), 192),
            (Ending::Interrupted { signal: 2 }, 130),
            (Ending::Interrupted { signal: 15 }, 143),
            (Ending::TimedOut, 124),
            (Ending::OutputClosed, 141),
            (Ending::OutputFailed, 125),
            (Ending::HostLost { host: "b".into() }, 125),
        ] {
            assert_eq!(ExitCode::from(&ending).number(), number, "{ending:?}");
        }
    }

    #[test]
    fn a_program_that_cannot_start_has_the_numbers_of_the_shells() {
        let rank = 0;
        let source = || std::io::Error::other("no");
        let program = || "p".into();
        for (error, number) in [
            (
                LaunchError::NotFound {
                    rank,
                    program: program(),
                    source: source(),
                },
                127,
            ),
            (
                LaunchError::NotExecutable {
                    rank,
                    program: program(),
                    source: source(),
                },
                126,
            ),
            (
                LaunchError::Segment(phalanx_shm::SegmentError::Create(source())),
                125,
            ),
        ] {
            assert_eq!(ExitCode::from(&error).number(), number, "{error:?}");
        }
    }
}
