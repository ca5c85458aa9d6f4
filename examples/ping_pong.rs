//! Ranks 0 and 1 throw a message back and forth; half of a round trip is the latency.
//!
//! Needs two ranks; others only watch. A figure to rely on comes from `phalanx bench`, which measures each round and the floor beside it.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run --release -- run -n 2 --bind core -- target/release/examples/ping_pong
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Instant;

use phalanx::prelude::*;

const BALL: Tag = Tag::new(1);
const BYTES: [usize; 5] = [8, 1 << 10, 16 << 10, 256 << 10, 1 << 20];
const WARM_UP: u32 = 20;
const ROUNDS: u32 = 200;

fn main() -> phalanx::Result<()> {
    run(&phalanx::init()?)
}

/// What each rank does.
pub fn run(world: &World) -> phalanx::Result<()> {
    let me = world.rank();
    if world.size() < 2 {
        println!("nobody to play with: start it by `phalanx run -n 2`");
        return Ok(());
    }
    if me > 1 {
        return Ok(());
    }

    for bytes in BYTES {
        let mut ball = vec![0_u64; bytes / size_of::<u64>()];
        let mut began = Instant::now();
        for round in 0..WARM_UP + ROUNDS {
            if round == WARM_UP {
                began = Instant::now();
            }
            if me == 0 {
                world.send(1, BALL, &ball[..])?;
                world.recv_into(1, BALL, &mut ball)?;
            } else {
                world.recv_into(0, BALL, &mut ball)?;
                ball[0] += 1;
                world.send(0, BALL, &ball[..])?;
            }
        }
        let one_way = began.elapsed() / (2 * ROUNDS);

        assert_eq!(ball[0], u64::from(WARM_UP + ROUNDS));
        if me == 0 {
            println!("{bytes:>8} bytes: {one_way:?} one way");
        }
    }
    Ok(())
}
