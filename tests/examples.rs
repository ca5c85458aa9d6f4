//! The examples give the same results however their ranks talk: through queues inside one process, shared memory, QUIC, or both of
//! these on two hosts. `launch/tests/examples.rs` runs them as the programs that they are.

use std::env;
use std::process::Command;

use phalanx::World;
use phalanx::testing::{InprocSettings, Job};
use phalanx_launch::{Ending, Plan};

use crate::harness;
use crate::hosts::{self, Family, Network};

#[expect(
    dead_code,
    unreachable_pub,
    reason = "they are programs, of which only a part is called here"
)]
mod programs;

#[test]
fn heat() {
    alike(ranks::heat, as_it_is);
}

#[test]
fn hello() {
    // Threads are of one process.
    alike(ranks::hello, |line| {
        line.trim_end_matches(char::is_numeric).to_owned()
    });
}

#[test]
fn loan() {
    alike(ranks::loan, as_it_is);
}

#[test]
fn ping_pong() {
    // The time that it took comes behind the colon.
    alike(ranks::ping_pong, |line| {
        line.split(':').next().unwrap_or_default().to_owned()
    });
}

#[test]
fn ring() {
    alike(ranks::ring, as_it_is);
}

#[test]
fn typed() {
    alike(ranks::typed, as_it_is);
}

#[test]
fn word_count() {
    alike(ranks::word_count, as_it_is);
}

#[test]
fn workers() {
    alike(ranks::workers, as_it_is);
}

fn as_it_is(line: &str) -> String {
    line.to_owned()
}

/// The example that `function` runs says the same on every way; `comparable` makes of a line what can be compared.
fn alike(function: impl Fn() + Copy, comparable: fn(&str) -> String) {
    let lines = |said: String| {
        let mut lines: Vec<_> = said
            .lines()
            .filter(|line| !is_of_the_harness(line))
            .map(comparable)
            .collect();
        // Ranks speak when they like.
        lines.sort();
        lines
    };
    let expected = lines(in_one_process(function));
    assert!(!expected.is_empty(), "it says nothing");
    assert_eq!(lines(launched(function, "shm")), expected, "shared memory");
    assert_eq!(lines(launched(function, "quic")), expected, "QUIC");
    let network = Network::switched(2, 1500, Family::V4);
    let mixed = hosts::Job::new(&network, &[0, 1, 0, 1], function).succeed();
    assert_eq!(lines(mixed.concat()), expected, "both");
}

/// What this harness says itself when it runs one function.
fn is_of_the_harness(line: &str) -> bool {
    line.is_empty() || line.starts_with("running ") || line.starts_with("test ")
}

fn in_one_process(function: impl Fn()) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(harness::arguments(&function))
        .envs([(THREADS, "1"), SIDE_BY_SIDE])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (said, errors) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    said
}

fn launched(function: impl Fn(), transport: &str) -> String {
    let program = harness::program(function)
        .variable("PHALANX_TRANSPORT", transport)
        .variable(SIDE_BY_SIDE.0, SIDE_BY_SIDE.1);
    let job = phalanx_launch::Job::new(Plan::new(RANKS, program).unwrap());
    let outcome = harness::run_job(match transport {
        "quic" => job.wireup(),
        _ => job,
    });
    assert_eq!(
        outcome.ending,
        Ending::Success,
        "{}",
        harness::told(&outcome)
    );
    let said = outcome.ranks.iter().map(|rank| &rank.stdout[..]);
    String::from_utf8(said.collect::<Vec<_>>().concat()).unwrap()
}

/// Runs an example as a rank, or, if this process is to be all of them, as threads.
fn run(example: fn(&World) -> phalanx::Result<()>) {
    if env::var_os(THREADS).is_some() {
        Job::new(RANKS)
            .inproc(InprocSettings::default())
            .run(example);
    } else {
        harness::rank(example);
    }
}

mod ranks {
    use super::{programs, run};

    #[test]
    pub(super) fn heat() {
        run(programs::heat::run);
    }

    #[test]
    pub(super) fn hello() {
        run(programs::hello::run);
    }

    #[test]
    pub(super) fn loan() {
        run(programs::loan::run);
    }

    #[test]
    pub(super) fn ping_pong() {
        run(programs::ping_pong::run);
    }

    #[test]
    pub(super) fn ring() {
        run(programs::ring::run);
    }

    #[test]
    pub(super) fn typed() {
        run(programs::typed::run);
    }

    #[test]
    pub(super) fn word_count() {
        run(programs::word_count::run);
    }

    #[test]
    pub(super) fn workers() {
        run(programs::workers::run);
    }
}

const RANKS: usize = 4;

/// Says that the ranks are threads of the process that has it.
const THREADS: &str = "RANKS_ARE_THREADS";

/// Lets the harness name a test when it has ended, not in front of what it says.
const SIDE_BY_SIDE: (&str, &str) = ("RUST_TEST_THREADS", "2");
