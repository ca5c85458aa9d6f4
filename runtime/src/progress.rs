//! The one loop that moves everything: link and engine behind one lock, entered by whoever calls or waits.
//!
//! There is no progress thread. A call takes the lock (one uncontended exchange), does its work and leaves; a call that waits keeps
//! the lock and polls, gives way as soon as another thread knocks, and lets go of the lock while it yields or sleeps.
//!
//! A thread that leaves after polling wakes the sleeping ones: it may have finished what they wait for, and it has made the link
//! watch rings that a sleeper needs to be rung for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use phalanx_transport::{Buffer, Link, Sleeper, Transport};

use crate::engine::{
    Arrival, Arrived, Completed, Departures, Engine, Lend, OpId, Outcome, Send, Sink, Source,
    Wanted,
};
use crate::error::{Error, Result, Timeout};
use crate::matching::Turn;
use crate::wait::{Backoff, Patience, Step};

/// A rank's link and engine.
#[derive(Debug)]
pub(crate) struct Progress {
    core: Mutex<Core>,
    /// Threads that found the lock taken.
    knocking: AtomicUsize,
    sleeper: Sleeper,
    doze: Condvar,
    patience: Patience,
    rank: usize,
}

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) link: Link,
    pub(crate) engine: Engine,
    departures: Departures,
    /// A thread sleeps on the link's bell: one at most, so that waking it is never mistaken for waking another.
    watched: bool,
    /// Threads that wait for that one, or for whoever comes after it.
    dozing: usize,
}

/// What a time-out says that was waited for.
pub(crate) type Described<'a> = &'a dyn Fn() -> String;

/// A limit of waiting.
#[derive(Clone, Copy)]
pub(crate) struct Limit<'a> {
    pub(crate) timeout: Option<Duration>,
    pub(crate) what: Described<'a>,
}

