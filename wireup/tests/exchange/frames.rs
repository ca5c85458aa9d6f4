//! Frames that nobody of ours would send, and the bytes of those that we do.

use std::net::{Ipv4Addr, SocketAddr};

use phalanx_wireup::exchange::{
    Agent, Card, Fault, MAX_FRAME, Member, RankSet, Scope, Shape, VERSION, Who,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::simulation::{Simulation, card};

fn root() -> Agent {
    Agent::root(Shape::new(3).with_ranks(0..2).with_agent(0, 2..3)).unwrap()
}

/// The frames that rank 0 of 3 sends when it does everything once.
fn frames_of_a_rank() -> Vec<Vec<u8>> {
    let mut rank = Member::new(0, 3);
    rank.put(card(0)).unwrap();
    rank.start_fence(Scope::Host).unwrap();
    rank.start_get(2).unwrap();
    rank.leave();
    std::iter::from_fn(|| rank.poll_frame()).collect()
}

#[test]
fn the_bytes_of_version_3_stay() {
    let mut rank = Member::new(5, 300);
    let mut card = Card {
        addresses: vec![SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 4433))],
        ..Card::default()
    };
    card.host.name = "a".to_owned();
    rank.put(card).unwrap();
    rank.start_fence(Scope::Job).unwrap();
    rank.start_get(299).unwrap();
    rank.leave();
    let frames: Vec<_> = std::iter::from_fn(|| rank.poll_frame()).collect();
    let mut put = vec![3, 2, 1, 5];
    put.extend([1, 0, 10, 0, 0, 1, 0xd1, 0x22]);
    put.extend([0; 32]);
    put.extend([1, b'a']);
    put.extend([0; 16]);
    put.extend([0, 0, 0, 0, 0]);
    let expected: [&[u8]; 5] = [
        &[3, 0, 2, 5, 0xac, 2],
        &put,
        &[3, 3, 1, 1],
        &[3, 5, 0xab, 2],
        &[3, 10],
    ];
    assert_eq!(frames, expected);
    assert_eq!(VERSION, 3);
}

#[test]
fn a_frame_of_another_version_is_named_with_its_sender() {
    let mut root = root();
    let mut frame = Member::new(1, 3).poll_frame().unwrap();
    frame[0] = 9;
    let error = root.handle_frame(Who::Rank(1), &frame).unwrap_err();
    assert_eq!(
        (error.from, &error.fault),
        (Who::Rank(1), &Fault::Version { version: 9 })
    );
    assert!(
        error
            .to_string()
            .starts_with("rank 1 sent a frame of version 9"),
        "{error}"
    );
}

#[test]
fn a_frame_that_is_too_long_is_not_looked_at() {
    let long = vec![VERSION; MAX_FRAME + 1];
    let fault = Fault::TooLong {
        length: MAX_FRAME + 1,
    };
    assert_eq!(
        root().handle_frame(Who::Rank(1), &long).unwrap_err().fault,
        fault
    );
    assert_eq!(
        Member::new(0, 2).handle_frame(&long).unwrap_err().fault,
        fault
    );
}

#[test]
fn a_frame_with_something_behind_it_is_damaged() {
    let mut frame = Member::new(1, 3).poll_frame().unwrap();
    frame.push(0);
    let error = root().handle_frame(Who::Rank(1), &frame).unwrap_err();
    assert_eq!(error.fault, Fault::Damaged);
}

#[test]
fn a_card_with_too_many_addresses_is_damaged() {
    let frames = frames_of_a_rank();
    let mut root = root();
    root.handle_frame(Who::Rank(0), &frames[0]).unwrap();
    // Version, kind, one card, its rank; then 33 addresses in place of two.
    let mut frame = vec![VERSION, 2, 1, 0, 33];
    frame.extend([0, 10, 0, 0, 1, 1].repeat(33));
    frame.extend(&frames[1][frames[1].len() - 100..]);
    assert_eq!(
        root.handle_frame(Who::Rank(0), &frame).unwrap_err().fault,
        Fault::Damaged
    );
}

#[test]
fn nobody_speaks_for_another() {
    let frames = frames_of_a_rank();
    let contradicts = |result: Result<(), _>| {
        let error: phalanx_wireup::exchange::ExchangeError = result.unwrap_err();
        matches!(error.fault, Fault::Contradiction { .. })
    };
    let mut root = root();
    assert!(
        contradicts(root.handle_frame(Who::Rank(1), &frames[0])),
        "crossed connections"
    );
    assert!(
        contradicts(root.handle_frame(Who::Rank(2), &Member::new(2, 3).poll_frame().unwrap())),
        "it is below agent 0"
    );
    assert!(
        contradicts(root.handle_frame(Who::Rank(0), &Member::new(0, 4).poll_frame().unwrap())),
        "another job"
    );
    root.handle_frame(Who::Rank(0), &frames[0]).unwrap();
    assert!(
        contradicts(root.handle_frame(Who::Rank(0), &frames[0])),
        "it is here already"
    );
    assert!(root.greeted_by(&frames[0]).is_err());
    root.handle_frame(Who::Rank(1), &Member::new(1, 3).poll_frame().unwrap())
        .unwrap();
    let stolen = root.handle_frame(Who::Rank(1), &frames[1]).unwrap_err();
    assert!(
        matches!(stolen.fault, Fault::OutOfOrder { .. }),
        "a card of rank 0 from rank 1"
    );
}

