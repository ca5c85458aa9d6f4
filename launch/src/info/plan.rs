//! `phalanx info --plan`: what would carry the messages between the ranks of a job, which way, and why.
//!
//! No host is asked: which ranks share one follows from the names that were given, what joins them from the settings, and the way of
//! each message from the function that decides it in the engine ([`phalanx::describe`]).

mod text;

use anyhow::ensure;
use clap::Args;
use phalanx::config::Config;
use phalanx::describe::{Carrier, Distance, Protocol};
use phalanx_launch::MAX_RANKS;
use phalanx_wireup::hostlist::HostSlots;
use serde::Serialize;

use super::report::{Row, name, rows};
use crate::cli::Placement;

pub(super) use text::render;

/// The job to plan.
#[derive(Args, Debug)]
pub(crate) struct PlanArguments {
    /// Instead tell what would carry the messages of a job, which way messages of each size go, and why
    #[arg(long)]
    plan: bool,

    /// How many ranks the job has: as many as its hosts take, or 2 on this host, unless given
    #[arg(short = 'n', long = "ranks", value_name = "N", requires = "plan")]
    ranks: Option<usize>,

    #[command(flatten)]
    placement: Placement,
}

/// The plan of a job. Field names are those of the JSON.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    ranks: usize,
    hosts: Vec<Host>,
    classes: Vec<Class>,
    /// Every ordered pair, where there are few ranks.
    pairs: Vec<Pair>,
    /// Why no such job can be started, if so.
    refused: Option<String>,
}

/// A host and its ranks, ascending.
#[derive(Debug, Serialize)]
struct Host {
    host: String,
    ranks: Vec<usize>,
}

/// Pairs of ranks that are alike.
#[derive(Debug, Serialize)]
struct Class {
    class: &'static str,
    /// Ordered pairs: from one rank to another, or to itself.
    pairs: usize,
    link: &'static str,
    /// What decided for this link.
    because: Option<Reason>,
    thresholds: Vec<Threshold>,
    send: Vec<Row>,
    synchronous_send: Vec<Row>,
    #[serde(skip)]
    carrier: Carrier,
}

/// A setting with its value and where that came from.
#[derive(Debug, Serialize)]
struct Reason {
    setting: &'static str,
    value: String,
    origin: String,
}

/// Where one way begins or ends.
#[derive(Debug, Serialize)]
struct Threshold {
    way: &'static str,
    from_bytes: Option<u64>,
    up_to_bytes: Option<u64>,
    /// `None` where the link sets it.
    because: Option<Reason>,
}

#[derive(Debug, Serialize)]
struct Pair {
    from: usize,
    to: usize,
    class: &'static str,
    link: &'static str,
}

impl PlanArguments {
    /// Whether a plan is asked for.
    ///
    /// # Errors
    /// When a job is described and no plan of it is asked for.
    pub(super) fn is_wanted(&self) -> anyhow::Result<bool> {
        ensure!(
            self.plan || self.placement.slots()?.is_none(),
            "--host and --hostfile name the hosts of a job that is to be planned: add --plan"
        );
        Ok(self.plan)
    }

    /// The plan that they ask for.
    pub(super) fn plan(&self, config: &Config) -> anyhow::Result<Plan> {
        let named = self.placement.slots()?;
        let hosts = named.unwrap_or_else(|| {
            let slots = self.ranks.unwrap_or(2).min(MAX_RANKS);
            vec![HostSlots::new("this host", slots as u32)]
        });
        let slots = hosts.iter().map(|host| host.slots as usize).sum();
        let ranks = self.ranks.unwrap_or(slots);
        ensure!(ranks > 0, "no rank: give the job at least one with -n");
        ensure!(
            ranks <= MAX_RANKS,
            "{ranks} ranks are more than {MAX_RANKS}: lower -n"
        );
        let places = self.placement.places(&hosts, ranks)?;
        Ok(Plan::new(config, &hosts, &places))
    }
}

