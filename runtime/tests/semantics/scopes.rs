//! Operations on borrowed buffers: over when the scope is, on every way out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;

use phalanx_runtime::config::Config;
use phalanx_runtime::{Error, Request, Result, Status};

use crate::harness::{content, die, run, run_to_death, tiny};

/// More than a ring holds, whatever the parts.
const LARGE: usize = 4 << 20;

#[test]
fn a_scope_completes_what_it_began() {
    for config in [Config::default(), tiny()] {
        run(2, &config, |world| {
            let peer = 1 - world.rank();
            for len in [0, 8, 48, 64, 65, 20_000, 300_000] {
                let (mine, mut theirs) = (content(len, len), vec![0_u8; len + 1]);
                world.scope(|scope| {
                    std::mem::forget(scope.irecv_into(peer, 0, &mut theirs)?);
                    drop(scope.isend(peer, 0, &mine)?);
                    Ok(())
                })?;
                assert_eq!(theirs[..len], mine);
                assert_eq!(theirs[len], 0);
            }
            Ok(())
        });
    }
}

/// Leaves the scope by an error or a panic while a send waits for a receiver and a receive for a sender, in each stage.
fn leave_early(by_panic: bool, forget: bool) {
    for config in [Config::default(), tiny()] {
        for len in [10, 1000, LARGE] {
            run(2, &config, |world| {
                let peer = 1 - world.rank();
                let (mine, mut theirs) = (vec![1_u8; len], vec![5_u8; len]);
                let left: std::thread::Result<Result<()>> = catch_unwind(AssertUnwindSafe(|| {
                    world.scope(|scope| {
                        let got = scope.irecv_into(peer, 1, &mut theirs)?;
                        let sent = scope.isend(peer, 2, &mine)?;
                        if forget {
                            std::mem::forget((got, sent));
                        }
                        if by_panic {
                            die();
                        }
                        Err(Error::Cancelled)
                    })
                }));
                assert_eq!(left.is_err(), by_panic);
                world.barrier()?;
                // Nothing is left that could take this message or write into the old buffer.
                let mut fresh = vec![0_u8; len];
                world.sendrecv((peer, 1), &vec![9_u8; len][..], (peer, 1), &mut fresh)?;
                assert_eq!((fresh[0], fresh[len - 1]), (9, 9));
                assert_eq!(theirs, vec![5; len]);
                Ok(())
            });
        }
    }
}

#[test]
fn a_scope_left_by_an_error_leaves_nothing_behind() {
    leave_early(false, false);
    leave_early(false, true);
}

#[test]
fn a_scope_left_by_a_panic_leaves_nothing_behind() {
    leave_early(true, false);
    leave_early(true, true);
}

#[test]
fn a_scope_left_in_the_middle_of_a_stream_does_not_touch_its_buffers_again() {
    let step = Barrier::new(2);
    run(2, &tiny(), |world| {
        if world.rank() == 0 {
            let sent = world.isend(1, 0, content(1, LARGE))?;
            step.wait();
            step.wait();
            assert_eq!(sent.wait()?.len(), LARGE);
            return world.send(1, 1, &[1_u8][..]);
        }
        let mut buffer = vec![0_u8; LARGE];
        step.wait();
        let left: Result<()> = world.scope(|scope| {
            let mut got = scope.irecv_into(0, 0, &mut buffer)?;
            assert!(got.test()?.is_none());
            Err(Error::Cancelled)
        });
        assert!(matches!(left, Err(Error::Cancelled)));
        let seen = buffer.clone();
        step.wait();
        world.recv::<[u8]>(0, 1)?;
        assert!(buffer == seen, "the buffer was written after its scope");
        Ok(())
    });
}

#[test]
fn a_request_that_outlives_its_scope_finds_nothing() {
    run(1, &tiny(), |world| {
        let (mine, mut theirs) = ([7_u8; 100], [0_u8; 100]);
        let escaped: Request<Status> = world.scope(|scope| {
            let got = scope.irecv_into(0, 0, &mut theirs)?;
            scope.isend(0, 0, &mine)?.wait()?;
            Ok(got)
        })?;
        assert_eq!(theirs, mine);
        assert!(matches!(escaped.wait(), Err(Error::Cancelled)));
        Ok(())
    });
}

#[test]
fn a_scope_tells_what_nobody_waited_for() {
    run(2, &tiny(), |world| {
        let peer = 1 - world.rank();
        let mut short = [0_u8; 10];
        let result = world.scope(|scope| {
            scope.irecv_into(peer, 0, &mut short).map(drop)?;
            world.send(peer, 0, &[1_u8; 20][..])
        });
        assert!(matches!(result, Err(Error::Truncated(_))));
        assert_eq!(world.recv::<[u8]>(peer, 0)?.len(), 20);
        Ok(())
    });
}

#[test]
fn a_scope_ends_when_the_peer_dies() {
    run_to_death(2, &tiny(), |world| {
        if world.rank() == 1 {
            die();
        }
        let (mine, mut theirs) = (vec![1_u8; LARGE], vec![0_u8; LARGE]);
        let result = world.scope(|scope| {
            scope.irecv_into(1, 0, &mut theirs).map(drop)?;
            scope.isend(1, 0, &mine).map(drop)
        });
        assert!(matches!(result, Err(Error::PeerDied { rank: 1, .. })));
        Ok(())
    });
}
