//! Watches the ranks from one loop in one thread: deaths, output, input, signals and time.
//!
//! Everything that can happen is a descriptor in a single `poll`; nothing is looked at in intervals, and no step of the
//! loop blocks. What an event means is decided by [`Course`]; this file only carries it in and carries out the orders.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use phalanx_shm::watcher::Watcher;

use crate::course::{Course, Death, Orders};
use crate::crew::Crew;
use crate::exchange::Exchange;
use crate::input::Pump;
use crate::interrupts::{Interrupts, Request};
use crate::job::LaunchError;
use crate::outcome::{Outcome, RankOutcome};
use crate::output::Stream;
use crate::roster::Roster;

mod far;
mod start;

use far::Far;
use start::Local;

/// A job that is being started, or runs.
#[derive(Debug)]
pub(crate) struct Supervisor {
    roster: Roster,
    /// What its own ranks need, until they are started.
    local: Option<Local>,
    /// Its own ranks, if it has any.
    crew: Option<Crew>,
    /// Those on other hosts, if there are any.
    far: Option<Far>,
    /// After all processes, which are ended first.
    watcher: Watcher,
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
    /// The agent at this place has something to tell.
    Branch(usize),
    /// Of the rank at this place in the crew.
    Death(usize),
}

impl Supervisor {
    /// Runs the loop until every rank has ended and all output is written.
    pub(crate) fn run(mut self) -> Result<Outcome, LaunchError> {
        loop {
            self.stdout.drain();
            self.stderr.drain();
            self.start_local()?;
            self.talk()
                .map_err(LaunchError::system("serve the wire-up"))?;
            if self.is_over() {
                return Ok(self.into_outcome());
            }
            let ready = self
                .wait()
                .map_err(LaunchError::system("wait for events"))?;
            let (deaths, others): (Vec<_>, Vec<_>) = ready
                .into_iter()
                .partition(|event| matches!(event, Event::Death(_)));
            self.hear_agents(&others)?;
            for event in others {
                self.handle(event)?;
            }
            self.bury(&deaths)
                .map_err(LaunchError::system("wait for a rank"))?;
            self.tick()?;
        }
    }

    /// Whether all ranks have ended, all output is written, and no agent is left.
    fn is_over(&mut self) -> bool {
        let is_running = self.roster.running().next().is_some();
        let is_written = self.stdout.is_done() && self.stderr.is_done();
        if is_running || !(is_written || self.is_abandoned) {
            return false;
        }
        self.far.as_mut().is_none_or(Far::finish)
    }

    /// Moves what goes between ranks and agents in the wire-up, and to the agents.
    fn talk(&mut self) -> io::Result<()> {
        if let Some(exchange) = &mut self.exchange {
            exchange.advance()?;
        }
        if let Some(far) = &mut self.far {
            far.carry(self.exchange.as_mut());
            far.grant(&self.stdout, &self.stderr);
            if let Some(stdin) = &mut self.stdin {
                far.pour(stdin.pieces());
            }
            far.flush();
        }
        Ok(())
    }

    /// Blocks until something has happened, or it is time for the course to act.
    fn wait(&self) -> io::Result<Vec<Event>> {
        let retry = self.stdin.as_ref().and_then(Pump::deadline);
        let exchange = self.exchange.as_ref().and_then(Exchange::deadline);
        let far = self.far.as_ref().and_then(Far::deadline);
        let deadlines = [self.course.deadline(), retry, exchange, far];
        let deadline = deadlines.into_iter().flatten().min();
        let far = self.far.iter().flat_map(Far::interests);
        let exchange = self.exchange.iter().flat_map(Exchange::interests);
        let (mut polled, events): (Vec<_>, Vec<_>) = self
            .sources()
            .map(|(event, descriptor, flags)| (PollFd::new(descriptor, flags), event))
            .chain(exchange.map(|interest| (interest, Event::Exchange)))
            .chain(far.map(|(index, interest)| (interest, Event::Branch(index))))
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
        let deaths = self.crew.iter().flat_map(Crew::deaths);
        let deaths = deaths.map(move |(index, death)| (Event::Death(index), death, readable));
        interrupts
            .chain(input)
            .chain(stdout)
            .chain(stderr)
            .chain(console)
            .chain(deaths)
    }

