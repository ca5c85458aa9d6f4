//! How a job starts: agents on other hosts first, for that takes long, and the launcher's own ranks when all of those that it reaches
//! itself have answered.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Instant;

use nix::sys::signal::Signal;
use phalanx_shm::watcher::Watcher;
use phalanx_wireup::exchange::{Shape, Who};

use super::{Far, Supervisor};
use crate::console;
use crate::course::Course;
use crate::crew::{Crew, Muster};
use crate::exchange::{Exchange, JobNumber, job_number, number};
use crate::exit_code::ExitCode;
use crate::hosts::Hosts;
use crate::hosts::branches::Branches;
use crate::hosts::errand::{Common, Errand};
use crate::hosts::frames::WINDOW;
use crate::hosts::layout::{Layout, Post};
use crate::input::Pump;
use crate::job::{Input, Job, LaunchError};
use crate::outcome::Exit;
use crate::plan::Plan;
use crate::roster::Roster;
use crate::spawn::{Pipes, raise_descriptor_limit};

/// The ranks that the launcher starts itself.
#[derive(Debug)]
pub(super) struct Local {
    plan: Plan,
    ranks: Vec<usize>,
    arena_bytes: Option<u64>,
    input: bool,
}

impl Supervisor {
    /// Starts the ranks of `job` that are on this host, or the agents of those that are not.
    pub(crate) fn start(job: Job) -> Result<Self, LaunchError> {
        let size = job.plan.size();
        let layout = job.hosts.as_ref().map(Hosts::layout);
        let layout = layout.unwrap_or_else(|| Layout {
            local: (0..size).collect(),
            posts: Vec::new(),
        });
        let (local, agents) = (layout.local.len(), layout.posts.len());
        if let Some(host) = layout.scattered() {
            return Err(LaunchError::Scattered { host });
        }
        raise_descriptor_limit(local, agents)?;
        // First, for it is a copy of this process and would keep the memory of the segment as long as itself.
        let watcher =
            Watcher::start(local + agents).map_err(LaunchError::system("start its watcher"))?;
        let started = Instant::now();
        let wireup = wireup(&job, &layout)?;
        let exchange = exchange(wireup, &layout, size)?;
        let (stdout, stderr) = console::streams(job.output, size)
            .map_err(LaunchError::system("copy its standard output"))?;
        let mut supervisor = Self {
            roster: roster(&job, &layout),
            local: None,
            crew: None,
            far: None,
            watcher,
            exchange,
            stdout,
            stderr,
            stdin: None,
            interrupts: None,
            course: Course::new(started, job.time_limit, job.grace),
            notices: Vec::new(),
            is_abandoned: false,
        };
        let mut plan = job.plan.clone();
        if let Some(hosts) = &job.hosts {
            let common = common(&job, hosts, wireup)?;
            if agents > 0 {
                supervisor.start_agents(&layout, &common)?;
            }
            plan = common.plan().expect("it was made of a plan");
        }
        if local > 0 {
            supervisor.local = Some(Local {
                plan,
                ranks: layout.local,
                arena_bytes: job.arena_bytes,
                input: job.input == Input::Console,
            });
        }
        supervisor.interrupts = job.interrupts;
        supervisor.start_local()?;
        Ok(supervisor)
    }

    fn start_agents(&mut self, layout: &Layout, common: &Common) -> Result<(), LaunchError> {
        let errand = |post: &Post| Errand {
            post: post.clone(),
            parent: Who::Root,
            common: common.clone(),
        };
        let errands: Vec<_> = layout.posts.iter().map(errand).collect();
        let places = (layout.local.len()..).map(|place| self.watcher.place(place));
        let branches = Branches::start(&errands, places).map_err(|fault| LaunchError::Host {
            host: fault.host.clone(),
            code: ExitCode::Launcher,
            text: fault.to_string(),
        })?;
        let far = Far::new(branches, layout);
        for rank in far.ranks() {
            self.stdout.attach_far(rank);
            self.stderr.attach_far(rank);
        }
        if common.input && !layout.local.contains(&0) {
            let source = io::stdin().as_fd().try_clone_to_owned();
            let source = source.map_err(LaunchError::system("copy its standard input"))?;
            self.stdin = Some(Pump::far(source, WINDOW));
        }
        self.far = Some(far);
        Ok(())
    }

