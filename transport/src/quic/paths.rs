//! What the interfaces of this host carry in one packet.
//!
//! A packet that is larger than the interface takes is refused by the kernel, so there is no use in trying. What the network behind it
//! carries is for QUIC to find out. Ranks of one host, by whatever address of it, talk over the loopback interface, which carries all
//! that UDP can: an eighth of the packets, and a fifth more bandwidth than with jumbo frames.

use std::fs;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::settings::{LARGEST_PACKET, SMALLEST_PACKET};

/// The interfaces by which a socket sends.
#[derive(Debug)]
pub(super) struct Paths {
    /// Addresses of this host.
    own: Vec<IpAddr>,
    /// The largest packet to another host.
    abroad: u16,
    /// The largest packet to this one.
    home: u16,
}

impl Paths {
    /// Those of a socket that is bound to `bound`.
    pub(super) fn of(bound: IpAddr) -> Self {
        let mut paths = Self {
            own: Vec::new(),
            abroad: SMALLEST_PACKET,
            home: SMALLEST_PACKET,
        };
        // A system that does not tell has its paths tried up to jumbo frames.
        let Ok(interfaces) = getifaddrs() else {
            paths.abroad = JUMBO;
            return paths;
        };
        for interface in interfaces {
            let Some(address) = interface.address.as_ref().and_then(ip) else {
                continue;
            };
            paths.own.push(address);
            let largest = largest(&interface.interface_name, address);
            if interface.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
                paths.home = paths.home.max(largest);
            } else if bound.is_unspecified() || bound == address {
                paths.abroad = paths.abroad.max(largest);
            }
        }
        paths
    }

    /// Whether `peer` is on this host.
    pub(super) fn is_home(&self, peer: IpAddr) -> bool {
        peer.is_loopback() || self.own.contains(&peer)
    }

    /// The largest packet to another host.
    pub(super) fn abroad(&self) -> u16 {
        self.abroad
    }

    /// The largest packet to a rank of this host.
    pub(super) fn home(&self) -> u16 {
        self.home
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let old = address.as_sockaddr_in().map(|old| old.ip().into());
    old.or_else(|| address.as_sockaddr_in6().map(|new| new.ip().into()))
}

/// The largest UDP payload that the interface takes.
fn largest(interface: &str, address: IpAddr) -> u16 {
    let text = fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).unwrap_or_default();
    let Ok(size) = text.trim().parse::<usize>() else {
        return JUMBO;
    };
    let heads = if address.is_ipv4() { 28 } else { 48 };
    let most = usize::from(LARGEST_PACKET);
    size.saturating_sub(heads)
        .clamp(SMALLEST_PACKET.into(), most) as u16
}

/// Payload of a packet that fills a frame of 9000 bytes.
const JUMBO: u16 = 8972;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_carries_more_than_a_network() {
        let paths = Paths::of("127.0.0.1".parse().unwrap());
        assert!(paths.is_home("127.0.0.1".parse().unwrap()));
        assert!(paths.is_home("127.8.8.8".parse().unwrap()));
        assert!(!paths.is_home("192.0.2.1".parse().unwrap()));
        assert!(
            (16_000..=LARGEST_PACKET).contains(&paths.home()),
            "{paths:?}"
        );
        assert!(paths.own.iter().all(|&own| paths.is_home(own)));
    }

    #[test]
    fn an_interface_that_does_not_tell_is_tried_up_to_jumbo_frames() {
        assert_eq!(
            largest("no-such-interface", "192.0.2.1".parse().unwrap()),
            JUMBO
        );
    }
}
