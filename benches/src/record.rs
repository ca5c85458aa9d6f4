//! A measured row: the object of the JSON file, and what only the table shows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::statistics::Summary;
use crate::task::{Mode, Task, Test, Transport};

/// One line of the JSON file. What does not apply is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// What was measured.
    pub test: Test,
    /// Over what.
    pub transport: Over,
    /// Where the bytes were.
    pub mode: Option<Mode>,
    /// Bytes of a message.
    pub bytes: Option<usize>,
    /// Ranks of the job.
    pub ranks: usize,
    /// Median time, one way, in nanoseconds.
    pub p50_ns: Option<f64>,
    /// 99th percentile of the samples' times.
    pub p99_ns: Option<f64>,
    /// The shortest sample's time.
    pub min_ns: Option<f64>,
    /// Payload, in millions of bytes per second.
    pub mb_per_s: Option<f64>,
    /// Messages per second.
    pub msgs_per_s: Option<f64>,
    /// Median of the floor beside the samples, one way, in nanoseconds: a cache line, or over QUIC a datagram.
    pub floor_ns: Option<f64>,
    /// How many samples.
    pub samples: usize,
}

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Over {
    /// A transport of the library.
    Transport(Transport),
    /// What no transport can be faster than.
    Floor(Floor),
}

/// What the network does without the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Floor {
    /// Datagrams, without encryption or a promise that they arrive.
    Udp,
    /// A stream, without encryption.
    Tcp,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Transport(transport) => transport.name(),
            Self::Floor(Floor::Udp) => "udp",
            Self::Floor(Floor::Tcp) => "tcp",
        })
    }
}

impl From<Transport> for Over {
    fn from(transport: Transport) -> Self {
        Self::Transport(transport)
    }
}

/// A record, and the median of its samples' ratios to the floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Row {
    /// What goes into the file.
    pub record: Record,
    /// Time over floor, sample by sample.
    pub ratio: Option<f64>,
}

/// What one sample measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sample {
    /// Nanoseconds for each message, hop or run.
    pub time: f64,
    /// The mean of the probes before and after, in nanoseconds.
    pub floor: Option<f64>,
}

impl Row {
    /// What `samples`, row by row, of `task` come to.
    pub(crate) fn all(task: &Task, samples: &[Vec<Sample>]) -> Vec<Self> {
        if task.test == Test::Startup {
            return samples
                .iter()
                .map(|runs| Self::of_runs(task, runs))
                .collect();
        }
        let rows = task.rows().into_iter().zip(samples);
        rows.map(|(row, samples)| Self::new(task, row, samples))
            .collect()
    }

    /// What `samples` of a row of `task` come to.
    pub(crate) fn new(task: &Task, (bytes, mode): (usize, Mode), samples: &[Sample]) -> Self {
        let times: Vec<f64> = samples.iter().map(|sample| sample.time).collect();
        let floors: Vec<f64> = samples.iter().filter_map(|sample| sample.floor).collect();
        let ratios: Vec<f64> = samples
            .iter()
            .filter_map(|sample| Some(sample.time / sample.floor?))
            .collect();
        let median = |values: &[f64]| Summary::of(values).map(|summary| summary.median);
        let record = Record {
            mode: Some(mode),
            bytes: Some(bytes),
            floor_ns: median(&floors).map(rounded),
            ..Record::empty(task, samples.len())
        };
        let is_stream = matches!(task.test, Test::Bandwidth | Test::Bibandwidth | Test::Rate);
        let record = match Summary::of(&times) {
            Some(summary) if is_stream => record.per_second(bytes, summary.median),
            Some(summary) => record.times(&summary),
            None => record,
        };
        Self {
            record,
            ratio: median(&ratios),
        }
    }

    /// The times that a command took.
    fn of_runs(task: &Task, runs: &[Sample]) -> Self {
        let times: Vec<f64> = runs.iter().map(|run| run.time).collect();
        let record = Record::empty(task, times.len());
        let record = match Summary::of(&times) {
            Some(summary) => record.times(&summary),
            None => record,
        };
        Self {
            record,
            ratio: None,
        }
    }
}

impl Record {
    /// What the probes of a floor come to, each of which took `times` nanoseconds for `bytes`; None of none.
    pub(crate) fn of_floor(
        (test, floor): (Test, Floor),
        bytes: usize,
        times: &[f64],
    ) -> Option<Self> {
        let summary = Summary::of(times)?;
        let record = Self {
            bytes: Some(bytes),
            ..Self::blank(test, Over::Floor(floor), 2, times.len())
        };
        Some(match test {
            Test::Bandwidth => record.per_second(bytes, summary.median),
            _ => record.times(&summary),
        })
    }

    fn empty(task: &Task, samples: usize) -> Self {
        Self::blank(task.test, task.transport.into(), task.ranks, samples)
    }

    const fn blank(test: Test, transport: Over, ranks: usize, samples: usize) -> Self {
        Self {
            test,
            transport,
            mode: None,
            bytes: None,
            ranks,
            p50_ns: None,
            p99_ns: None,
            min_ns: None,
            mb_per_s: None,
            msgs_per_s: None,
            floor_ns: None,
            samples,
        }
    }

    fn times(self, summary: &Summary) -> Self {
        Self {
            p50_ns: Some(rounded(summary.median)),
            p99_ns: Some(rounded(summary.p99)),
            min_ns: Some(rounded(summary.min)),
            ..self
        }
    }

    /// Messages of `bytes` of which each took `time` nanoseconds.
    fn per_second(self, bytes: usize, time: f64) -> Self {
        Self {
            mb_per_s: Some(rounded(bytes as f64 / time * 1e3)),
            msgs_per_s: Some((1e9 / time).round()),
            ..self
        }
    }
}

/// To a tenth: nothing measured here is finer.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::Selection;

    fn task(test: Test) -> Task {
        let selection = Selection::new(vec![test], 2, vec![1000], true);
        selection.tasks().swap_remove(0)
    }

    #[test]
    fn a_line_has_every_field_and_is_read_back() {
        let sample = Sample {
            time: 100.0,
            floor: Some(50.0),
        };
        let row = Row::new(&task(Test::Latency), (1000, Mode::Copy), &[sample]);
        let line = serde_json::to_string(&row.record).unwrap();
        assert_eq!(
            line,
            r#"{"test":"latency","transport":"shm","mode":"copy","bytes":1000,"ranks":2,"p50_ns":100.0,"p99_ns":100.0,"min_ns":100.0,"mb_per_s":null,"msgs_per_s":null,"floor_ns":50.0,"samples":1}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), row.record);
        assert_eq!(row.ratio, Some(2.0));
    }

    #[test]
    fn ratios_are_taken_sample_by_sample() {
        let samples = [(100.0, 50.0), (400.0, 200.0), (900.0, 450.0)];
        let samples = samples.map(|(time, floor)| Sample {
            time,
            floor: Some(floor),
        });
        let row = Row::new(&task(Test::Latency), (8, Mode::Loan), &samples);
        assert_eq!(row.ratio, Some(2.0));
    }

    #[test]
    fn a_thousand_bytes_in_100_ns_are_ten_gigabytes_per_second() {
        let sample = Sample {
            time: 100.0,
            floor: None,
        };
        let record = Row::new(&task(Test::Bandwidth), (1000, Mode::Copy), &[sample]).record;
        assert_eq!(
            (record.mb_per_s, record.msgs_per_s),
            (Some(10_000.0), Some(1e7))
        );
        assert_eq!((record.p50_ns, record.floor_ns), (None, None));
    }
}
