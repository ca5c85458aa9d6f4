//! Each limit of the system, reached: an error that says so and what to do, never a signal.

use std::process::Command;
use std::sync::Arc;

use nix::sys::resource::{Resource, setrlimit};
use phalanx_shm::{PoolError, PoolSettings, Port, PortError, Segment, SegmentError, Shape};

use crate::{Child, ROLE};

const SMALL: Shape = Shape {
    ranks: 2,
    arena_bytes: 4 << 20,
};

fn passes_in_a_child(role: &str) {
    assert!(
        Child::start(Child::command(role)).succeeds(),
        "see the output of the child above"
    );
}

fn limit(resource: Resource, limit: u64) {
    setrlimit(resource, limit, limit).unwrap();
}

#[test]
fn without_descriptors_there_is_an_error() {
    passes_in_a_child("files");
}

pub(crate) fn files() {
    limit(Resource::RLIMIT_NOFILE, 3);
    let error = Segment::create(&SMALL).unwrap_err();
    assert!(matches!(error, SegmentError::Create(_)), "{error}");
    assert!(error.to_string().contains("ulimit -n"), "{error}");
    let error = Segment::join_named("phalanx-test-files", &SMALL).unwrap_err();
    assert!(matches!(error, SegmentError::Name { .. }), "{error}");
}

#[test]
fn beyond_the_largest_file_there_is_an_error() {
    passes_in_a_child("file_size");
}

pub(crate) fn file_size() {
    limit(Resource::RLIMIT_FSIZE, 1 << 20);
    for result in [
        Segment::create(&SMALL),
        Segment::join_named("phalanx-test-file-size", &SMALL),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("ulimit -f"), "{error}");
    }
    assert!(!std::fs::exists("/dev/shm/phalanx-test-file-size").unwrap());
}

#[test]
fn without_address_space_there_is_an_error() {
    passes_in_a_child("address_space");
}

pub(crate) fn address_space() {
    let small = Segment::create(&SMALL).unwrap();
    limit(Resource::RLIMIT_AS, 1 << 30);
    let large = Shape {
        ranks: 2,
        arena_bytes: 64 << 30,
    };
    for result in [Segment::create(&large), Segment::within_process(&large)] {
        let error = result.unwrap_err();
        assert!(matches!(error, SegmentError::Map(_)), "{error}");
        assert!(error.to_string().contains("ulimit -v"), "{error}");
    }
    let error = Segment::join_named("phalanx-test-address-space", &large).unwrap_err();
    assert!(matches!(error, SegmentError::Name { .. }), "{error}");
    assert!(!std::fs::exists("/dev/shm/phalanx-test-address-space").unwrap());
    Segment::attach(small.descriptor().unwrap().try_clone_to_owned().unwrap()).unwrap();
}

/// A pool knows something of each block, in memory of the process.
#[test]
fn without_memory_for_records_there_is_an_error() {
    passes_in_a_child("records");
}

pub(crate) fn records() {
    let shape = Shape {
        ranks: 1,
        arena_bytes: 1 << 30,
    };
    let segment = Arc::new(Segment::within_process(&shape).unwrap());
    let port = Port::attach(segment, 0, PoolSettings::default()).unwrap();
    // Kept by forgetting them: a list of them would run out of memory first.
    (0..1000).for_each(|_| std::mem::forget(port.pool().take(1).unwrap()));
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    limit(Resource::RLIMIT_AS, pages * 4096 + (4 << 20));
    let error = loop {
        match port.pool().take(1) {
            Ok(block) => std::mem::forget(block),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PoolError::Records(_)), "{error}");
    assert!(error.to_string().contains("ulimit -v"), "{error}");
    let taken = port.pool().taken();
    assert!(port.pool().take(1).is_err());
    assert_eq!(port.pool().taken(), taken, "a refusal takes nothing");
}

#[test]
fn a_descriptor_that_is_closed_is_an_error() {
    let error = phalanx_shm::handoff::take(900_000)
        .map_err(SegmentError::Attach)
        .unwrap_err();
    assert!(error.to_string().contains("PHALANX_SEGMENT"), "{error}");
}

/// A container's /dev/shm, smaller than any: anonymous segments do not care, named ones say so.
#[test]
fn a_dev_shm_of_64_kib_is_an_error_for_named_segments_alone() {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        "mount -t tmpfs -o size=64k tmpfs /dev/shm && exec \"$0\" --exact child --nocapture",
    ]);
    command
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, "small_dev_shm");
    assert!(
        Child::start(command).succeeds(),
        "this test needs root (or CAP_SYS_ADMIN) to mount a /dev/shm of its own; with it, see the output of the child above"
    );
}

pub(crate) fn small_dev_shm() {
    let anonymous = Arc::new(Segment::create(&SMALL).unwrap());
    Port::attach(anonymous, 0, PoolSettings::default())
        .unwrap()
        .stage(1, &[7; 1000])
        .unwrap();

    // Control pages of a hundred ranks do not fit, and nothing stays behind.
    let error = Segment::join_named(
        "many",
        &Shape {
            ranks: 100,
            ..SMALL
        },
    )
    .unwrap_err();
    assert!(error.to_string().contains("size of /dev/shm"), "{error}");
    assert_eq!(std::fs::read_dir("/dev/shm").unwrap().count(), 0);

    // Those of two do, and their rings; the pool does not.
    let segment = Arc::new(Segment::join_named("two", &SMALL).unwrap());
    let mut port = Port::attach(Arc::clone(&segment), 0, PoolSettings::default()).unwrap();
    assert!(port.try_push(1, &[0; 8]).unwrap());
    let error = port.stage(1, &[7; 1000]).unwrap_err();
    assert!(
        matches!(error, PoolError::Segment(SegmentError::OutOfMemory { .. })),
        "{error}"
    );
    std::fs::remove_file("/dev/shm/two").unwrap();
    drop((port, segment));

    let segment = Arc::new(Segment::join_named("full", &SMALL).unwrap());
    let mut port = Port::attach(segment, 0, PoolSettings::default()).unwrap();
    let filled = std::fs::write("/dev/shm/filler", vec![1; 1 << 20]).unwrap_err();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
    let error = port.try_push(1, &[0; 8]).unwrap_err();
    assert!(
        matches!(error, PortError::Segment(SegmentError::OutOfMemory { .. })),
        "{error}"
    );
    // Someone's file of the right size without a page in it: to look at it would be SIGBUS.
    let begun = std::fs::File::create("/dev/shm/begun").unwrap();
    begun
        .set_len(std::fs::metadata("/dev/shm/full").unwrap().len())
        .unwrap();
    let error = Segment::join_named("begun", &SMALL).unwrap_err();
    assert!(matches!(error, SegmentError::OutOfMemory { .. }), "{error}");
}
