//! More ranks than cores.

use phalanx::{ANY_SOURCE, wait_all};

use crate::harness;

#[test]
fn sixteen_ranks_all_send_to_all() {
    harness::succeed(16, ranks::all_to_all);
}

#[test]
fn sixty_four_ranks_meet_and_pass_a_token_round() {
    harness::succeed(64, ranks::token);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn all_to_all() {
        harness::rank(|world| {
            let (me, size) = (world.rank(), world.size());
            for len in [1, 1_000, 20_000] {
                let requests: Result<Vec<_>, _> = (0..size)
                    .map(|to| world.isend(to, 0, vec![(me * size + to) as u64; len]))
                    .collect();
                for from in 0..size {
                    let got = world.recv::<[u64]>(from, 0)?;
                    assert_eq!(*got, vec![(from * size + me) as u64; len]);
                }
                wait_all(requests?)?;
            }
            Ok(())
        });
    }

    #[test]
    pub(super) fn token() {
        harness::rank(|world| {
            let (me, size) = (world.rank(), world.size());
            for round in 0..3 {
                world.barrier()?;
                let mut token = round;
                if me > 0 {
                    token = world.recv::<[usize]>(me - 1, 1)?[0];
                }
                world.send((me + 1) % size, 1, &[token + 1][..])?;
                if me == 0 {
                    let got = world.recv::<[usize]>(ANY_SOURCE, 1)?;
                    assert_eq!((got.source(), got[0]), (size - 1, round + size));
                }
            }
            Ok(())
        });
    }
}
