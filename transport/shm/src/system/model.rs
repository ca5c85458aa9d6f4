//! What the kernel does for a sleeper, as the model checkers see it: a queue of sleepers behind a lock.
//!
//! A wake-up that is lost leaves a thread in the queue for ever, which both checkers report as a deadlock. There is no time in a
//! model, so no time-out helps out. Barriers are always symmetric.

use std::time::Duration;

#[cfg(phalanx_loom)]
use loom::{
    lazy_static,
    sync::{Condvar, Mutex},
};
#[cfg(phalanx_shuttle)]
use shuttle::{
    lazy_static,
    sync::{Condvar, Mutex},
};

use crate::primitive::{AtomicU32, Ordering};

struct Queue {
    lock: Mutex<()>,
    woken: Condvar,
}

lazy_static! {
    static ref QUEUE: Queue = Queue {
        lock: Mutex::new(()),
        woken: Condvar::new(),
    };
}

pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, _timeout: Duration) {
    let mut queue = QUEUE.lock.lock().expect("nobody panics while it is held");
    // The kernel, too, compares under the lock that a waker takes. It compares once; here a waker of another word must not help.
    while word.load(Ordering::Relaxed) == expected {
        queue = QUEUE.woken.wait(queue).expect("as above");
    }
}

pub(crate) fn futex_wake_all(_word: &AtomicU32) {
    drop(QUEUE.lock.lock().expect("nobody panics while it is held"));
    QUEUE.woken.notify_all();
}

#[cfg(phalanx_shuttle)]
pub(crate) fn membarrier() {
    unreachable!("a model has symmetric barriers");
}

#[cfg(phalanx_shuttle)]
pub(crate) fn register_for_membarrier() -> bool {
    false
}

/// A model has no kernel, and so no `membarrier`.
#[cfg(phalanx_shuttle)]
#[must_use]
pub fn membarrier_is_available() -> bool {
    false
}

#[cfg(phalanx_shuttle)]
pub(crate) fn populate(_range: &[std::cell::UnsafeCell<u8>]) -> std::io::Result<()> {
    Ok(())
}
