//! One output stream of all ranks: from a pipe each, by lines, into one sink.
//!
//! A pipe is read only while the sink has room. A rank that writes faster than the launcher's output is read therefore
//! blocks in its own `write`, and memory stays bounded.

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
    /// `None` when the rank will write no more.
    channels: Vec<Option<Channel>>,
    sink: Sink,
    /// The rank that is looked at first. It moves on, so that no rank starves when there is room for few.
    first: usize,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Channel {
    pipe: OwnedFd,
    lines: Lines,
    /// For a rank that has ended: how much the pipe can still hold of it. A process that outlives the rank with the
    /// pipe open could otherwise keep the launcher reading for ever.
    left: Option<usize>,
}

impl Stream {
    /// Reads `pipes`, one for each rank, into `sink`. Lines of `line_limit` bytes and more may be cut.
    pub(crate) fn new(pipes: Vec<OwnedFd>, sink: Sink, line_limit: usize) -> io::Result<Self> {
        let open = |pipe: OwnedFd| {
            set_nonblocking(&pipe)?;
            let lines = Lines::new(line_limit);
            Ok(Some(Channel {
                pipe,
                lines,
                left: None,
            }))
        };
        Ok(Self {
            channels: pipes.into_iter().map(open).collect::<io::Result<_>>()?,
            sink,
            first: 0,
            buffer: vec![0; READ],
        })
    }

    /// The pipes to wait for, with their ranks.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let ranks = (self.first..self.channels.len()).chain(0..self.first);
        let has_room = self.sink.has_room();
        ranks.filter(move |_| has_room).filter_map(|rank| {
            let channel = self.channels[rank].as_ref()?;
            channel.left.is_none().then(|| (rank, channel.pipe.as_fd()))
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
        let wanted = channel.left.unwrap_or(READ).min(READ);
        let got = read(&channel.pipe, &mut self.buffer[..wanted]);
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
        if let Some(channel) = &mut self.channels[rank] {
            let capacity = fcntl(&channel.pipe, FcntlArg::F_GETPIPE_SZ).unwrap_or_default();
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
        self.first = (self.first + 1) % self.channels.len();
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
            Sink::Descriptor(_) => None,
        }
    }

    fn close(&mut self, rank: usize) {
        if let Some(channel) = self.channels[rank].take() {
            let sink = &mut self.sink;
            channel.lines.finish(|piece| sink.push(rank, piece));
        }
    }
}

/// The usual capacity of a pipe, so that one call can empty it.
const READ: usize = 64 << 10;
