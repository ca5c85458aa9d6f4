//! Input that comes from the launcher's host, on its way to rank 0.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::write;

use crate::spawn::set_nonblocking;

/// Carries bytes to a pipe. Who sends them is told how many have gone, and sends no more than a window beyond that.
#[derive(Debug)]
pub(crate) struct Faucet {
    /// `None` when rank 0 takes no more.
    target: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    has_ended: bool,
    /// Bytes that have gone since it was told.
    gone: u32,
}

impl Faucet {
    pub(crate) fn new(target: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&target)?;
        Ok(Self {
            target: Some(target),
            waiting: VecDeque::new(),
            has_ended: false,
            gone: 0,
        })
    }

    /// Takes bytes; nothing means the end.
    pub(crate) fn pour(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
        self.has_ended |= bytes.is_empty();
        self.advance();
    }

    /// The pipe, if it is to be waited for.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        let target = self.target.as_ref()?;
        (!self.waiting.is_empty()).then(|| target.as_fd())
    }

    /// Writes what the pipe takes.
    pub(crate) fn advance(&mut self) {
        while let Some(target) = &self.target
            && !self.waiting.is_empty()
        {
            match write(target, self.waiting.as_slices().0) {
                Ok(count) => self.take(count),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // A rank that has closed its input is no error.
                Err(_) => self.close(),
            }
        }
        if self.target.is_none() {
            // It goes nowhere, but who reads it at the other end must not wait for it.
            self.take(self.waiting.len());
        }
        if self.has_ended && self.waiting.is_empty() {
            self.close();
        }
    }

    /// Rank 0 takes no more.
    pub(crate) fn close(&mut self) {
        self.target = None;
    }

    /// How many bytes have gone since the last call; `None` if none.
    pub(crate) fn gone(&mut self) -> Option<u32> {
        Some(std::mem::take(&mut self.gone)).filter(|&gone| gone > 0)
    }

    fn take(&mut self, count: usize) {
        self.waiting.drain(..count);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.gone = self.gone.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};

    #[test]
    fn what_is_poured_arrives_and_is_told() {
        let (mut reader, writer) = pipe().unwrap();
        let mut faucet = Faucet::new(writer.into()).unwrap();
        let bytes = vec![7; 1 << 20];
        faucet.pour(&bytes);
        faucet.pour(&[]);
        assert!(faucet.waiting().is_some(), "a pipe holds less");
        let mut told = 0;
        let mut arrived = vec![0; bytes.len()];
        for part in arrived.chunks_mut(4096) {
            reader.read_exact(part).unwrap();
            faucet.advance();
            told += faucet.gone().unwrap_or_default() as usize;
        }
        assert_eq!((told, &arrived), (bytes.len(), &bytes));
        assert_eq!(
            reader.read(&mut arrived).unwrap(),
            0,
            "its end is passed on"
        );
    }

    #[test]
    fn what_nobody_reads_counts_as_gone() {
        let (reader, writer) = pipe().unwrap();
        let mut faucet = Faucet::new(writer.into()).unwrap();
        drop(reader);
        faucet.pour(b"lost");
        assert_eq!(faucet.gone(), Some(4));
        faucet.pour(b"more");
        assert_eq!(faucet.gone(), Some(4));
        assert!(faucet.waiting().is_none());
    }
}
