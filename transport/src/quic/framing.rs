//! What lies in a stream: frames, one behind the other, each a word, the fields of its kind, and its bytes.
//!
//! ```text
//! stream:  | "PHLX" | version u16 | lane u8 | 0 |  then frames:
//! frame:   | kind u8 | len u56 | fields of the kind | len bytes |
//! ```
//! | kind | frame | fields | bytes |
//! |---|---|---|---|
//! | 1 | [`Header::Eager`] | context u32, tag i32, layout u32 | any |
//! | 2 | [`Header::Request`] | context u32, tag i32, layout u32, send u64, length u64, exposed u64 | any |
//! | 3 | [`Header::Accept`] | send u64, receive u64 | none |
//! | 4 | [`Header::Chunk`] | receive u64, position u64 | any |
//! | 5 | [`Header::Done`] | send u64 | none |
//! | 6 | [`Header::Withdraw`] | send u64 | none |
//! | 7 | [`Header::Abort`] | receive u64 | none |
//! | 8 | [`Header::Credit`] | taken u64 | none |
//! | 9 | [`Header::TypeName`] | layout u32 | at most 48, UTF-8 |
//! | 32 | [`Frame::Room`] | taken of small u64, taken of bulk u64 | none |
//! | 33 | [`Frame::Leaving`] | - | none |
//! | 34 | [`Frame::Goodbye`] | failed u32 | none |
//! | 35 | [`Frame::Echo`] | number u64 | none |
//! | 36 | [`Frame::Echoed`] | number u64 | none |
//!
//! Numbers are little-endian. [`VERSION`], and with it the protocol's name in the handshake, changes with any of this.

use bytes::{BufMut, BytesMut};

use crate::frame::{Envelope, Header};
use crate::payload::{AlignedBytes, Inline, Payload};

/// Version of what lies in a stream.
pub(super) const VERSION: u16 = 1;

/// Which of the two streams of a direction. Small messages never wait behind bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Whole messages and words of protocols, in the order they were sent in.
    Small = 0,
    /// Parts of large messages, in an order of their own.
    Bulk = 1,
}

impl Lane {
    pub(super) const ALL: [Self; 2] = [Self::Small, Self::Bulk];

    /// The lane on which a header travels.
    #[inline]
    pub(super) fn of(header: &Header) -> Self {
        match header {
            Header::Chunk { .. } => Self::Bulk,
            _ => Self::Small,
        }
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Something for the layer above.
    Packet(Header),
    /// How much of each lane the layer above has taken so far.
    Room([u64; 2]),
    /// The sender takes no more messages.
    Leaving,
    /// Nothing more comes from the sender, in good order or not.
    Goodbye {
        /// Not.
        failed: bool,
    },
    /// To be answered on the same lane, behind everything sent there so far.
    Echo(u64),
    /// The answer.
    Echoed(u64),
}

/// Why a stream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// It does not begin as streams do.
    #[error("a stream that begins with {0:02x?}: it is of another version")]
    Preamble([u8; 8]),
    /// There is such a stream already.
    #[error("a second stream of a kind of which there is one: it is damaged or of another version")]
    Twice,
    /// No frame is of this kind.
    #[error("a frame of unknown kind {0}: it is damaged or of another version")]
    Kind(u8),
    /// A frame of this kind does not have so many bytes.
    #[error("a frame of kind {kind} with {len} bytes: it is damaged or of another version")]
    Length {
        /// The kind.
        kind: u8,
        /// Bytes that it claims.
        len: u64,
    },
    /// The stream ended inside a frame, or before its sender said goodbye.
    #[error("a stream that ends too early: it is damaged")]
    End,
}

/// The first bytes of a stream.
pub(super) fn preamble(lane: Lane) -> [u8; PREAMBLE] {
    let [low, high] = VERSION.to_le_bytes();
    [b'P', b'H', b'L', b'X', low, high, lane as u8, 0]
}

/// Writes a frame without its bytes, of which there will be `len`.
#[inline]
pub(super) fn encode(frame: &Frame, len: usize, out: &mut BytesMut) {
    let head = |out: &mut BytesMut, kind: u8| out.put_u64_le(u64::from(kind) | (len as u64) << 8);
    match *frame {
        Frame::Packet(ref header) => encode_packet(header, len, out),
        Frame::Room([small, bulk]) => {
            head(out, ROOM);
            out.put_u64_le(small);
            out.put_u64_le(bulk);
        }
        Frame::Leaving => head(out, LEAVING),
        Frame::Goodbye { failed } => {
            head(out, GOODBYE);
            out.put_u32_le(u32::from(failed));
        }
        Frame::Echo(number) => {
            head(out, ECHO);
            out.put_u64_le(number);
        }
        Frame::Echoed(number) => {
            head(out, ECHOED);
            out.put_u64_le(number);
        }
    }
}

