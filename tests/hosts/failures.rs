//! Hosts that cannot be reached, hosts that are cut off, ranks that die elsewhere: whoever needs them is told, and nothing hangs.

#![expect(
    clippy::print_stdout,
    reason = "what a rank says is read by the test that started it"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use phalanx::{Error, Result, World};

use super::exchange::{self, greet};
use super::forwarder::Faults;
use super::job::{Job, Rank};
use super::network::{Family, Network};
use crate::harness;

#[test]
fn where_udp_does_not_pass_it_is_said_which_address_was_tried() {
    let faults = Faults {
        blocks_udp: true,
        ..Faults::default()
    };
    let network = Network::faulty(1500, Family::V4, faults);
    let job = Job::new(&network, &[0, 1], ranks::one_is_behind_a_wall).set(DIAL_DEADLINE, "1s");
    let said = &job.succeed()[1];
    let tried = format!("rank 0 at {}:", network.address(0));
    assert!(said.contains(&tried), "{tried} is not in: {said}");
    assert!(network.forwarder().count(|counts| &counts.blocked) > 0);
}

#[test]
fn a_host_that_is_cut_off_becomes_unreachable_and_the_others_go_on() {
    let network = Network::switched(3, 1500, Family::V4);
    let job = Job::new(&network, &[0, 1, 2], ranks::one_is_cut_off).set(IDLE_TIMEOUT, "1s");
    let ranks = met(job.start());
    network.cut(2);
    for rank in ranks {
        let end = rank.finish();
        assert!(end.status.success(), "{}", end.told());
    }
}

#[test]
fn a_rank_that_is_killed_is_known_to_be_dead_on_all_hosts() {
    let network = Network::switched(3, 1500, Family::V4);
    let places = [0, 0, 1, 1, 2, 2];
    // Nobody learns it by silence.
    let job = Job::new(&network, &places, ranks::the_last_is_killed).set(IDLE_TIMEOUT, "86400s");
    let mut ranks = met(job.start());
    ranks.pop().unwrap().kill();
    for rank in ranks {
        let end = rank.finish();
        assert!(end.status.success(), "{}", end.told());
    }
}

#[test]
fn when_the_rank_that_keeps_the_rendezvous_is_killed_nobody_hangs() {
    let network = Network::switched(2, 1500, Family::V4);
    let job = Job::new(&network, &[0, 1, 1], ranks::the_first_is_killed).set(IDLE_TIMEOUT, "1s");
    let mut ranks = met(job.start());
    ranks.remove(0).kill();
    for rank in ranks {
        let end = rank.finish();
        assert!(end.status.success(), "{}", end.told());
    }
}

#[test]
fn a_rank_that_computes_for_long_keeps_its_connections() {
    let network = Network::switched(2, 1500, Family::V6);
    let job = Job::new(&network, &[0, 1, 1], ranks::one_computes).set(IDLE_TIMEOUT, "1s");
    job.succeed();
}

/// Waits until all ranks have met.
fn met(mut ranks: Vec<Rank>) -> Vec<Rank> {
    for rank in &mut ranks {
        rank.await_line(MET);
    }
    ranks
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn one_is_behind_a_wall() {
        harness::rank(|world| {
            if world.rank() == 1 {
                assert_unreachable(&world.ssend(0, 0, &[1_u8][..]).unwrap_err(), 0);
                assert_unreachable(&world.recv::<[u8]>(0, 0).unwrap_err(), 0);
                return Ok(());
            }
            // It asks for nothing that would have to go out, and learns by the wire-up that rank 1 has given up.
            let error = world.recv::<[u8]>(1, 0).unwrap_err();
            assert!(matches!(error, Error::PeerLeft { rank: 1, .. }), "{error}");
            Ok(())
        });
    }

    #[test]
    pub(super) fn one_is_cut_off() {
        harness::rank(|world| {
            meet(world)?;
            if world.rank() == 2 {
                for peer in 0..2 {
                    assert_unreachable(&world.recv::<[u8]>(peer, 0).unwrap_err(), peer);
                }
                return Ok(());
            }
            assert_unreachable(&world.recv::<[u8]>(2, 0).unwrap_err(), 2);
            assert_unreachable(&world.send(2, 0, &[0_u8][..]).unwrap_err(), 2);
            greet(world, 1 - world.rank())
        });
    }

    #[test]
    pub(super) fn the_last_is_killed() {
        harness::rank(|world| {
            let last = world.size() - 1;
            meet(world)?;
            let error = world.recv::<[u8]>(last, 0).unwrap_err();
            let is_it = matches!(error, Error::PeerDied { rank, .. } if rank == last);
            assert!(is_it, "{error}");
            if world.rank() == last {
                return Ok(());
            }
            // In a ring of the others.
            let (me, others) = (world.rank(), last);
            let (right, left) = ((me + 1) % others, (me + others - 1) % others);
            let mut got = [0];
            world.sendrecv((right, 1), &[me][..], (left, 1), &mut got)?;
            assert_eq!(got, [left]);
            Ok(())
        });
    }

    #[test]
    pub(super) fn the_first_is_killed() {
        harness::rank(|world| {
            meet(world)?;
            let error = world.recv::<[u8]>(0, 0).unwrap_err();
            let is_it = matches!(
                error,
                Error::PeerDied { rank: 0, .. } | Error::PeerUnreachable { rank: 0, .. }
            );
            assert!(is_it, "{error}");
            greet(world, 3 - world.rank())
        });
    }

    #[test]
    pub(super) fn one_computes() {
        harness::rank(|world| {
            meet(world)?;
            if world.rank() == 1 {
                let end = Instant::now() + Duration::from_secs(3);
                let mut sum = 0_u64;
                while Instant::now() < end {
                    sum = black_box(sum.wrapping_mul(3) + 1);
                }
            }
            // Two ranks have waited for it all the time, one on its host and one elsewhere.
            exchange::all_greet(world)
        });
    }
}

/// Every rank talks to every other, and says that it has.
fn meet(world: &World) -> Result<()> {
    exchange::all_greet(world)?;
    world.barrier()?;
    println!("{MET}");
    Ok(())
}

fn assert_unreachable(error: &Error, peer: usize) {
    let is_it = matches!(error, Error::PeerUnreachable { rank, .. } if *rank == peer);
    assert!(is_it, "{error}");
    println!("{error}");
}

const MET: &str = "all have met";
const IDLE_TIMEOUT: &str = "PHALANX_IDLE_TIMEOUT";
const DIAL_DEADLINE: &str = "PHALANX_DIAL_DEADLINE";
