//! What travels between two ranks, and its image of exactly one cache line.
//!
//! ```text
//!  0        2      3     4          8           12        16                                     64
//!  | lap    | kind | len | layout   | context   | tag     | body: inline bytes, or fields         |
//!  | (ring) |      |     | u32      | u32       | i32     |                                       |
//! ```
//! | kind | header | fields of the body | content |
//! |---|---|---|---|
//! | 1 | [`Header::Eager`] | - | `len` inline bytes |
//! | 2 | [`Header::Eager`] | - | block at 16 |
//! | 3 | [`Header::Request`] | send, length, exposed | none, or block at 40 |
//! | 4 | [`Header::Accept`] | send, receive | none |
//! | 5 | [`Header::Chunk`] | receive, position | block at 32 |
//! | 6 | [`Header::Done`] | send | none |
//! | 7 | [`Header::Withdraw`] | send | none |
//! | 8 | [`Header::Abort`] | receive | none |
//! | 9 | [`Header::Credit`] | taken | none |
//! | 10 | [`Header::TypeName`] | - | `len` inline bytes of UTF-8 |
//!
//! A field is a little-endian u64, the first at offset 16. A block is `offset: u64, length: u64, number: u32`; where there need not be one,
//! offset 0 says that there is none. Bytes that a kind does
//! not name are zero when written and ignored when read. [`VERSION`] changes with any of this.

use phalanx_shm::{Descriptor, InSlot, Words};

use crate::payload::Inline;

/// Version of the frame; ranks of one job have the same.
pub const VERSION: u16 = 2;

/// What makes a message match a receive, and what type it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Envelope {
    /// Context and tag, as they lie in the frame: two numbers travel in two registers, three through memory.
    matching: u64,
    layout: u32,
}

impl Envelope {
    /// An envelope of its three parts: the communicator's context, the tag, and the hash of the layout of the message's type, 0 for
    /// none.
    #[must_use]
    #[inline]
    pub const fn new(context: u32, tag: i32, layout: u32) -> Self {
        let matching = context as u64 | (tag.cast_unsigned() as u64) << 32;
        Self { matching, layout }
    }

    /// The communicator's context.
    #[must_use]
    #[inline]
    pub const fn context(self) -> u32 {
        self.matching as u32
    }

    /// The tag.
    #[must_use]
    #[inline]
    pub const fn tag(self) -> i32 {
        ((self.matching >> 32) as u32).cast_signed()
    }

    /// Hash of the layout of the message's type; 0 for none.
    #[must_use]
    #[inline]
    pub const fn layout(self) -> u32 {
        self.layout
    }
}

/// What a frame says beside the bytes it carries. `send` and `receive` number operations of the rank that is named so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Header {
    /// A whole message.
    Eager(Envelope),
    /// A message that waits at its sender: matched like any other, moved when the receiver asks. Its beginning may come with the request.
    Request {
        /// What the message matches by.
        envelope: Envelope,
        /// The sender's operation.
        send: u64,
        /// Length of the message in bytes.
        len: u64,
        /// Where the message lies in memory that the receiver can read, if it does.
        exposed: Option<u64>,
    },
    /// The receiver is ready for the message of a request.
    Accept {
        /// The sender's operation.
        send: u64,
        /// The receiver's operation.
        receive: u64,
    },
    /// A part of a message.
    Chunk {
        /// The receiver's operation.
        receive: u64,
        /// Where in the message the part begins, in bytes.
        position: u64,
    },
    /// The receiver needs nothing more of a message: it has copied what was exposed, all of it came with the request, or it let a
    /// withdrawn one go.
    Done {
        /// The sender's operation.
        send: u64,
    },
    /// The sender takes a request back, unless it has been accepted.
    Withdraw {
        /// The sender's operation.
        send: u64,
    },
    /// The rest of a message that was accepted will not come.
    Abort {
        /// The receiver's operation.
        receive: u64,
    },
    /// How many bytes of eager messages the receiver has handed to receives so far.
    Credit {
        /// Bytes since the beginning.
        taken: u64,
    },
    /// The readable name of a type, ahead of its first message.
    TypeName {
        /// The layout's hash.
        layout: u32,
    },
}

/// Where the bytes of a frame are.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Content {
    /// In the frame.
    Inline(Inline),
    /// In a block of the sender.
    Block(Descriptor),
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// No frame is of this kind.
    #[error("a frame of unknown kind {0}: the sender is damaged or of another version")]
    Kind(u8),
    /// More inline bytes than fit.
    #[error("a frame that claims {0} inline bytes: the sender is damaged or of another version")]
    InlineLength(u8),
}

