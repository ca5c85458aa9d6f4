//! The agent of a host: what runs there between the launcher and the ranks.
//!
//! It decides nothing. It starts the ranks and agents that it is told to start, tells what they write and how they end, and does to
//! them what it is told. When the way up ends, all that it has started ends, and then it does.

use std::io::{self, Write as _};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use phalanx_shm::watcher::Watcher;
use phalanx_wireup::exchange::Who;

use super::branches::{Branches, Tidings};
use super::errand::Errand;
use super::faucet::Faucet;
use super::frames::{Down, PIECE, StreamName, Up, WINDOW};
use super::uplink::{Hangup, Uplink, ssh_addresses};
use crate::crew::Crew;
use crate::exchange::{Exchange, number, process_end};
use crate::exit_code::ExitCode;
use crate::output::Stream;
use crate::sink::{Parcels, Sink};
use crate::spawn::Pipes;
use crate::supervise::timeout;

mod start;

use start::start;

/// Serves as the agent of this host for a launcher at the other end of standard input and output, until the job or the way to the
/// launcher is over. All that it starts has ended when it returns.
///
/// This is what `phalanx agent` does, which nobody but a launcher has reason to start.
#[must_use]
pub fn serve_as_agent() -> ExitCode {
    let (client, _) = ssh_addresses();
    let served = Uplink::open(client)
        .map_err(|error| Hangup(error.to_string()))
        .and_then(|mut uplink| {
            let errand = uplink.errand()?;
            Agent::serve(uplink, &errand)
        });
    match served {
        Ok(()) => ExitCode::Success,
        Err(Hangup(cause)) => {
            // Where the launcher is gone nobody reads this, and it may fail; where it is not, it shows it.
            let text = format!("phalanx agent: its way to the launcher has ended: {cause}");
            writeln!(io::stderr(), "{text}").ok();
            ExitCode::Launcher
        }
    }
}

/// An agent whose ranks have been started.
#[derive(Debug)]
struct Agent {
    number: u32,
    /// The name by which this host was reached.
    host: String,
    parent: Who,
    uplink: Uplink,
    crew: Crew,
    /// The ranks of this host, in the order of the crew.
    ranks: Vec<u32>,
    stdout: Stream,
    stderr: Stream,
    input: Option<Faucet>,
    exchange: Option<Exchange>,
    branches: Branches,
    /// After all that it watches.
    _watcher: Watcher,
}

/// What a descriptor of the loop stands for.
#[derive(Clone, Copy, Debug)]
enum Event {
    Uplink,
    Input,
    Exchange,
    Branch(usize),
    Stdout(usize),
    Stderr(usize),
    Death(usize),
}

/// Why an agent does not go on.
#[derive(Debug)]
enum End {
    Hangup(Hangup),
    /// Its ranks, or those of a host below, could not be started.
    Failed {
        host: u32,
        code: ExitCode,
        text: String,
    },
}

impl Agent {
    /// Does what `errand` says, and returns when all is done.
    fn serve(mut uplink: Uplink, errand: &Errand) -> Result<(), Hangup> {
        let started = start(errand);
        let (crew, pipes, exchange, branches, watcher) = match started {
            Ok(started) => started,
            Err(End::Failed { host, code, text }) => {
                let code = code.number();
                uplink.send(&Up::Failed { host, code, text });
                return uplink.flush_all();
            }
            Err(End::Hangup(hangup)) => return Err(hangup),
        };
        let host = errand.post.number;
        uplink.send(&Up::Started { host });
        let ranks: Vec<_> = errand.ranks().iter().collect();
        let stream = || {
            let window = i64::try_from(WINDOW).expect("the window is small");
            Stream::new(ranks.len(), Sink::Parcels(Parcels::new(window, PIECE)), 0)
        };
        let mut agent = Self {
            number: host,
            host: errand.post.host.clone(),
            parent: errand.parent,
            uplink,
            crew,
            stdout: stream(),
            stderr: stream(),
            ranks,
            input: None,
            exchange,
            branches,
            _watcher: watcher,
        };
        agent.attach(pipes).map_err(hangup)?;
        agent.run()
    }

