//! Counts the words of a text: each rank takes a share of the lines, rank 0 adds up the maps that it receives. The text is this
//! project's documentation.
//!
//! ```sh
//! cargo build --examples
//! cargo run -- run -n 4 -- target/debug/examples/word_count
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;

use phalanx::prelude::*;

type Counts = HashMap<String, u64>;

const COUNTS: Tag = Tag::new(1);
const TEXT: &str = concat!(
    include_str!("../README.md"),
    include_str!("../docs/running.md"),
    include_str!("../docs/configuration.md"),
);

fn main() -> phalanx::Result<()> {
    run(&phalanx::init()?)
}

/// What each rank does.
pub fn run(world: &World) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());

    let mut counts = count(TEXT.lines().skip(me).step_by(n));
    if me != 0 {
        return world.send(0, COUNTS, &counts);
    }
    for _ in 1..n {
        let part = world.recv::<Counts>(ANY_SOURCE, COUNTS)?;
        for (word, count) in part.iter() {
            *counts.entry(word.to_string()).or_default() += u64::from(*count);
        }
    }

    assert_eq!(counts, count(TEXT.lines()));
    let mut by_count: Vec<_> = counts.into_iter().collect();
    by_count.sort_by_key(|(word, count)| (u64::MAX - count, word.clone()));
    println!("{n} ranks found {} different words", by_count.len());
    for (word, count) in by_count.iter().take(5) {
        println!("{count:>6} {word}");
    }
    Ok(())
}

fn count<'a>(lines: impl Iterator<Item = &'a str>) -> Counts {
    let mut counts = Counts::new();
    for word in lines.flat_map(|line| line.split(|c: char| !c.is_alphabetic())) {
        if !word.is_empty() {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    counts
}
