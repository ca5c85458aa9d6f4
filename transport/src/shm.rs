//! Frames through the node segment.

use std::sync::Arc;

use phalanx_shm::{Death, Descriptor, InSlot, PoolError, Port, RankState, Segment, Sleeper, Words};

use crate::frame::{self, Content, Envelope, Header};
use crate::link::{Capabilities, LinkError, Packet, PeerState, Transport};
use crate::payload::{AlignedBytes, Buffer, Inline, Payload};

/// The link between ranks that share a segment.
#[derive(Debug)]
pub struct Shm {
    port: Port,
}

impl Shm {
    /// What every link of this kind can do.
    pub const CAPABILITIES: Capabilities = Capabilities::new("shm", Inline::CAPACITY, true, true);

    /// A link over the rank's port.
    #[must_use]
    pub fn new(port: Port) -> Self {
        Self { port }
    }

    /// The segment.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment> {
        self.port.segment()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> &Port {
        &self.port
    }

    #[inline]
    pub(crate) fn expose(&self, bytes: &[u8]) -> Option<u64> {
        self.port.expose(bytes)
    }

    pub(crate) fn pull(&self, peer: usize, offset: u64, into: &mut [u8]) -> Result<(), LinkError> {
        Ok(self.port.pull(peer, offset, into)?)
    }

    #[inline]
    pub(crate) fn copy_out(
        &mut self,
        peer: usize,
        block: Descriptor,
        into: &mut [u8],
    ) -> Result<usize, LinkError> {
        self.port.copy_out(peer, block, into)?;
        Ok(usize::try_from(block.len).unwrap_or(usize::MAX))
    }

    #[inline]
    pub(crate) fn send_small(
        &mut self,
        peer: usize,
        envelope: Envelope,
        bytes: &[u8],
    ) -> Result<bool, LinkError> {
        let head = frame::inline_head(envelope, bytes.len());
        Ok(self.port.try_push_bytes(peer, head, bytes)?)
    }

    #[inline(always)]
    pub(crate) fn poll_with<R>(
        &mut self,
        read: impl FnMut(usize, &InSlot<'_>) -> R,
    ) -> Result<Option<R>, LinkError> {
        match self.port.poll_with(read)? {
            None => self.nothing(),
            found => Ok(found),
        }
    }

    /// What there is where nothing has arrived: nothing yet, unless this rank has left, for then nothing ever will.
    #[inline]
    fn nothing<T>(&self) -> Result<Option<T>, LinkError> {
        if self.port.has_left() {
            let rank = self.port.rank();
            return Err(LinkError::Departed { rank });
        }
        Ok(None)
    }

    pub(crate) fn unpack(&mut self, peer: usize, words: &Words) -> Result<Packet, LinkError> {
        let (header, content) =
            frame::decode(words).map_err(|source| LinkError::Frame { peer, source })?;
        let payload = match content {
            Content::Inline(inline) => Payload::Inline(inline),
            Content::Block(block) => self.payload_of(peer, block)?,
        };
        Ok(Packet::new(header, payload))
    }

    /// The bytes of a block, read where they are as long as that does not starve their owner.
    #[inline]
    pub(crate) fn payload_of(
        &mut self,
        peer: usize,
        block: Descriptor,
    ) -> Result<Payload, LinkError> {
        if self.port.holds_many(peer)
            && let Some(mut copy) = usize::try_from(block.len)
                .ok()
                .and_then(AlignedBytes::with_capacity)
        {
            self.port
                .copy_out(peer, block, copy.resize(block.len as usize))?;
            return Ok(Payload::Heap(copy));
        }
        Ok(Payload::Block(self.port.borrow(peer, block)?))
    }

    /// Blocks lent to a dead rank come back, and those that one which left in good order never heard of.
    pub(crate) fn forget(&mut self, peer: usize) {
        let block_of = |words: &Words| match frame::decode(words) {
            Ok((_, Content::Block(block))) => Some(block.block),
            _ => None,
        };
        // A damaged ring does not tell what its receiver took, so what was lent to that stays lent.
        let _ = self.port.forget(peer, block_of);
    }

    pub(crate) fn stop_receiving(&mut self) {
        self.port
            .segment()
            .depart(self.port.rank(), RankState::Leaving);
    }

    pub(crate) fn leave(&mut self, failed: bool) {
        // What a thread that panics exits with, if nobody catches it.
        let state = if failed {
            RankState::Dead(Death::Exit(101))
        } else {
            RankState::Left
        };
        self.port.leave(state);
    }

    pub(crate) fn sleeper(&self) -> Sleeper {
        self.port.sleeper()
    }
}

impl Transport for Shm {
    fn capabilities(&self, _: usize) -> Capabilities {
        Self::CAPABILITIES
    }

