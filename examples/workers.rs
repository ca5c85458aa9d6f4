//! A head and its workers: rank 0 has a pool of tasks and gives the next one to whoever answers first.
//!
//! ```sh
//! cargo build --examples
//! cargo run -- run -n 4 -- target/debug/examples/workers
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use phalanx::prelude::*;

/// How many primes are there from `first` up to, not including, `end`?
#[derive(Message)]
struct Task {
    first: u32,
    end: u32,
}

const TASK: Tag = Tag::new(1);
const ANSWER: Tag = Tag::new(2);
const TASKS: u32 = 100;
const NUMBERS_PER_TASK: u32 = 1_000;
const LIMIT: u32 = TASKS * NUMBERS_PER_TASK;
const PRIMES_BELOW_LIMIT: u64 = 9_592;

fn main() -> phalanx::Result<()> {
    run(&phalanx::init()?)
}
/// What each rank does.
pub fn run(world: &World) -> phalanx::Result<()> {
    if world.rank() == 0 {
        let primes = lead(world)?;
        assert_eq!(primes, PRIMES_BELOW_LIMIT);
        println!("{primes} primes below {LIMIT}");
        return Ok(());
    }
    while let Some(task) = world.recv::<Option<Task>>(0, TASK)?.to_owned() {
        world.send(0, ANSWER, &task.answer())?;
    }
    Ok(())
}

fn lead(world: &World) -> phalanx::Result<u64> {
    let mut primes = 0;
    let mut tasks = (0..TASKS).map(Task::new);
    // A worker that is sent no task goes home.
    let mut busy = 0;
    for worker in 1..world.size() {
        let task = tasks.next();
        busy += usize::from(task.is_some());
        world.send(worker, TASK, &task)?;
    }
    while busy > 0 {
        let answer = world.recv::<u64>(ANY_SOURCE, ANSWER)?;
        primes += answer.to_owned();
        let task = tasks.next();
        busy -= usize::from(task.is_none());
        world.send(answer.source(), TASK, &task)?;
    }

    // Without workers, all tasks are left.
    Ok(primes + tasks.map(|task| task.answer()).sum::<u64>())
}

impl Task {
    fn new(number: u32) -> Self {
        let first = number * NUMBERS_PER_TASK;
        let end = first + NUMBERS_PER_TASK;
        Self { first, end }
    }

    fn answer(&self) -> u64 {
        (self.first..self.end).filter(is_prime).count() as u64
    }
}

fn is_prime(number: &u32) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= *number);
    *number > 1 && !divisors.any(|divisor| number.is_multiple_of(divisor))
}
