//! Link and engine of a rank, as whoever is inside has them.

use phalanx_transport::{Buffer, Found, Link, Transport};

use crate::engine::{
    Arrival, Completed, Departures, Engine, Lend, OpId, Send, Sink, Source, Tried, Wanted,
};
use crate::error::{Error, Result};
use crate::matching::Turn;

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) link: Link,
    pub(crate) engine: Engine,
    pub(super) departures: Departures,
    /// Threads that sleep or doze.
    pub(super) sleeping: usize,
    /// One of them sleeps on the link's bell: never more, so that waking it is not mistaken for waking another. The others doze.
    pub(super) watched: bool,
}

/// A message that is in the buffer it was wanted in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landed {
    pub(crate) from: usize,
    pub(crate) tag: i32,
    /// Bytes of the message.
    pub(crate) len: usize,
}

impl Core {
    /// A buffer of the link, of `len` bytes.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<Buffer> {
        Ok(self.link.reserve(len)?)
    }

    pub(crate) fn post(&mut self, wanted: &Wanted, sink: Sink) -> OpId {
        self.engine.post(&mut self.link, wanted, sink)
    }

    pub(crate) fn try_eager(&mut self, send: &Send, bytes: &[u8]) -> Result<bool> {
        let tried = self.engine.try_eager(&mut self.link, send, bytes)?;
        Ok(tried == Tried::Sent)
    }

    pub(crate) fn submit(
        &mut self,
        send: &Send,
        len: usize,
        source: Source,
    ) -> Result<OpId, (Source, Error)> {
        self.engine.submit(&mut self.link, send, len, source)
    }

    pub(crate) fn restore(&mut self, arrival: Arrival, turn: Turn) {
        self.engine.restore(&mut self.link, arrival, turn);
    }

    pub(crate) fn receive_extracted(
        &mut self,
        arrival: Arrival,
        wanted: &Wanted,
        sink: Sink,
    ) -> Result<OpId, (Arrival, Error)> {
        self.engine
            .receive_extracted(&mut self.link, arrival, wanted, sink)
    }

    /// Takes in what has arrived and does what can be done. Says whether anything moved.
    pub(crate) fn turn(&mut self, lend: &mut Lend<'_>) -> Result<bool> {
        let mut moved = false;
        for _ in 0..PACKETS_PER_TURN {
            let found = self.link.poll_with(|from, found| match found {
                Found::Frame(frame) => (from, Ok(frame.words())),
                Found::Packet(packet) => (from, Err(packet)),
            })?;
            let packet = match found {
                None => break,
                Some((from, Err(packet))) => (from, packet),
                Some((from, Ok(words))) => {
                    if self
                        .engine
                        .land_part(&mut self.link, (from, &words), lend)?
                    {
                        moved = true;
                        continue;
                    }
                    (from, self.link.unpack(from, &words)?)
                }
            };
            self.engine
                .handle(&mut self.link, packet.0, packet.1, None)?;
            moved = true;
        }
        moved |= self.engine.advance(&mut self.link, lend)?;
        Ok(moved)
    }

    /// Gets ready to sleep; `false` when there is something to be done first.
    pub(super) fn prepare_sleep(&mut self, lend: &mut Lend<'_>) -> bool {
        let wants_room = !self.engine.is_quiet();
        if wants_room {
            self.link.want_room();
        }
        if !self.link.prepare_sleep() || self.departures.are_due(&self.link) {
            return false;
        }
        // Room that was made before anybody knew that it was wanted. An error shows again in the next turn.
        !wants_room || matches!(self.engine.advance(&mut self.link, lend), Ok(false))
    }

    /// Ends what waits for ranks that have departed, once all that they sent has been taken in.
    /// Says whether anybody has.
    #[cold]
    pub(super) fn mourn(&mut self) -> Result<bool> {
        let news = self.departures.news(&self.link, &self.engine);
        if news.is_empty() {
            return Ok(false);
        }
        while let Some((from, packet)) = self.link.poll()? {
            self.engine.handle(&mut self.link, from, packet, None)?;
        }
        for (peer, state) in news {
            self.engine.depart(&mut self.link, peer, state);
        }
        Ok(true)
    }
}

impl Completed {
    pub(crate) fn landed(&self) -> Landed {
        Landed {
            from: self.from,
            tag: self.tag,
            len: self.len,
        }
    }

    /// Puts the bytes into the buffer that was given for them, unless they are there already.
    #[inline]
    pub(crate) fn settle(mut self, buffer: Option<&mut [u8]>) -> Self {
        if let Some(buffer) = buffer
            && let Some(payload) = self.payload.take()
        {
            buffer[..payload.len()].copy_from_slice(&payload);
        }
        self
    }
}

/// Packets taken in before what they made possible is done.
const PACKETS_PER_TURN: usize = 16;
