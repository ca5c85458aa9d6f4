//! Bytes come out as they went in, whatever the kernel says to them.

use super::*;

fn io() -> Io {
    Io::bind("127.0.0.1:0".parse().unwrap(), 4 << 20).unwrap()
}

fn transmit(to: &Io, size: usize, segment: usize) -> Transmit {
    Transmit {
        destination: to.local(),
        ecn: Some(MARK),
        size,
        segment_size: Some(segment),
        src_ip: None,
    }
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| ((at * 7) ^ (at >> 8) ^ seed) as u8)
        .collect()
}

/// What arrives, until it is so many bytes.
fn receive(io: &mut Io, bytes: usize) -> Vec<Datagram> {
    let mut packets = Vec::new();
    let mut received = 0;
    while received < bytes {
        received += io.receive(&mut packets);
    }
    packets
}

fn assert_cut(packets: &[Datagram], sent: &[u8], segment: usize, from: &Io) {
    let pieces: Vec<_> = packets.iter().map(|packet| &packet.bytes[..]).collect();
    assert_eq!(pieces, sent.chunks(segment).collect::<Vec<_>>());
    assert!(packets.iter().all(|packet| packet.from == from.local()));
    assert!(packets.iter().all(|packet| packet.ecn == Some(MARK)));
}

#[test]
fn what_is_received_stays_as_it_was_while_more_is() {
    let (mut sender, mut receiver) = (io(), io());
    let mut kept = Vec::new();
    // Longer than there are places, so that memory is used again; single packets and batches, short ones and the longest.
    for round in 0..60 {
        let (len, segment) = [
            (40, 40),
            (62_804, 8972),
            (65_507, 65_507),
            (3000, 1000),
            (17_000, 17_000),
            (64_500, 1200),
        ][round % 6];
        let sent = pattern(round, len);
        sender.send(transmit(&receiver, len, segment), &sent);
        let packets = receive(&mut receiver, len);
        assert_cut(&packets, &sent, segment, &sender);
        kept.push((packets, sent, segment));
        if round % 20 == 19 {
            for (packets, sent, segment) in kept.drain(..) {
                assert_cut(&packets, &sent, segment, &sender);
            }
        }
    }
}

#[test]
fn many_batches_at_once_arrive_in_order() {
    let (mut sender, mut receiver) = (io(), io());
    let sent: Vec<_> = (0..20).map(|seed| pattern(seed, 9000)).collect();
    for bytes in &sent {
        sender.send(transmit(&receiver, 9000, 1500), bytes);
    }
    let packets = receive(&mut receiver, 20 * 9000);
    assert_cut(&packets, &sent.concat(), 1500, &sender);
}

#[test]
fn a_batch_that_the_kernel_calls_too_long_is_not_lost() {
    let (mut sender, mut receiver) = (io(), io());
    // Ten packets of jumbo frames are more than a call takes; the driver never makes such a batch.
    let sent = pattern(3, 10 * 8972);
    sender.send(transmit(&receiver, sent.len(), 8972), &sent);
    assert!(!sender.is_blocked());
    let packets = receive(&mut receiver, sent.len());
    assert_cut(&packets, &sent, 8972, &sender);
}

#[test]
fn what_a_full_socket_does_not_take_is_held_and_goes_first() {
    let (mut sender, mut receiver) = (io(), io());
    let sent = pattern(5, 5000);
    sender.full.set(3);
    sender.send(transmit(&receiver, 5000, 1000), &sent);
    assert!(sender.is_blocked());
    assert!(!sender.unblock() && !sender.unblock());
    assert!(sender.unblock());
    assert_cut(&receive(&mut receiver, 5000), &sent, 1000, &sender);
}

#[test]
fn a_socket_for_all_addresses_says_which_one_was_meant() {
    let mut sender = io();
    let mut receiver = Io::bind("0.0.0.0:0".parse().unwrap(), 1 << 20).unwrap();
    let port = receiver.local().port();
    let transmit = Transmit {
        destination: SocketAddr::from(([127, 0, 0, 1], port)),
        ..transmit(&receiver, 100, 100)
    };
    sender.send(transmit, &pattern(1, 100));
    let packets = receive(&mut receiver, 100);
    assert_eq!(packets[0].to, Some(IpAddr::from([127, 0, 0, 1])));
    assert_cut(&packets, &pattern(1, 100), 100, &sender);
}
