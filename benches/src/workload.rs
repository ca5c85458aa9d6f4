//! What is repeated in a sample: ping-pongs and streams, over messages of any mode.
//!
//! Rank 0 leads and the others follow. A message's way is a [`Carrier`]; a workload is an order of sends and receives.

mod copied;
mod lent;
mod shared;

use phalanx::{Communicator, Result};

use crate::task::{Mode, Task, Test};

use copied::Copied;
use lent::Lent;
use shared::Shared;

/// A pair or ring of ranks with buffers for one size and mode.
pub(crate) trait Workload {
    /// As `iterations` on the side that begins.
    fn lead(&mut self, iterations: u64) -> Result<()>;

    /// The other side of [`lead`](Self::lead), with as many iterations.
    fn follow(&mut self, iterations: u64) -> Result<()>;

    /// Messages, or hops of one, in an iteration.
    fn messages(&self) -> u64;

    /// Passes one message of known content around and looks at every byte of it; whether it was right.
    fn verify(&mut self, leads: bool) -> Result<bool>;
}

/// One way to carry messages of one size to a rank and from a rank.
trait Carrier {
    /// Sends one message and returns when it is on its way.
    fn send(&mut self) -> Result<()>;

    /// Receives one into the same memory each time.
    fn receive(&mut self) -> Result<()>;

    /// Sends `count` messages of which many are in flight at a time.
    fn send_many(&mut self, count: u64) -> Result<()>;

    /// Sends and receives `count` at the same time.
    fn exchange_many(&mut self, count: u64) -> Result<()>;

    /// As [`send`](Self::send), with the bytes of [`pattern`].
    fn send_pattern(&mut self) -> Result<()>;

    /// As [`receive`](Self::receive); whether the bytes are those of [`pattern`].
    fn receive_pattern(&mut self) -> Result<bool>;
}

/// Whom a carrier talks to.
#[derive(Clone, Debug)]
struct Route {
    world: Communicator,
    to: usize,
    from: usize,
}

/// The workload of a row of `task` for this rank, which is an active one.
pub(crate) fn of(
    task: &Task,
    world: &Communicator,
    (bytes, mode): (usize, Mode),
) -> Result<Box<dyn Workload>> {
    let (me, active) = (world.rank(), task.active());
    let route = Route {
        world: world.clone(),
        to: (me + 1) % active,
        from: (me + active - 1) % active,
    };
    let window = task.window(bytes);
    Ok(match mode {
        Mode::Copy => with(task, Copied::new(route.clone(), bytes), route, window),
        Mode::Shared => with(
            task,
            Shared::new(route.clone(), bytes, window)?,
            route,
            window,
        ),
        Mode::Loan => with(task, Lent::new(route.clone(), bytes), route, window),
    })
}

fn with<C: Carrier + 'static>(
    task: &Task,
    carrier: C,
    route: Route,
    window: u64,
) -> Box<dyn Workload> {
    match task.test {
        Test::Bandwidth => Box::new(Stream {
            carrier,
            route,
            window,
        }),
        Test::Bibandwidth => Box::new(Exchange { carrier, window }),
        Test::Rate => Box::new(Rate {
            carrier,
            route,
            window,
        }),
        _ => Box::new(Ring {
            carrier,
            hops: task.active() as u64,
        }),
    }
}

/// One message goes around; between two ranks that is a ping-pong.
struct Ring<C> {
    carrier: C,
    hops: u64,
}

impl<C: Carrier> Workload for Ring<C> {
    fn lead(&mut self, iterations: u64) -> Result<()> {
        (0..iterations).try_for_each(|_| {
            self.carrier.send()?;
            self.carrier.receive()
        })
    }

    fn follow(&mut self, iterations: u64) -> Result<()> {
        (0..iterations).try_for_each(|_| {
            self.carrier.receive()?;
            self.carrier.send()
        })
    }

    fn messages(&self) -> u64 {
        self.hops
    }

    fn verify(&mut self, leads: bool) -> Result<bool> {
        verify(&mut self.carrier, leads)
    }
}

/// Windows of messages, an empty one back after each.
struct Stream<C> {
    carrier: C,
    route: Route,
    window: u64,
}

impl<C: Carrier> Workload for Stream<C> {
    fn lead(&mut self, iterations: u64) -> Result<()> {
        (0..iterations).try_for_each(|_| {
            self.carrier.send_many(self.window)?;
            self.route.await_acknowledgement()
        })
    }

    fn follow(&mut self, iterations: u64) -> Result<()> {
        (0..iterations).try_for_each(|_| {
            (0..self.window).try_for_each(|_| self.carrier.receive())?;
            self.route.acknowledge()
        })
    }

