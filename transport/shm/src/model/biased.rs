//! The lock with a favourite: one thread inside at a time, which sees what all before it did.
//!
//! The value lies in a cell of loom, which reports two threads inside and one that has not seen the other leave.

use loom::sync::Arc;
use loom::thread;

use crate::biased::Biased;
use crate::primitive::Barrier;

const FAVOURITE: usize = 1;

/// A lock whose favourite has been inside once.
fn favoured(barrier: Barrier) -> Arc<Biased<u64>> {
    let lock = Arc::new(Biased::with_barrier(0, barrier));
    *lock.try_enter_as(FAVOURITE).expect("nobody else is there") += 1;
    lock
}

/// The favourite enters `entries` times beside each of `others`, which enter once, and all that they add is there at the end.
fn share(barrier: Barrier, entries: u64, others: u64) {
    let lock = favoured(barrier);
    let others: Vec<_> = (0..others)
        .map(|other| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || *lock.enter_as(FAVOURITE + 1 + other as usize) += 1)
        })
        .collect();
    let expected = 1 + entries + others.len() as u64;
    for _ in 0..entries {
        *lock.enter_as(FAVOURITE) += 1;
    }
    for other in others {
        other.join().expect("each thread ends well");
    }
    assert_eq!(*lock.enter_as(FAVOURITE), expected);
}

/// Wants LEAVE and SUCCEED, and both halves of the barrier.
#[test]
fn a_favourite_and_a_revoker_are_never_both_inside() {
    loom::model(|| share(Barrier::Symmetric, 2, 1));
}

#[test]
fn a_favourite_and_two_others_take_turns() {
    loom::model(|| share(Barrier::Symmetric, 1, 2));
}

/// A revoker that sees only the step back, and not the leaving before it, must see the favourite's work all the same.
#[test]
fn a_favourite_that_steps_back_hands_over_what_it_did() {
    loom::model(|| {
        let lock = favoured(Barrier::Symmetric);
        let revoker = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || *lock.enter_as(FAVOURITE + 1) += 1)
        };
        // Twice without waiting: the second time may find the favour gone and the mutex taken.
        let entered = (0..2).filter(|_| {
            let guard = lock.try_enter_as(FAVOURITE);
            guard.map(|mut value| *value += 1).is_some()
        });
        let entered = entered.count() as u64;
        revoker.join().expect("the revoker ends well");
        assert_eq!(*lock.enter_as(FAVOURITE), 2 + entered);
    });
}

/// Why there is a barrier at all. `membarrier` is beyond loom, so an asymmetric barrier is none here.
#[test]
#[should_panic(expected = "Causality violation")]
fn without_a_barrier_two_are_inside() {
    loom::model(|| share(Barrier::Asymmetric, 1, 1));
}
