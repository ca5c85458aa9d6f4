//! Four processes that send each other everything, and processes that are killed while they do so.

use std::sync::Arc;
use std::time::Duration;

use phalanx_shm::{Death, PoolSettings, Port, RankState, Segment, Shape};

use crate::exercise::{Exercise, mix};
use crate::{Child, argument, inherited};

const LARGEST: usize = 100_000;
const MESSAGES: u64 = if cfg!(debug_assertions) { 500 } else { 5000 };

fn segment(ranks: usize) -> Arc<Segment> {
    let shape = Shape {
        ranks,
        arena_bytes: 1 << 30,
    };
    Arc::new(Segment::create(&shape).unwrap())
}

pub(crate) fn attach(segment: &Arc<Segment>, rank: usize) -> Port {
    Port::attach(Arc::clone(segment), rank, PoolSettings::default()).unwrap()
}

pub(crate) fn inherited_rank(rank: usize) -> Port {
    attach(&Arc::new(Segment::attach(inherited()).unwrap()), rank)
}

pub(crate) fn rank() {
    let rank = usize::try_from(argument()).unwrap();
    let mut exercise = Exercise::new(inherited_rank(rank), rank, MESSAGES, LARGEST);
    exercise.run(Duration::from_millis(100), std::thread::yield_now);
}

#[test]
fn four_processes_exchange_all_kinds_of_messages() {
    let segment = segment(4);
    let children: Vec<_> = (0..4)
        .map(|rank| Child::with_segment("rank", &segment, rank))
        .collect();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .zip(children)
            .map(|(rank, child)| {
                let segment = &segment;
                scope.spawn(move || {
                    let ended_well = child.succeeds();
                    if !ended_well {
                        // The others wait for it and would do so for ever.
                        segment.depart(rank, RankState::Dead(Death::Unknown));
                    }
                    ended_well
                })
            })
            .collect();
        for (rank, child) in waiting.into_iter().enumerate() {
            assert!(child.join().unwrap(), "rank {rank} failed");
        }
    });
    assert!((0..4).all(|rank| segment.state_of(rank) == RankState::Left));
    assert_eq!(segment.departures(), 4);
}

/// The same over threads and heap memory, which the sanitizers understand.
#[test]
fn four_threads_exchange_all_kinds_of_messages() {
    let shape = Shape {
        ranks: 4,
        arena_bytes: 16 << 20,
    };
    let segment = Arc::new(Segment::within_process(&shape).unwrap());
    let threads = [0, 1, 2, 3].map(|rank| {
        let port = attach(&segment, rank);
        std::thread::spawn(move || {
            let mut exercise = Exercise::new(port, rank, 150, 9000);
            exercise.run(Duration::from_millis(100), std::thread::yield_now);
        })
    });
    // Joined one by one, which ThreadSanitizer sees, unlike the end of a scope.
    for thread in threads {
        thread.join().unwrap();
    }
}

pub(crate) fn flood() {
    let mut exercise = Exercise::new(inherited_rank(1), 1, u64::MAX, LARGEST);
    loop {
        exercise.receive();
        if !exercise.send(0) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn of_a_killed_sender_every_message_that_arrives_is_whole() {
    for seed in 0..20 {
        let segment = segment(2);
        let mut exercise = Exercise::new(attach(&segment, 0), 0, 0, LARGEST);
        let mut child = Child::with_segment("flood", &segment, 0);
        let fatal = mix(seed) % 1000;
        while exercise.received_from(1) < fatal {
            exercise.receive();
            exercise.answer();
            assert!(
                child.0.try_wait().unwrap().is_none(),
                "the sender failed by itself"
            );
        }
        child.kill();
        segment.depart(1, RankState::Dead(Death::Signal(9)));
        exercise.receive();
        assert!(exercise.received_from(1) >= fatal);
        assert!(!exercise.receive(), "the dead go on sending");
        assert_eq!(segment.state_of(1), RankState::Dead(Death::Signal(9)));
    }
}

/// Holds every block that arrives, and says so.
pub(crate) fn borrower() {
    let mut port = inherited_rank(1);
    let mut held = Vec::new();
    loop {
        match port.poll().unwrap() {
            Some((owner, words)) => {
                let block = port
                    .borrow(owner, crate::exercise::descriptor(&words))
                    .unwrap();
                assert!(!block.is_empty());
                held.push(block);
                assert!(
                    port.try_push(owner, &[0, held.len() as u64, 0, 0, 0, 0, 0, 0])
                        .unwrap()
                );
            }
            None => std::thread::yield_now(),
        }
    }
}

#[test]
fn blocks_of_a_killed_borrower_come_back() {
    let segment = segment(2);
    let mut port = attach(&segment, 0);
    let mut child = Child::with_segment("borrower", &segment, 0);
    let sizes: Vec<usize> = (0..40).map(|number| 1 << (number % 18)).collect();
    for (number, &size) in sizes.iter().enumerate() {
        let descriptor = port.stage(1, &vec![7; size]).unwrap();
        let words = crate::exercise::described(2, descriptor);
        assert!(port.try_push(1, &words).unwrap());
        loop {
            if let Some((_, words)) = port.poll().unwrap() {
                assert_eq!(words[1], number as u64 + 1);
                break;
            }
            assert!(
                child.0.try_wait().unwrap().is_none(),
                "the borrower failed by itself"
            );
        }
    }
    assert_eq!(port.pool().lent(1), sizes.len());
    child.kill();
    let taken = port.pool().taken();
    assert_eq!(port.pool().reclaim(1), sizes.len());
    assert_eq!((port.pool().lent(1), port.pool().reclaim(1)), (0, 0));
    let again: Vec<_> = sizes
        .iter()
        .map(|&size| port.pool().take(size).unwrap())
        .collect();
    assert_eq!(
        port.pool().taken(),
        taken,
        "{} blocks did not come back",
        again.len()
    );
}

const NAMED: Shape = Shape {
    ranks: 3,
    arena_bytes: 2 << 20,
};

pub(crate) fn join() {
    let name = std::env::var("PHALANX_TEST_NAME").unwrap();
    let segment = Arc::new(Segment::join_named(&name, &NAMED).unwrap());
    let rank = usize::try_from(argument()).unwrap();
    let mut exercise = Exercise::new(attach(&segment, rank), rank, 100, 1000);
    exercise.run(Duration::from_millis(100), std::thread::yield_now);
}

#[test]
fn a_name_is_gone_as_soon_as_all_have_joined() {
    let name = format!("phalanx-test-{}-join", std::process::id());
    let children: Vec<_> = (0..3)
        .map(|rank: u64| {
            let mut command = Child::command("join");
            command
                .env("PHALANX_TEST_NAME", &name)
                .env(crate::ARGUMENT, rank.to_string());
            Child::start(command)
        })
        .collect();
    assert!(children.into_iter().all(Child::succeeds));
    assert!(!std::fs::exists(format!("/dev/shm/{name}")).unwrap());
}
