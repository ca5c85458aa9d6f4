//! Ports that work on while someone scribbles over the segment: errors or wrong bytes, never a panic, never an endless loop.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use proptest::prelude::*;

use super::{Port, PortError, RankState};
use crate::block::Descriptor;
use crate::pool::{PoolError, PoolSettings};
use crate::segment::{Segment, SegmentError, Shape};

mod receiving;

const RANKS: usize = 3;

/// The ranks of a job, each with a mapping of its own, and one more mapping to write garbage through.
fn job() -> (Vec<Port>, MmapRaw, usize) {
    let shape = Shape {
        ranks: RANKS,
        arena_bytes: 2 << 20,
    };
    let segment = Segment::create(&shape).unwrap();
    let file = segment.descriptor().unwrap();
    let scribble = MmapOptions::new()
        .len(segment.plan().size())
        .map_raw(&file)
        .unwrap();
    let ports = (0..RANKS).map(|rank| {
        let own = Segment::attach(file.as_fd().try_clone_to_owned().unwrap()).unwrap();
        Port::attach(Arc::new(own), rank, PoolSettings::default()).unwrap()
    });
    (ports.collect(), scribble, segment.plan().arena(0))
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize, usize),
    Stage(usize, usize, usize),
    Poll(usize),
    Sleep(usize),
    Collect(usize),
    Look(usize),
    Scribble(usize, u64),
}

fn step(words: usize) -> impl Strategy<Value = Step> {
    let rank = 0..RANKS;
    let garbage = prop_oneof![
        0..70_u64,
        any::<u64>(),
        (0..2_u64).prop_map(|low| u64::MAX - low)
    ];
    prop_oneof![
        4 => (rank.clone(), rank.clone()).prop_map(|(from, to)| Step::Push(from, to)),
        2 => (rank.clone(), rank.clone(), 1..3000_usize).prop_map(|(from, to, len)| Step::Stage(from, to, len)),
        8 => rank.clone().prop_map(Step::Poll),
        1 => rank.clone().prop_map(Step::Sleep),
        1 => rank.clone().prop_map(Step::Collect),
        1 => rank.prop_map(Step::Look),
        6 => (0..words, garbage).prop_map(|(word, garbage)| Step::Scribble(word, garbage)),
    ]
}

/// Words of everything before the arenas.
fn words() -> usize {
    crate::layout::PAGE / 8 * (1 + RANKS + 2 * RANKS * RANKS)
}

fn descriptor(words: &[u64; 8]) -> Descriptor {
    Descriptor {
        block: words[1] as u32,
        offset: words[2],
        len: words[3],
    }
}

fn apply(ports: &mut [Port], scribble: &MmapRaw, step: &Step) {
    match *step {
        Step::Push(from, to) => {
            let _ = ports[from].try_push(to, &[1 << 16, u64::MAX, 3, 4, 5, 6, 7, 8]);
        }
        Step::Stage(from, to, len) => {
            if let Ok(d) = ports[from].stage(to, &vec![7; len]) {
                let _ = ports[from]
                    .try_push(to, &[2 << 16, d.block.into(), d.offset, d.len, 0, 0, 0, 0]);
            }
        }
        Step::Poll(rank) => {
            if let Ok(Some((from, words))) = ports[rank].poll()
                && let Ok(block) = ports[rank].borrow(from, descriptor(&words))
            {
                // Wrong bytes perhaps, but bytes.
                let sum: u64 = block.iter().take(10_000).map(|&byte| u64::from(byte)).sum();
                let _ = ports[rank].pull(from, words[2], &mut vec![0; (sum % 4096) as usize]);
            }
        }
        Step::Sleep(rank) => {
            if ports[rank].prepare_sleep() {
                ports[rank].sleeper().sleep(Duration::ZERO);
            }
        }
        Step::Collect(rank) => {
            let _ = ports[rank].pool().collect();
            let _ = ports[rank].pool().reclaim((rank + 1) % RANKS);
        }
        Step::Look(rank) => {
            let segment = ports[rank].segment();
            let _ = (
                segment.departures(),
                segment.state_of(rank),
                segment.process_of(rank),
            );
            segment.depart((rank + 1) % RANKS, RankState::Left);
            let _ = Segment::attach(segment.descriptor().unwrap().try_clone_to_owned().unwrap());
        }
        Step::Scribble(word, garbage) => {
            write(scribble, word, garbage);
        }
    }
}

/// Writes garbage to a word before the arenas.
fn write(scribble: &MmapRaw, word: usize, garbage: u64) {
    assert!(word < words());
    // SAFETY: the word lies in the mapping, before the arenas.
    let place = unsafe { scribble.as_mut_ptr().cast::<u64>().add(word) };
    // SAFETY: as above, aligned, and to this process the memory is atomics and cells. No other thread is about.
    unsafe { place.write_volatile(garbage) };
}

