//! Messages of every size, by every way to send and to receive, whole at the other end.

use phalanx::{Communicator, Result};

use crate::harness;

/// Around each threshold: inline, eager, pulled, chunked; the last has many windows of chunks.
const SIZES: [usize; 16] = [
    0,
    1,
    8,
    47,
    48,
    49,
    64,
    1023,
    1024,
    4096,
    16_384,
    16_385,
    32_769,
    65_536,
    1_000_003,
    8 << 20,
];

#[test]
fn messages_arrive_whole_however_they_are_sent() {
    harness::succeed(2, ranks::messages_arrive_whole);
}

#[test]
fn both_ranks_may_send_at_once() {
    harness::succeed(2, ranks::both_send_at_once);
}

#[test]
fn a_rank_may_send_to_itself() {
    harness::succeed(1, ranks::sends_to_itself);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn messages_arrive_whole() {
        harness::rank(|world| {
            for size in SIZES {
                if world.rank() == 0 {
                    send_every_way(world, size)?;
                } else {
                    receive_every_way(world, size)?;
                }
            }
            Ok(())
        });
    }

    #[test]
    pub(super) fn both_send_at_once() {
        harness::rank(|world| {
            let peer = 1 - world.rank();
            for size in SIZES {
                let mut got = vec![0; size + 1];
                let sent = content(size, world.rank());
                let status = world.sendrecv((peer, 1), &sent[..], (peer, 1), &mut got)?;
                assert_eq!(
                    (status.source(), status.tag(), status.len()),
                    (peer, 1, size)
                );
                assert!(got[..size] == content(size, peer), "{size}");
                let request = world.isend(peer, 2, sent)?;
                assert!(
                    world.recv::<[u8]>(peer, 2)?[..] == content(size, peer),
                    "{size}"
                );
                assert!(request.wait()? == content(size, world.rank()), "{size}");
            }
            Ok(())
        });
    }

    #[test]
    pub(super) fn sends_to_itself() {
        harness::rank(|world| {
            for size in SIZES {
                let request = world.isend(0, 3, content(size, 0))?;
                assert!(world.recv::<[u8]>(0, 3)?[..] == content(size, 0), "{size}");
                request.wait()?;
            }
            Ok(())
        });
    }
}

/// Bytes that differ from place to place, from size to size and from sender to sender.
fn content(size: usize, sender: usize) -> Vec<u8> {
    let byte = |index: usize| (index.wrapping_mul(31) ^ (index >> 8) ^ size ^ (sender << 6)) as u8;
    (0..size).map(byte).collect()
}

fn send_every_way(world: &Communicator, size: usize) -> Result<()> {
    let bytes = content(size, 0);
    for tag in 0..2 {
        world.send(1, tag, &bytes[..])?;
        world.ssend(1, tag, &bytes[..])?;
        let buffer = world.isend(1, tag, bytes.clone())?.wait()?;
        assert!(buffer == bytes, "an owned buffer comes back as it was");
        world.scope(|scope| scope.isend(1, tag, &bytes)?.wait())?;
        let mut shared = world.shared_vec(size)?;
        shared.extend_from_slice(&bytes)?;
        world.send(1, tag, &shared[..])?;
        let mut loan = world.loan::<[u8]>(size)?;
        loan.copy_from_slice(&bytes);
        loan.send(1, tag)?;
    }
    Ok(())
}

const WAYS: usize = 6;

fn receive_every_way(world: &Communicator, size: usize) -> Result<()> {
    let expected = content(size, 0);
    for way in 0..WAYS {
        let got = world.recv::<[u8]>(0, 0)?;
        assert!(*got == expected[..], "size {size}, way {way}");
        assert_eq!((got.source(), got.tag(), got.size()), (0, 0, size));
    }
    for way in 0..WAYS {
        let mut buffer = vec![0xa5; size + 3];
        let status = world.recv_into(0, 1, &mut buffer)?;
        assert_eq!(status.len(), size, "way {way}");
        assert!(buffer[..size] == expected, "size {size}, way {way}");
        assert_eq!(buffer[size..], [0xa5; 3], "size {size}, way {way}");
    }
    Ok(())
}
