//! Receiving one message, by a caller who waits for it.

use phalanx_transport::{Found, Payload};

use crate::engine::{
    Arrival, Arrived, Completed, Glance, IntoBuffer, Landing, Lend, Outcome, Sink, Wanted,
};
use crate::error::{Error, Result};
use crate::wait::Backoff;

use super::{Core, Guard, Landed, Limit, Progress};

impl Progress {
    /// Receives one message into `buffer`.
    #[inline]
    pub(crate) fn receive_into(
        &self,
        wanted: &Wanted,
        buffer: &mut [u8],
        limit: Limit<'_>,
    ) -> Result<Landed> {
        let mut core = self.lock();
        let mut arrival = None;
        match self.look(
            &mut core,
            wanted,
            &mut IntoBuffer(&mut *buffer),
            &mut arrival,
        ) {
            Ok(Some(landed)) => {
                if core.engine.owes(landed.from) {
                    core = self.pay(core, landed.from);
                }
                self.leave(core);
                Ok(landed)
            }
            Ok(None) => {
                if let Some(Arrival {
                    from,
                    envelope,
                    content: Arrived::Bytes(payload),
                }) = &arrival
                {
                    buffer[..payload.len()].copy_from_slice(payload);
                    self.leave(core);
                    let (from, tag, len) = (*from, envelope.tag(), payload.len());
                    return Ok(Landed { from, tag, len });
                }
                self.receive_slowly(core, wanted, arrival, Some(buffer), limit)
                    .map(|completed| completed.landed())
            }
            Err(error) => {
                self.leave(core);
                Err(error)
            }
        }
    }

    /// Receives one message, whose bytes come with what is returned.
    #[inline]
    pub(crate) fn receive(&self, wanted: &Wanted, limit: Limit<'_>) -> Result<Completed> {
        let mut core = self.lock();
        let mut arrival = None;
        let mut payload: Option<Payload> = None;
        match self.look(&mut core, wanted, &mut payload, &mut arrival) {
            Ok(Some(Landed { from, tag, len })) => {
                self.leave(core);
                Ok(Completed {
                    from,
                    tag,
                    len,
                    payload,
                })
            }
            Ok(None) => {
                if let Some(Arrival {
                    from,
                    envelope,
                    content: Arrived::Bytes(payload),
                }) = arrival
                {
                    self.leave(core);
                    return Ok(Completed {
                        from,
                        tag: envelope.tag(),
                        len: payload.len(),
                        payload: Some(payload),
                    });
                }
                self.receive_slowly(core, wanted, arrival, None, limit)
            }
            Err(error) => {
                self.leave(core);
                Err(error)
            }
        }
    }

    /// The first phase of a receive: takes the message if it is here or comes while we look, to `landing` or as `arrival`. The receive
    /// is the newest there is, so it needs no entry in the queue as long as no other thread is let in.
    #[inline]
    fn look(
        &self,
        core: &mut Core,
        wanted: &Wanted,
        landing: &mut impl Landing,
        arrival: &mut Option<Arrival>,
    ) -> Result<Option<Landed>> {
        let Core { link, engine, .. } = core;
        if engine.keeps_any() {
            *arrival = engine.claim(wanted)?;
            if arrival.is_some() {
                return Ok(None);
            }
        }
        if !engine.is_quiet() {
            return Ok(None);
        }
        let mut backoff = Backoff::new();
        let mut others = 0;
        loop {
            let mut words = [0; 8];
            let mut packet = None;
            let glanced = link.poll_with(|from, found| match found {
                Found::Frame(frame) => {
                    let glance = engine.glance((from, frame), wanted, landing, &mut words);
                    (from, glance)
                }
                Found::Packet(found) => {
                    packet = Some(found);
                    (from, Glance::Other)
                }
            })?;
            let from = match glanced {
                Some((from, Glance::Landed { tag, len })) => {
                    return Ok(Some(Landed { from, tag, len }));
                }
                Some((from, Glance::Elsewhere { tag })) => {
                    let len = engine.land(link, (from, &words), landing)?;
                    return Ok(Some(Landed { from, tag, len }));
                }
                Some((from, Glance::Other)) => from,
                None if self.somebody_knocks() || !backoff.looks_on(&self.patience) => {
                    return Ok(None);
                }
                None => continue,
            };
            let packet = packet.map_or_else(|| link.unpack(from, &words), Ok)?;
            *arrival = engine.handle(link, from, packet, Some(wanted))?;
            others += 1;
            if arrival.is_some() || !engine.is_quiet() || others == PACKETS_PER_LOOK {
                return Ok(None);
            }
        }
    }

    #[cold]
    fn receive_slowly(
        &self,
        mut core: Guard<'_, Core>,
        wanted: &Wanted,
        arrival: Option<Arrival>,
        mut buffer: Option<&mut [u8]>,
        limit: Limit<'_>,
    ) -> Result<Completed> {
        let sink = if buffer.is_some() {
            Sink::Caller
        } else {
            Sink::Payload
        };
        let Core { link, engine, .. } = &mut *core;
        let id = match arrival {
            Some(arrival) => engine.begin(link, arrival, wanted, sink),
            None => engine.post(link, wanted, sink),
        };
        let lend = Lend {
            read: None,
            write: buffer.as_deref_mut().map(|buffer| (id, buffer)),
        };
        match self.complete(core, id, lend, limit)? {
            Outcome::Received(completed) => Ok(completed.settle(buffer)),
            Outcome::Sent(_) => Err(Error::Cancelled),
        }
    }

    /// Waits until `peer`, which may wait for that, has been told what it has to be.
    #[cold]
    fn pay<'a>(&'a self, core: Guard<'a, Core>, peer: usize) -> Guard<'a, Core> {
        let forever = Limit {
            timeout: None,
            what: &|| format!("rank {peer} to take an answer"),
        };
        // An error is a damaged ring, on which nobody waits any more.
        let told = |engine: &mut crate::engine::Engine| !engine.owes(peer);
        self.wait_for(core, Lend::nothing(), forever, told).0
    }
}

/// Packets for others that a receive takes in before it lets other threads in and looks at the clock.
const PACKETS_PER_LOOK: usize = 64;
