//! Heat spreads over a plate of which each rank has a band of rows. The result is the serial one, bit for bit.
//!
//! ```sh
//! cargo build --examples
//! cargo run -- run -n 4 -- target/debug/examples/heat
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use phalanx::prelude::*;

const ROWS: usize = 96;
const WIDTH: usize = 64;
const STEPS: usize = 200;
const HOT: f64 = 100.0;
const ROW: Tag = Tag::new(1);
const RESULT: Tag = Tag::new(2);

fn main() -> phalanx::Result<()> {
    run(&phalanx::init()?)
}
/// What each rank does.
pub fn run(world: &World) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    assert!(n <= ROWS, "a rank needs a row: run at most {ROWS} ranks");
    let rows = ROWS * (me + 1) / n - ROWS * me / n;

    let mut band = plate(rows, if me == 0 { HOT } else { 0.0 });
    for _ in 0..STEPS {
        trade_rows(world, &mut band)?;
        band = step(&band);
    }
    let mine = &band[WIDTH..band.len() - WIDTH];
    if me != 0 {
        return world.send(0, RESULT, mine);
    }
    let mut whole = mine.to_vec();
    for rank in 1..n {
        whole.extend(world.recv::<[f64]>(rank, RESULT)?.iter());
    }
    let serial = (0..STEPS).fold(plate(ROWS, HOT), |plate, _| step(&plate));
    assert_eq!(whole, serial[WIDTH..serial.len() - WIDTH]);
    println!("{n} ranks and one agree on all {} cells", whole.len());
    Ok(())
}

/// A cold band of `rows` between two more, which are the neighbours' or edges of the plate.
fn plate(rows: usize, upper_edge: f64) -> Vec<f64> {
    let mut cells = vec![0.0; (rows + 2) * WIDTH];
    cells[..WIDTH].fill(upper_edge);
    cells
}

/// Sends the outermost rows to the neighbours and receives theirs; the scope ends when all four are done.
fn trade_rows(world: &World, band: &mut [f64]) -> phalanx::Result<()> {
    let (me, n) = (world.rank(), world.size());
    let (above, rest) = band.split_at_mut(WIDTH);
    let (mine, below) = rest.split_at_mut(rest.len() - WIDTH);
    world.scope(|scope| {
        if me > 0 {
            _ = scope.isend(me - 1, ROW, &mine[..WIDTH])?;
            _ = scope.irecv_into(me - 1, ROW, above)?;
        }
        if me + 1 < n {
            _ = scope.isend(me + 1, ROW, &mine[mine.len() - WIDTH..])?;
            _ = scope.irecv_into(me + 1, ROW, below)?;
        }
        Ok(())
    })
}

/// Each cell becomes the mean of its four neighbours; edges and the neighbours' rows stay.
fn step(cells: &[f64]) -> Vec<f64> {
    let mut next = cells.to_vec();
    let is_inner = |at: &usize| (1..WIDTH - 1).contains(&(at % WIDTH));
    for at in (WIDTH..cells.len() - WIDTH).filter(is_inner) {
        next[at] = (cells[at - WIDTH] + cells[at - 1] + cells[at + 1] + cells[at + WIDTH]) / 4.0;
    }
    next
}