proptest! {
    #[test]
    fn garbage_anywhere_before_the_arenas_is_survived(steps in prop::collection::vec(step(words()), 1..400)) {
        let (mut ports, scribble, arenas) = job();
        prop_assert!(words() * 8 <= arenas);
        for step in &steps {
            apply(&mut ports, &scribble, step);
        }
    }

    #[test]
    fn descriptors_that_cannot_be_are_refused(block in any::<u32>(), offset in any::<u64>(), len in any::<u64>()) {
        let (mut ports, _, arenas) = job();
        let arena = arenas as u64..(arenas + (2 << 20)) as u64;
        let inside = offset >= arena.start && offset.checked_add(len).is_some_and(|end| end <= arena.end);
        let good = inside && offset.is_multiple_of(64) && block < 1 << 24;
        prop_assert_eq!(ports[1].borrow(0, Descriptor { block, offset, len }).is_ok(), good);
        let near = Descriptor { block: block >> 8, offset: arena.start + offset % (3 << 20), len: len % (3 << 20) };
        let good = near.offset.is_multiple_of(64) && near.offset + near.len <= arena.end;
        prop_assert_eq!(ports[1].borrow(0, near).is_ok(), good);
    }
}

#[test]
fn a_rank_is_taken_once() {
    let (ports, _, _) = job();
    let again = Port::attach(Arc::clone(ports[0].segment()), 0, PoolSettings::default());
    let error = again.unwrap_err().to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
}

#[test]
fn chunks_that_cannot_be_are_refused_and_the_place_stays_vacant() {
    let segment = Arc::new(
        Segment::create(&Shape {
            ranks: 1,
            arena_bytes: 2 << 20,
        })
        .unwrap(),
    );
    let attach = |size| {
        Port::attach(
            Arc::clone(&segment),
            0,
            PoolSettings::new(size, 1 << 20, None),
        )
    };
    for size in [0, 1, 32, 65, 48 << 10, usize::MAX, 1 << 63] {
        let error = attach(size).unwrap_err();
        assert!(
            matches!(error, SegmentError::ChunkSize(found) if found == size),
            "{error}"
        );
        assert!(error.to_string().contains("PHALANX_CHUNK_SIZE"), "{error}");
    }
    // More than the arena has is an error of its own, when a chunk is wanted.
    let mut port = attach(1 << 62).unwrap();
    assert!(matches!(
        port.stage_chunk(1, &[1]),
        Err(PoolError::Arena { .. })
    ));
}

#[test]
fn the_smallest_chunks_can_be_lent() {
    let segment = Arc::new(
        Segment::within_process(&Shape {
            ranks: 2,
            arena_bytes: 2 << 20,
        })
        .unwrap(),
    );
    let settings = PoolSettings::new(64, 256, None);
    let mut ports = [0, 1].map(|rank| Port::attach(Arc::clone(&segment), rank, settings).unwrap());
    for _ in 0..4 {
        let descriptor = ports[0].stage_chunk(1, &[7; 100]).unwrap().unwrap();
        assert_eq!(ports[1].borrow(0, descriptor).unwrap().len(), 64);
    }
}

#[test]
fn a_block_of_another_rank_cannot_be_lent_and_comes_back() {
    let (mut ports, _, _) = job();
    let mut block = ports[1].pool().take(100).unwrap();
    block.fill(7);
    let (block, error) = ports[0].lend(block, &[2]).unwrap_err();
    assert!(
        matches!(error, PoolError::Foreign { rank: 0, owner: 1 }),
        "{error}"
    );
    assert_eq!((ports[0].pool().lent(2), &*block), (0, &[7; 100][..]));
    // The same number of another job's rank 1 is as foreign.
    let (mut others, _, _) = job();
    let (block, _) = others[1].lend(block, &[2]).unwrap_err();
    let descriptor = ports[1].lend(block, &[2]).unwrap();
    assert_eq!(*ports[2].borrow(1, descriptor).unwrap(), [7; 100]);
}

#[test]
fn a_rank_that_says_twice_that_it_leaves_departs_once() {
    let (ports, _, _) = job();
    let segment = ports[0].segment();
    for (state, departures) in [
        (RankState::Leaving, 1),
        (RankState::Leaving, 1),
        (RankState::Left, 2),
        (RankState::Left, 2),
        (RankState::Leaving, 2),
    ] {
        segment.depart(1, state);
        assert_eq!(segment.departures(), departures, "after {state:?}");
    }
}

/// A thread of a rank that wakes by its time-out must not leave another asleep whom no sender would wake.
#[test]
fn threads_of_one_rank_sleep_and_wake_together() {
    let (mut ports, _, _) = job();
    let sleeper = ports[0].sleeper();
    assert!(ports[0].prepare_sleep());
    std::thread::scope(|scope| {
        let long = sleeper.clone();
        scope.spawn(move || long.sleep(Duration::from_secs(3600)));
        sleeper.sleep(Duration::from_millis(1));
        // The other may not have been asleep yet; then it finds the flag gone.
        sleeper.wake();
    });
}
