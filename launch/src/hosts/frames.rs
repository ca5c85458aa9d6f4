//! What a launcher and its agents say to each other: docs/design/launch.md draws it.
//!
//! Both begin with a line of text, so that versions can be compared whatever else has changed. Frames follow, as long as the channel
//! allows; each is one message, as postcard writes it.

use phalanx_wireup::exchange::ProcessEnd;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// From the launcher, or an agent above, to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Down {
    /// A piece of the [`Errand`](super::errand::Errand), which is the first thing that is said.
    Errand { piece: Vec<u8>, is_last: bool },
    /// For all ranks below, and what they have started.
    Signal(i32),
    /// Input of rank 0; empty at the end.
    Input(Vec<u8>),
    /// So many bytes more may come from the ranks of this host.
    Credit {
        host: u32,
        stream: StreamName,
        bytes: u32,
    },
    /// A frame of the wire-up.
    Exchange(Vec<u8>),
}

/// From an agent to the launcher, or to the agent above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Up {
    /// The ranks of a host run.
    Started { host: u32 },
    /// The ranks of a host could not be started.
    Failed { host: u32, code: u8, text: String },
    /// Output of a rank; empty at the end.
    Output {
        rank: u32,
        stream: StreamName,
        bytes: Vec<u8>,
    },
    /// A rank has ended.
    Exited {
        rank: u32,
        pid: u32,
        end: ProcessEnd,
    },
    /// So many bytes of the input have gone to rank 0.
    Taken(u32),
    /// The connection to a host was lost, and with it all hosts below.
    Lost { host: u32, text: String },
    /// A frame of the wire-up.
    Exchange(Vec<u8>),
}

/// Which output of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StreamName {
    Stdout,
    Stderr,
}

impl StreamName {
    pub(crate) const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];
}

/// The bytes of a message.
pub(crate) fn encode(message: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(message).expect("postcard writes every message of ours")
}

/// The message that these bytes are; `None` if they are none, or more than one.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

/// Who speaks, in the line that comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Introduction {
    pub(crate) protocol: u32,
    pub(crate) version: String,
    /// What an agent adds: from which address it was reached.
    pub(crate) client: Option<std::net::IpAddr>,
}

impl Introduction {
    /// Of this program.
    pub(crate) fn ours(client: Option<std::net::IpAddr>) -> Self {
        Self {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            client,
        }
    }

    /// What stands after the mark.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            protocol: words.next()?.parse().ok()?,
            version: words.next()?.to_owned(),
            client: words.next().and_then(|address| address.parse().ok()),
        })
    }

    /// Whether both can work together. Until 1.0 that takes the same version.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        (self.protocol, &self.version) == (other.protocol, &other.version)
    }
}

impl std::fmt::Display for Introduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.protocol, self.version)?;
        match self.client {
            Some(client) => write!(f, " {client}"),
            None => Ok(()),
        }
    }
}

/// The version of the messages. A change of one changes it, and the test that pins the bytes.
const PROTOCOL: u32 = 1;

/// With what a launcher's line begins.
pub(crate) const LAUNCHER: &str = "phalanx launcher ";

/// With what an agent's line begins.
pub(crate) const AGENT: &str = "phalanx agent ";

/// Bytes of output, input or errand in one frame.
pub(crate) const PIECE: usize = 32 << 10;

/// Bytes of either output that may be under way from a host, and of input to rank 0.
pub(crate) const WINDOW: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (u32, StreamName, Vec<u8>) {
        (300, StreamName::Stderr, vec![7, 8])
    }

    #[test]
    fn the_bytes_of_messages_down_stay_as_they_are() {
        let (host, stream, bytes) = example();
        let down: [(Down, &[u8]); 5] = [
            (
                Down::Errand {
                    piece: bytes.clone(),
                    is_last: true,
                },
                &[0, 2, 7, 8, 1],
            ),
            (Down::Signal(15), &[1, 30]),
            (Down::Input(bytes.clone()), &[2, 2, 7, 8]),
            (
                Down::Credit {
                    host,
                    stream,
                    bytes: 5,
                },
                &[3, 0xac, 2, 1, 5],
            ),
            (Down::Exchange(bytes.clone()), &[4, 2, 7, 8]),
        ];
        for (message, expected) in down {
            assert_eq!(encode(&message), expected);
            assert_eq!(decode(expected), Some(message));
        }
    }

    #[test]
    fn the_bytes_of_messages_up_stay_as_they_are() {
        let (host, stream, bytes) = example();
        let text = "no".to_owned();
        let up: [(Up, &[u8]); 7] = [
            (Up::Started { host }, &[0, 0xac, 2]),
            (
                Up::Failed {
                    host,
                    code: 127,
                    text: text.clone(),
                },
                &[1, 0xac, 2, 127, 2, b'n', b'o'],
            ),
            (
                Up::Output {
                    rank: 9,
                    stream,
                    bytes: bytes.clone(),
                },
                &[2, 9, 1, 2, 7, 8],
            ),
            (
                Up::Exited {
                    rank: 9,
                    pid: 5,
                    end: ProcessEnd::Signal(6),
                },
                &[3, 9, 5, 1, 6],
            ),
            (Up::Taken(4), &[4, 4]),
            (Up::Lost { host, text }, &[5, 0xac, 2, 2, b'n', b'o']),
            (Up::Exchange(bytes), &[6, 2, 7, 8]),
        ];
        for (message, expected) in up {
            assert_eq!(encode(&message), expected);
            assert_eq!(decode(expected), Some(message));
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_none() {
        for bytes in [
            &[][..],
            &[9],
            &[1],
            &[1, 30, 0],
            &[2, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(decode::<Down>(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn introductions_survive_the_line() {
        for client in [None, Some("fd00::7".parse().unwrap())] {
            let ours = Introduction::ours(client);
            assert_eq!(Introduction::parse(&ours.to_string()), Some(ours));
        }
        let other = Introduction::parse("1 9.9.9").unwrap();
        assert!(!other.fits(&Introduction::ours(None)));
        assert_eq!(Introduction::parse("hello"), None);
    }
}
