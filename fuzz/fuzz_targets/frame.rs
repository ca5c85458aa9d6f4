//! Any 64 bytes are either refused or a frame that says the same when written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use phalanx_transport::frame::{Content, decode, encode, encode_block};

fuzz_target!(|image: [u8; 64]| {
    let words = std::array::from_fn(|word| {
        let bytes = std::array::from_fn(|byte| image[8 * word + byte]);
        u64::from_le_bytes(bytes)
    });
    let Ok((header, content)) = decode(&words) else {
        return;
    };
    let again = match &content {
        Content::Inline(bytes) => encode(&header, bytes),
        Content::Block(block) => encode_block(&header, *block),
        other => panic!("{other:?} is new to this target"),
    };
    let (header_again, content_again) = decode(&again).expect("an encoded frame is a frame");
    assert_eq!(header_again, header);
    match (&content, &content_again) {
        (Content::Inline(bytes), Content::Inline(bytes_again)) => {
            assert_eq!(**bytes, **bytes_again)
        }
        (Content::Block(block), Content::Block(block_again)) => assert_eq!(block, block_again),
        other => panic!("the content changed its place: {other:?}"),
    }
});
