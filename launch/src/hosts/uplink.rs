//! An agent's way to who has started it: its standard input and output.

use std::env;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::PollFd;
use phalanx_wireup::{Channel, ChannelError, Halves};

use super::errand::Errand;
use super::frames::{AGENT, Down, Introduction, LAUNCHER, Up, decode, encode};

/// Frames to and from the launcher, or the agent above.
#[derive(Debug)]
pub(crate) struct Uplink {
    channel: Channel,
}

/// The end of the way up, and what to say of it.
#[derive(Debug)]
pub(crate) struct Hangup(pub(crate) String);

impl Uplink {
    /// Introduces this process, which was reached from `client`.
    pub(crate) fn open(client: Option<IpAddr>) -> io::Result<Self> {
        // Not by the standard library's own, which would read ahead.
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        // A new line first, for others may have left one unfinished.
        let ours = format!("\n{AGENT}{}", Introduction::ours(client));
        let channel = Channel::plain(Halves::new(stdin, stdout))?.opening(&ours, LAUNCHER);
        Ok(Self { channel })
    }

    /// Waits for what is to be done.
    pub(crate) fn errand(&mut self) -> Result<Errand, Hangup> {
        let mut bytes = Vec::new();
        loop {
            self.flush()?;
            self.fill()?;
            while let Some(message) = self.next()? {
                let Down::Errand { piece, is_last } = message else {
                    return Err(Hangup::nonsense());
                };
                bytes.extend(piece);
                if bytes.len() > MOST {
                    return Err(Hangup::nonsense());
                }
                if is_last {
                    return decode(&bytes).ok_or_else(Hangup::nonsense);
                }
            }
            let waited = self.channel.wait(Duration::MAX);
            waited.map_err(|error| Hangup(error.to_string()))?;
        }
    }

    /// Reads what is there.
    pub(crate) fn fill(&mut self) -> Result<(), Hangup> {
        self.channel.fill()?;
        let Some(line) = self.channel.opened() else {
            return Ok(());
        };
        match Introduction::parse(line) {
            Some(theirs) if theirs.fits(&Introduction::ours(None)) => Ok(()),
            _ => Err(Hangup(format!("the launcher is of version {line:?}"))),
        }
    }

    /// The next message that is there whole.
    pub(crate) fn next(&mut self) -> Result<Option<Down>, Hangup> {
        let frame = self.channel.next_frame()?;
        let message = frame.map(|frame| decode(&frame).ok_or_else(Hangup::nonsense));
        message.transpose()
    }

    /// Queues a message, which [`flush`](Self::flush) writes.
    pub(crate) fn send(&mut self, message: &Up) {
        // Only a sealed channel can refuse.
        self.channel.queue(encode(message)).ok();
    }

    /// Writes what can be written at once. Returns whether that was all.
    pub(crate) fn flush(&mut self) -> Result<bool, Hangup> {
        Ok(self.channel.flush()?)
    }

    /// Writes everything, however long it takes.
    pub(crate) fn flush_all(&mut self) -> Result<(), Hangup> {
        while !self.flush()? {
            self.fill()?;
            let waited = self.channel.wait(Duration::MAX);
            waited.map_err(|error| Hangup(error.to_string()))?;
            while self.next()?.is_some() {}
        }
        Ok(())
    }

    /// What to wait for.
    pub(crate) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.channel.interests()
    }
}

impl Hangup {
    fn nonsense() -> Self {
        Self("it sent what no launcher sends".to_owned())
    }
}

impl From<ChannelError> for Hangup {
    fn from(error: ChannelError) -> Self {
        Self(error.to_string())
    }
}

/// The addresses of both ends, if this process was started by an SSH server: that of the client, and that by which this host was
/// reached.
pub(crate) fn ssh_addresses() -> (Option<IpAddr>, Option<IpAddr>) {
    let connection = env::var("SSH_CONNECTION").unwrap_or_default();
    let words: Vec<_> = connection.split(' ').collect();
    match words[..] {
        [client, _, server, _] => (client.parse().ok(), server.parse().ok()),
        _ => (None, None),
    }
}

/// Far more than any errand has: a list of all hosts and ranks, arguments and variables.
const MOST: usize = 64 << 20;
