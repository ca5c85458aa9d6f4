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
            lines.push(format!("floor of quic: 8B by {}", found.join(", by ")));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sample;
    use crate::selection::Selection;

    fn floors() -> Floors {
        Floors {
            line: vec![50.0, 60.0],
            udp: vec![8000.0, 9000.0, 8400.0],
            tcp: vec![10_000.0; 3],
            stream: vec![(1 << 20) as f64 / 2.0; 3],
        }
    }

    #[test]
    fn each_floor_has_its_line_and_its_records() {
        let floors = floors();
        assert_eq!(
            floors.lines(),
            [
                "floor: a cache line one way; it moved between 50 and 60 ns",
                "floor of quic: 8B by UDP 8.40 us (8.00 to 9.00), by TCP 10.0 us (10.0 to 10.0)",
            ]
        );
        assert!(floors.lines().iter().all(|line| line.len() <= 80));
        let lines = floors.records();
        let lines: Vec<_> = lines
            .iter()
            .map(|record| serde_json::to_string(record).unwrap())
            .collect();
        assert_eq!(
            lines,
            [
                r#"{"test":"latency","transport":"udp","mode":null,"bytes":8,"ranks":2,"p50_ns":8400.0,"p99_ns":9000.0,"min_ns":8000.0,"mb_per_s":null,"msgs_per_s":null,"floor_ns":null,"samples":3}"#,
                r#"{"test":"latency","transport":"tcp","mode":null,"bytes":8,"ranks":2,"p50_ns":10000.0,"p99_ns":10000.0,"min_ns":10000.0,"mb_per_s":null,"msgs_per_s":null,"floor_ns":null,"samples":3}"#,
                r#"{"test":"bandwidth","transport":"tcp","mode":null,"bytes":1048576,"ranks":2,"p50_ns":null,"p99_ns":null,"min_ns":null,"mb_per_s":2000.0,"msgs_per_s":1907.0,"floor_ns":null,"samples":3}"#,
            ]
        );
        for (line, record) in lines.iter().zip(floors.records()) {
            assert_eq!(serde_json::from_str::<Record>(line).unwrap(), record);
        }
    }

    #[test]
    fn what_was_not_probed_is_not_told() {
        let line = Floors {
            line: vec![50.0],
            ..Floors::default()
        };
        assert_eq!((line.lines().len(), line.records().len()), (1, 0));
        assert_eq!(Floors::default().lines(), [] as [String; 0]);
    }

    #[test]
    fn the_stream_stands_beside_messages_of_its_size_or_the_largest() {
        let beside = |sizes: &[usize], transport| {
            let selection = Selection::new(vec![Test::Bandwidth], 2, sizes.to_vec(), true);
            let task = &selection.transports(vec![transport]).tasks()[0];
            let rows = task.rows().into_iter().map(|row| {
                let sample = Sample {
                    time: row.0 as f64 * 4.0,
                    floor: None,
                };
                Row::new(task, row, &[sample])
            });
            floors().beside_quic(&rows.collect::<Vec<_>>())
        };
        let quic = |sizes| beside(sizes, Transport::Quic).unwrap();
        let expected = "  TCP: 2.00 GB/s in one stream of 1MiB writes; quic at 1MiB: 12 % of it\n";
        assert_eq!(quic(&[8, 1 << 20, 4 << 20]), expected);
        assert!(quic(&[8, 4096]).contains("quic at 4KiB: 12 %"));
        assert_eq!(beside(&[1 << 20], Transport::Shm), None);
    }

    #[test]
    fn probes_are_put_to_their_kind() {
        let mut floors = Floors::default();
        floors.push(Taken::Line(Some(1.0)));
        floors.push(Taken::Line(None));
        floors.push(Taken::Network {
            udp: None,
            tcp: 3.0,
        });
        floors.extend(Floors {
            udp: vec![2.0],
            ..Floors::default()
        });
        let found = (floors.line, floors.udp, floors.tcp, floors.stream);
        assert_eq!(found, (vec![1.0], vec![2.0], vec![3.0], vec![]));
    }
}
