//! The one loop that moves everything: link and engine behind one lock, entered by whoever calls or waits.
//!
//! There is no progress thread. A call enters (for a rank with one thread: a store and a load), does its work and leaves; a call that
//! waits stays inside and polls, gives way as soon as another thread knocks, and goes outside while it yields or sleeps.
//!
//! A thread that leaves after polling wakes the sleeping ones: it may have finished what they wait for, and it has made the link
//! watch rings that a sleeper needs to be rung for.

mod inside;
mod limit;
mod receive;
mod send;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use crossbeam::utils::CachePadded;
use phalanx_shm::{Biased, Guard};
use phalanx_transport::{Link, Sleeper};

use crate::engine::{Departures, Engine, Lend, OpId, Outcome};
use crate::error::{Error, Result};
use crate::wait::{Backoff, Patience, Step};

use limit::{Deadline, Doze};

pub(crate) use inside::{Core, Landed};
pub(crate) use limit::Limit;

/// A rank's link and engine.
#[derive(Debug)]
pub(crate) struct Progress {
    core: Biased<Core>,
    /// Threads that found the lock taken. In a line of its own: they write it while the one inside polls.
    knocking: CachePadded<AtomicUsize>,
    sleeper: Sleeper,
    doze: Doze,
    patience: Patience,
    rank: usize,
}

impl Progress {
    pub(crate) fn new(link: Link, engine: Engine, patience: Patience, rank: usize) -> Self {
        let sleeper = link.sleeper();
        let core = Core {
            link,
            engine,
            departures: Departures::default(),
            sleeping: 0,
            watched: false,
        };
        Self {
            core: Biased::new(core),
            knocking: CachePadded::new(AtomicUsize::new(0)),
            sleeper,
            doze: Doze::default(),
            patience,
            rank,
        }
    }

    /// The world rank.
    #[inline]
    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    /// Calls `work` with link and engine.
    #[inline]
    pub(crate) fn enter<R>(&self, work: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.lock();
        let result = work(&mut core);
        self.leave(core);
        result
    }

    /// Waits until the operation has finished and takes what came of it; gives it up when its time is over.
    pub(crate) fn finish(&self, id: OpId, limit: Limit<'_>) -> Result<Outcome> {
        self.complete(self.lock(), id, Lend::nothing(), limit)
    }

    fn complete(
        &self,
        core: Guard<'_, Core>,
        id: OpId,
        lend: Lend<'_>,
        limit: Limit<'_>,
    ) -> Result<Outcome> {
        let (mut core, waited) = self.wait_for(core, lend, limit, |engine| engine.is_finished(id));
        // It may have finished in the very turn in which something else went wrong.
        let outcome = core.engine.take_finished(id);
        if outcome.is_none() {
            core.engine.withdraw_unfinished(id);
        }
        self.leave(core);
        waited?;
        outcome.unwrap_or(Err(Error::Cancelled))
    }

    /// Waits until `done` says so.
    pub(crate) fn wait_until(
        &self,
        limit: Limit<'_>,
        done: impl FnMut(&mut Engine) -> bool,
    ) -> Result<()> {
        let (core, waited) = self.wait_for(self.lock(), Lend::nothing(), limit, done);
        self.leave(core);
        waited
    }

    /// One turn without waiting.
    pub(crate) fn turn(&self) -> Result<()> {
        let mut core = self.lock();
        let result = match core.turn(&mut Lend::nothing()) {
            // Who only ever tests must learn of departures too.
            Ok(false) => core.mourn(),
            moved => moved,
        };
        self.leave(core);
        result.map(|_| ())
    }

