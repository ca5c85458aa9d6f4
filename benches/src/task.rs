//! One job of a measurement: what the launcher starts and its ranks carry out.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Test {
    /// Half a ping-pong.
    Latency,
    /// Messages one way, 64 to an acknowledgement.
    Bandwidth,
    /// The same in both directions at once.
    Bibandwidth,
    /// Small messages one after the other.
    Rate,
    /// Ranks that share cores: two on one, and a ring of eight.
    Oversubscribed,
    /// What 255 idle ranks cost the latency of a pair.
    IdlePeers,
    /// From the start of `phalanx run -n 8` to its end.
    Startup,
}

impl Test {
    /// All tests, in the order in which they run.
    pub const ALL: [Self; 7] = [
        Self::Latency,
        Self::Bandwidth,
        Self::Bibandwidth,
        Self::Rate,
        Self::Oversubscribed,
        Self::IdlePeers,
        Self::Startup,
    ];

    /// The name on the command line, in the table and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Bandwidth => "bandwidth",
            Self::Bibandwidth => "bibandwidth",
            Self::Rate => "rate",
            Self::Oversubscribed => "oversubscribed",
            Self::IdlePeers => "idle-peers",
            Self::Startup => "startup",
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where the bytes of a message are before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mode {
    /// In vectors of the program.
    Copy,
    /// In vectors of the shared allocator.
    Shared,
    /// In a loan, which is handed over and read where it is.
    Loan,
}

impl Mode {
    /// All modes, in the order of the table's columns.
    pub const ALL: [Self; 3] = [Self::Copy, Self::Shared, Self::Loan];

    /// The name in the table and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Shared => "shared",
            Self::Loan => "loan",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What joins the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Transport {
    /// Shared memory between processes.
    Shm,
    /// QUIC between processes, as if each were on a host of its own.
    Quic,
    /// Queues between threads of one process.
    Inproc,
}

impl Transport {
    /// All transports that can be measured.
    pub const ALL: [Self; 3] = [Self::Shm, Self::Quic, Self::Inproc];

    /// Those that are measured unless others are named: what joins the ranks of a job of processes.
    pub const DEFAULT: [Self; 2] = [Self::Shm, Self::Quic];

    /// The name on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shm => "shm",
            Self::Quic => "quic",
            Self::Inproc => "inproc",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which of the allowed cores the ranks are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cores {
    /// Rank k to the k-th, beginning again where there are more ranks.
    Each,
    /// All to the first.
    One,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Task {
    /// What is measured.
    pub test: Test,
    /// Over what.
    pub transport: Transport,
    /// Ranks of the job.
    pub ranks: usize,
    /// Where they run.
    pub cores: Cores,
    /// Bytes of the messages, ascending.
    pub sizes: Vec<usize>,
    /// How long to measure; at least one sample of each row is taken.
    pub budget: Duration,
    /// Where rank 0 writes [`Event`](crate::Event)s, a line each.
    pub report: PathBuf,
}

impl Task {
    /// The processes of the job: one for each rank, or one for all where ranks are threads.
    #[must_use]
    pub const fn processes(&self) -> usize {
        match self.transport {
            Transport::Shm | Transport::Quic => self.ranks,
            Transport::Inproc => 1,
        }
    }

    /// Whether samples of both tasks are samples of the same.
    pub(crate) fn measures_as(&self, other: &Self) -> bool {
        let job = |task: &Self| (task.test, task.transport, task.ranks, task.cores);
        job(self) == job(other) && self.sizes == other.sizes
    }

    /// The ranks that measure; those beyond sleep.
    #[must_use]
    pub const fn active(&self) -> usize {
        match self.test {
            Test::Oversubscribed => self.ranks,
            _ => 2,
        }
    }

    /// Whether the active ranks have a core each, so that the floor can be probed.
    #[must_use]
    pub const fn has_floor(&self) -> bool {
        !matches!(self.test, Test::Oversubscribed | Test::Startup)
    }

    /// The rows to be measured: size and mode, in the order of the table.
    #[must_use]
    pub fn rows(&self) -> Vec<(usize, Mode)> {
        let modes: &[Mode] = match self.test {
            // Between hosts nothing is shared or lent: all modes would be the same.
            _ if self.transport == Transport::Quic => &[Mode::Copy],
            Test::Latency | Test::Bandwidth | Test::Bibandwidth => &Mode::ALL,
            _ => &[Mode::Copy],
        };
        let of_size = |&bytes: &usize| modes.iter().map(move |&mode| (bytes, mode));
        let is_measured = |&(bytes, mode): &(usize, Mode)| bytes <= self.largest(mode);
        self.sizes
            .iter()
            .flat_map(of_size)
            .filter(is_measured)
            .collect()
    }

    /// How many messages of `bytes` are in flight at a time. What the network carries of a large one leaves no room for the next, and 64
    /// of 4 MiB would take it a second.
    pub(crate) fn window(&self, bytes: usize) -> u64 {
        let most = match self.transport {
            Transport::Quic => MOST_OF_NETWORK / bytes.max(1),
            _ => usize::MAX,
        };
        most.clamp(1, WINDOW) as u64
    }

    /// Beyond this a default size is for loans alone, whose time does not grow with it. Sizes that were asked for are all measured.
    fn largest(&self, mode: Mode) -> usize {
        let is_default = self.sizes == crate::selection::LATENCY_SIZES;
        if is_default && mode != Mode::Loan {
            4 << 20
        } else {
            usize::MAX
        }
    }

    /// As an argument for a rank.
    ///
    /// # Panics
    /// Never: every task has a text.
    #[must_use]
    pub fn to_argument(&self) -> String {
        serde_json::to_string(self).expect("numbers, names and a path of this process have a text")
    }
}

/// As in the OSU benchmarks, so that figures compare.
const WINDOW: usize = 64;

/// Bytes of a window over the network: eight times what the link itself lets be under way.
const MOST_OF_NETWORK: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::Selection;

    #[test]
    fn windows_hold_64_messages_or_16_mib_over_a_network() {
        let selection = Selection::new(vec![Test::Bandwidth], 2, Vec::new(), true);
        let [shm, quic] = [Transport::Shm, Transport::Quic].map(|transport| {
            let task = selection.clone().transports(vec![transport]).tasks();
            move |bytes| task[0].window(bytes)
        });
        assert_eq!([0, 8, 4 << 20, 1 << 30].map(shm), [64; 4]);
        let sizes = [0, 8, 256 << 10, 1 << 20, 4 << 20, 1 << 30];
        assert_eq!(sizes.map(quic), [64, 64, 64, 16, 4, 1]);
    }

    #[test]
    fn over_a_network_there_is_one_mode() {
        let selection = Selection::new(vec![Test::Latency], 2, vec![8, 1 << 20], true);
        let task = selection.transports(vec![Transport::Quic]).tasks();
        assert_eq!(task[0].rows(), [(8, Mode::Copy), (1 << 20, Mode::Copy)]);
    }
}
