//! What becomes of a rank when its segment is damaged under it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use phalanx_shm::{Segment, Shape};

use super::World;
use crate::config::Config;
use crate::error::Error;

const RANKS: usize = 3;

/// Overwrites the words by which rank `sender` publishes its frames to rank `receiver`; `docs/design/shm-layout.md` says where they lie.
fn damage(segment: &Segment, sender: usize, receiver: usize) {
    let file = segment.descriptor().unwrap().try_clone_to_owned().unwrap();
    let file = File::from(file);
    let page = 4096 * (1 + RANKS + sender * RANKS + receiver) as u64;
    for slot in 0..62 {
        file.write_all_at(&[0x77; 8], page + 128 + slot * 64)
            .unwrap();
    }
}

#[test]
fn a_damaged_ring_ends_what_waits_for_its_sender_and_nothing_else() {
    let shape = Shape {
        ranks: RANKS,
        arena_bytes: 16 << 20,
    };
    let segment = Arc::new(Segment::create(&shape).unwrap());
    let config = Arc::new(Config::default());
    let [receiver, damaged, intact] = [0, 1, 2]
        .map(|rank| World::over_segment(Arc::clone(&segment), rank, Arc::clone(&config)).unwrap());
    // A bound that catches a hang.
    let receiver = receiver.with_timeout(Duration::from_secs(60));
    for sender in [&damaged, &intact] {
        sender.send(0, 1, &[7_u64][..]).unwrap();
        assert_eq!(*receiver.recv::<[u64]>(sender.rank(), 1).unwrap(), [7]);
    }
    damage(&segment, 1, 0);
    intact.send(0, 1, &[8_u64][..]).unwrap();

    let reported = receiver.recv::<[u64]>(1, 1).unwrap_err();
    assert!(
        matches!(reported, Error::Link(_)) && reported.to_string().contains("rank 1 is damaged"),
        "{reported}"
    );
    for _ in 0..2 {
        let gone = receiver.recv::<[u64]>(1, 1).unwrap_err();
        assert!(matches!(gone, Error::PeerDied { rank: 1, .. }), "{gone}");
    }
    assert_eq!(*receiver.recv::<[u64]>(2, 1).unwrap(), [8]);
    intact.send(0, 2, &[9_u64][..]).unwrap();
    assert_eq!(*receiver.recv::<[u64]>(2, 2).unwrap(), [9]);
    receiver.send(2, 3, &[10_u64][..]).unwrap();
    assert_eq!(*intact.recv::<[u64]>(0, 3).unwrap(), [10]);
}