    fn messages(&self) -> u64 {
        self.window
    }

    fn verify(&mut self, leads: bool) -> Result<bool> {
        verify(&mut self.carrier, leads)
    }
}

/// Windows in both directions. Each side has all of the other's when it begins the next, so nothing need be acknowledged.
struct Exchange<C> {
    carrier: C,
    window: u64,
}

impl<C: Carrier> Workload for Exchange<C> {
    fn lead(&mut self, iterations: u64) -> Result<()> {
        (0..iterations).try_for_each(|_| self.carrier.exchange_many(self.window))
    }

    fn follow(&mut self, iterations: u64) -> Result<()> {
        self.lead(iterations)
    }

    fn messages(&self) -> u64 {
        2 * self.window
    }

    fn verify(&mut self, leads: bool) -> Result<bool> {
        verify(&mut self.carrier, leads)
    }
}

/// Blocking sends one after the other, one message back at the very end.
struct Rate<C> {
    carrier: C,
    route: Route,
    window: u64,
}

impl<C: Carrier> Workload for Rate<C> {
    fn lead(&mut self, iterations: u64) -> Result<()> {
        (0..iterations * self.window).try_for_each(|_| self.carrier.send())?;
        self.route.await_acknowledgement()
    }

    fn follow(&mut self, iterations: u64) -> Result<()> {
        (0..iterations * self.window).try_for_each(|_| self.carrier.receive())?;
        self.route.acknowledge()
    }

    fn messages(&self) -> u64 {
        self.window
    }

    fn verify(&mut self, leads: bool) -> Result<bool> {
        verify(&mut self.carrier, leads)
    }
}

impl Route {
    fn acknowledge(&self) -> Result<()> {
        self.world.send(self.from, ACKNOWLEDGE, &[] as &[u8])
    }

    fn await_acknowledgement(&self) -> Result<()> {
        self.world
            .recv_into::<u8>(self.to, ACKNOWLEDGE, &mut [])
            .map(drop)
    }
}

fn verify(carrier: &mut impl Carrier, leads: bool) -> Result<bool> {
    if leads {
        carrier.send_pattern()?;
        carrier.receive_pattern()
    } else {
        let is_right = carrier.receive_pattern()?;
        carrier.send_pattern()?;
        Ok(is_right)
    }
}

/// Bytes of which no two neighbours, and no two places a power of two apart, are alike: a chunk that is lost, repeated or swapped
/// shows.
fn pattern(len: usize) -> impl Iterator<Item = u8> {
    (0..len).map(|place| (place % 251) as u8 ^ 0x5A)
}

fn is_pattern(bytes: &[u8], len: usize) -> bool {
    bytes.iter().copied().eq(pattern(len))
}

fn fill(bytes: &mut [u8]) {
    let len = bytes.len();
    for (byte, value) in bytes.iter_mut().zip(pattern(len)) {
        *byte = value;
    }
}

const PAYLOAD: i32 = 1;
const ACKNOWLEDGE: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::Selection;
    use crate::task::Transport;
    use phalanx::config::Config;
    use phalanx::testing::Job;

    #[test]
    fn every_row_of_every_test_arrives_whole_and_ends_on_both_sides() {
        let sizes = vec![0, 8, 49, 5000, 100_000];
        let selection = Selection::new(Vec::new(), 2, sizes, true);
        let tasks_over = |transport| selection.clone().transports(vec![transport]).tasks();
        let mut tasks = Transport::ALL.map(tasks_over).concat();
        // Eight ranks over a network keep a busy machine for minutes, and their messages go the same ways.
        let most = |task: &Task| match task.transport {
            Transport::Quic => 2,
            _ => 8,
        };
        tasks.retain(|task| task.test != Test::Startup && task.ranks <= most(task));
        for task in &tasks {
            let setting = [("transport.same_host", task.transport.name())];
            let config = Config::resolve(None, [], &setting).unwrap();
            Job::new(task.ranks).config(config).run(|world| {
                for row in task.rows() {
                    let mut workload = of(task, world, row)?;
                    let leads = world.rank() == 0;
                    assert!(workload.verify(leads)?, "{task:?} {row:?}");
                    if leads {
                        workload.lead(2)?;
                    } else {
                        workload.follow(2)?;
                    }
                }
                Ok(())
            });
        }
    }

    #[test]
    fn damage_is_seen() {
        let mut bytes = vec![0; 1000];
        fill(&mut bytes);
        assert!(is_pattern(&bytes, 1000));
        assert!(!is_pattern(&bytes[..999], 1000));
        bytes.copy_within(0..256, 256);
        assert!(!is_pattern(&bytes, 1000));
    }
}
