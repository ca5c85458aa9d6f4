//! Round trips of every supported type of the standard library, and damaged bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use phalanx_transport::{AlignedBytes, Payload};
use proptest::collection::{btree_map, hash_map, vec};
use proptest::prelude::*;

use super::{EncodeError, Message, Received, SendBuffer};

fn encode<M: Message + ?Sized>(message: &M) -> AlignedBytes {
    let needed = match message.archive_into(&mut []) {
        Ok(size) => size,
        Err(EncodeError::BufferTooSmall { needed }) => needed,
        Err(error) => panic!("{error}"),
    };
    let mut buffer = AlignedBytes::zeroed(needed);
    assert_eq!(message.archive_into(buffer.as_mut_slice()), Ok(needed));
    buffer
}

fn receive<M: Message + ?Sized>(message: &M) -> Received<M> {
    Received::new(Payload::copy_of(&encode(message)), 0, 0).unwrap()
}

fn assert_round_trip<T>(value: &T)
where
    T: Message<Owned = T> + PartialEq + Debug,
{
    assert_eq!(receive(value).to_owned(), *value);
}

/// Reads everything that a damaged message still holds, if it is accepted at all.
fn read_damaged<M>(bytes: &AlignedBytes)
where
    M: Message<View: Debug, Owned: Debug> + ?Sized,
{
    if let Ok(view) = M::view(bytes) {
        let seen = format!("{view:?}{:?}", M::from_view(view).unwrap());
        assert!(!seen.is_empty());
    }
}

fn flip(bytes: &mut AlignedBytes, bits: &[usize]) {
    let bytes = bytes.as_mut_slice();
    if !bytes.is_empty() {
        for bit in bits {
            bytes[bit / 8 % bytes.len()] ^= 1 << (bit % 8);
        }
    }
}

type Nested = Vec<(
    u32,
    Option<String>,
    BTreeMap<u16, Vec<i64>>,
    HashMap<String, [f64; 2]>,
)>;

fn nested() -> impl Strategy<Value = Nested> {
    vec(
        (
            any::<u32>(),
            proptest::option::of(".{0,20}"),
            btree_map(any::<u16>(), vec(any::<i64>(), 0..4), 0..12),
            hash_map(".{0,12}", [-1.0..1.0, -1.0..1.0], 0..12),
        ),
        0..5,
    )
}

