//! Threads of a rank that share a communicator.

use std::thread;

use phalanx::{Communicator, Result};

use crate::harness;

#[test]
fn threads_of_two_ranks_talk_in_pairs() {
    harness::succeed(2, ranks::threads_in_pairs);
}

#[test]
fn threads_share_the_messages_of_one_tag() {
    harness::succeed(2, ranks::threads_share);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn threads_in_pairs() {
        harness::rank(|world| {
            for threads in [2, 4, 8] {
                let talk = |thread: usize| talk(world, thread);
                thread::scope(|scope| {
                    let running: Vec<_> = (0..threads)
                        .map(|thread| scope.spawn(move || talk(thread)))
                        .collect();
                    running
                        .into_iter()
                        .try_for_each(|thread| thread.join().unwrap())
                })?;
            }
            Ok(())
        });
    }

    #[test]
    pub(super) fn threads_share() {
        harness::rank(|world| {
            const THREADS: u64 = 4;
            const EACH: u64 = 200;
            if world.rank() == 0 {
                return (0..THREADS * EACH).try_for_each(|number| world.send(1, 0, &[number][..]));
            }
            let take = || -> Result<Vec<u64>> {
                (0..EACH)
                    .map(|_| Ok(world.recv::<[u64]>(0, 0)?[0]))
                    .collect()
            };
            let mut all = thread::scope(|scope| {
                let running: Vec<_> = (0..THREADS).map(|_| scope.spawn(take)).collect();
                let taken = running.into_iter().map(|thread| thread.join().unwrap());
                taken.collect::<Result<Vec<_>>>()
            })?;
            assert!(
                all.iter().all(|part| part.is_sorted()),
                "each thread takes them in order"
            );
            let mut numbers = all.drain(..).flatten().collect::<Vec<_>>();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..THREADS * EACH));
            Ok(())
        });
    }
}

/// Messages of all kinds, there and back, with the thread of the same number in the other rank.
fn talk(world: &Communicator, thread: usize) -> Result<()> {
    let (peer, tag) = (1 - world.rank(), 10 + thread as i32);
    for round in 0..60_u64 {
        let len = [1, 300, 30_000][round as usize % 3];
        let mut words = vec![0_u64; len];
        let mine = vec![round << 8 | thread as u64; len];
        let status = world.sendrecv((peer, tag), &mine[..], (peer, tag), &mut words)?;
        assert_eq!((status.len(), &words), (len, &mine));
    }
    Ok(())
}
