//! This rank's place on the network: where it listens, and which addresses it tells others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use phalanx_transport::quic::{Identity, QuicError, QuicSettings, QuicSocket};
use phalanx_wireup::interfaces::{self, Interface, Reach};

use crate::config::NetworkSettings;
use crate::error::JoinError;

/// Binds a socket for `identity`. Returns it with the addresses to tell others, the best first; `reached` is one by which others have
/// come to this host.
pub(crate) fn bind(
    identity: &Identity,
    reached: Option<IpAddr>,
    settings: &NetworkSettings,
) -> Result<(QuicSocket, Vec<SocketAddr>), JoinError> {
    let interfaces =
        interfaces::list().map_err(JoinError::system("list the interfaces of this host"))?;
    let mut offered = addresses(&interfaces, reached, settings)?;
    let bind = |address: IpAddr| {
        QuicSocket::bind(
            identity.clone(),
            SocketAddr::new(address, 0),
            quic_settings(settings),
        )
    };
    let socket = match offered[..] {
        // Nobody else has to be able to knock.
        [only] => bind(only)?,
        _ if offered.iter().any(IpAddr::is_ipv6) => match bind(Ipv6Addr::UNSPECIFIED.into()) {
            // The system may have addresses of a kind that it does not let anybody use.
            Err(QuicError::Bind { .. }) if offered.iter().any(IpAddr::is_ipv4) => {
                offered.retain(IpAddr::is_ipv4);
                bind(Ipv4Addr::UNSPECIFIED.into())?
            }
            bound => bound?,
        },
        _ => bind(Ipv4Addr::UNSPECIFIED.into())?,
    };
    let port = socket.address().port();
    let offered = offered
        .into_iter()
        .map(|address| SocketAddr::new(address, port));
    Ok((socket, offered.collect()))
}

/// The addresses to offer. One of loopback by which this host was reached means that all ranks are on this host.
fn addresses(
    interfaces: &[Interface],
    reached: Option<IpAddr>,
    settings: &NetworkSettings,
) -> Result<Vec<IpAddr>, JoinError> {
    let selection = settings.interfaces.as_ref();
    let nearby = reached.filter(IpAddr::is_loopback);
    if let (Some(address), None) = (nearby, selection) {
        return Ok(vec![address]);
    }
    let reach = if nearby.is_some() {
        Reach::ThisHost
    } else {
        Reach::OtherHosts
    };
    let mut offered = interfaces::candidates(interfaces, reach, selection)?;
    // What has worked once is better than what might, unless the user knows better.
    if let Some(place) = offered.iter().position(|&address| Some(address) == reached)
        && selection.is_none()
    {
        offered[..=place].rotate_right(1);
    }
    Ok(offered)
}

fn quic_settings(settings: &NetworkSettings) -> QuicSettings {
    let mut quic = QuicSettings::default();
    quic.dial_deadline = settings.dial_deadline;
    quic.idle_timeout = settings.idle_timeout;
    quic.keep_alive = (settings.idle_timeout / 5).min(LONGEST_SILENCE);
    quic.congestion = settings.congestion;
    quic.largest_packet = settings.largest_packet;
    quic.socket_buffer = usize::try_from(settings.socket_buffer).unwrap_or(usize::MAX);
    quic.tick = settings.tick;
    quic
}

/// Between two signs of life: short enough for what stands between hosts and forgets who talked through it.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> Vec<Interface> {
        let mut loopback = Interface::new("lo", Ipv4Addr::LOCALHOST.into());
        loopback.is_loopback = true;
        vec![
            loopback,
            Interface::new("docker0", Ipv4Addr::new(172, 17, 0, 1).into()),
            Interface::new("eth0", Ipv4Addr::new(192, 0, 2, 7).into()),
            Interface::new("eth1", Ipv4Addr::new(10, 0, 0, 7).into()),
        ]
    }

    fn offered(reached: Option<[u8; 4]>, selection: Option<&str>) -> Vec<String> {
        let settings = NetworkSettings {
            interfaces: selection.map(|text| text.parse().unwrap()),
            ..NetworkSettings::default()
        };
        let offered = addresses(&interfaces(), reached.map(IpAddr::from), &settings).unwrap();
        offered.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn where_the_launcher_came_in_is_offered_first() {
        let all = ["192.0.2.7", "10.0.0.7", "172.17.0.1"];
        assert_eq!(offered(None, None), all);
        assert_eq!(offered(Some([10, 0, 0, 7]), None), [all[1], all[0], all[2]]);
        assert_eq!(
            offered(Some([198, 51, 100, 1]), None),
            all,
            "an address of somebody in between"
        );
    }

    #[test]
    fn a_host_reached_by_loopback_offers_that_alone() {
        assert_eq!(offered(Some([127, 0, 0, 2]), None), ["127.0.0.2"]);
        assert_eq!(
            offered(Some([127, 0, 0, 1]), Some("eth0,lo")),
            ["192.0.2.7", "127.0.0.1"]
        );
    }

    #[test]
    fn the_word_of_the_user_is_the_last() {
        assert_eq!(
            offered(Some([192, 0, 2, 7]), Some("10.0.0.0/8")),
            ["10.0.0.7"]
        );
        let settings = NetworkSettings {
            interfaces: Some("ib0".parse().unwrap()),
            ..NetworkSettings::default()
        };
        let error = addresses(&interfaces(), None, &settings).unwrap_err();
        assert!(error.to_string().contains("ib0"), "{error}");
    }
}
