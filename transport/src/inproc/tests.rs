//! What only this link can do: be late, be full, be killed. Everything else is in the conformance tests.

use phalanx_shm::Death;

use crate::frame::{Envelope, Header};
use crate::inproc::{Inproc, InprocSettings};
use crate::link::{LinkError, PeerState, Transport};

fn numbered(number: i32) -> Header {
    Header::Eager(Envelope::new(0, number, 0))
}

fn job(ranks: usize, change: impl FnOnce(&mut InprocSettings)) -> Vec<Inproc> {
    let mut settings = InprocSettings::default();
    change(&mut settings);
    Inproc::job(ranks, settings)
}

/// Sends ten packets from each peer to rank 0, then polls until all have come; who sent each, and at which poll it came.
fn arrivals(seed: u64) -> Vec<(usize, usize)> {
    let mut links = job(4, |settings| {
        settings.delay = 20;
        settings.seed = seed;
    });
    for number in 0..10 {
        for link in &mut links[1..] {
            assert!(link.send(0, &numbered(number), &[]).unwrap());
        }
    }
    let mut arrived = Vec::new();
    for poll in 1.. {
        if let Some((sender, packet)) = links[0].poll().unwrap() {
            let before = arrived.iter().filter(|(who, _)| *who == sender).count();
            assert_eq!(packet.header, numbered(before as i32), "sender {sender}");
            arrived.push((sender, poll));
        }
        if arrived.len() == 30 {
            break;
        }
        assert!(poll <= 30 + 20, "only {arrived:?} came");
    }
    arrived
}

#[test]
fn late_packets_overtake_those_of_other_senders_only() {
    let senders: Vec<usize> = arrivals(7).iter().map(|(sender, _)| *sender).collect();
    let in_turn: Vec<usize> = (0..10).flat_map(|_| [1, 2, 3]).collect();
    assert_ne!(senders, in_turn);
}

#[test]
fn an_equal_seed_gives_an_equal_schedule() {
    assert_eq!(arrivals(7), arrivals(7));
    assert_ne!(arrivals(7), arrivals(8));
}

#[test]
fn a_packet_that_is_only_late_keeps_its_receiver_awake() {
    let mut links = job(2, |settings| settings.delay = 1000);
    for number in 0..20 {
        assert!(links[0].send(1, &numbered(number), &[]).unwrap());
    }
    assert!(links[1].poll().unwrap().is_none(), "none is due at once");
    assert!(!links[1].prepare_sleep());
}

#[test]
fn a_filled_pair_takes_nothing_until_released_and_others_do_not_notice() {
    let mut links = job(3, |_| ());
    let controls = links[0].controls();
    assert!(links[0].send(1, &numbered(0), &[]).unwrap());
    controls.fill_up(0, 1);
    assert!(!links[0].send(1, &numbered(9), &[]).unwrap());
    assert!(links[0].send(2, &numbered(0), &[]).unwrap());
    assert!(links[1].send(0, &numbered(0), &[]).unwrap());
    assert!(links[1].poll().unwrap().is_some());
    assert!(!links[0].send(1, &numbered(9), &[]).unwrap());

    controls.release(0, 1);
    assert!(links[0].send(1, &numbered(1), &[]).unwrap());
    let (_, packet) = links[1].poll().unwrap().unwrap();
    assert_eq!(packet.header, numbered(1));
}

#[test]
fn a_killed_rank_is_refused_everything_and_reads_no_more() {
    let mut links = job(2, |_| ());
    assert!(links[1].send(0, &numbered(0), &[]).unwrap());
    links[0].controls().kill(0);

    let gone = |error: LinkError| matches!(error, LinkError::Departed { rank: 0 });
    assert!(links[0].send(1, &numbered(0), &[]).is_err_and(gone));
    let buffer = links[0].reserve(100).unwrap();
    assert!(
        links[0]
            .send_buffer(1, &numbered(0), buffer)
            .is_err_and(gone)
    );
    assert!(links[0].poll().is_err_and(gone));
    assert!(!links[0].prepare_sleep());
    assert!(links[1].poll().unwrap().is_none());
}

#[test]
fn a_killed_rank_does_not_leave_once_more() {
    let mut links = job(2, |_| ());
    links[0].controls().kill(0);
    drop(links.remove(0));
    assert_eq!(links[0].departures(), 1);
    assert_eq!(links[0].state_of(0), PeerState::Dead(Death::Signal(9)));
}

#[test]
fn a_dead_peer_fills_up_but_keeps_no_chunks() {
    let mut links = job(2, |settings| {
        settings.capacity = 8;
        settings.chunks = 4;
    });
    let chunk = Header::Chunk {
        receive: 1,
        position: 0,
    };
    for _ in 0..4 {
        assert_eq!(links[0].send_part(1, &chunk, &[1; 5]).unwrap(), 5);
    }
    assert_eq!(links[0].send_part(1, &chunk, &[1; 5]).unwrap(), 0);
    links[0].controls().kill(1);

    for _ in 0..4 {
        assert_eq!(links[0].send_part(1, &chunk, &[1; 5]).unwrap(), 5);
    }
    assert!(!links[0].send(1, &numbered(0), &[]).unwrap());
}

#[test]
#[should_panic(expected = "reaches itself without a link")]
fn a_rank_does_not_send_to_itself() {
    let _ = job(1, |_| ())[0].send(0, &numbered(0), &[]);
}

#[test]
#[should_panic(expected = "has no room for these bytes")]
fn a_header_that_stands_alone_carries_no_bytes() {
    let _ = job(2, |_| ())[0].send(1, &Header::Done { send: 1 }, &[1]);
}
