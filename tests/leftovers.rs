//! What jobs leave behind, however they end: nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;

use phalanx_launch::Ending;

use crate::harness;

/// The jobs run inside a rank, which has the process to itself: other tests open and close descriptors of this one.
#[test]
fn jobs_leave_no_descriptor_no_process_and_no_file() {
    harness::succeed(1, ranks::runs_jobs);
}

mod ranks {
    use super::*;

    #[test]
    pub(super) fn runs_jobs() {
        if !harness::is_rank() {
            return;
        }
        let before = (descriptors(), shared_files());
        for _ in 0..10 {
            let good = harness::run(4, all_talk);
            assert_eq!(good.ending, Ending::Success, "{}", harness::told(&good));
            let bad = harness::run(4, one_aborts);
            assert!(
                matches!(bad.ending, Ending::RankFailed { .. }),
                "{:?}",
                bad.ending
            );
            for rank in good.ranks.iter().chain(&bad.ranks) {
                assert!(!is_mine(rank.pid), "process {} is still there", rank.pid);
            }
        }
        assert_eq!((descriptors(), shared_files()), before);
    }

    #[test]
    pub(super) fn all_talk() {
        harness::rank(|world| {
            world.barrier()?;
            let bytes = world.loan::<[u8]>(100_000)?;
            bytes.send((world.rank() + 1) % world.size(), 0)?;
            world.recv::<[u8]>(phalanx::ANY_SOURCE, 0)?;
            Ok(())
        });
    }

    #[test]
    pub(super) fn one_aborts() {
        harness::rank(|world| {
            world.barrier()?;
            if world.rank() == 2 {
                std::process::abort();
            }
            world.recv::<[u8]>(2, 0)?;
            Ok(())
        });
    }
}

/// What this process has open.
fn descriptors() -> Vec<String> {
    let mut open: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| !target.ends_with("/fd"))
        .collect();
    open.sort();
    open
}

/// Shared memory with a name that Phalanx gave it. Ranks without a launcher name theirs by their namespaces until all have come, and
/// those of tests that run meanwhile have others.
fn shared_files() -> Vec<String> {
    let network = fs::metadata("/proc/self/ns/net").unwrap().ino();
    let is_elsewhere = |name: &str| {
        let mut parts = name.rsplit('-').skip(1);
        parts
            .next()
            .is_some_and(|part| part.parse::<u64>().is_ok_and(|number| number != network))
    };
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.contains("phalanx") && !is_elsewhere(name))
        .collect()
}

/// Whether `pid` is a child of this process, dead or alive; the number may belong to a stranger by now.
fn is_mine(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mine = format!("PPid:\t{}", std::process::id());
    status.lines().any(|line| line == mine)
}
