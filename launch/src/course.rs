//! The course of a job, from running to its end: what happens, and what the launcher does about it.
//!
//! Without input or output of its own: events go in with the time at which they were seen, [`Orders`] come out. So the rules of
//! ending a job are tested without a process, and without waiting.
//!
//! ```text
//!        a rank fails, a host is lost, time limit, output lost
//!   Running ------------------------------------------> Ending --- grace over, second signal ---> Killing
//!      |                                                  ^  SIGTERM                                SIGKILL
//!      | signal to the launcher: forwarded                |
//!      v                                                  | a rank crashes, time limit
//!   Interrupted ------------------------------------------+--- second signal ---> Killing
//! ```

use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::outcome::{Ending, Exit};

/// Where a job stands.
#[derive(Debug)]
pub(crate) struct Course {
    state: State,
    /// The first cause, which decides the exit code.
    ending: Option<Ending>,
    time_limit: Option<Duration>,
    started: Instant,
    grace: Duration,
    /// Signals sent to the ranks: a rank that dies by one of them is not news.
    sent: Vec<Signal>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    Interrupted,
    Ending { kill_at: Instant },
    Killing,
}

/// What to do next.
#[must_use]
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// A signal for every rank that still runs, and all that it started.
    pub(crate) signal: Option<Signal>,
    /// Lines for the user.
    pub(crate) notices: Vec<String>,
    /// Wait no longer for output to be read.
    pub(crate) abandon_output: bool,
}

/// A rank that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    pub(crate) rank: usize,
    pub(crate) pid: u32,
    /// Where it ran, if not all ranks are on one host.
    pub(crate) host: Option<Rc<str>>,
    pub(crate) exit: Exit,
}

impl Course {
    pub(crate) const fn new(
        started: Instant,
        time_limit: Option<Duration>,
        grace: Duration,
    ) -> Self {
        Self {
            state: State::Running,
            ending: None,
            time_limit,
            started,
            grace,
            sent: Vec::new(),
        }
    }

    /// Ranks have ended; those of one call were seen at the same time.
    pub(crate) fn exited(&mut self, deaths: &[Death], now: Instant) -> Orders {
        let crashes = deaths.iter().filter(|death| self.is_crash(death.exit));
        // Of several at once a crash comes first: it makes its peers exit with an error, seldom the other way round.
        let code = deaths
            .iter()
            .find(|death| matches!(death.exit, Exit::Code(code) if code != 0));
        let first = crashes.clone().next().or(code);
        let mut orders = Orders::default();
        orders.notices.extend(crashes.map(Death::notice));
        let Some(first) = first else { return orders };
        let is_crash = self.is_crash(first.exit);
        match self.state {
            State::Running => {
                if !is_crash {
                    orders.notices.push(first.notice());
                }
                let (rank, exit) = (first.rank, first.exit);
                orders.signal = Some(self.end(Ending::RankFailed { rank, exit }, now));
            }
            // Ranks may end as they like after an interrupt, and the others take their time; but a crash is a crash.
            State::Interrupted if is_crash => orders.signal = Some(self.terminate(now)),
            _ => {}
        }
        orders
    }

    /// The connection to `host` was lost, and with it ranks that had not ended, as `notices` say.
    pub(crate) fn host_lost(&mut self, host: &str, notices: Vec<String>, now: Instant) -> Orders {
        let mut orders = Orders::default();
        match self.state {
            State::Running => {
                orders.notices = notices;
                let host = host.to_owned();
                orders.signal = Some(self.end(Ending::HostLost { host }, now));
            }
            State::Interrupted => {
                orders.notices = notices;
                orders.signal = Some(self.terminate(now));
            }
            // What is being ended may end in any way.
            State::Ending { .. } | State::Killing => {}
        }
        orders
    }

    /// The launcher was sent `signal`, which asks it to end.
    pub(crate) fn interrupted(&mut self, signal: Signal) -> Orders {
        let first = matches!(self.state, State::Running);
        let number = signal as i32;
        self.ending
            .get_or_insert(Ending::Interrupted { signal: number });
        self.state = if first {
            State::Interrupted
        } else {
            State::Killing
        };
        let signal = if first { signal } else { Signal::SIGKILL };
        self.order(signal)
    }

    /// Output could not be written: `Some` says why, `None` that nobody wants to read it, which is no error.
    pub(crate) fn output_lost(&mut self, reason: Option<String>, now: Instant) -> Orders {
        let ending = if reason.is_some() {
            Ending::OutputFailed
        } else {
            Ending::OutputClosed
        };
        let mut orders = Orders::default();
        orders.notices.extend(reason);
        if matches!(self.state, State::Running) {
            orders.signal = Some(self.end(ending, now));
        }
        orders
    }

