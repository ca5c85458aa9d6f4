//! How jobs end: exit codes, deaths, signals, the time limit, programs that do not start.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use phalanx_launch::{Ending, Exit, Job, Output, Plan, Program};

use crate::harness::{Running, finish, phalanx_run, script};

#[test]
fn the_exit_code_is_that_of_the_rank_that_failed() {
    let (code, _, stderr) = finish(script(
        3,
        &[],
        "[ $PHALANX_RANK = 2 ] || exec sleep 1000; exit 42",
    ));
    assert_eq!(code, 42);
    assert!(
        stderr.starts_with("phalanx: rank 2 (pid ") && stderr.ends_with(") exited with code 42\n"),
        "{stderr}"
    );
}

#[test]
fn a_killed_rank_is_named_with_its_signal_and_the_others_are_ended() {
    for (signal, code) in [
        (Signal::SIGSEGV, 139),
        (Signal::SIGKILL, 137),
        (Signal::SIGTERM, 143),
    ] {
        let mut job = Running::start(script(4, &[], "echo $PHALANX_RANK $$; exec sleep 1000"));
        let lines = job.lines(4);
        let pid: i32 = lines[3].strip_prefix("3 ").unwrap().parse().unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        assert_eq!(job.wait(), Some(code));
        let number = signal as i32;
        let said =
            format!("phalanx: rank 3 (pid {pid}) was killed by signal {number} ({signal})\n");
        assert_eq!(job.errors(), said);
        assert_eq!(job.processes(), Vec::<i32>::new());
    }
}

#[test]
fn last_words_of_a_rank_come_before_the_news_of_its_death() {
    let (_, _, stderr) = finish(script(
        1,
        &["--tag-output"],
        "printf 'assertion failed' >&2; kill -ABRT $$",
    ));
    assert!(
        stderr.starts_with("[0] assertion failed\nphalanx: rank 0 (pid "),
        "{stderr}"
    );
}

#[test]
fn ranks_that_ignore_the_end_are_killed_after_the_grace() {
    // Rank 1 fails when the others have said, through files, that they are deaf.
    let folder = tempfile::tempdir().unwrap();
    let body = "cd \"$0\"
        if [ $PHALANX_RANK = 1 ]; then until [ -e 0 ] && [ -e 2 ]; do :; done; exit 5; fi
        trap '' TERM; : > $PHALANX_RANK; while :; do sleep 1000; done";
    let program = Program::new("/bin/sh")
        .argument("-c")
        .argument(body)
        .argument(folder.path());
    let job = Job::new(Plan::new(3, program).unwrap()).output(Output::Capture);
    let outcome = job.grace(Duration::from_millis(50)).run().unwrap();
    let exits: Vec<_> = outcome.ranks.iter().map(|rank| rank.exit).collect();
    assert_eq!(exits, [Exit::Signal(9), Exit::Code(5), Exit::Signal(9)]);
    assert_eq!(
        outcome.ending,
        Ending::RankFailed {
            rank: 1,
            exit: exits[1]
        }
    );
    assert_eq!(
        outcome.notices[1],
        "killed ranks 0, 2, still running 0.05 s after SIGTERM"
    );
}

#[test]
fn ranks_have_time_to_end_in_their_own_way() {
    let body = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done";
    let mut job = Running::start(script(2, &[], body));
    job.lines(2);
    job.signal(Signal::SIGTERM);
    assert_eq!(job.lines(2), ["saved", "saved"]);
    assert_eq!(job.wait(), Some(143));
    assert_eq!(job.errors(), "");
    assert_eq!(
        job.processes(),
        Vec::<i32>::new(),
        "what a rank leaves in its group goes with it"
    );
}

#[test]
fn the_first_interrupt_is_forwarded_once_and_the_second_kills() {
    interrupt_twice(Running::start(script(3, &[], INTERRUPTED)));
}

#[test]
fn signals_that_ask_to_end_decide_the_exit_code() {
    for (signal, code) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ] {
        let mut job = Running::start(script(2, &[], "echo ready; exec sleep 1000"));
        job.lines(2);
        job.signal(signal);
        assert_eq!(job.wait(), Some(code), "{signal}");
        assert_eq!(job.errors(), "", "what the user asked for is no news");
    }
}

#[test]
fn user_signals_are_passed_on_without_ending_the_job() {
    let body = "trap 'echo noted; exit 0' USR1; echo ready; while :; do sleep 1000 & wait; done";
    let mut job = Running::start(script(2, &[], body));
    job.lines(2);
    job.signal(Signal::SIGUSR1);
    assert_eq!(job.lines(2), ["noted", "noted"]);
    assert_eq!(job.wait(), Some(0));
}

#[test]
fn the_time_limit_names_the_ranks_that_still_run() {
    let body = "[ $PHALANX_RANK = 1 ] || exec sleep 1000";
    let (code, _, stderr) = finish(script(4, &["--timeout", "0.25"], body));
    assert_eq!(code, 124);
    assert_eq!(
        stderr,
        "phalanx: the time limit of 0.25 s has passed, still running: ranks 0, 2-3\n"
    );
}

#[test]
fn a_job_within_its_time_limit_does_not_notice_it() {
    let (code, _, stderr) = finish(script(2, &["--timeout", "1000"], "true"));
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    for (program, code, said) in [
        (
            "no-such-program",
            127,
            "no-such-program was not found in PATH",
        ),
        ("./no-such-program", 127, "./no-such-program was not found"),
        ("/etc/passwd", 126, "/etc/passwd cannot be executed"),
        ("/", 126, "/ cannot be executed"),
    ] {
        let (exit, _, stderr) = finish(phalanx_run(&["-n", "3", program]));
        assert_eq!(exit, code, "{stderr}");
        assert!(
            stderr.starts_with(&format!("phalanx: cannot start rank 0: {said}")),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn ranks_that_run_already_are_ended_when_another_cannot_be_started() {
    let mut job = Running::start(phalanx_run(&[
        "-n",
        "3",
        "sleep",
        "1000",
        ":",
        "-n",
        "1",
        "/nonexistent",
    ]));
    assert_eq!(job.wait(), Some(127));
    assert!(job.errors().contains("cannot start rank 3: /nonexistent"));
    assert_eq!(job.processes(), Vec::<i32>::new());
}

/// What a rank does that says when it is interrupted, and goes on.
pub(crate) const INTERRUPTED: &str =
    "trap 'echo interrupted' INT; echo ready; while :; do sleep 1000 & wait; done";

/// Interrupts a job of three ranks that run [`INTERRUPTED`]: they are told once, and killed the second time.
pub(crate) fn interrupt_twice(mut job: Running) {
    job.lines(3);
    job.signal(Signal::SIGINT);
    assert_eq!(job.lines(3), ["interrupted"; 3]);
    job.signal(Signal::SIGINT);
    assert_eq!(job.wait(), Some(130));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut job.stdout, &mut rest).unwrap();
    assert_eq!(rest, "", "no rank got the first one twice");
    assert_eq!(job.processes(), Vec::<i32>::new());
}
