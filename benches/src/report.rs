//! What rank 0 tells the launcher while it measures.
//!
//! A pipe of the launcher, one line of JSON for each event. The rank opens it through `/proc`, since ranks inherit no descriptors but
//! their streams and the segment.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::floors::Floors;
use crate::record::Sample;

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The part of the task that is done, from 0 to 1.
    Progress(f64),
    /// The task is done.
    Samples {
        /// What was measured, row by row.
        samples: Vec<Vec<Sample>>,
        /// Every probe of a floor.
        floors: Floors,
    },
}

impl Event {
    /// What became of a task whose only row are runs of a command that took `times`, in nanoseconds.
    #[must_use]
    pub fn of_runs(times: &[f64]) -> Self {
        let sample = |&time: &f64| Sample { time, floor: None };
        Self::Samples {
            samples: vec![times.iter().map(sample).collect()],
            floors: Floors::default(),
        }
    }
}

/// The rank's end of the pipe.
#[derive(Debug)]
pub(crate) struct Report {
    pipe: File,
    last: Instant,
}

impl Report {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let pipe = OpenOptions::new().write(true).open(path);
        let pipe = pipe.with_context(|| {
            format!(
                "cannot report to the launcher through {}: is /proc mounted?",
                path.display()
            )
        })?;
        Ok(Self {
            pipe,
            last: Instant::now(),
        })
    }

    /// Seldom, because it wakes a process that shares the cores on which is measured.
    pub(crate) fn progress(&mut self, done: f64) -> anyhow::Result<()> {
        if self.last.elapsed() < SELDOM {
            return Ok(());
        }
        self.last = Instant::now();
        self.write(&Event::Progress(done))
    }

    pub(crate) fn write(&mut self, event: &Event) -> anyhow::Result<()> {
        let line = serde_json::to_string(event)? + "\n";
        self.pipe
            .write_all(line.as_bytes())
            .context("the launcher no longer reads the report")
    }
}

const SELDOM: Duration = Duration::from_millis(200);
