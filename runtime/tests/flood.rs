//! Messages that nobody receives yet: memory stays bounded, and nothing is lost. A process of its own, because it looks at its size.

#[path = "semantics/harness.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod harness;

use harness::{run, settings};
use phalanx_runtime::config::Config;
use phalanx_runtime::{ANY_SOURCE, ANY_TAG, Request, Result, World, wait_all};

/// Pages of memory that this process really has.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|field| field.parse::<usize>().ok());
    pages.expect("the second field is a number") * 4096
}

#[test]
fn a_flood_is_bounded_and_complete() {
    const SENDERS: usize = 4;
    const EACH: u64 = 100_000;
    let config = settings(&[("protocol.unexpected_limit", "1MiB")]);
    let before = resident_bytes();
    run(SENDERS + 1, &config, |world| {
        if world.rank() != 0 {
            for number in 0..EACH {
                world.send(0, 0, &[number][..])?;
            }
            return Ok(());
        }
        // Takes in whatever comes, and receives none of it.
        for _ in 0..200_000 {
            assert!(world.iprobe(ANY_SOURCE, 1)?.is_none());
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(
            grown < 64 << 20,
            "{} MiB for unexpected messages",
            grown >> 20
        );
        let mut next = [0; SENDERS + 1];
        for _ in 0..SENDERS as u64 * EACH {
            let got = world.recv::<[u64]>(ANY_SOURCE, ANY_TAG)?;
            assert_eq!(got[0], next[got.source()]);
            next[got.source()] += 1;
        }
        assert_eq!(next[1..], [EACH; SENDERS]);
        Ok(())
    });
}

fn in_reverse(world: &World, count: i32, len: usize) -> Result<()> {
    let peer = 1 - world.rank();
    if world.rank() == 0 {
        let sends: Vec<Request<Vec<u8>>> = (0..count)
            .map(|tag| world.isend(peer, tag, vec![tag as u8; len]))
            .collect::<Result<_, _>>()?;
        wait_all(sends)?;
        return Ok(());
    }
    for tag in (0..count).rev() {
        assert_eq!(*world.recv::<[u8]>(peer, tag)?, vec![tag as u8; len][..]);
    }
    Ok(())
}

#[test]
fn unexpected_messages_are_received_in_any_order() {
    run(2, &Config::default(), |world| in_reverse(world, 20_000, 8));
}

/// These lie in blocks of their sender, of which a receiver may hold 1024 at a time: it copies long before.
#[test]
fn unexpected_messages_in_blocks_are_received_in_any_order() {
    run(2, &Config::default(), |world| in_reverse(world, 5000, 100));
}

#[test]
fn received_messages_may_be_kept() {
    run(2, &Config::default(), |world| {
        let peer = 1 - world.rank();
        if world.rank() == 0 {
            for number in 0..3000_u64 {
                world.send(peer, 0, &[number; 20][..])?;
            }
            return Ok(());
        }
        let kept: Vec<_> = (0..3000)
            .map(|_| world.recv::<[u64]>(peer, 0))
            .collect::<Result<_>>()?;
        for (number, message) in kept.iter().enumerate() {
            assert_eq!(**message, [number as u64; 20]);
        }
        Ok(())
    });
}
