//! Watches the ranks from one loop in one thread: deaths, output, input, signals and time.
//!
//! Everything that can happen is a descriptor in a single `poll`; nothing is looked at in intervals, and no step of the
//! loop blocks. What an event means is decided by [`Course`]; this file only carries it in and carries out the orders.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use phalanx_shm::watcher::Watcher;
use phalanx_wireup::exchange::Shape;

use crate::course::{Course, Orders};
use crate::crew::{Crew, Muster};
use crate::exchange::{Exchange, job_number, number};
use crate::input::Pump;
use crate::interrupts::{Interrupts, Request};
use crate::job::{Input, Job, LaunchError, Output};
use crate::outcome::{Outcome, RankOutcome};
use crate::output::Stream;
use crate::sink::{Funnel, Sink, is_same};
use crate::spawn::{Pipes, raise_descriptor_limit};

/// A job whose ranks have all been started.
#[derive(Debug)]
pub(crate) struct Supervisor {
    crew: Crew,
    /// After the ranks, which are ended first.
    _watcher: Watcher,
    exchange: Option<Exchange>,
    stdout: Stream,
    stderr: Stream,
    stdin: Option<Pump>,
    interrupts: Option<Interrupts>,
    course: Course,
    notices: Vec<String>,
    /// The user will not wait for the rest of the output.
    is_abandoned: bool,
}

/// What a descriptor of the loop stands for.
#[derive(Clone, Copy, Debug)]
enum Event {
    Interrupt,
    Input,
    Stdout(usize),
    Stderr(usize),
    StdoutWritable,
    StderrWritable,
    /// Somebody speaks, or can be spoken to, in the wire-up.
    Exchange,
    /// Of the rank at this place in the crew.
    Death(usize),
}

impl Supervisor {
    /// Starts the ranks of `job`.
    pub(crate) fn start(job: Job) -> Result<Self, LaunchError> {
        let size = job.plan.size();
        raise_descriptor_limit(size)?;
        // First, for it is a copy of this process and would keep the memory of the segment as long as itself.
        let watcher = Watcher::start(size).map_err(LaunchError::system("start its watcher"))?;
        let started = Instant::now();
        let mut exchange = exchange(&job)?;
        let muster = Muster {
            plan: &job.plan,
            ranks: (0..size).collect(),
            arena_bytes: job.arena_bytes,
            input: job.input == Input::Console,
        };
        let places = (0..size).map(|rank| watcher.place(rank));
        let (crew, pipes) = Crew::start(&muster, exchange.as_mut(), places)?;
        Self::watch(job, crew, watcher, exchange, pipes, started)
            .map_err(LaunchError::system("watch the ranks"))
    }

    fn watch(
        job: Job,
        crew: Crew,
        watcher: Watcher,
        exchange: Option<Exchange>,
        mut pipes: Vec<Pipes>,
        started: Instant,
    ) -> io::Result<Self> {
        let size = job.plan.size();
        let target = pipes[0].stdin.take();
        let stdin =
            target.map(|target| Pump::new(io::stdin().as_fd().try_clone_to_owned()?, target));
        let (outs, errs): (Vec<_>, Vec<_>) = pipes
            .into_iter()
            .map(|ends| (ends.stdout, ends.stderr))
            .unzip();
        let limit = line_limit(size);
        let (stdout, stderr) = sinks(job.output, size)?;
        Ok(Self {
            crew,
            _watcher: watcher,
            exchange,
            stdout: Stream::new(outs, stdout, limit)?,
            stderr: Stream::new(errs, stderr, limit)?,
            stdin: stdin.transpose()?,
            interrupts: job.interrupts,
            course: Course::new(started, job.time_limit, job.grace),
            notices: Vec::new(),
            is_abandoned: false,
        })
    }

    /// Runs the loop until every rank has ended and all output is written.
    pub(crate) fn run(mut self) -> Result<Outcome, LaunchError> {
        loop {
            self.stdout.drain();
            self.stderr.drain();
            let is_running = self.crew.running().next().is_some();
            let is_written = self.stdout.is_done() && self.stderr.is_done();
            if !is_running && (is_written || self.is_abandoned) {
                return Ok(self.into_outcome());
            }
            let ready = self
                .wait()
                .map_err(LaunchError::system("wait for events"))?;
            let (deaths, others): (Vec<_>, Vec<_>) = ready
                .into_iter()
                .partition(|event| matches!(event, Event::Death(_)));
            for event in others {
                self.handle(event);
            }
            self.bury(&deaths)
                .map_err(LaunchError::system("wait for a rank"))?;
            if let Some(exchange) = &mut self.exchange {
                let advanced = exchange.advance();
                advanced.map_err(LaunchError::system("serve the wire-up"))?;
            }
            let orders = self.course.tick(&self.running(), Instant::now());
            self.carry_out(orders);
        }
    }

