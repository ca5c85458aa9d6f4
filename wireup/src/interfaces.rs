//! Which addresses of this host to offer to ranks on others, the best first.
//!
//! A host has more addresses than are of use: those of bridges for containers and virtual machines look like any other but
//! lead nowhere. They come last, so that they are still tried where a host has nothing else. The choice is a pure function of
//! the list of interfaces; [`list`] alone asks the system.
//!
//! | | Interfaces | Why there |
//! |---|---|---|
//! | 1 | loopback, where all ranks are on one host | nothing is nearer; elsewhere it is left out |
//! | 2 | all that are not below | |
//! | 3 | tunnels: `tun*` `tap*` `wg*` `ppp*` `tailscale*` | they reach other hosts, by a detour |
//! | 4 | bridges and their ends: `docker*` `br-*` `virbr*` `veth*` and the like | they mostly end on this host |
//!
//! Among equals IPv4 comes first, self-assigned IPv4 addresses (169.254.0.0/16) last. An IPv6 address of the link (`fe80::`)
//! is never offered: it means nothing without the number that the *other* host gives to its interface.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

mod system;
#[cfg(test)]
mod tests;

pub use system::list;

/// One address of one interface.
///
/// # Examples
/// ```
/// use phalanx_wireup::interfaces::Interface;
///
/// let interface = Interface::new("eth0", "192.0.2.7".parse()?);
/// assert!(interface.is_up && !interface.is_loopback);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// The name of the interface.
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// Whether it is switched on and connected.
    pub is_up: bool,
    /// Whether it leads back to this host.
    pub is_loopback: bool,
}

impl Interface {
    /// An interface that is up and leads to other hosts.
    #[must_use]
    pub fn new(name: &str, address: IpAddr) -> Self {
        Self {
            name: name.to_owned(),
            address,
            is_up: true,
            is_loopback: false,
        }
    }
}

/// Where the ranks are that shall reach this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// All on this host.
    ThisHost,
    /// On other hosts too.
    OtherHosts,
}

/// The addresses to offer, the best first.
///
/// With a `selection` of the user only addresses that fit it, in its order; then also those of loopback.
///
/// # Errors
/// [`NoAddress`] when nothing is left.
///
/// # Examples
/// ```
/// use phalanx_wireup::interfaces::{Interface, Reach, candidates};
///
/// let interfaces = [
///     Interface::new("docker0", "172.17.0.1".parse()?),
///     Interface::new("eth0", "192.0.2.7".parse()?),
/// ];
/// let addresses = candidates(&interfaces, Reach::OtherHosts, None)?;
/// assert_eq!(addresses, [interfaces[1].address, interfaces[0].address]);
///
/// let selection = "172.16.0.0/12".parse()?;
/// let addresses = candidates(&interfaces, Reach::OtherHosts, Some(&selection))?;
/// assert_eq!(addresses, [interfaces[0].address]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn candidates(
    interfaces: &[Interface],
    reach: Reach,
    selection: Option<&Selection>,
) -> Result<Vec<IpAddr>, NoAddress> {
    let usable = interfaces
        .iter()
        .filter(|interface| interface.is_up && can_be_offered(interface.address));
    let mut ranked: Vec<_> = usable
        .filter_map(|interface| {
            let chosen = match selection {
                Some(selection) => selection.position(interface)?,
                None if interface.is_loopback && reach == Reach::OtherHosts => return None,
                None => 0,
            };
            Some(((chosen, preference(interface)), interface.address))
        })
        .collect();
    // Stable, so that equals keep the order of the system.
    ranked.sort_by_key(|(key, _)| *key);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (_, address) in ranked {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(NoAddress {
            selection: selection.cloned(),
            found: interfaces.to_vec(),
        });
    }
    Ok(addresses)
}

/// Which interfaces the user wants: names, a beginning of names (`ib*`), addresses or networks, separated by commas.
///
/// # Examples
/// ```
/// use phalanx_wireup::interfaces::Selection;
///
/// assert!("ib*,10.1.0.0/16,fd00::/8".parse::<Selection>().is_ok());
/// let error = "eth0,10.1.0.0/33".parse::<Selection>().unwrap_err();
/// assert!(error.to_string().starts_with("\"10.1.0.0/33\" is neither"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Name(String),
    Beginning(String),
    Network(IpNet),
}

impl Selection {
    /// Which of the patterns fits first.
    fn position(&self, interface: &Interface) -> Option<usize> {
        self.patterns.iter().position(|pattern| match pattern {
            Pattern::Name(name) => interface.name == *name,
            Pattern::Beginning(name) => interface.name.starts_with(name),
            Pattern::Network(network) => network.contains(&interface.address),
        })
    }
}

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let patterns = text.split(',').map(|item| {
            let item = item.trim();
            let refused = || SelectionError {
                item: item.to_owned(),
            };
            if let Ok(address) = item.parse::<IpAddr>() {
                return Ok(Pattern::Network(address.into()));
            }
            if item.contains('/') {
                return item.parse().map(Pattern::Network).map_err(|_| refused());
            }
            let (name, is_beginning) = match item.strip_suffix('*') {
                Some(name) => (name, true),
                None => (item, false),
            };
            let is_name = |character: char| character.is_ascii_graphic() && character != '*';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(refused());
            }
            let name = name.to_owned();
            Ok(if is_beginning {
                Pattern::Beginning(name)
            } else {
                Pattern::Name(name)
            })
        });
        let patterns = patterns.collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.patterns.iter().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            match pattern {
                Pattern::Name(name) => f.write_str(name)?,
                Pattern::Beginning(name) => write!(f, "{name}*")?,
                Pattern::Network(network) => network.fmt(f)?,
            }
        }
        Ok(())
    }
}

/// An item of a selection that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{item:?} is neither the name of an interface nor a network: write names, beginnings of names and networks such as \
     eth0,ib*,10.1.0.0/16"
)]
pub struct SelectionError {
    item: String,
}

/// No address is left to be offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAddress {
    selection: Option<Selection>,
    found: Vec<Interface>,
}

impl std::error::Error for NoAddress {}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selection {
            Some(selection) => write!(f, "no address of this host fits {selection}")?,
            None => f.write_str("this host has no address that other hosts could reach")?,
        }
        for (index, interface) in self.found.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { ": it has " })?;
            write!(f, "{} {}", interface.name, interface.address)?;
            if !interface.is_up {
                f.write_str(" (down)")?;
            }
        }
        f.write_str("; name an interface that is up, or bring one up")
    }
}

/// The lower, the better.
fn preference(interface: &Interface) -> (u8, bool, bool) {
    let begins = |names: &[&str]| names.iter().any(|name| interface.name.starts_with(name));
    let class = if interface.is_loopback {
        0
    } else if begins(&BRIDGES) {
        3
    } else if begins(&TUNNELS) {
        2
    } else {
        1
    };
    let (is_self_assigned, is_v6) = match interface.address {
        IpAddr::V4(address) => (address.is_link_local(), false),
        IpAddr::V6(_) => (false, true),
    };
    (class, is_self_assigned, is_v6)
}

fn can_be_offered(address: IpAddr) -> bool {
    let is_of_the_link = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    !(is_of_the_link || address.is_unspecified() || address.is_multicast())
}

/// Names that container engines, virtual machines and cluster networks give to what they make.
const BRIDGES: [&str; 12] = [
    "docker", "br-", "virbr", "veth", "vnet", "cni", "flannel", "cali", "lxc", "lxdbr", "podman",
    "kube",
];

const TUNNELS: [&str; 5] = ["tun", "tap", "wg", "ppp", "tailscale"];
