//! The launcher's standard input, carried to rank 0.
//!
//! Rank 0 cannot simply inherit it: ranks are process groups of their own, and the terminal stops a group in the background
//! that reads from it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
    /// The terminal belongs to another process group for now.
    paused: bool,
}

impl Pump {
    pub(crate) fn new(source: OwnedFd, target: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&target)?;
        Ok(Self {
            source,
            target: Some(target),
            buffer: vec![0; 64 << 10],
            filled: 0..0,
            paused: false,
        })
    }

    /// The descriptor to wait for and what for.
    pub(crate) fn waiting(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let target = self.target.as_ref()?;
        if !self.filled.is_empty() {
            Some((target.as_fd(), PollFlags::POLLOUT))
        } else if !self.paused {
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
            Ok(count) if count > 0 => {}
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::EIO) if self.filled.is_empty() => self.paused = true,
            // The end of the input, or a rank that has closed its own: neither is an error.
            _ => self.close(),
        }
    }

    /// Tries a terminal again that belonged to another process group.
    pub(crate) const fn resume(&mut self) {
        self.paused = false;
    }

    /// Carries no more; rank 0 sees the end of its input.
    pub(crate) fn close(&mut self) {
        self.target = None;
    }
}
