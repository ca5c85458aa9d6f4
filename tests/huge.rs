//! Messages whose length does not fit into 32 bits.
//!
//! They take 5 GiB of memory and some seconds, and run where `LARGE_MESSAGES` is set, as `.ci/run` does. Without it the same
//! steps run with 64 MiB.

use std::env;

use crate::harness;

#[test]
fn a_message_beyond_4_gib_is_copied_whole() {
    harness::succeed(2, ranks::copies);
}

#[test]
fn a_loan_beyond_4_gib_is_handed_over() {
    harness::succeed(2, ranks::lends);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn copies() {
        harness::rank(|world| {
            let size = size();
            if world.rank() == 0 {
                let mut bytes = vec![0; size];
                mark(&mut bytes);
                world.send(1, 0, &bytes[..])
            } else {
                let mut bytes = vec![0; size];
                assert_eq!(world.recv_into(0, 0, &mut bytes)?.len(), size);
                check(&bytes);
                Ok(())
            }
        });
    }

    #[test]
    pub(super) fn lends() {
        harness::rank(|world| {
            let size = size();
            if world.rank() == 0 {
                let mut bytes = world.loan::<[u8]>(size)?;
                mark(&mut bytes);
                bytes.send(1, 0)
            } else {
                let bytes = world.recv::<[u8]>(0, 0)?;
                assert_eq!(bytes.len(), size);
                check(&bytes);
                Ok(())
            }
        });
    }
}

fn size() -> usize {
    let base = if env::var_os("LARGE_MESSAGES").is_some() {
        4 << 30
    } else {
        64 << 20
    };
    base + 12_345
}

/// Both ends and one byte in each stretch; its length is odd, so that no chunk or page hides a wrong place.
fn places(size: usize) -> impl Iterator<Item = usize> {
    (0..size).step_by(1_000_003).chain([size - 1])
}

fn value(place: usize) -> u8 {
    (place / 1_000_003 % 251 + 1) as u8
}

fn mark(bytes: &mut [u8]) {
    for place in places(bytes.len()) {
        bytes[place] = value(place);
    }
}

fn check(bytes: &[u8]) {
    for place in places(bytes.len()) {
        assert_eq!(bytes[place], value(place), "byte {place}");
    }
}
