//! `phalanx info`: the machine, its limits, what messages do on it, and every setting with its origin.
//!
//! It works above all when something is wrong: a configuration with mistakes is reported, and the defaults are shown.

mod machine;
mod report;
mod text;

use std::io::{self, Write};

use phalanx::config::Config;
use phalanx_launch::ExitCode;

use crate::cli::InfoArguments;
use report::Report;

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
    let report = Report::new(&config, problems);
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).map(|text| text + "\n")
    } else {
        Ok(text::render(&report))
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
