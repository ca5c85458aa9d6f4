//! Ranks that go: killed, failing, or early. Who waits for them is told, and the launcher reports it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use phalanx::{ANY_SOURCE, Death, Error, World};
use phalanx_launch::{Ending, Exit};

use crate::harness;

#[test]
fn survivors_learn_by_which_signal_a_rank_died() {
    let outcome = harness::run_program(3, harness::stubborn_program(ranks::one_is_killed));
    let told = harness::told(&outcome);
    let exits = [Exit::Code(0), Exit::Signal(9), Exit::Code(0)];
    assert_eq!(harness::exits(&outcome), exits, "{told}");
    let (rank, exit) = (1, Exit::Signal(9));
    assert_eq!(outcome.ending, Ending::RankFailed { rank, exit }, "{told}");
}

#[test]
fn the_launcher_ends_the_others_and_names_the_one_that_died() {
    let outcome = harness::run(3, ranks::the_others_wait_for_ever);
    let told = harness::told(&outcome);
    let exits = [Exit::Signal(15), Exit::Signal(9), Exit::Signal(15)];
    assert_eq!(harness::exits(&outcome), exits, "{told}");
    let pid = outcome.ranks[1].pid;
    let notice = format!("rank 1 (pid {pid}) was killed by signal 9 (SIGKILL)");
    assert_eq!(outcome.notices, [notice]);
}

#[test]
fn survivors_learn_that_a_rank_panicked() {
    let outcome = harness::run_program(2, harness::stubborn_program(ranks::one_panics));
    let exits = [Exit::Code(0), Exit::Code(101)];
    assert_eq!(
        harness::exits(&outcome),
        exits,
        "{}",
        harness::told(&outcome)
    );
}

#[test]
fn who_waits_for_a_rank_that_has_left_is_told() {
    harness::succeed(3, ranks::one_leaves);
}

#[test]
fn what_a_rank_sent_before_it_left_is_there() {
    harness::succeed(2, ranks::sends_and_leaves);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn one_is_killed() {
        harness::rank(|world| {
            // All have met before one dies, in the middle of what the others want of it.
            world.barrier()?;
            if world.rank() == 1 {
                die(world);
            }
            let received = world.recv::<[u8]>(1, 0).unwrap_err();
            assert_killed(&received);
            let sent = world.ssend(1, 0, &[0_u8][..]).unwrap_err();
            assert_killed(&sent);
            let large = world.send(1, 0, &vec![0_u8; 1 << 20][..]).unwrap_err();
            assert_killed(&large);
            // Survivors go on among themselves.
            let other = 2 - world.rank();
            let mut got = [0_u8];
            world.sendrecv((other, 1), &[7_u8][..], (other, 1), &mut got)?;
            assert_eq!(got, [7]);
            Ok(())
        });
    }

    #[test]
    pub(super) fn the_others_wait_for_ever() {
        harness::rank(|world| {
            world.barrier()?;
            if world.rank() == 1 {
                die(world);
            }
            // Of each other, so that only the launcher ends it.
            world.recv::<[u8]>(2 - world.rank(), 0)?;
            Ok(())
        });
    }

    #[test]
    pub(super) fn one_panics() {
        harness::rank(|world| {
            world.barrier()?;
            assert_eq!(world.rank(), 0, "rank 1 panics, as it should");
            match world.recv::<[u8]>(1, 0) {
                Err(Error::PeerDied {
                    rank: 1,
                    how: Death::Exit(101),
                    ..
                }) => Ok(()),
                other => panic!("{other:?}"),
            }
        });
    }

    #[test]
    pub(super) fn one_leaves() {
        harness::rank(|world| {
            if world.rank() == 1 {
                return Ok(());
            }
            let received = world.recv::<[u8]>(1, 0).unwrap_err();
            assert!(
                matches!(received, Error::PeerLeft { rank: 1, .. }),
                "{received}"
            );
            let sent = world.ssend(1, 0, &[0_u8][..]).unwrap_err();
            assert!(matches!(sent, Error::PeerLeft { rank: 1, .. }), "{sent}");
            // One that may come from another is still waited for.
            world.send(2 - world.rank(), 3, &[1_u8][..])?;
            assert_eq!(*world.recv::<[u8]>(ANY_SOURCE, 3)?, [1]);
            Ok(())
        });
    }

    #[test]
    pub(super) fn sends_and_leaves() {
        harness::rank(|world| {
            let sizes = [0, 40, 1000, 100_000];
            if world.rank() == 1 {
                return sizes
                    .iter()
                    .try_for_each(|&size| world.send(0, 0, &vec![6_u8; size][..]));
            }
            for size in sizes {
                assert_eq!(*world.recv::<[u8]>(1, 0)?, vec![6; size]);
            }
            Ok(())
        });
    }
}

fn die(world: &World) -> ! {
    kill(getpid(), Signal::SIGKILL).unwrap();
    unreachable!("rank {} has been killed", world.rank());
}

fn assert_killed(error: &Error) {
    let is_named = matches!(
        error,
        Error::PeerDied {
            rank: 1,
            how: Death::Signal(9),
            ..
        }
    );
    assert!(is_named && error.to_string().contains("SIGKILL"), "{error}");
}
