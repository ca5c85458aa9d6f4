//! Ranks that are threads: one process, which is the only one that the launcher starts.

use std::sync::Arc;

use anyhow::Context;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use phalanx::config::Config;
use phalanx::testing::Job;

use crate::floor::{Lines, Probe};
use crate::rank::part;
use crate::task::Task;

/// Runs all ranks of `task` through queues in this process, each on the core that it would have as a process; blocks until all have
/// ended.
pub(crate) fn run(task: &Task) -> anyhow::Result<()> {
    let config = Config::load(None, &[("transport.same_host", "inproc")])?;
    let processors = allowed_processors()?;
    let lines = Arc::new(Lines::default());
    let ends = Job::new(task.ranks).config(config).run(|world| {
        let _presence = lines.presence();
        let bound = bind(processors[world.rank() % processors.len()]);
        Ok(bound.and_then(|()| part(task, world, Probe::between_threads(&lines))))
    });
    ends.into_iter().collect()
}

/// Those that the launcher left to this process, ascending.
fn allowed_processors() -> anyhow::Result<Vec<usize>> {
    let set =
        sched_getaffinity(Pid::from_raw(0)).context("cannot ask for the cores of this rank")?;
    let is_allowed = |&processor: &usize| set.is_set(processor).unwrap_or(false);
    Ok((0..CpuSet::count()).filter(is_allowed).collect())
}

/// Binds the calling thread.
fn bind(processor: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .with_context(|| format!("cannot bind a rank to core {processor}"))
}
