//! Putting, fences and fetching while all goes well.

use std::task::Poll;

use phalanx_wireup::exchange::{
    Agent, AgentEvent, Card, Failure, Member, Misuse, RankSet, Scope, Shape, Tree, Who,
};
use proptest::prelude::*;

use crate::simulation::{Simulation, card};

#[test]
fn every_rank_learns_of_every_rank() {
    let mut job = Simulation::new(5, 3, 2);
    job.put_all();
    job.settle();
    for rank in &mut job.ranks {
        assert_eq!(rank.poll_fence(Scope::Job), Poll::Ready(Ok(())));
        (0..15).for_each(|of| rank.start_get(of).unwrap());
    }
    job.settle();
    for rank in &job.ranks {
        for of in 0..15 {
            assert_eq!(
                rank.poll_get(of).map(Result::unwrap),
                Poll::Ready(card(of).into())
            );
        }
    }
    assert_eq!(job.root.poll_event(), Some(AgentEvent::Passed(Scope::Job)));
}

#[test]
fn a_rank_is_told_the_ranks_of_its_host() {
    let mut job = Simulation::new(2, 3, 2);
    assert_eq!(job.ranks[4].host_ranks(), None);
    job.settle();
    assert_eq!(job.ranks[4].host_ranks(), Some(&RankSet::from(3..6)));
}

#[test]
fn a_card_that_is_fetched_before_it_is_put_comes_when_it_is_put() {
    let mut job = Simulation::new(3, 1, 1);
    job.ranks[0].start_get(2).unwrap();
    job.ranks[2].start_get(2).unwrap();
    job.settle();
    assert_eq!(job.ranks[0].poll_get(2), Poll::Pending);
    job.ranks[2].put(card(2)).unwrap();
    job.settle();
    for rank in [0, 2] {
        assert_eq!(
            job.ranks[rank].poll_get(2).map(Result::unwrap),
            Poll::Ready(card(2).into())
        );
    }
}

#[test]
fn a_fence_of_the_job_waits_for_the_last_rank() {
    let mut job = Simulation::new(3, 2, 1);
    for rank in 0..5 {
        job.ranks[rank].put(card(0)).unwrap();
        job.ranks[rank].start_fence(Scope::Job).unwrap();
    }
    job.settle();
    assert!(
        job.ranks[..5]
            .iter()
            .all(|rank| rank.poll_fence(Scope::Job).is_pending())
    );
    job.ranks[5].put(card(5)).unwrap();
    job.ranks[5].start_fence(Scope::Job).unwrap();
    job.settle();
    assert!(
        job.ranks
            .iter()
            .all(|rank| rank.poll_fence(Scope::Job).is_ready())
    );
}

#[test]
fn a_fence_of_one_host_does_not_wait_for_another() {
    let mut job = Simulation::new(2, 2, 2);
    for rank in 0..2 {
        job.ranks[rank].put(card(0)).unwrap();
        job.ranks[rank].start_fence(Scope::Host).unwrap();
    }
    job.settle();
    for rank in 0..2 {
        assert_eq!(job.ranks[rank].poll_fence(Scope::Host), Poll::Ready(Ok(())));
    }
}

#[test]
fn a_card_crosses_each_edge_once_however_many_ask_for_it() {
    let mut job = Simulation::new(2, 8, 2);
    job.put_all();
    job.settle();
    let before = job.traffic.frames;
    for rank in 8..16 {
        job.ranks[rank].start_get(0).unwrap();
    }
    job.settle();
    // Eight requests and answers at the ranks, one of each above them.
    assert_eq!(job.traffic.frames - before, 2 * 8 + 2);
    let before = job.traffic.frames;
    job.ranks[8].start_get(0).unwrap();
    job.settle();
    assert_eq!(job.traffic.frames, before);
}

#[test]
fn ranks_without_agents_meet_at_the_root() {
    let root = Agent::root(Shape::new(4).with_ranks(0..4)).unwrap();
    let mut job = Simulation::with(root, Vec::new(), vec![Who::Root; 4]);
    job.put_all();
    job.settle();
    assert!(
        job.ranks
            .iter()
            .all(|rank| rank.poll_fence(Scope::Job) == Poll::Ready(Ok(())))
    );
}

