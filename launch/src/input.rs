//! The launcher's standard input, carried to rank 0.
//!
//! Rank 0 cannot simply inherit it: ranks are process groups of their own, and the terminal stops a group in the background
//! that reads from it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::{read, write};

use crate::spawn::set_nonblocking;

/// Carries bytes from one descriptor to a pipe, one buffer at a time.
#[derive(Debug)]
pub(crate) struct Pump {
    source: OwnedFd,
    /// `None` when there is nothing more to carry, or nobody to carry it to.
    target: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// How much of `buffer` is on its way, from where.
    filled: std::ops::Range<usize>,
    /// The terminal belongs to another process group, and is tried again at this time: a shell that puts a running
    /// job into the foreground tells it nothing.
    paused_until: Option<Instant>,
}

impl Pump {
    pub(crate) fn new(source: OwnedFd, target: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&target)?;
        Ok(Self {
            source,
            target: Some(target),
            buffer: vec![0; 64 << 10],
            filled: 0..0,
            paused_until: None,
        })
    }

    /// The descriptor to wait for and what for.
    pub(crate) fn waiting(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let target = self.target.as_ref()?;
        if !self.filled.is_empty() {
            Some((target.as_fd(), PollFlags::POLLOUT))
        } else if self.deadline().is_none() {
            Some((self.source.as_fd(), PollFlags::POLLIN))
        } else {
            None
        }
    }

    /// Moves one buffer on. Call it when the descriptor of [`waiting`](Self::waiting) is ready.
    pub(crate) fn advance(&mut self) {
        let Some(target) = &self.target else { return };
        let moved = if self.filled.is_empty() {
            read(&self.source, &mut self.buffer).inspect(|&count| self.filled = 0..count)
        } else {
            write(target, &self.buffer[self.filled.clone()])
                .inspect(|count| self.filled.start += count)
        };
        match moved {
            Ok(count) if count > 0 => self.paused_until = None,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::EIO) if self.filled.is_empty() => {
                self.paused_until = Some(Instant::now() + RETRY);
            }
            // The end of the input, or a rank that has closed its own: neither is an error.
            _ => self.close(),
        }
    }

    /// When a terminal that belonged to another process group is to be tried again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.paused_until.filter(|&retry| Instant::now() < retry)
    }

    /// Carries no more; rank 0 sees the end of its input.
    pub(crate) fn close(&mut self) {
        self.target = None;
    }
}

/// Shorter than it takes to type a line after `fg`.
const RETRY: Duration = Duration::from_millis(300);
