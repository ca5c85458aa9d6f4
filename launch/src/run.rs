//! `phalanx run`: from parsed arguments and settings to an exit code.

use std::path::{self, PathBuf};
use std::{env, io};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use phalanx::config::{Binding, SameHost};
use phalanx_launch::{ExitCode, Input, Interrupts, Job, LaunchError, Output};
use phalanx_wireup::environment;

use crate::cli::RunArguments;

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
    let config = arguments.settings()?;
    let file = configuration_file(&arguments).map_err(system("ask for its directory"))?;
    let mut plan = arguments.plan(file.as_deref())?;
    let launch = config.launch();
    if launch.bind == Binding::Core {
        plan = plan.bound_to(&allowed_processors()?);
    }
    let mut job = Job::new(plan)
        .input(Input::Console)
        .output(Output::Console {
            tagged: launch.tag_output,
        })
        .interrupts(interrupts);
    if let Some(limit) = launch.timeout {
        job = job.time_limit(limit);
    }
    if let Some(bytes) = config.memory().arena {
        job = job.arena_bytes(bytes);
    }
    if config.transport().same_host == SameHost::Quic {
        job = job.wireup();
    }
    Ok(job)
}

/// The file whose settings hold, by its absolute path: a rank may look for it from another directory.
fn configuration_file(arguments: &RunArguments) -> io::Result<Option<PathBuf>> {
    let variable = || env::var_os(environment::CONFIG).map(PathBuf::from);
    let named = arguments.config.clone().or_else(variable);
    named.map(path::absolute).transpose()
}

/// The processors that this process may run on, ascending.
pub(crate) fn allowed_processors() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(system("ask for its processors"))?;
    let is_allowed = |&processor: &usize| set.is_set(processor).unwrap_or(false);
    Ok((0..CpuSet::count()).filter(is_allowed).collect())
}

fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> LaunchError {
    move |source| LaunchError::System {
        what,
        source: source.into(),
    }
}

fn fail(error: &dyn std::fmt::Display, code: ExitCode) -> ExitCode {
    // A configuration may have several mistakes, a line each.
    for line in error.to_string().lines() {
        eprintln!("phalanx: {line}");
    }
    code
}
