//! Messages that are looked at, taken aside, and put back.

use phalanx_runtime::config::Config;
use phalanx_runtime::{ANY_SOURCE, ANY_TAG, MatchedMessage, Result};

use crate::harness::{content, run, tiny};

/// The value of each message in turn.
fn drain(world: &phalanx_runtime::World, count: usize) -> Result<Vec<u8>> {
    (0..count)
        .map(|_| Ok(world.recv::<[u8]>(0, ANY_TAG)?[0]))
        .collect()
}

#[test]
fn a_probe_says_what_the_receive_then_gets() {
    for config in [Config::default(), tiny()] {
        run(2, &config, |world| {
            for (tag, len) in [1, 48, 49, 65, 5000, 100_000].into_iter().enumerate() {
                let tag = tag as i32;
                if world.rank() == 0 {
                    world.send(1, tag, &content(len, len)[..])?;
                    continue;
                }
                let status = world.probe(ANY_SOURCE, ANY_TAG)?;
                assert_eq!(
                    (status.source, status.tag, status.size),
                    (0, tag, len as u64)
                );
                assert_eq!(world.iprobe(0, tag)?, Some(status));
                assert_eq!(world.iprobe(0, 100)?, None);
                let matched = world.mprobe(0, ANY_TAG)?;
                assert_eq!(matched.status(), status);
                assert_eq!(world.iprobe(0, tag)?, None);
                let mut buffer = vec![0; len];
                matched.recv_into(&mut buffer)?;
                assert_eq!(buffer, content(len, len));
            }
            Ok(())
        });
    }
}

#[test]
fn a_message_put_back_goes_to_a_receive_that_was_posted_meanwhile() {
    for config in [Config::default(), tiny()] {
        for len in [1, 1000, 100_000] {
            run(2, &config, |world| {
                if world.rank() == 0 {
                    return world.send(1, 0, &vec![7_u8; len][..]);
                }
                let matched = world.mprobe(0, 0)?;
                let posted = world.irecv::<[u8]>(0, 0)?;
                drop(matched);
                assert_eq!(*posted.wait()?, vec![7; len][..]);
                Ok(())
            });
        }
    }
}

#[test]
fn messages_put_back_keep_their_order() {
    run(2, &Config::default(), |world| {
        if world.rank() == 0 {
            for (value, tag) in [0, 1, 0, 1, 0, 1].into_iter().enumerate() {
                world.send(1, tag, &[value as u8][..])?;
            }
            return world.barrier();
        }
        world.barrier()?;
        // In the order in which they were taken, in the opposite one, and from behind others.
        let both: Vec<MatchedMessage> =
            [world.mprobe(0, ANY_TAG)?, world.mprobe(0, ANY_TAG)?].into();
        drop(both);
        let (first, second) = (world.mprobe(0, 0)?, world.mprobe(0, 0)?);
        drop(second);
        drop(first);
        drop(world.mprobe(0, 1)?);
        assert_eq!(drain(world, 6)?, [0, 1, 2, 3, 4, 5]);
        Ok(())
    });
}

#[test]
fn a_matched_message_belongs_to_nobody_else() {
    run(2, &tiny(), |world| {
        if world.rank() == 0 {
            for value in 0..3_u8 {
                world.send(1, 0, &[value][..])?;
            }
            return world.barrier();
        }
        world.barrier()?;
        let first = world.mprobe(0, 0)?;
        let second = world.improbe(0, 0)?.expect("all three are here");
        assert_eq!(drain(world, 1)?, [2]);
        assert!(world.improbe(0, 0)?.is_none());
        assert_eq!(*second.recv::<[u8]>()?, [1]);
        assert_eq!(*first.recv::<[u8]>()?, [0]);
        Ok(())
    });
}
