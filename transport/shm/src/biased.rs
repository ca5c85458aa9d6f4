//! A lock that costs its favourite thread next to nothing.
//!
//! A rank's engine must be safe to share between threads, but most ranks have one. The first thread to enter becomes the favourite:
//! it enters by a plain store and a plain load, no locked instruction, which matters for more than its own 5 ns: a locked instruction
//! waits until all earlier stores have left the core, and with a peer reading those very lines that is a cache-line transfer for every
//! message. The second thread that comes along takes the favour away, once and for ever, and from then on this is a mutex.
//!
//! ```text
//!   favourite:  inside = true;  (light barrier)  is it revoked?   no -> in
//!   revoker:    revoked = true; (heavy barrier)  wait until it is not inside -> in, holding the mutex
//! ```
//! Each stores before it loads, so at least one sees the other; [`Barrier`] is what makes that so, as between sender and sleeper.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::orders::{LEAVE, SUCCEED};
use crate::primitive::{AtomicU32, AtomicUsize, Barrier, Mutex, MutexGuard, Ordering, UnsafeCell};

/// A value that one thread at a time may use.
pub struct Biased<T> {
    /// Token of the favourite; 0 while nobody has entered.
    favourite: AtomicUsize,
    inside: AtomicU32,
    revoked: AtomicU32,
    barrier: Barrier,
    others: Mutex<()>,
    value: UnsafeCell<T>,
}

// SAFETY: the value moves with the lock.
unsafe impl<T: Send> Send for Biased<T> {}
// SAFETY: the protocol above lets one thread at a time reach the value; it may be any, so the value must be `Send`.
unsafe impl<T: Send> Sync for Biased<T> {}

impl<T> Biased<T> {
    /// A lock around `value`.
    #[cfg(not(phalanx_loom))]
    pub fn new(value: T) -> Self {
        Self::with_barrier(value, Barrier::of_this_kernel())
    }

    pub(crate) fn with_barrier(value: T, barrier: Barrier) -> Self {
        Self {
            favourite: AtomicUsize::new(0),
            inside: AtomicU32::new(0),
            revoked: AtomicU32::new(0),
            barrier,
            others: Mutex::new(()),
            value: UnsafeCell::new(value),
        }
    }

    /// Enters at once if nobody else can be inside for long: as the favourite, or as a thread that finds the mutex free after the
    /// favour has been revoked.
    ///
    /// # Panics
    /// When this thread is inside already.
    #[inline]
    pub fn try_enter(&self) -> Option<Guard<'_, T>> {
        self.try_enter_as(token())
    }

    /// Enters, waiting for whoever is inside.
    ///
    /// # Panics
    /// As [`Self::try_enter`].
    pub fn enter(&self) -> Guard<'_, T> {
        self.enter_as(token())
    }

    #[inline]
    pub(crate) fn try_enter_as(&self, me: usize) -> Option<Guard<'_, T>> {
        // Relaxed: only this thread writes its own token here.
        if self.favourite.load(Ordering::Relaxed) == me {
            // A thread that ended may have had our token; its last leaving is then ours to see.
            assert!(
                self.inside.load(SUCCEED) == 0,
                "a thread entered its rank's engine twice"
            );
            self.inside.store(1, Ordering::Relaxed);
            self.barrier.light();
            if self.revoked.load(Ordering::Relaxed) == 0 {
                return Some(Guard {
                    lock: self,
                    others: None,
                    thread: PhantomData,
                });
            }
            // A revoker that sees this store has not seen the last leaving, which it must not miss either.
            self.inside.store(0, LEAVE);
        }
        self.try_enter_slowly(me)
    }

    #[cold]
    fn try_enter_slowly(&self, me: usize) -> Option<Guard<'_, T>> {
        if self
            .favourite
            .compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            return self.try_enter_as(me);
        }
        // Relaxed: who revoked holds the mutex until it has seen the favourite leave, and so the mutex orders that before us.
        if self.revoked.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.others.try_lock().map(|others| self.guard(others))
    }

    pub(crate) fn enter_as(&self, me: usize) -> Guard<'_, T> {
        if let Some(guard) = self.try_enter_as(me) {
            return guard;
        }
        let others = self.others.lock();
        if self.revoked.load(Ordering::Relaxed) == 0 {
            // Relaxed: the favourite reads it to give way, not to learn what else was written.
            self.revoked.store(1, Ordering::Relaxed);
            self.barrier.heavy();
            while self.inside.load(SUCCEED) != 0 {
                crate::primitive::yield_now();
            }
        }
        self.guard(others)
    }

    fn guard<'a>(&'a self, others: MutexGuard<'a, ()>) -> Guard<'a, T> {
        Guard {
            lock: self,
            others: Some(others),
            thread: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Biased<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revoked = self.revoked.load(Ordering::Relaxed) != 0;
        f.debug_struct("Biased")
            .field("revoked", &revoked)
            .finish_non_exhaustive()
    }
}

/// The right to use the value.
pub struct Guard<'a, T> {
    lock: &'a Biased<T>,
    /// None for the favourite.
    others: Option<MutexGuard<'a, ()>>,
    /// Leaving must happen on the thread that entered.
    thread: PhantomData<*const ()>,
}

impl<'a, T> Guard<'a, T> {
    /// Leaves, calls `outside`, and enters again; others may have been inside meanwhile.
    pub fn outside<R>(self, outside: impl FnOnce() -> R) -> (Self, R) {
        let lock = self.leave_fairly();
        let result = outside();
        (lock.enter(), result)
    }

    /// Leaves so that a waiting thread gets its turn now.
    fn leave_fairly(mut self) -> &'a Biased<T> {
        let lock = self.lock;
        if let Some(others) = self.others.take() {
            MutexGuard::unlock_fair(others);
            std::mem::forget(self);
        }
        lock
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: whoever holds a guard is the only one inside: the favourite before the favour is revoked, or the mutex's holder
        // after the revoker has seen the favourite leave. The reference does not outlive the guard.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed exclusively.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.others.is_none() {
            self.lock.inside.store(0, LEAVE);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A number that tells this thread from all others alive: where its own copy of a thread-local lies. Never 0.
#[inline]
fn token() -> usize {
    thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}
