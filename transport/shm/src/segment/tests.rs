//! What is not a segment is refused, whatever it is, and what is one is refused when it is another's.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use proptest::prelude::*;

use super::{Segment, SegmentError, Shape};
use crate::layout::{MAX_RANKS, PAGE};

const SHAPE: Shape = Shape {
    ranks: 3,
    arena_bytes: 2 << 20,
};

/// The header page of a good segment, and the segment's size.
fn header() -> (Vec<u8>, u64) {
    let segment = Segment::create(&SHAPE).unwrap();
    let file = File::from(segment.descriptor().unwrap().try_clone_to_owned().unwrap());
    let mut page = vec![0; PAGE];
    file.read_exact_at(&mut page, 0).unwrap();
    (page, segment.plan().size() as u64)
}

fn file(page: &[u8], size: u64, seals: SealFlag) -> OwnedFd {
    let descriptor =
        memfd_create(c"test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
    let file = File::from(descriptor);
    file.set_len(size).unwrap();
    file.write_all_at(&page[..page.len().min(usize::try_from(size).unwrap())], 0)
        .unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file.into()
}

fn sealed(page: &[u8], size: u64) -> OwnedFd {
    file(page, size, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)
}

proptest! {
    #[test]
    fn a_header_with_a_wrong_byte_is_refused(place in 0..40_usize, flip in 1..=255_u8) {
        let (mut page, size) = header();
        page[place] ^= flip;
        prop_assert!(Segment::attach(sealed(&page, size)).is_err());
    }

    #[test]
    fn a_header_of_garbage_is_refused(page in prop::collection::vec(any::<u8>(), PAGE), keep in 0..40_usize) {
        let (good, size) = header();
        let mut mixed = page;
        mixed[..keep].copy_from_slice(&good[..keep]);
        prop_assert!(Segment::attach(sealed(&mixed, size)).is_err());
    }
}

#[test]
fn a_copy_of_a_header_is_accepted_only_with_its_size_and_seals() {
    let (page, size) = header();
    let attached = Segment::attach(sealed(&page, size)).unwrap();
    assert_eq!((attached.ranks(), attached.arena_bytes()), (3, 2 << 20));
    for wrong in [
        0,
        1,
        100,
        PAGE as u64 - 1,
        PAGE as u64,
        size - 1,
        size + 1,
        size * 2,
    ] {
        let error = Segment::attach(sealed(&page, wrong)).unwrap_err();
        assert!(
            matches!(error, SegmentError::NotASegment { size } if size == wrong),
            "{wrong}: {error}"
        );
    }
    let loose = Segment::attach(file(&page, size, SealFlag::empty()));
    assert!(
        matches!(loose, Err(SegmentError::NotASegment { .. })),
        "a peer may shrink it"
    );
}

#[test]
fn a_segment_of_another_version_is_refused_by_name() {
    let (mut page, size) = header();
    page[8] += 1;
    let error = Segment::attach(sealed(&page, size)).unwrap_err();
    assert!(
        matches!(
            error,
            SegmentError::Version {
                found: 3,
                own: 2,
                ..
            }
        ),
        "{error}"
    );
    page[8] -= 1;
    page[28] ^= 3;
    assert!(matches!(
        Segment::attach(sealed(&page, size)),
        Err(SegmentError::Barrier)
    ));
}

#[test]
fn descriptors_of_other_things_are_refused() {
    let path = File::options()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open("/")
        .unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let others: [OwnedFd; 7] = [
        File::open("/dev/null").unwrap().into(),
        File::open("/dev/zero").unwrap().into(),
        File::open("/").unwrap().into(),
        File::open("/proc/self/exe").unwrap().into(),
        path.into(),
        reader.into(),
        writer.into(),
    ];
    for other in others {
        let error = Segment::attach(other).unwrap_err().to_string();
        assert!(error.contains("PHALANX_SEGMENT"), "{error}");
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    for ranks in [0, MAX_RANKS + 1, usize::MAX] {
        let error = Segment::create(&Shape {
            ranks,
            arena_bytes: 0,
        })
        .unwrap_err();
        assert!(
            matches!(error, SegmentError::Ranks(found) if found == ranks),
            "{error}"
        );
    }
    for arena_bytes in [1 << 46, u64::MAX - 5, u64::MAX] {
        let error = Segment::create(&Shape {
            ranks: 2,
            arena_bytes,
        })
        .unwrap_err();
        assert!(
            matches!(error, SegmentError::Arena(found) if found == arena_bytes),
            "{error}"
        );
    }
}

#[test]
fn a_name_in_use_by_something_else_is_refused() {
    let name = format!("phalanx-test-{}-other", std::process::id());
    let path = format!("/dev/shm/{name}");
    let mut other = File::create_new(&path).unwrap();
    other.write_all(&[7; 64]).unwrap();
    let (_, size) = header();
    other.set_len(size).unwrap();
    let garbage = Segment::join_named(&name, &SHAPE).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(garbage, SegmentError::Name { .. }), "{garbage}");

    let larger = Segment::join_named(&name, &Shape { ranks: 4, ..SHAPE }).unwrap();
    let other = Segment::join_named(&name, &SHAPE).unwrap_err();
    larger.unlink();
    assert!(
        matches!(
            other,
            SegmentError::Shape {
                found: 4,
                wanted: 3,
                ..
            }
        ),
        "{other}"
    );
    assert!(!std::fs::exists(path).unwrap());
}
