//! The ring against a queue, over its laps, between threads, and with garbage in its page.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Consumer, Corrupted, Producer, Words};
use crate::layout::{PAGE, RingPage, SLOTS};
use crate::primitive::Ordering;
use crate::segment::{Mapped, Segment, Shape};

fn page() -> (Arc<Segment>, Mapped<RingPage>, Mapped<RingPage>) {
    let shape = Shape {
        ranks: 2,
        arena_bytes: 0,
    };
    let segment = Arc::new(Segment::within_process(&shape).unwrap());
    let ends = [(); 2].map(|()| Mapped::ring(&segment, 0, 1).unwrap());
    let [one, other] = ends;
    (segment, one, other)
}

fn frame(number: u64) -> Words {
    std::array::from_fn(|word| (number * 8 + word as u64) << 16)
}

proptest! {
    #[test]
    fn a_ring_is_a_queue(pushes in prop::collection::vec(any::<bool>(), 1..2000)) {
        let (_segment, one, other) = page();
        let (mut producer, mut consumer) = (Producer::new(one), Consumer::new(other));
        let mut oracle = VecDeque::new();
        let mut told = 0;
        for (number, push) in pushes.into_iter().enumerate() {
            prop_assert_eq!(consumer.is_ready(), !oracle.is_empty());
            if push {
                // Room that the consumer has made but not told of yet is the one liberty.
                let room = producer.has_room().unwrap();
                prop_assert!(room || oracle.len() + SLOTS / 4 > SLOTS);
                prop_assert!(!room || oracle.len() < SLOTS);
                prop_assert_eq!(producer.try_push(&frame(number as u64)).unwrap(), room);
                if room {
                    oracle.push_back(frame(number as u64));
                }
            } else {
                prop_assert_eq!(consumer.try_pop().unwrap(), oracle.pop_front());
            }
            prop_assert!(consumer.told >= told && consumer.told <= consumer.taken);
            told = consumer.told;
        }
    }

    /// Garbage in any word of the page at any time: errors or wrong frames, never a panic.
    #[test]
    fn garbage_in_a_ring_is_an_error_or_a_wrong_frame(
        steps in prop::collection::vec((0..3_u8, 0..PAGE / 8, prop_oneof![0..200_u64, any::<u64>()]), 1..400),
    ) {
        let (segment, one, other) = page();
        let (mut producer, mut consumer) = (Producer::new(one), Consumer::new(other));
        let start = segment.plan().ring(0, 1);
        for (step, word, garbage) in steps {
            match step {
                0 => {
                    let _ = producer.try_push(&frame(garbage >> 16));
                }
                1 => {
                    let _ = (consumer.is_ready(), consumer.try_pop());
                }
                _ => {
                    let place = segment.cells(start..start + PAGE)[word * 8].get().cast::<u64>();
                    // SAFETY: the word lies in the page and is aligned; no other thread is about.
                    unsafe { place.write(garbage) };
                }
            }
        }
    }
}

#[test]
fn laps_wrap() {
    let (_segment, one, other) = page();
    let (mut producer, mut consumer) = (Producer::new(one), Consumer::new(other));
    for number in 0..(SLOTS as u64) * 65_536 + 200 {
        assert!(producer.try_push(&frame(number)).unwrap());
        assert_eq!(consumer.try_pop().unwrap(), Some(frame(number)));
        if number.is_multiple_of(1 << 16) {
            assert_eq!(consumer.try_pop(), Ok(None));
        }
    }
}

#[test]
fn frames_pass_between_threads() {
    const FRAMES: u64 = if cfg!(debug_assertions) {
        20_000
    } else {
        200_000
    };
    let (_segment, one, other) = page();
    let (mut producer, mut consumer) = (Producer::new(one), Consumer::new(other));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..FRAMES {
                while !producer.try_push(&frame(number)).unwrap() {
                    std::thread::yield_now();
                }
            }
        });
        for number in 0..FRAMES {
            let words = loop {
                match consumer.try_pop().unwrap() {
                    Some(words) => break words,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(words, frame(number));
        }
    });
}

#[test]
fn a_count_or_lap_that_cannot_be_is_refused() {
    let (_segment, one, other) = page();
    let (mut producer, mut consumer) = (Producer::new(one), Consumer::new(other));
    producer.page.slots[0].word.store(7, Ordering::Relaxed);
    assert_eq!(
        consumer.try_pop(),
        Err(Corrupted {
            found: 7,
            expected: 1
        })
    );
    for number in 0..SLOTS as u64 {
        assert!(producer.try_push(&frame(number)).unwrap());
    }
    producer.page.consumed.0.store(1000, Ordering::Relaxed);
    let expected = SLOTS as u64;
    assert_eq!(
        producer.try_push(&frame(0)),
        Err(Corrupted {
            found: 1000,
            expected
        })
    );
}