    /// Starts the ranks of this host, unless they run already or some agent has not answered.
    pub(super) fn start_local(&mut self) -> Result<(), LaunchError> {
        let is_silent = self.far.as_ref().is_some_and(Far::is_silent);
        let is_ending = self.course.is_ending();
        let Some(local) = self.local.take_if(|_| is_ending || !is_silent) else {
            return Ok(());
        };
        if is_ending {
            // The job failed elsewhere: these ranks end before they begin.
            for rank in local.ranks {
                self.roster
                    .ended(rank, 0, Exit::Signal(Signal::SIGTERM as i32));
            }
            return Ok(());
        }
        if let (Some(far), Some(exchange)) = (&self.far, &mut self.exchange) {
            exchange.reached_by(far.client());
        }
        let muster = Muster {
            plan: &local.plan,
            ranks: local.ranks,
            arena_bytes: local.arena_bytes,
            input: local.input,
            hidden: Vec::new(),
        };
        let places = (0..).map(|place| self.watcher.place(place));
        let (crew, pipes) = Crew::start(&muster, self.exchange.as_mut(), places)?;
        self.crew = Some(crew);
        self.attach(&muster.ranks, pipes)
            .map_err(LaunchError::system("watch the ranks"))
    }

    fn attach(&mut self, ranks: &[usize], pipes: Vec<Pipes>) -> io::Result<()> {
        for (&rank, ends) in ranks.iter().zip(pipes) {
            self.stdout.attach(rank, ends.stdout)?;
            self.stderr.attach(rank, ends.stderr)?;
            if let Some(target) = ends.stdin {
                let source = io::stdin().as_fd().try_clone_to_owned()?;
                self.stdin = Some(Pump::new(source, target)?);
            }
        }
        Ok(())
    }

    /// Fails with what `error` makes of the hosts that have not started all their ranks, if there are such.
    pub(super) fn check_started(
        &self,
        error: impl FnOnce(String) -> LaunchError,
    ) -> Result<(), LaunchError> {
        let waiting = self.far.as_ref().and_then(Far::waiting_for);
        waiting.map_or(Ok(()), |waiting| Err(error(waiting)))
    }
}

/// The number of the job, if its ranks need a wire-up: those of one host meet in their segment, unless they are told otherwise.
fn wireup(job: &Job, layout: &Layout) -> Result<Option<JobNumber>, LaunchError> {
    let hosts = layout.hosts().len() + usize::from(!layout.local.is_empty());
    let number = (hosts > 1 || job.has_wireup).then(job_number);
    number
        .transpose()
        .map_err(LaunchError::system("number the job"))
}

fn exchange(
    wireup: Option<JobNumber>,
    layout: &Layout,
    size: usize,
) -> Result<Option<Exchange>, LaunchError> {
    let Some(job) = wireup else { return Ok(None) };
    if layout.posts.is_empty() {
        let shape = Shape::new(number(size)).with_ranks(0..number(size));
        let mut exchange = Exchange::root(job, shape)?;
        // All are on this host, so nobody needs to be reached from elsewhere.
        exchange.reached_by(Some(Ipv4Addr::LOCALHOST.into()));
        return Ok(Some(exchange));
    }
    let mut exchange = Exchange::root(job, layout.shape(size))?;
    let agents = layout.posts.iter();
    exchange.carry(agents.map(|post| Who::Agent(post.number)));
    Ok(Some(exchange))
}

fn roster(job: &Job, layout: &Layout) -> Roster {
    let Some(hosts) = &job.hosts else {
        return Roster::new(job.plan.size(), |_| None);
    };
    let own = hosts.own_name(layout).map(Rc::from);
    let mut names: Vec<Option<Rc<str>>> = vec![own; job.plan.size()];
    for post in &layout.posts {
        for (number, host) in post.all_hosts() {
            let host: Rc<str> = host.into();
            let post = post.find(number);
            for rank in post.iter().flat_map(|post| post.ranks.iter()) {
                names[rank as usize] = Some(Rc::clone(&host));
            }
        }
    }
    Roster::new(names.len(), |rank| names[rank].clone())
}

fn common(job: &Job, hosts: &Hosts, wireup: Option<JobNumber>) -> Result<Common, LaunchError> {
    let directory = env::current_dir().map_err(LaunchError::system("ask for its directory"))?;
    let reach = hosts
        .reach()
        .map_err(LaunchError::system("ask where its program is"))?;
    let mut variables: Vec<(OsString, OsString)> = CARRIED
        .iter()
        .filter_map(|&name| Some((name.into(), env::var_os(name)?)))
        .collect();
    variables.extend(hosts.variables().iter().cloned());
    Ok(Common::of(job, wireup, directory.into(), variables, reach))
}

/// Without these, programs and their libraries would be looked for elsewhere on each host.
const CARRIED: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];
