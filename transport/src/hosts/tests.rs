//! What only this link has: two ways at a time. Everything else is in the conformance tests.

use std::thread;
use std::time::{Duration, Instant};

use crate::conformance::{bounded, hosts};
use crate::frame::{Envelope, Header};
use crate::hosts::Hosts;
use crate::link::{Capabilities, Link, LinkError, Transport};
use crate::payload::Buffer;
use crate::quic::Quic;
use crate::shm::Shm;

/// Time after which a test counts as hanging.
const HANG: Duration = Duration::from_secs(120);

/// The links of a job of which the first ranks share a host, as many as `together`, and each other has one of its own.
fn job(ranks: usize, together: usize) -> Vec<Hosts> {
    let host: fn(usize) -> usize = match together {
        2 => |rank| rank.saturating_sub(1),
        3 => |rank| rank.saturating_sub(2),
        _ => unreachable!("two or three"),
    };
    let links = hosts(ranks, host).into_iter();
    links
        .map(|link| match link {
            Link::Hosts(hosts) => hosts,
            other => unreachable!("{other:?} is of another kind"),
        })
        .collect()
}

fn numbered(number: i32) -> Header {
    Header::Eager(Envelope::new(3, number, 5))
}

#[track_caller]
fn await_that(mut look: impl FnMut() -> bool) {
    let end = Instant::now() + HANG;
    while !look() {
        assert!(Instant::now() < end, "it never happens");
        thread::yield_now();
    }
}

/// Connects rank 0 with rank `away` of another host.
fn connect(links: &mut [Hosts], away: usize) {
    assert!(links[0].send(away, &numbered(0), b"hello").unwrap());
    await_that(|| links[away].poll().unwrap().is_some());
    assert!(links[away].send(0, &numbered(0), b"hello").unwrap());
    await_that(|| links[0].poll().unwrap().is_some());
}

#[test]
fn each_peer_has_the_capabilities_of_its_way() {
    let links = job(4, 2);
    let names = |rank: usize| [0, 1, 2, 3].map(|peer| links[rank].capabilities(peer).name);
    assert_eq!(names(0), ["shm", "shm", "quic", "quic"]);
    assert_eq!(names(2), ["quic", "quic", "shm", "quic"]);
    let Capabilities { lends, exposes, .. } = links[0].capabilities(1);
    assert!(lends && exposes);
    assert_eq!(links[0].capabilities(2), Quic::CAPABILITIES);
    assert_eq!(links[0].capabilities(1), Shm::CAPABILITIES);
}

#[test]
fn who_talks_to_no_other_host_never_looks_at_the_network() {
    let mut links = job(3, 2);
    let before = links[0].quic().passes();
    for number in 0..2000 {
        assert!(links[0].send(1, &numbered(number), b"near").unwrap());
        assert!(links[1].poll().unwrap().is_some());
        assert!(links[0].poll().unwrap().is_none());
    }
    assert_eq!(links[0].quic().passes(), before);
    connect(&mut links, 2);
    let before = links[0].quic().passes();
    for _ in 0..2000 {
        assert!(links[0].poll().unwrap().is_none());
    }
    let looks = links[0].quic().passes() - before;
    assert!((20..200).contains(&looks), "{looks} looks");
}

#[test]
fn a_stream_from_this_host_does_not_keep_the_others_out() {
    let mut links = job(3, 2);
    connect(&mut links, 2);
    assert!(links[2].send(0, &numbered(7), b"from afar").unwrap());
    let mut has_come = false;
    await_that(|| {
        // There is always something from the neighbour.
        while links[1].send(0, &numbered(1), b"near").unwrap() {}
        let (sender, packet) = links[0].poll().unwrap().expect("the ring is full");
        has_come |= sender == 2 && packet.header == numbered(7);
        has_come
    });
}

#[test]
fn a_stream_from_another_host_does_not_keep_the_neighbour_out() {
    let mut links = job(3, 2);
    connect(&mut links, 2);
    let mut far = 0;
    for round in 0..300 {
        while far < 20 * (round + 1) && links[2].send(0, &numbered(far), &[7; 1000]).unwrap() {
            far += 1;
        }
        assert!(links[1].send(0, &numbered(round), b"near").unwrap());
        let mut polls = 0;
        await_that(|| {
            polls += 1;
            let arrived = links[0].poll().unwrap();
            arrived.is_some_and(|(sender, _)| sender == 1)
        });
        assert!(polls <= 2, "the neighbour had to wait for {polls} packets");
    }
}

#[test]
fn memory_is_exposed_to_neighbours_only() {
    let mut links = job(3, 2).into_iter().map(Link::Hosts).collect::<Vec<_>>();
    let mut buffer = links[0].reserve(5000).unwrap();
    buffer.fill(9);
    assert!(matches!(buffer, Buffer::Block(_)));
    let offset = links[0].expose(1, &buffer).expect("it is in the segment");
    assert_eq!(links[0].expose(2, &buffer), None);
    let mut into = [0; 5000];
    links[1].pull(0, offset, &mut into).unwrap();
    assert_eq!(into, [9; 5000]);
    let refused = links[2].pull(0, offset, &mut into).unwrap_err();
    assert!(matches!(refused, LinkError::NotExposed { peer: 0 }));

    // To another host it is copied, and the block comes back.
    assert!(
        links[0]
            .send_buffer(2, &numbered(1), buffer)
            .unwrap()
            .is_none()
    );
    await_that(|| {
        let arrived = links[2].poll().unwrap();
        arrived.is_some_and(|(sender, packet)| sender == 0 && *packet.payload == [9; 5000])
    });
}

#[test]
fn neighbours_never_connect_through_the_network() {
    let mut links = job(3, 3);
    connect_near(&mut links);
    drop(links.pop());
    for link in &mut links {
        link.stop_receiving();
    }
    for link in &links {
        assert_eq!(link.quic().connections(), 0);
    }
    links[0].leave(false);
    drop(links);
}

/// Sends a message to each neighbour from each.
fn connect_near(links: &mut [Hosts]) {
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        assert!(links[from].send(to, &numbered(1), b"near").unwrap());
        await_that(|| links[to].poll().unwrap().is_some());
    }
}

#[test]
fn who_sleeps_is_woken_from_near_and_from_afar_by_turns() {
    bounded(|| {
        let mut links = job(3, 2);
        connect(&mut links, 2);
        for round in 0..300 {
            let from = 1 + round as usize % 2;
            while !links[0].prepare_sleep() {
                assert!(links[0].poll().unwrap().is_none());
            }
            let sleeper = links[0].sleeper();
            let thread = thread::spawn(move || sleeper.sleep(Duration::MAX));
            assert!(links[from].send(0, &numbered(round), &[]).unwrap());
            thread.join().unwrap();
            let mut arrived = None;
            await_that(|| {
                arrived = links[0].poll().unwrap();
                arrived.is_some()
            });
            let (sender, packet) = arrived.unwrap();
            assert_eq!((sender, packet.header), (from, numbered(round)));
        }
    });
}
