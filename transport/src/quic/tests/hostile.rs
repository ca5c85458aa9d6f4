//! A network where not everybody is a friend, and a friend that is broken.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use quinn_proto::{Endpoint, EndpointConfig};

use super::relay::Numbers;
use super::{HANG, await_that, job, numbered, ping_pong, receive};
use crate::frame::Header;
use crate::link::{LinkError, PeerState, Transport};
use crate::quic::framing::{Frame, Lane};
use crate::quic::{Quic, QuicSettings};

fn patient() -> QuicSettings {
    QuicSettings {
        dial_deadline: 2 * HANG,
        idle_timeout: 2 * HANG,
        ..QuicSettings::default()
    }
}

impl Numbers {
    /// A packet of garbage that often begins as one of QUIC does.
    fn packet(&mut self) -> Vec<u8> {
        let len = self.next() as usize % 1500;
        let mut bytes: Vec<u8> = (0..len).map(|_| self.next() as u8).collect();
        if let [first, version @ ..] = &mut bytes[..]
            && version.len() > 5
            && self.next().is_multiple_of(2)
        {
            *first = 0xc0 | (*first & 0x3f);
            version[..5].copy_from_slice(&[0, 0, 0, 1, 8]);
        }
        bytes
    }
}

/// Does `work` while somebody throws what `make` makes at all ranks, at least once at each.
fn under_fire(
    links: &mut [Quic],
    mut make: impl FnMut() -> Vec<u8> + Send,
    work: impl FnOnce(&mut [Quic]),
) {
    let targets: Vec<_> = links.iter().map(Quic::address).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                // Each from somewhere else, as those of a flood are.
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                for target in &targets {
                    socket.send_to(&make(), target).unwrap();
                }
                thread::yield_now();
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        work(links);
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn garbage_at_the_port_disturbs_nobody() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut links = job(2, &patient());
    under_fire(
        &mut links,
        move || numbers.packet(),
        |links| ping_pong(links, 300),
    );
    assert!(links.iter().all(
        |link| link.state_of(0) == PeerState::Present && link.state_of(1) == PeerState::Present
    ));
}

#[test]
fn a_flood_of_handshakes_costs_no_memory_and_keeps_nobody_out() {
    let mut links = job(2, &patient());
    let mut client = links[0].shared.sit().driver.pins.stranger(None);
    client.transport_config(Arc::new(patient().transport(1 << 20, 1200)));
    let target = links[0].address();
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
    let first_packet = move || {
        let now = Instant::now();
        let (_, mut quic) = endpoint
            .connect(now, client.clone(), target, "to-0.from-1.00.phalanx")
            .unwrap();
        let mut bytes = Vec::new();
        let sent = quic.poll_transmit(now, 1, &mut bytes).unwrap();
        bytes.truncate(sent.size);
        bytes
    };
    // The job's own connection comes to be in the middle of it.
    under_fire(&mut links, first_packet, |links| ping_pong(links, 100));
    for link in &links {
        let seat = link.shared.sit();
        let count = seat.driver.conns.iter().flatten().count();
        assert!(count <= 8, "{count} connections");
    }
}

#[test]
fn a_peer_that_sends_nonsense_is_dropped_and_the_others_are_not() {
    let mut links = job(3, &patient());
    ping_pong(&mut links, 1);
    assert!(links[2].send(0, &numbered(1), b"fine").unwrap());
    assert_eq!(receive(&mut links[0]).0, 2);
    {
        // Longer than a name can be.
        let frame = Frame::Packet(Header::TypeName { layout: 1 });
        let mut seat = links[1].shared.sit();
        seat.driver.peers[0]
            .lane(Lane::Small)
            .push(&frame, &[b'x'; 60]);
        seat.driver.list_peer(0);
        seat.driver.flush();
    }
    let mut fault = None;
    await_that("the fault", || {
        fault = links[0].poll().err();
        fault.is_some()
    });
    let fault = fault.unwrap();
    assert!(matches!(fault, LinkError::Stream { peer: 1, .. }));
    assert!(
        fault.to_string().contains("kind 9 with 60 bytes"),
        "{fault}"
    );
    assert_eq!(links[0].state_of(1), PeerState::Unreachable);
    await_that("the news", || {
        assert!(links[1].poll().unwrap().is_none());
        links[1].state_of(0) == PeerState::Unreachable
    });
    assert!(links[2].send(0, &numbered(2), b"still fine").unwrap());
    assert_eq!(*receive(&mut links[0]).1.payload, *b"still fine");
}
