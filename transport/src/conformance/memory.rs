//! Where the bytes of messages lie, how long, and how they come back.

use std::collections::VecDeque;

use crate::conformance::{
    Job, eventually, hand_over, is_away, kill, numbered, pattern, receive, send,
};
use crate::frame::Header;
use crate::link::{Link, LinkError, Transport};
use crate::payload::{ALIGNMENT, Buffer, Payload};

/// A buffer of `link` that holds `bytes`.
fn filled(link: &mut Link, bytes: &[u8]) -> Buffer {
    let mut buffer = link.reserve(bytes.len()).unwrap();
    buffer.copy_from_slice(bytes);
    buffer
}

/// Carries `bytes` from rank 0 to rank 1.
fn carry(links: &mut [Link], bytes: &[u8]) -> Payload {
    send(&mut links[0], 1, &numbered(1), bytes);
    receive(&mut links[1]).1.payload
}

pub(super) fn payloads_are_aligned_and_whole(job: Job) {
    let mut links = job(2);
    for len in (0..300).chain([4095, 4096, 4097, 65_536, 100_000]) {
        let bytes = pattern(len, len);
        let copied = carry(&mut links, &bytes);
        let buffer = filled(&mut links[0], &bytes);
        hand_over(&mut links[0], 1, &numbered(2), buffer);
        let lent = receive(&mut links[1]).1.payload;
        for payload in [copied, lent] {
            assert_eq!(*payload, *bytes);
            assert!(payload.as_ptr().addr().is_multiple_of(ALIGNMENT), "{len}");
        }
    }
}

pub(super) fn kept_payloads_stay_intact(job: Job) {
    const SENDERS: usize = 4;
    let mut links = job(SENDERS + 1);
    let mut kept = Vec::new();
    for number in 0..800 {
        for sender in 1..=SENDERS {
            let bytes = pattern(number + sender, 1 + number % 400);
            send(&mut links[sender], 0, &numbered(0), &bytes);
            let (from, packet) = receive(&mut links[0]);
            assert_eq!(from, sender);
            kept.push((bytes, packet.payload));
        }
    }
    for (bytes, payload) in kept {
        assert_eq!(*payload, *bytes);
    }
}

pub(super) fn payloads_outlive_their_links(job: Job) {
    let mut links = job(2);
    let bytes = pattern(1, 5000);
    let payload = carry(&mut links, &bytes);
    let unsent = filled(&mut links[0], &bytes);
    drop(links.remove(0));
    assert_eq!(*payload, *bytes);
    drop(links);
    assert_eq!(*payload, *bytes);
    assert_eq!(*unsent, *bytes);
}

pub(super) fn memory_is_reused_in_any_order_of_return(job: Job) {
    // Together far more than an arena of the tests holds.
    let mut links = job(2);
    let mut kept = VecDeque::new();
    for number in 0..1500 {
        let bytes = pattern(number, 60_000 + number);
        kept.push_back((bytes.clone(), carry(&mut links, &bytes)));
        if kept.len() > 20 {
            let index = number * 13 % kept.len();
            let (bytes, payload) = kept.swap_remove_back(index).unwrap();
            assert_eq!(*payload, *bytes);
        }
    }
    for (bytes, payload) in kept {
        assert_eq!(*payload, *bytes);
    }
}

pub(super) fn a_forwarded_payload_arrives(job: Job) {
    let mut links = job(3);
    let bytes = pattern(1, 70_000);
    let payload = carry(&mut links, &bytes);
    // A protocol that finds the message exposed lets the receiver pull it.
    if let Some(offset) = links[1].expose(2, &payload) {
        let mut pulled = vec![0; bytes.len()];
        links[2].pull(1, offset, &mut pulled).unwrap();
        assert_eq!(pulled, bytes);
    }
    send(&mut links[1], 2, &numbered(2), &payload);
    drop(payload);
    assert_eq!(*receive(&mut links[2]).1.payload, *bytes);
}

/// A part of a large message.
fn part(position: u64) -> Header {
    Header::Chunk {
        receive: 9,
        position,
    }
}

/// Sends a part, over a network when there is room; its length, or 0.
fn offer_part(link: &mut Link, peer: usize, header: &Header, bytes: &[u8]) -> usize {
    let mut attempt = || link.send_part(peer, header, bytes).unwrap();
    match attempt() {
        0 if is_away(link, peer) => {
            let sent =
                || Some(link.send_part(peer, header, bytes).unwrap()).filter(|&sent| sent != 0);
            eventually(sent).unwrap_or(0)
        }
        sent => sent,
    }
}

