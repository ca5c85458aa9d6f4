//! Large messages side by side: none waits for one that cannot go on.

use std::sync::Barrier;

use phalanx_runtime::Error;
use phalanx_runtime::config::Config;

use crate::harness::{content, run, settings, tiny};

const LARGE: usize = 4 << 20;

#[test]
fn large_messages_of_every_kind_arrive() {
    for config in [Config::default(), tiny()] {
        run(3, &config, |world| {
            let (left, right) = ((world.rank() + 2) % 3, (world.rank() + 1) % 3);
            let sent = world.isend(right, 0, content(0, LARGE + 1))?;
            let mut shared = world.shared_vec::<u8>(LARGE)?;
            shared.extend_from_slice(&content(1, LARGE))?;
            let exposed = world.isend(left, 1, shared)?;
            let mut buffer = vec![0_u8; LARGE];
            assert_eq!(world.recv_into(right, 1, &mut buffer)?.len(), LARGE);
            assert!(buffer == content(1, LARGE));
            let got = world.recv::<[u8]>(left, 0)?;
            assert!(*got == content(0, LARGE + 1)[..]);
            assert_eq!(sent.wait()?.len(), LARGE + 1);
            assert_eq!(exposed.wait()?.len(), LARGE);
            let archive = world.isend(right, 2, "y".repeat(LARGE))?;
            assert_eq!(world.recv::<String>(left, 2)?.len(), LARGE);
            archive.wait()?;
            Ok(())
        });
    }
}

/// A receiver that has accepted a message and then computes for long must not keep its sender from serving others.
#[test]
fn a_receiver_that_looks_away_does_not_stall_others() {
    for config in [Config::default(), tiny()] {
        let (accepted, served) = (Barrier::new(2), Barrier::new(2));
        run(3, &config, |world| {
            match world.rank() {
                0 => {
                    let stalled = world.isend(1, 0, content(0, LARGE))?;
                    accepted.wait();
                    world.send(2, 0, &content(1, LARGE)[..])?;
                    stalled.wait()?;
                }
                1 => {
                    world.probe(0, 0)?;
                    let mut got = world.irecv::<[u8]>(0, 0)?;
                    assert!(got.test()?.is_none());
                    accepted.wait();
                    // Computes until rank 2 has been served.
                    served.wait();
                    assert!(*got.wait()? == content(0, LARGE)[..]);
                }
                _ => {
                    assert!(*world.recv::<[u8]>(0, 0)? == content(1, LARGE)[..]);
                    served.wait();
                }
            }
            Ok(())
        });
    }
}

#[test]
fn everyone_streams_to_everyone() {
    for config in [Config::default(), tiny()] {
        run(4, &config, |world| {
            let peers = || (0..4).filter(|&peer| peer != world.rank());
            let len = 200_000;
            let sends: Vec<_> = peers()
                .map(|peer| world.isend(peer, 0, content(world.rank(), len)))
                .collect::<Result<_, _>>()?;
            for peer in peers() {
                let mut buffer = vec![0_u8; len];
                world.recv_into(peer, 0, &mut buffer)?;
                assert!(buffer == content(peer, len));
            }
            for send in sends {
                send.wait()?;
            }
            Ok(())
        });
    }
}

#[test]
fn shared_vectors_reach_oneself_and_whoever_is_there() {
    for config in [Config::default(), tiny()] {
        run(3, &config, |world| {
            let me = world.rank();
            let mut shared = world.shared_vec::<u8>(LARGE)?;
            shared.resize(LARGE, me as u8)?;
            let mut got = vec![9_u8; LARGE];
            world.send(me, 0, &shared[..])?;
            world.recv_into(me, 0, &mut got)?;
            assert_eq!(got, shared[..]);
            if me == 2 {
                return Ok(());
            }
            let peer = 1 - me;
            for round in 0..10_u8 {
                shared.fill(round);
                if me == 0 {
                    world.send(peer, 1, &shared[..])?;
                    world.recv_into(peer, 1, &mut got)?;
                } else {
                    world.recv_into(peer, 1, &mut got)?;
                    world.send(peer, 1, &shared[..])?;
                }
                assert_eq!(got, shared[..], "round {round}");
            }
            // The third rank has never been sent anything.
            match world.send(2, 2, &shared[..]) {
                Err(Error::PeerLeft { rank: 2, .. }) => Ok(()),
                other => panic!("rank 2 leaves, but: {other:?}"),
            }
        });
    }
}

/// Loans and archives are given away, so nobody waits until somebody takes them, whatever the link can do.
#[test]
fn all_ranks_may_send_what_they_give_away_before_any_receives() {
    for transport in ["auto", "inproc", "quic"] {
        let config = settings(&[("transport.same_host", transport)]);
        run(3, &config, |world| {
            let (me, n) = (world.rank(), world.size());
            for round in 0..5_usize {
                let bytes = content(me + round, 300_000);
                let mut loan = world.loan::<[u8]>(bytes.len())?;
                loan.copy_from_slice(&bytes);
                loan.send((me + 1) % n, 1)?;
                world.send((me + 1) % n, 2, &vec![format!("{me} in {round}"); 20_000])?;
            }
            let left = (me + n - 1) % n;
            for round in 0..5_usize {
                let bytes = world.recv::<[u8]>(left, 1)?;
                assert_eq!(*bytes, content(left + round, 300_000));
                let words = world.recv::<Vec<String>>(left, 2)?;
                assert!(words.len() == 20_000 && words[19_999] == *format!("{left} in {round}"));
            }
            Ok(())
        });
    }
}
