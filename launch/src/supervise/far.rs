//! The ranks on other hosts, as the launcher sees them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::poll::PollFd;
use nix::sys::signal::Signal;
use phalanx_wireup::exchange::Who;

use super::{Event, Supervisor};
use crate::course::Death;
use crate::exchange::{Exchange, exit};
use crate::exit_code::ExitCode;
use crate::hosts::branches::{Branches, Tidings};
use crate::hosts::frames::{Down, StreamName, Up, WINDOW};
use crate::hosts::layout::{Layout, Post};
use crate::input::Pump;
use crate::job::LaunchError;
use crate::outcome::Exit;
use crate::output::Stream;

/// The agents that the launcher has started, and the hosts below.
#[derive(Debug)]
pub(super) struct Far {
    branches: Branches,
    posts: Vec<Post>,
    /// By number.
    names: Vec<String>,
    /// The host of each rank that is not on this one, by rank.
    host_of: Vec<Option<u32>>,
    /// Bytes that have come from each host since it was told, by stream.
    owed: Vec<[usize; 2]>,
    /// Agents that have not answered.
    silent: usize,
    /// The address from which the first of them was reached.
    client: Option<IpAddr>,
    /// When the user is told for whom the job waits.
    notice_at: Option<Instant>,
    /// When agents that have not ended are given up.
    give_up_at: Option<Instant>,
}

impl Far {
    pub(super) fn new(branches: Branches, layout: &Layout) -> Self {
        let names = layout.hosts();
        let mut host_of = Vec::new();
        for post in &layout.posts {
            for (number, _) in post.all_hosts() {
                let post = post.find(number);
                for rank in post.iter().flat_map(|post| post.ranks.iter()) {
                    let rank = rank as usize;
                    host_of.resize(host_of.len().max(rank + 1), None);
                    host_of[rank] = Some(number);
                }
            }
        }
        Self {
            branches,
            posts: layout.posts.clone(),
            owed: vec![[0; 2]; names.len()],
            names,
            host_of,
            silent: layout.posts.len(),
            client: None,
            notice_at: Instant::now().checked_add(QUIET),
            give_up_at: None,
        }
    }

    /// All ranks that are not on this host.
    pub(super) fn ranks(&self) -> Vec<usize> {
        let ranks = self.host_of.iter().enumerate();
        ranks
            .filter(|(_, host)| host.is_some())
            .map(|(rank, _)| rank)
            .collect()
    }

    /// Whether some agent that the launcher has started itself has not answered.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent > 0
    }

    /// This host's address, as the first of the others sees it.
    pub(super) const fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The hosts that have not started their ranks; `None` if all have.
    pub(super) fn waiting_for(&self) -> Option<String> {
        let mut numbers: Vec<_> = self.branches.starting().collect();
        numbers.sort_unstable();
        let names: Vec<_> = numbers
            .iter()
            .take(MOST_NAMED)
            .map(|&number| self.names[number as usize].as_str())
            .collect();
        let noun = if numbers.len() == 1 { "host" } else { "hosts" };
        let named = names.join(", ");
        match numbers.len() - names.len() {
            _ if names.is_empty() => None,
            0 => Some(format!("{noun} {named}")),
            more => Some(format!("{noun} {named} and {more} more")),
        }
    }

    pub(super) fn interests(&self) -> impl Iterator<Item = (usize, PollFd<'_>)> {
        self.branches.interests()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.branches.deadline(), self.notice_at, self.give_up_at];
        deadlines.into_iter().flatten().min()
    }

    /// Brings the frames of the wire-up to the agents.
    pub(super) fn carry(&mut self, exchange: Option<&mut Exchange>) {
        let Some(exchange) = exchange else { return };
        while let Some((to, frame)) = exchange.next_frame() {
            self.branches.send_exchange(to, frame.to_vec());
        }
    }

    /// Lets hosts send more output, as far as there is room for it.
    pub(super) fn grant(&mut self, stdout: &Stream, stderr: &Stream) {
        for (stream, output) in StreamName::ALL.into_iter().zip([stdout, stderr]) {
            if !output.sink().has_room() {
                continue;
            }
            for (host, owed) in (0_u32..).zip(&mut self.owed) {
                let owed = &mut owed[stream as usize];
                if *owed >= WINDOW / 4 {
                    let bytes = u32::try_from(std::mem::take(owed)).unwrap_or(u32::MAX);
                    let credit = Down::Credit {
                        host,
                        stream,
                        bytes,
                    };
                    self.branches.send_to_host(host, &credit);
                }
            }
        }
    }

    /// Sends input to rank 0.
    pub(super) fn pour(&mut self, pieces: Vec<Vec<u8>>) {
        for piece in pieces {
            self.branches.send_to_rank(0, &Down::Input(piece));
        }
    }

    pub(super) fn flush(&mut self) {
        self.branches.flush();
    }

    /// Sends `signal` to all ranks. Agents that have not carried out SIGKILL after a while are given up.
    pub(super) fn signal(&mut self, signal: Signal) {
        self.branches.broadcast(&Down::Signal(signal as i32));
        if signal == Signal::SIGKILL {
            self.give_up_at = Instant::now().checked_add(PATIENCE);
        }
    }

    /// Ranks are being ended, so nobody waits for agents that have not answered.
    pub(super) fn forget_silent(&mut self) {
        self.branches.dismiss_silent();
    }

    /// All ranks have ended. Returns whether all agents have too, which do so by themselves.
    pub(super) fn finish(&mut self) -> bool {
        if self.give_up_at.is_none() {
            self.give_up_at = Instant::now().checked_add(PATIENCE);
        }
        self.branches.are_gone()
    }
}

