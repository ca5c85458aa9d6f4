//! Whom a receiver serves: everyone in time, the intact beside the damaged, and those who stay when somebody leaves.

use std::sync::Arc;

use super::{PortError, RankState, descriptor, job};
use crate::block::Descriptor;
use crate::pool::PoolSettings;
use crate::port::Port;
use crate::segment::{Segment, Shape};

fn numbered(number: u64) -> [u64; 8] {
    [1 << 16, number, 0, 0, 0, 0, 0, 0]
}

fn described(block: Descriptor) -> [u64; 8] {
    let Descriptor { block, offset, len } = block;
    [2 << 16, block.into(), offset, len, 0, 0, 0, 0]
}

fn block_of(words: &[u64; 8]) -> Option<u32> {
    (words[0] >> 16 == 2).then(|| descriptor(words).block)
}

fn ports(ranks: usize) -> Vec<Port> {
    let arena_bytes = 2 << 20;
    let segment = Segment::within_process(&Shape { ranks, arena_bytes }).unwrap();
    let segment = Arc::new(segment);
    (0..ranks)
        .map(|rank| Port::attach(Arc::clone(&segment), rank, PoolSettings::default()).unwrap())
        .collect()
}

/// Receiver 0 watches ranks 1 to 8, whose rings are always full; others ring in vain unless it looks up.
#[test]
fn eight_busy_rings_starve_nobody() {
    const RANKS: usize = 13;
    let mut ports = ports(RANKS);
    let (receiver, senders) = ports.split_first_mut().unwrap();
    for sender in &mut senders[..8] {
        assert!(sender.try_push(0, &numbered(0)).unwrap());
    }
    for _ in 0..8 {
        assert!(receiver.poll().unwrap().is_some());
    }
    let mut taken = [0; RANKS];
    for quiet in &mut senders[8..] {
        assert!(quiet.try_push(0, &numbered(0)).unwrap());
        assert!(quiet.try_push(0, &numbered(1)).unwrap());
    }
    for _ in 0..5000 {
        for busy in &mut senders[..8] {
            while busy.try_push(0, &numbered(0)).unwrap() {}
        }
        let (from, _) = receiver.poll().unwrap().expect("eight full rings");
        taken[from] += 1;
    }
    assert_eq!(taken[9..], [2; 4], "the quiet were not served: {taken:?}");
    let least = taken[1..9].iter().min();
    assert!(least > Some(&500), "a busy one was not served: {taken:?}");
}

/// One busy ring alone may starve nobody either.
#[test]
fn a_busy_ring_starves_nobody() {
    let mut ports = ports(3);
    let (receiver, senders) = ports.split_first_mut().unwrap();
    assert!(senders[0].try_push(0, &numbered(0)).unwrap());
    assert!(receiver.poll().unwrap().is_some());
    assert!(senders[1].try_push(0, &numbered(0)).unwrap());
    let polls = (0..1000).position(|_| {
        while senders[0].try_push(0, &numbered(0)).unwrap() {}
        receiver.poll().unwrap().expect("a full ring").0 == 2
    });
    assert!(polls.is_some(), "not within a thousand frames");
}

#[test]
fn a_damaged_ring_is_reported_once_and_the_others_are_served_on() {
    let (mut ports, scribble, _) = job();
    for sender in [1, 2] {
        assert!(ports[sender].try_push(0, &numbered(0)).unwrap());
        assert!(ports[0].poll().unwrap().is_some());
    }
    // The word that publishes the second frame, with a lap that never was.
    let ring = ports[0].segment().plan().ring(1, 0);
    super::write(&scribble, (ring + 3 * 64) / 8, 0x7777);
    for number in 1..20 {
        assert!(ports[2].try_push(0, &numbered(number)).unwrap());
    }
    let mut errors = Vec::new();
    let mut next = 1;
    for _ in 0..100 {
        match ports[0].poll() {
            Ok(Some((from, words))) => {
                assert_eq!((from, words[1]), (2, next));
                next += 1;
            }
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(next, 20, "an intact ring was not served");
    assert!(
        matches!(errors[..], [PortError::Corrupted { peer: 1, .. }]),
        "{errors:?}"
    );
    assert_eq!(ports[0].damaged(), [1]);
    // Its receiver can sleep, is not kept awake by what still comes, and reads the others.
    assert!(ports[0].prepare_sleep());
    assert!(ports[1].try_push(0, &numbered(1)).unwrap());
    assert!(ports[0].poll().unwrap().is_none());
    assert!(ports[0].prepare_sleep());
    assert!(ports[2].try_push(0, &numbered(20)).unwrap());
    assert_eq!(ports[0].poll().unwrap(), Some((2, numbered(20))));
}

#[test]
fn blocks_that_a_rank_left_without_reading_come_back_and_no_others() {
    let (mut ports, _, _) = job();
    let mut leaver = ports.remove(1);
    let owner = &mut ports[0];
    // Enough frames that the receiver's published count lags behind what it took.
    let send = |owner: &mut Port, byte| {
        let block = owner.stage(1, &[byte; 100]).unwrap();
        assert!(owner.try_push(1, &described(block)).unwrap());
    };
    (0..30).for_each(|byte| send(owner, byte));
    let mut kept = Vec::new();
    for byte in 0..20 {
        let (_, words) = leaver.poll().unwrap().unwrap();
        let block = leaver.borrow(0, descriptor(&words)).unwrap();
        assert_eq!(*block, [byte; 100]);
        // Every other one is read on when its rank has long left.
        kept.extend((byte % 2 == 0).then_some(block));
    }
    assert_eq!(owner.forget(1, block_of).unwrap(), 0, "it is still here");
    drop(leaver);
    assert_eq!(
        owner.segment().state_of(1),
        RankState::Left,
        "in good order"
    );
    // Who has not heard of it yet goes on sending.
    (30..35).for_each(|byte| send(owner, byte));
    assert_eq!(owner.forget(1, block_of).unwrap(), 15);
    owner.pool().collect().unwrap();
    assert_eq!(owner.pool().lent(1), kept.len());
    // What is taken now is nothing that is still read.
    let written: Vec<_> = (0..40)
        .map(|_| {
            let mut block = owner.pool().take(100).unwrap();
            block.fill(99);
            block
        })
        .collect();
    for (block, byte) in kept.iter().zip((0..20).step_by(2)) {
        assert_eq!(**block, [byte; 100]);
    }
    drop((written, kept));
    owner.pool().collect().unwrap();
    assert_eq!(owner.pool().lent(1), 0);
}

/// They wait to be returned together, and a rank that leaves does not wait.
#[test]
fn blocks_that_were_copied_out_are_returned_by_who_leaves() {
    let mut ports = ports(2);
    let mut leaver = ports.remove(1);
    let block = ports[0].stage(1, &[7; 100]).unwrap();
    leaver.copy_out(0, block, &mut [0; 100]).unwrap();
    leaver.leave(RankState::Left);
    ports[0].pool().collect().unwrap();
    assert_eq!(ports[0].pool().lent(1), 0);
    // What comes afterwards is not taken: its sender takes it back.
    assert!(ports[0].try_push(1, &numbered(0)).unwrap());
    assert!(leaver.poll().unwrap().is_none());
}
