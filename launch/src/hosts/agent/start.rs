//! What an agent starts, and in which order.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use phalanx_shm::watcher::Watcher;
use phalanx_wireup::exchange::{Shape, Who};

use super::End;
use crate::crew::{Crew, Muster};
use crate::exchange::{Exchange, number};
use crate::exit_code::ExitCode;
use crate::hosts::branches::Branches;
use crate::hosts::errand::Errand;
use crate::hosts::layout::below;
use crate::hosts::uplink::{Hangup, ssh_addresses};
use crate::job::LaunchError;
use crate::spawn::{Pipes, raise_descriptor_limit};

pub(super) type Started = (Crew, Vec<Pipes>, Option<Exchange>, Branches, Watcher);

/// Starts the agents below, which takes them longest, and then the ranks of this host.
pub(super) fn start(errand: &Errand) -> Result<Started, End> {
    let host = errand.post.number;
    let failed = |error: LaunchError| End::Failed {
        host,
        code: ExitCode::from(&error),
        text: format!("host {}: {error}", errand.post.host),
    };
    let common = &errand.common;
    env::set_current_dir(&common.directory).map_err(|error| End::Failed {
        host,
        code: ExitCode::Launcher,
        text: format!(
            "host {}: the directory {} cannot be entered there ({error}): start the job from one that all hosts have",
            errand.post.host,
            common.directory.display()
        ),
    })?;
    let nonsense = || End::Hangup(Hangup("its errand has no plan".to_owned()));
    let plan = common.plan().ok_or_else(nonsense)?;
    let errands = errand.below();
    let ranks: Vec<_> = errand.ranks().iter().map(|rank| rank as usize).collect();
    if ranks.last().is_none_or(|&last| last >= plan.size()) {
        return Err(nonsense());
    }
    raise_descriptor_limit(ranks.len(), errands.len()).map_err(failed)?;
    let watcher = Watcher::start(ranks.len() + errands.len());
    let watcher =
        watcher.map_err(|error| failed(LaunchError::system("start its watcher")(error)))?;
    let mut exchange = exchange(errand, plan.size()).map_err(failed)?;
    let places = (ranks.len()..).map(|place| watcher.place(place));
    let branches = Branches::start(&errands, places).map_err(|fault| End::Failed {
        host,
        code: ExitCode::Launcher,
        text: format!("{fault} (seen from host {})", errand.post.host),
    })?;
    let muster = Muster {
        plan: &plan,
        arena_bytes: common.arena_bytes,
        input: common.input,
        hidden: hidden(common.variables.iter().map(|(name, _)| name)),
        ranks,
    };
    let places = (0..).map(|place| watcher.place(place));
    let (crew, pipes) = Crew::start(&muster, exchange.as_mut(), places).map_err(failed)?;
    Ok((crew, pipes, exchange, branches, watcher))
}

fn exchange(errand: &Errand, size: usize) -> Result<Option<Exchange>, LaunchError> {
    let Some(job) = errand.common.wireup else {
        return Ok(None);
    };
    let post = &errand.post;
    let shape = Shape::new(number(size)).with_ranks(post.ranks.clone());
    let shape = below(shape, &post.below);
    let mut exchange = Exchange::below(job, post.number, errand.parent, shape)?;
    let agents = post.below.iter().map(|post| Who::Agent(post.number));
    exchange.carry(agents.chain([errand.parent]));
    let (_, server) = ssh_addresses();
    exchange.reached_by(server);
    Ok(Some(exchange))
}

/// Settings of this host's login that the job does not have: all ranks have those of the launcher.
fn hidden<'a>(carried: impl Iterator<Item = &'a OsString>) -> Vec<OsString> {
    let carried: HashSet<_> = carried.collect();
    let names = env::vars_os().map(|(name, _)| name);
    let ours = names.filter(|name| name.as_bytes().starts_with(b"PHALANX_"));
    ours.filter(|name| !carried.contains(name)).collect()
}