impl Supervisor {
    /// Takes in what the agents tell whose descriptors are ready.
    pub(super) fn hear_agents(&mut self, events: &[Event]) -> Result<(), LaunchError> {
        let Some(far) = &mut self.far else {
            return Ok(());
        };
        let ready: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Branch(index) => Some(*index),
                _ => None,
            })
            .collect();
        let tidings = far.branches.tend(&ready);
        let tidings = tidings.map_err(LaunchError::system("wait for an agent"))?;
        let mut deaths = Vec::new();
        for tidings in tidings {
            self.hear(tidings, &mut deaths)?;
        }
        if !deaths.is_empty() {
            let orders = self.course.exited(&deaths, Instant::now());
            self.carry_out(orders);
        }
        Ok(())
    }

    fn hear(&mut self, tidings: Tidings, deaths: &mut Vec<Death>) -> Result<(), LaunchError> {
        let Some(far) = &mut self.far else {
            return Ok(());
        };
        match tidings {
            Tidings::Opened(introduction) => {
                far.silent -= 1;
                far.client = far.client.or(introduction.client);
            }
            Tidings::Up(message) => return self.hear_message(message, deaths),
            Tidings::Exchange(number, frame) => {
                let exchange = self.exchange.as_mut();
                let handled = exchange.map(|exchange| exchange.handle(Who::Agent(number), &frame));
                if let Some(Err(fault)) = handled {
                    far.branches.refuse(number, fault);
                }
            }
            Tidings::Finished(number) => self.part(number, "its ranks have ended"),
            Tidings::Lost {
                number,
                is_started,
                fault,
            } => {
                let text = fault.to_string();
                self.part(number, &text);
                if !is_started && !self.course.is_ending() {
                    return Err(LaunchError::Host {
                        code: ExitCode::Launcher,
                        host: fault.host,
                        text,
                    });
                }
                self.lose(number, &text);
            }
        }
        Ok(())
    }

    fn hear_message(&mut self, message: Up, deaths: &mut Vec<Death>) -> Result<(), LaunchError> {
        let Some(far) = &mut self.far else {
            return Ok(());
        };
        match message {
            Up::Started { .. } => {
                if far.branches.starting().next().is_none() {
                    far.notice_at = None;
                }
            }
            Up::Failed { host, text, .. } if self.course.is_ending() => self.lose(host, &text),
            Up::Failed { host, code, text } => {
                let host = far.names[host as usize].clone();
                let code = match code {
                    126 => ExitCode::NotExecutable,
                    127 => ExitCode::NotFound,
                    _ => ExitCode::Launcher,
                };
                return Err(LaunchError::Host { host, code, text });
            }
            Up::Output {
                rank,
                stream,
                bytes,
            } => {
                let rank = rank as usize;
                if let Some(host) = far.host_of[rank] {
                    far.owed[host as usize][stream as usize] += bytes.len();
                }
                match stream {
                    StreamName::Stdout => self.stdout.feed(rank, &bytes),
                    StreamName::Stderr => self.stderr.feed(rank, &bytes),
                }
            }
            Up::Exited { rank, pid, end } => {
                let death = Death {
                    rank: rank as usize,
                    pid,
                    host: None,
                    exit: exit(end),
                };
                deaths.extend(self.note_death(death));
            }
            Up::Taken(bytes) => {
                if let Some(stdin) = &mut self.stdin {
                    stdin.arrived(bytes as usize);
                }
            }
            Up::Lost { host, text } => self.lose(host, &text),
            Up::Exchange(_) => {}
        }
        Ok(())
    }

    /// The way to an agent of the launcher's own has ended.
    fn part(&mut self, number: u32, cause: &str) {
        if let Some(exchange) = &mut self.exchange {
            exchange.lost(Who::Agent(number), cause);
        }
    }

    /// The way to a host is lost, and with it all ranks there and on the hosts below.
    fn lose(&mut self, number: u32, text: &str) {
        let posts = self.far.iter().flat_map(|far| &far.posts);
        let Some(post) = posts.clone().find_map(|post| post.find(number)).cloned() else {
            return;
        };
        let ranks = post.all_ranks();
        let is_running = ranks
            .iter()
            .any(|rank| self.roster.is_running(rank as usize));
        for rank in ranks.iter().map(|rank| rank as usize) {
            self.stdout.feed(rank, &[]);
            self.stderr.feed(rank, &[]);
            self.roster
                .ended(rank, 0, Exit::Signal(Signal::SIGKILL as i32));
            if rank == 0 {
                self.stdin.iter_mut().for_each(Pump::close);
            }
        }
        if is_running {
            let mut notices: Vec<_> = text.lines().map(str::to_owned).collect();
            if let Some(last) = notices.last_mut() {
                last.push_str(&format!("; with it went {ranks}"));
            }
            let orders = self.course.host_lost(&post.host, notices, Instant::now());
            self.carry_out(orders);
        }
    }

    /// Does what the time asks for.
    pub(super) fn tick_far(&mut self, now: Instant) {
        let Some(far) = &mut self.far else { return };
        let has_come = |moment: Option<Instant>| moment.is_some_and(|moment| now >= moment);
        if has_come(far.give_up_at) {
            far.give_up_at = None;
            far.branches.dismiss();
        }
        if has_come(far.notice_at) {
            far.notice_at = None;
            if let Some(waiting) = far.waiting_for() {
                let notice = format!("still waiting for {waiting} to start");
                self.stderr.sink_mut().notice(&notice);
            }
        }
    }
}

/// After how long without an answer the user is told for whom the job waits.
const QUIET: Duration = Duration::from_secs(10);

/// How long agents have to end by themselves when there is nothing more to do, or when they have been told to kill.
const PATIENCE: Duration = Duration::from_secs(3);

/// A notice is one line on a terminal.
const MOST_NAMED: usize = 8;
