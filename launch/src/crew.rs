//! The ranks of this host: their node segment, their processes, and their end.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::signal::Signal;
use phalanx_shm::watcher;

use crate::course::Death;
use crate::exchange::Exchange;
use crate::job::LaunchError;
use crate::plan::Plan;
use crate::segment::NodeSegment;
use crate::spawn::{Pipes, Posting, Process, allowed_processors};

/// The ranks that this process has started. Dropping it kills those that run, and waits for them.
#[derive(Debug)]
pub(crate) struct Crew {
    segment: NodeSegment,
    /// With their numbers in the job, which ascend.
    ranks: Vec<(usize, Process)>,
}

/// Which ranks to start, and with what.
pub(crate) struct Muster<'a> {
    pub(crate) plan: &'a Plan,
    /// Those of this host, ascending.
    pub(crate) ranks: Vec<usize>,
    /// Of each rank, if it is not for the machine to say.
    pub(crate) arena_bytes: Option<u64>,
    /// Whether rank 0 has a standard input.
    pub(crate) input: bool,
    /// Variables of this process that the ranks must not see.
    pub(crate) hidden: Vec<OsString>,
}

impl Muster<'_> {
    /// The processor of each rank of this host, in order.
    fn processors(&self) -> Result<Vec<Option<usize>>, LaunchError> {
        if !self.plan.is_bound_by_host() {
            let ranks = self.ranks.iter();
            return Ok(ranks.map(|&rank| self.plan.processor(rank)).collect());
        }
        let allowed =
            allowed_processors().map_err(LaunchError::system("ask for its processors"))?;
        let processors = allowed.into_iter().cycle().map(Some);
        Ok(processors.take(self.ranks.len()).collect())
    }
}

impl Crew {
    /// Starts the ranks, whose groups the watcher finds at `places`, one for each.
    pub(crate) fn start(
        muster: &Muster<'_>,
        mut exchange: Option<&mut Exchange>,
        places: impl Iterator<Item = watcher::Place>,
    ) -> Result<(Self, Vec<Pipes>), LaunchError> {
        let segment = NodeSegment::create(muster.plan.size(), muster.arena_bytes)?;
        let mut crew = Self {
            segment,
            ranks: Vec::with_capacity(muster.ranks.len()),
        };
        let mut pipes = Vec::with_capacity(muster.ranks.len());
        let processors = muster.processors()?;
        for ((&rank, watched), processor) in muster.ranks.iter().zip(places).zip(processors) {
            let seat = exchange.as_mut().map(|exchange| exchange.seat(rank));
            let posting = Posting {
                plan: muster.plan,
                rank,
                segment: crew.segment.descriptor(),
                seat: seat
                    .transpose()
                    .map_err(LaunchError::system("make a socket for a rank"))?,
                reads: rank == 0 && muster.input,
                processor,
                hidden: &muster.hidden,
                watched,
            };
            let (process, ends) = Process::start(posting)?;
            crew.ranks.push((rank, process));
            pipes.push(ends);
        }
        Ok((crew, pipes))
    }

    /// What becomes readable when a rank has ended, with the place of the rank here.
    pub(crate) fn deaths(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let ranks = self.ranks.iter().enumerate();
        ranks.filter_map(|(index, (_, process))| Some((index, process.death()?)))
    }

    /// Waits for the rank at `index`, which has ended, and writes its end down for its peers.
    pub(crate) fn bury(&mut self, index: usize) -> io::Result<Death> {
        let (rank, process) = &mut self.ranks[index];
        let exit = process.reap()?;
        self.segment.record_exit(*rank, exit);
        Ok(Death {
            rank: *rank,
            pid: process.pid(),
            host: None,
            exit,
        })
    }

    /// Sends `signal` to every rank that runs, and to what it has started.
    pub(crate) fn signal(&self, signal: Signal) {
        for (_, process) in &self.ranks {
            process.signal(signal);
        }
    }

    /// The ranks that have not ended.
    pub(crate) fn running(&self) -> impl Iterator<Item = usize> {
        let ranks = self.ranks.iter();
        ranks
            .filter(|(_, process)| process.exit().is_none())
            .map(|(rank, _)| *rank)
    }
}
