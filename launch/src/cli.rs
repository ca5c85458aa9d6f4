//! The command line, as it is typed. What it asks for is a [`Plan`], made by
//! [`RunArguments::plan`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use phalanx::config::{Config, ConfigError, parse_size, show_duration, show_size};
use phalanx_bench::{Selection, Test, Transport};
use phalanx_launch::{Plan, Program};
use phalanx_wireup::environment;
use phalanx_wireup::hostlist::HostSlots;

use crate::info::PlanArguments;

mod hosts;

pub(crate) use hosts::{HostArguments, Placement};

/// Message passing for Rust: starts ranks and looks after them.
#[derive(Debug, Parser)]
#[command(name = "phalanx", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program as N ranks, on this host or on many
    ///
    /// Different programs are separated by a colon: phalanx run -n 1 ./head : -n 7 ./worker
    ///
    /// Other hosts are reached by ssh, which must not have to ask anything. Their ranks have the directory of this command, its
    /// PHALANX settings, PATH, LD_LIBRARY_PATH and the variables named by -x, and otherwise what a login there sets.
    ///
    /// The exit code is that of the first rank that fails, 128 and the signal if it was killed; 124 after the time limit,
    /// 126 or 127 if the program cannot be executed or found, 125 if the launcher itself fails or a host is lost.
    Run(RunArguments),
    /// Measure this machine: latency, bandwidth and message rate, beside the floor
    ///
    /// Without arguments everything is measured over shared memory and over QUIC, in about a minute. The floor is what a cache line takes
    /// between the cores of the two ranks, or a datagram between their processes, probed before and after every sample. Method:
    /// benches/README.md.
    Bench(BenchArguments),
    /// Describe this machine, its limits, how messages travel on it, and every setting with its origin
    ///
    /// The exit code is 2 if the configuration has mistakes, which are listed, or keeps the job of --plan from being started.
    Info(InfoArguments),
    /// Look after the ranks of this host: how a launcher on another host starts this command
    #[command(hide = true)]
    Agent,
}

/// `phalanx info`.
#[derive(Args, Debug)]
pub(crate) struct InfoArguments {
    /// Configuration file, instead of the one that PHALANX_CONFIG names
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) plan: PlanArguments,
}

/// `phalanx run`.
#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// How many ranks; with hosts as many as they have slots, unless given
    #[arg(short = 'n', long = "ranks", value_name = "N")]
    ranks: Option<usize>,

    /// Where ranks run: on any processor, or rank k on the k-th allowed one, beginning again where there are more ranks
    #[arg(long, value_enum)]
    bind: Option<Binding>,

    /// Configuration file, instead of the one that PHALANX_CONFIG names
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// End the job after this many seconds
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    timeout: Option<Duration>,

    /// Begin each line of output with its rank, in brackets
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false")]
    tag_output: Option<bool>,

    #[command(flatten)]
    pub(crate) hosts: HostArguments,

    /// The program and its arguments
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// `phalanx bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    /// What to measure; everything unless named
    #[arg(value_name = "TEST", value_parser = test())]
    tests: Vec<Test>,

    /// Over what; several, separated by commas, share the time, take turns and are shown together
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = Transport::DEFAULT.map(Transport::name), value_parser = transport())]
    transport: Vec<Transport>,

    /// How many ranks the job has; two of them measure, the others sleep
    #[arg(short = 'n', long = "ranks", value_name = "RANKS", default_value_t = 2, value_parser = at_least_two)]
    ranks: usize,

    /// Bytes of the messages, such as 8,1K,64K,1M
    #[arg(long, value_delimiter = ',', value_name = "SIZE", value_parser = message_size)]
    sizes: Vec<usize>,

    /// Take few samples: everything ends within 20 s
    #[arg(long)]
    quick: bool,

    /// Write an object for each row to this file, a line each
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Be a rank of a measurement: how this command starts itself
    #[arg(long, hide = true, value_name = "TASK", exclusive = true)]
    pub(crate) as_rank: Option<String>,
}

