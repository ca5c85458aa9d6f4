//! Which message a receive gets: wildcards, and the order that they keep.

use phalanx::{ANY_SOURCE, ANY_TAG, Result};

use crate::harness;

const ROUNDS: u64 = 300;

#[test]
fn messages_of_one_sender_do_not_overtake_each_other_whatever_their_sizes() {
    harness::succeed(4, ranks::senders_count);
}

#[test]
fn a_tag_picks_its_messages_and_leaves_the_others_in_order() {
    harness::succeed(2, ranks::tags_pick);
}

#[test]
fn communicators_do_not_see_each_others_messages() {
    harness::succeed(4, ranks::communicators);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn senders_count() {
        harness::rank(|world| {
            if world.rank() > 0 {
                return (0..ROUNDS).try_for_each(|round| {
                    // Inline, eager and chunked in turn; the first word counts.
                    let mut words = vec![0; [1, 100, 10_000][round as usize % 3]];
                    words[0] = round;
                    world.send(0, round as i32 % 2, &words[..])
                });
            }
            let mut next = vec![0; world.size()];
            for _ in 0..ROUNDS * (world.size() as u64 - 1) {
                let got = world.recv::<[u64]>(ANY_SOURCE, ANY_TAG)?;
                assert_eq!(got[0], next[got.source()], "of rank {}", got.source());
                assert_eq!(got.tag() as u64, got[0] % 2);
                next[got.source()] += 1;
            }
            assert_eq!(next[1..], [ROUNDS; 3]);
            Ok(())
        });
    }

    #[test]
    pub(super) fn tags_pick() {
        harness::rank(|world| {
            if world.rank() == 0 {
                for round in 0..ROUNDS {
                    world.send(1, round as i32 % 3, &[round][..])?;
                }
                return Ok(());
            }
            let get = |tag: i32| -> Result<u64> { Ok(world.recv::<[u64]>(0, tag)?[0]) };
            for round in 0..ROUNDS / 3 {
                assert_eq!(get(2)?, 3 * round + 2);
            }
            for round in 0..2 * ROUNDS / 3 {
                let got = world.recv::<[u64]>(ANY_SOURCE, ANY_TAG)?;
                assert_eq!(got[0], round / 2 * 3 + round % 2);
            }
            Ok(())
        });
    }

    #[test]
    pub(super) fn communicators() {
        harness::rank(|world| {
            let me = world.rank();
            let twin = world.duplicate()?;
            let half = world.split(Some(me as u32 % 2), -(me as i32))?.unwrap();
            assert_eq!((half.size(), half.rank()), (2, usize::from(me < 2)));
            let (right, left) = ((me + 1) % 4, (me + 3) % 4);
            world.send(right, 0, &[1_u8][..])?;
            twin.send(right, 0, &[2_u8][..])?;
            half.send(1 - half.rank(), 0, &[me as u8][..])?;
            assert_eq!(
                *half.recv::<[u8]>(ANY_SOURCE, ANY_TAG)?,
                [(me as u8 + 2) % 4]
            );
            assert_eq!(*twin.recv::<[u8]>(left, ANY_TAG)?, [2]);
            assert_eq!(*world.recv::<[u8]>(left, ANY_TAG)?, [1]);
            Ok(())
        });
    }
}
