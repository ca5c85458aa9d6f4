//! What these tests leave behind, also when they are killed: no process and no namespace.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::job::{self, Job};
use super::network::{Family, Network};
use crate::harness;

#[test]
fn a_test_that_ends_takes_its_hosts_along() {
    let network = Network::switched(2, 1500, Family::V4);
    let job = Job::new(&network, &[0, 1], ranks::wait_for_ever);
    let mut ranks = job.start();
    ranks.iter_mut().for_each(|rank| rank.await_line(MET));
    let pids: Vec<_> = ranks.iter().map(job::Rank::pid).collect();
    let spaces: Vec<_> = pids.iter().map(|&pid| namespace(pid).unwrap()).collect();
    assert!(spaces[0] != spaces[1] && is_inhabited(&spaces[0]));
    drop(ranks);
    drop(job);
    drop(network);
    assert_gone(&pids, &spaces);
}

#[test]
fn a_test_that_is_killed_takes_its_hosts_along() {
    let mut test = Command::new(job::program())
        .args(harness::arguments(&ranks::be_killed))
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(test.stdout.take().unwrap()).lines();
    let pids = said
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(PIDS).map(str::to_owned))
        .unwrap();
    let pids: Vec<u32> = pids
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    let spaces: Vec<_> = pids.iter().map(|&pid| namespace(pid).unwrap()).collect();
    test.kill().unwrap();
    test.wait().unwrap();
    assert_gone(&pids, &spaces);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn wait_for_ever() {
        harness::rank(|world| {
            world.barrier()?;
            println!("{MET}");
            world.recv::<[u8]>(1 - world.rank(), 0)?;
            Ok(())
        });
    }

    /// A test like others, but for its end.
    #[test]
    pub(super) fn be_killed() {
        if std::env::var_os(VICTIM).is_none() {
            return;
        }
        let network = Network::switched(2, 1500, Family::V4);
        let job = Job::new(&network, &[0, 1], wait_for_ever);
        let mut ranks = job.start();
        ranks.iter_mut().for_each(|rank| rank.await_line(MET));
        println!("{PIDS}{} {}", ranks[0].pid(), ranks[1].pid());
        thread::park();
    }
}

/// The network namespace of a process, as long as that is there.
fn namespace(pid: u32) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// Whether a thread of any process lives in a namespace. A process that has ended and that nobody has reaped lives nowhere.
fn is_inhabited(space: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let tasks = entries.flat_map(|entry| fs::read_dir(entry.path().join("task")));
    let mut spaces = tasks.flatten().flatten().filter_map(|task| {
        let link = fs::read_link(task.path().join("ns/net")).ok()?;
        Some(link.to_string_lossy().into_owned())
    });
    spaces.any(|other| other == space)
}

/// Waits until all are gone; what was killed takes a moment to go.
fn assert_gone(pids: &[u32], spaces: &[String]) {
    let bound = Instant::now() + Duration::from_secs(60);
    let is_left = |pid: &u32| namespace(*pid).is_some_and(|space| spaces.contains(&space));
    while pids.iter().any(is_left) || spaces.iter().any(|space| is_inhabited(space)) {
        assert!(
            Instant::now() < bound,
            "{pids:?} or {spaces:?} are still there"
        );
        thread::yield_now();
    }
}

const MET: &str = "all have met";
const PIDS: &str = "the ranks are ";
const VICTIM: &str = "IS_TO_BE_KILLED";
