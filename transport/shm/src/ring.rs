//! Single-producer single-consumer ring of cache-line slots.
//!
//! The word that publishes a slot lies in the slot itself and carries the *lap*: how often the producer has been around. The consumer
//! knows which lap it waits for, so there is no shared tail: a small message costs exactly one cache-line transfer. The only word that
//! flows back is the count of consumed slots, stored every [`CREDIT_STEP`] messages and read by the producer when its credit is used up.
//!
//! Each half keeps its position in private memory; nothing that the other side writes is ever used as an index. A count that cannot
//! be, or a lap that is neither the awaited one nor its predecessor, is [`Corrupted`].

mod departed;

use std::ops::Deref;

use crate::layout::{RingPage, SLOTS, Slot};
use crate::orders::{CONSUME, CREDIT, OBSERVE, PUBLISH};
use crate::prefetch;

/// A frame as it lies in a slot; the low 16 bits of the first word belong to the ring.
pub type Words = [u64; 8];

/// Bytes of a frame behind its first two words.
const INLINE: usize = 48;

/// Low bits of a slot's word that hold the lap.
const LAP: u64 = 0xffff;

/// Messages between two stores of the consumed count. A quarter of the ring keeps the producer from ever running dry while it
/// dirties the line that the producer reads only once a lap or so.
const CREDIT_STEP: u64 = if SLOTS >= 4 { SLOTS as u64 / 4 } else { 1 };

/// Slots between the one in hand and the one that is fetched ahead: about what a transfer takes at one message every 20 ns.
const AHEAD: usize = if SLOTS > 8 { 8 } else { 0 };

/// Frames in a row that make a stream of which more is to be expected. In a ping-pong the next slot is empty, and fetching it early
/// would only take it away from the sender.
const CALM: u32 = 2;

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
        let [word, body @ ..] = *words;
        // SAFETY: the slot is ours until it is published, says `publish`.
        self.publish(word, |slot| unsafe { slot.write(body) })
    }

    /// Writes one frame of two words and at most 48 `bytes`, straight from where they are, and publishes it; `false` when the ring is
    /// full. What lies behind the bytes is left over from an earlier frame.
    ///
    /// # Panics
    /// When the bytes are more than fit.
    #[inline]
    pub(crate) fn try_push_bytes(
        &mut self,
        word: u64,
        second: u64,
        bytes: &[u8],
    ) -> Result<bool, Corrupted> {
        assert!(
            bytes.len() <= INLINE,
            "{} bytes do not fit into a slot",
            bytes.len()
        );
        self.publish(word, |slot| {
            let slot = slot.cast::<u64>();
            // SAFETY: the slot is ours until it is published, says `publish`; this is the first of its seven words.
            unsafe { slot.write(second) };
            // SAFETY: the second of seven words.
            let rest = unsafe { slot.add(1) };
            // One word is the most common message by far, and a copy of known length is one store.
            if let Ok(one) = <[u8; 8]>::try_from(bytes) {
                // SAFETY: as above.
                unsafe { rest.write(bytemuck::cast(one)) };
            } else {
                // SAFETY: six words are 48 bytes, at least as many as there are, and the program's bytes lie elsewhere.
                unsafe {
                    rest.cast::<u8>()
                        .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
                };
            }
        })
    }

    /// Lets `write` fill the body of the next slot and publishes it with `word`; `false` when the ring is full. `write` has the slot for
    /// itself: the consumer has read what it held a lap ago and will not look at it before it is published, and there is no other
    /// producer.
    #[inline(always)]
    fn publish(&mut self, word: u64, write: impl FnOnce(*mut [u64; 7])) -> Result<bool, Corrupted> {
        if !self.has_room()? {
            return Ok(false);
        }
        let slot = &self.page.slots[self.cursor.slot];
        slot.body.with_mut(write);
        slot.word
            .store(word & !LAP | u64::from(self.cursor.lap), PUBLISH);
        self.cursor.advance();
        self.sent += 1;
        // The receiver has read that slot a lap ago and will not look at it for a while: fetching it now takes the transfer off the
        // path of the message that will go there. The very next slot it may be polling already.
        prefetch::to_write(&self.page.slots[self.cursor.ahead(AHEAD)]);
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
    /// Frames taken since the ring was last found empty.
    streak: u32,
}

impl<P: Deref<Target = RingPage>> Consumer<P> {
    /// The only consumer of a ring that has never been used.
    pub(crate) fn new(page: P) -> Self {
        Self {
            page,
            cursor: Cursor::START,
            taken: 0,
            told: 0,
            streak: 0,
        }
    }

