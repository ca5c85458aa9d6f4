//! Why a host is of no use, or of no more: in words that name the host and the cure.

use std::fmt;
use std::io;

use super::frames::Introduction;
use crate::outcome::Exit;

/// What is wrong with a host.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) host: String,
    /// The command that reaches it.
    pub(crate) command: String,
    /// What that, or what it started, wrote to standard error.
    pub(crate) words: String,
    pub(crate) reason: Reason,
}

/// The kinds of trouble.
#[derive(Debug)]
pub(crate) enum Reason {
    /// The command that reaches the host cannot be started.
    Command(io::Error),
    /// The command ended in this way before an agent spoke.
    Unanswered { exit: Exit, noise: String },
    /// The agent is of another version.
    Version {
        theirs: Introduction,
        ours: Introduction,
    },
    /// What came is nothing that agents say.
    Garbage(String),
    /// The agent was there, and then its connection ended.
    Lost { exit: Exit },
    /// It did what it was there for, or was told to end.
    Dismissed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            command,
            words,
            reason,
        } = self;
        for line in words.lines().filter(|line| !line.trim().is_empty()) {
            writeln!(f, "{host}: {line}")?;
        }
        match reason {
            Reason::Command(error) => write!(
                f,
                "host {host} cannot be reached: `{command}` cannot be started ({error}): install OpenSSH's client, or name another \
                 command with --launch-agent"
            ),
            Reason::Unanswered {
                exit: Exit::Code(127),
                ..
            } => write!(
                f,
                "host {host} has no `phalanx`, neither where it is on this host nor in its PATH: install it there, or name its \
                 place with --remote-phalanx"
            ),
            Reason::Unanswered {
                exit: Exit::Code(255),
                ..
            } => write!(
                f,
                "host {host} cannot be reached: `{command}` exited with code 255; `{command} -o BatchMode=yes {host} true` has to \
                 work without a question, so that host's key has to be known and yours accepted"
            ),
            Reason::Unanswered { exit, noise } => {
                write!(f, "host {host} did not answer: `{command}` {exit}")?;
                match noise.lines().next_back() {
                    Some(line) => write!(f, " after it had printed {line:?}"),
                    None => Ok(()),
                }
            }
            Reason::Version { theirs, ours } => write!(
                f,
                "host {host} has phalanx {} (protocol {}) and this host {} (protocol {}): install the same on both, or name its \
                 place with --remote-phalanx",
                theirs.version, theirs.protocol, ours.version, ours.protocol
            ),
            Reason::Garbage(what) => write!(
                f,
                "host {host} sent what no agent sends ({what}): is the same phalanx on both hosts, and is nothing in between that \
                 changes bytes, such as a terminal?"
            ),
            Reason::Lost { exit } => write!(
                f,
                "host {host} was lost: the connection to its agent ended (`{command}` {exit})"
            ),
            Reason::Dismissed => write!(f, "host {host} was dismissed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &str, reason: Reason) -> String {
        let fault = Fault {
            host: "b".to_owned(),
            command: "ssh".to_owned(),
            words: words.to_owned(),
            reason,
        };
        fault.to_string()
    }

    #[test]
    fn last_words_come_first_with_the_host_before_each_line() {
        let exit = Exit::Code(255);
        let noise = String::new();
        let text = text("\nb: no key\n\nbye", Reason::Unanswered { exit, noise });
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("b: b: no key"));
        assert_eq!(lines.next(), Some("b: bye"));
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("host b cannot be reached")
        );
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn every_fault_names_its_host() {
        let exit = Exit::Signal(9);
        let noise = || "Hello\nyou".to_owned();
        let ours = Introduction::ours(None);
        let theirs = Introduction::parse("7 9.9.9").unwrap();
        for (reason, part) in [
            (Reason::Command(io::Error::other("no")), "--launch-agent"),
            (
                Reason::Unanswered {
                    exit,
                    noise: noise(),
                },
                "printed \"you\"",
            ),
            (
                Reason::Unanswered {
                    exit: Exit::Code(127),
                    noise: noise(),
                },
                "--remote-phalanx",
            ),
            (Reason::Version { theirs, ours }, "9.9.9 (protocol 7)"),
            (Reason::Garbage("no".to_owned()), "no agent"),
            (Reason::Lost { exit }, "killed by signal 9"),
        ] {
            let text = text("", reason);
            assert!(text.starts_with("host b") && text.contains(part), "{text}");
        }
    }
}
