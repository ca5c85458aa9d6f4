//! How threads of a rank sleep: one of them on the socket, driving what need not wake anybody, the others until it says so.
//!
//! Sleep follows the rule of every link: who announces it and is then told, or was sent something, before it sleeps, does not sleep.
//! What arrives is found by whoever drives, under the lock of the driver, under which sleep is announced too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::{Condvar, Mutex};

/// What sleeping threads of a rank wait for.
pub(super) struct Bell {
    nap: Mutex<Nap>,
    rung: Condvar,
    poke: Poke,
    /// Rung as well, where threads sleep elsewhere.
    doorbell: OnceLock<phalanx_shm::Sleeper>,
    /// Copy of [`Nap::watching`], for a look in passing.
    watched: AtomicBool,
    /// Copy of [`Nap::sleeping`], for a look in passing.
    sleeping: AtomicBool,
}

#[derive(Default)]
struct Nap {
    /// Sleep was announced, and nobody has rung since.
    sleeping: bool,
    wakes: u64,
    /// One of the threads rests on the socket.
    watching: bool,
}

/// Ends the rest of a thread.
pub(super) struct Poke(EventFd);

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            nap: Mutex::default(),
            rung: Condvar::new(),
            poke: Poke::new()?,
            doorbell: OnceLock::new(),
            watched: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
        })
    }

    /// Rings `doorbell` too, from now on.
    pub(super) fn ring_too(&self, doorbell: phalanx_shm::Sleeper) {
        // A second one would be of the same rank.
        let _ = self.doorbell.set(doorbell);
    }

    /// Announces sleep. To be called under the lock of the driver, when that has nothing for anybody.
    pub(super) fn announce(&self) {
        let mut nap = self.nap.lock();
        nap.sleeping = true;
        self.sleeping.store(true, Ordering::Relaxed);
    }

    /// Wakes all who sleep, or are about to. To be called under the lock of the driver if that has news: who announced sleep before
    /// is seen then, and who announces it later sees the news.
    #[inline]
    pub(super) fn ring(&self) {
        if self.sleeping.load(Ordering::Relaxed) {
            self.ring_loudly();
        }
    }

    /// As [`Self::ring`], from anywhere.
    pub(super) fn ring_loudly(&self) {
        let mut nap = self.nap.lock();
        if std::mem::replace(&mut nap.sleeping, false) {
            self.sleeping.store(false, Ordering::Relaxed);
            nap.wakes += 1;
            self.rung.notify_all();
            if nap.watching {
                self.poke.poke();
            }
            if let Some(doorbell) = self.doorbell.get() {
                doorbell.wake();
            }
        }
    }

    /// Whether a sleeping thread sees to the socket.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Ends the rest of the thread that sees to the socket, so that it rests anew.
    pub(super) fn poke(&self) {
        self.poke.poke();
    }

    /// Sleeps, after the announcement, until rung or until `timeout` has passed. One thread calls `watch` all the while, which rests
    /// on the socket until a given time at the latest.
    pub(super) fn sleep(&self, timeout: Duration, mut watch: impl FnMut(&Poke, Option<Instant>)) {
        // A time that no clock can show never comes.
        let end = Instant::now().checked_add(timeout);
        let mut nap = self.nap.lock();
        let wakes = nap.wakes;
        let mut watches = false;
        while nap.sleeping && nap.wakes == wakes && end.is_none_or(|end| Instant::now() < end) {
            if watches || !nap.watching {
                watches = true;
                nap.watching = true;
                self.watched.store(true, Ordering::Relaxed);
                drop(nap);
                watch(&self.poke, end);
                nap = self.nap.lock();
            } else if let Some(end) = end {
                self.rung.wait_until(&mut nap, end);
            } else {
                self.rung.wait(&mut nap);
            }
        }
        if watches {
            nap.watching = false;
            self.watched.store(false, Ordering::Relaxed);
            // Another sleeper takes over.
            self.rung.notify_all();
        }
    }
}

impl Poke {
    pub(super) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_flags(flags)?))
    }

    pub(super) fn poke(&self) {
        // Fails only when it has been poked 2^64 times without anybody noticing.
        let _ = self.0.write(1);
    }

    /// Rests until poked, until one of `others` has something to read, or until `until`; whether the last of them has.
    pub(super) fn rest(&self, others: &[BorrowedFd<'_>], until: Instant) -> bool {
        let time = until.saturating_duration_since(Instant::now());
        let mut places = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        places.extend(
            others
                .iter()
                .map(|other| PollFd::new(*other, PollFlags::POLLIN)),
        );
        // A signal ends a rest as well as anything else.
        let _ = ppoll(&mut places, Some(time.into()), None);
        // Fails when nobody has poked.
        let _ = self.0.read();
        places.last().and_then(PollFd::any).unwrap_or(true)
    }
}
