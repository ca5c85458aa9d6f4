//! Networks as they are: with other addresses than one expects, that change, lose, and block.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::relay::{Relay, Weather, job_through};
use super::{HANG, await_that, await_trouble, bind, bind_at, enrol, numbered, ping_pong, receive};
use crate::frame::Header;
use crate::link::{PeerState, Transport};
use crate::quic::{Card, JobId, Quic, QuicSettings};

fn patient() -> QuicSettings {
    QuicSettings {
        dial_deadline: 2 * HANG,
        idle_timeout: 2 * HANG,
        ..QuicSettings::default()
    }
}

/// Two ranks at `addresses` of this host, whose cards name them as the first does that is not a wildcard.
fn pair_at(addresses: [&str; 2], card: &str) -> Vec<Quic> {
    let job = JobId::random().unwrap();
    let host: SocketAddr = card.parse().unwrap();
    let mut rank = 0..;
    let sockets = addresses.map(|address| {
        let rank = rank.next().unwrap();
        bind_at(rank, job, &patient(), address.parse().unwrap())
    });
    let cards: Vec<_> = sockets
        .iter()
        .map(|socket| Card {
            addresses: vec![SocketAddr::new(host.ip(), socket.address().port())],
            ..socket.card()
        })
        .collect();
    sockets.map(|socket| enrol(socket, &cards)).into()
}

/// Carries more than one packet holds, in both directions.
fn carry_much(links: &mut [Quic]) {
    let part = Header::Chunk {
        receive: 1,
        position: 0,
    };
    for (from, to) in [(0, 1), (1, 0)] {
        for _ in 0..20 {
            await_that("room", || {
                links[from].send_part(to, &part, &[9; 50_000]).unwrap() == 50_000
            });
            assert_eq!(receive(&mut links[to]).1.payload.len(), 50_000);
        }
    }
}

#[test]
fn ranks_meet_over_the_newer_internet_protocol() {
    let mut links = pair_at(["[::1]:0", "[::1]:0"], "[::1]:0");
    ping_pong(&mut links, 3);
    carry_much(&mut links);
}

#[test]
fn ranks_that_are_bound_to_all_addresses_answer_from_the_one_that_was_dialled() {
    for (wildcards, card) in [
        (["0.0.0.0:0", "0.0.0.0:0"], "127.0.0.1:0"),
        // Not the address from which this host would send by itself.
        (["0.0.0.0:0", "0.0.0.0:0"], "127.0.0.77:0"),
        (["[::]:0", "[::]:0"], "[::1]:0"),
        (["[::]:0", "[::]:0"], "127.0.0.1:0"),
        (["[::]:0", "0.0.0.0:0"], "127.0.0.77:0"),
    ] {
        let mut links = pair_at(wildcards, card);
        ping_pong(&mut links, 3);
        carry_much(&mut links);
    }
}

#[test]
fn a_network_that_swallows_everything_is_named() {
    let settings = QuicSettings {
        dial_deadline: Duration::from_millis(200),
        ..patient()
    };
    let (mut links, relays) = job_through(2, &settings, Weather::BLACK_HOLE);
    assert!(links[0].send(1, &numbered(1), b"hello?").unwrap());
    let trouble = await_trouble(&mut links[0], 1);
    for words in ["rank 1", &relays[1].address().to_string(), "UDP"] {
        assert!(trouble.contains(words), "{trouble}");
    }
    links[1].record(0, PeerState::Unreachable);
}

#[test]
fn a_network_that_swallows_everything_for_a_while_is_survived() {
    let (mut links, relays) = job_through(2, &patient(), Weather::default());
    ping_pong(&mut links, 3);
    for relay in &*relays {
        relay.change(Weather::BLACK_HOLE);
    }
    assert!(links[0].send(1, &numbered(1), b"through").unwrap());
    for _ in 0..100 {
        assert!(links[1].poll().unwrap().is_none());
    }
    for relay in &*relays {
        relay.change(Weather::default());
    }
    assert_eq!(*receive(&mut links[1]).1.payload, *b"through");
    carry_much(&mut links);
}

/// A connection moves along mostly; where the proof of the new address comes too late, QUIC goes back to the old one, and silence ends it.
#[test]
fn a_peer_whose_address_changes_keeps_its_connection_or_is_called_unreachable() {
    for dialler in [0, 1] {
        let job = JobId::random().unwrap();
        let settings = QuicSettings {
            // As between hosts, where a few packets make up for any other.
            largest_packet: Some(1452),
            idle_timeout: Duration::from_secs(4),
            keep_alive: Duration::from_millis(500),
            ..patient()
        };
        let sockets = [0, 1].map(|rank| bind(rank, job, &settings));
        let relays = [0, 1].map(|rank| Relay::new(sockets[rank].address(), Weather::default()));
        let cards = [0, 1].map(|rank| Card {
            addresses: vec![relays[rank].address()],
            ..sockets[rank].card()
        });
        let mut links = sockets.map(|socket| enrol(socket, &cards));
        let answers = 1 - dialler;
        assert!(
            links[dialler]
                .send(answers, &numbered(0), b"hello")
                .unwrap()
        );
        assert_eq!(receive(&mut links[answers]).0, dialler);
        relays[answers].change_ports();
        let much = vec![5; 100_000];
        let mut there = 0;
        await_that("word from the new address, or of silence", || {
            let is_lost = |link: &Quic| link.state_of(1 - link.rank()) == PeerState::Unreachable;
            if links.iter().any(is_lost) {
                return true;
            }
            let sent = links[dialler].send(answers, &numbered(1), &much);
            for rank in [dialler, answers] {
                // A link that has just been lost says so by an error of the next send.
                let Ok(Some((from, packet))) = links[rank].poll() else {
                    continue;
                };
                assert_eq!((from, &*packet.payload), (1 - rank, &*much));
                if rank == answers {
                    let _ = links[answers].send(dialler, &numbered(2), &much);
                } else {
                    there += 1;
                }
            }
            there == 3 || sent.is_err()
        });
    }
}

#[test]
fn much_goes_through_a_storm_in_order() {
    const EACH: i32 = 300;
    let (mut links, relays) = job_through(2, &patient(), Weather::STORM);
    let mut sent = [0; 2];
    let mut received = [0; 2];
    await_that("all of it", || {
        for (rank, link) in links.iter_mut().enumerate() {
            let bytes = vec![rank as u8; 1 + 37 * sent[rank] as usize];
            if sent[rank] < EACH && link.send(1 - rank, &numbered(sent[rank]), &bytes).unwrap() {
                sent[rank] += 1;
            }
            if let Some((_, packet)) = link.poll().unwrap() {
                assert_eq!(packet.header, numbered(received[rank]));
                let len = 1 + 37 * received[rank] as usize;
                assert_eq!(*packet.payload, *vec![1 - rank as u8; len]);
                received[rank] += 1;
            }
        }
        received == [EACH; 2]
    });
    drop(links);
    assert_eq!(Arc::strong_count(&relays), 1, "a link outlived its job");
}