/// Sends parts that nobody takes, until there is no room; how many. Over a network they come back as soon as they are at the other host,
/// so that there may be room for very many.
fn fill_with_parts(link: &mut Link, peer: usize) -> usize {
    let most = if is_away(link, peer) { 100 } else { u64::MAX };
    (0..most)
        .take_while(|&number| link.send_part(peer, &part(number), &[7; 5]).unwrap() == 5)
        .count()
}

pub(super) fn parts_are_bounded_and_come_back(job: Job) {
    let mut links = job(2);
    let long = pattern(1, 10 << 20);
    // Over a network they come back as soon as they are at the other host, whose memory holds them then.
    let is_network = is_away(&links[0], 1);
    let mut window = None;
    for _ in 0..3 {
        let mut kept = Vec::new();
        loop {
            let len = [1, 5, 48, 4000, long.len()][kept.len() % 5];
            let header = part(kept.len() as u64);
            let sent = offer_part(&mut links[0], 1, &header, &long[..len]);
            if sent == 0 {
                break;
            }
            assert!(sent == len || sent >= 4096, "{sent} of {len}");
            let (_, packet) = receive(&mut links[1]);
            assert_eq!(packet.header, header);
            kept.push((sent, packet.payload));
            if is_network && kept.len() == 100 {
                break;
            }
        }
        // They come back when their payloads are dropped.
        assert_eq!(*window.get_or_insert(kept.len()), kept.len());
        for (sent, payload) in kept {
            assert_eq!(*payload, long[..sent]);
        }
    }
    assert!((1..100_000).contains(&window.unwrap()));
}

pub(super) fn what_a_dead_rank_held_comes_back(job: Job) {
    let mut links = job(3);
    let lost = fill_with_parts(&mut links[0], 1);
    assert!(lost > 0);
    kill(&links, 1);
    links[0].forget(1);
    let parts: Vec<_> = (0..lost).map(|_| carry_part(&mut links)).collect();
    assert_eq!(parts.len(), lost);
}

pub(super) fn what_a_rank_left_unread_comes_back(job: Job) {
    let mut links = job(3);
    let sent = fill_with_parts(&mut links[0], 1);
    assert!(sent > 0);
    let (_, kept) = receive(&mut links[1]);
    links[1].leave(false);
    links[0].forget(1);
    let mut others: Vec<_> = (1..sent).map(|_| carry_part(&mut links)).collect();
    assert_eq!(*kept.payload, [7; 5], "it is still read");
    drop(kept);
    others.push(carry_part(&mut links));
    assert_eq!(others.len(), sent);
}

/// Sends a part from rank 0 to rank 2, which keeps it.
fn carry_part(links: &mut [Link]) -> Payload {
    assert_eq!(offer_part(&mut links[0], 2, &part(0), &[7; 5]), 5);
    receive(&mut links[2]).1.payload
}

pub(super) fn more_than_there_is_cannot_be_reserved(job: Job) {
    let mut links = job(2);
    for len in [usize::MAX, usize::MAX / 2, 1 << 62] {
        assert!(links[0].reserve(len).is_err(), "{len} bytes");
    }
    assert_eq!(*carry(&mut links, b"and goes on"), *b"and goes on");
}

pub(super) fn what_is_exposed_can_be_pulled_and_nothing_else(job: Job) {
    let mut links = job(2);
    let bytes = pattern(1, 10_000);
    let buffer = filled(&mut links[0], &bytes);
    assert!(
        links[0].expose(1, &bytes).is_none(),
        "memory of this process"
    );
    let mut into = vec![0; bytes.len()];

    let Some(offset) = links[0].expose(1, &buffer) else {
        assert!(!links[0].capabilities(1).exposes);
        let refused = links[1].pull(0, 4096, &mut into).unwrap_err();
        assert!(matches!(refused, LinkError::NotExposed { peer: 0 }));
        return;
    };
    assert!(links[0].capabilities(1).exposes);
    links[1].pull(0, offset, &mut into).unwrap();
    assert_eq!(into, bytes);
    links[1].pull(0, offset + 77, &mut into[..23]).unwrap();
    assert_eq!(into[..23], bytes[77..100]);

    let arena = 16 << 20;
    for wrong in [
        0,
        64,
        offset - 64,
        offset + arena,
        u64::MAX,
        u64::MAX - 9999,
    ] {
        assert!(links[1].pull(0, wrong, &mut into).is_err(), "at {wrong}");
    }
    // Arenas begin on a multiple of 2 MiB, and where one ends the next begins, which is not the peer's.
    let end = offset - offset % (2 << 20) + arena;
    links[1].pull(0, end - 10_000, &mut into.clone()).unwrap();
    assert!(links[1].pull(0, end - 9999, &mut into).is_err());
    assert!(links[1].pull(1, offset, &mut into).is_err());
    assert_eq!(into[..23], bytes[77..100], "a refused pull writes nothing");
}