/// The image of a frame without content, or with inline content.
///
/// # Panics
/// When `bytes` are more than the kind has room for: 48 for whole messages and names, none otherwise.
#[must_use]
#[inline]
pub fn encode(header: &Header, bytes: &[u8]) -> Words {
    let mut words = [0; 8];
    match *header {
        Header::Eager(envelope) => {
            set_head(&mut words, EAGER, bytes.len(), envelope);
            Inline::new(bytes)
                .expect("an inline message fits into a frame")
                .store(&mut words);
        }
        Header::TypeName { layout } => {
            set_head(
                &mut words,
                TYPE_NAME,
                bytes.len(),
                Envelope::new(0, 0, layout),
            );
            Inline::new(bytes)
                .expect("a type's name was cut to fit")
                .store(&mut words);
        }
        _ => {
            assert!(bytes.is_empty(), "{header:?} has no room for bytes");
            encode_control(header, &mut words);
        }
    }
    words
}

/// The image of a frame whose content is in a block; only whole messages, requests and chunks have one.
///
/// # Panics
/// When the header is of another kind.
#[must_use]
#[inline]
pub fn encode_block(header: &Header, block: Descriptor) -> Words {
    let mut words = [0; 8];
    let at = match *header {
        Header::Eager(envelope) => {
            set_head(&mut words, EAGER_BLOCK, 0, envelope);
            2
        }
        Header::Chunk { receive, position } => {
            words[0] = u64::from(CHUNK) << 16;
            (words[2], words[3]) = (receive, position);
            4
        }
        Header::Request { .. } => {
            encode_control(header, &mut words);
            5
        }
        _ => panic!("{header:?} carries no block"),
    };
    (words[at], words[at + 1], words[at + 2]) = (block.offset, block.len, u64::from(block.block));
    words
}

/// The first two words of a frame with a whole message of `len` bytes behind them; at most [`Inline::CAPACITY`].
#[must_use]
#[inline]
pub fn inline_head(envelope: Envelope, len: usize) -> (u64, u64) {
    let word =
        u64::from(EAGER) << 16 | (len as u64 & 0xff) << 24 | u64::from(envelope.layout) << 32;
    (word, envelope.matching)
}

/// What a message matches by, and where its bytes are, if the receiver can take all of them at once; none for other frames. The common
/// case of [`decode`], for a receiver that waits for just this.
#[must_use]
#[inline(always)]
pub fn message_in(frame: &InSlot<'_>) -> Option<(Envelope, InFrame)> {
    let [_, _, kind, len, layout @ ..] = frame.word().to_le_bytes();
    let envelope = Envelope {
        matching: frame.second(),
        layout: u32::from_le_bytes(layout),
    };
    match kind {
        EAGER if usize::from(len) <= Inline::CAPACITY => {
            Some((envelope, InFrame::Inline(usize::from(len))))
        }
        EAGER_BLOCK => {
            let mut place = [0_u64; 2];
            frame.copy_to(bytemuck::cast_slice_mut(&mut place));
            Some((
                envelope,
                InFrame::Block(usize::try_from(place[1]).unwrap_or(usize::MAX)),
            ))
        }
        REQUEST => {
            let mut fields = [0_u64; 3];
            frame.copy_to(bytemuck::cast_slice_mut(&mut fields));
            let [_, len, exposed] = fields;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            (exposed != 0).then_some((envelope, InFrame::Exposed(len)))
        }
        _ => None,
    }
}

/// Where the bytes of a message are, seen from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever waits has to treat both")]
pub enum InFrame {
    /// So many, behind the frame's second word.
    Inline(usize),
    /// So many, in a block of the sender.
    Block(usize),
    /// So many, where the sender has exposed them.
    Exposed(usize),
}

/// The block of a whole message; none for a frame of another kind.
#[must_use]
#[inline]
pub fn message_block(words: &Words) -> Option<Descriptor> {
    let [_, _, kind, ..] = words[0].to_le_bytes();
    (kind == EAGER_BLOCK).then(|| descriptor_at(words, 2))
}

/// The sender's operation, length and place of a request that [`message_in`] found to be of an exposed message.
#[must_use]
#[inline]
pub fn exposed_in(words: &Words) -> (u64, u64, u64) {
    (words[2], words[3], words[4])
}

/// The sender's operation of which the receiver needs nothing more; none for a frame of another kind. As [`message_in`], for a sender
/// that waits for just this.
#[must_use]
#[inline(always)]
pub fn done_in(frame: &InSlot<'_>) -> Option<u64> {
    let [_, _, kind, ..] = frame.word().to_le_bytes();
    let mut send = [0; 8];
    frame.copy_to(&mut send);
    (kind == DONE).then(|| u64::from_le_bytes(send))
}

