//! Calls whose time runs out: nothing hangs, nothing is lost that was not on its way, and what follows works.

use std::sync::Barrier;
use std::time::Duration;

use phalanx_runtime::config::Config;
use phalanx_runtime::{ANY_SOURCE, ANY_TAG, Error, Result};

use crate::harness::{content, run, settings, tiny};

const SOON: Duration = Duration::from_millis(2);
/// More than a ring holds, whatever the parts.
const LARGE: usize = 4 << 20;

fn is_timeout<R>(result: Result<R>, what: &str) {
    match result {
        Err(Error::Timeout(timeout)) => {
            let said = timeout.to_string();
            assert!(said.contains(what), "{said} does not name {what}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("there was nothing to wait for"),
    }
}

#[test]
fn a_receive_in_vain_leaves_the_message_to_the_next() {
    for config in [Config::default(), tiny()] {
        run(2, &config, |world| {
            let (peer, hasty) = (1 - world.rank(), world.with_timeout(SOON));
            is_timeout(hasty.recv::<[u8]>(peer, 3), "`[u8]` from rank");
            is_timeout(hasty.recv_into(ANY_SOURCE, 3, &mut [0_u8; 4]), "any rank");
            is_timeout(hasty.probe(peer, ANY_TAG), "tag any");
            is_timeout(hasty.mprobe(peer, 3), "tag 3");
            is_timeout(hasty.irecv::<[u8]>(peer, 3)?.wait(), "in flight");
            is_timeout(
                world.with_timeout(Duration::ZERO).recv::<[u8]>(peer, 3),
                "tag 3",
            );
            world.barrier()?;
            world.send(peer, 3, &[1_u8, 2][..])?;
            assert_eq!(*world.recv::<[u8]>(peer, 3)?, [1, 2]);
            Ok(())
        });
    }
}

#[test]
fn a_send_in_vain_is_taken_back() {
    for config in [Config::default(), tiny()] {
        run(2, &config, |world| {
            if world.rank() == 0 {
                let hasty = world.with_timeout(SOON);
                is_timeout(
                    hasty.ssend(1, 0, &[1_u8][..]),
                    "rank 1 to take `[u8]` with tag 0",
                );
                is_timeout(hasty.ssend(1, 0, &"text".to_owned()), "take");
                is_timeout(hasty.send(1, 0, &vec![0_u8; LARGE][..]), "take");
                let shared = {
                    let mut shared = hasty.shared_vec::<u8>(LARGE)?;
                    shared.resize(LARGE, 1)?;
                    shared
                };
                is_timeout(hasty.send(1, 0, &shared[..]), "take");
                world.send(1, 1, &[7_u8][..])?;
                return world.send(1, 0, &[9_u8][..]);
            }
            assert_eq!(*world.recv::<[u8]>(0, 1)?, [7]);
            assert_eq!(*world.recv::<[u8]>(0, ANY_TAG)?, [9]);
            assert!(world.iprobe(0, ANY_TAG)?.is_none());
            Ok(())
        });
    }
}

#[test]
fn what_is_taken_back_does_not_disturb_what_is_on_its_way() {
    let step = Barrier::new(2);
    run(2, &tiny(), |world| {
        let text = content(1, LARGE);
        if world.rank() == 0 {
            let sent = world.isend(1, 0, text.clone())?;
            step.wait();
            step.wait();
            is_timeout(world.with_timeout(SOON).send(1, 2, &text[..]), "take");
            step.wait();
            assert_eq!(sent.wait()?, text);
            return world.send(1, 3, &[3_u8][..]);
        }
        step.wait();
        let mut first = world.irecv::<[u8]>(0, 0)?;
        assert!(first.test()?.is_none());
        step.wait();
        step.wait();
        assert_eq!(*first.wait()?, text[..]);
        assert_eq!(*world.recv::<[u8]>(0, 3)?, [3]);
        assert!(world.iprobe(0, ANY_TAG)?.is_none());
        Ok(())
    });
}

#[test]
fn a_receiver_is_told_that_the_rest_will_not_come() {
    let (accepted, gone) = (Barrier::new(2), Barrier::new(2));
    run(2, &tiny(), |world| {
        if world.rank() == 0 {
            let text = content(1, LARGE);
            let failed = world.with_timeout(SOON).scope(|scope| {
                drop(scope.isend(1, 0, &text)?);
                accepted.wait();
                Ok(())
            });
            is_timeout(failed, "scope");
            gone.wait();
            return world.send(1, 0, &[3_u8][..]);
        }
        world.probe(0, 0)?;
        let mut first = world.irecv::<[u8]>(0, 0)?;
        assert!(first.test()?.is_none());
        accepted.wait();
        // Looks at nothing while the sender's time runs out in the middle of its stream.
        gone.wait();
        let error = first.wait().unwrap_err();
        assert!(
            matches!(error, Error::Withdrawn { rank: 0, tag: 0 }),
            "{error}"
        );
        assert_eq!(*world.recv::<[u8]>(0, 0)?, [3]);
        Ok(())
    });
}

#[test]
fn a_receive_that_runs_out_of_time_on_its_way_stops_nobody() {
    let step = Barrier::new(2);
    run(2, &tiny(), |world| {
        if world.rank() == 0 {
            let sent = world.isend(1, 0, content(1, LARGE))?;
            step.wait();
            // Does not drive its send until the receiver has given up, twice.
            step.wait();
            assert_eq!(sent.wait()?.len(), LARGE);
            let second = world.isend(1, 0, content(2, LARGE))?;
            assert_eq!(second.wait()?.len(), LARGE);
            return world.send(1, 0, &content(3, LARGE)[..]);
        }
        step.wait();
        is_timeout(
            world
                .with_timeout(SOON)
                .recv_into(0, 0, &mut vec![0_u8; LARGE]),
            "rank 0",
        );
        step.wait();
        let matched = world.mprobe(0, 0)?;
        assert_eq!(*matched.recv::<[u8]>()?, content(2, LARGE)[..]);
        assert_eq!(*world.recv::<[u8]>(0, 0)?, content(3, LARGE)[..]);
        Ok(())
    });
}

#[test]
fn a_matched_message_that_does_not_come_in_time_leaves_nothing_behind() {
    let step = Barrier::new(2);
    run(2, &tiny(), |world| {
        if world.rank() == 0 {
            let sent = world.isend(1, 0, content(1, LARGE))?;
            step.wait();
            step.wait();
            sent.wait()?;
            return world.send(1, 0, &[1_u8][..]);
        }
        step.wait();
        let matched = world.with_timeout(SOON).mprobe(0, 0)?;
        is_timeout(matched.recv::<[u8]>(), "matched message");
        step.wait();
        assert_eq!(*world.recv::<[u8]>(0, 0)?, [1]);
        Ok(())
    });
}

/// Neither a flood nor a trickle of other messages stops the clock.
#[test]
fn time_runs_out_while_others_keep_talking() {
    for policy in ["dedicated", "shared"] {
        run(2, &settings(&[("wait.policy", policy)]), |world| {
            if world.rank() == 0 {
                is_timeout(world.with_timeout(SOON).recv::<[u8]>(1, 0), "tag 0");
                is_timeout(world.with_timeout(SOON).probe(1, 0), "tag 0");
                return world.send(1, 0, &[1_u8][..]);
            }
            while world.iprobe(0, 0)?.is_none() {
                drop(world.isend(0, 1, vec![1_u8])?);
            }
            Ok(())
        });
    }
}
