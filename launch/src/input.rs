//! The launcher's standard input, carried to rank 0: by a pipe, or in pieces where the rank is on another host.
//!
//! Rank 0 cannot simply inherit it: ranks are process groups of their own, and the terminal stops a group in the background
//! that reads from it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::{read, write};

use crate::hosts::frames::PIECE;
use crate::spawn::set_nonblocking;

/// Carries bytes from one descriptor to rank 0, one buffer at a time.
#[derive(Debug)]
pub(crate) struct Pump {
    source: OwnedFd,
    /// `None` when there is nothing more to carry, or nobody to carry it to.
    target: Option<Target>,
    /// What is to be sent to another host; an empty piece is the end.
    pieces: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    /// How much of `buffer` is on its way, from where.
    filled: std::ops::Range<usize>,
    /// The terminal belongs to another process group, and is tried again at this time: a shell that puts a running
    /// job into the foreground tells it nothing.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
enum Target {
    Pipe(OwnedFd),
    /// Another host, to which so many bytes may be sent.
    Far(usize),
}

impl Pump {
    /// To a pipe.
    pub(crate) fn new(source: OwnedFd, target: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&target)?;
        Ok(Self::with(source, Target::Pipe(target)))
    }

    /// To another host, `window` bytes ahead of what has arrived there.
    pub(crate) fn far(source: OwnedFd, window: usize) -> Self {
        Self::with(source, Target::Far(window))
    }

    fn with(source: OwnedFd, target: Target) -> Self {
        Self {
            source,
            target: Some(target),
            pieces: Vec::new(),
            buffer: vec![0; 64 << 10],
            filled: 0..0,
            paused_until: None,
        }
    }

    /// The descriptor to wait for and what for.
    pub(crate) fn waiting(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self.target.as_ref()? {
            Target::Pipe(pipe) if !self.filled.is_empty() => {
                Some((pipe.as_fd(), PollFlags::POLLOUT))
            }
            Target::Far(0) => None,
            _ if self.deadline().is_none() => Some((self.source.as_fd(), PollFlags::POLLIN)),
            _ => None,
        }
    }

    /// Moves one buffer on. Call it when the descriptor of [`waiting`](Self::waiting) is ready.
    pub(crate) fn advance(&mut self) {
        let moved = match &mut self.target {
            None => return,
            Some(Target::Pipe(pipe)) if !self.filled.is_empty() => {
                write(pipe, &self.buffer[self.filled.clone()])
                    .inspect(|count| self.filled.start += count)
            }
            Some(Target::Pipe(_)) => {
                read(&self.source, &mut self.buffer).inspect(|&count| self.filled = 0..count)
            }
            Some(Target::Far(allowed)) => {
                let most = (*allowed).min(PIECE);
                read(&self.source, &mut self.buffer[..most]).inspect(|&count| {
                    *allowed -= count;
                    self.pieces.push(self.buffer[..count].to_vec());
                })
            }
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

    /// What is to be sent to the other host.
    pub(crate) fn pieces(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.pieces)
    }

    /// So many bytes have arrived at the rank on the other host.
    pub(crate) const fn arrived(&mut self, bytes: usize) {
        if let Some(Target::Far(allowed)) = &mut self.target {
            *allowed = allowed.saturating_add(bytes);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Write, pipe};

    #[test]
    fn input_for_another_host_stays_within_the_window() {
        let (reader, mut writer) = pipe().unwrap();
        let mut pump = Pump::far(reader.into(), 10);
        writer.write_all(&[b'x'; 25]).unwrap();
        drop(writer);
        let mut sent = Vec::new();
        for expected in [10, 10, 5] {
            assert!(pump.waiting().is_some());
            pump.advance();
            let pieces = pump.pieces();
            assert_eq!(pieces.len(), 1);
            assert_eq!(pieces[0].len(), expected);
            if expected == 10 {
                assert!(pump.waiting().is_none(), "the window is full");
                pump.arrived(10);
            }
            sent.extend(pieces.concat());
        }
        assert_eq!(sent, [b'x'; 25]);
        pump.advance();
        assert_eq!(pump.pieces(), [Vec::new()], "the end is an empty piece");
        assert!(pump.waiting().is_none());
        pump.advance();
        assert!(pump.pieces().is_empty());
    }
}
