//! Jobs of this very program: a test starts it again as ranks, each of which runs one function of it.
//!
//! A rank's function is a `#[test]` too, so that the program can be told to run it alone, by name. In an ordinary run of the tests,
//! which is no job, it does nothing.

use std::any::type_name_of_val;
use std::env;
use std::time::Duration;

use phalanx::World;
use phalanx_launch::{Ending, Exit, Job, Outcome, Output, Plan, Program, RankOutcome};

/// Runs `ranks` ranks of `function` and returns how they ended.
pub(crate) fn run(ranks: usize, function: impl Fn()) -> Outcome {
    run_program(ranks, program(function))
}

/// As [`run`], for ranks all of which are to end well.
pub(crate) fn succeed(ranks: usize, function: impl Fn()) {
    let outcome = run(ranks, function);
    assert_eq!(outcome.ending, Ending::Success, "{}", told(&outcome));
}

/// Runs `ranks` ranks of `program`.
pub(crate) fn run_program(ranks: usize, program: Program) -> Outcome {
    run_job(Job::new(Plan::new(ranks, program).unwrap()))
}

/// Runs a job.
pub(crate) fn run_job(job: Job) -> Outcome {
    let job = job.output(Output::Capture);
    // No rank takes this long: the limits turn a hang into a failure that names who still ran.
    let job = job.time_limit(Duration::from_secs(300));
    let outcome = job.grace(Duration::from_secs(60)).run().unwrap();
    let well = outcome.ranks.iter().filter(|rank| rank.exit.is_success());
    for rank in well {
        let said = String::from_utf8_lossy(&rank.stdout);
        assert!(said.contains("1 passed"), "a rank ran no function: {said}");
    }
    outcome
}

/// This program, told to run `function` and nothing else.
pub(crate) fn program(function: impl Fn()) -> Program {
    Program::new(env::current_exe().unwrap()).arguments(arguments(&function))
}

/// As [`program`], but the ranks ignore SIGTERM, with which the launcher ends those that a dead one leaves behind.
pub(crate) fn stubborn_program(function: impl Fn()) -> Program {
    Program::new("/bin/sh")
        .arguments(["-c", "trap '' TERM; exec \"$@\"", "sh"])
        .argument(env::current_exe().unwrap())
        .arguments(arguments(&function))
}

/// The arguments that make this program run `function` and nothing else.
pub(crate) fn arguments(function: &impl Fn()) -> [String; 3] {
    let path = type_name_of_val(function);
    let (_, name) = path.split_once("::").unwrap();
    [
        "--exact".to_owned(),
        "--nocapture".to_owned(),
        name.to_owned(),
    ]
}

/// Whether this process is a rank.
pub(crate) fn is_rank() -> bool {
    env::var_os("PHALANX_RANK").is_some()
}

/// Joins the job and does a rank's work; does nothing in a process that is no rank.
pub(crate) fn rank(work: impl FnOnce(&World) -> phalanx::Result<()>) {
    if is_rank() {
        let world = phalanx::init().unwrap_or_else(|error| panic!("cannot join: {error}"));
        let me = world.rank();
        work(&world).unwrap_or_else(|error| panic!("rank {me}: {error}"));
    }
}

/// How the ranks ended.
pub(crate) fn exits(outcome: &Outcome) -> Vec<Exit> {
    outcome.ranks.iter().map(|rank| rank.exit).collect()
}

/// What launcher and ranks said, for a failed test.
pub(crate) fn told(outcome: &Outcome) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = |(
        rank,
        RankOutcome {
            stdout,
            stderr,
            exit,
            ..
        },
    ): (usize, &RankOutcome)| {
        format!("rank {rank} {exit}:\n{}{}", text(stdout), text(stderr))
    };
    let ranks: Vec<_> = outcome.ranks.iter().enumerate().map(said).collect();
    format!("{}\n{}", outcome.notices.join("\n"), ranks.join("\n"))
}
