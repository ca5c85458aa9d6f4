//! The agents that this process has started, and what is known of the hosts and ranks below them.

use std::collections::BTreeSet;
use std::io;
use std::time::Instant;

use nix::poll::{PollFd, poll};
use phalanx_shm::watcher;
use phalanx_wireup::exchange::{RankSet, Who};

use super::branch::{Branch, News};
use super::errand::Errand;
use super::fault::Fault;
use super::frames::{Down, Introduction, Up};
use super::layout::Post;
use crate::supervise::timeout;

/// Agents and the ways to them. Dropping it ends all that runs below, and waits for it.
#[derive(Debug, Default)]
pub(crate) struct Branches {
    list: Vec<(Branch, Below)>,
}

/// What is below one agent.
#[derive(Debug)]
struct Below {
    hosts: BTreeSet<u32>,
    ranks: RankSet,
    /// Hosts whose ranks do not run yet.
    starting: BTreeSet<u32>,
    /// Ranks that have not ended.
    running: BTreeSet<u32>,
    /// Ranks whose standard output, or standard error, has not.
    writing: [BTreeSet<u32>; 2],
}

/// What there is to tell of the agents.
#[derive(Debug)]
pub(crate) enum Tidings {
    /// An agent is there.
    Opened(Introduction),
    /// A message about a host or a rank below.
    Up(Up),
    /// A frame of the wire-up, from this agent.
    Exchange(u32, Vec<u8>),
    /// All ranks below this agent have ended, and it has too.
    Finished(u32),
    /// The agent is lost, or could not be started, and all below.
    Lost {
        number: u32,
        is_started: bool,
        fault: Fault,
    },
}

impl Branches {
    /// Starts the agents of `errands`, whose processes the watcher finds at `places`.
    pub(crate) fn start(
        errands: &[Errand],
        places: impl Iterator<Item = watcher::Place>,
    ) -> Result<Self, Fault> {
        let mut branches = Self::default();
        for (errand, place) in errands.iter().zip(places) {
            let branch = Branch::start(errand, place)?;
            branches.list.push((branch, Below::new(&errand.post)));
        }
        Ok(branches)
    }

    /// What to wait for, and whom it concerns.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (usize, PollFd<'_>)> {
        let list = self.list.iter().enumerate();
        list.filter(|(_, (branch, _))| !branch.is_gone())
            .flat_map(|(index, (branch, _))| {
                let interests = branch.interests().into_iter();
                interests.map(move |interest| (index, interest))
            })
    }

    /// When [`tend`](Self::tend) has something to do though nothing comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let list = self.list.iter();
        list.filter_map(|(branch, _)| branch.deadline()).min()
    }

    /// Takes in what has come from the agents `ready`, and from those whose time has come.
    pub(crate) fn tend(&mut self, ready: &[usize]) -> io::Result<Vec<Tidings>> {
        let now = Instant::now();
        let mut tidings = Vec::new();
        for (index, (branch, below)) in self.list.iter_mut().enumerate() {
            let is_due = branch.deadline().is_some_and(|deadline| deadline <= now);
            if branch.is_gone() || !(is_due || ready.contains(&index)) {
                continue;
            }
            let number = branch.post.number;
            for news in branch.tend()? {
                let told = match news {
                    News::Opened(introduction) => Some(Tidings::Opened(introduction)),
                    News::Up(Up::Exchange(frame)) => Some(Tidings::Exchange(number, frame)),
                    News::Up(up) => {
                        let is_known = below.note(&up, &branch.post);
                        if !is_known {
                            branch
                                .refuse("word of a host or a rank that is not below it".to_owned());
                        }
                        is_known.then_some(Tidings::Up(up))
                    }
                    News::Ended(_) if below.is_finished() => Some(Tidings::Finished(number)),
                    News::Ended(fault) => Some(Tidings::Lost {
                        number,
                        is_started: below.starting.is_empty(),
                        fault,
                    }),
                };
                tidings.extend(told);
            }
        }
        Ok(tidings)
    }

    /// Sends `message` to all agents.
    pub(crate) fn broadcast(&mut self, message: &Down) {
        for (branch, _) in &mut self.list {
            branch.send(message);
        }
    }

    /// Sends `message` on its way to `host`.
    pub(crate) fn send_to_host(&mut self, host: u32, message: &Down) {
        self.send(message, |below| below.hosts.contains(&host));
    }

    /// Sends `message` on its way to the host of `rank`.
    pub(crate) fn send_to_rank(&mut self, rank: u32, message: &Down) {
        self.send(message, |below| below.ranks.contains(rank));
    }

    fn send(&mut self, message: &Down, is_meant: impl Fn(&Below) -> bool) {
        let meant = self.list.iter_mut().find(|(_, below)| is_meant(below));
        if let Some((branch, _)) = meant {
            branch.send(message);
        }
    }

    /// Sends a frame of the wire-up to an agent.
    pub(crate) fn send_exchange(&mut self, to: Who, frame: Vec<u8>) {
        let mut list = self.list.iter_mut();
        if let Some((branch, _)) = list.find(|(branch, _)| Who::Agent(branch.post.number) == to) {
            branch.send(&Down::Exchange(frame));
        }
    }

    /// Ends the way to an agent that has sent what none sends.
    pub(crate) fn refuse(&mut self, number: u32, what: String) {
        let mut list = self.list.iter_mut();
        if let Some((branch, _)) = list.find(|(branch, _)| branch.post.number == number) {
            branch.refuse(what);
        }
    }

    /// Writes what the pipes take.
    pub(crate) fn flush(&mut self) {
        for (branch, _) in &mut self.list {
            branch.flush();
        }
    }

    /// Ends the ways to all agents, which end all that runs below and then themselves.
    pub(crate) fn dismiss(&mut self) {
        for (branch, _) in &mut self.list {
            branch.dismiss();
        }
    }

    /// Ends the ways to agents that have not answered.
    pub(crate) fn dismiss_silent(&mut self) {
        for (branch, _) in &mut self.list {
            branch.dismiss_if_silent();
        }
    }

    /// Whether all have been waited for.
    pub(crate) fn are_gone(&self) -> bool {
        self.list.iter().all(|(branch, _)| branch.is_gone())
    }

    /// The hosts whose ranks do not run yet.
    pub(crate) fn starting(&self) -> impl Iterator<Item = u32> {
        let list = self.list.iter().filter(|(branch, _)| !branch.is_gone());
        list.flat_map(|(_, below)| below.starting.iter().copied())
    }
}