impl Plan {
    pub(super) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Rank k on the host with the number `places[k]`.
    fn new(config: &Config, hosts: &[HostSlots], places: &[usize]) -> Self {
        let hosts = hosts.iter().enumerate().map(|(number, host)| Host {
            host: host.host.clone(),
            ranks: (0..places.len())
                .filter(|&rank| places[rank] == number)
                .collect(),
        });
        let hosts: Vec<_> = hosts.filter(|host| !host.ranks.is_empty()).collect();
        let ranks = places.len();
        let on_same_host: usize = hosts.iter().map(|host| host.ranks.len().pow(2)).sum();
        let counts = [
            (Distance::SameRank, ranks),
            (Distance::SameHost, on_same_host - ranks),
            (Distance::OtherHost, ranks.pow(2) - on_same_host),
        ];
        let classes = counts
            .into_iter()
            .filter(|&(_, pairs)| pairs > 0)
            .map(|(distance, pairs)| Class::new(config, distance, pairs));
        Self {
            ranks,
            classes: classes.collect(),
            pairs: pairs(config, places),
            refused: refused(config, ranks),
            hosts,
        }
    }
}

impl Class {
    fn new(config: &Config, distance: Distance, pairs: usize) -> Self {
        let carrier = Carrier::between(config, distance);
        Self {
            class: class(distance),
            pairs,
            link: carrier.name(),
            because: distance.setting().map(|key| Reason::of(config, key)),
            send: rows(config, carrier, false),
            synchronous_send: rows(config, carrier, true),
            thresholds: thresholds(config, carrier),
            carrier,
        }
    }
}

impl Reason {
    /// # Panics
    /// If there is no setting `key`.
    fn of(config: &Config, key: &'static str) -> Self {
        let entry = config.entries().find(|entry| entry.key == key);
        let entry = entry.expect("only settings decide");
        Self {
            setting: key,
            value: entry.value,
            origin: entry.origin.to_string(),
        }
    }
}

/// The thresholds between the ways that `carrier` has at all.
fn thresholds(config: &Config, carrier: Carrier) -> Vec<Threshold> {
    let rows = [false, true].map(|synchronous| rows(config, carrier, synchronous));
    let ways = rows
        .iter()
        .flatten()
        .flat_map(|row| [row.slice, row.shared_vector, row.loan_or_archive]);
    let ways: Vec<_> = ways.collect();
    let setting = |key| Some(Reason::of(config, key));
    let all = [
        Threshold {
            way: name(Protocol::Inline),
            from_bytes: None,
            up_to_bytes: carrier.inline_bytes(),
            because: None,
        },
        Threshold {
            way: name(Protocol::Eager),
            from_bytes: None,
            up_to_bytes: Some(config.protocol().eager_limit),
            because: setting("protocol.eager_limit"),
        },
        Threshold {
            way: name(Protocol::Pulled),
            from_bytes: Some(config.protocol().pull_limit),
            up_to_bytes: None,
            because: setting("protocol.pull_limit"),
        },
    ];
    all.into_iter()
        .filter(|threshold| ways.contains(&threshold.way))
        .collect()
}

/// Every ordered pair, if the ranks are few.
fn pairs(config: &Config, places: &[usize]) -> Vec<Pair> {
    if places.len() > FEW {
        return Vec::new();
    }
    let of = |from: usize, to: usize| {
        let distance = match () {
            () if from == to => Distance::SameRank,
            () if places[from] == places[to] => Distance::SameHost,
            () => Distance::OtherHost,
        };
        Pair {
            from,
            to,
            class: class(distance),
            link: Carrier::between(config, distance).name(),
        }
    };
    let ranks = 0..places.len();
    ranks
        .clone()
        .flat_map(|from| ranks.clone().map(move |to| (from, to)))
        .map(|(from, to)| of(from, to))
        .collect()
}

/// Why the job could not be started under these settings.
fn refused(config: &Config, ranks: usize) -> Option<String> {
    let is_inproc = Carrier::between(config, Distance::SameHost) == Carrier::Inproc;
    (is_inproc && ranks > 1).then(|| {
        let Reason { value, origin, .. } = Reason::of(config, "transport.same_host");
        format!(
            "transport.same_host is {value} ({origin}), which joins threads of one process only: set it to shm or quic for ranks that \
             are processes"
        )
    })
}

fn class(distance: Distance) -> &'static str {
    match distance {
        Distance::SameRank => "same-rank",
        Distance::SameHost => "same-host",
        _ => "other-host",
    }
}

/// As many columns as a terminal has room for.
const FEW: usize = 8;