    fn attach(&mut self, pipes: Vec<Pipes>) -> io::Result<()> {
        for (index, ends) in pipes.into_iter().enumerate() {
            self.stdout.attach(index, ends.stdout)?;
            self.stderr.attach(index, ends.stderr)?;
            if let Some(target) = ends.stdin {
                self.input = Some(Faucet::new(target)?);
            }
        }
        Ok(())
    }

    fn run(mut self) -> Result<(), Hangup> {
        loop {
            self.stdout.drain();
            self.stderr.drain();
            self.send_output();
            self.send_exchange().map_err(hangup)?;
            self.branches.flush();
            let is_flushed = self.uplink.flush()?;
            if is_flushed && self.is_done() {
                return Ok(());
            }
            let ready = self.wait().map_err(hangup)?;
            self.listen_up()?;
            self.listen_down(&ready).map_err(hangup)?;
            for event in &ready {
                match *event {
                    Event::Stdout(index) => self.stdout.read(index),
                    Event::Stderr(index) => self.stderr.read(index),
                    Event::Input => self.input.iter_mut().for_each(Faucet::advance),
                    _ => {}
                }
            }
            for event in ready {
                if let Event::Death(index) = event {
                    self.bury(index).map_err(hangup)?;
                }
            }
            let gone = self.input.as_mut().and_then(Faucet::gone);
            if let Some(gone) = gone {
                self.uplink.send(&Up::Taken(gone));
            }
        }
    }

    fn is_done(&self) -> bool {
        let is_running = self.crew.running().next().is_some();
        let is_written = self.stdout.is_done() && self.stderr.is_done();
        !is_running && is_written && self.branches.are_gone()
    }

