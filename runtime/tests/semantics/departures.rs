//! Ranks that leave or die: who waits for them is told, everyone else goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;

use phalanx_runtime::config::Config;
use phalanx_runtime::{ANY_SOURCE, ANY_TAG, Error, Result};

use crate::harness::{content, die, run, run_to_death, settings, tiny};

/// More than a ring holds, whatever the parts.
const LARGE: usize = 4 << 20;

fn is_left<R: std::fmt::Debug>(result: Result<R>, rank: usize) {
    match result {
        Err(Error::PeerLeft { rank: who, .. }) if who == rank => {}
        other => panic!("rank {rank} has left, but: {other:?}"),
    }
}

fn is_dead<R: std::fmt::Debug>(result: Result<R>, rank: usize) {
    match result {
        Err(Error::PeerDied { rank: who, .. }) if who == rank => {}
        other => panic!("rank {rank} is dead, but: {other:?}"),
    }
}

#[test]
fn who_waits_for_a_rank_that_leaves_is_told() {
    for config in [Config::default(), tiny()] {
        run(2, &config, |world| {
            if world.rank() == 0 {
                let ssend = world.issend(1, 1, vec![1_u8])?;
                let large = world.isend(1, 2, vec![0_u8; LARGE])?;
                is_left(world.recv::<[u8]>(1, 0), 1);
                is_left(world.recv::<[u8]>(ANY_SOURCE, ANY_TAG), 1);
                is_left(world.probe(1, 0), 1);
                is_left(world.mprobe(ANY_SOURCE, 0).map(|_| ()), 1);
                is_left(ssend.wait(), 1);
                is_left(large.wait(), 1);
                is_left(world.send(1, 0, &vec![0_u8; LARGE][..]), 1);
                is_left(world.ssend(1, 0, &[1_u8][..]), 1);
                is_left(world.loan::<[u8]>(100)?.send(1, 0), 1);
                let failed = world.isend(1, 0, vec![7_u8]).unwrap_err();
                assert_eq!(failed.value, [7]);
                is_left(world.irecv::<[u8]>(1, 0)?.wait(), 1);
            }
            Ok(())
        });
    }
}

#[test]
fn who_waits_for_a_rank_that_dies_is_told() {
    for config in [Config::default(), tiny()] {
        let (posted, pending) = (Barrier::new(2), Barrier::new(2));
        run_to_death(2, &config, |world| {
            if world.rank() == 1 {
                posted.wait();
                pending.wait();
                die();
            }
            let recv = world.irecv::<[u8]>(1, 0)?;
            let any = world.irecv::<[u8]>(ANY_SOURCE, ANY_TAG)?;
            let ssend = world.issend(1, 1, vec![1_u8])?;
            let large = world.isend(1, 2, vec![0_u8; LARGE])?;
            posted.wait();
            pending.wait();
            is_dead(recv.wait(), 1);
            is_dead(any.wait(), 1);
            is_dead(ssend.wait(), 1);
            is_dead(large.wait(), 1);
            is_dead(world.recv::<[u8]>(1, 0), 1);
            is_dead(world.send(1, 0, &vec![0_u8; LARGE][..]), 1);
            is_dead(world.isend(1, 0, vec![1_u8]).map_err(Error::from), 1);
            Ok(())
        });
    }
}

#[test]
fn polling_a_request_tells_that_its_peer_has_gone() {
    run_to_death(3, &Config::default(), |world| {
        match world.rank() {
            2 => die(),
            1 => return Ok(()),
            _ => {}
        }
        for peer in [1, 2] {
            let mut recv = world.irecv::<[u8]>(peer, 0)?;
            let told = loop {
                match recv.test() {
                    Ok(None) => std::thread::yield_now(),
                    Ok(Some(_)) => panic!("nothing was sent"),
                    Err(error) => break error,
                }
            };
            match peer {
                1 => is_left::<()>(Err(told), 1),
                _ => is_dead::<()>(Err(told), 2),
            }
        }
        Ok(())
    });
}

#[test]
fn what_was_sent_before_leaving_is_received() {
    for config in [Config::default(), tiny()] {
        run(3, &config, |world| {
            if world.rank() != 0 {
                // Not taken before this rank leaves: its departure waits for it.
                for (tag, len) in [0, 8, 48, 64, 65, 1000, 20_000].into_iter().enumerate() {
                    drop(world.isend(0, tag as i32, content(tag, len))?);
                }
                drop(world.isend(0, 100, content(100, LARGE))?);
                return Ok(());
            }
            for source in [2, 1] {
                assert_eq!(*world.recv::<[u8]>(source, 100)?, content(100, LARGE)[..]);
                for (tag, len) in [0, 8, 48, 64, 65, 1000, 20_000]
                    .into_iter()
                    .enumerate()
                    .rev()
                {
                    assert_eq!(
                        *world.recv::<[u8]>(source, tag as i32)?,
                        content(tag, len)[..]
                    );
                }
                is_left(world.recv::<[u8]>(source, ANY_TAG), source);
            }
            is_left(world.recv::<[u8]>(ANY_SOURCE, ANY_TAG), 1);
            Ok(())
        });
    }
}

#[test]
fn ranks_that_leave_with_unmatched_sends_to_each_other_do_not_wait() {
    for config in [Config::default(), tiny()] {
        run(3, &config, |world| {
            for peer in (0..3).filter(|&peer| peer != world.rank()) {
                std::mem::forget(world.isend(peer, 0, vec![0_u8; LARGE])?);
                drop(world.isend(peer, 1, vec![0_u8; LARGE])?);
                std::mem::forget(world.issend(peer, 2, vec![0_u8; 10])?);
                std::mem::forget(world.irecv::<[u8]>(peer, 3)?);
            }
            Ok(())
        });
    }
}

