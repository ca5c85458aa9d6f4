//! How the link behaves, and what that means to QUIC.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig};
use quinn_proto::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::congestion::LanConfig;
use super::error::QuicError;

/// Settings of a rank's link; its peers need not have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuicSettings {
    /// How long the card of a peer may take, which has to join the job first, before the peer counts as unreachable.
    pub card_deadline: Duration,
    /// How long a peer that was never reached is tried before it counts as unreachable.
    pub dial_deadline: Duration,
    /// How long a peer may be silent before it counts as unreachable.
    pub idle_timeout: Duration,
    /// After what silence a sign of life is sent; at most a quarter of [`Self::idle_timeout`].
    pub keep_alive: Duration,
    /// What decides how much may be under way.
    pub congestion: Congestion,
    /// The largest packet that is tried, in bytes of UDP payload; none is the largest that the interface takes. What the path carries
    /// is found out from 1200 upwards.
    pub largest_packet: Option<u16>,
    /// Bytes of messages that wait for one peer, here, on the way and there until it polls, before the sender hears "no room now".
    pub queue: usize,
    /// Bytes of a part of a large message.
    pub chunk: usize,
    /// Parts of large messages that may be under way at a time.
    pub chunks: usize,
    /// Bytes of socket buffer to ask the system for; it may grant fewer.
    pub socket_buffer: usize,
    /// Peers that send much at the same time, among which the socket's buffer is shared out.
    pub senders: usize,
    /// How long the program may stay outside the library before a thread stands in for it.
    pub tick: Duration,
    /// Most peers, never talked to before, that a leaving rank connects to only to tell them that it leaves. Where its directory reports
    /// departures it connects to none.
    pub farewells: usize,
}

/// What decides how much may be under way on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// Loss behind a queue costs much, any other little: for networks that one owner runs.
    #[default]
    Lan,
    /// Loss costs much, time restores it: fair, and slow where packets are lost at random.
    Cubic,
    /// By measured bandwidth and delay; holds its speed under random loss, and takes more than its share. Called experimental by its
    /// authors.
    Bbr,
    /// The oldest and simplest.
    NewReno,
}

impl Default for QuicSettings {
    fn default() -> Self {
        Self {
            card_deadline: Duration::from_secs(60),
            dial_deadline: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(2),
            congestion: Congestion::Lan,
            largest_packet: None,
            queue: 1 << 20,
            chunk: 64 << 10,
            chunks: 32,
            socket_buffer: 4 << 20,
            senders: 1,
            tick: Duration::from_millis(1),
            farewells: usize::MAX,
        }
    }
}

impl QuicSettings {
    pub(super) fn check(&self) -> Result<(), QuicError> {
        let refuse = |name, value: &dyn std::fmt::Debug, cure| {
            Err(QuicError::Setting {
                name,
                value: format!("{value:?}"),
                cure,
            })
        };
        if self.keep_alive * 4 > self.idle_timeout {
            let cure = "at most a quarter of the idle time-out, so that a lost sign of life is not taken for death";
            return refuse("the keep-alive interval", &self.keep_alive, cure);
        }
        if let Some(size) = self.largest_packet
            && !(SMALLEST_PACKET..=LARGEST_PACKET).contains(&size)
        {
            return refuse("the largest packet", &size, "1200 to 65507");
        }
        if self.chunk < 4096 || self.chunks == 0 {
            return refuse(
                "a part of a large message",
                &self.chunk,
                "at least 4096 bytes, and at least one part",
            );
        }
        if self.idle_timeout > Duration::from_secs(86_400) {
            return refuse("the idle time-out", &self.idle_timeout, "at most a day");
        }
        if self.tick.is_zero() {
            return refuse("the tick", &self.tick, "more than nothing");
        }
        Ok(())
    }

    /// What a connection to another host is told, whose interface takes packets of `largest` bytes, given a socket buffer of `granted`.
    pub(super) fn transport(&self, granted: usize, largest: u16) -> TransportConfig {
        let window = window(granted, self.senders);
        let mut config = TransportConfig::default();
        config
            .initial_mtu(SMALLEST_PACKET)
            .min_mtu(SMALLEST_PACKET)
            .mtu_discovery_config(Some(self.discovery(largest)))
            .stream_receive_window(window.into())
            // As much as both streams together, so that unread bulk never takes the room of small messages.
            .receive_window(self.receive_window(granted))
            .send_window(4 * u64::from(window))
            .send_fairness(false)
            .max_concurrent_uni_streams(2_u32.into())
            .max_concurrent_bidi_streams(0_u32.into())
            .datagram_receive_buffer_size(None)
            .initial_rtt(INITIAL_RTT)
            .max_idle_timeout(IdleTimeout::try_from(self.idle_timeout).ok())
            .keep_alive_interval(Some(self.keep_alive))
            .ack_frequency_config(Some(acknowledgements()))
            .allow_spin(false)
            .enable_segmentation_offload(true)
            .congestion_controller_factory(self.congestion.factory());
        config
    }