proptest! {
    #[test]
    fn nested_values_survive_the_way(value in nested()) {
        assert_round_trip(&value);
    }

    #[test]
    fn numbers_survive_the_way(a in any::<(u8, i16, u32, i64, u128)>(), b in any::<(i8, u16, i32, u64, i128)>(), c in any::<(usize, isize, bool, char)>()) {
        assert_round_trip(&(a, b, c));
    }

    #[test]
    fn slices_survive_the_way(values in vec(any::<u64>(), 0..100)) {
        let received = receive(&values[..]);
        prop_assert_eq!(&received[..], &values[..]);
        prop_assert_eq!(received.to_owned(), values);
    }

    #[test]
    fn flipped_bits_never_panic(value in nested(), bits in vec(any::<usize>(), 1..6)) {
        let mut bytes = encode(&value);
        flip(&mut bytes, &bits);
        read_damaged::<Nested>(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = AlignedBytes::copy_of(&bytes);
        read_damaged::<Nested>(&bytes);
        read_damaged::<String>(&bytes);
        read_damaged::<Vec<String>>(&bytes);
        read_damaged::<HashMap<u32, String>>(&bytes);
        read_damaged::<HashSet<u64>>(&bytes);
        read_damaged::<BTreeMap<u8, char>>(&bytes);
        read_damaged::<(bool, char, Option<Box<u32>>, Duration)>(&bytes);
        read_damaged::<[f64]>(&bytes);
    }

    #[test]
    fn a_shortened_message_never_panics(value in nested(), cut in 0usize..64) {
        let mut bytes = encode(&value);
        let len = bytes.len().saturating_sub(cut);
        bytes.truncate(len);
        read_damaged::<Nested>(&bytes);
    }

    #[test]
    fn too_small_a_buffer_tells_the_size(value in nested(), missing in 1usize..40) {
        let needed = encode(&value).len();
        let mut small = AlignedBytes::zeroed(needed.saturating_sub(missing));
        prop_assert_eq!(value.archive_into(small.as_mut_slice()), Err(EncodeError::BufferTooSmall { needed }));
    }
}

#[test]
fn every_container_survives_the_way() {
    assert_round_trip(&());
    assert_round_trip(&(1u8,));
    assert_round_trip(&(1u8, 2u16, 3u32, 4u64, 5i8, 6i16, 7i32, 8i64));
    assert_round_trip(&Box::new(7u32));
    assert_round_trip(&Box::<str>::from("boxed"));
    assert_round_trip(&vec![1u8, 2].into_boxed_slice());
    assert_round_trip(&[[1.5f32; 3]; 2]);
    assert_round_trip(&Ok::<u8, String>(1));
    assert_round_trip(&Err::<u8, String>("failed".to_owned()));
    assert_round_trip(&VecDeque::from([1, 2, 3]));
    assert_round_trip(&BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    assert_round_trip(&HashSet::from([Some('x'), None]));
    assert_round_trip(&Duration::from_nanos(u64::MAX));
    assert_round_trip(&std::marker::PhantomData::<u8>);
}

#[test]
fn a_hash_map_with_an_absurd_capacity_never_panics() {
    let bytes = encode(&HashMap::from([(1u32, 2u32), (3, 4)]));
    for word in 0..bytes.len() / 8 {
        for value in [u64::MAX, u64::MAX - 20, 1 << 63, (1 << 61) + 1] {
            let mut damaged = bytes.clone();
            damaged.as_mut_slice()[word * 8..][..8].copy_from_slice(&value.to_le_bytes());
            read_damaged::<HashMap<u32, u32>>(&damaged);
        }
    }
}

#[test]
fn bytes_that_do_not_fit_are_refused_with_the_reason() {
    let reason = |bytes: &[u8]| <[u32]>::view(bytes).unwrap_err().to_string();
    let bytes = AlignedBytes::zeroed(9);
    assert!(reason(&bytes[..6]).contains("not a multiple of the 4 bytes of one element"));
    assert!(reason(&bytes[1..9]).contains("do not begin at a multiple of 4"));
    assert!(<[u32]>::view(&bytes[1..1]).unwrap().is_empty());

    let error = u64::view(&bytes[..7]).unwrap_err().to_string();
    assert!(
        error.starts_with("7 bytes are not a valid `u64`: "),
        "{error}"
    );
    assert!(u64::view(&bytes[1..9]).is_err());
    assert!(bool::view(&[2]).is_err());
    assert!(!error.contains('\n'));
}

#[test]
fn an_element_of_any_plain_type_can_be_sent() {
    #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C)]
    struct Cell {
        at: [f32; 3],
        kind: u32,
    }
    let cells = [Cell {
        at: [1.0, 2.0, 3.0],
        kind: 9,
    }; 5];
    assert_eq!(&receive(&cells[..])[..], cells);
    assert_ne!(<[Cell]>::layout(), <[[f32; 4]]>::layout());
    assert_eq!(<[Cell]>::type_name(), "[Cell]");
    assert_eq!(receive(&[1u128, 2][..])[1], 2);
}

#[test]
fn layouts_of_different_types_differ() {
    let layouts = [
        <[u8]>::layout(),
        <[i8]>::layout(),
        <[f64]>::layout(),
        <[u64]>::layout(),
        u8::layout(),
        f64::layout(),
        String::layout(),
        Vec::<u8>::layout(),
        Vec::<f64>::layout(),
        Vec::<Vec<f64>>::layout(),
        Box::<f64>::layout(),
        Option::<f64>::layout(),
        <[f64; 2]>::layout(),
        <[f64; 3]>::layout(),
        <()>::layout(),
        <(f64,)>::layout(),
        <(u8, f64)>::layout(),
        <(f64, u8)>::layout(),
        <((u8, f64), u8)>::layout(),
        <(u8, (f64, u8))>::layout(),
        HashMap::<u8, f64>::layout(),
        BTreeMap::<u8, f64>::layout(),
    ];
    let distinct: HashSet<_> = layouts.iter().map(|layout| layout.hash()).collect();
    assert_eq!(distinct.len(), layouts.len());
    assert!(!distinct.contains(&0));
}

#[test]
fn containers_take_no_depth() {
    type Deep<T> = Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Option<T>>>>>>>>>>;
    assert_ne!(Deep::<u8>::layout(), Deep::<u16>::layout());
}

#[test]
fn what_is_sent_from_owned_buffers_is_a_slice() {
    fn sent<B: SendBuffer<Message = [u16]>>(buffer: &B) -> Vec<u16> {
        receive(buffer.message()).to_owned()
    }
    assert_eq!(sent(&vec![1, 2]), [1, 2]);
    assert_eq!(sent(&vec![1, 2].into_boxed_slice()), [1, 2]);
    assert_eq!(sent(&Arc::from([1, 2])), [1, 2]);
}

#[test]
fn a_received_message_moves_between_threads() {
    fn assert_moves<T: Send + Sync + Unpin>() {}
    assert_moves::<Received<[f64]>>();
    assert_moves::<Received<Vec<Option<String>>>>();

    let received = receive(&vec!["one".to_owned()]);
    assert_eq!(
        format!("{received:?}"),
        r#"Received { source: 0, tag: 0, message: ["one"] }"#
    );
    let received = std::thread::spawn(move || received).join().unwrap();
    assert_eq!(received[0], "one");
}
