//! Every rank greets rank 0, which prints what it hears.
//!
//! ```sh
//! cargo build --examples
//! cargo run -- run -n 4 -- target/debug/examples/hello
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use phalanx::prelude::*;

const GREETING: Tag = Tag::new(1);

fn main() -> phalanx::Result<()> {
    run(&phalanx::init()?)
}

/// What each rank does.
pub fn run(world: &World) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());

    if me != 0 {
        let greeting = format!("rank {me} of {n} is process {}", std::process::id());
        return world.send(0, GREETING, &greeting);
    }

    println!("rank 0 of {n} is process {}", std::process::id());
    for source in 1..n {
        let greeting = world.recv::<String>(source, GREETING)?;
        assert!(greeting.starts_with(&format!("rank {source} of {n}")));
        println!("{}", *greeting);
    }
    Ok(())
}
