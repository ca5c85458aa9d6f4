//! What is wrong with a message or a call is said, with names and sizes, and nothing is lost by it.

use phalanx_runtime::config::Config;
use phalanx_runtime::{Error, wait_all};

use crate::harness::{content, run, settings, tiny};

#[test]
fn a_message_too_long_names_sender_and_sizes_and_stays() {
    for config in [Config::default(), tiny()] {
        for len in [10, 60, 1000, 100_000] {
            run(2, &config, |world| {
                if world.rank() == 0 {
                    return world.send(1, 5, &content(len, len)[..]);
                }
                let mut short = vec![0_u8; len - 1];
                let error = world.recv_into(0, 5, &mut short).unwrap_err();
                let Error::Truncated(truncated) = &error else {
                    panic!("{error}");
                };
                assert_eq!((truncated.from, truncated.tag), (0, 5));
                assert_eq!((truncated.sent, truncated.capacity), (len as u64, len - 1));
                let said = error.to_string();
                assert!(said.contains(&format!("{len} bytes")), "{said}");
                let mut exact = vec![0_u8; len];
                assert_eq!(world.recv_into(0, 5, &mut exact)?.len(), len);
                assert_eq!(exact, content(len, len));
                Ok(())
            });
        }
    }
}

#[test]
fn a_message_of_another_type_names_both_and_stays() {
    for config in [Config::default(), tiny()] {
        for len in [3, 1000, 50_000] {
            run(2, &config, |world| {
                if world.rank() == 0 {
                    return world.send(1, 5, &vec![1_u16; len][..]);
                }
                let error = world.recv::<[f32]>(0, 5).unwrap_err();
                let Error::TypeMismatch(mismatch) = &error else {
                    panic!("{error}");
                };
                assert_eq!((mismatch.from, mismatch.tag), (0, 5));
                assert_eq!((&*mismatch.sent, &*mismatch.expected), ("[u16]", "[f32]"));
                let matched = world.mprobe(0, 5)?;
                assert!(matched.recv::<String>().is_err());
                assert_eq!(*world.recv::<[u16]>(0, 5)?, vec![1; len][..]);
                Ok(())
            });
        }
    }
}

/// A message that one posted receive cannot take goes on to the next one that fits.
#[test]
fn a_posted_receive_of_the_wrong_type_does_not_rob_the_next() {
    for config in [Config::default(), tiny()] {
        for len in [3, 1000, 50_000] {
            run(2, &config, |world| {
                if world.rank() == 0 {
                    world.barrier()?;
                    world.send(1, 5, &vec![1_u16; len][..])?;
                    return world.send(1, 5, &vec![2_u16; len][..]);
                }
                let wrong = world.irecv::<[f32]>(0, 5)?;
                let first = world.irecv::<[u16]>(0, 5)?;
                let second = world.irecv::<[u16]>(0, 5)?;
                world.barrier()?;
                assert_eq!(*first.wait()?, vec![1; len][..]);
                assert_eq!(*second.wait()?, vec![2; len][..]);
                assert!(matches!(wrong.wait(), Err(Error::TypeMismatch(_))));
                Ok(())
            });
        }
    }
}

#[test]
fn a_posted_buffer_too_short_does_not_rob_the_next() {
    run(2, &tiny(), |world| {
        if world.rank() == 0 {
            world.barrier()?;
            return world.send(1, 5, &[1_u16; 100][..]);
        }
        let (mut short, mut long) = ([0_u16; 10], [0_u16; 200]);
        let result = world.scope(|scope| {
            let tight = scope.irecv_into(0, 5, &mut short)?;
            let roomy = scope.irecv_into(0, 5, &mut long)?;
            world.barrier()?;
            assert_eq!(roomy.wait()?.len(), 100);
            assert!(matches!(tight.wait(), Err(Error::Truncated(_))));
            Ok(())
        });
        assert_eq!((short, long[99], long[100]), ([0; 10], 1, 0));
        result
    });
}

