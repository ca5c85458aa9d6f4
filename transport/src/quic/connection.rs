//! One QUIC connection and its four streams.
//!
//! Of all connections that two ranks may have at a time, because both dialled, or one tried several addresses, they use one. The
//! lower rank elects it: the first whose handshake it has seen completed. It opens its streams there at once, and the higher rank uses
//! the connection on which it sees them. So both always agree, and nothing is ever sent on a connection that will not be used.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{Connection, Dir, ReadError, StreamId, VarInt};

use super::framing::{Frame, Lane, PREAMBLE, Parser, StreamError, preamble};
use super::identity::Fingerprint;
use super::peer::Peer;
use crate::payload::Payload;

/// A connection, from its first packet to its last.
pub(super) struct Conn {
    pub(super) quic: Connection,
    /// Whom this rank dialled, or who has proved to be at the other end.
    pub(super) peer: Option<usize>,
    pub(super) dialled: bool,
    /// Who somebody that dialled this rank says he is, and the certificate that he has shown.
    pub(super) claim: Option<(usize, Fingerprint)>,
    pub(super) stage: Stage,
    /// When what somebody else began counts as stalled.
    pub(super) patience: Option<Instant>,
    /// Why this rank refused it.
    pub(super) refused: Option<String>,
    /// The time at which it is to be looked at again, as it stands in the driver's table.
    pub(super) timer: Option<Instant>,
    /// It is in the driver's list of those that have something to do.
    pub(super) listed: bool,
    outs: Option<[StreamId; 2]>,
    /// Which of them the peer has acknowledged to the end.
    acknowledged: [bool; 2],
    finished: bool,
    ins: Vec<Inbound>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The handshake is under way.
    Shaking,
    /// The other end has shown a certificate and has its key. Whether it is that of the rank that it claims to be, its card will tell.
    Shown,
    /// The other end is who it claims to be; whether this connection is used is for that rank to say.
    Known,
    /// All that the two ranks tell each other goes this way.
    Elected,
    /// It is being closed.
    Over,
}

/// A stream of the peer.
struct Inbound {
    id: StreamId,
    lane: Option<Lane>,
    preamble: [u8; PREAMBLE],
    have: usize,
    parser: Parser,
    ended: bool,
}

impl Conn {
    pub(super) fn new(quic: Connection, peer: Option<usize>) -> Self {
        Self {
            quic,
            peer,
            dialled: peer.is_some(),
            claim: None,
            stage: Stage::Shaking,
            patience: None,
            refused: None,
            timer: None,
            listed: false,
            outs: None,
            acknowledged: [false; 2],
            finished: false,
            ins: Vec::new(),
        }
    }