#[test]
fn survivors_go_on() {
    run_to_death(4, &tiny(), |world| {
        if world.rank() == 3 {
            die();
        }
        let (left, right) = ((world.rank() + 2) % 3, (world.rank() + 1) % 3);
        is_dead(world.recv::<[u8]>(3, 0), 3);
        for round in 0..20 {
            let sent = world.isend(right, round, content(round as usize, 30_000))?;
            assert_eq!(
                *world.recv::<[u8]>(left, round)?,
                content(round as usize, 30_000)[..]
            );
            sent.wait()?;
        }
        Ok(())
    });
}

#[test]
fn a_send_taken_back_from_a_rank_that_dies_does_not_keep_its_sender() {
    let given_up = Barrier::new(2);
    run_to_death(2, &Config::default(), |world| {
        if world.rank() == 1 {
            // Never looks at what arrives.
            given_up.wait();
            die();
        }
        let hasty = world.with_timeout(std::time::Duration::from_millis(1));
        let error = hasty.send(1, 0, &vec![0_u8; LARGE][..]).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error}");
        given_up.wait();
        is_dead(world.recv::<[u8]>(1, 0), 1);
        Ok(())
    });
}

#[test]
fn a_departure_is_noticed_while_others_keep_talking() {
    run_to_death(3, &Config::default(), |world| {
        match world.rank() {
            0 => {
                is_dead(world.recv::<[u8]>(2, 0), 2);
                world.send(1, 0, &[1_u8][..])
            }
            1 => {
                // Talks without a pause until rank 0 has seen what there is to see.
                while world.iprobe(0, 0)?.is_none() {
                    drop(world.isend(0, 1, vec![1_u8])?);
                }
                Ok(())
            }
            _ => die(),
        }
    });
}

#[test]
fn a_wildcard_concerns_the_members_of_its_communicator_only() {
    let over = Barrier::new(2);
    run(3, &Config::default(), |world| {
        let color = u32::from(world.rank() == 2);
        let part = world
            .split(Some(color), 0)?
            .expect("every rank has a color");
        match world.rank() {
            0 => {
                is_left(part.recv::<[u8]>(ANY_SOURCE, 0), 1);
                over.wait();
            }
            1 => {}
            // Still there, but no member.
            _ => {
                over.wait();
            }
        }
        Ok(())
    });
}

#[test]
fn a_death_elsewhere_does_not_end_a_wildcard_receive() {
    run_to_death(3, &Config::default(), |world| {
        let color = u32::from(world.rank() == 2);
        let part = world
            .split(Some(color), 0)?
            .expect("every rank has a color");
        match world.rank() {
            0 => {
                is_dead(world.recv::<[u8]>(2, 0), 2);
                part.send(1, 0, &[1_u8][..])?;
                assert_eq!(*part.recv::<[u8]>(ANY_SOURCE, 0)?, [2]);
            }
            1 => {
                assert_eq!(*part.recv::<[u8]>(ANY_SOURCE, 0)?, [1]);
                part.send(0, 0, &[2_u8][..])?;
            }
            _ => die(),
        }
        Ok(())
    });
}

/// A receiver that accepts a stream and leaves without reading it takes chunks with it; the sender must have some for others.
#[test]
fn ranks_that_leave_in_the_middle_of_streams_leave_the_sender_able_to_stream() {
    const LEAVERS: usize = 4;
    let config = settings(&[
        ("protocol.chunk_size", "4KiB"),
        ("protocol.chunk_window", "128KiB"),
    ]);
    let step: Vec<Barrier> = (0..=LEAVERS).map(|_| Barrier::new(2)).collect();
    run(LEAVERS + 2, &config, |world| {
        let (rank, listener) = (world.rank(), LEAVERS + 1);
        if rank == 0 {
            for (leaver, step) in step.iter().enumerate().skip(1) {
                let mut sent = world.isend(leaver, 0, vec![0_u8; LARGE])?;
                step.wait();
                // Fills the ring.
                for _ in 0..1000 {
                    assert!(sent.test()?.is_none());
                }
                step.wait();
                is_left(world.recv::<[u8]>(leaver, 0), leaver);
                is_left(sent.wait(), leaver);
            }
            world.send(listener, 0, &content(0, LARGE)[..])
        } else if rank == listener {
            assert_eq!(*world.recv::<[u8]>(0, 0)?, content(0, LARGE)[..]);
            Ok(())
        } else {
            world.probe(0, 0)?;
            let mut received = world.irecv::<[u8]>(0, 0)?;
            assert!(received.test()?.is_none());
            step[rank].wait();
            step[rank].wait();
            Ok(())
        }
    });
}

#[test]
fn a_receiver_in_the_middle_of_a_stream_is_told_that_the_sender_died() {
    let step = Barrier::new(2);
    run_to_death(2, &tiny(), |world| {
        if world.rank() == 1 {
            let mut sent = world.isend(0, 0, vec![0_u8; LARGE])?;
            step.wait();
            step.wait();
            assert!(sent.test()?.is_none());
            die();
        }
        step.wait();
        world.probe(1, 0)?;
        let mut received = world.irecv::<[u8]>(1, 0)?;
        assert!(received.test()?.is_none());
        step.wait();
        is_dead(received.wait(), 1);
        Ok(())
    });
}

#[test]
fn a_rank_that_fails_takes_nobody_down_with_it() {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        run(2, &Config::default(), |world| {
            if world.rank() == 0 {
                return Err(Error::Cancelled);
            }
            is_dead(world.recv::<[u8]>(0, 0), 0);
            Ok(())
        })
    }));
    let panic = ended.expect_err("rank 0 fails");
    let said = panic.downcast_ref::<String>().expect("a message");
    assert!(said.contains("rank 0 failed"), "{said}");
}