#[test]
fn ranks_may_be_dealt_to_the_hosts_in_turn() {
    let hosts = (0_u32..3).map(|host| (0..12).filter(|rank| rank % 3 == host).collect());
    let tree = Tree::new(hosts.collect(), 1);
    let agents = (0..3).map(|host| tree.agent(host).unwrap()).collect();
    let parents = (0..12).map(|rank| Who::Agent(rank % 3)).collect();
    let mut job = Simulation::with(tree.root().unwrap(), agents, parents);
    job.put_all();
    job.settle();
    assert!(
        job.ranks
            .iter()
            .all(|rank| rank.poll_fence(Scope::Job) == Poll::Ready(Ok(())))
    );
    assert_eq!(
        job.ranks[4].host_ranks().unwrap().to_string(),
        "ranks 1, 4, 7 and 10"
    );
}

#[test]
fn a_program_that_cannot_be_talked_to_is_told_apart() {
    let mut job = Simulation::new(1, 2, 1);
    let mut other = card(1);
    other.build.word_bits = 32;
    job.ranks[0].put(card(0)).unwrap();
    job.ranks[1].put(other).unwrap();
    job.ranks[0].start_get(1).unwrap();
    job.settle();
    let Poll::Ready(Err(error)) = job.ranks[0].poll_get(1) else {
        panic!("a 32-bit program was accepted");
    };
    let text = error.to_string();
    assert!(
        text.contains("rank 1 on host node0") && text.contains("32 bits"),
        "{text}"
    );
}

#[test]
fn what_a_caller_does_wrong_is_said() {
    let mut rank = Member::new(1, 2);
    let misuse = |result: Result<(), Failure>| match result {
        Err(Failure::Misuse(misuse)) => misuse,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        misuse(rank.start_fence(Scope::Job)),
        Misuse::NotPut { rank: 1 }
    );
    let mut large = card(1);
    large.addresses = vec![large.addresses[0]; 33];
    assert!(matches!(misuse(rank.put(large)), Misuse::Card(_)));
    rank.put(Card::default()).unwrap();
    assert_eq!(
        misuse(rank.put(Card::default())),
        Misuse::PutTwice { rank: 1 }
    );
    assert_eq!(
        rank.poll_fence(Scope::Job).map(misuse),
        Poll::Ready(Misuse::NotStarted { rank: 1 })
    );
    rank.start_fence(Scope::Job).unwrap();
    let pending = Misuse::FencePending {
        rank: 1,
        scope: Scope::Job,
    };
    assert_eq!(misuse(rank.start_fence(Scope::Job)), pending);
    assert_eq!(
        misuse(rank.start_get(2)),
        Misuse::NoSuchRank {
            rank: 1,
            of: 2,
            size: 2
        }
    );
    rank.leave();
    assert_eq!(
        misuse(rank.start_fence(Scope::Host)),
        Misuse::Left { rank: 1 }
    );
}

#[test]
fn a_tree_without_some_rank_is_refused() {
    for shape in [
        Shape::new(4).with_ranks(0..3),
        Shape::new(4).with_ranks(0..5),
        Shape::new(4).with_ranks(0..2).with_agent(0, 1..4),
        Shape::new(4).with_agent(0, 0..2).with_agent(0, 2..4),
        Shape::new(4).with_ranks(0..4).with_agent(0, 4..4),
        Shape::new(0),
    ] {
        assert!(Agent::root(shape.clone()).is_err(), "{shape:?}");
    }
}

proptest! {
    #[test]
    fn in_whatever_order_frames_come_all_fences_are_passed(
        seed: u64,
        hosts in 1_u32..6,
        each in 1_u32..4,
        fan_out in 1_usize..4,
    ) {
        let mut job = Simulation::new(hosts, each, fan_out);
        job.seed = Some(seed);
        job.put_all();
        let size = hosts * each;
        for rank in &mut job.ranks {
            rank.start_fence(Scope::Host).unwrap();
            rank.start_get((rank.rank() + 1) % size).unwrap();
        }
        for round in 0..3 {
            job.settle();
            for rank in &mut job.ranks {
                prop_assert_eq!(rank.poll_fence(Scope::Job), Poll::Ready(Ok(())));
                prop_assert_eq!(rank.poll_fence(Scope::Host), Poll::Ready(Ok(())));
                prop_assert!(rank.poll_get((rank.rank() + 1) % size).is_ready());
                if round < 2 {
                    rank.start_fence(Scope::Job).unwrap();
                    rank.start_fence(Scope::Host).unwrap();
                } else {
                    rank.leave();
                }
            }
        }
        job.settle();
        prop_assert!(job.root.is_finished() && job.root.losses().is_empty());
    }
}
