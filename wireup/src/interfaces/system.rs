//! The one place that asks the system for its interfaces.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::Interface;

/// The interfaces of this host in the system's order, one entry for each address.
///
/// # Errors
/// When the system does not tell.
///
/// # Examples
/// ```
/// use phalanx_wireup::interfaces::{Reach, candidates, list};
///
/// // Loopback at least is always there.
/// assert!(candidates(&list()?, Reach::ThisHost, None).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn list() -> io::Result<Vec<Interface>> {
    let addresses = getifaddrs()?.filter_map(|found| {
        let address = found.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let v6 = || address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
        let is_up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        Some(Interface {
            name: found.interface_name,
            address: v4.or_else(v6)?,
            is_up: found.flags.contains(is_up),
            is_loopback: found.flags.contains(InterfaceFlags::IFF_LOOPBACK),
        })
    });
    Ok(addresses.collect())
}