    fn wait(&self) -> io::Result<Vec<Event>> {
        let exchange = self.exchange.as_ref().and_then(Exchange::deadline);
        let deadline = exchange.into_iter().chain(self.branches.deadline()).min();
        let readable = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
        let uplink = self.uplink.interests();
        let input = self.input.iter().filter_map(Faucet::waiting);
        let exchange = self.exchange.iter().flat_map(Exchange::interests);
        let branches = self.branches.interests();
        let stdout = self.stdout.waiting();
        let stderr = self.stderr.waiting();
        let deaths = self.crew.deaths();
        let (mut polled, events): (Vec<_>, Vec<_>) = uplink
            .map(|interest| (interest, Event::Uplink))
            .chain(input.map(|pipe| (PollFd::new(pipe, PollFlags::POLLOUT), Event::Input)))
            .chain(exchange.map(|interest| (interest, Event::Exchange)))
            .chain(branches.map(|(index, interest)| (interest, Event::Branch(index))))
            .chain(stdout.map(|(index, pipe)| (readable(pipe), Event::Stdout(index))))
            .chain(stderr.map(|(index, pipe)| (readable(pipe), Event::Stderr(index))))
            .chain(deaths.map(|(index, death)| (readable(death), Event::Death(index))))
            .unzip();
        match poll(&mut polled, timeout(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled.iter().zip(events);
        let ready = ready.filter(|(polled, _)| polled.any() == Some(true));
        Ok(ready.map(|(_, event)| event).collect())
    }

    /// Does what it is told.
    fn listen_up(&mut self) -> Result<(), Hangup> {
        let filled = self.uplink.fill();
        while let Some(message) = self.uplink.next()? {
            match message {
                Down::Signal(signal) => {
                    let known = Signal::try_from(signal);
                    let signal = known.map_err(|error| Hangup(error.to_string()))?;
                    self.crew.signal(signal);
                    self.branches.broadcast(&message);
                }
                Down::Input(ref bytes) => match &mut self.input {
                    Some(input) => input.pour(bytes),
                    None => self.branches.send_to_rank(0, &message),
                },
                Down::Credit {
                    host,
                    stream,
                    bytes,
                } if host == self.number => self.allow(stream, bytes),
                Down::Credit { host, .. } => self.branches.send_to_host(host, &message),
                Down::Exchange(frame) => {
                    if let Some(exchange) = &mut self.exchange {
                        exchange.handle(self.parent, &frame).map_err(Hangup)?;
                    }
                }
                Down::Errand { .. } => return Err(Hangup("it sent a second errand".to_owned())),
            }
        }
        filled
    }

    fn allow(&mut self, stream: StreamName, bytes: u32) {
        let stream = match stream {
            StreamName::Stdout => &mut self.stdout,
            StreamName::Stderr => &mut self.stderr,
        };
        if let Sink::Parcels(parcels) = stream.sink_mut() {
            parcels.allow(bytes);
        }
    }

    /// Passes on what the agents below say.
    fn listen_down(&mut self, ready: &[Event]) -> io::Result<()> {
        let ready: Vec<_> = ready
            .iter()
            .filter_map(|event| match event {
                Event::Branch(index) => Some(*index),
                _ => None,
            })
            .collect();
        for tidings in self.branches.tend(&ready)? {
            match tidings {
                Tidings::Up(message) => self.uplink.send(&message),
                Tidings::Exchange(number, frame) => {
                    let agent = Who::Agent(number);
                    let exchange = self.exchange.as_mut();
                    let handled = exchange.map(|exchange| exchange.handle(agent, &frame));
                    if let Some(Err(fault)) = handled {
                        self.branches.refuse(number, fault);
                    }
                }
                Tidings::Opened(_) => {}
                Tidings::Finished(number) => self.lose(number, "its ranks have ended"),
                Tidings::Lost {
                    number,
                    is_started,
                    fault,
                } => {
                    // Who reads it would try the same from another host.
                    let text = format!("{fault} (seen from host {})", self.host);
                    self.lose(number, &text);
                    let host = number;
                    self.uplink.send(&if is_started {
                        Up::Lost { host, text }
                    } else {
                        let code = ExitCode::Launcher.number();
                        Up::Failed { host, code, text }
                    });
                }
            }
        }
        Ok(())
    }

    fn lose(&mut self, number: u32, cause: &str) {
        if let Some(exchange) = &mut self.exchange {
            exchange.lost(Who::Agent(number), cause);
        }
    }

    fn bury(&mut self, index: usize) -> io::Result<()> {
        let death = self.crew.bury(index)?;
        if let Some(exchange) = &mut self.exchange {
            exchange.died(death.rank, death.exit);
        }
        if death.rank == 0 {
            self.input.iter_mut().for_each(Faucet::close);
        }
        self.stdout.ended(index);
        self.stderr.ended(index);
        // The last words of a rank come before the news of its death.
        self.stdout.drain();
        self.stderr.drain();
        self.send_output();
        self.uplink.send(&Up::Exited {
            rank: number(death.rank),
            pid: death.pid,
            end: process_end(death.exit),
        });
        Ok(())
    }

    fn send_output(&mut self) {
        for stream in StreamName::ALL {
            let source = match stream {
                StreamName::Stdout => &mut self.stdout,
                StreamName::Stderr => &mut self.stderr,
            };
            let Sink::Parcels(parcels) = source.sink_mut() else {
                continue;
            };
            for (index, bytes) in parcels.take() {
                let rank = self.ranks[index];
                self.uplink.send(&Up::Output {
                    rank,
                    stream,
                    bytes,
                });
            }
        }
    }

    fn send_exchange(&mut self) -> io::Result<()> {
        let Some(exchange) = &mut self.exchange else {
            return Ok(());
        };
        exchange.advance()?;
        while let Some((to, frame)) = exchange.next_frame() {
            if to == self.parent {
                self.uplink.send(&Up::Exchange(frame.to_vec()));
            } else {
                self.branches.send_exchange(to, frame.to_vec());
            }
        }
        Ok(())
    }
}

fn hangup(error: io::Error) -> Hangup {
    Hangup(format!("a system call failed: {error}"))
}
