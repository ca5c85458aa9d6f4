//! What prototypes and others' reports have shown to go wrong.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use super::{HANG, await_that, await_trouble, bind, enrol, job, numbered, ping_pong, receive};
use crate::frame::Header;
use crate::link::{LinkError, PeerState, Transport};
use crate::quic::connection::Stage;
use crate::quic::io::Io;
use crate::quic::{Card, JobId, QuicSettings, QuicSocket};

fn patient() -> QuicSettings {
    QuicSettings {
        dial_deadline: 2 * HANG,
        ..QuicSettings::default()
    }
}

/// An address of this host where nobody listens.
fn vacant() -> std::net::SocketAddr {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn a_batch_never_has_more_bytes_than_the_kernel_takes() {
    let io = Io::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
    for packet in [1200, 1472, 6500, 8972, 9000, 32_000, 40_000, 65_507] {
        let segments = io.segments(packet);
        assert!((1..=64).contains(&segments), "{packet}");
        assert!(segments * usize::from(packet) <= 65_507, "{packet}");
    }
}

/// The size of packets from one rank to another once the path is known.
fn settled_size(settings: &QuicSettings, enough: u16) -> u16 {
    let mut links = job(2, settings);
    let chunk = Header::Chunk {
        receive: 1,
        position: 0,
    };
    let mut size = 0;
    for _ in 0..400 {
        let part = vec![0; 64 << 10];
        await_that("room", || links[0].send(1, &chunk, &part).unwrap());
        assert_eq!(receive(&mut links[1]).1.payload.len(), 64 << 10);
        let seat = links[0].shared.sit();
        let conn = seat.driver.conns.iter().flatten().next().unwrap();
        size = conn.quic.current_mtu();
        if size >= enough {
            break;
        }
    }
    size
}

#[test]
fn packets_grow_to_what_is_allowed_and_bulk_still_arrives() {
    let settings = QuicSettings {
        largest_packet: Some(8972),
        ..patient()
    };
    let size = settled_size(&settings, 8900);
    assert!((8900..=8972).contains(&size), "{size}");
}

#[test]
fn packets_within_a_host_are_as_large_as_udp_can_carry() {
    let size = settled_size(&patient(), 65_000);
    assert!((65_000..=65_507).contains(&size), "{size}");
}

#[test]
fn a_peer_whose_socket_is_late_is_reached() {
    let id = JobId::random().unwrap();
    let early = bind(0, id, &patient());
    let identity = crate::quic::Identity::generate(1, id).unwrap();
    let address = vacant();
    let cards = [early.card(), identity.card(vec![address])];
    let mut early = enrol(early, &cards);
    assert!(early.send(1, &numbered(1), b"are you there").unwrap());
    // Long enough for the first packet to be lost, since it is sent by `send` itself.
    assert!(early.poll().unwrap().is_none());

    let late = QuicSocket::bind(identity, address, patient()).unwrap();
    let mut late = enrol(late, &cards);
    assert_eq!(*receive(&mut late).1.payload, *b"are you there");
    let (_, again) = {
        assert!(late.send(0, &numbered(2), b"now I am").unwrap());
        receive(&mut early)
    };
    assert_eq!(*again.payload, *b"now I am");
}

#[test]
fn a_peer_of_which_one_address_works_is_reached() {
    let id = JobId::random().unwrap();
    let sockets = [0, 1].map(|rank| bind(rank, id, &patient()));
    let mut cards: Vec<Card> = sockets.iter().map(QuicSocket::card).collect();
    for card in &mut cards {
        card.addresses.insert(0, vacant());
        card.addresses.insert(0, "[::1]:9".parse().unwrap());
    }
    let [first, second] = sockets.map(|socket| enrol(socket, &cards));
    let mut links = [first, second];
    ping_pong(&mut links, 3);
}

#[test]
fn where_nobody_answers_is_said_with_the_address() {
    let settings = QuicSettings {
        dial_deadline: Duration::from_millis(100),
        ..QuicSettings::default()
    };
    let id = JobId::random().unwrap();
    let alone = bind(0, id, &settings);
    let identity = crate::quic::Identity::generate(1, id).unwrap();
    let address = vacant();
    let cards = [alone.card(), identity.card(vec![address])];
    let mut alone = enrol(alone, &cards);
    assert!(alone.send(1, &numbered(1), b"anybody?").unwrap());
    let trouble = await_trouble(&mut alone, 1);
    assert!(trouble.contains(&address.to_string()), "{trouble}");
    assert!(
        trouble.contains("no UDP path") && trouble.contains("firewall"),
        "{trouble}"
    );
    assert_eq!(alone.departures(), 1);
    let refused = alone.send(1, &numbered(2), b"anybody?").unwrap_err();
    assert!(matches!(refused, LinkError::Unreachable { peer: 1, .. }));
    // What only answers a peer waits for the layer above to see that it has gone.
    assert!(!alone.send(1, &Header::Done { send: 1 }, &[]).unwrap());
}

#[test]
fn silence_is_told_from_death() {
    let settings = QuicSettings {
        idle_timeout: Duration::from_secs(1),
        keep_alive: Duration::from_millis(200),
        dial_deadline: 2 * HANG,
        ..QuicSettings::default()
    };
    let mut links = job(3, &settings);
    ping_pong(&mut links, 2);
    links[1].crash();
    let trouble = await_trouble(&mut links[0], 1);
    assert!(trouble.contains("not been heard of"), "{trouble}");
    assert_eq!(links[0].state_of(2), PeerState::Present);
    // The third rank, which never talked to it, would look for it to say goodbye.
    links[2].record(1, PeerState::Unreachable);
}

#[test]
fn ranks_that_dial_each_other_at_once_come_to_one_connection() {
    const RANKS: usize = 4;
    for _ in 0..15 {
        let mut links = job(RANKS, &patient());
        for (from, link) in links.iter_mut().enumerate() {
            for to in (0..RANKS).filter(|&to| to != from) {
                assert!(link.send(to, &numbered(from as i32), &[]).unwrap());
            }
        }
        for link in &mut links {
            let mut senders: Vec<_> = (1..RANKS).map(|_| receive(link).0).collect();
            senders.sort_unstable();
            let rank = link.rank();
            assert_eq!(
                senders,
                (0..RANKS).filter(|&peer| peer != rank).collect::<Vec<_>>()
            );
        }
        for link in &links {
            link.settle();
            let seat = link.shared.sit();
            let conns = seat.driver.conns.iter().flatten();
            let used = conns.filter(|conn| conn.stage == Stage::Elected).count();
            assert_eq!(used, RANKS - 1);
        }
    }
}

#[test]
fn a_small_message_does_not_wait_behind_bulk() {
    let mut links = job(2, &patient());
    ping_pong(&mut links, 1);
    let header = Header::Chunk {
        receive: 1,
        position: 0,
    };
    let mut chunks = 0;
    let part = vec![0; 64 << 10];
    while links[0].send_part(1, &header, &part).unwrap() != 0 {
        chunks += 1;
    }
    assert!(links[0].send(1, &numbered(5), b"urgent").unwrap());
    let mut ahead = 0;
    while receive(&mut links[1]).1.header == header {
        ahead += 1;
    }
    assert!(ahead < chunks, "all {chunks} parts came first");
    for _ in ahead..chunks {
        assert_eq!(receive(&mut links[1]).1.header, header);
    }
}

#[test]
fn what_is_sent_to_a_rank_that_computes_is_acknowledged() {
    let mut links = job(2, &patient());
    let header = Header::Chunk {
        receive: 1,
        position: 0,
    };
    let part = vec![0; 64 << 10];
    let mut window = 0;
    while links[0].send_part(1, &header, &part).unwrap() != 0 {
        window += 1;
    }
    // Neither rank calls its link: two keepers carry it all.
    let chunks = links[0].chunks.clone();
    await_that("the acknowledgement of all", || {
        let free: Vec<_> = std::iter::from_fn(|| chunks.try_take()).collect();
        free.len() >= window
    });
    for _ in 0..window {
        assert_eq!(receive(&mut links[1]).1.header, header);
    }
}

#[test]
fn what_the_program_has_taken_is_acknowledged_while_it_computes() {
    let mut links = job(2, &patient());
    ping_pong(&mut links, 1);
    let header = Header::Chunk {
        receive: 1,
        position: 0,
    };
    // Few bytes, which are handed up before anything is said to them.
    assert_ne!(links[0].send_part(1, &header, &[1; 300]).unwrap(), 0);
    assert_eq!(receive(&mut links[1]).1.header, header);
    let chunks = links[0].chunks.clone();
    let all = QuicSettings::default().chunks;
    await_that("the acknowledgement", || {
        let free: Vec<_> = std::iter::from_fn(|| chunks.try_take()).collect();
        free.len() == all
    });
}

#[test]
fn packets_that_a_full_socket_did_not_take_are_not_lost() {
    let mut links = job(2, &patient());
    ping_pong(&mut links, 1);
    for round in 0..20 {
        links[0].shared.sit().driver.wire.io.full.set(round % 4);
        ping_pong(&mut links, 1);
    }
    links[0].settle();
    let seat = links[0].shared.sit();
    let conns = seat.driver.conns.iter().flatten();
    let path = conns.map(|conn| conn.quic.stats().path).next().unwrap();
    assert_eq!(path.lost_packets - path.lost_plpmtud_probes, 0);
}

#[test]
fn many_senders_do_not_drown_a_receiver_with_a_small_buffer() {
    const SENDERS: usize = 8;
    const PARTS: usize = 40;
    let settings = QuicSettings {
        socket_buffer: 212_992,
        senders: SENDERS,
        ..patient()
    };
    let mut links = job(1 + SENDERS, &settings);
    let header = Header::Chunk {
        receive: 1,
        position: 0,
    };
    let send_all = |mut link: crate::Quic| {
        let mut sent = 0;
        await_that("room for all", || {
            let part = vec![9; 64 << 10];
            sent += usize::from(link.send_part(0, &header, &part).unwrap() != 0);
            assert!(link.poll().unwrap().is_none());
            sent == PARTS
        });
        link
    };
    let senders: Vec<crate::Quic> = thread::scope(|scope| {
        let senders: Vec<_> = links
            .drain(1..)
            .map(|link| scope.spawn(move || send_all(link)))
            .collect();
        for _ in 0..SENDERS * PARTS {
            let (_, part) = receive(&mut links[0]);
            assert_eq!(part.payload.len(), 64 << 10);
        }
        let ended = senders.into_iter().map(|sender| sender.join().unwrap());
        ended.collect()
    });
    for sender in senders {
        let seat = sender.shared.sit();
        let conn = seat.driver.conns.iter().flatten().next().unwrap();
        let (path, size) = (conn.quic.stats().path, conn.quic.current_mtu());
        assert!(path.lost_packets * 10 <= path.sent_packets, "{path:?}");
        assert!(size >= 8192, "packets fell to {size} bytes");
    }
}

#[test]
fn two_ranks_that_send_much_to_each_other_both_finish() {
    const EACH: usize = 200;
    let mut links = job(2, &patient());
    let header = Header::Chunk {
        receive: 1,
        position: 0,
    };
    let (mut sent, mut received) = ([0; 2], [0; 2]);
    await_that("the end of both", || {
        for rank in 0..2 {
            if sent[rank] < EACH
                && links[rank]
                    .send_part(1 - rank, &header, &[7; 5000])
                    .unwrap()
                    != 0
            {
                sent[rank] += 1;
            }
            received[rank] += usize::from(links[rank].poll().unwrap().is_some());
        }
        received == [EACH; 2]
    });
}

#[test]
fn connections_that_ended_leave_nothing_in_the_endpoint() {
    let mut links = job(3, &patient());
    ping_pong(&mut links, 1);
    drop(links.pop());
    drop(links.pop());
    await_that("the last of the connections", || {
        assert!(links[0].poll().unwrap().is_none());
        let seat = links[0].shared.sit();
        seat.driver.conns.iter().flatten().count() == 0
            && seat.driver.endpoint.open_connections() == 0
    });
}
