//! Jobs over many hosts.
//!
//! ```text
//!                       launcher ------------------------- its own ranks
//!                      /        \
//!       ssh b phalanx agent     ssh c phalanx agent
//!              /       \                  \
//!           ranks     ssh d phalanx agent  ranks
//!                           \
//!                          ranks
//! ```
//!
//! The launcher starts an agent on each of the first hosts, by a command such as `ssh`, and those start the agents of the others. An agent
//! starts the ranks of its host and looks after them as the launcher does after its own; what it sees and hears goes up, what it is to
//! do comes down, over the standard input and output of the command. When either ends, whoever is below ends all it has started: so
//! nothing is left, whichever process is killed. `docs/design/launch.md` has the messages.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use nix::unistd::gethostname;

pub(crate) mod agent;
mod branch;
pub(crate) mod branches;
mod command;
pub(crate) mod errand;
mod faucet;
pub(crate) mod fault;
pub(crate) mod frames;
pub(crate) mod layout;
mod uplink;

use errand::Reach;
use layout::Layout;

/// The hosts of a job: which rank runs where, and how other hosts are reached.
///
/// # Examples
/// ```
/// use phalanx_launch::{Hosts, Job, Plan, Program};
///
/// // Two ranks on this host and two on another.
/// let hosts = Hosts::new(["localhost", "node02"], vec![0, 0, 1, 1]);
/// let job = Job::new(Plan::new(4, Program::new("./solver"))?).hosts(hosts);
/// # drop(job);
/// # Ok::<(), phalanx_launch::PlanError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Hosts {
    names: Vec<String>,
    places: Vec<usize>,
    agent: Vec<OsString>,
    phalanx: Option<PathBuf>,
    fan_out: usize,
    variables: Vec<(OsString, OsString)>,
}

impl Hosts {
    /// Rank k runs on the `places[k]`-th of the hosts `names`, as [`place`](phalanx_wireup::hostlist::place) gives them out.
    ///
    /// `localhost` and this host's own name are this host, which needs no agent; every other is reached by `ssh`.
    ///
    /// # Panics
    /// If a place is beyond the names.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>, places: Vec<usize>) -> Self {
        let names: Vec<_> = names.into_iter().map(Into::into).collect();
        assert!(
            places.iter().all(|&place| place < names.len()),
            "every rank has one of the hosts"
        );
        Self {
            names,
            places,
            agent: vec!["ssh".into()],
            phalanx: None,
            fan_out: FAN_OUT,
            variables: Vec::new(),
        }
    }

    /// Reaches other hosts by this command line, to which the name of the host and a command for its shell are appended.
    ///
    /// # Panics
    /// If it is empty.
    #[must_use]
    pub fn launch_agent(mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.agent = words.into_iter().map(Into::into).collect();
        assert!(!self.agent.is_empty(), "a command has a first word");
        self
    }

    /// Where the command `phalanx` is on the other hosts. Unless it is set, it is looked for in the place where it is on this one,
    /// and then in `PATH`.
    #[must_use]
    pub fn remote_phalanx(mut self, path: impl Into<PathBuf>) -> Self {
        self.phalanx = Some(path.into());
        self
    }

    /// Sets how many agents the launcher, and each agent, starts itself; 16 unless set.
    #[must_use]
    pub const fn fan_out(mut self, agents: usize) -> Self {
        self.fan_out = agents;
        self
    }

    /// Sets an environment variable of all ranks. Those on other hosts have the variables of a login there and these.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub(crate) const fn size(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    /// How other hosts are reached from here.
    pub(crate) fn reach(&self) -> io::Result<Reach> {
        let candidates = match &self.phalanx {
            Some(path) => vec![path.clone().into()],
            None => vec![std::env::current_exe()?.into(), "phalanx".into()],
        };
        Ok(Reach {
            agent: self.agent.clone(),
            candidates,
        })
    }

    pub(crate) fn layout(&self) -> Layout {
        let own = gethostname().unwrap_or_default();
        let own = own.to_string_lossy();
        let is_here = |name: &str| is_this_host(name, &own);
        Layout::new(&self.names, &self.places, is_here, self.fan_out)
    }

    /// The name of this host in the list, of those that ranks run on.
    pub(crate) fn own_name(&self, layout: &Layout) -> Option<&str> {
        let first = layout.local.first()?;
        Some(&self.names[self.places[*first]])
    }
}

/// Whether `name` means the host that calls itself `own`. What else might mean it is reached like any other host.
fn is_this_host(name: &str, own: &str) -> bool {
    let short = own.split('.').next().unwrap_or(own);
    let names = ["localhost", own, short];
    names
        .iter()
        .any(|known| !known.is_empty() && known.eq_ignore_ascii_case(name))
}

/// Starting an agent costs its parent a process and a few milliseconds; with 16, three steps reach four thousand hosts.
const FAN_OUT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_known_by_its_names_and_by_no_address() {
        for name in ["localhost", "LOCALHOST", "node01", "node01.cluster.example"] {
            assert!(is_this_host(name, "node01.cluster.example"), "{name}");
        }
        for name in ["", "node02", "127.0.0.1", "me@localhost", "node01.other"] {
            assert!(!is_this_host(name, "node01.cluster.example"), "{name}");
        }
        assert!(!is_this_host("", ""));
    }
}
