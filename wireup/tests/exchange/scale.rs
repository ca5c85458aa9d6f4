//! A job of a thousand ranks, in one thread.

use crate::simulation::whole_job;

#[test]
fn a_thousand_ranks_on_64_hosts_meet_within_little_traffic_and_memory() {
    let before = resident_bytes();
    let job = whole_job(64, 16);
    let grown = resident_bytes().saturating_sub(before);
    // Ten cards for each rank, which is what each of them asked for, and as much again for everything else. If everybody got
    // every card, it would be a hundred times as many.
    let traffic = job.traffic;
    assert!(traffic.bytes < 1024 * 20 * CARD, "{traffic:?}");
    assert!(traffic.longest <= 32 * CARD, "{traffic:?}");
    assert!(traffic.frames < 1024 * 50, "{traffic:?}");
    assert!(grown < 24 * MIB, "{} KiB more are in use", grown / 1024);
}

/// What this process has in memory. Other tests of this binary may run beside this one; they need little.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// A card with two addresses and everything around it.
const CARD: usize = 160;

const MIB: usize = 1 << 20;
