//! Whole jobs under shuttle's random schedules: segment, ports, pools, doorbells as they are, ranks as tasks.
//!
//! Shuttle is sequentially consistent: this finds lost wake-ups, blocks with two owners and ranks that wait for each other, not weak
//! orderings, which are loom's. A rank that sleeps for ever is reported as a deadlock. `ci/shuttle` says how many schedules.

use std::sync::Arc;
use std::time::Duration;

use shuttle::{Config, Runner, scheduler::RandomScheduler, thread};

use crate::exercise::Exercise;
use crate::{Death, PoolSettings, Port, RankState, Segment, Shape};

fn explore(job: impl Fn() + Send + Sync + 'static) {
    let iterations = std::env::var("PHALANX_SCHEDULES").map_or(100, |number| {
        number.parse().expect("PHALANX_SCHEDULES is a number")
    });
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    Runner::new(RandomScheduler::new(iterations), config).run(job);
}

fn segment(ranks: usize) -> Arc<Segment> {
    let shape = Shape {
        ranks,
        arena_bytes: 4 << 20,
    };
    Arc::new(Segment::within_process(&shape).expect("memory for a small segment"))
}

fn attach(segment: &Arc<Segment>, rank: usize) -> Port {
    Port::attach(Arc::clone(segment), rank, PoolSettings::default()).expect("a vacant rank")
}

fn all_to_all(ranks: usize, messages: u64) {
    let segment = segment(ranks);
    let threads: Vec<_> = (0..ranks)
        .map(|rank| {
            let segment = Arc::clone(&segment);
            thread::spawn(move || {
                let mut exercise = Exercise::new(attach(&segment, rank), rank, messages, 3000);
                exercise.run(Duration::MAX, thread::yield_now);
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("each rank ends well");
    }
}

#[test]
fn five_ranks_exchange_all_kinds_of_messages() {
    explore(|| all_to_all(5, 4));
}

#[test]
fn two_ranks_fill_their_rings() {
    explore(|| all_to_all(2, 100));
}

/// More senders than a receiver watches, so that rings come and go between watched, ready and silent.
#[test]
fn ten_senders_wake_one_receiver() {
    explore(|| {
        let segment = segment(11);
        let senders: Vec<_> = (1..11)
            .map(|rank| {
                let segment = Arc::clone(&segment);
                thread::spawn(move || {
                    let mut port = attach(&segment, rank);
                    for number in 0..3 {
                        let words = [0, number, 0, 0, 0, 0, 0, 0];
                        assert!(port.try_push(0, &words).expect("an intact ring"));
                    }
                })
            })
            .collect();
        let mut port = attach(&segment, 0);
        let mut next = [0; 11];
        while next[1..].iter().any(|&number| number < 3) {
            match port.poll().expect("intact rings") {
                Some((from, words)) => {
                    assert_eq!(words[1], next[from], "overtaken");
                    next[from] += 1;
                }
                None if port.prepare_sleep() => port.sleeper().sleep(Duration::MAX),
                None => thread::yield_now(),
            }
        }
        for sender in senders {
            sender.join().expect("each sender ends well");
        }
    });
}

/// Who looks for departures between its preparation and its sleep is woken by every later one.
#[test]
fn a_departure_wakes_a_sleeper() {
    explore(|| {
        let segment = segment(2);
        let launcher = {
            let segment = Arc::clone(&segment);
            thread::spawn(move || segment.depart(1, RankState::Dead(Death::Signal(9))))
        };
        let mut port = attach(&segment, 0);
        while segment.departures() == 0 {
            if port.poll().expect("intact rings").is_none()
                && port.prepare_sleep()
                && segment.departures() == 0
            {
                port.sleeper().sleep(Duration::MAX);
            }
        }
        assert_eq!(segment.state_of(1), RankState::Dead(Death::Signal(9)));
        launcher.join().expect("the launcher ends well");
    });
}

/// Returned blocks meet the owner's collecting: no block is lost, none comes back twice.
#[test]
fn threads_of_a_borrower_return_while_the_owner_takes() {
    explore(|| {
        let segment = segment(2);
        let (mut owner, mut borrower) = (attach(&segment, 0), attach(&segment, 1));
        let mut loans = Vec::new();
        for number in 0..12_u8 {
            let descriptor = owner.stage(1, &[number; 100]).expect("memory");
            loans.push((
                number,
                borrower.borrow(0, descriptor).expect("a good descriptor"),
            ));
        }
        let late = loans.split_off(6);
        let threads = [loans, late].map(|loans| {
            thread::spawn(move || {
                for (number, loan) in loans {
                    assert_eq!(*loan, [number; 100]);
                }
            })
        });
        let mut taken = Vec::new();
        for number in 100..120_u8 {
            let mut block = owner.pool().take(100).expect("memory");
            block.fill(number);
            taken.push((number, block));
        }
        for thread in threads {
            thread.join().expect("each thread ends well");
        }
        owner.pool().collect().expect("honest returns");
        assert_eq!(owner.pool().lent(1), 0);
        assert!(
            taken
                .iter()
                .all(|(number, block)| **block == [*number; 100])
        );
    });
}
