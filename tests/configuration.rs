//! Settings reach the ranks and change what they do.

use phalanx::Error;
use phalanx::config::Origin;
use phalanx_launch::{Ending, Program};

use crate::harness;

/// Runs `ranks` ranks of `program`, all of which have to end well.
fn succeeds(ranks: usize, program: Program) {
    let outcome = harness::run_program(ranks, program);
    assert_eq!(
        outcome.ending,
        Ending::Success,
        "{}",
        harness::told(&outcome)
    );
}

#[test]
fn variables_reach_the_ranks() {
    let program = harness::program(ranks::reads_its_settings)
        .variable("PHALANX_EAGER_LIMIT", "48")
        .variable("PHALANX_PULL_LIMIT", "1GiB")
        .variable("PHALANX_CHUNK_SIZE", "4KiB")
        .variable("PHALANX_CHUNK_WINDOW", "64KiB")
        .variable("PHALANX_UNEXPECTED_LIMIT", "64KiB")
        .variable("PHALANX_WAIT", "shared")
        .variable("PHALANX_SPIN", "0ns");
    succeeds(2, program);
}

#[test]
fn a_pool_stays_within_its_limit() {
    let program = harness::program(ranks::asks_for_too_much).variable("PHALANX_POOL_LIMIT", "1MiB");
    succeeds(1, program);
}

#[test]
fn a_wrong_variable_is_an_error_of_init() {
    let program = harness::program(ranks::cannot_join).variable("PHALANX_EAGER_LIMT", "1KiB");
    succeeds(1, program);
}

#[test]
fn unexpected_messages_are_bounded_and_none_is_lost() {
    let program = harness::program(ranks::floods).variable("PHALANX_UNEXPECTED_LIMIT", "64KiB");
    succeeds(2, program);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn reads_its_settings() {
        harness::rank(|world| {
            let config = world.config();
            assert_eq!(config.protocol().eager_limit, 48);
            assert_eq!(config.protocol().chunk_window, 64 << 10);
            let origin = Origin::Variable("PHALANX_EAGER_LIMIT");
            assert_eq!(config.origin("protocol.eager_limit"), Some(&origin));
            // The extremes work.
            let peer = 1 - world.rank();
            for len in [1, 48, 49, 5_000, 1_000_000] {
                let mut shared = world.shared_vec::<u8>(len)?;
                shared.resize(len, world.rank() as u8)?;
                let mut got = vec![9; len];
                world.sendrecv((peer, 0), &shared[..], (peer, 0), &mut got)?;
                assert_eq!(got, vec![peer as u8; len]);
            }
            Ok(())
        });
    }

    #[test]
    pub(super) fn asks_for_too_much() {
        harness::rank(|world| {
            let error = world.loan::<[u8]>(2 << 20).unwrap_err();
            assert!(matches!(error, Error::Link(_)), "{error:?}");
            assert!(error.to_string().contains("PHALANX_POOL_LIMIT"), "{error}");
            world.loan::<[u8]>(1000).map(drop)
        });
    }

    #[test]
    pub(super) fn cannot_join() {
        if harness::is_rank() {
            let error = phalanx::init().unwrap_err();
            assert!(matches!(error, Error::Config(_)), "{error:?}");
            assert!(
                error
                    .to_string()
                    .contains("did you mean PHALANX_EAGER_LIMIT?"),
                "{error}"
            );
        }
    }

    /// Rank 0 sends 8 MiB that rank 1 looks at only after a message that was sent last.
    #[test]
    pub(super) fn floods() {
        harness::rank(|world| {
            const COUNT: u64 = 2_000;
            if world.rank() == 1 {
                assert_eq!(*world.recv::<[u8]>(0, 1)?, [1]);
                for number in 0..COUNT {
                    assert_eq!(world.recv::<[u64]>(0, 0)?[0], number);
                }
                return Ok(());
            }
            let requests: Result<Vec<_>, _> = (0..COUNT)
                .map(|number| world.isend(1, 0, vec![number; 512]))
                .collect();
            world.send(1, 1, &[1_u8][..])?;
            phalanx::wait_all(requests?).map(drop)
        });
    }
}
