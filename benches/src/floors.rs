//! What all probes of a run come to: a line or two below the tables, records in the file.

use phalanx::config::show_size;
use serde::{Deserialize, Serialize};

use crate::floor::Taken;
use crate::network::WRITE;
use crate::record::{Floor, Record, Row};
use crate::statistics::{Summary, percentile};
use crate::table::{digits, time};
use crate::task::{Mode, Test, Transport};

/// Every probe, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Floors {
    /// A cache line one way.
    pub line: Vec<f64>,
    /// A datagram of 8 bytes one way.
    pub udp: Vec<f64>,
    /// 8 bytes of a TCP stream one way.
    pub tcp: Vec<f64>,
    /// Each write of a mebibyte to a TCP stream.
    pub stream: Vec<f64>,
}

impl Floors {
    pub(crate) fn push(&mut self, taken: Taken) {
        match taken {
            Taken::Line(line) => self.line.extend(line),
            Taken::Network { udp, tcp } => {
                self.udp.extend(udp);
                self.tcp.push(tcp);
            }
        }
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.line.extend(more.line);
        self.udp.extend(more.udp);
        self.tcp.extend(more.tcp);
        self.stream.extend(more.stream);
    }

    /// What is said of them below the tables.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some([low, high]) = range(&self.line) {
            lines.push(format!(
                "floor: a cache line one way; it moved between {low:.0} and {high:.0} ns"
            ));
        }
        let network = [("UDP", &self.udp), ("TCP", &self.tcp)];
        let found = network.iter().filter_map(|(name, times)| {
            let median = Summary::of(times)?.median;
            let [low, high] = range(times)?.map(|time| digits(Some(time / 1e3)));
            Some(format!("{name} {} ({low} to {high})", time(Some(median))))
        });
        let found: Vec<_> = found.collect();
        if !found.is_empty() {
            lines.push(format!(
                "floor of quic: 8B one way by {}",
                found.join(", by ")
            ));
        }
        lines
    }

    /// Those of the network as records of their own.
    pub(crate) fn records(&self) -> Vec<Record> {
        let latency = |floor, times| Record::of_floor((Test::Latency, floor), 8, times);
        let records = [
            latency(Floor::Udp, &self.udp),
            latency(Floor::Tcp, &self.tcp),
            Record::of_floor((Test::Bandwidth, Floor::Tcp), WRITE, &self.stream),
        ];
        records.into_iter().flatten().collect()
    }

    /// The raw stream beside the streams over QUIC among `rows`: those of messages as large as its writes, or of the largest.
    pub(crate) fn beside_quic(&self, rows: &[Row]) -> Option<String> {
        let tcp = Record::of_floor((Test::Bandwidth, Floor::Tcp), WRITE, &self.stream)?.mb_per_s?;
        let of_quic = rows.iter().map(|row| &row.record).filter(|record| {
            record.test == Test::Bandwidth
                && record.transport == Transport::Quic.into()
                && record.mode == Some(Mode::Copy)
        });
        let quic = of_quic.max_by_key(|record| (record.bytes == Some(WRITE), record.bytes))?;
        let (bytes, rate) = (quic.bytes?, quic.mb_per_s?);
        Some(format!(
            "  TCP: {} GB/s in one stream of 1MiB writes; quic at {}: {:.0} % of it\n",
            digits(Some(tcp / 1e3)),
            show_size(bytes as u64),
            100.0 * rate / tcp
        ))
    }
}

/// Without the twentieth at either end: a probe during which a core was lost says nothing about the cores.
fn range(times: &[f64]) -> Option<[f64; 2]> {
    if times.is_empty() {
        return None;
    }
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some([5, 95].map(|percent| percentile(&sorted, percent)))
}
