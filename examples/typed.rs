//! Typed messages: a struct with everything nested in it, read where it lies in the memory in which it arrived.
//!
//! Each rank sends a survey to its right neighbour and checks the one from its left.
//!
//! ```sh
//! cargo build --examples
//! cargo run -- run -n 4 -- target/debug/examples/typed
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;

use phalanx::prelude::*;

#[derive(Debug, Message, PartialEq)]
struct Survey {
    title: String,
    bodies: Vec<Body>,
    masses: HashMap<String, f64>,
    remark: Option<String>,
}

#[derive(Debug, Message, PartialEq)]
struct Body {
    name: String,
    position: [f64; 3],
    kind: Kind,
}

#[derive(Debug, Message, PartialEq)]
enum Kind {
    Star,
    Planet { moons: u32 },
}

const SURVEY: Tag = Tag::new(1);

fn main() -> phalanx::Result<()> {
    run(&phalanx::init()?)
}
/// What each rank does.
pub fn run(world: &World) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    let (left, right) = ((me + n - 1) % n, (me + 1) % n);

    world.send(right, SURVEY, &survey_of(me))?;
    let survey = world.recv::<Survey>(left, SURVEY)?;

    // In place: nothing is copied or allocated to look at it.
    assert_eq!(survey.title, format!("sky over rank {left}"));
    assert_eq!(survey.bodies[1].position[0], 5.2);
    assert_eq!(survey.masses["Sun"], 333_000.0);
    println!("rank {me} got `{}`, {} bytes", survey.title, survey.size());

    // Who wants to keep or change it takes a copy.
    assert_eq!(survey.to_owned(), survey_of(left));
    Ok(())
}

fn survey_of(rank: usize) -> Survey {
    Survey {
        title: format!("sky over rank {rank}"),
        bodies: vec![
            body("Sun", 0.0, Kind::Star),
            body("Jupiter", 5.2, Kind::Planet { moons: 97 }),
        ],
        masses: HashMap::from([("Sun".into(), 333_000.0), ("Jupiter".into(), 317.8)]),
        remark: (rank == 0).then(|| "clear night".into()),
    }
}

fn body(name: &str, distance: f64, kind: Kind) -> Body {
    let (name, position) = (name.into(), [distance, 0.0, 0.0]);
    Body {
        name,
        position,
        kind,
    }
}