impl BenchArguments {
    /// What the arguments ask for.
    pub(crate) fn selection(&self) -> Selection {
        Selection::new(
            self.tests.clone(),
            self.ranks,
            self.sizes.clone(),
            self.quick,
        )
        .transports(self.transport.clone())
    }
}

/// Ranks of one program: what stands after a colon.
#[derive(Args, Debug)]
struct Part {
    /// How many ranks
    #[arg(short = 'n', long = "ranks", value_name = "N")]
    ranks: usize,

    /// The program and its arguments
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// What stands after a colon.
#[derive(Debug, Parser)]
#[command(name = "phalanx run ... :", no_binary_name = true)]
struct FurtherPart {
    #[command(flatten)]
    part: Part,
}

/// What ranks are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Binding {
    /// Any processor
    None,
    /// One processor each
    Core,
}

impl RunArguments {
    /// The settings of the job: those of the file and of the variables, below those of the flags.
    pub(crate) fn settings(&self) -> Result<Config, ConfigError> {
        let bind = self.bind.map(|bind| match bind {
            Binding::None => "none".to_owned(),
            Binding::Core => "core".to_owned(),
        });
        let flags = [
            ("launch.bind", bind),
            ("launch.timeout", self.timeout.map(show_duration)),
            (
                "launch.tag_output",
                self.tag_output.map(|tag| tag.to_string()),
            ),
            ("launch.agent", self.hosts.launch_agent.clone()),
            ("launch.remote_phalanx", self.hosts.remote_phalanx.clone()),
        ];
        let given = flags
            .iter()
            .filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        Config::load(self.config.as_deref(), &given.collect::<Vec<_>>())
    }

    /// The hosts of the job, if any were named.
    pub(crate) fn slots(&self) -> anyhow::Result<Option<Vec<HostSlots>>> {
        self.hosts.placement.slots()
    }

    /// What the arguments ask for, without binding. The ranks read their settings from `config`. Where the number of ranks is not
    /// given it is that of the `slots`.
    pub(crate) fn plan(
        &self,
        config: Option<&Path>,
        slots: Option<&[HostSlots]>,
    ) -> anyhow::Result<Plan> {
        let exported = self.hosts.exported()?;
        let with_config = |program: Program| {
            let program = match config {
                Some(path) => program.variable(environment::CONFIG, path),
                None => program,
            };
            let variables = exported.iter();
            variables.fold(program, |program, (name, value)| {
                program.variable(name, value)
            })
        };
        let mut parts = self.command.split(|argument| argument == ":");
        let first = parts.next().unwrap_or_default();
        let parts: Vec<_> = parts.collect();
        let ranks = match (self.ranks, slots) {
            (Some(ranks), _) => ranks,
            (None, Some(slots)) if parts.is_empty() => {
                slots.iter().map(|host| host.slots as usize).sum()
            }
            (None, Some(_)) => {
                bail!("several programs need -n N each: say how many ranks run the first")
            }
            (None, None) => {
                bail!("how many ranks? Write -n N, or name hosts with --host or --hostfile")
            }
        };
        let mut plan = Plan::new(ranks, with_config(program(first)?))?;
        for part in parts {
            let part = FurtherPart::try_parse_from(part)
                .map_err(|error| after_colon(part, &error))?
                .part;
            plan = plan.and(part.ranks, with_config(program(&part.command)?))?;
        }
        Ok(plan)
    }
}

fn program(command: &[OsString]) -> anyhow::Result<Program> {
    let (path, arguments) = command
        .split_first()
        .context("no program before a colon: write -n N PROGRAM : ...")?;
    Ok(Program::new(path).arguments(arguments))
}

fn after_colon(part: &[OsString], error: &clap::Error) -> anyhow::Error {
    let part: Vec<_> = part
        .iter()
        .map(|argument| argument.to_string_lossy())
        .collect();
    let text = error.to_string();
    let reason = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    anyhow::anyhow!(
        "after a colon comes -n N PROGRAM ARGS, not {:?}: {reason}",
        part.join(" ")
    )
}

