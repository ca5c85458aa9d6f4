//! Several threads of a rank share its communicator.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use phalanx_runtime::config::Config;
use phalanx_runtime::{ANY_SOURCE, Result, World};

use crate::harness::{content, run, settings, shake, sleepy, tiny};

/// Runs `work` on `count` threads of this rank, and returns the first error.
fn spread(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|index| {
                scope.spawn({
                    let work = &work;
                    move || work(index)
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })
}

fn policies() -> [Config; 4] {
    [
        Config::default(),
        tiny(),
        settings(&[("wait.policy", "dedicated")]),
        settings(&[("wait.policy", "shared")]),
    ]
}

#[test]
fn each_thread_has_a_conversation_of_its_own() {
    for round in 0..20_u64 {
        let config = &policies()[round as usize % 4];
        let threads = [2, 4, 8][round as usize % 3];
        run(2, config, |world| {
            let peer = 1 - world.rank();
            spread(threads, |index| {
                let mut state = round * 64 + index as u64 + 1;
                for count in 0..20 {
                    let (tag, len) = (index as i32, [8, 60, 70_000][count % 3]);
                    let sent = world.isend(peer, tag, content(count, len))?;
                    shake(&mut state);
                    assert_eq!(*world.recv::<[u8]>(peer, tag)?, content(count, len)[..]);
                    sent.wait()?;
                }
                Ok(())
            })
        });
    }
}

#[test]
fn blocking_sends_of_many_threads_do_not_stop_each_other() {
    for round in 0..20_u64 {
        let config = &policies()[round as usize % 4];
        run(2, config, |world| {
            let peer = 1 - world.rank();
            spread(4, |index| {
                let mut state = round * 64 + index as u64 + 1;
                for count in 0..10 {
                    let tag = (index / 2) as i32;
                    shake(&mut state);
                    if index % 2 == 0 {
                        world.send(peer, tag, &content(count, 100_000)[..])?;
                        world.ssend(peer, tag, &content(count, 30)[..])?;
                    } else {
                        let mut buffer = vec![0_u8; 100_000];
                        world.recv_into(peer, tag, &mut buffer)?;
                        assert_eq!(buffer, content(count, 100_000));
                        assert_eq!(*world.recv::<[u8]>(peer, tag)?, content(count, 30)[..]);
                    }
                }
                Ok(())
            })
        });
    }
}

#[test]
fn receives_of_one_tag_get_each_message_once() {
    const MESSAGES: usize = 64;
    for round in 0..20_u64 {
        let config = &policies()[round as usize % 4];
        let threads = [2, 4, 8][round as usize % 3];
        let seen = Mutex::new(BTreeSet::new());
        run(3, config, |world| {
            if world.rank() != 0 {
                for id in 0..MESSAGES as u64 {
                    let id = id * 2 + world.rank() as u64 - 1;
                    world.send(0, 0, &vec![id; [1, 10, 5000][id as usize % 3]][..])?;
                }
                return Ok(());
            }
            spread(threads, |index| {
                let mut state = round * 64 + index as u64 + 1;
                for _ in 0..2 * MESSAGES / threads {
                    shake(&mut state);
                    let id = world.recv::<[u64]>(ANY_SOURCE, 0)?[0];
                    assert!(seen.lock().unwrap().insert(id), "{id} came twice");
                }
                Ok(())
            })
        });
        assert_eq!(seen.lock().unwrap().len(), 2 * MESSAGES);
    }
}

/// One thread waits for a message that comes last; the others work meanwhile, each step needing the one before.
fn work_beside_a_waiting_thread(world: &World, round: u64) -> Result<()> {
    const LAST: i32 = 1000;
    let peer = 1 - world.rank();
    spread(3, |index| {
        let mut state = round * 64 + index as u64 + 1;
        if index == 0 {
            assert_eq!(*world.recv::<[u8]>(peer, LAST)?, [1]);
            return Ok(());
        }
        let tag = index as i32;
        for count in 0..20 {
            let len = [8, 100, 40_000][count % 3];
            if world.rank() == 0 {
                world.send(peer, tag, &content(count, len)[..])?;
            }
            assert_eq!(*world.recv::<[u8]>(peer, tag)?, content(count, len)[..]);
            shake(&mut state);
            if world.rank() == 1 {
                world.send(peer, tag, &content(count, len)[..])?;
            }
        }
        if index == 1 {
            world.send(peer, LAST, &[1_u8][..])?;
        }
        Ok(())
    })
}

#[test]
fn a_thread_that_waits_keeps_nobody_out() {
    for round in 0..20 {
        run(2, &policies()[round as usize % 4], |world| {
            work_beside_a_waiting_thread(world, round)
        });
    }
}

#[test]
fn no_wake_up_is_lost() {
    for round in 0..20 {
        run(2, &sleepy(), |world| {
            work_beside_a_waiting_thread(world, round)
        });
    }
}

#[test]
fn a_thread_that_waits_keeps_nobody_out_while_messages_pour_in() {
    for policy in ["dedicated", "shared"] {
        run(2, &settings(&[("wait.policy", policy)]), |world| {
            if world.rank() == 1 {
                while world.iprobe(0, 0)?.is_none() {
                    drop(world.isend(0, 1, vec![1_u8])?);
                }
                return world.send(0, 2, &[2_u8][..]);
            }
            spread(2, |index| {
                if index == 0 {
                    assert_eq!(*world.recv::<[u8]>(1, 2)?, [2]);
                } else {
                    world.send(1, 0, &[0_u8][..])?;
                }
                Ok(())
            })
        });
    }
}