impl Below {
    fn new(post: &Post) -> Self {
        let hosts = post.all_hosts().into_iter();
        let hosts: BTreeSet<_> = hosts.map(|(host, _)| host).collect();
        let ranks = post.all_ranks();
        let each: BTreeSet<_> = ranks.iter().collect();
        Self {
            starting: hosts.clone(),
            hosts,
            ranks,
            writing: [each.clone(), each.clone()],
            running: each,
        }
    }

    /// Takes note of a message. Returns whether it can be true.
    fn note(&mut self, up: &Up, post: &Post) -> bool {
        match up {
            Up::Started { host } => self.starting.remove(host),
            Up::Failed { host, .. } | Up::Lost { host, .. } => {
                let Some(lost) = post.find(*host) else {
                    return false;
                };
                for rank in lost.all_ranks().iter() {
                    self.running.remove(&rank);
                    self.writing.iter_mut().for_each(|writing| {
                        writing.remove(&rank);
                    });
                }
                for (host, _) in lost.all_hosts() {
                    self.starting.remove(&host);
                }
                true
            }
            Up::Output {
                rank,
                stream,
                bytes,
            } => {
                let writing = &mut self.writing[*stream as usize];
                match bytes.is_empty() {
                    true => writing.remove(rank),
                    false => writing.contains(rank),
                }
            }
            Up::Exited { rank, .. } => self.running.remove(rank),
            Up::Taken(_) => self.ranks.contains(0),
            Up::Exchange(_) => true,
        }
    }

    fn is_finished(&self) -> bool {
        self.running.is_empty() && self.writing.iter().all(BTreeSet::is_empty)
    }
}

impl Drop for Branches {
    fn drop(&mut self) {
        self.dismiss();
        while !self.are_gone() {
            let mut polled: Vec<_> = self.interests().map(|(_, interest)| interest).collect();
            poll(&mut polled, timeout(self.deadline())).ok();
            drop(polled);
            let all: Vec<_> = (0..self.list.len()).collect();
            // What fails here is waiting for an own child, which cannot.
            if self.tend(&all).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::frames::StreamName;
    use phalanx_wireup::exchange::ProcessEnd;

    /// Agent 0 with ranks 0 and 1, and below it agent 2 with rank 4.
    fn below() -> (Below, Post) {
        let post = |number, ranks: std::ops::Range<u32>, below| Post {
            number,
            host: format!("h{number}"),
            ranks: ranks.into(),
            below,
        };
        let post = post(0, 0..2, vec![post(2, 4..5, Vec::new())]);
        (Below::new(&post), post)
    }

    fn exited(rank: u32) -> Up {
        let end = ProcessEnd::Exit(0);
        Up::Exited { rank, pid: 1, end }
    }

    fn output(rank: u32, bytes: &[u8]) -> [Up; 2] {
        StreamName::ALL.map(|stream| Up::Output {
            rank,
            stream,
            bytes: bytes.to_vec(),
        })
    }

    #[test]
    fn a_branch_is_finished_when_all_ranks_have_ended_and_said_all() {
        let (mut below, post) = below();
        for rank in [4, 0, 1] {
            assert!(!below.is_finished());
            assert!(output(rank, b"x").iter().all(|up| below.note(up, &post)));
            assert!(below.note(&exited(rank), &post));
            assert!(output(rank, b"").iter().all(|up| below.note(up, &post)));
        }
        assert!(below.is_finished());
    }

    #[test]
    fn a_lost_host_takes_its_ranks_out_of_the_account() {
        let (mut below, post) = below();
        for host in [2, 0] {
            assert!(below.note(&Up::Started { host }, &post));
            let text = "gone".to_owned();
            assert!(!below.is_finished());
            assert!(below.note(&Up::Lost { host, text }, &post));
        }
        assert!(below.is_finished() && below.starting.is_empty());
    }

    #[test]
    fn word_of_who_is_not_below_or_has_ended_is_not_believed() {
        let (mut below, post) = below();
        for rank in [2, 3, 5, u32::MAX] {
            assert!(!below.note(&exited(rank), &post));
            assert!(!output(rank, b"x").iter().any(|up| below.note(up, &post)));
        }
        assert!(below.note(&exited(1), &post) && !below.note(&exited(1), &post));
        assert!(output(1, b"").iter().all(|up| below.note(up, &post)));
        assert!(!output(1, b"x").iter().any(|up| below.note(up, &post)));
        for host in [1, 3] {
            let text = String::new();
            assert!(!below.note(&Up::Started { host }, &post));
            assert!(!below.note(&Up::Lost { host, text }, &post));
        }
    }
}
