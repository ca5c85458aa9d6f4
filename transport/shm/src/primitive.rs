//! Atomics and cells: the standard library's, or those of a model checker.
//!
//! Everything that two ranks share is built from these types alone, so that the very code that runs between processes is what the
//! checkers explore: loom the weak orderings of a few accesses (`--cfg phalanx_loom`; plain `--cfg loom` would reach our dependencies
//! too), shuttle the schedules of whole jobs (`--cfg phalanx_shuttle`).

#[cfg(phalanx_loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    thread::yield_now,
};
#[cfg(phalanx_shuttle)]
pub(crate) use scheduled::{AtomicU32, AtomicU64};
#[cfg(not(any(phalanx_loom, phalanx_shuttle)))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};
#[cfg(not(phalanx_loom))]
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering, compiler_fence, fence};
#[cfg(not(phalanx_loom))]
pub(crate) use std::thread::yield_now;

#[cfg(phalanx_loom)]
pub(crate) use modelled::{Mutex, MutexGuard};
#[cfg(not(phalanx_loom))]
pub(crate) use parking_lot::{Mutex, MutexGuard};

#[cfg(phalanx_loom)]
mod modelled;
#[cfg(phalanx_shuttle)]
mod scheduled;

/// `std::cell::UnsafeCell` with loom's interface: the pointer exists only inside the closure.
#[cfg(not(phalanx_loom))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(phalanx_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

/// How a rank that goes to sleep and a rank that sends agree on who saw whom.
///
/// The sender publishes and then looks whether it must ring; the sleeper asks for a ring and then looks whether something was
/// published. Each side needs its store to be visible before its load. Either both fence, or the sleeper, which has time, makes the
/// kernel fence everyone (`membarrier`), and the sender pays nothing: 3.5 ns a message instead of 14 in streaming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The sleeper calls `membarrier`; the sender only keeps the compiler from reordering.
    Asymmetric,
    /// Both sides execute a full fence: kernels without `membarrier`, and loom.
    Symmetric,
}

impl Barrier {
    /// Sleepers use `membarrier` where the kernel has it; asking also registers this process.
    #[cfg(not(phalanx_loom))]
    pub(crate) fn of_this_kernel() -> Self {
        if crate::system::register_for_membarrier() {
            Self::Asymmetric
        } else {
            Self::Symmetric
        }
    }

    /// The sender's half, between its publication and its look at the watch word. Partner: [`Barrier::heavy`].
    #[inline(always)]
    pub(crate) fn light(self) {
        // A store must not pass a later load of another word; nothing weaker forbids that.
        match self {
            #[cfg(not(phalanx_loom))]
            Self::Asymmetric => compiler_fence(Ordering::SeqCst),
            #[cfg(phalanx_loom)]
            Self::Asymmetric => {}
            Self::Symmetric => fence(Ordering::SeqCst),
        }
    }

    /// The sleeper's half, between its request to be rung and its last look at the rings. Partner: [`Barrier::light`].
    pub(crate) fn heavy(self) {
        match self {
            #[cfg(not(phalanx_loom))]
            Self::Asymmetric => crate::system::membarrier(),
            #[cfg(phalanx_loom)]
            Self::Asymmetric => {}
            Self::Symmetric => fence(Ordering::SeqCst),
        }
    }
}
