//! What is left of a ring when its receiver has gone for good.

use std::ops::Deref;

use super::{Consumer, Corrupted, LAP, Producer, Words};
use crate::layout::{RingPage, SLOTS};
use crate::orders::{CONSUME, CREDIT};
use crate::primitive::Ordering;

impl<P: Deref<Target = RingPage>> Consumer<P> {
    /// Tells the producer exactly what was taken; nothing will be any more.
    pub(crate) fn close(self) {
        self.page.consumed.0.store(self.taken, CONSUME);
    }
}

impl<P: Deref<Target = RingPage>> Producer<P> {
    /// The frames that the consumer, which has closed its half, never took. The news that it has gone must come after its closing.
    pub(crate) fn untaken(&self) -> Result<Vec<Words>, Corrupted> {
        let consumed = self.page.consumed.0.load(CREDIT);
        if consumed < self.consumed || consumed > self.sent || self.sent - consumed > SLOTS as u64 {
            return Err(Corrupted {
                found: consumed,
                expected: self.sent,
            });
        }
        let frames = (consumed..self.sent).map(|number| {
            let slot = &self.page.slots[(number % SLOTS as u64) as usize];
            // Relaxed: it is this side's own store.
            let word = slot.word.load(Ordering::Relaxed) & !LAP;
            // SAFETY: the body is this side's own writing, and no other is under way, for writing takes `&mut self`.
            let [b1, b2, b3, b4, b5, b6, b7] = slot.body.with(|body| unsafe { body.read() });
            [word, b1, b2, b3, b4, b5, b6, b7]
        });
        Ok(frames.collect())
    }
}