    fn handle(&mut self, event: Event) -> Result<(), LaunchError> {
        match event {
            Event::Interrupt => self.interrupt()?,
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
            // Agents have been heard, all who speak in the wire-up are heard together, and who has died is buried then.
            Event::Branch(_) | Event::Exchange | Event::Death(_) => {}
        }
        Ok(())
    }

    fn interrupt(&mut self) -> Result<(), LaunchError> {
        while let Some(request) = self.interrupts.as_ref().and_then(Interrupts::next) {
            match request {
                Request::End(signal) => {
                    self.check_started(|waiting| LaunchError::Interrupted {
                        signal: signal as i32,
                        waiting,
                    })?;
                    self.is_abandoned |=
                        self.course.was_interrupted() || self.roster.running().next().is_none();
                    let orders = self.course.interrupted(signal);
                    self.carry_out(orders);
                }
                Request::Relay(signal) => self.signal_all(signal),
                Request::Suspend => {
                    self.signal_all(Signal::SIGSTOP);
                    self.far.iter_mut().for_each(Far::flush);
                    // Whether or not it stopped, the ranks go on with the launcher.
                    Interrupts::suspend().ok();
                    self.signal_all(Signal::SIGCONT);
                }
            }
        }
        Ok(())
    }

    /// Waits for the ranks that have ended, after which nothing of them is left but what they wrote.
    fn bury(&mut self, events: &[Event]) -> io::Result<()> {
        let mut deaths = Vec::with_capacity(events.len());
        for event in events {
            let &Event::Death(index) = event else {
                continue;
            };
            let Some(crew) = &mut self.crew else { continue };
            let death = crew.bury(index)?;
            if let Some(exchange) = &mut self.exchange {
                exchange.died(death.rank, death.exit);
            }
            self.stdout.ended(death.rank);
            self.stderr.ended(death.rank);
            deaths.extend(self.note_death(death));
        }
        if !deaths.is_empty() {
            // The last words of a rank come before the news of its death.
            self.stderr.drain();
            let orders = self.course.exited(&deaths, Instant::now());
            self.carry_out(orders);
        }
        Ok(())
    }

    /// Writes the end of a rank down; `None` if it is no news.
    fn note_death(&mut self, death: Death) -> Option<Death> {
        if death.rank == 0 {
            self.stdin.iter_mut().for_each(Pump::close);
        }
        let host = self.roster.host(death.rank);
        let is_news = self.roster.ended(death.rank, death.pid, death.exit);
        is_news.then_some(Death { host, ..death })
    }

    /// Does what the time asks for.
    fn tick(&mut self) -> Result<(), LaunchError> {
        let now = Instant::now();
        if let Some(limit) = self.course.passed_limit(now) {
            self.check_started(|waiting| LaunchError::Late { limit, waiting })?;
        }
        let running: Vec<_> = self.roster.running().collect();
        let orders = self.course.tick(&running, now);
        self.carry_out(orders);
        self.tick_far(now);
        Ok(())
    }

    fn carry_out(&mut self, orders: Orders) {
        if let Some(signal) = orders.signal {
            self.signal_all(signal);
            if self.course.is_ending() {
                self.far.iter_mut().for_each(Far::forget_silent);
            }
        }
        self.is_abandoned |= orders.abandon_output;
        for notice in orders.notices {
            self.stderr.sink_mut().notice(&notice);
            self.notices.push(notice);
        }
    }

    fn signal_all(&mut self, signal: Signal) {
        if let Some(crew) = &self.crew {
            crew.signal(signal);
        }
        if let Some(far) = &mut self.far {
            far.signal(signal);
        }
    }

    fn into_outcome(self) -> Outcome {
        let mut stdout = self.stdout.into_captured().unwrap_or_default().into_iter();
        let mut stderr = self.stderr.into_captured().unwrap_or_default().into_iter();
        let ranks = self.roster.exits().map(|(pid, exit)| RankOutcome {
            pid,
            exit,
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

/// Rounded up, for a wait that ends too early would only be repeated.
pub(crate) fn timeout(deadline: Option<Instant>) -> PollTimeout {
    deadline.map_or(PollTimeout::NONE, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        let rounded = left.saturating_add(Duration::from_millis(1));
        PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX)
    })
}
