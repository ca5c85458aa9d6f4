//! Loom's mutex with the interface of the one that runs.
//!
//! With `--cfg phalanx_mutant="lock"` it lets everyone in at once, which a model of each of its users must notice.

use std::fmt;
use std::ops::{Deref, DerefMut};

use loom::cell::UnsafeCell;
use loom::sync::{Mutex as Lock, MutexGuard as Locked};

/// A value that one thread at a time may use.
pub(crate) struct Mutex<T> {
    lock: Lock<()>,
    value: UnsafeCell<T>,
}

// SAFETY: the value moves with the mutex.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: the lock lets one thread at a time reach the value; the mutant breaks that, and loom's cell tells.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            lock: Lock::new(()),
            value: UnsafeCell::new(value),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let locked = self.lock.lock().expect("nobody panics while it is held");
        self.guard(locked)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.lock.try_lock().ok().map(|locked| self.guard(locked))
    }

    fn guard<'a>(&'a self, locked: Locked<'a, ()>) -> MutexGuard<'a, T> {
        MutexGuard {
            mutex: self,
            _locked: (!cfg!(phalanx_mutant = "lock")).then_some(locked),
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// The right to use the value.
pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    _locked: Option<Locked<'a, ()>>,
}

impl<T> MutexGuard<'_, T> {
    /// Fairness is a matter of time, of which a model has none.
    pub(crate) fn unlock_fair(self) {}
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock; loom's cell checks that nobody else is about.
        self.mutex.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed exclusively.
        self.mutex.value.with_mut(|value| unsafe { &mut *value })
    }
}
