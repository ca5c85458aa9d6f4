//! Many hosts: agents that start agents, and the wire-up over all of them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Running, eventually, finish};
use crate::hosts::agent;
use crate::member::{hears_a_farewell, loses_rank_0, meets_all, said};
use crate::stand_in::StandIn;

#[test]
fn ranks_of_three_hosts_meet_in_the_wire_up() {
    let stand_in = StandIn::new();
    let (code, output, errors) = finish(stand_in.members("localhost:2,b:2,c:1", meets_all));
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    let said = said(&output);
    let (_, job) = said[0].rsplit_once(' ').unwrap();
    let expected = [
        "0 - ranks 0-1",
        "1 - ranks 0-1",
        "2 - ranks 2-3",
        "3 - ranks 2-3",
        "4 - rank 4",
    ];
    assert_eq!(said, expected.map(|line| format!("{line} {job}")));
}

#[test]
fn ranks_that_all_are_on_one_other_host_need_no_wire_up() {
    let stand_in = StandIn::new();
    let (code, output, _) =
        finish(stand_in.job("b:2", &[], "echo \"<$PHALANX_RENDEZVOUS$PHALANX_JOB>\""));
    assert_eq!((code, output.as_str()), (0, "<>\n<>\n"));
}

#[test]
fn deaths_and_farewells_are_told_to_ranks_of_other_hosts() {
    let stand_in = StandIn::new();
    let (code, output, errors) = finish(stand_in.members("b,c,d", loses_rank_0));
    assert_eq!(code, 137, "{errors}");
    assert_eq!(said(&output), ["rank 0 was lost: killed by signal 9"; 2]);
    let (code, output, errors) = finish(stand_in.members("b,c,d", hears_a_farewell));
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    assert_eq!(said(&output), ["1 heard", "2 heard"]);
}

#[test]
fn forty_hosts_are_reached_through_each_other() {
    let stand_in = StandIn::new();
    for fan_out in ["16", "3"] {
        let mut command = stand_in.members("h[01-40]", meets_all);
        command.env("PHALANX_FAN_OUT", fan_out);
        let (code, output, errors) = finish(command);
        assert_eq!((code, errors.as_str()), (0, ""), "{output}");
        let said = said(&output);
        assert_eq!(said.len(), 40);
        let mut ranks: Vec<usize> = said
            .iter()
            .map(|line| line.split(' ').next().unwrap().parse().unwrap())
            .collect();
        ranks.sort_unstable();
        assert_eq!(ranks, (0..40).collect::<Vec<_>>());
    }
}

#[test]
fn a_host_in_the_middle_takes_those_below_with_it_and_nothing_is_left() {
    let stand_in = StandIn::new();
    let mut command = stand_in.job("h[0-6]", &[], "sleep 1000 & echo on; wait");
    command.env("PHALANX_FAN_OUT", "2");
    let mut job = Running::start(command);
    job.lines(7);
    // Below host 0 are 2 and 3, and 6 is below 2.
    kill(Pid::from_raw(agent(&job, "h0").unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(job.wait(), Some(125));
    let errors = job.errors();
    assert!(
        errors.starts_with("phalanx: host h0 was lost: ")
            && errors.ends_with("; with it went ranks 0, 2-3 and 6\n"),
        "{errors}"
    );
    eventually("all gone", || job.processes().is_empty());
}

#[test]
fn a_host_that_is_reached_through_another_is_named_when_it_is_lost_or_cannot_start() {
    let stand_in = StandIn::new();
    let mut command = stand_in.job("h[0-6]", &[], "sleep 1000 & echo on; wait");
    command.env("PHALANX_FAN_OUT", "2");
    let mut job = Running::start(command);
    job.lines(7);
    kill(Pid::from_raw(agent(&job, "h5").unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(job.wait(), Some(125));
    let errors = job.errors();
    assert!(
        errors.starts_with("phalanx: host h5 was lost: ")
            && errors.contains(" (seen from host h1); ")
            && errors.ends_with("; with it went rank 5\n"),
        "{errors}"
    );
    eventually("all gone", || job.processes().is_empty());

    let mut command = stand_in.command("h[0-6]", &["-n", "6", "--", "sleep", "1000"]);
    command
        .args([":", "-n", "1", "/nonexistent"])
        .env("PHALANX_FAN_OUT", "2");
    let (code, _, errors) = finish(command);
    assert_eq!(code, 127);
    assert!(
        errors.starts_with("phalanx: host h6: cannot start rank 6"),
        "{errors}"
    );
}

#[test]
fn a_launcher_that_is_killed_leaves_nothing_in_the_whole_tree() {
    let stand_in = StandIn::new();
    let mut command = stand_in.job("h[0-9]", &[], "sleep 1000 & echo on; wait");
    command.env("PHALANX_FAN_OUT", "2");
    let mut job = Running::start(command);
    job.lines(10);
    job.signal(Signal::SIGKILL);
    assert_eq!(job.wait(), None);
    eventually("all gone", || job.processes().is_empty());
}
