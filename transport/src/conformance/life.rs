//! Who is there.

use std::thread;

use phalanx_shm::Death;

use crate::conformance::{
    Job, assert_silent, await_departures, bounded, insist, kill, numbered, pattern, receive, send,
};
use crate::link::{PeerState, Transport};

pub(super) fn who_leaves_is_seen_to(job: Job) {
    let mut links = job(4);
    for link in &links {
        assert_eq!(link.departures(), 0);
        assert!((0..4).all(|peer| link.state_of(peer) == PeerState::Present));
    }
    drop(links.pop());
    drop(links.remove(1));
    for link in &links {
        await_departures(link, 2);
        let states = [0, 1, 2, 3].map(|peer| link.state_of(peer));
        let [present, left] = [PeerState::Present, PeerState::Left];
        assert_eq!(states, [present, left, present, left]);
    }
}

pub(super) fn who_dies_is_seen_to(job: Job) {
    let mut links = job(3);
    kill(&links, 1);
    kill(&links, 1);
    for rank in [0, 2] {
        await_departures(&links[rank], 1);
        let dead = PeerState::Dead(Death::Signal(9));
        assert_eq!(links[rank].state_of(1), dead);
        assert_eq!(links[rank].state_of(0), PeerState::Present);
    }
    // The survivors go on, and a death is not undone by what the dead rank's guard does later.
    assert!(links[0].send(2, &numbered(1), b"still here").unwrap());
    assert_eq!(*receive(&mut links[2]).1.payload, *b"still here");
    drop(links.remove(1));
    assert_eq!(links[0].departures(), 1);
    assert_eq!(links[0].state_of(1), PeerState::Dead(Death::Signal(9)));
}

pub(super) fn what_was_sent_before_a_departure_is_readable(job: Job) {
    let mut links = job(3);
    for sender in [0, 1] {
        assert!(
            links[sender]
                .send(2, &numbered(1), &pattern(sender, 3000))
                .unwrap()
        );
    }
    kill(&links, 1);
    drop(links.remove(0));
    let receiver = &mut links[1];
    let mut senders = [receive(receiver), receive(receiver)].map(|(sender, packet)| {
        assert_eq!(*packet.payload, *pattern(sender, 3000));
        sender
    });
    senders.sort_unstable();
    assert_eq!(senders, [0, 1]);
    assert_silent(receiver);
}

pub(super) fn all_that_a_departed_rank_sent_comes_before_nothing(job: Job) {
    const SENDERS: usize = 20;
    const EACH: usize = 40;
    bounded(move || {
        let mut links = job(SENDERS + 1);
        let mut receiver = links.remove(0);
        thread::scope(|scope| {
            for mut link in links {
                scope.spawn(move || {
                    for number in 0..EACH {
                        insist(&mut link, 0, &numbered(number as i32), &[]);
                    }
                });
            }
            let mut received = [0; SENDERS + 1];
            let mut finished = 0;
            while finished < SENDERS {
                let gone: Vec<usize> = (1..=SENDERS)
                    .filter(|&peer| receiver.state_of(peer) == PeerState::Left)
                    .collect();
                while let Some((sender, _)) = receiver.poll().unwrap() {
                    received[sender] += 1;
                }
                assert!(gone.iter().all(|&peer| received[peer] == EACH));
                finished = gone.len();
                thread::yield_now();
            }
        });
    });
}

pub(super) fn a_leaving_rank_is_told_from_one_that_left(job: Job) {
    let mut links = job(2);
    links[0].stop_receiving();
    await_departures(&links[1], 1);
    assert_eq!(links[1].state_of(0), PeerState::Leaving);
    send(&mut links[0], 1, &numbered(1), b"last words");
    assert!(links[1].send(0, &numbered(1), b"too late").unwrap());
    links[0].leave(false);
    await_departures(&links[1], 2);
    assert_eq!(links[1].state_of(0), PeerState::Left);
    drop(links.remove(0));
    assert_eq!(links[0].departures(), 2);
    assert_eq!(*receive(&mut links[0]).1.payload, *b"last words");
}

pub(super) fn a_rank_that_fails_is_told_from_one_that_left(job: Job) {
    let mut links = job(2);
    links[0].leave(true);
    links[0].leave(false);
    let failed = PeerState::Dead(Death::Exit(101));
    await_departures(&links[1], 1);
    assert_eq!(links[1].state_of(0), failed);
}
