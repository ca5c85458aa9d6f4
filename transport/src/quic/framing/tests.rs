//! Every frame comes out as it went in, however the stream is cut, and nonsense is refused.

use proptest::prelude::*;

use super::*;
use crate::frame::tests::any_header;

fn any_frame() -> impl Strategy<Value = (Frame, Vec<u8>)> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..=60),
        prop::collection::vec(any::<u8>(), 0..=5000)
    ];
    let packet = (any_header(), bytes).prop_map(|(header, mut bytes)| {
        match header {
            Header::Eager(_) | Header::Request { .. } | Header::Chunk { .. } => {}
            Header::TypeName { .. } => bytes.truncate(Inline::CAPACITY),
            _ => bytes.clear(),
        }
        (Frame::Packet(header), bytes)
    });
    let word = prop_oneof![
        any::<[u64; 2]>().prop_map(Frame::Room),
        Just(Frame::Leaving),
        any::<bool>().prop_map(|failed| Frame::Goodbye { failed }),
        any::<u64>().prop_map(Frame::Echo),
        any::<u64>().prop_map(Frame::Echoed),
    ];
    prop_oneof![4 => packet, 1 => word.prop_map(|word| (word, Vec::new()))]
}

fn stream_of(frames: &[(Frame, Vec<u8>)]) -> BytesMut {
    let mut stream = BytesMut::new();
    for (frame, bytes) in frames {
        encode(frame, bytes.len(), &mut stream);
        stream.extend_from_slice(bytes);
    }
    stream
}

/// What a parser finds in a stream that arrives in pieces of these lengths, in turn.
fn parse(stream: &[u8], cuts: &[usize]) -> Result<Vec<(Frame, Vec<u8>)>, StreamError> {
    let mut parser = Parser::new();
    let mut found = Vec::new();
    let mut rest = stream;
    for &cut in cuts.iter().cycle() {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        parser.feed(piece, |frame, payload| {
            assert!(
                payload
                    .as_ptr()
                    .addr()
                    .is_multiple_of(crate::payload::ALIGNMENT)
            );
            found.push((frame, payload.to_vec()));
        })?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    assert!(parser.is_between_frames() || found.len() < 1000);
    Ok(found)
}

proptest! {
    #[test]
    fn frames_survive_any_cut_of_the_stream(
        frames in prop::collection::vec(any_frame(), 0..20),
        cuts in prop::collection::vec(1_usize..3000, 1..8),
    ) {
        let stream = stream_of(&frames);
        prop_assert_eq!(&parse(&stream, &cuts).unwrap(), &frames);
        prop_assert_eq!(&parse(&stream, &[1]).unwrap(), &frames);
        prop_assert_eq!(&parse(&stream, &[usize::MAX]).unwrap(), &frames);
    }

    #[test]
    fn nonsense_is_refused_or_waits_for_more_and_never_panics(
        stream in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(1_usize..100, 1..4),
    ) {
        let _ = parse(&stream, &cuts);
    }
}

#[test]
fn a_stream_that_stops_inside_a_frame_is_noticed() {
    let frame = (
        Frame::Packet(Header::Eager(Envelope::new(1, 2, 3))),
        vec![9; 100],
    );
    let stream = stream_of(&[frame]);
    for end in 1..stream.len() {
        let mut parser = Parser::new();
        let refused = |_, _| panic!("it is not complete");
        parser.feed(&stream[..end], refused).unwrap();
        assert!(!parser.is_between_frames(), "{end}");
    }
}

#[test]
fn lengths_that_a_kind_cannot_have_are_refused_before_memory_is_asked_for() {
    let refused = |kind: u8, len: u64, fields: usize| {
        let mut stream = (u64::from(kind) | len << 8).to_le_bytes().to_vec();
        stream.resize(WORD + fields, 0);
        parse(&stream, &[usize::MAX]).unwrap_err()
    };
    assert_eq!(
        refused(TYPE_NAME, 49, 4),
        StreamError::Length {
            kind: TYPE_NAME,
            len: 49
        }
    );
    assert_eq!(
        refused(LEAVING, 1, 0),
        StreamError::Length {
            kind: LEAVING,
            len: 1
        }
    );
    assert_eq!(
        refused(CREDIT, 1 << 55, 8),
        StreamError::Length {
            kind: CREDIT,
            len: 1 << 55
        }
    );
    assert_eq!(refused(0, 0, 0), StreamError::Kind(0));
    assert_eq!(refused(255, 0, 0), StreamError::Kind(255));
}

#[test]
fn a_length_alone_costs_no_memory() {
    let mut stream = (u64::from(EAGER) | (1 << 54) << 8).to_le_bytes().to_vec();
    stream.resize(WORD + 12 + 5, 0);
    let mut parser = Parser::new();
    parser
        .feed(&stream, |_, _| panic!("it is not complete"))
        .unwrap();
    assert_eq!(parser.body.unwrap().bytes.len(), 5);
}

/// The layout is part of the protocol: whoever changes it changes [`VERSION`] and the protocol's name.
#[test]
fn the_first_version_looks_like_this() {
    let mut stream = BytesMut::new();
    let envelope = Envelope::new(0x0102_0304, -2, 0x0506_0708);
    encode(&Frame::Packet(Header::Eager(envelope)), 0x0102, &mut stream);
    assert_eq!(
        stream[..],
        [
            1, 2, 1, 0, 0, 0, 0, 0, 4, 3, 2, 1, 0xfe, 0xff, 0xff, 0xff, 8, 7, 6, 5
        ]
    );
    stream.clear();
    let chunk = Header::Chunk {
        receive: 7,
        position: 0x0a00,
    };
    encode(&Frame::Packet(chunk), 0, &mut stream);
    assert_eq!(
        stream[..],
        [
            4, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0
        ]
    );
    assert_eq!(preamble(Lane::Small), *b"PHLX\x01\x00\x00\x00");
    assert_eq!(preamble(Lane::Bulk), *b"PHLX\x01\x00\x01\x00");
}
