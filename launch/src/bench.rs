//! `phalanx bench`: starts the jobs of a measurement, whose ranks are this very program, and shows what they report.

use std::env;
use std::fs::File;
use std::io::{self, BufReader, Stdout};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{self, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use phalanx_bench::{Cores, Display, Event, Task, Test, Transport};
use phalanx_launch::{Ending, ExitCode, Interrupts, Job, LaunchError, Outcome, Plan, Program};

use crate::cli::BenchArguments;
use crate::run::allowed_processors;

/// Measures, or does a rank's part of it, and returns the exit code of the command; errors have been printed.
pub(crate) fn bench(arguments: &BenchArguments) -> ExitCode {
    if let Some(task) = &arguments.as_rank {
        return match phalanx_bench::rank(task) {
            Ok(()) => ExitCode::Success,
            Err(error) => fail(&error, ExitCode::Rank(1)),
        };
    }
    match measure(arguments) {
        Ok(Ending::Success) => ExitCode::Success,
        Ok(ending) => ExitCode::from(&ending),
        Err(error) => {
            let code = error
                .downcast_ref::<LaunchError>()
                .map_or(ExitCode::Launcher, ExitCode::from);
            fail(&error, code)
        }
    }
}

fn measure(arguments: &BenchArguments) -> anyhow::Result<Ending> {
    let tasks = arguments.selection().tasks();
    let json = arguments.json.as_ref().map(|path| {
        File::create(path)
            .with_context(|| format!("cannot write the file {} of --json", path.display()))
    });
    let runner = Runner {
        program: env::current_exe().context("cannot find this program's own file")?,
        processors: allowed_processors()?,
        interrupts: Interrupts::take_over().context(NO_SIGNALS)?,
    };
    let mut display = Display::new(&tasks, io::stdout(), json.transpose()?);
    let started = Instant::now();
    let total: Duration = tasks.iter().map(|task| task.budget).sum();
    let mut planned = total;
    for mut task in tasks {
        display.begin(&task)?;
        let left = total.saturating_sub(started.elapsed());
        let share = task.budget;
        task.budget = paced(share, planned, left);
        planned -= share;
        let failure = match task.test {
            Test::Startup => runner.start_up(&task, &mut display)?,
            _ => runner.job(&mut task, &mut display)?,
        };
        if let Some(failure) = failure {
            // The bar has to go first.
            drop(display);
            eprint!("{}", failure.words);
            return Ok(failure.ending);
        }
    }
    display.finish()?;
    Ok(Ending::Success)
}

struct Runner {
    program: PathBuf,
    processors: Vec<usize>,
    /// Without it Ctrl-C would leave the bar behind. A job takes over the same signals while it runs.
    interrupts: Interrupts,
}

/// How a task ended that did not end well.
struct Failure {
    ending: Ending,
    /// What the ranks and the launcher have to say of it, in whole lines.
    words: String,
}

impl Failure {
    fn interrupted(signal: i32) -> Self {
        Self {
            ending: Ending::Interrupted { signal },
            words: String::new(),
        }
    }

    /// None if all went well.
    fn of(outcome: Outcome) -> Option<Self> {
        if outcome.ending == Ending::Success {
            return None;
        }
        let said = outcome
            .ranks
            .iter()
            .map(|rank| String::from_utf8_lossy(&rank.stderr).into_owned());
        let notices = outcome
            .notices
            .iter()
            .map(|notice| format!("phalanx: {notice}\n"));
        Some(Self {
            words: said.chain(notices).collect(),
            ending: outcome.ending,
        })
    }
}

impl Runner {
    /// Runs the ranks of `task`; what they report goes to `display`.
    fn job(
        &self,
        task: &mut Task,
        display: &mut Display<Stdout>,
    ) -> anyhow::Result<Option<Failure>> {
        let (reader, writer) = io::pipe().context("cannot make a pipe for the report")?;
        task.report = PathBuf::from(format!("/proc/{}/fd/{}", process::id(), writer.as_raw_fd()));
        let program = Program::new(&self.program).arguments(as_rank(task));
        let program = program.variable(TRANSPORT, task.transport.name());
        let plan = Plan::new(task.processes(), program)?;
        let plan = match (task.cores, task.transport) {
            (Cores::One, _) => plan.bound_to(&self.processors[..1]),
            // A process whose threads are ranks binds each of them itself.
            (_, Transport::Inproc) => plan,
            _ => plan.bound_to(&self.processors),
        };
        let job = Job::new(plan)
            .output(phalanx_launch::Output::Capture)
            .interrupts(Interrupts::take_over().context(NO_SIGNALS)?)
            .time_limit(task.budget + PATIENCE);
        let job = match task.transport {
            Transport::Quic => job.wireup(),
            _ => job,
        };
        thread::scope(|scope| {
            let follower = scope.spawn(|| display.follow(BufReader::new(reader)));
            let outcome = job.run();
            // The ranks have ended and cannot hold it open, so the follower comes to the end of the report.
            drop(writer);
            let followed = follower
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // Who was killed in the middle of a line is the reason, and not the line.
            match Failure::of(outcome?) {
                Some(failure) => Ok(Some(failure)),
                None => followed.map(|()| None),
            }
        })
    }

    /// Runs `phalanx run`, or the process whose threads are the ranks, again and again, as a user would.
    fn start_up(
        &self,
        task: &Task,
        display: &mut Display<Stdout>,
    ) -> anyhow::Result<Option<Failure>> {
        let begin = Instant::now();
        let mut times = Vec::new();
        while times.len() < FEWEST_RUNS || begin.elapsed() < task.budget {
            let time = self.one_run(task);
            if let Some(signal) = self.interrupts.asked_to_end() {
                return Ok(Some(Failure::interrupted(signal)));
            }
            times.push(time?.as_nanos() as f64);
            let done = begin.elapsed().div_duration_f64(task.budget);
            display.show(Event::Progress(done));
        }
        display.show(Event::of_runs(&times));
        Ok(None)
    }

    fn one_run(&self, task: &Task) -> anyhow::Result<Duration> {
        let mut command = Command::new(&self.program);
        if task.processes() > 1 {
            command
                .args(["run", "-n", &task.processes().to_string(), "--"])
                .arg(&self.program);
        }
        command
            .args(as_rank(task))
            .env(TRANSPORT, task.transport.name())
            .stdin(Stdio::null());
        let begin = Instant::now();
        let Output { status, stderr, .. } = command
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let time = begin.elapsed();
        ensure!(
            status.success(),
            "a start of {} ranks did not end well ({status}): {}",
            task.ranks,
            String::from_utf8_lossy(&stderr).trim_end()
        );
        Ok(time)
    }
}

/// The time for a task whose share of what is still `planned` is `share`, when `left` is left of it: a busy machine takes longer over
/// the first tasks, and the others give way.
fn paced(share: Duration, planned: Duration, left: Duration) -> Duration {
    if left < planned {
        share.mul_f64(left.div_duration_f64(planned))
    } else {
        share
    }
}

fn as_rank(task: &Task) -> [String; 3] {
    [
        "bench".to_owned(),
        "--as-rank".to_owned(),
        task.to_argument(),
    ]
}

fn fail(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    eprintln!("phalanx: {error:#}");
    code
}

/// What a job may take beyond its measuring time, on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(300);

/// The variable of the setting `transport.same_host`: what is measured does not depend on how it is set here.
const TRANSPORT: &str = "PHALANX_TRANSPORT";

const FEWEST_RUNS: usize = 5;

const NO_SIGNALS: &str = "cannot take over its signals";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_makes_the_rest_shorter() {
        let seconds = Duration::from_secs;
        assert_eq!(paced(seconds(4), seconds(10), seconds(10)), seconds(4));
        assert_eq!(paced(seconds(4), seconds(10), seconds(12)), seconds(4));
        assert_eq!(paced(seconds(4), seconds(10), seconds(5)), seconds(2));
        assert_eq!(
            paced(seconds(4), seconds(10), Duration::ZERO),
            Duration::ZERO
        );
    }
}
