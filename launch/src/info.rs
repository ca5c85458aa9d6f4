//! `phalanx info`: the machine, its limits, what messages do on it, and every setting with its origin; or the plan of a job.
//!
//! It works above all when something is wrong: a configuration with mistakes is reported, and the defaults are shown.

mod machine;
mod plan;
mod report;
mod text;

use std::io::{self, Write};

use phalanx::config::Config;
use phalanx_launch::ExitCode;
use serde::Serialize;

use crate::cli::InfoArguments;
use report::Report;

pub(crate) use plan::PlanArguments;

/// Prints the report. The exit code says whether the configuration is right.
pub(crate) fn info(arguments: &InfoArguments) -> ExitCode {
    let (config, problems) = match Config::load(arguments.config.as_deref(), &[]) {
        Ok(config) => (config, Vec::new()),
        Err(error) => {
            let problems = error.problems().iter().map(ToString::to_string);
            (Config::default(), problems.collect())
        }
    };
    let code = if problems.is_empty() {
        ExitCode::Success
    } else {
        ExitCode::Usage
    };
    for problem in &problems {
        eprintln!("phalanx: {problem}");
    }
    let plan = match arguments.plan.is_wanted() {
        Ok(false) => {
            let report = Report::new(&config, problems);
            return print(arguments, &report, text::render, code);
        }
        Ok(true) => arguments.plan.plan(&config),
        Err(error) => Err(error),
    };
    match plan {
        Ok(plan) if plan.is_refused() => print(arguments, &plan, plan::render, ExitCode::Usage),
        Ok(plan) => print(arguments, &plan, plan::render, code),
        Err(error) => {
            eprintln!("phalanx: {error:#}");
            ExitCode::Usage
        }
    }
}

/// Prints what was found out, as `text` or as JSON. The exit code is `code`, if it can be printed.
fn print<T: Serialize>(
    arguments: &InfoArguments,
    found: &T,
    text: impl FnOnce(&T) -> String,
    code: ExitCode,
) -> ExitCode {
    let text = if arguments.json {
        serde_json::to_string_pretty(found).map(|text| text + "\n")
    } else {
        Ok(text(found))
    };
    match text
        .map_err(io::Error::from)
        .and_then(|text| io::stdout().write_all(text.as_bytes()))
    {
        Ok(()) => code,
        // Whoever does not read to the end has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(error) => {
            eprintln!("phalanx: cannot write standard output: {error}");
            ExitCode::Launcher
        }
    }
}
