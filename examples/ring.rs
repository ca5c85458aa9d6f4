//! Every rank sends a token around the ring; each rank that it passes adds its number. After n hops it is back, with the sum of all.
//!
//! ```sh
//! cargo build --examples
//! cargo run -- run -n 4 -- target/debug/examples/ring
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use phalanx::prelude::*;

const TOKEN: Tag = Tag::new(1);

fn main() -> phalanx::Result<()> {
    run(&phalanx::init()?)
}

/// What each rank does.
pub fn run(world: &World) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    let (left, right) = ((me + n - 1) % n, (me + 1) % n);

    let mut sum = 0;
    for _ in 0..n {
        let outgoing = [sum + me];
        let mut incoming = [0];
        world.sendrecv((right, TOKEN), &outgoing[..], (left, TOKEN), &mut incoming)?;
        [sum] = incoming;
    }

    assert_eq!(sum, n * (n - 1) / 2);
    println!("rank {me}: the ranks from 0 to {} add up to {sum}", n - 1);
    Ok(())
}