    #[inline]
    fn send(&mut self, peer: usize, header: &Header, bytes: &[u8]) -> Result<bool, LinkError> {
        let all_fits = match header {
            // Its body is taken by what it says of the message.
            Header::Request { .. } => bytes.is_empty(),
            Header::Chunk { .. } => false,
            _ => bytes.len() <= Inline::CAPACITY,
        };
        if all_fits {
            return Ok(self.port.try_push(peer, &frame::encode(header, bytes))?);
        }
        if !self.port.has_room(peer)? {
            return Ok(false);
        }
        match self.port.stage(peer, bytes) {
            Ok(block) => Ok(self
                .port
                .try_push(peer, &frame::encode_block(header, block))?),
            Err(PoolError::Lent { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn send_buffer(
        &mut self,
        peer: usize,
        header: &Header,
        buffer: Buffer,
    ) -> Result<Option<Buffer>, LinkError> {
        let block = match buffer {
            Buffer::Block(block) => block,
            Buffer::Heap(_) => {
                return Ok(if self.send(peer, header, &buffer)? {
                    None
                } else {
                    Some(buffer)
                });
            }
        };
        if !self.port.has_room(peer)? {
            return Ok(Some(Buffer::Block(block)));
        }
        match self.port.lend(block, &[peer]) {
            Ok(descriptor) => {
                self.port
                    .try_push(peer, &frame::encode_block(header, descriptor))?;
                Ok(None)
            }
            Err((block, PoolError::Lent { .. })) => Ok(Some(Buffer::Block(block))),
            Err((_, error)) => Err(error.into()),
        }
    }

    fn reserve(&mut self, len: usize) -> Result<Buffer, LinkError> {
        Ok(Buffer::Block(self.port.pool().take(len)?))
    }

    fn send_part(
        &mut self,
        peer: usize,
        header: &Header,
        bytes: &[u8],
    ) -> Result<usize, LinkError> {
        if !self.port.has_room(peer)? {
            return Ok(0);
        }
        let Some(block) = self.port.stage_chunk(peer, bytes)? else {
            return Ok(0);
        };
        self.port
            .try_push(peer, &frame::encode_block(header, block))?;
        Ok(usize::try_from(block.len).unwrap_or(usize::MAX))
    }

    #[inline]
    fn poll(&mut self) -> Result<Option<(usize, Packet)>, LinkError> {
        let Some((peer, words)) = self.port.poll()? else {
            return self.nothing();
        };
        Ok(Some((peer, self.unpack(peer, &words)?)))
    }

    fn want_room(&mut self) {
        self.port.want_room();
    }

    fn prepare_sleep(&mut self) -> bool {
        self.port.prepare_sleep()
    }

    fn departures(&self) -> u32 {
        let damaged = self.port.damaged().len() as u32;
        self.port.segment().departures().wrapping_add(damaged)
    }

    fn state_of(&self, peer: usize) -> PeerState {
        // Nothing comes from a peer whose ring is damaged, so nobody may wait for it; how it fares otherwise is unknown.
        if self.port.damaged().contains(&peer) {
            return PeerState::Dead(Death::Unknown);
        }
        match self.port.segment().state_of(peer) {
            RankState::Leaving => PeerState::Leaving,
            RankState::Left => PeerState::Left,
            RankState::Dead(death) => PeerState::Dead(death),
            _ => PeerState::Present,
        }
    }
}
