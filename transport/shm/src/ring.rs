//! Single-producer single-consumer ring of cache-line slots.
//!
//! The word that publishes a slot lies in the slot itself and carries the *lap*: how often the producer has been around. The consumer
//! knows which lap it waits for, so there is no shared tail: a small message costs exactly one cache-line transfer. The only word that
//! flows back is the count of consumed slots, stored every [`CREDIT_STEP`] messages and read by the producer when its credit is used up.
//!
//! Each half keeps its position in private memory; nothing that the other side writes is ever used as an index. A count that cannot
//! be, or a lap that is neither the awaited one nor its predecessor, is [`Corrupted`].

use std::ops::Deref;

use crate::layout::{RingPage, SLOTS};
use crate::orders::{CONSUME, CREDIT, OBSERVE, PUBLISH};

/// A frame as it lies in a slot; the low 16 bits of the first word belong to the ring.
pub type Words = [u64; 8];

/// Low bits of a slot's word that hold the lap.
const LAP: u64 = 0xffff;

/// Messages between two stores of the consumed count. A quarter of the ring keeps the producer from ever running dry while it
/// dirties the line that the producer reads only once a lap or so.
const CREDIT_STEP: u64 = if SLOTS >= 4 { SLOTS as u64 / 4 } else { 1 };

/// What the other side wrote cannot have come from this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring holds {found:#x} where {expected:#x} or its predecessor was expected")]
pub struct Corrupted {
    /// The value found.
    pub found: u64,
    /// The value that the protocol asks for.
    pub expected: u64,
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Producer<P> {
    page: P,
    cursor: Cursor,
    sent: u64,
    /// What the consumer had consumed when we last looked.
    consumed: u64,
}

impl<P: Deref<Target = RingPage>> Producer<P> {
    /// The only producer of a ring that has never been used.
    pub(crate) fn new(page: P) -> Self {
        Self {
            page,
            cursor: Cursor::START,
            sent: 0,
            consumed: 0,
        }
    }

    pub(crate) fn page(&self) -> &RingPage {
        &self.page
    }

    /// Whether a slot is free. Looks at the consumer's count only when the credit last seen is used up.
    #[inline]
    pub(crate) fn has_room(&mut self) -> Result<bool, Corrupted> {
        if self.sent - self.consumed < SLOTS as u64 {
            return Ok(true);
        }
        self.refresh()
    }

    /// Writes one frame and publishes it; `false` when the ring is full.
    #[inline]
    pub(crate) fn try_push(&mut self, words: &Words) -> Result<bool, Corrupted> {
        if !self.has_room()? {
            return Ok(false);
        }
        let [word, body @ ..] = *words;
        let slot = &self.page.slots[self.cursor.slot];
        // SAFETY: `has_room` says that the consumer has read what this slot held a lap ago and will not look at it before the store
        // below; we are the only producer.
        slot.body.with_mut(|bytes| unsafe { bytes.write(body) });
        slot.word
            .store(word & !LAP | u64::from(self.cursor.lap), PUBLISH);
        self.cursor.advance();
        self.sent += 1;
        Ok(true)
    }

    #[cold]
    fn refresh(&mut self) -> Result<bool, Corrupted> {
        let consumed = self.page.consumed.0.load(CREDIT);
        if consumed < self.consumed || consumed > self.sent {
            return Err(Corrupted {
                found: consumed,
                expected: self.sent,
            });
        }
        self.consumed = consumed;
        Ok(self.sent - consumed < SLOTS as u64)
    }
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Consumer<P> {
    page: P,
    cursor: Cursor,
    taken: u64,
    /// What the producer was last told of `taken`.
    told: u64,
}

impl<P: Deref<Target = RingPage>> Consumer<P> {
    /// The only consumer of a ring that has never been used.
    pub(crate) fn new(page: P) -> Self {
        Self {
            page,
            cursor: Cursor::START,
            taken: 0,
            told: 0,
        }
    }

    pub(crate) fn page(&self) -> &RingPage {
        &self.page
    }

    /// Whether a frame waits. May say so of a corrupted slot, which [`Self::try_pop`] then reports.
    pub(crate) fn is_ready(&self) -> bool {
        self.page.slots[self.cursor.slot].word.load(OBSERVE) & LAP
            != u64::from(self.cursor.lap.wrapping_sub(1))
    }

    /// Takes the next frame, if it has been published.
    #[inline]
    pub(crate) fn try_pop(&mut self) -> Result<Option<Words>, Corrupted> {
        let slot = &self.page.slots[self.cursor.slot];
        let word = slot.word.load(OBSERVE);
        let expected = self.cursor.lap;
        if word & LAP != u64::from(expected) {
            return if word & LAP == u64::from(expected.wrapping_sub(1)) {
                Ok(None)
            } else {
                Err(Corrupted {
                    found: word & LAP,
                    expected: u64::from(expected),
                })
            };
        }
        // SAFETY: the word just loaded carries this lap, so the producer has written the body and will not write it again before it
        // has seen our count rise above this slot.
        let [b1, b2, b3, b4, b5, b6, b7] = slot.body.with(|bytes| unsafe { bytes.read() });
        self.cursor.advance();
        self.taken += 1;
        if self.taken - self.told >= CREDIT_STEP {
            self.page.consumed.0.store(self.taken, CONSUME);
            self.told = self.taken;
        }
        Ok(Some([word & !LAP, b1, b2, b3, b4, b5, b6, b7]))
    }
}

/// A position on the way around. The first lap is 1, so that zeroed memory reads as "not yet".
#[derive(Clone, Copy, Debug)]
struct Cursor {
    slot: usize,
    lap: u16,
}

impl Cursor {
    const START: Self = Self { slot: 0, lap: 1 };

    #[inline]
    fn advance(&mut self) {
        self.slot += 1;
        if self.slot == SLOTS {
            self.slot = 0;
            // Wraps after 65,535 laps. A slot could be mistaken for fresh only if it had not been written for all of them, and the
            // consumed count lets the producer be at most one lap ahead.
            self.lap = self.lap.wrapping_add(1);
        }
    }
}

#[cfg(test)]
#[cfg(not(any(phalanx_loom, phalanx_shuttle)))]
mod tests;
