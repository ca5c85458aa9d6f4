//! Bytes that were never a message, or no longer are: an error, never a panic.

use std::fmt::Debug;

use phalanx::Message;
use phalanx_transport::AlignedBytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::encode;
use crate::round_trip::shape;
use crate::types::{Forest, Grid, Level, Pair, Shape, Step, Tagged, Town, Tree, Unit};

/// Reads everything that a damaged message still holds, if it is accepted at all.
fn read_damaged<M: Message<View: Debug, Owned: Debug>>(bytes: &AlignedBytes) {
    if let Ok(view) = M::view(bytes) {
        let seen = format!("{view:?}{:?}", M::from_view(view).unwrap());
        assert!(!seen.is_empty());
    }
}

proptest! {
    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = AlignedBytes::copy_of(&bytes);
        read_damaged::<Step>(&bytes);
        read_damaged::<Shape>(&bytes);
        read_damaged::<Tree>(&bytes);
        read_damaged::<Town>(&bytes);
        read_damaged::<Forest<u16>>(&bytes);
        read_damaged::<Pair<Shape, Step>>(&bytes);
        read_damaged::<Tagged<char, 3>>(&bytes);
        read_damaged::<Grid<2, 2>>(&bytes);
    }

    #[test]
    fn flipped_bits(value in shape(), bits in vec(any::<usize>(), 1..6)) {
        let mut bytes = encode(&value);
        for bit in bits {
            let at = bit / 8 % bytes.len();
            bytes.as_mut_slice()[at] ^= 1 << (bit % 8);
        }
        read_damaged::<Shape>(&bytes);
    }
}

#[test]
fn an_unknown_variant_is_refused() {
    for byte in 2..=u8::MAX {
        let error = Level::view(&[byte]).unwrap_err().to_string();
        assert!(error.contains("`Level`"), "{error}");
    }
    assert!(Level::view(&[1]).is_ok());
}

#[test]
fn no_bytes_are_a_unit_and_nothing_else() {
    assert!(Unit::view(&[]).is_ok());
    let error = Step::view(&[]).unwrap_err().to_string();
    assert!(
        error.starts_with("0 bytes are not a valid `Step`: its archive has at least "),
        "{error}"
    );
}
