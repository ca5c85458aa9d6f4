//! The command `phalanx`: parse, plan, run, and say how it went.
#![forbid(unsafe_code)]

mod bench;
mod cli;
mod info;
mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Info(arguments) => info::info(&arguments),
        Command::Agent => phalanx_launch::serve_as_agent(),
    };
    code.into()
}