    /// Where the other end is now.
    pub(super) fn remote(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// Opens this rank's streams.
    pub(super) fn elect(&mut self) {
        self.stage = Stage::Elected;
        self.patience = None;
        let opened = Lane::ALL.map(|_| self.quic.streams().open(Dir::Uni));
        // None when the connection closes at this very moment; its end is reported next.
        let [Some(small), Some(bulk)] = opened else {
            return;
        };
        self.outs = Some([small, bulk]);
        for (id, lane) in [small, bulk].into_iter().zip(Lane::ALL) {
            let mut stream = self.quic.send_stream(id);
            // A stream just opened has room for eight bytes and any priority.
            let _ = stream.write(&preamble(lane));
            let _ = stream.set_priority(-(lane as i32));
        }
    }

    /// Hands over what waits for the peer, as far as there is room.
    pub(super) fn write(&mut self, peer: &mut Peer) {
        let Some(outs) = self.outs.filter(|_| !self.finished) else {
            return;
        };
        for (id, lane) in outs.into_iter().zip(&mut peer.lanes) {
            if !lane.is_empty() {
                lane.write(&mut self.quic.send_stream(id));
            }
        }
    }

    /// Nothing more will be written.
    pub(super) fn finish(&mut self) {
        let Some(outs) = self.outs.filter(|_| !self.finished) else {
            return;
        };
        self.finished = true;
        for id in outs {
            // Fails only when the peer wants no more, which is as good.
            let _ = self.quic.send_stream(id).finish();
        }
    }

    /// The peer has all of a stream, or wants no more of it.
    pub(super) fn acknowledge(&mut self, id: StreamId) {
        if let Some(outs) = self.outs {
            for (out, acknowledged) in outs.into_iter().zip(&mut self.acknowledged) {
                *acknowledged |= out == id;
            }
        }
    }

    /// Whether the peer has everything.
    pub(super) fn is_delivered(&self) -> bool {
        self.finished && self.acknowledged == [true; 2]
    }

    pub(super) fn close(&mut self, now: Instant, code: VarInt, reason: &str) {
        self.stage = Stage::Over;
        self.patience = None;
        self.quic
            .close(now, code, Bytes::copy_from_slice(reason.as_bytes()));
    }

    /// Takes streams that the peer has opened.
    pub(super) fn accept(&mut self) {
        while let Some(id) = self.quic.streams().accept(Dir::Uni) {
            self.ins.push(Inbound {
                id,
                lane: None,
                preamble: [0; PREAMBLE],
                have: 0,
                parser: Parser::new(),
                ended: false,
            });
        }
    }

    /// Streams that the peer has opened.
    pub(super) fn inbound(&self) -> usize {
        self.ins.len()
    }

    /// Whether both streams of the peer have been read to their end.
    pub(super) fn is_read(&self) -> bool {
        self.ins.len() == Lane::ALL.len() && self.ins.iter().all(|stream| stream.ended)
    }

    /// Reads all that has arrived on the stream at `place`.
    pub(super) fn read(
        &mut self,
        place: usize,
        mut found: impl FnMut(Lane, Frame, Payload),
    ) -> Result<(), StreamError> {
        let id = self.ins[place].id;
        if self.ins[place].ended {
            return Ok(());
        }
        let mut result = Ok(());
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return Ok(());
        };
        let (before, rest) = self.ins.split_at_mut(place);
        let (inbound, after) = rest.split_first_mut().expect("the place of a stream");
        while result.is_ok() {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    let mut others = before.iter().chain(after.iter());
                    let is_taken = |lane| others.any(|other| other.lane == Some(lane));
                    result = inbound.take(&chunk.bytes, is_taken, &mut found);
                }
                Ok(None) => {
                    inbound.ended = true;
                    if inbound.lane.is_none() || !inbound.parser.is_between_frames() {
                        result = Err(StreamError::End);
                    }
                    break;
                }
                Err(ReadError::Blocked) => break,
                // Ranks never reset a stream.
                Err(ReadError::Reset(_)) => result = Err(StreamError::End),
            }
        }
        // What is to be told of the room that this made goes out with the next packet: the caller transmits after reading.
        let _ = chunks.finalize();
        result
    }
}

impl Inbound {
    fn take(
        &mut self,
        mut piece: &[u8],
        is_taken: impl FnOnce(Lane) -> bool,
        found: &mut impl FnMut(Lane, Frame, Payload),
    ) -> Result<(), StreamError> {
        let missing = (PREAMBLE - self.have).min(piece.len());
        let (head, rest) = piece.split_at(missing);
        self.preamble[self.have..self.have + missing].copy_from_slice(head);
        self.have += missing;
        piece = rest;
        if self.have < PREAMBLE {
            return Ok(());
        }
        let lane = match self.lane {
            Some(lane) => lane,
            None => {
                let lane = Lane::ALL
                    .into_iter()
                    .find(|&lane| preamble(lane) == self.preamble)
                    .ok_or(StreamError::Preamble(self.preamble))?;
                if is_taken(lane) {
                    return Err(StreamError::Twice);
                }
                *self.lane.insert(lane)
            }
        };
        self.parser
            .feed(piece, |frame, payload| found(lane, frame, payload))
    }
}
