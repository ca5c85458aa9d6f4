//! More ranks than bits in a word, and more senders than rings that a receiver watches.

use phalanx_runtime::config::Config;
use phalanx_runtime::{ANY_SOURCE, Request};

use crate::harness::{content, run, tiny};

#[test]
fn everyone_sends_to_one() {
    const RANKS: usize = 130;
    for config in [Config::default(), tiny()] {
        run(RANKS, &config, |world| {
            if world.rank() != 0 {
                for round in 0..5 {
                    world.send(0, round, &content(world.rank(), 10 * world.rank())[..])?;
                }
                return Ok(());
            }
            let mut next = [0; RANKS];
            for _ in 0..5 * (RANKS - 1) {
                let got = world.recv::<[u8]>(ANY_SOURCE, phalanx_runtime::ANY_TAG)?;
                let source = got.source();
                assert_eq!(got.tag(), next[source], "rank {source} overtook itself");
                assert_eq!(*got, content(source, 10 * source)[..]);
                next[source] += 1;
            }
            assert_eq!(next[1..], [5; RANKS - 1]);
            Ok(())
        });
    }
}

#[test]
fn everyone_sends_to_everyone() {
    const RANKS: usize = 72;
    run(RANKS, &Config::default(), |world| {
        let sends: Vec<Request<Vec<u8>>> = (0..RANKS)
            .map(|peer| world.isend(peer, 0, content(world.rank() * RANKS + peer, 60)))
            .collect::<Result<_, _>>()?;
        for source in (0..RANKS).rev() {
            let got = world.recv::<[u8]>(source, 0)?;
            assert_eq!(*got, content(source * RANKS + world.rank(), 60)[..]);
        }
        for sent in sends {
            sent.wait()?;
        }
        world.barrier()
    });
}

#[test]
fn a_crowd_splits_and_meets_again() {
    const RANKS: usize = 70;
    run(RANKS, &Config::default(), |world| {
        let rank = world.rank();
        let part = world.split(Some(rank as u32 % 3), -(rank as i32))?;
        let part = part.expect("every rank has a color");
        let members: Vec<usize> = (0..RANKS)
            .rev()
            .filter(|peer| peer % 3 == rank % 3)
            .collect();
        assert_eq!((part.size(), members[part.rank()]), (members.len(), rank));
        let right = (part.rank() + 1) % part.size();
        part.send(right, 0, &[rank as u64][..])?;
        let left = (part.rank() + part.size() - 1) % part.size();
        let got = part.recv::<[u64]>(ANY_SOURCE, 0)?;
        assert_eq!((got.source(), got[0]), (left, members[left] as u64));
        let alone = part.split((part.rank() == 0).then_some(0), 0)?;
        assert_eq!(
            alone.map(|alone| alone.size()),
            (part.rank() == 0).then_some(1)
        );
        world.barrier()
    });
}
