//! Every rank of the job, wherever it runs: its process and its end.

use std::rc::Rc;

use crate::outcome::Exit;

/// The ranks of a job.
#[derive(Debug)]
pub(crate) struct Roster {
    ranks: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Its host, in a job that has several.
    host: Option<Rc<str>>,
    /// Zero as long as it is not known.
    pid: u32,
    exit: Option<Exit>,
}

impl Roster {
    /// Ranks on the hosts that `host_of` names, of which none has ended.
    pub(crate) fn new(size: usize, host_of: impl Fn(usize) -> Option<Rc<str>>) -> Self {
        let entry = |rank| Entry {
            host: host_of(rank),
            pid: 0,
            exit: None,
        };
        Self {
            ranks: (0..size).map(entry).collect(),
        }
    }

    pub(crate) fn host(&self, rank: usize) -> Option<Rc<str>> {
        self.ranks[rank].host.clone()
    }

    /// Rank `rank`, whose process was `pid`, has ended. Returns whether that is news.
    pub(crate) fn ended(&mut self, rank: usize, pid: u32, exit: Exit) -> bool {
        let entry = &mut self.ranks[rank];
        let is_news = entry.exit.is_none();
        if is_news {
            entry.pid = pid;
            entry.exit = Some(exit);
        }
        is_news
    }

    /// The ranks that have not ended, ascending.
    pub(crate) fn running(&self) -> impl Iterator<Item = usize> {
        let ranks = self.ranks.iter().enumerate();
        ranks
            .filter(|(_, entry)| entry.exit.is_none())
            .map(|(rank, _)| rank)
    }

    pub(crate) fn is_running(&self, rank: usize) -> bool {
        self.ranks[rank].exit.is_none()
    }

    /// The process and the end of each rank, when all have ended.
    pub(crate) fn exits(&self) -> impl Iterator<Item = (u32, Exit)> {
        self.ranks.iter().map(|entry| {
            (
                entry.pid,
                entry.exit.expect("the loop ends when all ranks have"),
            )
        })
    }
}
