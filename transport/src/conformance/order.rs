//! Order, and what happens when there is no room.

use std::thread;

use crate::conformance::{
    Job, assert_silent, await_packet, bounded, fill, insist, numbered, pattern, receive, send,
    settle,
};
use crate::link::{Link, Transport};
use crate::payload::Buffer;

/// Lengths that go inline, by a small block and by a larger one.
fn length(number: usize) -> usize {
    [0, 8, 48, 49, 200, 1000][number % 6]
}

/// Receives `each` messages from every one of `senders`, in the order they were sent in.
fn receive_all(link: &mut Link, senders: usize, each: usize) {
    let mut received = vec![0; link_count(senders)];
    for _ in 0..senders * each {
        let (sender, packet) = await_packet(link);
        let number = received[sender];
        assert_eq!(packet.header, numbered(number as i32), "of {sender}");
        assert_eq!(*packet.payload, *pattern(sender + number, length(number)));
        received[sender] += 1;
    }
    assert!(received.iter().all(|&count| count == 0 || count == each));
}

const fn link_count(senders: usize) -> usize {
    senders + 1
}

pub(super) fn many_senders_reach_one_receiver_in_order(job: Job) {
    const SENDERS: usize = 64;
    const EACH: usize = 150;
    bounded(move || {
        let mut links = job(link_count(SENDERS));
        let mut receiver = links.remove(0);
        thread::scope(|scope| {
            for (sender, link) in (1..).zip(&mut links) {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let bytes = pattern(sender + number, length(number));
                        insist(link, 0, &numbered(number as i32), &bytes);
                    }
                });
            }
            receive_all(&mut receiver, SENDERS, EACH);
        });
        assert_silent(&mut receiver);
    });
}

pub(super) fn everyone_talks_to_everyone(job: Job) {
    const RANKS: usize = 12;
    const EACH: usize = 60;
    bounded(move || {
        thread::scope(|scope| {
            for (rank, mut link) in job(RANKS).into_iter().enumerate() {
                scope.spawn(move || {
                    let mut received = [0; RANKS];
                    let mut take = |link: &mut Link| {
                        if let Some((sender, packet)) = link.poll().unwrap() {
                            assert_eq!(packet.header, numbered(received[sender]), "of {sender}");
                            received[sender] += 1;
                        } else {
                            thread::yield_now();
                        }
                        received.iter().sum::<i32>() as usize
                    };
                    for number in 0..EACH {
                        for peer in (0..RANKS).filter(|&peer| peer != rank) {
                            while !link
                                .send(peer, &numbered(number as i32), &[7; 100])
                                .unwrap()
                            {
                                take(&mut link);
                            }
                        }
                    }
                    while take(&mut link) < (RANKS - 1) * EACH {}
                });
            }
        });
    });
}

pub(super) fn a_full_link_refuses_and_loses_nothing(job: Job) {
    let mut links = job(2);
    for round in 0..3 {
        let sent = (0..)
            .find(|&number| {
                let bytes = pattern(round, length(number as usize));
                !links[0].send(1, &numbered(number), &bytes).unwrap()
            })
            .unwrap();
        assert!((1..100_000).contains(&sent), "{sent} packets fit");
        for number in 0..sent {
            let (sender, packet) = receive(&mut links[1]);
            assert_eq!((sender, packet.header), (0, numbered(number)));
            assert_eq!(*packet.payload, *pattern(round, length(number as usize)));
        }
        assert_silent(&mut links[1]);
    }
}

pub(super) fn a_full_link_gives_the_buffer_back(job: Job) {
    let mut links = job(2);
    fill(&mut links, 0, 1, &numbered(0));
    for len in [0, 30, 5000] {
        let mut buffer = links[0].reserve(len).unwrap();
        buffer.copy_from_slice(&pattern(1, len));
        let place = buffer.as_ptr();
        let buffer: Buffer = links[0]
            .send_buffer(1, &numbered(1), buffer)
            .unwrap()
            .expect("a full link takes no buffer");
        assert_eq!((buffer.as_ptr(), &*buffer), (place, &*pattern(1, len)));

        // With room for one more, it is taken.
        let room = |links: &mut [Link], buffer| links[0].send_buffer(1, &numbered(1), buffer);
        let mut kept = Some(buffer);
        while let Some(buffer) = kept {
            assert_eq!(receive(&mut links[1]).1.header, numbered(0));
            settle(&links[1]);
            kept = room(&mut links, buffer).unwrap();
        }
        while links[1]
            .poll()
            .unwrap()
            .is_none_or(|(_, packet)| packet.header != numbered(1))
        {}
        fill(&mut links, 0, 1, &numbered(0));
    }
}

pub(super) fn a_full_pair_hinders_no_other(job: Job) {
    let mut links = job(4);
    fill(&mut links, 0, 1, &numbered(0));
    for (from, to) in [(0, 2), (1, 0), (2, 1), (3, 1), (0, 3)] {
        let number = 10 * from + to;
        let [from, to] = [from, to].map(|rank| rank as usize);
        send(&mut links[from], to, &numbered(number), &[]);
        let found =
            std::iter::repeat_with(|| receive(&mut links[to])).find(|(who, _)| *who == from);
        assert_eq!(found.unwrap().1.header, numbered(number));
        fill(&mut links, 0, 1, &numbered(0));
    }
}
