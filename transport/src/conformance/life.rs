//! Who is there.

use phalanx_shm::Death;

use crate::conformance::{Job, assert_silent, kill, numbered, pattern, receive};
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
        assert_eq!(link.departures(), 2);
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
        assert_eq!(links[rank].departures(), 1);
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
