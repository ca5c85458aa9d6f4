//! Which rank runs on which host.

use super::HostSlots;

/// In which order hosts take ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapBy {
    /// A host is filled before the next one gets a rank, so that neighbours share memory.
    #[default]
    Slot,
    /// Each host gets one rank in turn.
    Node,
}

/// What to do with more ranks than slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overload {
    /// Refuse them.
    #[default]
    Refuse,
    /// Go round again, up to the limit of each host.
    Allow,
}

/// The host of each of `ranks` ranks, as an index into `hosts`.
///
/// # Errors
/// [`PlacementError`] when the hosts take fewer ranks.
///
/// # Examples
/// ```
/// use phalanx_wireup::hostlist::{MapBy, Overload, parse_list, place};
///
/// let hosts = parse_list("a:2,b:3")?;
/// assert_eq!(place(&hosts, 5, MapBy::Slot, Overload::Refuse)?, [0, 0, 1, 1, 1]);
/// assert_eq!(place(&hosts, 5, MapBy::Node, Overload::Refuse)?, [0, 1, 0, 1, 1]);
/// assert!(place(&hosts, 6, MapBy::Slot, Overload::Refuse).is_err());
/// assert_eq!(place(&hosts, 6, MapBy::Slot, Overload::Allow)?, [0, 0, 0, 1, 1, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn place(
    hosts: &[HostSlots],
    ranks: usize,
    map_by: MapBy,
    overload: Overload,
) -> Result<Vec<usize>, PlacementError> {
    let slots = total(hosts, |host| host.slots);
    if overload == Overload::Refuse && ranks > slots {
        return Err(PlacementError::Slots {
            ranks,
            slots,
            hosts: hosts.len(),
        });
    }
    let most = total(hosts, limit);
    if ranks > most {
        return Err(PlacementError::Limits {
            ranks,
            most,
            hosts: hosts.len(),
        });
    }
    let counts = counts(hosts, ranks, map_by);
    Ok(match map_by {
        MapBy::Slot => {
            let filled = counts.into_iter().enumerate();
            filled
                .flat_map(|(host, count)| std::iter::repeat_n(host, count))
                .collect()
        }
        MapBy::Node => in_turn(counts, ranks),
    })
}

/// Why ranks found no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// More ranks than slots.
    #[error(
        "{ranks} ranks do not fit into the {slots} slots of {hosts} hosts: start fewer ranks, name more slots \
         (HOST:SLOTS), or allow more ranks than slots"
    )]
    Slots {
        /// Ranks to be placed.
        ranks: usize,
        /// Slots of all hosts.
        slots: usize,
        /// Number of hosts.
        hosts: usize,
    },
    /// More ranks than the limits of the hosts allow.
    #[error(
        "{ranks} ranks are more than the {most} that {hosts} hosts take at most: start fewer ranks or raise max_slots"
    )]
    Limits {
        /// Ranks to be placed.
        ranks: usize,
        /// What all hosts take at most.
        most: usize,
        /// Number of hosts.
        hosts: usize,
    },
}

/// How many ranks each host gets. What is beyond the slots goes round again, in the same portions.
fn counts(hosts: &[HostSlots], ranks: usize, map_by: MapBy) -> Vec<usize> {
    let mut counts = vec![0_usize; hosts.len()];
    let mut left = ranks;
    let mut fill = |most: &dyn Fn(&HostSlots) -> u32| {
        loop {
            let before = left;
            for (count, host) in counts.iter_mut().zip(hosts) {
                let portion = match map_by {
                    MapBy::Slot => host.slots as usize,
                    MapBy::Node => 1,
                };
                let room = (most(host) as usize).saturating_sub(*count);
                let taken = portion.min(room).min(left);
                *count += taken;
                left -= taken;
            }
            if left == before {
                return;
            }
        }
    };
    fill(&|host| host.slots);
    fill(&limit);
    counts
}

/// One rank for each host in turn, until each has its count.
fn in_turn(mut counts: Vec<usize>, ranks: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(ranks);
    while order.len() < ranks {
        for (host, count) in counts.iter_mut().enumerate() {
            if *count > 0 {
                *count -= 1;
                order.push(host);
            }
        }
    }
    order
}

/// The ranks that a host takes when there are more ranks than slots.
fn limit(host: &HostSlots) -> u32 {
    host.max_slots.unwrap_or(u32::MAX)
}

fn total(hosts: &[HostSlots], of: impl Fn(&HostSlots) -> u32) -> usize {
    hosts
        .iter()
        .fold(0, |sum: usize, host| sum.saturating_add(of(host) as usize))
}