    /// Time has passed, and `running` ranks have not ended.
    pub(crate) fn tick(&mut self, running: &[usize], now: Instant) -> Orders {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Orders::default();
        }
        match self.state {
            _ if running.is_empty() => self.give_up_output(),
            State::Ending { .. } => {
                self.state = State::Killing;
                let (ranks, grace) = (list(running), self.grace.as_secs_f64());
                let mut orders = self.order(Signal::SIGKILL);
                orders.notices.push(format!(
                    "killed {ranks}, still running {grace} s after SIGTERM"
                ));
                orders
            }
            _ => {
                let (ranks, limit) = (list(running), self.limit());
                let signal = Some(self.end(Ending::TimedOut, now));
                let notices = vec![format!(
                    "the time limit of {limit} s has passed, still running: {ranks}"
                )];
                Orders {
                    signal,
                    notices,
                    ..Orders::default()
                }
            }
        }
    }

    /// No rank runs, but what they wrote is not being read. Only a time limit ends the wait for a slow reader.
    fn give_up_output(&mut self) -> Orders {
        let was_running = !matches!(self.state, State::Ending { .. });
        self.state = State::Killing;
        if was_running {
            self.ending.get_or_insert(Ending::TimedOut);
        }
        let abandon_output = self.ending == Some(Ending::TimedOut);
        let text = format!(
            "the time limit of {} s has passed, and the output is not being read",
            self.limit()
        );
        Orders {
            signal: None,
            notices: was_running.then_some(text).into_iter().collect(),
            abandon_output,
        }
    }

    /// Whether ranks are being ended, for whatever reason.
    pub(crate) const fn is_ending(&self) -> bool {
        matches!(self.state, State::Ending { .. } | State::Killing)
    }

    /// The time limit, if it has passed and nothing has ended the job before.
    pub(crate) fn passed_limit(&self, now: Instant) -> Option<Duration> {
        let is_running = matches!(self.state, State::Running | State::Interrupted);
        let has_passed = self.deadline().is_some_and(|deadline| now >= deadline);
        self.time_limit.filter(|_| is_running && has_passed)
    }

    /// When [`tick`](Self::tick) next has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Running | State::Interrupted => self.started.checked_add(self.time_limit?),
            State::Ending { kill_at } => Some(kill_at),
            State::Killing => None,
        }
    }

    /// Whether the job is being interrupted or killed, so that nobody waits for the rest of its output.
    pub(crate) const fn was_interrupted(&self) -> bool {
        matches!(self.ending, Some(Ending::Interrupted { .. }))
            || matches!(self.state, State::Killing)
    }

    /// The ending of a job of which no rank runs any more.
    pub(crate) fn into_ending(self) -> Ending {
        self.ending.unwrap_or(Ending::Success)
    }

    fn end(&mut self, ending: Ending, now: Instant) -> Signal {
        self.ending.get_or_insert(ending);
        self.terminate(now)
    }

    fn terminate(&mut self, now: Instant) -> Signal {
        self.state = State::Ending {
            kill_at: now + self.grace,
        };
        self.sent.extend([Signal::SIGTERM, Signal::SIGKILL]);
        Signal::SIGTERM
    }

    /// In seconds.
    fn limit(&self) -> f64 {
        self.time_limit.unwrap_or_default().as_secs_f64()
    }

    fn order(&mut self, signal: Signal) -> Orders {
        self.sent.push(signal);
        Orders {
            signal: Some(signal),
            ..Orders::default()
        }
    }

    fn is_crash(&self, exit: Exit) -> bool {
        matches!(exit, Exit::Signal(number) if self.sent.iter().all(|&sent| sent as i32 != number))
    }
}

impl Death {
    fn notice(&self) -> String {
        let Self {
            rank, pid, exit, ..
        } = self;
        match &self.host {
            Some(host) => format!("rank {rank} (pid {pid} on host {host}) {exit}"),
            None => format!("rank {rank} (pid {pid}) {exit}"),
        }
    }
}

/// `rank 3`, or `ranks 0-2, 5`: `ranks` ascends.
pub(crate) fn list(ranks: &[usize]) -> String {
    let ranges: Vec<String> = ranks
        .chunk_by(|before, after| before + 1 == *after)
        .map(|range| match range {
            [only] => only.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => String::new(),
        })
        .collect();
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{noun} {}", ranges.join(", "))
}

#[cfg(test)]
#[path = "course/tests.rs"]
mod tests;