#[test]
fn bytes_that_are_no_value_of_their_type_are_refused() {
    let config = settings(&[("checks.types", "false")]);
    run(2, &config, |world| {
        if world.rank() == 0 {
            world.send(1, 0, &[0xff_u8; 4][..])?;
            world.send(1, 0, &[0xff_u8; 3][..])?;
            return world.send(1, 0, &[0xff_u8; 8][..]);
        }
        for wrong in [
            world.recv::<char>(0, 0).map(|_| ()),
            world.recv::<[u64]>(0, 0).map(|_| ()),
        ] {
            let error = wrong.unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::InvalidMessage {
                        from: 0,
                        tag: 0,
                        ..
                    }
                ),
                "{error}"
            );
        }
        // Unchecked types are the program's wish: these bytes are a number.
        assert_eq!(*world.recv::<[u64]>(0, 0)?, [u64::MAX]);
        Ok(())
    });
}

#[test]
fn ranks_and_tags_that_do_not_exist_are_refused() {
    run(2, &Config::default(), |world| {
        let is_no_rank = |error: Error| {
            assert!(
                matches!(error, Error::NoSuchRank { rank: 2, size: 2 }),
                "{error}"
            );
        };
        let is_no_tag = |error: Error| {
            assert!(matches!(error, Error::InvalidTag(-1)), "{error}");
        };
        let (bytes, mut buffer) = ([1_u8; 4], [0_u8; 4]);
        is_no_rank(world.send(2, 0, &bytes[..]).unwrap_err());
        is_no_tag(world.send(1, -1, &bytes[..]).unwrap_err());
        is_no_rank(world.ssend(2, 0, &bytes[..]).unwrap_err());
        is_no_rank(world.recv::<[u8]>(2, 0).unwrap_err());
        is_no_tag(world.recv::<[u8]>(1, -1).unwrap_err());
        is_no_rank(world.recv_into(2, 0, &mut buffer).unwrap_err());
        is_no_rank(world.irecv::<[u8]>(2, 0).unwrap_err());
        is_no_rank(world.probe(2, 0).unwrap_err());
        is_no_tag(world.iprobe(1, -1).unwrap_err());
        is_no_rank(world.improbe(2, 0).unwrap_err());
        let failed = world.isend(1, -1, vec![3_u8]).unwrap_err();
        assert_eq!(failed.value, [3]);
        is_no_tag(failed.error);
        let failed = world.loan::<[u8]>(4)?.isend(2, 0).unwrap_err();
        assert_eq!(failed.value.len(), 4);
        is_no_rank(failed.error);
        is_no_rank(
            world
                .scope(|scope| scope.isend(2, 0, &bytes).map(drop))
                .unwrap_err(),
        );
        Ok(())
    });
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    let config = settings(&[("memory.pool_limit", "8MiB")]);
    run(1, &config, |world| {
        for len in [1 << 25, 1 << 40, usize::MAX / 2 + 2, usize::MAX] {
            assert!(
                matches!(world.loan::<[u8]>(len), Err(Error::Link(_))),
                "{len}"
            );
            assert!(
                matches!(world.shared_vec::<u64>(len), Err(Error::Link(_))),
                "{len}"
            );
        }
        let mut vector = world.shared_vec::<u8>(4)?;
        vector.extend_from_slice(b"kept")?;
        assert!(vector.reserve(1 << 40).is_err());
        assert_eq!(&vector[..], b"kept");
        Ok(())
    });
}

#[test]
fn one_failure_among_many_leaves_the_link_usable() {
    run(2, &tiny(), |world| {
        let peer = 1 - world.rank();
        let wrong: Vec<_> = (0..10)
            .map(|tag| world.irecv::<[f64]>(peer, tag))
            .collect::<Result<_, _>>()?;
        for tag in 0..10 {
            drop(world.isend(peer, tag, content(tag as usize, 1000))?);
        }
        assert!(matches!(wait_all(wrong), Err(Error::TypeMismatch(_))));
        world.barrier()?;
        for tag in (0..10).rev() {
            assert_eq!(
                *world.recv::<[u8]>(peer, tag)?,
                content(tag as usize, 1000)[..]
            );
        }
        Ok(())
    });
}
