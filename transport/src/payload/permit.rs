//! A bound on how many buffers are under way, for links whose memory has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many more buffers there may be; a clone is of the same set. The count guards no memory, so none of its changes orders anything.
#[derive(Clone, Debug)]
pub(crate) struct Permits(Arc<AtomicUsize>);

/// One of them; dropped with its buffer, wherever that has gone.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(count)))
    }

    /// Whether none is left.
    pub(crate) fn are_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn try_take(&self) -> Option<Permit> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .ok()
            .map(|_| Permit(Arc::clone(&self.0)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