    /// The loop.
    fn wait_for<'a>(
        &'a self,
        mut core: Guard<'a, Core>,
        mut lend: Lend<'_>,
        limit: Limit<'_>,
        mut done: impl FnMut(&mut Engine) -> bool,
    ) -> (Guard<'a, Core>, Result<()>) {
        let mut backoff = Backoff::new();
        let mut deadline = Deadline::new(limit);
        let mut turns = 0_u32;
        loop {
            let moved = match core.turn(&mut lend) {
                _ if done(&mut core.engine) => return (core, Ok(())),
                Err(error) => return (core, Err(error)),
                Ok(moved) => moved,
            };
            // What came may be what another thread sleeps for; what came before this wait began as well.
            self.alert(&core, moved || turns == 0);
            if self.somebody_knocks() {
                core = core.outside(|| ()).0;
            }
            let step = if moved {
                backoff.reset();
                Step::Look
            } else {
                backoff.next(&self.patience)
            };
            turns = turns.wrapping_add(1);
            if step == Step::Look && !turns.is_multiple_of(TURNS_PER_CHECK) {
                continue;
            }
            match deadline.check(self.rank, limit).and_then(|()| core.mourn()) {
                _ if done(&mut core.engine) => return (core, Ok(())),
                Err(error) => return (core, Err(error)),
                Ok(departed) => self.alert(&core, departed),
            }
            core = self.rest(core, step, &mut lend, &deadline);
        }
    }

    /// Lets others run, or sleeps; outside.
    fn rest<'a>(
        &'a self,
        mut core: Guard<'a, Core>,
        step: Step,
        lend: &mut Lend<'_>,
        deadline: &Deadline,
    ) -> Guard<'a, Core> {
        if step == Step::Look {
            return core;
        }
        let woken = core.engine.take_woken();
        let longest = match step {
            Step::Sleep(longest) if woken.is_empty() => longest.min(deadline.left()),
            _ => {
                let others_run = || {
                    woken.into_iter().for_each(Waker::wake);
                    std::thread::yield_now();
                };
                return core.outside(others_run).0;
            }
        };
        if core.watched {
            // The link watches rings for this thread, of which the one that sleeps does not know: it has to look again.
            self.sleeper.wake();
            core.sleeping += 1;
            let alarms = self.doze.alarms();
            core = core.outside(|| self.doze.wait(alarms, longest)).0;
            core.sleeping -= 1;
        } else if core.prepare_sleep(lend) {
            core.sleeping += 1;
            core.watched = true;
            core = core.outside(|| self.sleeper.sleep(longest)).0;
            core.watched = false;
            core.sleeping -= 1;
        }
        core
    }

    /// Wakes the other threads that wait, if `stirred`: it may be for what they wait for.
    #[inline]
    fn alert(&self, core: &Core, stirred: bool) {
        if stirred && core.sleeping != 0 {
            self.wake_others(core.watched);
        }
    }

    #[cold]
    fn wake_others(&self, watched: bool) {
        if watched {
            self.sleeper.wake();
        }
        self.doze.ring();
    }

    #[inline]
    fn lock(&self) -> Guard<'_, Core> {
        self.core.try_enter().unwrap_or_else(|| self.knock())
    }

    #[cold]
    fn knock(&self) -> Guard<'_, Core> {
        // Relaxed: the count is a request, not a promise; the lock orders everything else.
        self.knocking.fetch_add(1, Ordering::Relaxed);
        let core = self.core.enter();
        self.knocking.fetch_sub(1, Ordering::Relaxed);
        core
    }

    #[inline]
    fn somebody_knocks(&self) -> bool {
        self.knocking.load(Ordering::Relaxed) != 0
    }

    #[inline]
    fn leave(&self, core: Guard<'_, Core>) {
        if core.sleeping != 0 || core.engine.has_woken() {
            self.leave_and_wake(core);
        }
    }

    /// Wakers are the program's code, which may call right back: they run outside.
    #[cold]
    fn leave_and_wake(&self, mut core: Guard<'_, Core>) {
        let (others_sleep, watched) = (core.sleeping != 0, core.watched);
        let woken = core.engine.take_woken();
        drop(core);
        woken.into_iter().for_each(Waker::wake);
        if others_sleep {
            self.wake_others(watched);
        }
    }
}

/// Turns after which a wait looks at the clock and at who departed, even if something moves all the time.
const TURNS_PER_CHECK: u32 = 64;
