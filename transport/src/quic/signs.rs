//! What other threads can see of a driver without waiting for its seat.

use std::sync::atomic::{AtomicBool, Ordering};

use super::driver::News;

/// Two lamps, switched by who has the seat.
#[derive(Debug, Default)]
pub(super) struct Signs {
    mail: AtomicBool,
    live: AtomicBool,
}

impl Signs {
    /// There is something for the layer above. Lit before a departure is recorded: who sees that sees this.
    #[inline]
    pub(super) fn has_mail(&self) -> bool {
        // Relaxed: ordered by the departure for who has seen one, a hint for all others.
        self.mail.load(Ordering::Relaxed)
    }

    /// There is a connection, or will be.
    #[inline]
    pub(super) fn is_live(&self) -> bool {
        // Relaxed: a hint.
        self.live.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn show_mail(&self, mail: bool) {
        set(&self.mail, mail);
    }

    #[inline]
    pub(super) fn show_life(&self, live: bool) {
        set(&self.live, live);
    }
}

impl News {
    /// Whether there is something for the layer above.
    #[inline]
    pub(super) fn has_mail(&self) -> bool {
        !self.inbox.is_empty() || !self.faults.is_empty()
    }
}

/// Leaves the line where it is when nothing changes.
#[inline]
fn set(sign: &AtomicBool, value: bool) {
    if sign.load(Ordering::Relaxed) != value {
        sign.store(value, Ordering::Relaxed);
    }
}
