//! Whatever is dropped or forgotten, at whatever stage: nothing hangs, later messages arrive, no rank is kept from leaving.

use std::mem::forget;
use std::sync::Barrier;

use phalanx_runtime::Result;
use phalanx_runtime::config::Config;
use phalanx_runtime::{ANY_TAG, World};

use crate::harness::{content, run, tiny};

const SIZES: [usize; 4] = [8, 60, 5000, 300_000];

/// Gives something up in one of two ways.
fn give_up<T>(thing: T, by_forgetting: bool) {
    if by_forgetting {
        forget(thing);
    } else {
        drop(thing);
    }
}

/// Runs `rank` with both ways and all sizes, and checks afterwards that messages of any size still pass.
fn try_all(rank: impl Fn(&World, usize, bool) -> Result<()> + Sync) {
    for config in [Config::default(), tiny()] {
        for (len, by_forgetting) in SIZES.iter().flat_map(|&len| [(len, false), (len, true)]) {
            run(2, &config, |world| {
                rank(world, len, by_forgetting)?;
                world.barrier()?;
                let (peer, mine) = (1 - world.rank(), content(world.rank(), 200_000));
                let mut theirs = vec![0_u8; 200_000];
                world.sendrecv((peer, 99), &mine[..], (peer, 99), &mut theirs)?;
                assert_eq!(theirs, content(peer, 200_000));
                Ok(())
            });
        }
    }
}

#[test]
fn sends_run_to_their_end() {
    try_all(|world, len, by_forgetting| {
        let peer = 1 - world.rank();
        give_up(world.isend(peer, 0, content(0, len))?, by_forgetting);
        give_up(world.issend(peer, 1, content(1, len))?, by_forgetting);
        give_up(world.isend(peer, 2, "x".repeat(len))?, by_forgetting);
        give_up(world.loan::<[u8]>(len)?.isend(peer, 3)?, by_forgetting);
        let mut shared = world.shared_vec::<u8>(len)?;
        shared.resize(len, 4)?;
        give_up(world.isend(peer, 4, shared)?, by_forgetting);
        assert_eq!(world.recv::<[u8]>(peer, 4)?.len(), len);
        assert_eq!(world.recv::<[u8]>(peer, 3)?.len(), len);
        assert_eq!(world.recv::<String>(peer, 2)?.len(), len);
        assert_eq!(*world.recv::<[u8]>(peer, 1)?, content(1, len)[..]);
        assert_eq!(*world.recv::<[u8]>(peer, 0)?, content(0, len)[..]);
        Ok(())
    });
}

#[test]
fn receives_that_match_nothing() {
    try_all(|world, len, by_forgetting| {
        let peer = 1 - world.rank();
        give_up(world.irecv::<[u8]>(peer, 0)?, by_forgetting);
        world.barrier()?;
        world.send(peer, 1, &vec![1_u8; len.min(60)][..])?;
        assert_eq!(world.recv::<[u8]>(peer, 1)?.len(), len.min(60));
        Ok(())
    });
}

#[test]
fn receives_on_their_way() {
    let step = Barrier::new(2);
    try_all(|world, len, by_forgetting| {
        if world.rank() == 0 {
            let sent = world.isend(1, 0, content(0, len))?;
            step.wait();
            step.wait();
            sent.wait()?;
            return world.send(1, 1, &[1_u8][..]);
        }
        step.wait();
        world.probe(0, 0)?;
        let mut got = world.irecv::<[u8]>(0, 0)?;
        // A small one is here by now, a large one has been asked for.
        let arrived = got.test()?;
        give_up((got, arrived), by_forgetting);
        step.wait();
        assert_eq!(*world.recv::<[u8]>(0, ANY_TAG)?, [1]);
        Ok(())
    });
}

#[test]
fn receives_that_nobody_asked_for_again() {
    try_all(|world, len, by_forgetting| {
        if world.rank() == 0 {
            return world
                .barrier()
                .and_then(|()| world.send(1, 0, &content(0, len)[..]));
        }
        let got = world.irecv::<[u8]>(0, 0)?;
        world.barrier()?;
        if by_forgetting {
            forget(got);
        } else {
            assert_eq!(*got.wait()?, content(0, len)[..]);
        }
        Ok(())
    });
}

#[test]
fn matched_messages() {
    try_all(|world, len, by_forgetting| {
        if world.rank() == 0 {
            forget(world.isend(1, 0, content(0, len))?);
            return world.send(1, 1, &[1_u8][..]);
        }
        give_up(world.mprobe(0, 0)?, by_forgetting);
        assert_eq!(*world.recv::<[u8]>(0, 1)?, [1]);
        if by_forgetting {
            assert!(world.iprobe(0, 0)?.is_none());
        } else {
            assert_eq!(*world.recv::<[u8]>(0, 0)?, content(0, len)[..]);
        }
        Ok(())
    });
}

#[test]
fn loans_and_vectors() {
    try_all(|world, len, by_forgetting| {
        let peer = 1 - world.rank();
        give_up(world.loan::<[u8]>(len)?, by_forgetting);
        give_up(world.shared_vec::<u8>(len)?, by_forgetting);
        world.loan::<[u8]>(len)?.send(peer, 0)?;
        give_up(world.recv::<[u8]>(peer, 0)?, by_forgetting);
        Ok(())
    });
}

#[test]
fn more_than_the_rings_hold() {
    try_all(|world, len, by_forgetting| {
        let peer = 1 - world.rank();
        for tag in 0..100 {
            give_up(
                world.isend(peer, tag, vec![1_u8; len.min(5000)])?,
                by_forgetting,
            );
        }
        for tag in (0..100).rev() {
            give_up(world.recv::<[u8]>(peer, tag)?, by_forgetting);
        }
        Ok(())
    });
}

#[test]
fn messages_outlive_the_world_they_came_from() {
    let received = run(2, &tiny(), |world| {
        let peer = 1 - world.rank();
        let sent = world.isend(peer, 0, content(0, 60))?;
        world.loan::<[u8]>(5000)?.send(peer, 1)?;
        let got = (world.recv::<[u8]>(peer, 0)?, world.recv::<[u8]>(peer, 1)?);
        sent.wait()?;
        let clone = world.duplicate()?;
        Ok((got, clone))
    });
    for ((small, loan), communicator) in received {
        assert_eq!(*small, content(0, 60)[..]);
        assert_eq!(loan.len(), 5000);
        let peer = 1 - communicator.rank();
        let error = communicator
            .send(peer, 0, &vec![0_u8; 100_000][..])
            .unwrap_err();
        let said = format!("rank {} has left its job", communicator.rank());
        assert!(error.to_string().starts_with(&said), "{error}");
    }
}
