//! The thread that stands in for a program which is busy elsewhere.
//!
//! Peers need acknowledgements, room and signs of life also while this rank computes for an hour. As long as the program drives its
//! link itself, the keeper sleeps for a tick at a time, notices that, and sleeps again; the program's own path knows nothing of it. Once
//! a tick has passed without a pass of the program, the keeper rests on the socket in its place, until the program is back.
//!
//! A keeper that always rested on the socket would be woken by every packet beside the program: a tenth of the message rate.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::bell::{Bell, Poke};
use super::clock::LONGEST_REST;
use super::departure::Lives;
use super::driver::Driver;

/// What the threads of a rank share.
pub(super) struct Shared {
    seat: Mutex<Seat>,
    pub(super) lives: Arc<Lives>,
    pub(super) bell: Bell,
    socket: std::net::UdpSocket,
    /// Where news of peers come from.
    input: Option<OwnedFd>,
    /// Ends a rest of the keeper.
    poke: Poke,
    /// Passes that anybody but the keeper has made. A hint: whoever misses one is a tick late.
    passes: AtomicU64,
    ends: AtomicBool,
    /// The next sleep is for want of room.
    pub(super) wants_room: AtomicBool,
    tick: Duration,
}

/// Whoever sits here drives.
pub(super) struct Seat {
    pub(super) driver: Driver,
    /// Until when the keeper and the sleeping thread rest, if nothing arrives.
    resting: [Option<Instant>; 2],
}

/// Who rests.
#[derive(Clone, Copy)]
enum Rester {
    Keeper = 0,
    Sleeper = 1,
}

impl Shared {
    pub(super) fn new(driver: Driver) -> io::Result<Self> {
        Ok(Self {
            tick: driver.settings.tick,
            lives: Arc::clone(&driver.lives),
            socket: driver.wire.io.try_clone()?,
            input: driver.inquiry.input()?,
            seat: Mutex::new(Seat {
                driver,
                resting: [None; 2],
            }),
            bell: Bell::new()?,
            poke: Poke::new()?,
            passes: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            wants_room: AtomicBool::new(false),
        })
    }

    /// Takes the driver's seat.
    #[inline]
    pub(super) fn sit(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock()
    }

    /// Drives once, for the program.
    #[inline]
    pub(super) fn drive(&self, seat: &mut Seat) {
        self.passes.fetch_add(1, Ordering::Relaxed);
        seat.driver.wire.passes += 1;
        seat.driver.drive();
        self.rise(seat);
    }

    /// To be called when something was done in the seat: who sleeps may have news, and who rests may have to get up earlier.
    #[inline]
    pub(super) fn rise(&self, seat: &mut Seat) {
        if std::mem::take(&mut seat.driver.news.fresh) {
            self.bell.ring();
        }
        if seat.resting.iter().any(Option::is_some) {
            self.wake_resting(seat);
        }
    }

    #[cold]
    fn wake_resting(&self, seat: &mut Seat) {
        let Some(deadline) = seat.driver.deadline() else {
            return;
        };
        let [keeper, sleeper] = &mut seat.resting;
        if keeper.take_if(|until| deadline < *until).is_some() {
            self.poke.poke();
        }
        if sleeper.take_if(|until| deadline < *until).is_some() {
            self.bell.poke();
        }
    }

    /// Sleeps until rung.
    pub(super) fn sleep(&self, timeout: Duration) {
        self.bell.sleep(timeout, |poke, end| {
            self.rest(Rester::Sleeper, poke, end);
            self.drive(&mut self.sit());
        });
    }

    /// Rests on the socket until something arrives or is due.
    fn rest(&self, who: Rester, poke: &Poke, end: Option<Instant>) {
        let (until, learns) = {
            let mut seat = self.sit();
            let longest = Instant::now() + LONGEST_REST;
            let times = [seat.driver.deadline(), end, Some(longest)];
            let until = times.into_iter().flatten().min().unwrap_or(longest);
            seat.resting[who as usize] = Some(until);
            (until, seat.driver.inquiry.is_open())
        };
        let mut places = vec![self.socket.as_fd()];
        let input = self.input.as_ref().filter(|_| learns);
        places.extend(input.map(AsFd::as_fd));
        let is_last_ready = poke.rest(&places, until);
        let mut seat = self.sit();
        seat.resting[who as usize] = None;
        if is_last_ready && input.is_some() {
            seat.driver.inquiry.hasten();
        }
    }

    /// Lets the keeper end, once every peer knows what it has to.
    pub(super) fn end(&self) {
        // Ordered by the poke, which the keeper reads.
        self.ends.store(true, Ordering::Relaxed);
        self.poke.poke();
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// The keeper's life.
    pub(super) fn keep(&self) {
        let mut tick = self.tick;
        let mut seen = self.passes.load(Ordering::Relaxed);
        while !self.ends() {
            self.poke.rest(&[], Instant::now() + tick);
            let passes = self.passes.load(Ordering::Relaxed);
            if passes == seen && !self.bell.is_watched() {
                self.stand_in(seen);
            }
            // A sleeper stays a while, and may be followed by a long calculation.
            tick = if self.bell.is_watched() {
                (2 * tick).min(LONGEST_TICKS * self.tick)
            } else {
                self.tick
            };
            seen = self.passes.load(Ordering::Relaxed);
        }
        while !self.sit().driver.is_forgotten() {
            self.stand_in(self.passes.load(Ordering::Relaxed));
        }
        self.sit().driver.part();
    }

    /// Drives until the program does so itself, or all is over.
    fn stand_in(&self, seen: u64) {
        loop {
            {
                let mut seat = self.sit();
                seat.driver.drive();
                self.rise(&mut seat);
                if seat.driver.wire.cut || self.ends() && seat.driver.is_forgotten() {
                    return;
                }
            }
            self.rest(Rester::Keeper, &self.poke, None);
            let is_back = self.passes.load(Ordering::Relaxed) != seen || self.bell.is_watched();
            if is_back && !self.ends() {
                return;
            }
        }
    }
}

/// How many ticks the keeper sleeps at most while another thread sees to the socket.
const LONGEST_TICKS: u32 = 8;
