//! Where the bytes of messages lie, how long, and how they come back.

use std::collections::VecDeque;

use crate::conformance::{Job, eventually, hand_over, kill, numbered, pattern, receive, send};
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
    if let Some(offset) = links[1].expose(&payload) {
        let mut pulled = vec![0; bytes.len()];
        links[2].pull(1, offset, &mut pulled).unwrap();
        assert_eq!(pulled, bytes);
    }
    send(&mut links[1], 2, &numbered(2), &payload);
    drop(payload);
    assert_eq!(*receive(&mut links[2]).1.payload, *bytes);
}

pub(super) fn chunks_are_bounded_and_come_back(job: Job) {
    let mut links = job(2);
    let take_all = |link: &mut Link| {
        let chunks: Vec<Buffer> = std::iter::from_fn(|| link.reserve_chunk().unwrap())
            .take(100_000)
            .collect();
        assert!((1..100_000).contains(&chunks.len()));
        assert!(chunks.iter().all(|chunk| chunk.len() >= 4096));
        chunks.len()
    };
    // Unsent ones come back when dropped, sent ones when their payloads are, or when they are at another host, whose memory holds them
    // then.
    let window = take_all(&mut links[0]);
    assert_eq!(take_all(&mut links[0]), window);
    for round in 0..3 {
        let mut kept = Vec::new();
        for number in 0..window {
            let len = [0, 5, 48, 4000][number % 4];
            let chunk = match &mut links[0] {
                quic @ Link::Quic(_) => eventually(|| quic.reserve_chunk().unwrap()),
                link => link.reserve_chunk().unwrap(),
            };
            let mut chunk = chunk.unwrap();
            chunk.truncate(len);
            chunk.copy_from_slice(&pattern(round + number, len));
            let header = Header::Chunk {
                receive: 9,
                position: number as u64,
            };
            hand_over(&mut links[0], 1, &header, chunk);
            let (_, packet) = receive(&mut links[1]);
            assert_eq!(packet.header, header);
            kept.push((pattern(round + number, len), packet.payload));
        }
        if !matches!(links[0], Link::Quic(_)) {
            assert!(links[0].reserve_chunk().unwrap().is_none());
        }
        for (bytes, payload) in kept {
            assert_eq!(*payload, *bytes);
        }
    }
    if let quic @ Link::Quic(_) = &mut links[0] {
        eventually(|| (take_all(quic) == window).then_some(())).expect("all come back");
    }
    assert_eq!(take_all(&mut links[0]), window);
}

pub(super) fn what_a_dead_rank_held_comes_back(job: Job) {
    let mut links = job(3);
    let reserved = |link: &mut Link| {
        let chunks = std::iter::from_fn(|| link.reserve_chunk().unwrap());
        chunks.collect::<Vec<Buffer>>().len()
    };
    let window = reserved(&mut links[0]);
    let header = Header::Chunk {
        receive: 1,
        position: 0,
    };
    let mut sent = 0;
    while let Some(chunk) = links[0].reserve_chunk().unwrap() {
        if links[0].send_buffer(1, &header, chunk).unwrap().is_some() {
            break;
        }
        sent += 1;
    }
    assert!(sent > 0);
    let left = reserved(&mut links[0]);
    assert!(left == window - sent || left > window - sent && matches!(links[0], Link::Quic(_)));
    kill(&links, 1);
    links[0].forget(1);
    assert_eq!(reserved(&mut links[0]), window);
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
    assert!(links[0].expose(&bytes).is_none(), "memory of this process");
    let mut into = vec![0; bytes.len()];

    let Some(offset) = links[0].expose(&buffer) else {
        assert!(!links[0].capabilities().exposes);
        let refused = links[1].pull(0, 4096, &mut into).unwrap_err();
        assert!(matches!(refused, LinkError::NotExposed { peer: 0 }));
        return;
    };
    assert!(links[0].capabilities().exposes);
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
