//! One output stream of all ranks: from a pipe each, or from the agent of another host, by lines, into one sink.
//!
//! A pipe is read only while the sink has room. A rank that writes faster than the launcher's output is read therefore
//! blocks in its own `write`, and memory stays bounded. Agents send no more than they are allowed to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::read;

use crate::lines::Lines;
use crate::sink::Sink;
use crate::spawn::set_nonblocking;

/// Standard output, or standard error, of all ranks.
#[derive(Debug)]
pub(crate) struct Stream {
    /// `None` when the rank will write no more, or has not been started.
    channels: Vec<Option<Channel>>,
    line_limit: usize,
    sink: Sink,
    /// The rank that is looked at first. It moves on, so that no rank starves when there is room for few.
    first: usize,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Channel {
    /// `None` when somebody else brings what the rank writes.
    pipe: Option<OwnedFd>,
    lines: Lines,
    /// For a rank that has ended: how much the pipe can still hold of it. A process that outlives the rank with the
    /// pipe open could otherwise keep the launcher reading for ever.
    left: Option<usize>,
}

impl Stream {
    /// What `ranks` ranks write goes into `sink`. Lines of `line_limit` bytes and more may be cut.
    pub(crate) fn new(ranks: usize, sink: Sink, line_limit: usize) -> Self {
        Self {
            channels: (0..ranks).map(|_| None).collect(),
            line_limit,
            sink,
            first: 0,
            buffer: vec![0; READ],
        }
    }

    /// Reads what `rank` writes from `pipe`.
    pub(crate) fn attach(&mut self, rank: usize, pipe: OwnedFd) -> io::Result<()> {
        set_nonblocking(&pipe)?;
        self.open(rank, Some(pipe));
        Ok(())
    }

    /// Takes what `rank` writes by [`feed`](Self::feed).
    pub(crate) fn attach_far(&mut self, rank: usize) {
        self.open(rank, None);
    }

    fn open(&mut self, rank: usize, pipe: Option<OwnedFd>) {
        self.channels[rank] = Some(Channel {
            pipe,
            lines: Lines::new(self.line_limit),
            left: None,
        });
    }

    /// Takes what `rank`, which is elsewhere, has written; nothing means that it will write no more.
    pub(crate) fn feed(&mut self, rank: usize, bytes: &[u8]) {
        let sink = &mut self.sink;
        match &mut self.channels[rank] {
            Some(channel) if !bytes.is_empty() => {
                channel.lines.push(bytes, |piece| sink.push(rank, piece));
            }
            _ => self.close(rank),
        }
    }

    /// The pipes to wait for, with their ranks.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let ranks = (self.first..self.channels.len()).chain(0..self.first);
        let has_room = self.sink.has_room();
        ranks.filter(move |_| has_room).filter_map(|rank| {
            let channel = self.channels[rank].as_ref()?;
            let pipe = channel.pipe.as_ref().filter(|_| channel.left.is_none())?;
            Some((rank, pipe.as_fd()))
        })
    }

    /// Reads once from the pipe of `rank`, unless the sink is full.
    pub(crate) fn read(&mut self, rank: usize) {
        let Some(channel) = self.channels[rank]
            .as_mut()
            .filter(|_| self.sink.has_room())
        else {
            return;
        };
        let Some(pipe) = &channel.pipe else { return };
        let wanted = channel.left.unwrap_or(READ).min(READ);
        let got = read(pipe, &mut self.buffer[..wanted]);
        match got {
            Ok(count) if count > 0 => {
                channel.left = channel.left.map(|left| left - count);
                let sink = &mut self.sink;
                channel
                    .lines
                    .push(&self.buffer[..count], |piece| sink.push(rank, piece));
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if channel.left.is_none() => {}
            _ => self.close(rank),
        }
    }

    /// The rank has ended: what it wrote is in the pipe now, and [`drain`](Self::drain) gets it.
    pub(crate) fn ended(&mut self, rank: usize) {
        if let Some(channel) = &mut self.channels[rank]
            && let Some(pipe) = &channel.pipe
        {
            let capacity = fcntl(pipe, FcntlArg::F_GETPIPE_SZ).unwrap_or_default();
            channel.left = Some(usize::try_from(capacity).unwrap_or_default());
        }
    }

    /// Reads what ranks that have ended left behind, as far as there is room.
    pub(crate) fn drain(&mut self) {
        for rank in 0..self.channels.len() {
            while self.sink.has_room()
                && self.channels[rank]
                    .as_ref()
                    .is_some_and(|channel| channel.left.is_some())
            {
                self.read(rank);
            }
        }
        self.first = (self.first + 1) % self.channels.len().max(1);
    }

    /// Whether no rank will write more and everything has been written.
    pub(crate) fn is_done(&self) -> bool {
        self.channels.iter().all(Option::is_none) && self.sink.pending().is_none()
    }

    pub(crate) const fn sink(&self) -> &Sink {
        &self.sink
    }

    pub(crate) const fn sink_mut(&mut self) -> &mut Sink {
        &mut self.sink
    }

    /// What each rank wrote, if it went to memory.
    pub(crate) fn into_captured(self) -> Option<Vec<Vec<u8>>> {
        match self.sink {
            Sink::Memory(buffers) => Some(buffers),
            Sink::Descriptor(_) | Sink::Parcels(_) => None,
        }
    }

    fn close(&mut self, rank: usize) {
        if let Some(channel) = self.channels[rank].take() {
            let sink = &mut self.sink;
            channel.lines.finish(|piece| sink.push(rank, piece));
            sink.end(rank);
        }
    }
}

/// The usual capacity of a pipe, so that one call can empty it.
const READ: usize = 64 << 10;