#[test]
fn frames_out_of_order_change_nothing() {
    let frames = frames_of_a_rank();
    let mut root = root();
    for frame in &frames[1..] {
        let error = root.handle_frame(Who::Rank(0), frame).unwrap_err();
        assert!(
            matches!(error.fault, Fault::OutOfOrder { .. }),
            "before the greeting"
        );
    }
    for frame in &frames[..4] {
        root.handle_frame(Who::Rank(0), frame).unwrap();
    }
    for frame in &frames[1..4] {
        let error = root.handle_frame(Who::Rank(0), frame).unwrap_err();
        assert!(
            matches!(error.fault, Fault::OutOfOrder { .. }),
            "a second time"
        );
    }
    root.handle_frame(Who::Rank(0), &frames[4]).unwrap();
    assert!(
        root.handle_frame(Who::Rank(0), &frames[1]).is_err(),
        "after the farewell"
    );
}

#[test]
fn sets_of_ranks_out_of_order_are_damaged() {
    let mut agent = Agent::below(0, Who::Root, Shape::new(9).with_ranks(0..2)).unwrap();
    // A loss of rank 0 with the ranges that follow, and an empty cause.
    for ranges in [
        &[1, 3, 2][..],
        &[2, 5, 6, 0, 1],
        &[2, 0, 1, 2, 3],
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 0xf],
        &[0],
    ] {
        let frame = [&[VERSION, 7, 2, 0], ranges, &[0, 0]].concat();
        let error = agent.handle_frame(Who::Root, &frame).unwrap_err();
        assert_eq!(error.fault, Fault::Damaged, "{ranges:?}");
    }
    let frame = [VERSION, 7, 2, 0, 2, 0, 0, 5, 6, 0, 0];
    agent.handle_frame(Who::Root, &frame).unwrap();
    assert_eq!(
        agent.losses()[0].ranks,
        [0, 5, 6].into_iter().collect::<RankSet>()
    );
}

proptest! {
    #[test]
    fn no_bytes_make_anybody_panic(bytes in vec(any::<u8>(), 0..80), version: bool) {
        let mut frame = bytes;
        if let (true, Some(first)) = (version, frame.first_mut()) {
            *first = VERSION;
        }
        let mut root = root();
        for who in [Who::Rank(0), Who::Rank(2), Who::Agent(0), Who::Agent(7), Who::Root] {
            if let Err(error) = root.handle_frame(who, &frame) {
                prop_assert_eq!(error.from, who);
            }
        }
        drop(Member::new(0, 3).handle_frame(&frame));
    }

    /// Frames that were ours before a bit of them turned: whatever happens to them, the job that saw only the good ones is
    /// not harmed by those that were refused.
    #[test]
    fn damage_is_refused_or_harmless(at in 0_usize..400, bit in 0_u32..8, which in 0_usize..5) {
        let frames = frames_of_a_rank();
        let mut damaged = frames[which].clone();
        let at = at % damaged.len();
        damaged[at] ^= 1 << bit;
        let mut root = root();
        for (index, frame) in frames.iter().enumerate() {
            if index == which && root.handle_frame(Who::Rank(0), &damaged).is_ok() {
                // The turned bit made another valid frame, for example of another port.
                return Ok(());
            }
            prop_assert_eq!(root.handle_frame(Who::Rank(0), frame), Ok(()));
        }
    }

    #[test]
    fn a_set_of_ranks_is_the_set_of_its_members(
        one in proptest::collection::btree_set(0_u32..60, 0..30),
        other in proptest::collection::btree_set(0_u32..60, 0..30),
    ) {
        let (a, b): (RankSet, RankSet) = (one.iter().copied().collect(), other.iter().copied().collect());
        prop_assert!(a.iter().eq(one.iter().copied()));
        prop_assert_eq!(a.len(), one.len());
        prop_assert!((0..60).all(|rank| a.contains(rank) == one.contains(&rank)));
        prop_assert!(a.union(&b).iter().eq(one.union(&other).copied()));
        prop_assert!(a.without(&b).iter().eq(one.difference(&other).copied()));
        prop_assert_eq!(a.overlaps(&b), !one.is_disjoint(&other));
        prop_assert_eq!(a.includes(&b), one.is_superset(&other));
    }

    /// A frame from above that was turned: a rank refuses it or takes it for another, and never panics.
    #[test]
    fn damage_from_above_does_not_make_a_rank_panic(at in 0_usize..400, bit in 0_u32..8) {
        let mut job = Simulation::new(1, 2, 1);
        job.put_all();
        job.ranks[0].start_get(1).unwrap();
        for rank in [0, 1] {
            while let Some(frame) = job.ranks[rank].poll_frame() {
                job.agents[0].handle_frame(Who::Rank(u32::try_from(rank).unwrap()), &frame).unwrap();
            }
        }
        while let Some((to, frame)) = job.agents[0].poll_frame() {
            let mut frame = frame.to_vec();
            let at = at % frame.len();
            frame[at] ^= 1 << bit;
            if to == Who::Rank(0) {
                drop(job.ranks[0].handle_frame(&frame));
            }
        }
    }
}
