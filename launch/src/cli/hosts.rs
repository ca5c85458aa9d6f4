//! The part of the command line that is about hosts.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use phalanx_launch::Hosts;
use phalanx_wireup::hostlist::{self, HostSlots, MapBy, Overload, place};

/// On which hosts ranks run, and how those are reached.
#[derive(Args, Debug)]
pub(crate) struct HostArguments {
    #[command(flatten)]
    pub(super) placement: Placement,

    /// What reaches other hosts in place of ssh; a host and a command for its shell are appended
    #[arg(long, value_name = "COMMAND")]
    pub(super) launch_agent: Option<String>,

    /// Where phalanx is on the other hosts; looked for in the place where it is here, and in PATH, unless given
    #[arg(long, value_name = "PATH")]
    pub(super) remote_phalanx: Option<String>,

    /// Variable that all ranks get, with its value here or this one; may be repeated
    #[arg(short = 'x', long = "export", value_name = "NAME[=VALUE]")]
    export: Vec<OsString>,
}

/// Which hosts a job has, and which rank runs on which of them.
#[derive(Args, Debug)]
pub(crate) struct Placement {
    /// Hosts, and how many ranks each takes: node01:4,node[02-03]:8
    #[arg(long, value_name = "HOST:SLOTS,..", conflicts_with = "hostfile")]
    host: Option<String>,

    /// File with hosts, a line each, as Open MPI or MPICH have it
    #[arg(long, value_name = "FILE")]
    hostfile: Option<PathBuf>,

    /// Fill one host after the other, or give each a rank in turn
    #[arg(long, value_enum, default_value_t = Mapping::Slot, value_name = "slot|node")]
    map_by: Mapping,

    /// Allow more ranks on the hosts than they have slots
    #[arg(long)]
    oversubscribe: bool,
}

/// In which order hosts get ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mapping {
    /// All slots of a host before the next
    Slot,
    /// One rank for each host in turn
    Node,
}

impl Placement {
    /// The hosts that were named, if any were.
    pub(crate) fn slots(&self) -> anyhow::Result<Option<Vec<HostSlots>>> {
        if let Some(list) = &self.host {
            return Ok(Some(hostlist::parse_list(list).context("--host")?));
        }
        let Some(path) = &self.hostfile else {
            return Ok(None);
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read {}, which --hostfile names", path.display()))?;
        let hosts = hostlist::parse_file(&text).with_context(|| path.display().to_string())?;
        Ok(Some(hosts))
    }

    /// The number of the host in `slots` on which each of `ranks` ranks runs.
    pub(crate) fn places(&self, slots: &[HostSlots], ranks: usize) -> anyhow::Result<Vec<usize>> {
        let map_by = match self.map_by {
            Mapping::Slot => MapBy::Slot,
            Mapping::Node => MapBy::Node,
        };
        let overload = if self.oversubscribe {
            Overload::Allow
        } else {
            Overload::Refuse
        };
        Ok(place(slots, ranks, map_by, overload)?)
    }
}

impl HostArguments {
    /// Where `ranks` ranks run on `slots`.
    pub(crate) fn place(&self, slots: &[HostSlots], ranks: usize) -> anyhow::Result<Hosts> {
        let places = self.placement.places(slots, ranks)?;
        let names = slots.iter().map(|host| host.host.clone());
        Ok(Hosts::new(names, places))
    }

    /// The variables that all ranks get.
    pub(crate) fn exported(&self) -> anyhow::Result<Vec<(OsString, OsString)>> {
        let mut exported = Vec::new();
        for text in &self.export {
            let bytes = text.as_encoded_bytes();
            let sign = bytes.iter().position(|&byte| byte == b'=');
            exported.push(match sign {
                Some(0) => bail!("-x takes NAME or NAME=VALUE, not {text:?}"),
                Some(at) => split(text, at),
                None => match env::var_os(text) {
                    Some(value) => (text.clone(), value),
                    None => bail!(
                        "-x {}: it is not set here; set it, or write -x {0}=VALUE",
                        text.display()
                    ),
                },
            });
        }
        Ok(exported)
    }
}

/// The parts before and after the byte at `at`.
fn split(text: &OsString, at: usize) -> (OsString, OsString) {
    use std::os::unix::ffi::OsStrExt;
    let bytes = text.as_bytes();
    let part = |bytes| std::ffi::OsStr::from_bytes(bytes).to_owned();
    (part(&bytes[..at]), part(&bytes[at + 1..]))
}
