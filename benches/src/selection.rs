//! What the command line asks for, and the tasks that follow from it.

use std::path::PathBuf;
use std::time::Duration;

use crate::task::{Cores, Task, Test, Transport};

/// What to measure.
///
/// # Examples
/// ```
/// use phalanx_bench::{Selection, Test};
///
/// let selection = Selection::new(vec![Test::Latency], 2, vec![8, 65536], true);
/// assert_eq!(selection.tasks().len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Selection {
    tests: Vec<Test>,
    transports: Vec<Transport>,
    ranks: usize,
    sizes: Vec<usize>,
    is_quick: bool,
}

impl Selection {
    /// The `tests` (all, when empty) among `ranks` ranks with messages of `sizes` bytes (the usual ones, when empty).
    /// Fewer ranks than two are two.
    #[must_use]
    pub fn new(tests: Vec<Test>, ranks: usize, mut sizes: Vec<usize>, is_quick: bool) -> Self {
        sizes.sort_unstable();
        sizes.dedup();
        let is_wanted = |test: &Test| tests.is_empty() || tests.contains(test);
        Self {
            tests: Test::ALL.into_iter().filter(is_wanted).collect(),
            transports: vec![Transport::Shm],
            ranks: ranks.max(2),
            sizes,
            is_quick,
        }
    }

    /// Over these transports instead of shared memory, each named once or more.
    #[must_use]
    pub fn transports(mut self, transports: Vec<Transport>) -> Self {
        self.transports.clear();
        for transport in transports {
            if !self.transports.contains(&transport) {
                self.transports.push(transport);
            }
        }
        self
    }

    /// One task for each job, in the order in which they are to run. Where ranks report is not known yet.
    ///
    /// Several transports share the time. They take turns at each test, and each comes first as often as the others, because what is
    /// compared should be measured in the same seconds.
    #[must_use]
    pub fn tasks(&self) -> Vec<Task> {
        let rounds = match self.transports.len() {
            0 | 1 => 1,
            several => several * (self.fewest_rounds().div_ceil(several)),
        };
        let shares = rounds * self.transports.len().max(1);
        let mut tasks = Vec::new();
        for &test in &self.tests {
            for round in 0..rounds {
                let mut transports = self.transports.clone();
                let first = round % transports.len().max(1);
                transports.rotate_left(first);
                let jobs = transports
                    .into_iter()
                    .flat_map(|transport| self.jobs(transport, test));
                tasks.extend(jobs.map(|task| Task {
                    budget: task.budget.div_f64(shares as f64),
                    ..task
                }));
            }
        }
        tasks
    }

    fn jobs(&self, transport: Transport, test: Test) -> Vec<Task> {
        let task = |ranks, cores, sizes: &[usize], share: f64| Task {
            test,
            transport,
            ranks,
            cores,
            sizes: sizes.to_vec(),
            budget: self.second().mul_f64(share),
            report: PathBuf::new(),
        };
        let or_these = |default: &'static [usize]| {
            if self.sizes.is_empty() {
                default.to_vec()
            } else {
                self.sizes.clone()
            }
        };
        let pair = |default, share| vec![task(self.ranks, Cores::Each, &or_these(default), share)];
        match test {
            Test::Latency => pair(LATENCY_SIZES, 4.0),
            Test::Bandwidth | Test::Bibandwidth => pair(BANDWIDTH_SIZES, 4.0),
            Test::Rate => pair(SMALL, 1.0),
            Test::Oversubscribed => vec![
                task(2, Cores::One, SMALL, 1.0),
                task(8, Cores::Each, SMALL, 1.0),
            ],
            Test::IdlePeers => [2, 2 + idle_peers(transport)]
                .map(|ranks| task(ranks, Cores::Each, SMALL, 1.0))
                .to_vec(),
            Test::Startup => vec![task(8, Cores::Each, &[], 1.0)],
        }
    }

    /// Turns of several transports at each test. When there is time, enough that a core which moves in the middle of a test meets all
    /// transports; few beside what starting a job costs.
    const fn fewest_rounds(&self) -> usize {
        if self.is_quick { 2 } else { 4 }
    }

    /// What a share of 1 is: all tests together take 14 s quickly and a minute otherwise.
    fn second(&self) -> Duration {
        Duration::from_millis(if self.is_quick { 740 } else { 3300 })
    }
}

