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
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::bell::{Bell, Poke};
use super::clock::LONGEST_REST;
use super::departure::Lives;
use super::driver::Driver;
use super::signs::Signs;
use crate::payload::permit::Permits;

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
    pub(super) signs: Arc<Signs>,
    /// Parts of large messages that may be under way.
    chunks: Permits,
    /// A sleep elsewhere was announced, or is under way. A hint: whoever misses it is a tick late.
    asleep: AtomicBool,
    /// Threads that sleep elsewhere.
    sleepers: AtomicU32,
    tick: Duration,
}

/// Whoever sits here drives.
pub(super) struct Seat {
    pub(super) driver: Driver,
    /// Until when the keeper and the sleeping thread rest, if nothing arrives.
    resting: [Option<Instant>; 2],
    /// The keeper drives, or rests on the socket.
    keeper_stands_in: bool,
    /// Who announced sleep waits for room; for that of parts of large messages, if none was left.
    wants_room: bool,
    lacks_chunks: bool,
}

impl Seat {
    /// This rank has left, or was killed by its test.
    pub(super) fn is_over(&self) -> bool {
        self.driver.left.is_some() || self.driver.wire.cut
    }
}

/// Who rests.
#[derive(Clone, Copy)]
enum Rester {
    Keeper = 0,
    Sleeper = 1,
}

impl Shared {
    pub(super) fn new(driver: Driver, chunks: Permits) -> io::Result<Self> {
        Ok(Self {
            tick: driver.settings.tick,
            lives: Arc::clone(&driver.lives),
            signs: Arc::clone(&driver.signs),
            socket: driver.wire.io.try_clone()?,
            input: driver.inquiry.input()?,
            seat: Mutex::new(Seat {
                driver,
                resting: [None; 2],
                keeper_stands_in: false,
                wants_room: false,
                lacks_chunks: false,
            }),
            bell: Bell::new()?,
            poke: Poke::new()?,
            passes: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            chunks,
            asleep: AtomicBool::new(false),
            sleepers: AtomicU32::new(0),
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
        let made_room = std::mem::take(&mut seat.driver.news.room);
        let is_fresh = std::mem::take(&mut seat.driver.news.fresh);
        if is_fresh || seat.wants_room && (made_room || self.has_chunks_again(seat)) {
            seat.wants_room = false;
            self.bell.ring();
        }
        self.show(seat);
        if seat.resting.iter().any(Option::is_some) {
            self.wake_resting(seat);
        }
    }

    /// Shows what there is now to those who do not sit.
    #[inline]
    pub(super) fn show(&self, seat: &Seat) {
        self.signs.show_mail(seat.driver.news.has_mail());
        self.signs.show_life(seat.driver.is_live());
    }

    fn has_chunks_again(&self, seat: &Seat) -> bool {
        seat.lacks_chunks && !self.chunks.are_spent()
    }

    /// Announces sleep; `false` when there is something to wake up for.
    pub(super) fn announce(&self, seat: &mut Seat, wants_room: bool) -> bool {
        // A rank that has left learns of it from its next poll, so it must not sleep.
        if seat.driver.news.has_mail() || seat.is_over() {
            return false;
        }
        self.bell.announce();
        // Not taken back: another thread may sleep for it.
        seat.wants_room |= wants_room;
        seat.lacks_chunks = self.chunks.are_spent();
        true
    }

    /// Sends the keeper to the socket, if somebody may be waiting for what arrives there.
    pub(super) fn rest_apart(&self, seat: &Seat) {
        self.asleep.store(true, Ordering::Relaxed);
        if self.signs.is_live() && !seat.keeper_stands_in {
            self.poke.poke();
        }
    }

    /// Somebody sleeps elsewhere from now on.
    pub(super) fn fall_asleep(&self) {
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        self.asleep.store(true, Ordering::Relaxed);
    }

    pub(super) fn wake_up(&self) {
        if self.sleepers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.asleep.store(false, Ordering::Relaxed);
        }
    }

    /// Somebody who announced sleep drives instead.
    #[inline]
    pub(super) fn come_back(&self) {
        if self.asleep.load(Ordering::Relaxed) && self.sleepers.load(Ordering::Relaxed) == 0 {
            self.asleep.store(false, Ordering::Relaxed);
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
            let is_alone = passes == seen && !self.bell.is_watched();
            if is_alone || self.asleep.load(Ordering::Relaxed) {
                self.stand_in(passes);
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
        self.sit().keeper_stands_in = true;
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
            let mut seat = self.sit();
            if self.is_relieved(seen) && !self.ends() {
                seat.keeper_stands_in = false;
                return;
            }
        }
    }

    /// Whether somebody else sees to the network again.
    fn is_relieved(&self, seen: u64) -> bool {
        let is_back = self.passes.load(Ordering::Relaxed) != seen || self.bell.is_watched();
        is_back && !self.asleep.load(Ordering::Relaxed)
    }
}

/// How many ticks the keeper sleeps at most while another thread sees to the socket.
const LONGEST_TICKS: u32 = 8;
