//! All ranks are on one host, and told to talk over the network nevertheless.

use std::env;

use crate::harness::{finish, phalanx_run};
use crate::member::{
    arguments, hears_a_farewell, loses_rank_0, loses_the_word_of_rank_0, meets_all, said,
};

/// Runs three ranks of `function` as a job that talks over QUIC: its exit code, output and errors. The ranks ignore SIGTERM, with
/// which the launcher ends those that a dead one leaves behind.
fn run(function: impl Fn()) -> (i32, String, String) {
    let mut command = phalanx_run(&["-n", "3", "--", "/bin/sh"]);
    command
        .args(["-c", "trap '' TERM; exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args(arguments(&function))
        .env("PHALANX_TRANSPORT", "quic");
    finish(command)
}

#[test]
fn ranks_of_a_job_over_quic_meet_in_the_wire_up() {
    let (code, output, errors) = run(meets_all);
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    let said = said(&output);
    let (_, job) = said[0].rsplit_once(' ').unwrap();
    assert_eq!(job.len(), 32);
    let expected = [0, 1, 2].map(|rank| format!("{rank} 127.0.0.1 ranks 0-2 {job}"));
    assert_eq!(said, expected);
}

#[test]
fn each_job_has_a_number_of_its_own() {
    let numbers = [(); 2].map(|()| {
        let (_, output, _) = run(meets_all);
        said(&output)[0].rsplit_once(' ').unwrap().1.to_owned()
    });
    assert_ne!(numbers[0], numbers[1]);
}

#[test]
fn a_job_over_shared_memory_has_no_wire_up() {
    let (code, output, _) = finish(phalanx_run(&["-n", "2", "--", "env"]));
    assert_eq!(code, 0);
    for variable in ["PHALANX_RENDEZVOUS=", "PHALANX_JOB=", "PHALANX_REACHED="] {
        assert_eq!(
            output.lines().filter(|line| *line == variable).count(),
            2,
            "{output}"
        );
    }
}

#[test]
fn the_death_of_a_rank_is_told_with_its_signal() {
    let (code, output, errors) = run(loses_rank_0);
    assert_eq!(code, 137, "{output}");
    assert!(
        errors.contains("was killed by signal 9 (SIGKILL)"),
        "{errors}"
    );
}

#[test]
fn a_rank_that_closes_its_channel_and_goes_on_is_lost() {
    let (code, output, errors) = run(loses_the_word_of_rank_0);
    assert_eq!(code, 9, "{errors}");
    assert_eq!(
        said(&output)[0],
        "rank 0 was lost: the connection was closed"
    );
}

#[test]
fn a_farewell_is_told_to_all() {
    let (code, output, errors) = run(hears_a_farewell);
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    assert_eq!(said(&output), ["1 heard", "2 heard"]);
}
