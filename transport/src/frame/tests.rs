//! Frames there and back, and frames that no version of this program wrote.

use phalanx_shm::{Descriptor, Words};
use proptest::prelude::*;

use super::{Content, Envelope, FrameError, Header, VERSION, decode, encode, encode_block};
use crate::payload::Inline;

pub(crate) fn any_envelope() -> impl Strategy<Value = Envelope> {
    any::<(u32, i32, u32)>().prop_map(|(context, tag, layout)| Envelope::new(context, tag, layout))
}

pub(crate) fn any_header() -> impl Strategy<Value = Header> {
    let operation = any::<u64>;
    prop_oneof![
        any_envelope().prop_map(Header::Eager),
        (
            any_envelope(),
            operation(),
            any::<u64>(),
            prop::option::of(1..=u64::MAX)
        )
            .prop_map(|(envelope, send, len, exposed)| Header::Request {
                envelope,
                send,
                len,
                exposed
            }),
        (operation(), operation()).prop_map(|(send, receive)| Header::Accept { send, receive }),
        (operation(), any::<u64>())
            .prop_map(|(receive, position)| Header::Chunk { receive, position }),
        operation().prop_map(|send| Header::Done { send }),
        operation().prop_map(|send| Header::Withdraw { send }),
        operation().prop_map(|receive| Header::Abort { receive }),
        any::<u64>().prop_map(|taken| Header::Credit { taken }),
        any::<u32>().prop_map(|layout| Header::TypeName { layout }),
    ]
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    any::<(u32, u64, u64)>().prop_map(|(block, offset, len)| Descriptor { block, offset, len })
}

fn inline_of(content: Content) -> Inline {
    match content {
        Content::Inline(inline) => inline,
        Content::Block(block) => panic!("{block:?} instead of inline bytes"),
    }
}

/// Some image whose kind is known more often than chance would have it.
fn any_words() -> impl Strategy<Value = Words> {
    (any::<Words>(), prop::option::of(0_u8..16)).prop_map(|(mut words, kind)| {
        if let Some(kind) = kind {
            words[0] = words[0] & !0xff_0000 | u64::from(kind) << 16;
        }
        words
    })
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(
        header in any_header(),
        bytes in prop::collection::vec(any::<u8>(), 0..=Inline::CAPACITY),
        block in any_descriptor(),
    ) {
        let carries_bytes = matches!(header, Header::Eager(_) | Header::TypeName { .. });
        if !matches!(header, Header::Chunk { .. }) {
            let bytes = if carries_bytes { &*bytes } else { &[] };
            let (found, content) = decode(&encode(&header, bytes)).unwrap();
            prop_assert_eq!(found, header);
            prop_assert_eq!(&*inline_of(content), bytes);
        }
        let may_lack_a_block = matches!(header, Header::Request { .. });
        if matches!(header, Header::Eager(_) | Header::Chunk { .. }) || may_lack_a_block && block.offset != 0 {
            let (found, content) = decode(&encode_block(&header, block)).unwrap();
            prop_assert_eq!(found, header);
            prop_assert!(matches!(content, Content::Block(found) if found == block));
        }
    }

    #[test]
    fn the_ring_may_use_its_bits(header in any_header(), lap in any::<u16>()) {
        prop_assume!(!matches!(header, Header::Chunk { .. }));
        let mut words = encode(&header, &[]);
        prop_assert_eq!(words[0] & 0xffff, 0);
        words[0] |= u64::from(lap);
        prop_assert_eq!(decode(&words).unwrap().0, header);
    }

    #[test]
    fn any_words_are_a_frame_that_means_the_same_again_or_are_refused(words in any_words()) {
        let [_, _, kind, len, ..] = words[0].to_le_bytes();
        match decode(&words) {
            Ok((header, Content::Block(block))) => {
                let (again, content) = decode(&encode_block(&header, block)).unwrap();
                prop_assert_eq!(again, header);
                prop_assert!(matches!(content, Content::Block(found) if found == block));
            }
            Ok((header, Content::Inline(bytes))) => {
                let (again, content) = decode(&encode(&header, &bytes)).unwrap();
                prop_assert_eq!(again, header);
                prop_assert_eq!(&*inline_of(content), &*bytes);
            }
            Err(FrameError::Kind(found)) => {
                prop_assert_eq!(found, kind);
                prop_assert!(!(1..=10).contains(&kind));
            }
            Err(FrameError::InlineLength(found)) => {
                prop_assert_eq!(found, len);
                prop_assert!(len > 48 && [1, 10].contains(&kind));
            }
        }
    }
}

#[test]
fn the_image_of_version_2_is_what_it_always_was() {
    assert_eq!(VERSION, 2, "a new version has images of its own");
    for (header, carried, image) in images() {
        let words = match carried {
            Carried::Inline(bytes) => encode(&header, bytes),
            Carried::Block(block) => encode_block(&header, block),
        };
        assert_eq!(words, parse(image), "{header:?} is {words:016x?}");
    }
}

