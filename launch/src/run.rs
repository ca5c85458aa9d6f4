//! `phalanx run`: from parsed arguments and settings to an exit code.

use std::path::{self, PathBuf};
use std::{env, io};

use phalanx::config::{Binding, Config, Origin, SameHost};
use phalanx_launch::{ExitCode, Hosts, Input, Interrupts, Job, LaunchError, Output};
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
    let slots = arguments.slots()?;
    let launch = config.launch();
    // Ranks of a job over hosts get the settings themselves, for the file may not be there.
    let file = match slots {
        Some(_) => None,
        None => configuration_file(&arguments).map_err(system("ask for its directory"))?,
    };
    let mut plan = arguments.plan(file.as_deref(), slots.as_deref())?;
    let hosts = match &slots {
        Some(slots) => Some(with_settings(
            arguments.hosts.place(slots, plan.size())?,
            &config,
        )),
        None => None,
    };
    if launch.bind == Binding::Core {
        plan = match hosts {
            Some(_) => plan.bound_by_host(),
            None => plan.bound_to(&allowed_processors()?),
        };
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
    if let Some(hosts) = hosts {
        job = job.hosts(hosts);
    }
    Ok(job)
}

/// Gives ranks on other hosts the settings that hold here. Those of the launcher's own flags are not for them.
fn with_settings(mut hosts: Hosts, config: &Config) -> Hosts {
    for entry in config.entries() {
        if matches!(entry.origin, Origin::File(_) | Origin::Variable(_)) {
            hosts = hosts.variable(entry.variable, entry.value);
        }
    }
    let launch = config.launch();
    if let Some(agent) = &launch.agent {
        hosts = hosts.launch_agent(agent.words());
    }
    if let Some(path) = &launch.remote_phalanx {
        hosts = hosts.remote_phalanx(path);
    }
    hosts.fan_out(launch.fan_out as usize)
}

/// The file whose settings hold, by its absolute path: a rank may look for it from another directory.
fn configuration_file(arguments: &RunArguments) -> io::Result<Option<PathBuf>> {
    let variable = || env::var_os(environment::CONFIG).map(PathBuf::from);
    let named = arguments.config.clone().or_else(variable);
    named.map(path::absolute).transpose()
}

/// The processors that this process may run on, ascending.
pub(crate) fn allowed_processors() -> anyhow::Result<Vec<usize>> {
    let allowed = phalanx_launch::allowed_processors();
    Ok(allowed.map_err(system("ask for its processors"))?)
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