#[inline]
fn encode_packet(header: &Header, len: usize, out: &mut BytesMut) {
    let head = |out: &mut BytesMut, kind: u8| out.put_u64_le(u64::from(kind) | (len as u64) << 8);
    let one = |out: &mut BytesMut, kind: u8, field: u64| {
        head(out, kind);
        out.put_u64_le(field);
    };
    match *header {
        Header::Eager(envelope) => {
            head(out, EAGER);
            put_envelope(envelope, out);
        }
        Header::Request {
            envelope,
            send,
            len: length,
            exposed,
        } => {
            head(out, REQUEST);
            put_envelope(envelope, out);
            out.put_u64_le(send);
            out.put_u64_le(length);
            // Offset 0 is never a message, in frames of every kind of link.
            out.put_u64_le(exposed.unwrap_or(0));
        }
        Header::Accept { send, receive } => {
            one(out, ACCEPT, send);
            out.put_u64_le(receive);
        }
        Header::Chunk { receive, position } => {
            one(out, CHUNK, receive);
            out.put_u64_le(position);
        }
        Header::Done { send } => one(out, DONE, send),
        Header::Withdraw { send } => one(out, WITHDRAW, send),
        Header::Abort { receive } => one(out, ABORT, receive),
        Header::Credit { taken } => one(out, CREDIT, taken),
        Header::TypeName { layout } => {
            head(out, TYPE_NAME);
            out.put_u32_le(layout);
        }
    }
}

fn put_envelope(envelope: Envelope, out: &mut BytesMut) {
    out.put_u32_le(envelope.context());
    out.put_i32_le(envelope.tag());
    out.put_u32_le(envelope.layout());
}

/// Puts the frames of a stream together from the pieces that it arrives in.
#[derive(Debug)]
pub(super) struct Parser {
    /// The beginning of a frame that has not arrived up to its bytes.
    head: [u8; LONGEST_HEAD],
    have: usize,
    /// A frame whose bytes are still arriving.
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    frame: Frame,
    bytes: AlignedBytes,
    len: usize,
}

impl Parser {
    pub(super) fn new() -> Self {
        Self {
            head: [0; LONGEST_HEAD],
            have: 0,
            body: None,
        }
    }

    /// Whether the stream may end here.
    pub(super) fn is_between_frames(&self) -> bool {
        self.have == 0 && self.body.is_none()
    }

    /// Takes the next `piece` of the stream and hands on the frames that it completes.
    pub(super) fn feed(
        &mut self,
        mut piece: &[u8],
        mut found: impl FnMut(Frame, Payload),
    ) -> Result<(), StreamError> {
        loop {
            if let Some(body) = &mut self.body {
                let part = piece
                    .split_off(..piece.len().min(body.len - body.bytes.len()))
                    .unwrap_or_default();
                body.bytes.append(part);
                if body.bytes.len() < body.len {
                    return Ok(());
                }
                let body = self.body.take().expect("just seen");
                found(body.frame, Payload::Heap(body.bytes));
            }
            if piece.is_empty() {
                return Ok(());
            }
            // Most frames arrive whole, and are read where they are.
            let rest = if self.have == 0
                && let Some(length) = head_length(piece)?
                && piece.len() >= length
            {
                self.begin(piece, length, &mut found)?
            } else {
                let Some(used) = self.gather(piece)? else {
                    return Ok(());
                };
                let (head, length) = (self.head, self.have);
                self.have = 0;
                piece = &piece[used..];
                self.begin_apart(&head[..length], piece, &mut found)?
            };
            piece = &piece[piece.len() - rest..];
        }
    }

    /// Adds to a head that arrives in pieces; how many bytes it took, or none when it took them all and is not complete.
    fn gather(&mut self, piece: &[u8]) -> Result<Option<usize>, StreamError> {
        let mut used = 0;
        loop {
            let goal = head_length(&self.head[..self.have])?.unwrap_or(WORD);
            if self.have >= goal && self.have >= WORD {
                return Ok(Some(used));
            }
            let step = (goal - self.have).min(piece.len() - used);
            if step == 0 {
                return Ok(None);
            }
            self.head[self.have..self.have + step].copy_from_slice(&piece[used..used + step]);
            self.have += step;
            used += step;
        }
    }

    /// Reads the frame at the beginning of `piece`, whose head is `length` long; how many bytes are left behind it.
    fn begin(
        &mut self,
        piece: &[u8],
        length: usize,
        found: &mut impl FnMut(Frame, Payload),
    ) -> Result<usize, StreamError> {
        let (head, behind) = piece.split_at(length);
        self.begin_apart(head, behind, found)
    }

    fn begin_apart(
        &mut self,
        head: &[u8],
        behind: &[u8],
        found: &mut impl FnMut(Frame, Payload),
    ) -> Result<usize, StreamError> {
        let (frame, len) = decode(head)?;
        if len <= behind.len() {
            let (bytes, rest) = behind.split_at(len);
            found(frame, Payload::copy_of(bytes));
            return Ok(rest.len());
        }
        // Room is made as bytes arrive: a length alone costs no memory.
        let bytes = AlignedBytes::with_capacity(len.min(LARGEST_AT_ONCE)).unwrap_or_default();
        let mut body = Body { frame, bytes, len };
        body.bytes.append(behind);
        self.body = Some(body);
        Ok(0)
    }
}