    pub(crate) fn page(&self) -> &RingPage {
        &self.page
    }

    /// Whether the last frame taken was one at which the sender was told of its credit.
    #[inline(always)]
    pub(crate) fn has_just_told(&self) -> bool {
        self.taken == self.told
    }

    /// Whether a frame waits. May say so of a corrupted slot, which [`Self::try_take`] then reports.
    pub(crate) fn is_ready(&self) -> bool {
        self.page.slots[self.cursor.slot].word.load(OBSERVE) & LAP
            != u64::from(self.cursor.lap.wrapping_sub(1))
    }

    /// Takes the next frame, if it has been published.
    #[cfg(test)]
    pub(crate) fn try_pop(&mut self) -> Result<Option<Words>, Corrupted> {
        self.try_take(|frame| frame.words())
    }

    /// Lets `read` read the next frame where it lies, if it has been published; it is taken then.
    #[inline(always)]
    pub(crate) fn try_take<R>(
        &mut self,
        read: impl FnOnce(&InSlot<'_>) -> R,
    ) -> Result<Option<R>, Corrupted> {
        let slot = &self.page.slots[self.cursor.slot];
        let word = slot.word.load(OBSERVE);
        let expected = self.cursor.lap;
        if word & LAP != u64::from(expected) {
            return if word & LAP == u64::from(expected.wrapping_sub(1)) {
                self.streak = 0;
                Ok(None)
            } else {
                Err(Corrupted {
                    found: word & LAP,
                    expected: u64::from(expected),
                })
            };
        }
        // The word just loaded carries this lap, so the producer has written the body and will not write it again before it has seen
        // our count rise above this slot, which it does after this.
        let result = read(&InSlot { word, slot });
        self.cursor.advance();
        self.taken += 1;
        self.streak += 1;
        if self.streak > CALM {
            prefetch::to_read(&self.page.slots[self.cursor.ahead(AHEAD)]);
        }
        if self.taken - self.told >= CREDIT_STEP {
            self.page.consumed.0.store(self.taken, CONSUME);
            self.told = self.taken;
        }
        Ok(Some(result))
    }
}

/// A published frame, read where it lies.
///
/// Reading it word by word and then as a whole, or the other way round, makes the processor wait until its earlier stores, some of
/// them to lines that another core has, are done: so bytes go from here straight to where they belong.
#[derive(Debug)]
pub struct InSlot<'a> {
    word: u64,
    slot: &'a Slot,
}

impl InSlot<'_> {
    /// The first word; its low 16 bits, which belong to the ring, are zero.
    #[must_use]
    #[inline(always)]
    pub fn word(&self) -> u64 {
        self.word & !LAP
    }

    /// The second word.
    #[must_use]
    #[inline(always)]
    pub fn second(&self) -> u64 {
        // SAFETY: `try_take` says that the body is ours to read; this is the first of its seven words.
        self.slot
            .body
            .with(|body| unsafe { body.cast::<u64>().read() })
    }

    /// Copies the bytes behind the second word to `into`, as many as it holds.
    ///
    /// # Panics
    /// When that is more than the 48 there are.
    #[inline(always)]
    pub fn copy_to(&self, into: &mut [u8]) {
        assert!(
            into.len() <= INLINE,
            "a slot has {INLINE} bytes, not {}",
            into.len()
        );
        self.slot.body.with(|body| {
            // SAFETY: the second of seven words.
            let bytes = unsafe { body.cast::<u64>().add(1) };
            if let Ok(one) = <&mut [u8; 8]>::try_from(&mut *into) {
                // SAFETY: `try_take` says that the body is ours to read.
                *one = bytemuck::cast(unsafe { bytes.read() });
            } else {
                // SAFETY: as above; six words are 48 bytes, at least as many as are wanted, and lie elsewhere.
                unsafe {
                    into.as_mut_ptr()
                        .copy_from_nonoverlapping(bytes.cast::<u8>(), into.len())
                };
            }
        });
    }

    /// The whole frame.
    #[must_use]
    #[inline(always)]
    pub fn words(&self) -> Words {
        // SAFETY: `try_take` says that the body is ours to read.
        let [b1, b2, b3, b4, b5, b6, b7] = self.slot.body.with(|body| unsafe { body.read() });
        [self.word(), b1, b2, b3, b4, b5, b6, b7]
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

    /// The slot `steps` further on; fewer than a lap.
    #[inline]
    fn ahead(self, steps: usize) -> usize {
        let slot = self.slot + steps;
        if slot < SLOTS { slot } else { slot - SLOTS }
    }

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