#[test]
fn an_old_image_is_still_read() {
    for (header, carried, image) in images() {
        let (found, content) = decode(&parse(image)).unwrap();
        assert_eq!(found, header, "{image}");
        match (content, carried) {
            (Content::Inline(found), Carried::Inline(bytes)) => assert_eq!(*found, *bytes),
            (Content::Block(found), Carried::Block(block)) => assert_eq!(found, block),
            (content, _) => panic!("{content:?} in {image}"),
        }
    }
}

#[test]
fn what_version_1_does_not_know_is_refused() {
    for kind in (0..=255).filter(|kind| !(1..=10).contains(kind)) {
        let words = [u64::from(kind) << 16, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode(&words).unwrap_err(), FrameError::Kind(kind));
    }
    for kind in [1, 10] {
        let words = [kind << 16 | 49 << 24, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode(&words).unwrap_err(), FrameError::InlineLength(49));
    }
}

#[test]
#[should_panic(expected = "has no room for bytes")]
fn a_header_that_stands_alone_takes_no_bytes() {
    let _ = encode(&Header::Done { send: 1 }, b"x");
}

#[test]
#[should_panic(expected = "carries no block")]
fn a_header_that_stands_alone_takes_no_block() {
    let _ = encode_block(&Header::Done { send: 1 }, BLOCK);
}

#[derive(Clone, Copy)]
enum Carried {
    Inline(&'static [u8]),
    Block(Descriptor),
}

const BLOCK: Descriptor = Descriptor {
    block: 7,
    offset: 0x20_0040,
    len: 0x8000,
};

const ENVELOPE: Envelope = Envelope::new(0x0102_0304, -2, 0x0a0b_0c0d);
const SEND: u64 = 0x1122_3344_5566_7788;
const RECEIVE: u64 = 0x99aa_bbcc_ddee_ff00;

/// A header, what it carries, and its image.
type Golden = (Header, Carried, &'static str);

/// Frames of version 1 as they lie in a slot, byte for byte, made by hand from the drawing in `frame.rs`; a slot's last zeros are
/// left out. Whoever has to change one of these changes what other builds read, and so [`VERSION`].
fn images() -> impl Iterator<Item = Golden> {
    let alone = images_without_bytes().map(|(header, image)| (header, Carried::Inline(&[]), image));
    images_with_bytes().into_iter().chain(alone)
}

fn images_with_bytes() -> [Golden; 5] {
    [
        (
            Header::Eager(ENVELOPE),
            Carried::Inline(b"hello"),
            "00000105 0d0c0b0a 04030201 feffffff 68656c6c 6f",
        ),
        (
            Header::Eager(ENVELOPE),
            Carried::Block(BLOCK),
            "00000200 0d0c0b0a 04030201 feffffff 40002000 00000000 00800000 00000000 07",
        ),
        (
            Header::Chunk {
                receive: RECEIVE,
                position: 0x1_0000,
            },
            Carried::Block(BLOCK),
            "00000500 00000000 00000000 00000000 00ffeedd ccbbaa99 00000100 00000000
             40002000 00000000 00800000 00000000 07",
        ),
        (
            Header::Request {
                envelope: ENVELOPE,
                send: SEND,
                len: 0x1_0000_0002,
                exposed: None,
            },
            Carried::Block(BLOCK),
            "00000300 0d0c0b0a 04030201 feffffff 88776655 44332211 02000000 01000000 00000000 00000000
             40002000 00000000 00800000 00000000 07",
        ),
        (
            Header::TypeName {
                layout: ENVELOPE.layout,
            },
            Carried::Inline(b"f64"),
            "00000a03 0d0c0b0a 00000000 00000000 663634",
        ),
    ]
}

fn images_without_bytes() -> impl Iterator<Item = (Header, &'static str)> {
    let (send, receive) = (SEND, RECEIVE);
    let request = |exposed| Header::Request {
        envelope: ENVELOPE,
        send,
        len: 0x1_0000_0002,
        exposed,
    };
    [
        (
            request(Some(0x20_0080)),
            "00000300 0d0c0b0a 04030201 feffffff 88776655 44332211 02000000 01000000 80002000",
        ),
        (
            request(None),
            "00000300 0d0c0b0a 04030201 feffffff 88776655 44332211 02000000 01000000",
        ),
        (
            Header::Accept { send, receive },
            "00000400 00000000 00000000 00000000 88776655 44332211 00ffeedd ccbbaa99",
        ),
        (
            Header::Done { send },
            "00000600 00000000 00000000 00000000 88776655 44332211",
        ),
        (
            Header::Withdraw { send },
            "00000700 00000000 00000000 00000000 88776655 44332211",
        ),
        (
            Header::Abort { receive },
            "00000800 00000000 00000000 00000000 00ffeedd ccbbaa99",
        ),
        (
            Header::Credit { taken: send },
            "00000900 00000000 00000000 00000000 88776655 44332211",
        ),
    ]
    .into_iter()
}

/// The words that `image` shows.
fn parse(image: &str) -> Words {
    let mut digits: String = image.split_whitespace().collect();
    digits.extend(std::iter::repeat_n('0', 128 - digits.len()));
    std::array::from_fn(|word| {
        let bytes = std::array::from_fn(|byte| {
            let at = 16 * word + 2 * byte;
            u8::from_str_radix(&digits[at..at + 2], 16).unwrap()
        });
        u64::from_le_bytes(bytes)
    })
}
