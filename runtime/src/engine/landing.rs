//! The short way of a message to a caller who waits for just that one: from the frame to where it belongs.
//!
//! No packet, no operation and no queue in between, and nothing large that is handed on through memory: reading back what was just
//! written in other pieces makes the processor wait for its stores, some of them to lines that a peer has.

use phalanx_shm::{Descriptor, InSlot, Words};
use phalanx_transport::{Envelope, Header, InFrame, Link, LinkError, Payload, Transport, frame};

use crate::error::Result;

use super::receive::{self, Expected, Wanted};
use super::{Engine, peers};

/// What a glance at a frame came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Glance {
    /// The message, which has landed.
    Landed { tag: i32, len: usize },
    /// The message, which is elsewhere in the sender's memory: to be landed from there.
    Elsewhere { tag: i32 },
    /// Something to be dealt with in the ordinary way.
    Other,
}

/// Where a message that has been waited for goes.
pub(crate) trait Landing {
    /// Whether it can be copied from where its sender has exposed it.
    const PULLS: bool;

    /// Takes the first `len` bytes of a frame's body.
    fn take_inline(&mut self, frame: &InSlot<'_>, len: usize);

    /// Takes a block of `from`; returns its length.
    fn take_block(
        &mut self,
        link: &mut Link,
        from: usize,
        block: Descriptor,
    ) -> Result<usize, LinkError>;

    /// Copies `len` bytes that `from` exposes at `offset`.
    fn pull(&mut self, link: &Link, from: usize, offset: u64, len: usize) -> Result<(), LinkError>;
}

/// Into a buffer that is as long or longer.
#[derive(Debug)]
pub(crate) struct IntoBuffer<'a>(pub(crate) &'a mut [u8]);

impl Landing for IntoBuffer<'_> {
    const PULLS: bool = true;

    #[inline(always)]
    fn take_inline(&mut self, frame: &InSlot<'_>, len: usize) {
        frame.copy_to(&mut self.0[..len]);
    }

    #[inline]
    fn take_block(
        &mut self,
        link: &mut Link,
        from: usize,
        block: Descriptor,
    ) -> Result<usize, LinkError> {
        link.copy_out(from, block, self.0)
    }

    #[inline]
    fn pull(&mut self, link: &Link, from: usize, offset: u64, len: usize) -> Result<(), LinkError> {
        link.pull(from, offset, &mut self.0[..len])
    }
}

/// As a payload of its own, read where it is.
impl Landing for Option<Payload> {
    /// What is exposed goes back to its owner at once, so that a payload needs memory of its own, which operations have.
    const PULLS: bool = false;

    #[inline(always)]
    fn take_inline(&mut self, frame: &InSlot<'_>, len: usize) {
        *self = Some(Payload::in_frame(frame, len));
    }

    #[inline]
    fn take_block(
        &mut self,
        link: &mut Link,
        from: usize,
        block: Descriptor,
    ) -> Result<usize, LinkError> {
        let payload = self.insert(link.payload_of(from, block)?);
        Ok(payload.len())
    }

    fn pull(&mut self, _: &Link, from: usize, _: u64, _: usize) -> Result<(), LinkError> {
        Err(LinkError::NotExposed { peer: from })
    }
}

impl Engine {
    /// Looks at a frame for a caller that is waiting: lands a message that is just what it wants, and that no posted receive claims
    /// before it. Of everything else a copy goes to `words`.
    #[inline(always)]
    pub(crate) fn glance<L: Landing>(
        &mut self,
        (from, frame): (usize, &InSlot<'_>),
        wanted: &Wanted,
        landing: &mut L,
        words: &mut Words,
    ) -> Glance {
        if let Some((envelope, place)) = frame::message_in(frame) {
            let tag = envelope.tag();
            match place {
                InFrame::Inline(len) if self.is_wanted(from, envelope, len, wanted) => {
                    landing.take_inline(frame, len);
                    self.peers.take(from, peers::cost(len));
                    return Glance::Landed { tag, len };
                }
                InFrame::Block(len) if self.is_wanted(from, envelope, len, wanted) => {
                    *words = frame.words();
                    return Glance::Elsewhere { tag };
                }
                InFrame::Exposed(len)
                    if L::PULLS && self.is_wanted(from, envelope, len, wanted) =>
                {
                    *words = frame.words();
                    return Glance::Elsewhere { tag };
                }
                _ => {}
            }
        }
        *words = frame.words();
        Glance::Other
    }

    /// Lands the message that [`Self::glance`] found to be elsewhere; returns its length.
    pub(crate) fn land(
        &mut self,
        link: &mut Link,
        (from, words): (usize, &Words),
        landing: &mut impl Landing,
    ) -> Result<usize> {
        let Some(block) = frame::message_block(words) else {
            return self.land_exposed(link, (from, words), landing);
        };
        let len = landing.take_block(link, from, block)?;
        self.peers.take(from, peers::cost(len));
        Ok(len)
    }

    fn land_exposed(
        &mut self,
        link: &mut Link,
        (from, words): (usize, &Words),
        landing: &mut impl Landing,
    ) -> Result<usize> {
        let (send, len, offset) = frame::exposed_in(words);
        // The glance has found that there is room for it.
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let pulled = landing.pull(link, from, offset, len);
        let done = Header::Done { send };
        let told = !self.owes(from) && link.send(from, &done, &[])?;
        if !told {
            self.peers.queue_control(from, done);
        }
        pulled?;
        Ok(len)
    }

    /// Whether a peer has to be told something for which there has been no room.
    #[inline]
    pub(crate) fn owes(&mut self, peer: usize) -> bool {
        !self.peers.nothing_queued() && !self.peers.get(peer).control.is_empty()
    }

    #[inline]
    fn is_wanted(&self, from: usize, envelope: Envelope, len: usize, wanted: &Wanted) -> bool {
        let Expected {
            layout, capacity, ..
        } = wanted.expected;
        self.posted.is_empty()
            && wanted.pattern.fits(receive::address(from, envelope))
            && envelope.layout() == layout
            && len <= capacity
    }
}
