//! `phalanx run`: from parsed arguments to an exit code.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use phalanx_launch::{ExitCode, Input, Interrupts, Job, LaunchError, Output};

use crate::cli::{Binding, RunArguments};

/// Runs the job and returns the exit code of the command; errors have been printed.
pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    match job(arguments) {
        Ok(job) => match job.run() {
            Ok(outcome) => ExitCode::from(&outcome.ending),
            Err(error) => fail(&error, ExitCode::from(&error)),
        },
        Err(error) => {
            let code = if error.is::<LaunchError>() {
                ExitCode::Launcher
            } else {
                ExitCode::Usage
            };
            fail(&format!("{error:#}"), code)
        }
    }
}

fn job(arguments: RunArguments) -> anyhow::Result<Job> {
    let interrupts = Interrupts::take_over().map_err(system("take over its signals"))?;
    let output = Output::Console {
        tagged: arguments.tag_output,
    };
    let (timeout, bind) = (arguments.timeout, arguments.bind);
    let mut plan = arguments.plan()?;
    if bind == Binding::Core {
        plan = plan.bound_to(&allowed_processors()?);
    }
    let job = Job::new(plan)
        .input(Input::Console)
        .output(output)
        .interrupts(interrupts);
    Ok(match timeout {
        Some(limit) => job.time_limit(limit),
        None => job,
    })
}

/// The processors that this process may run on, ascending.
pub(crate) fn allowed_processors() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(system("ask for its processors"))?;
    let is_allowed = |&processor: &usize| set.is_set(processor).unwrap_or(false);
    Ok((0..CpuSet::count()).filter(is_allowed).collect())
}

fn system<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> LaunchError {
    move |source| LaunchError::System {
        what,
        source: source.into(),
    }
}

fn fail(error: &dyn std::fmt::Display, code: ExitCode) -> ExitCode {
    eprintln!("phalanx: {error}");
    code
}
