//! Congestion control for networks that one owner runs, with short paths and few losses that mean anything.
//!
//! Cubic and Reno take each loss for a full queue. Over a link that loses one packet in a hundred for reasons of its own they come to a
//! standstill, whatever room there is. A full queue shows twice, though: packets are lost, and those that arrive were late. So a loss
//! after a round trip in which the queues were short costs little, and one after a long queue costs what it costs Cubic. The idea is that of
//! TCP Veno (C. P. Fu, S. C. Liew, "TCP Veno: TCP enhancement for transmission over wireless access networks", IEEE JSAC 21(2), 2003); what
//! tells the two apart here is the shortest round trip since the last look, since acknowledgements that were late by chance say nothing.
//!
//! The window begins at 1 MiB, as every window here does: within a round trip of 100 us nothing is left to be found out by a slow start.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};

/// Makes a [`Lan`] for each path.
#[derive(Debug)]
pub(super) struct LanConfig {
    /// Bytes that may be under way at first.
    pub(super) initial_window: u64,
}

impl ControllerFactory for LanConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Lan {
            initial: self.initial_window,
            window: self.initial_window,
            mtu: u64::from(mtu),
            acknowledged: 0,
            reduced: now,
            round: Round::default(),
        })
    }
}

/// The state of a path.
#[derive(Clone, Debug)]
struct Lan {
    initial: u64,
    window: u64,
    mtu: u64,
    /// Bytes acknowledged since the window grew.
    acknowledged: u64,
    /// When the window was reduced: what was sent before says nothing about the window after.
    reduced: Instant,
    round: Round,
}

/// The shortest round trips, from which the length of queues follows.
#[derive(Clone, Debug, Default)]
struct Round {
    /// Since this round began, and in the one before.
    shortest: [Option<Duration>; 2],
    /// When the next begins.
    end: Option<Instant>,
    /// Ever.
    best: Option<Duration>,
}

impl Round {
    fn measure(&mut self, now: Instant, rtt: Duration, smoothed: Duration) {
        if self.end.is_none_or(|end| end <= now) {
            self.shortest = [None, self.shortest[0]];
            self.end = Some(now + smoothed);
        }
        for shortest in [&mut self.shortest[0], &mut self.best] {
            *shortest = Some(shortest.map_or(rtt, |shortest| shortest.min(rtt)));
        }
    }

    /// Whether packets that arrive now have waited in queues.
    fn is_queueing(&self) -> bool {
        let lately = self.shortest.iter().flatten().min();
        lately
            .zip(self.best)
            .is_some_and(|(&lately, best)| lately > best + best / 4 + SLACK)
    }
}

impl Lan {
    fn smallest(&self) -> u64 {
        2 * self.mtu
    }

    /// Takes note that `bytes` have arrived, which were sent then.
    fn grow(&mut self, sent: Instant, bytes: u64) {
        if sent <= self.reduced {
            return;
        }
        self.acknowledged += bytes;
        if self.acknowledged >= self.window {
            self.acknowledged -= self.window;
            self.window += GROWTH * self.mtu;
        }
    }
}

impl Controller for Lan {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.round.measure(now, now - sent, rtt.get());
        if !app_limited {
            self.grow(sent, bytes);
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent: bool,
        lost_bytes: u64,
    ) {
        // One reduction for each round trip, as losses come in bursts.
        if sent <= self.reduced {
            return;
        }
        self.reduced = now;
        self.acknowledged = 0;
        // No bytes are lost where a router only marks them, which it does because its queue is long.
        let is_full = lost_bytes == 0 || self.round.is_queueing();
        self.window = match (is_persistent, is_full) {
            (true, _) => 0,
            (false, true) => self.window / 10 * 7,
            (false, false) => self.window - self.window / 16,
        };
        self.window = self.window.max(self.smallest());
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.mtu = u64::from(mtu);
        self.window = self.window.max(self.smallest());
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window;
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.initial
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Packets by which the window grows each round trip. With a loss of one in a hundred, each of which costs a sixteenth, some hundred packets
/// are under way then.
const GROWTH: u64 = 8;
/// What a round trip may vary by without any queue: a host that acknowledges late, or was not given its processor.
const SLACK: Duration = Duration::from_micros(500);

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1452;
    const RTT: Duration = Duration::from_millis(1);

    /// A path whose packets come back after `delay`, of which so many of the last are lost.
    struct Path {
        lan: Lan,
        now: Instant,
    }

    impl Path {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                lan: Lan {
                    initial: 64 * MTU,
                    window: 64 * MTU,
                    mtu: MTU,
                    acknowledged: 0,
                    reduced: now,
                    round: Round::default(),
                },
                now,
            }
        }

        /// A window of packets goes out and comes back after `delay`; `lost` tells whether one of them does not.
        fn round(&mut self, delay: Duration, lost: bool) {
            let sent = self.now + Duration::from_micros(1);
            self.now = sent + delay;
            for _ in 0..self.lan.window / MTU {
                self.lan.round.measure(self.now, delay, delay);
                self.lan.grow(sent, MTU);
            }
            if lost {
                self.lan.on_congestion_event(self.now, sent, false, MTU);
            }
        }
    }

    #[test]
    fn a_loss_without_a_queue_costs_little_and_one_behind_a_queue_much() {
        let (mut idle, mut full) = (Path::new(), Path::new());
        for _ in 0..10 {
            idle.round(RTT, false);
            full.round(RTT, false);
        }
        let before = idle.lan.window;
        assert_eq!(before, (64 + 10 * GROWTH) * MTU);
        idle.round(RTT, true);
        assert!(idle.lan.window > before * 15 / 16);
        for _ in 0..2 {
            full.round(4 * RTT, false);
        }
        let before = full.lan.window;
        full.round(4 * RTT, true);
        assert!(full.lan.window < before * 3 / 4);
    }

    #[test]
    fn a_loss_in_a_hundred_leaves_a_hundred_packets_under_way() {
        let mut path = Path::new();
        let (mut total, mut under_way) = (0.0, 0);
        for _ in 0..2000 {
            // As many losses as there would be, one round trip after the other.
            let packets = (path.lan.window / MTU) as f64;
            total += 1.0 - 0.99_f64.powf(packets);
            let lost = total >= 1.0;
            total -= f64::from(u8::from(lost));
            path.round(RTT, lost);
            under_way += path.lan.window / MTU;
        }
        let packets = under_way / 2000;
        assert!((80..160).contains(&packets), "{packets}");
    }

    #[test]
    fn one_round_trip_costs_one_reduction_and_the_window_never_closes() {
        let mut path = Path::new();
        path.round(RTT, false);
        let sent = path.now;
        path.now += RTT;
        path.lan.on_congestion_event(path.now, sent, false, MTU);
        let once = path.lan.window;
        path.lan.on_congestion_event(path.now, sent, false, MTU);
        assert_eq!(path.lan.window, once);
        path.lan
            .on_congestion_event(path.now + RTT, path.now + RTT, true, MTU);
        assert_eq!(path.lan.window, 2 * MTU);
    }

    #[test]
    fn marks_are_believed() {
        let mut path = Path::new();
        path.round(RTT, false);
        let before = path.lan.window;
        path.lan
            .on_congestion_event(path.now + RTT, path.now, false, 0);
        assert_eq!(path.lan.window, before / 10 * 7);
    }
}
