//! Signals sent to the launcher, read from a descriptor in the same loop as everything else.
//!
//! A handler could do nothing but set a flag, and the loop would have to look at it; a descriptor needs neither a
//! handler nor a race between looking and sleeping.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals of this process, taken over for the ranks of a job.
#[derive(Debug)]
pub struct Interrupts {
    descriptor: SignalFd,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To end: forward it, and kill the second time.
    End(Signal),
    /// Nothing that concerns the launcher: forward it.
    Relay(Signal),
    /// To stop until continued, as Ctrl-Z does.
    Suspend,
}

impl Interrupts {
    /// Takes over SIGINT, SIGTERM, SIGQUIT, SIGHUP (unless ignored, as `nohup` does), SIGUSR1, SIGUSR2,
    /// SIGTSTP and SIGTTIN.
    ///
    /// They are blocked in the calling thread and in those it starts later, and stay so. Call it first in `main`, before
    /// any thread is started; another thread that does not block them would get them instead.
    ///
    /// # Errors
    /// If the kernel gives no descriptor for signals.
    pub fn take_over() -> io::Result<Self> {
        let mut signals: SigSet = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGTSTP,
            // Blocked, it makes reading a terminal from the background an error instead of a stop.
            Signal::SIGTTIN,
        ]
        .into_iter()
        .collect();
        if !is_ignored(Signal::SIGHUP) {
            signals.add(Signal::SIGHUP);
        }
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&signals, flags)?;
        Ok(Self { descriptor })
    }

    /// The number of a signal that asks to end, if one has come since the last call and no job has had it. Does not block.
    #[must_use]
    pub fn asked_to_end(&self) -> Option<i32> {
        loop {
            if let Request::End(signal) = self.next()? {
                return Some(signal as i32);
            }
        }
    }

    /// The next signal that has come, `None` when there is none.
    pub(crate) fn next(&self) -> Option<Request> {
        loop {
            let signal = self.descriptor.read_signal().ok()??;
            let number = i32::try_from(signal.ssi_signo).ok()?;
            match Signal::try_from(number).ok()? {
                signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGQUIT | Signal::SIGHUP) => {
                    return Some(Request::End(signal));
                }
                signal @ (Signal::SIGUSR1 | Signal::SIGUSR2) => {
                    return Some(Request::Relay(signal));
                }
                Signal::SIGTSTP => return Some(Request::Suspend),
                _ => {}
            }
        }
    }

    /// Stops this process as if SIGTSTP had not been taken over, and returns when it is continued. The kernel decides
    /// whether it stops: without a shell that could continue it, it does not.
    pub(crate) fn suspend() -> nix::Result<()> {
        let stop = SigSet::from(Signal::SIGTSTP);
        raise(Signal::SIGTSTP)?;
        stop.thread_unblock()?;
        stop.thread_block()
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// There is no safe call that only asks; the kernel tells it as a mask in hexadecimal.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}
