//! A rank of a measurement: joins its job and does its part.

use std::time::Duration;

use anyhow::{Context, ensure};
use phalanx::{Communicator, Result};

use crate::floor::Probe;
use crate::leader::Leader;
use crate::network::Network;
use crate::report::Report;
use crate::task::{Task, Test, Transport};
use crate::threads;
use crate::workload::{self, Workload};

/// Joins the job and does this rank's part of the task that `argument` describes ([`Task::to_argument`]); blocks until it is done.
///
/// # Errors
/// When the argument is no task, the job cannot be joined, a message arrives damaged or a peer goes away.
pub fn rank(argument: &str) -> anyhow::Result<()> {
    let task: Task = serde_json::from_str(argument)
        .context("this rank is started by `phalanx bench`, not by hand")?;
    match task.transport {
        Transport::Shm => part(&task, &*phalanx::init()?, Probe::Library),
        Transport::Quic => {
            let world = phalanx::init()?;
            let probe = network(&task, &world.with_timeout(PATIENCE))?;
            part(&task, &world, probe)
        }
        Transport::Inproc => threads::run(&task),
    }
}

/// What the floor of a job over the network is probed with.
fn network(task: &Task, world: &Communicator) -> anyhow::Result<Probe> {
    if !task.has_floor() || world.rank() >= task.active() {
        return Ok(Probe::Nothing);
    }
    let peer = 1 - world.rank();
    Ok(Probe::Network(Network::connect(world, peer)?))
}

/// The part of the rank that has joined as `world`.
pub(crate) fn part(task: &Task, world: &Communicator, mut probe: Probe) -> anyhow::Result<()> {
    ensure!(
        world.size() == task.ranks,
        "{} ranks were started for a task of {}",
        world.size(),
        task.ranks
    );
    if task.test == Test::Startup {
        return Ok(());
    }
    // What is measured has no time-out: a send that may be given up is not read where it lies.
    let measured = world;
    let world = world.with_timeout(PATIENCE);
    if world.rank() >= task.active() {
        return Ok(sleep(&world)?);
    }
    let workloads: Result<Vec<_>> = task
        .rows()
        .into_iter()
        .map(|row| workload::of(task, measured, row))
        .collect();
    if world.rank() > 0 {
        return follow(&world, workloads?, &mut probe);
    }
    // Rings to all idle ranks exist and have been used when measuring begins.
    for idle in task.active()..task.ranks {
        world.recv_into::<u8>(idle, HERE, &mut [])?;
    }
    let report = Report::open(&task.report)?;
    Leader::new(&world, task, probe, report).run(workloads?)
}

/// What rank 0 tells the others to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Floor,
    Stream,
    Verify { row: usize },
    Sample { row: usize, iterations: u64 },
    Stop,
}

impl Order {
    pub(crate) fn send(self, world: &Communicator, to: usize) -> Result<()> {
        let words = match self {
            Self::Stop => [0, 0, 0],
            Self::Floor => [1, 0, 0],
            Self::Verify { row } => [2, row as u64, 0],
            Self::Sample { row, iterations } => [3, row as u64, iterations],
            Self::Stream => [4, 0, 0],
        };
        world.send(to, ORDER, &words[..])
    }

    fn receive(world: &Communicator) -> Result<Self> {
        let mut words = [0_u64; 3];
        world.recv_into(0, ORDER, &mut words)?;
        let [kind, row, iterations] = words;
        let row = row as usize;
        Ok(match kind {
            1 => Self::Floor,
            2 => Self::Verify { row },
            3 => Self::Sample { row, iterations },
            4 => Self::Stream,
            _ => Self::Stop,
        })
    }
}

fn follow(
    world: &Communicator,
    mut workloads: Vec<Box<dyn Workload>>,
    probe: &mut Probe,
) -> anyhow::Result<()> {
    loop {
        match Order::receive(world)? {
            Order::Stop => return Ok(()),
            Order::Floor => drop(probe.take(world, 0)?),
            Order::Stream => drop(probe.stream(world)?),
            Order::Verify { row } => {
                let is_right = workloads[row].verify(false)?;
                ensure!(is_right, "a message of row {row} arrived damaged");
            }
            Order::Sample { row, iterations } => workloads[row].follow(iterations)?,
        }
    }
}

/// Waits for the end without a sound.
fn sleep(world: &Communicator) -> Result<()> {
    world.send(0, HERE, &[] as &[u8])?;
    Order::receive(world).map(drop)
}

const ORDER: i32 = 3;
const HERE: i32 = 4;

/// Beyond any measurement: a job that waits as long for a message is broken.
const PATIENCE: Duration = Duration::from_secs(300);
