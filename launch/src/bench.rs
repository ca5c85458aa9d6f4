//! `phalanx bench`: starts the jobs of a measurement, whose ranks are this very program, and shows what they report.

use std::env;
use std::fs::File;
use std::io::{self, BufReader, Stdout};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use phalanx_bench::{Cores, Display, Event, Row, Task, Test};
use phalanx_launch::{Ending, ExitCode, Job, LaunchError, Plan, Program};

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
        let ending = match task.test {
            Test::Startup => runner.start_up(&task, &mut display)?,
            _ => runner.job(&mut task, &mut display)?,
        };
        if ending != Ending::Success {
            return Ok(ending);
        }
    }
    display.finish()?;
    Ok(Ending::Success)
}

struct Runner {
    program: PathBuf,
    processors: Vec<usize>,
}

impl Runner {
    /// Runs the ranks of `task`; what they report goes to `display`.
    fn job(&self, task: &mut Task, display: &mut Display<Stdout>) -> anyhow::Result<Ending> {
        let (reader, writer) = io::pipe().context("cannot make a pipe for the report")?;
        task.report = PathBuf::from(format!("/proc/{}/fd/{}", process::id(), writer.as_raw_fd()));
        let processors = match task.cores {
            Cores::One => &self.processors[..1],
            _ => &self.processors[..],
        };
        let program = Program::new(&self.program).arguments(as_rank(task));
        let plan = Plan::new(task.ranks, program)?.bound_to(processors);
        let job = Job::new(plan).time_limit(task.budget + PATIENCE);
        thread::scope(|scope| {
            let follower = scope.spawn(|| display.follow(BufReader::new(reader)));
            let outcome = job.run();
            // The ranks have ended and cannot hold it open, so the follower comes to the end of the report.
            drop(writer);
            let followed = follower
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let ending = outcome?.ending;
            followed.map(|()| ending)
        })
    }

    /// Runs `phalanx run` again and again, as a user would.
    fn start_up(&self, task: &Task, display: &mut Display<Stdout>) -> anyhow::Result<Ending> {
        let begin = Instant::now();
        let mut times = Vec::new();
        while times.len() < FEWEST_RUNS || begin.elapsed() < task.budget {
            times.push(self.one_run(task)?.as_nanos() as f64);
            let done = begin.elapsed().div_duration_f64(task.budget);
            display.show(Event::Progress(done))?;
        }
        display.show(Event::Rows {
            rows: vec![Row::of_runs(task, &times)],
            floors: Vec::new(),
        })?;
        Ok(Ending::Success)
    }

    fn one_run(&self, task: &Task) -> anyhow::Result<Duration> {
        let mut command = Command::new(&self.program);
        command
            .args(["run", "-n", &task.ranks.to_string(), "--"])
            .arg(&self.program)
            .args(as_rank(task))
            .stdin(Stdio::null());
        let begin = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let time = begin.elapsed();
        ensure!(
            status.success(),
            "phalanx run -n {} did not end well: {status}",
            task.ranks
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

const FEWEST_RUNS: usize = 5;

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