/// Length of a frame's head, once its first word is there.
#[inline]
fn head_length(piece: &[u8]) -> Result<Option<usize>, StreamError> {
    let Some(word) = piece.first_chunk::<WORD>() else {
        return Ok(None);
    };
    let fields = match word[0] {
        EAGER => 12,
        REQUEST => 36,
        ACCEPT | CHUNK | ROOM => 16,
        DONE | WITHDRAW | ABORT | CREDIT | ECHO | ECHOED => 8,
        TYPE_NAME | GOODBYE => 4,
        LEAVING => 0,
        unknown => return Err(StreamError::Kind(unknown)),
    };
    Ok(Some(WORD + fields))
}

/// Reads a whole head: the frame, and how many bytes belong to it.
#[inline]
fn decode(head: &[u8]) -> Result<(Frame, usize), StreamError> {
    let word = |at: usize| {
        let bytes = head[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    let half = |at: usize| {
        let bytes = head[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    };
    let envelope = || Envelope::new(half(8), half(12).cast_signed(), half(16));
    let (kind, len) = (head[0], word(0) >> 8);
    let frame = match kind {
        EAGER => Frame::Packet(Header::Eager(envelope())),
        REQUEST => Frame::Packet(Header::Request {
            envelope: envelope(),
            send: word(20),
            len: word(28),
            exposed: Some(word(36)).filter(|&offset| offset != 0),
        }),
        ACCEPT => Frame::Packet(Header::Accept {
            send: word(8),
            receive: word(16),
        }),
        CHUNK => Frame::Packet(Header::Chunk {
            receive: word(8),
            position: word(16),
        }),
        DONE => Frame::Packet(Header::Done { send: word(8) }),
        WITHDRAW => Frame::Packet(Header::Withdraw { send: word(8) }),
        ABORT => Frame::Packet(Header::Abort { receive: word(8) }),
        CREDIT => Frame::Packet(Header::Credit { taken: word(8) }),
        TYPE_NAME => Frame::Packet(Header::TypeName { layout: half(8) }),
        ROOM => Frame::Room([word(8), word(16)]),
        LEAVING => Frame::Leaving,
        GOODBYE => Frame::Goodbye {
            failed: half(8) != 0,
        },
        ECHO => Frame::Echo(word(8)),
        ECHOED => Frame::Echoed(word(8)),
        unknown => return Err(StreamError::Kind(unknown)),
    };
    let most = match kind {
        EAGER | REQUEST | CHUNK => isize::MAX as u64,
        TYPE_NAME => Inline::CAPACITY as u64,
        _ => 0,
    };
    match usize::try_from(len) {
        Ok(bytes) if len <= most => Ok((frame, bytes)),
        _ => Err(StreamError::Length { kind, len }),
    }
}

pub(super) const PREAMBLE: usize = 8;
/// Bytes before the fields.
const WORD: usize = 8;
pub(super) const LONGEST_HEAD: usize = 44;
/// Most bytes that are set aside for a frame before they arrive.
const LARGEST_AT_ONCE: usize = 1 << 20;

const EAGER: u8 = 1;
const REQUEST: u8 = 2;
const ACCEPT: u8 = 3;
const CHUNK: u8 = 4;
const DONE: u8 = 5;
const WITHDRAW: u8 = 6;
const ABORT: u8 = 7;
const CREDIT: u8 = 8;
const TYPE_NAME: u8 = 9;
const ROOM: u8 = 32;
const LEAVING: u8 = 33;
const GOODBYE: u8 = 34;
const ECHO: u8 = 35;
const ECHOED: u8 = 36;

/// For the fuzzer: the frames of a stream that arrives in pieces of these lengths in turn, as text and bytes, and how it ended.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn read_stream(
    stream: &[u8],
    cuts: &[usize],
) -> (Vec<(String, Vec<u8>)>, Result<bool, StreamError>) {
    let mut parser = Parser::new();
    let mut found = Vec::new();
    let mut rest = stream;
    for &cut in cuts.iter().cycle() {
        let (piece, after) = rest.split_at(cut.clamp(1, rest.len().max(1)).min(rest.len()));
        let fed = parser.feed(piece, |frame, payload| {
            let aligned = payload
                .as_ptr()
                .addr()
                .is_multiple_of(crate::payload::ALIGNMENT);
            assert!(aligned, "a payload is not aligned");
            found.push((format!("{frame:?}"), payload.to_vec()));
        });
        if let Err(error) = fed {
            return (found, Err(error));
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    (found, Ok(parser.is_between_frames()))
}

#[cfg(test)]
mod tests;