/// Each size stands for a way that messages take: none, inline, several lines, eager block, chunks. The last is for loans alone.
pub(crate) const LATENCY_SIZES: &[usize] = &[
    0,
    1,
    8,
    48,
    64,
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
];

/// The same without an empty message, which has no bandwidth, and without what only loans do.
const BANDWIDTH_SIZES: &[usize] = &[
    1,
    8,
    48,
    64,
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
];

const SMALL: &[usize] = &[8];

/// As many as a large host has. Between hosts they would sleep elsewhere; here those of a network take of the same cores, each with a
/// thread that answers for it, and more of them would measure nothing else.
const fn idle_peers(transport: Transport) -> usize {
    match transport {
        Transport::Quic => 30,
        _ => 255,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Mode;

    #[test]
    fn nothing_named_is_everything() {
        let tasks = Selection::new(Vec::new(), 2, Vec::new(), false).tasks();
        for test in Test::ALL {
            assert!(tasks.iter().any(|task| task.test == test), "{test}");
        }
        let ranks: Vec<_> = tasks
            .iter()
            .filter(|task| task.test == Test::IdlePeers)
            .map(|task| task.ranks)
            .collect();
        assert_eq!(ranks, [2, 257]);
    }

    #[test]
    fn a_quick_run_is_planned_below_15_s_and_a_full_one_is_about_a_minute() {
        let planned = |is_quick| -> Duration {
            let selection = Selection::new(Vec::new(), 2, Vec::new(), is_quick)
                .transports(Transport::DEFAULT.to_vec());
            selection.tasks().iter().map(|task| task.budget).sum()
        };
        assert!(planned(true) < Duration::from_secs(15));
        assert!(planned(false) < Duration::from_secs(65));
    }

    #[test]
    fn several_transports_take_turns_within_the_same_time() {
        let selection = |transports| {
            let tests = vec![Test::Rate, Test::Startup];
            let selection = Selection::new(tests, 2, Vec::new(), true);
            selection.transports(transports).tasks()
        };
        let (shm, inproc) = (Transport::Shm, Transport::Inproc);
        let both = selection(vec![shm, inproc, shm]);
        let order: Vec<_> = both
            .iter()
            .map(|task| (task.test, task.transport))
            .collect();
        let turns = [shm, inproc, inproc, shm];
        let expected = [Test::Rate, Test::Startup].map(|test| turns.map(|over| (test, over)));
        assert_eq!(order, expected.concat());
        let time =
            |tasks: &[Task]| -> f64 { tasks.iter().map(|task| task.budget.as_secs_f64()).sum() };
        assert!((time(&both) - time(&selection(vec![shm]))).abs() < 1e-6);
        assert_eq!(selection(vec![inproc]).len(), 2);
    }

    #[test]
    fn sizes_are_measured_once_each_and_in_order() {
        let selection = Selection::new(vec![Test::Rate], 2, vec![64, 8, 64], true);
        assert_eq!(selection.tasks()[0].sizes, [8, 64]);
    }

    #[test]
    fn by_default_only_loans_go_beyond_4_mib() {
        let rows = |sizes| {
            let selection = Selection::new(vec![Test::Latency], 2, sizes, true);
            selection.tasks()[0].rows()
        };
        let beyond: Vec<_> = rows(Vec::new())
            .into_iter()
            .filter(|row| row.0 > 4 << 20)
            .collect();
        assert_eq!(beyond, [(16 << 20, Mode::Loan)]);
        assert_eq!(rows(vec![16 << 20]).len(), Mode::ALL.len());
    }
}
