//! Buffers and payloads of every kind.

use super::permit::Permits;
use super::{ALIGNMENT, AlignedBytes, Buffer, Inline, Payload};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + len) as u8).collect()
}

#[test]
fn a_copy_holds_its_bytes_at_an_aligned_place() {
    for len in (0..300).chain([4095, 4096, 100_001]) {
        let payload = Payload::copy_of(&pattern(len));
        assert_eq!(*payload, *pattern(len));
        assert!(payload.as_ptr().addr().is_multiple_of(ALIGNMENT), "{len}");
        assert_eq!(
            matches!(payload, Payload::Inline(_)),
            len <= Inline::CAPACITY
        );
    }
}

#[test]
fn inline_bytes_end_where_the_frame_does() {
    for len in 0..=Inline::CAPACITY {
        assert_eq!(*Inline::new(&pattern(len)).unwrap(), *pattern(len));
    }
    for len in [49, 255, 256, 256 + 8, 512] {
        assert!(Inline::new(&pattern(len)).is_none(), "{len}");
    }
}

#[test]
fn truncation_shortens_and_never_lengthens() {
    let mut buffer = Buffer::Heap(AlignedBytes::copy_of(&pattern(40)));
    buffer.truncate(50);
    assert_eq!(*buffer, *pattern(40));
    buffer.truncate(17);
    assert_eq!(*buffer, pattern(40)[..17]);
    buffer.truncate(0);
    assert!(buffer.is_empty());
}

#[test]
fn a_buffer_larger_than_memory_is_refused() {
    assert!(AlignedBytes::with_capacity(usize::MAX).is_none());
    let mut buffer = AlignedBytes::with_capacity(33).unwrap();
    assert!(buffer.is_empty());
    assert_eq!(*buffer.resize(33), [0; 33]);
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    for len in [0, 3, 16, 20, 32] {
        let mut buffer = AlignedBytes::copy_of(&[7; 50]);
        buffer.truncate(len);
        let expected = [[7].repeat(len), [0].repeat(40 - len)].concat();
        assert_eq!(*buffer.resize(40), *expected, "cut to {len}");
    }
    let mut buffer = AlignedBytes::copy_of(&[7; 50]);
    buffer.truncate(16);
    buffer.append(&[1, 2]);
    assert_eq!(*buffer, [&[7; 16][..], &[1, 2]].concat());
}

#[test]
fn an_empty_buffer_is_aligned_whatever_it_was() {
    let mut used = AlignedBytes::copy_of(&pattern(60));
    used.truncate(0);
    let buffers = [
        AlignedBytes::default(),
        AlignedBytes::zeroed(0),
        AlignedBytes::copy_of(&[]),
        used,
    ];
    for mut buffer in buffers {
        assert!(buffer.is_empty() && buffer.as_mut_slice().is_empty());
        assert!(buffer.as_ptr().addr().is_multiple_of(ALIGNMENT));
        buffer.append(&pattern(90));
        assert_eq!(*buffer, *pattern(90));
        assert!(buffer.as_ptr().addr().is_multiple_of(ALIGNMENT));
        assert!(AlignedBytes::zeroed(70).iter().all(|&byte| byte == 0));
    }
}

#[test]
fn parts_of_any_length_are_appended() {
    let bytes = pattern(300);
    for step in [1, 7, 16, 17, 48, 300] {
        let mut buffer = AlignedBytes::with_capacity(20).unwrap();
        for part in bytes.chunks(step) {
            buffer.append(part);
            buffer.append(&[]);
        }
        assert_eq!(*buffer, *bytes, "in steps of {step}");
        assert!(buffer.as_ptr().addr().is_multiple_of(ALIGNMENT));
    }
}

#[test]
fn a_permit_comes_back_with_its_buffer_and_is_not_copied() {
    let permits = Permits::new(1);
    let buffer = AlignedBytes::copy_of(&pattern(5)).with_permit(permits.try_take().unwrap());
    let copy = buffer.clone();
    assert_eq!(*copy, *pattern(5));
    assert!(permits.try_take().is_none());
    drop(buffer);
    let again = permits.try_take();
    assert!(again.is_some());
    drop(copy);
    assert!(permits.try_take().is_none());
}
