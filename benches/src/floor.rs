//! The floor: how long a cache line takes between the cores of ranks 0 and 1, one way.

use phalanx::{Communicator, Result};

/// Probes the floor together with `peer`, which does the same; nanoseconds one way. None when the ranks share no memory.
pub(crate) fn probe(world: &Communicator, peer: usize) -> Result<Option<f64>> {
    let round_trip = world.cache_line_round_trip(peer, ROUNDS)?;
    Ok(round_trip.map(|time| time.as_nanos() as f64 / 2.0))
}

/// Some 20 us between near cores: long beside the clock's 24 ns, short beside the seconds after which virtual cores move.
const ROUNDS: u64 = 200;
