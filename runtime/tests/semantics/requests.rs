//! Requests: waited for, tested, awaited, cancelled, alone and together.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use phalanx_runtime::config::Config;
use phalanx_runtime::{Error, Request, Result, test_all, test_any, wait_all, wait_any, wait_some};

use crate::harness::{content, run, tiny};

/// Wakes a thread, and counts.
struct Alarm {
    thread: Thread,
    rung: AtomicUsize,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Ordering::Relaxed);
        self.thread.unpark();
    }
}

/// The simplest executor: parks until woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let alarm = Arc::new(Alarm {
        thread: thread::current(),
        rung: AtomicUsize::new(0),
    });
    let waker = Waker::from(Arc::clone(&alarm));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while alarm.rung.swap(0, Ordering::Relaxed) == 0 {
            thread::park();
        }
    }
}

fn receives(
    world: &phalanx_runtime::World,
    peer: usize,
    count: i32,
) -> Result<Vec<Request<phalanx_runtime::message::Received<[u8]>>>> {
    (0..count)
        .map(|tag| world.irecv::<[u8]>(peer, tag))
        .collect()
}

#[test]
fn requests_are_futures() {
    for config in [Config::default(), tiny()] {
        run(2, &config, |world| {
            let peer = 1 - world.rank();
            block_on(async {
                for len in [0, 48, 64, 65, 5000, 300_000] {
                    let got = world.irecv::<[u8]>(peer, 0)?;
                    let sent = world.isend(peer, 0, content(len, len))?;
                    assert_eq!(*got.await?, content(len, len)[..]);
                    assert_eq!(sent.await?, content(len, len));
                }
                Ok(())
            })
        });
    }
}

#[test]
fn two_futures_are_polled_in_turns() {
    run(2, &tiny(), |world| {
        let peer = 1 - world.rank();
        let sent = world.isend(peer, 1, content(1, 200_000))?;
        let mut one = world.irecv::<[u8]>(peer, 0)?;
        let mut two = world.irecv::<[u8]>(peer, 1)?;
        let small = world.issend(peer, 0, vec![9_u8])?;
        let mut context = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (None, None);
        while first.is_none() || second.is_none() {
            if first.is_none()
                && let Poll::Ready(got) = pin!(&mut one).poll(&mut context)
            {
                first = Some(got?);
            }
            if second.is_none()
                && let Poll::Ready(got) = pin!(&mut two).poll(&mut context)
            {
                second = Some(got?);
            }
        }
        assert_eq!(first.as_deref(), Some(&[9][..]));
        assert_eq!(second.as_deref(), Some(&content(1, 200_000)[..]));
        assert!(one.test().is_err(), "a result is yielded once");
        small.wait()?;
        sent.wait()?;
        Ok(())
    });
}

#[test]
fn wait_any_takes_one_at_a_time() {
    run(2, &tiny(), |world| {
        let peer = 1 - world.rank();
        let mut requests = receives(world, peer, 8)?;
        let mut tags: Vec<i32> = (0..8).collect();
        let sends: Vec<_> = (0..8)
            .rev()
            .map(|tag| world.isend(peer, tag, content(tag as usize, 1 << (2 * tag))))
            .collect::<Result<_, _>>()?;
        while !requests.is_empty() {
            let (index, got) = wait_any(&mut requests)?;
            let tag = tags.remove(index);
            assert_eq!(got.tag(), tag);
            assert_eq!(*got, content(tag as usize, 1 << (2 * tag))[..]);
        }
        assert!(matches!(wait_any(&mut requests), Err(Error::Cancelled)));
        wait_all(sends)?;
        Ok(())
    });
}

