//! Sending one message, by a caller who waits until the bytes are no longer needed.

use std::hint::spin_loop;

use phalanx_transport::{Buffer, Found, frame};

use crate::engine::{Lend, OpId, Send, Source, Tried};
use crate::error::Result;
use crate::wait::Backoff;

use super::{Core, Guard, Limit, Progress};

impl Progress {
    /// Sends bytes that the caller keeps; returns when they are no longer needed.
    #[inline]
    pub(crate) fn send(&self, send: &Send, bytes: &[u8], limit: Limit<'_>) -> Result<()> {
        let mut core = self.lock();
        let Core { link, engine, .. } = &mut *core;
        match engine.try_eager(link, send, bytes)? {
            Tried::Sent => Ok(()),
            Tried::NoRoom => self.send_when_room(core, send, bytes, limit),
            Tried::Exposed(offset) if send.may_expose && limit.timeout.is_none() => {
                self.send_exposed(core, send, (offset, bytes), limit)
            }
            Tried::Exposed(_) | Tried::Refused => self.send_slowly(core, send, bytes, limit),
        }
    }

    /// A receiver that keeps up makes room in less time than an operation takes to set up.
    #[cold]
    fn send_when_room(
        &self,
        mut core: Guard<'_, Core>,
        send: &Send,
        bytes: &[u8],
        limit: Limit<'_>,
    ) -> Result<()> {
        for _ in 0..LOOKS_FOR_ROOM {
            spin_loop();
            let Core { link, engine, .. } = &mut *core;
            match engine.try_eager(link, send, bytes)? {
                Tried::Sent => return Ok(()),
                Tried::NoRoom => {}
                Tried::Exposed(_) | Tried::Refused => break,
            }
        }
        self.send_slowly(core, send, bytes, limit)
    }

    #[cold]
    fn send_slowly(
        &self,
        mut core: Guard<'_, Core>,
        send: &Send,
        bytes: &[u8],
        limit: Limit<'_>,
    ) -> Result<()> {
        let send = Send {
            may_expose: send.may_expose && limit.timeout.is_none(),
            ..*send
        };
        let id = core
            .submit(&send, bytes.len(), Source::Caller)
            .map_err(|(_, error)| error)?;
        let lend = Lend {
            read: Some((id, bytes)),
            write: None,
        };
        self.complete(core, id, lend, limit).map(|_| ())
    }

    /// Hands a buffer of the link over. Over a link that cannot take it as it is, its bytes follow when the receiver wants them; the caller,
    /// who has no more to do with it, need not wait for that.
    pub(crate) fn send_buffer(&self, send: &Send, buffer: Buffer, limit: Limit<'_>) -> Result<()> {
        let mut core = self.lock();
        let Core { link, engine, .. } = &mut *core;
        let Some(buffer) = engine.try_buffer(link, send, buffer)? else {
            return Ok(());
        };
        let len = buffer.len();
        let id = core
            .submit(send, len, Source::Buffer(buffer))
            .map_err(|(_, error)| error)?;
        if core.engine.may_let_go(&core.link, send) {
            core.engine.detach(id);
            self.leave(core);
            return Ok(());
        }
        self.complete(core, id, Lend::nothing(), limit).map(|_| ())
    }

    /// Lets the peer copy bytes from where they are, and waits for its answer.
    fn send_exposed(
        &self,
        mut core: Guard<'_, Core>,
        send: &Send,
        (offset, bytes): (u64, &[u8]),
        limit: Limit<'_>,
    ) -> Result<()> {
        let Core { link, engine, .. } = &mut *core;
        let Some(id) = engine.try_request(link, send, (offset, bytes.len()))? else {
            return self.send_slowly(core, send, bytes, limit);
        };
        match self.look_for_done(&mut core, send.peer, id) {
            Ok(false) => {}
            Ok(true) => {
                core.engine.conclude(id);
                self.leave(core);
                return Ok(());
            }
            Err(error) => {
                core.engine.withdraw_unfinished(id);
                self.leave(core);
                return Err(error);
            }
        }
        let lend = Lend {
            read: Some((id, bytes)),
            write: None,
        };
        self.complete(core, id, lend, limit).map(|_| ())
    }

    /// The first phase of that wait, as long as nothing else comes.
    fn look_for_done(&self, core: &mut Core, peer: usize, id: OpId) -> Result<bool> {
        let Core { link, engine, .. } = core;
        let mut backoff = Backoff::new();
        while engine.is_quiet() {
            let mut words = [0; 8];
            let mut packet = None;
            let found = link.poll_with(|from, found| {
                let done = match found {
                    Found::Frame(frame) => {
                        let done = from == peer && frame::done_in(frame) == Some(id.to_bits());
                        if !done {
                            words = frame.words();
                        }
                        done
                    }
                    Found::Packet(found) => {
                        packet = Some(found);
                        false
                    }
                };
                (from, done)
            })?;
            match found {
                Some((_, true)) => return Ok(true),
                Some((from, false)) => {
                    let packet = packet.map_or_else(|| link.unpack(from, &words), Ok)?;
                    engine.handle(link, from, packet, None)?;
                    return Ok(false);
                }
                None if self.somebody_knocks() || !backoff.looks_on(&self.patience) => break,
                None => {}
            }
        }
        Ok(false)
    }
}

/// Looks for room in a full ring, a few microseconds together, before a send becomes an operation.
const LOOKS_FOR_ROOM: u32 = 64;