    /// Blocks until something has happened, or it is time for the course to act.
    fn wait(&self) -> io::Result<Vec<Event>> {
        let retry = self.stdin.as_ref().and_then(Pump::deadline);
        let exchange = self.exchange.as_ref().and_then(Exchange::deadline);
        let deadlines = [self.course.deadline(), retry, exchange];
        let deadline = deadlines.into_iter().flatten().min();
        let exchange = self.exchange.iter().flat_map(Exchange::interests);
        let (mut polled, events): (Vec<_>, Vec<_>) = self
            .sources()
            .map(|(event, descriptor, flags)| (PollFd::new(descriptor, flags), event))
            .chain(exchange.map(|interest| (interest, Event::Exchange)))
            .unzip();
        match poll(&mut polled, timeout(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled
            .iter()
            .zip(events)
            .filter(|(polled, _)| polled.any() == Some(true));
        Ok(ready.map(|(_, event)| event).collect())
    }

    fn sources(&self) -> impl Iterator<Item = (Event, BorrowedFd<'_>, PollFlags)> {
        let readable = PollFlags::POLLIN;
        let interrupts = self
            .interrupts
            .iter()
            .map(move |source| (Event::Interrupt, source.as_fd(), readable));
        let input = self
            .stdin
            .iter()
            .filter_map(Pump::waiting)
            .map(|(source, flags)| (Event::Input, source, flags));
        let stdout = self
            .stdout
            .waiting()
            .map(move |(rank, pipe)| (Event::Stdout(rank), pipe, readable));
        let stderr = self
            .stderr
            .waiting()
            .map(move |(rank, pipe)| (Event::Stderr(rank), pipe, readable));
        let writable = PollFlags::POLLOUT;
        let console = [
            (Event::StdoutWritable, self.stdout.sink().pending()),
            (Event::StderrWritable, self.stderr.sink().pending()),
        ];
        let console = console
            .into_iter()
            .filter_map(move |(event, sink)| Some((event, sink?, writable)));
        let deaths = self.crew.deaths();
        let deaths = deaths.map(move |(index, death)| (Event::Death(index), death, readable));
        interrupts
            .chain(input)
            .chain(stdout)
            .chain(stderr)
            .chain(console)
            .chain(deaths)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Interrupt => self.interrupt(),
            Event::Input => self.stdin.iter_mut().for_each(Pump::advance),
            Event::Stdout(rank) => self.stdout.read(rank),
            Event::Stderr(rank) => self.stderr.read(rank),
            Event::StdoutWritable => {
                if let Err(error) = self.stdout.sink_mut().write() {
                    let reason = (error != Errno::EPIPE)
                        .then(|| format!("cannot write standard output: {error}"));
                    let orders = self.course.output_lost(reason, Instant::now());
                    self.carry_out(orders);
                }
            }
            Event::StderrWritable => {
                // There is no place left to report that there is no place to report to.
                self.stderr.sink_mut().write().ok();
            }
            // All who speak are heard together, after this, and who has died is buried then.
            Event::Exchange | Event::Death(_) => {}
        }
    }

    fn interrupt(&mut self) {
        while let Some(request) = self.interrupts.as_ref().and_then(Interrupts::next) {
            match request {
                Request::End(signal) => {
                    self.is_abandoned |= self.course.was_interrupted() || self.running().is_empty();
                    let orders = self.course.interrupted(signal);
                    self.carry_out(orders);
                }
                Request::Relay(signal) => self.signal_all(signal),
                Request::Suspend => {
                    self.signal_all(Signal::SIGSTOP);
                    // Whether or not it stopped, the ranks go on with the launcher.
                    Interrupts::suspend().ok();
                    self.signal_all(Signal::SIGCONT);
                }
            }
        }
    }

    /// Waits for the ranks that have ended, after which nothing of them is left but what they wrote.
    fn bury(&mut self, events: &[Event]) -> io::Result<()> {
        let mut deaths = Vec::with_capacity(events.len());
        for event in events {
            let &Event::Death(index) = event else {
                continue;
            };
            let death = self.crew.bury(index)?;
            if let Some(exchange) = &mut self.exchange {
                exchange.died(death.rank, death.exit);
            }
            self.stdout.ended(death.rank);
            self.stderr.ended(death.rank);
            if death.rank == 0 {
                self.stdin.iter_mut().for_each(Pump::close);
            }
            deaths.push(death);
        }
        if !deaths.is_empty() {
            // The last words of a rank come before the news of its death.
            self.stderr.drain();
            let orders = self.course.exited(&deaths, Instant::now());
            self.carry_out(orders);
        }
        Ok(())
    }

    fn carry_out(&mut self, orders: Orders) {
        if let Some(signal) = orders.signal {
            self.signal_all(signal);
        }
        self.is_abandoned |= orders.abandon_output;
        for notice in orders.notices {
            self.stderr.sink_mut().notice(&notice);
            self.notices.push(notice);
        }
    }

    fn signal_all(&self, signal: Signal) {
        self.crew.signal(signal);
    }

    fn running(&self) -> Vec<usize> {
        self.crew.running().collect()
    }

    fn into_outcome(self) -> Outcome {
        let mut stdout = self.stdout.into_captured().unwrap_or_default().into_iter();
        let mut stderr = self.stderr.into_captured().unwrap_or_default().into_iter();
        let ranks = self.crew.exits().map(|(_, pid, exit)| RankOutcome {
            pid,
            exit: exit.expect("the loop ends when all ranks have"),
            stdout: stdout.next().unwrap_or_default(),
            stderr: stderr.next().unwrap_or_default(),
        });
        Outcome {
            ranks: ranks.collect(),
            ending: self.course.into_ending(),
            notices: self.notices,
        }
    }
}

/// The wire-up of a job whose ranks do not meet in the segment.
fn exchange(job: &Job) -> Result<Option<Exchange>, LaunchError> {
    if !job.has_wireup {
        return Ok(None);
    }
    let size = number(job.plan.size());
    let shape = Shape::new(size).with_ranks(0..size);
    let job = job_number().map_err(LaunchError::system("number the job"))?;
    let mut exchange = Exchange::root(job, shape)?;
    // All are on this host, so nobody needs to be reached from elsewhere.
    exchange.reached_by(Some(Ipv4Addr::LOCALHOST.into()));
    Ok(Some(exchange))
}

/// For standard output and standard error.
fn sinks(output: Output, ranks: usize) -> io::Result<(Sink, Sink)> {
    let memory = || Sink::Memory(vec![Vec::new(); ranks]);
    let tagged = match output {
        Output::Console { tagged } => tagged,
        Output::Capture => return Ok((memory(), memory())),
    };
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let first = Funnel::new(stdout.as_fd().try_clone_to_owned()?, tagged);
    let second = if is_same(stdout.as_fd(), stderr.as_fd()) {
        first.beside()
    } else {
        Funnel::new(stderr.as_fd().try_clone_to_owned()?, tagged)
    };
    Ok((Sink::Descriptor(first), Sink::Descriptor(second)))
}

/// Beyond how many bytes the lines of each of `ranks` ranks may be cut.
fn line_limit(ranks: usize) -> usize {
    match ranks {
        // One rank has nobody to mix its lines with: a prompt without a newline shows at once.
        1 => 0,
        _ => (LINES_OF_ALL / ranks).clamp(LEAST_LINE, MOST_LINE),
    }
}

/// Rounded up, for a wait that ends too early would only be repeated.
fn timeout(deadline: Option<Instant>) -> PollTimeout {
    deadline.map_or(PollTimeout::NONE, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        let rounded = left.saturating_add(Duration::from_millis(1));
        PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX)
    })
}

/// A line is kept until it is whole, so this bounds the memory for each stream of a job in which every rank writes without a newline.
const LINES_OF_ALL: usize = 16 << 20;
const MOST_LINE: usize = 1 << 20;
/// The usual capacity of a pipe, so no more than the kernel keeps for the rank.
const LEAST_LINE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_up_to_a_mebibyte_or_a_share_of_what_all_may_take() {
        let limits = [1, 2, 16, 32, 256, 10_000].map(line_limit);
        let expected = [
            0,
            MOST_LINE,
            MOST_LINE,
            MOST_LINE / 2,
            LEAST_LINE,
            LEAST_LINE,
        ];
        assert_eq!(limits, expected);
    }
}