fn test() -> impl TypedValueParser<Value = Test> {
    PossibleValuesParser::new(Test::ALL.map(Test::name)).map(|name| {
        let named = Test::ALL.into_iter().find(|test| test.name() == name);
        named.expect("only names of tests are possible")
    })
}

fn transport() -> impl TypedValueParser<Value = Transport> {
    PossibleValuesParser::new(Transport::ALL.map(Transport::name)).map(|name| {
        let named = Transport::ALL
            .into_iter()
            .find(|transport| transport.name() == name);
        named.expect("only names of transports are possible")
    })
}

fn at_least_two(text: &str) -> Result<usize, String> {
    let ranks = text.parse().ok().filter(|&ranks| ranks >= 2);
    ranks.ok_or_else(|| "a measurement needs 2 ranks or more".to_owned())
}

fn message_size(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?;
    let bytes = usize::try_from(bytes)
        .ok()
        .filter(|&bytes| bytes <= LARGEST);
    bytes.ok_or_else(|| format!("messages are measured up to {}", show_size(LARGEST as u64)))
}

/// 64 loans of this size are in flight at a time.
const LARGEST: usize = 1 << 30;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|&seconds| seconds > 0.0);
    let limit = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    limit.ok_or_else(|| "a time limit is a number of seconds above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn plan(arguments: &[&str]) -> anyhow::Result<Plan> {
        run_arguments(arguments)?.plan(None, None)
    }

    fn run_arguments(arguments: &[&str]) -> anyhow::Result<RunArguments> {
        match Cli::try_parse_from(["phalanx", "run"].iter().chain(arguments))?.command {
            Command::Run(run) => Ok(run),
            other => panic!("not run but {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_after_the_program_are_its_own() {
        let expected = Program::new("p").arguments(["-n", "7", "--timeout", "--"]);
        for arguments in [
            &["-n", "2", "p", "-n", "7", "--timeout", "--"][..],
            &["-n", "2", "--", "p", "-n", "7", "--timeout", "--"],
            &[
                "-n1",
                "x",
                ":",
                "-n",
                "2",
                "--",
                "p",
                "-n",
                "7",
                "--timeout",
                "--",
            ],
        ] {
            let plan = plan(arguments).unwrap();
            assert_eq!(plan.program(plan.size() - 1), &expected, "{arguments:?}");
        }
    }

    #[test]
    fn seconds_are_positive_and_may_have_a_fraction() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["0", "-1", "nan", "inf", "1e300", "1s", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    /// Arguments that are neither a colon nor, in first place, an option.
    fn words() -> impl Strategy<Value = Vec<String>> {
        let word = prop_oneof![
            "[a-z]{1,4}",
            "-{1,2}[a-z]{0,3}",
            Just(String::new()),
            Just("::".to_owned())
        ];
        ("[a-z/.]{1,6}", vec(word, 0..4)).prop_map(|(program, mut words)| {
            words.insert(0, program);
            words
        })
    }

    proptest! {
        #[test]
        fn colons_separate_programs(parts in vec((1_usize..20, words()), 1..5)) {
            let mut arguments = Vec::new();
            let mut expected = Vec::new();
            for (ranks, words) in &parts {
                arguments.extend(["-n".to_owned(), ranks.to_string(), "--".to_owned()]);
                arguments.extend(words.iter().cloned());
                arguments.push(":".to_owned());
                let program = Program::new(&words[0]).arguments(&words[1..]);
                expected.extend(std::iter::repeat_n(program, *ranks));
            }
            arguments.pop();
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            let plan = plan(&arguments).unwrap();
            let planned: Vec<_> = (0..plan.size()).map(|rank| plan.program(rank).clone()).collect();
            prop_assert_eq!(planned, expected);
        }
    }
}
