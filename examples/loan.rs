//! Zero copy: each rank writes a large slice once, in shared memory, and hands it to its right neighbour, which reads it there.
//!
//! ```sh
//! cargo build --examples
//! cargo run -- run -n 4 -- target/debug/examples/loan
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use phalanx::prelude::*;

const IMAGE: Tag = Tag::new(1);
const PIXELS: usize = 1 << 20;

fn main() -> phalanx::Result<()> {
    run(&phalanx::init()?)
}

/// What each rank does.
pub fn run(world: &World) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    let (left, right) = ((me + n - 1) % n, (me + 1) % n);

    let mut image = world.loan::<[u32]>(PIXELS)?;
    for (place, pixel) in image.iter_mut().enumerate() {
        *pixel = pixel_of(me, place);
    }
    // Takes the loan: the memory is the receiver's now, and only a descriptor of it travels.
    image.send(right, IMAGE)?;

    let image = world.recv::<[u32]>(left, IMAGE)?;
    assert_eq!(image.len(), PIXELS);
    assert!((0..PIXELS).all(|place| image[place] == pixel_of(left, place)));
    println!(
        "rank {me} reads {} bytes of rank {left} in place",
        image.size()
    );
    // Dropping the image gives the memory back to its owner.
    Ok(())
}

fn pixel_of(rank: usize, place: usize) -> u32 {
    (rank * PIXELS + place) as u32
}