#[test]
fn wait_some_and_test_any_take_what_is_there() {
    run(2, &Config::default(), |world| {
        let peer = 1 - world.rank();
        let mut requests = receives(world, peer, 6)?;
        assert!(test_any(&mut requests)?.is_none());
        assert!(test_all(&mut requests)?.is_none());
        world.barrier()?;
        for tag in [1, 4] {
            world.send(peer, tag, &[tag as u8][..])?;
        }
        // Messages do not overtake each other between two ranks, so both are here when this one is.
        world.sendrecv((peer, 10), &[0_u8][..], (peer, 10), &mut [0_u8])?;
        let some = wait_some(&mut requests)?;
        let found: Vec<_> = some.iter().map(|(index, got)| (*index, got[0])).collect();
        assert_eq!(found, [(1, 1), (4, 4)]);
        assert_eq!(requests.len(), 4);
        world.barrier()?;
        for tag in [0, 2, 3, 5] {
            world.send(peer, tag, &[tag as u8][..])?;
        }
        let (index, got) = loop {
            if let Some(found) = test_any(&mut requests)? {
                break found;
            }
        };
        assert_eq!((index, got[0]), (0, 0));
        let rest = loop {
            if let Some(rest) = test_all(&mut requests)? {
                break rest;
            }
        };
        assert_eq!(rest.iter().map(|got| got[0]).collect::<Vec<_>>(), [2, 3, 5]);
        assert!(wait_some(&mut requests)?.is_empty());
        Ok(())
    });
}

#[test]
fn an_error_in_wait_some_leaves_the_unfinished_in_place() {
    run(2, &Config::default(), |world| {
        if world.rank() == 0 {
            world.barrier()?;
            world.send(1, 0, &[0_u8][..])?;
            world.barrier()?;
            return world.send(1, 1, &[1_u16][..]);
        }
        let mut requests = vec![world.irecv::<[u16]>(0, 0)?, world.irecv::<[u16]>(0, 1)?];
        world.barrier()?;
        assert!(matches!(
            wait_some(&mut requests),
            Err(Error::TypeMismatch(_))
        ));
        assert_eq!(requests.len(), 1);
        world.barrier()?;
        assert_eq!(*wait_all(requests)?[0], [1]);
        Ok(())
    });
}

#[test]
fn a_receive_is_cancelled_unless_it_has_matched() {
    for config in [Config::default(), tiny()] {
        for len in [1, 1000, 100_000] {
            run(2, &config, |world| {
                if world.rank() == 0 {
                    world.barrier()?;
                    return world.send(1, 0, &content(1, len)[..]);
                }
                assert!(world.irecv::<[u8]>(0, 0)?.cancel().is_none());
                drop(world.irecv::<[u8]>(0, 0)?);
                let kept = world.irecv::<[u8]>(0, 0)?;
                let spare = world.irecv::<[u8]>(0, 0)?;
                world.barrier()?;
                assert_eq!(*kept.wait()?, content(1, len)[..]);
                assert!(spare.cancel().is_none());
                Ok(())
            });
        }
    }
}

#[test]
fn what_has_matched_is_not_cancelled() {
    run(2, &tiny(), |world| {
        if world.rank() == 0 {
            return world.send(1, 0, &content(1, 100_000)[..]);
        }
        world.probe(0, 0)?;
        let matched = world.irecv::<[u8]>(0, 0)?;
        let matched = matched.cancel().expect("its message is on its way");
        assert_eq!(*matched.wait()?, content(1, 100_000)[..]);
        let sent = world.isend(1, 0, vec![1_u8; 10])?;
        let sent = sent.cancel().expect("a send is not cancelled");
        assert_eq!(sent.wait()?, [1; 10]);
        assert_eq!(*world.recv::<[u8]>(1, 0)?, [1; 10]);
        Ok(())
    });
}

#[test]
fn a_request_outlives_a_wait_in_vain() {
    run(2, &tiny(), |world| {
        let peer = 1 - world.rank();
        let mut got = world.irecv::<[u8]>(peer, 0)?;
        assert!(got.wait_timeout(Duration::from_millis(1))?.is_none());
        let mut sent = world.issend(peer, 1, content(1, 50_000))?;
        assert!(sent.wait_timeout(Duration::from_millis(1))?.is_none());
        world.barrier()?;
        world.send(peer, 0, &[5_u8][..])?;
        assert_eq!(got.wait_timeout(Duration::MAX)?.as_deref(), Some(&[5][..]));
        let large = world.irecv::<[u8]>(peer, 1)?;
        assert_eq!(sent.wait_timeout(Duration::MAX)?, Some(content(1, 50_000)));
        assert_eq!(*large.wait()?, content(1, 50_000)[..]);
        Ok(())
    });
}