    /// Bytes that a peer may send on a connection ahead of its reader.
    pub(super) fn receive_window(&self, granted: usize) -> VarInt {
        (2 * window(granted, self.senders)).into()
    }

    /// As [`Self::transport`], to a rank of this host: there is nothing to find out.
    pub(super) fn transport_home(&self, granted: usize, largest: u16) -> TransportConfig {
        let size = self
            .largest_packet
            .map_or(largest, |size| size.min(largest));
        let mut config = self.transport(granted, largest);
        // What falls back after losses must not fall to the size for paths that nobody knows. The first packets of a connection are
        // padded to it.
        config.initial_mtu(size).min_mtu(size.min(LARGEST_PADDING));
        config
    }

    fn discovery(&self, largest: u16) -> MtuDiscoveryConfig {
        let mut config = MtuDiscoveryConfig::default();
        config.upper_bound(self.largest_packet.unwrap_or(largest));
        // What looks like a path that lost its size is a full receive buffer nearly always: look again soon.
        config.black_hole_cooldown(Duration::from_secs(5));
        config
    }
}

impl Congestion {
    /// With an initial window of 1 MiB. The usual 12 kB are for paths whose capacity is unknown and shared with the world; between
    /// the hosts of a job they cost seven round trips before a large message flows.
    fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Lan => Arc::new(LanConfig {
                initial_window: INITIAL_WINDOW,
            }),
            Self::Cubic => {
                let mut config = CubicConfig::default();
                config.initial_window(INITIAL_WINDOW);
                Arc::new(config)
            }
            Self::Bbr => {
                let mut config = BbrConfig::default();
                config.initial_window(INITIAL_WINDOW);
                Arc::new(config)
            }
            Self::NewReno => {
                let mut config = NewRenoConfig::default();
                config.initial_window(INITIAL_WINDOW);
                Arc::new(config)
            }
        }
    }
}

/// One acknowledgement for eleven packets of bulk, and at most 1 ms after the first. The delay is part of every time-out of the
/// sender: with the usual 25 ms a lost small message costs 15 ms, with this one 3.
fn acknowledgements() -> AckFrequencyConfig {
    let mut config = AckFrequencyConfig::default();
    config
        .ack_eliciting_threshold(10_u32.into())
        .max_ack_delay(Some(Duration::from_millis(1)));
    config
}

/// Bytes that a peer may send on each of its two streams ahead of their reader. More than the socket's buffer holds is lost when the
/// reader is late, and a loss of that kind looks like a path that does not carry the packet's size: 2 MiB over a buffer of 208 KiB
/// lost 3810 packets and fell back to packets of 1200 bytes. The system grants twice what it says, for its own books.
fn window(granted: usize, senders: usize) -> u32 {
    let share = granted / 2 / senders.max(1);
    (share / 2).clamp(16 << 10, 1 << 20) as u32
}

/// A code for the end of a connection.
pub(super) const fn code(number: u32) -> VarInt {
    VarInt::from_u32(number)
}

/// What every path of the internet carries.
pub(super) const SMALLEST_PACKET: u16 = 1200;
/// What UDP over IPv4 can carry at all.
pub(super) const LARGEST_PACKET: u16 = 65_507;
/// To what the first packets of a connection are padded at most.
const LARGEST_PADDING: u16 = 8192;
/// The first retransmission comes after three of these: 30 ms instead of the usual second. A peer whose socket is a moment late
/// costs a tenth of a second.
const INITIAL_RTT: Duration = Duration::from_millis(10);
const INITIAL_WINDOW: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_fit_into_what_the_socket_was_granted() {
        assert_eq!(window(8 << 20, 1), 1 << 20);
        assert_eq!(window(425_984, 1), 106_496);
        assert_eq!(window(8 << 20, 16), 128 << 10);
        assert_eq!(window(0, 0), 16 << 10);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let refused = |change: fn(&mut QuicSettings)| {
            let mut settings = QuicSettings::default();
            settings.check().unwrap();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        assert!(
            refused(|settings| settings.keep_alive = Duration::from_secs(3)).contains("quarter")
        );
        assert!(refused(|settings| settings.largest_packet = Some(1199)).contains("1200"));
        assert!(refused(|settings| settings.largest_packet = Some(65_508)).contains("65507"));
        assert!(refused(|settings| settings.chunks = 0).contains("one part"));
        assert!(refused(|settings| settings.tick = Duration::ZERO).contains("tick"));
    }
}