impl Progress {
    pub(crate) fn new(link: Link, engine: Engine, patience: Patience, rank: usize) -> Self {
        let sleeper = link.sleeper();
        let core = Core {
            link,
            engine,
            departures: Departures::default(),
            watched: false,
            dozing: 0,
        };
        Self {
            core: Mutex::new(core),
            knocking: AtomicUsize::new(0),
            sleeper,
            doze: Condvar::new(),
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

    /// Sends bytes that the caller keeps; returns when they are no longer needed.
    #[inline]
    pub(crate) fn send(&self, send: &Send, bytes: &[u8], limit: Limit<'_>) -> Result<()> {
        let mut core = self.lock();
        let Core { link, engine, .. } = &mut *core;
        match engine.try_eager(link, send, bytes) {
            Ok(true) => Ok(()),
            Ok(false) => self.send_slowly(core, send, bytes, limit),
            Err(error) => Err(error),
        }
    }

    #[cold]
    fn send_slowly(
        &self,
        mut core: MutexGuard<'_, Core>,
        send: &Send,
        bytes: &[u8],
        limit: Limit<'_>,
    ) -> Result<()> {
        let send = Send {
            may_expose: send.may_expose && limit.timeout.is_none(),
            ..*send
        };
        let Core { link, engine, .. } = &mut *core;
        let id = engine
            .submit(link, &send, bytes.len(), Source::Caller)
            .map_err(|(_, error)| error)?;
        let mut lend = Lend {
            read: Some((id, bytes)),
            write: None,
        };
        let result = self.wait_for(&mut core, &mut lend, limit, |engine| engine.is_finished(id));
        if let Err(error) = result {
            core.engine.withdraw_send(id);
            core.engine.detach(id);
            self.leave(core);
            return Err(error);
        }
        let outcome = core.engine.take_finished(id);
        self.leave(core);
        outcome.unwrap_or(Err(Error::Cancelled)).map(|_| ())
    }

    /// Hands a buffer of the link over.
    pub(crate) fn send_buffer(&self, send: &Send, buffer: Buffer, limit: Limit<'_>) -> Result<()> {
        let mut core = self.lock();
        let Core { link, engine, .. } = &mut *core;
        let Some(buffer) = engine.try_buffer(link, send, buffer)? else {
            return Ok(());
        };
        let len = buffer.len();
        let id = engine
            .submit(link, send, len, Source::Buffer(buffer))
            .map_err(|(_, error)| error)?;
        let result = self.wait_for(&mut core, &mut Lend::nothing(), limit, |engine| {
            engine.is_finished(id)
        });
        if result.is_err() {
            core.engine.withdraw_unfinished(id);
        }
        let outcome = core.engine.take_finished(id);
        self.leave(core);
        result?;
        outcome.unwrap_or(Err(Error::Cancelled)).map(|_| ())
    }

    /// Receives one message. Into `buffer` if there is one; otherwise the bytes come with what is returned.
    #[inline]
    pub(crate) fn receive(
        &self,
        wanted: &Wanted,
        buffer: Option<&mut [u8]>,
        limit: Limit<'_>,
    ) -> Result<Completed> {
        let mut core = self.lock();
        match self.look(&mut core, wanted) {
            Ok(Some(Arrival {
                from,
                envelope,
                content: Arrived::Bytes(payload),
            })) => {
                self.leave(core);
                let completed = Completed {
                    from,
                    tag: envelope.tag,
                    len: payload.len(),
                    payload: Some(payload),
                };
                Ok(completed.settle(buffer))
            }
            Ok(arrival) => self.receive_slowly(core, wanted, arrival, buffer, limit),
            Err(error) => {
                self.leave(core);
                Err(error)
            }
        }
    }

    /// The first phase of a receive: takes the message if it is here or comes while we look. The receive is the newest there is, so it
    /// needs no entry in the queue as long as no other thread is let in.
    #[inline]
    fn look(&self, core: &mut Core, wanted: &Wanted) -> Result<Option<Arrival>> {
        let Core { link, engine, .. } = core;
        if let Some(arrival) = engine.claim(wanted)? {
            return Ok(Some(arrival));
        }
        let mut backoff = Backoff::new();
        let mut others = 0;
        while engine.is_quiet() && others < PACKETS_PER_LOOK {
            if let Some((from, packet)) = link.poll()? {
                if let Some(arrival) = engine.handle(link, from, packet, Some(wanted))? {
                    return Ok(Some(arrival));
                }
                others += 1;
            } else if self.somebody_knocks() || !backoff.looks_on(&self.patience) {
                break;
            }
        }
        Ok(None)
    }

    #[cold]
    fn receive_slowly(
        &self,
        mut core: MutexGuard<'_, Core>,
        wanted: &Wanted,
        arrival: Option<Arrival>,
        mut buffer: Option<&mut [u8]>,
        limit: Limit<'_>,
    ) -> Result<Completed> {
        let sink = if buffer.is_some() {
            Sink::Caller
        } else {
            Sink::Payload
        };
        let Core { link, engine, .. } = &mut *core;
        let id = match arrival {
            Some(arrival) => engine.begin(link, arrival, wanted, sink),
            None => engine.post(link, wanted, sink),
        };
        let mut lend = Lend {
            read: None,
            write: buffer.as_deref_mut().map(|buffer| (id, buffer)),
        };
        let waited = self.wait_for(&mut core, &mut lend, limit, |engine| engine.is_finished(id));
        if waited.is_err() {
            core.engine.withdraw_receive(id);
            core.engine.detach(id);
        }
        let outcome = core.engine.take_finished(id);
        self.leave(core);
        waited?;
        match outcome.unwrap_or(Err(Error::Cancelled))? {
            Outcome::Received(completed) => Ok(completed.settle(buffer)),
            Outcome::Sent(_) => Err(Error::Cancelled),
        }
    }

    /// Waits until the operation has finished and takes what came of it.
    pub(crate) fn finish(&self, id: OpId, limit: Limit<'_>) -> Result<Result<Outcome>> {
        let mut core = self.lock();
        let waited = self.wait_for(&mut core, &mut Lend::nothing(), limit, |engine| {
            engine.is_finished(id)
        });
        if waited.is_err() {
            core.engine.withdraw_unfinished(id);
        }
        let outcome = core.engine.take_finished(id);
        self.leave(core);
        waited?;
        Ok(outcome.unwrap_or(Err(Error::Cancelled)))
    }

    /// Waits until `done` says so.
    pub(crate) fn wait_until(
        &self,
        limit: Limit<'_>,
        done: impl FnMut(&mut Engine) -> bool,
    ) -> Result<()> {
        let mut core = self.lock();
        let waited = self.wait_for(&mut core, &mut Lend::nothing(), limit, done);
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
    fn wait_for(
        &self,
        core: &mut MutexGuard<'_, Core>,
        lend: &mut Lend<'_>,
        limit: Limit<'_>,
        mut done: impl FnMut(&mut Engine) -> bool,
    ) -> Result<()> {
        let mut backoff = Backoff::new();
        let mut deadline = Deadline::new(limit);
        let mut turns = 0_u32;
        loop {
            let moved = core.turn(lend)?;
            if done(&mut core.engine) {
                return Ok(());
            }
            if moved || turns == 0 {
                // What came may be what another thread sleeps for.
                self.alert(core.watched, core.dozing != 0);
            }
            if self.somebody_knocks() {
                MutexGuard::bump(core);
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
            deadline.check(self.rank, limit)?;
            if core.mourn()? {
                self.alert(core.watched, core.dozing != 0);
            }
            if done(&mut core.engine) {
                return Ok(());
            }
            self.rest(core, step, &deadline);
        }
    }

    /// Lets others run, or sleeps; without the lock.
    fn rest(&self, core: &mut MutexGuard<'_, Core>, step: Step, deadline: &Deadline) {
        match step {
            Step::Look => return,
            Step::Yield => return MutexGuard::unlocked(core, std::thread::yield_now),
            Step::Sleep => {}
        }
        let longest = self.patience.sleep.min(deadline.left());
        if core.watched {
            // The link watches rings for this thread, of which the one that sleeps does not know: it has to look again.
            self.sleeper.wake();
            core.dozing += 1;
            self.doze.wait_for(core, longest);
            core.dozing -= 1;
        } else if core.link.prepare_sleep() {
            core.watched = true;
            MutexGuard::unlocked(core, || self.sleeper.sleep(longest));
            core.watched = false;
        }
    }

    /// Wakes the other threads that wait, to see whether it was for this.
    #[inline]
    fn alert(&self, watched: bool, dozing: bool) {
        if watched {
            self.sleeper.wake();
        }
        if dozing {
            self.doze.notify_all();
        }
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.try_lock().unwrap_or_else(|| self.knock())
    }

    #[cold]
    fn knock(&self) -> MutexGuard<'_, Core> {
        // Relaxed: the count is a request, not a promise; the lock orders everything else.
        self.knocking.fetch_add(1, Ordering::Relaxed);
        let core = self.core.lock();
        self.knocking.fetch_sub(1, Ordering::Relaxed);
        core
    }

    #[inline]
    fn somebody_knocks(&self) -> bool {
        self.knocking.load(Ordering::Relaxed) != 0
    }

    #[inline]
    fn leave(&self, core: MutexGuard<'_, Core>) {
        let (watched, dozing) = (core.watched, core.dozing != 0);
        drop(core);
        self.alert(watched, dozing);
    }
}

impl Core {
    /// A buffer of the link, of `len` bytes.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<Buffer> {
        Ok(self.link.reserve(len)?)
    }

    pub(crate) fn post(&mut self, wanted: &Wanted, sink: Sink) -> OpId {
        self.engine.post(&mut self.link, wanted, sink)
    }

    pub(crate) fn try_eager(&mut self, send: &Send, bytes: &[u8]) -> Result<bool> {
        self.engine.try_eager(&mut self.link, send, bytes)
    }

    pub(crate) fn submit(
        &mut self,
        send: &Send,
        len: usize,
        source: Source,
    ) -> Result<OpId, (Source, Error)> {
        self.engine.submit(&mut self.link, send, len, source)
    }

    pub(crate) fn restore(&mut self, arrival: Arrival, turn: Turn) {
        self.engine.restore(&mut self.link, arrival, turn);
    }

    pub(crate) fn receive_extracted(
        &mut self,
        arrival: Arrival,
        wanted: &Wanted,
        sink: Sink,
    ) -> Result<OpId, (Arrival, Error)> {
        self.engine
            .receive_extracted(&mut self.link, arrival, wanted, sink)
    }

    /// Takes in what has arrived and does what can be done. Says whether anything moved.
    pub(crate) fn turn(&mut self, lend: &mut Lend<'_>) -> Result<bool> {
        let mut moved = false;
        for _ in 0..PACKETS_PER_TURN {
            let Some((from, packet)) = self.link.poll()? else {
                break;
            };
            self.engine.handle(&mut self.link, from, packet, None)?;
            moved = true;
        }
        moved |= self.engine.advance(&mut self.link, lend)?;
        Ok(moved)
    }

    /// Ends what waits for ranks that have departed, once all that they sent has been taken in.
    /// Says whether anybody has.
    #[cold]
    fn mourn(&mut self) -> Result<bool> {
        let news = self.departures.news(&self.link, &self.engine);
        if news.is_empty() {
            return Ok(false);
        }
        while let Some((from, packet)) = self.link.poll()? {
            self.engine.handle(&mut self.link, from, packet, None)?;
        }
        for (peer, state) in news {
            self.engine.depart(&mut self.link, peer, state);
        }
        Ok(true)
    }
}

impl Completed {
    /// Puts the bytes into the buffer that was given for them, unless they are there already.
    #[inline]
    pub(crate) fn settle(mut self, buffer: Option<&mut [u8]>) -> Self {
        if let Some(buffer) = buffer
            && let Some(payload) = self.payload.take()
        {
            buffer[..payload.len()].copy_from_slice(&payload);
        }
        self
    }
}

/// When a wait is over.
struct Deadline {
    began: Option<Instant>,
    timeout: Option<Duration>,
}

impl Deadline {
    fn new(limit: Limit<'_>) -> Self {
        Self {
            began: None,
            timeout: limit.timeout,
        }
    }

    /// Starts the clock at the first call: before that, next to no time has passed.
    fn check(&mut self, rank: usize, limit: Limit<'_>) -> Result<()> {
        let Some(timeout) = self.timeout else {
            return Ok(());
        };
        let waited = self.began.get_or_insert_with(Instant::now).elapsed();
        if waited < timeout {
            Ok(())
        } else {
            Err(Error::Timeout(Box::new(Timeout {
                rank,
                what: (limit.what)(),
                waited,
            })))
        }
    }

    fn left(&self) -> Duration {
        match (self.began, self.timeout) {
            (Some(began), Some(timeout)) => timeout.saturating_sub(began.elapsed()),
            _ => Duration::MAX,
        }
    }
}

/// Packets taken in before what they made possible is done.
const PACKETS_PER_TURN: usize = 16;

/// Packets for others that a receive takes in before it lets other threads in and looks at the clock.
const PACKETS_PER_LOOK: usize = 64;

/// Turns after which a wait looks at the clock and at who departed, even if something moves all the time.
const TURNS_PER_CHECK: u32 = 64;