/// Receive, position and block of a chunk; none for a frame of another kind. As [`message_in`], for a receiver of a large message.
#[must_use]
#[inline]
pub fn chunk_in(words: &Words) -> Option<(u64, u64, Descriptor)> {
    let [_, _, kind, ..] = words[0].to_le_bytes();
    (kind == CHUNK).then(|| (words[2], words[3], descriptor_at(words, 4)))
}

/// Reads a frame; everything in it is checked that can be without knowing the sender's memory.
///
/// # Errors
/// When the frame cannot have been written by [`encode`] or [`encode_block`].
#[inline]
pub fn decode(words: &Words) -> Result<(Header, Content), FrameError> {
    let [_, _, kind, len, layout @ ..] = words[0].to_le_bytes();
    let layout = u32::from_le_bytes(layout);
    let [context, tag] = halves(words[1]);
    let envelope = Envelope::new(context, tag.cast_signed(), layout);
    let inline = || {
        Inline::load(words, len)
            .ok_or(FrameError::InlineLength(len))
            .map(Content::Inline)
    };
    match kind {
        EAGER => Ok((Header::Eager(envelope), inline()?)),
        EAGER_BLOCK => Ok((Header::Eager(envelope), block_at(words, 2))),
        CHUNK => Ok((
            Header::Chunk {
                receive: words[2],
                position: words[3],
            },
            block_at(words, 4),
        )),
        TYPE_NAME => Ok((Header::TypeName { layout }, inline()?)),
        REQUEST if words[5] != 0 => {
            Ok((decode_control(kind, envelope, words)?, block_at(words, 5)))
        }
        _ => Ok((
            decode_control(kind, envelope, words)?,
            Content::Inline(Inline::EMPTY),
        )),
    }
}

fn encode_control(header: &Header, words: &mut Words) {
    let (kind, fields) = match *header {
        Header::Request {
            envelope,
            send,
            len,
            exposed,
        } => {
            set_head(words, REQUEST, 0, envelope);
            // Offset 0 is the segment's header, never a message.
            (REQUEST, [send, len, exposed.unwrap_or(0)])
        }
        Header::Accept { send, receive } => (ACCEPT, [send, receive, 0]),
        Header::Done { send } => (DONE, [send, 0, 0]),
        Header::Withdraw { send } => (WITHDRAW, [send, 0, 0]),
        Header::Abort { receive } => (ABORT, [receive, 0, 0]),
        Header::Credit { taken } => (CREDIT, [taken, 0, 0]),
        Header::Eager(_) | Header::Chunk { .. } | Header::TypeName { .. } => {
            unreachable!("{header:?} carries bytes")
        }
    };
    words[0] |= u64::from(kind) << 16;
    words[2..5].copy_from_slice(&fields);
}

fn decode_control(kind: u8, envelope: Envelope, words: &Words) -> Result<Header, FrameError> {
    let [first, second, third] = [words[2], words[3], words[4]];
    Ok(match kind {
        REQUEST => Header::Request {
            envelope,
            send: first,
            len: second,
            exposed: Some(third).filter(|&offset| offset != 0),
        },
        ACCEPT => Header::Accept {
            send: first,
            receive: second,
        },
        DONE => Header::Done { send: first },
        WITHDRAW => Header::Withdraw { send: first },
        ABORT => Header::Abort { receive: first },
        CREDIT => Header::Credit { taken: first },
        unknown => return Err(FrameError::Kind(unknown)),
    })
}

#[inline]
fn set_head(words: &mut Words, kind: u8, len: usize, envelope: Envelope) {
    words[0] =
        u64::from(kind) << 16 | (len as u64 & 0xff) << 24 | u64::from(envelope.layout()) << 32;
    words[1] = u64::from(envelope.context()) | u64::from(envelope.tag().cast_unsigned()) << 32;
}

#[inline]
fn block_at(words: &Words, at: usize) -> Content {
    Content::Block(descriptor_at(words, at))
}

#[inline]
fn descriptor_at(words: &Words, at: usize) -> Descriptor {
    let [block, _] = halves(words[at + 2]);
    Descriptor {
        block,
        offset: words[at],
        len: words[at + 1],
    }
}

#[inline]
fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

const EAGER: u8 = 1;
const EAGER_BLOCK: u8 = 2;
const REQUEST: u8 = 3;
const ACCEPT: u8 = 4;
const CHUNK: u8 = 5;
const DONE: u8 = 6;
const WITHDRAW: u8 = 7;
const ABORT: u8 = 8;
const CREDIT: u8 = 9;
const TYPE_NAME: u8 = 10;

#[cfg(test)]
pub(crate) mod tests;
