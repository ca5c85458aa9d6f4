//! Everything that ranks do to each other, over a line that does to packets what the worst of networks do.

use std::time::Duration;

use super::exchange;
use super::forwarder::{Counts, Faults};
use super::job::Job;
use super::network::{Family, Network};

#[test]
fn one_packet_in_a_hundred_is_lost_on_a_way_of_a_millisecond() {
    let faults = Faults {
        delay: Duration::from_micros(500),
        lost: 10,
        ..Faults::default()
    };
    across(faults, |counts| &counts.lost);
}

#[test]
fn one_packet_in_twenty_is_lost() {
    let faults = Faults {
        lost: 50,
        ..Faults::default()
    };
    across(faults, |counts| &counts.lost);
}

#[test]
fn one_packet_in_ten_is_overtaken() {
    let faults = Faults {
        reordered: 100,
        ..Faults::default()
    };
    across(faults, |counts| &counts.reordered);
}

#[test]
fn one_packet_in_ten_comes_twice() {
    let faults = Faults {
        doubled: 100,
        ..Faults::default()
    };
    across(faults, |counts| &counts.doubled);
}

/// Two ranks on either side; what they suffered is counted.
fn across(faults: Faults, suffered: fn(&Counts) -> &std::sync::atomic::AtomicU64) {
    let network = Network::faulty(1500, Family::V4, faults);
    Job::new(&network, &[0, 0, 1, 1], exchange::ranks::exchange).succeed();
    let line = network.forwarder();
    let (passed, suffered) = (line.count(|counts| &counts.passed), line.count(suffered));
    // Of the many megabytes that have to cross.
    assert!(passed > 10_000 && suffered > 50, "{suffered} of {passed}");
}

/// What asks for an address passes the line, or nothing would.
#[test]
fn a_line_without_faults_loses_nothing() {
    let network = Network::faulty(9000, Family::V6, Faults::default());
    Job::new(&network, &[0, 1], exchange::ranks::greet).succeed();
    let line = network.forwarder();
    assert!(line.count(|counts| &counts.passed) > 10);
    assert_eq!(line.count(|counts| &counts.lost), 0);
}
