//! Any bytes in a stream between hosts are either refused or frames, and the same ones however the stream is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use phalanx_transport::quic::read_stream;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (cuts, stream) = input;
    let whole = read_stream(&stream, &[stream.len()]);
    let cuts: Vec<usize> = cuts.iter().map(|&cut| usize::from(cut)).collect();
    let cut = read_stream(&stream, if cuts.is_empty() { &[1] } else { &cuts });
    assert_eq!(cut, whole);
});
