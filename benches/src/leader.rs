//! Rank 0 of a measurement: says what comes, takes the samples, reports.
//!
//! Rounds go over all rows, so that what is compared is measured in the same seconds; the probe between two samples belongs to both.

use std::time::{Duration, Instant};

use anyhow::ensure;
use phalanx::Communicator;

use crate::floor::Probe;
use crate::floors::Floors;
use crate::rank::Order;
use crate::record::Sample;
use crate::report::{Event, Report};
use crate::task::{Task, Test};
use crate::workload::Workload;

/// See the module.
#[derive(Debug)]
pub(crate) struct Leader<'a> {
    world: &'a Communicator,
    task: &'a Task,
    probe: Probe,
    report: Report,
    floors: Floors,
}

impl<'a> Leader<'a> {
    pub(crate) fn new(
        world: &'a Communicator,
        task: &'a Task,
        probe: Probe,
        report: Report,
    ) -> Self {
        Self {
            world,
            task,
            probe,
            report,
            floors: Floors::default(),
        }
    }

    /// Measures all rows, one for each of `workloads`, and reports them.
    pub(crate) fn run(mut self, mut workloads: Vec<Box<dyn Workload>>) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut iterations = Vec::new();
        for (row, workload) in workloads.iter_mut().enumerate() {
            self.order(Order::Verify { row })?;
            let (bytes, mode) = self.task.rows()[row];
            ensure!(
                workload.verify(true)?,
                "a message of {bytes} B in mode {mode} arrived damaged"
            );
            iterations.push(self.calibrate(row, workload.as_mut())?);
        }
        let mut samples = vec![Vec::new(); workloads.len()];
        for _ in 0..MOST_ROUNDS {
            self.round(&mut workloads, &mut iterations, &mut samples)?;
            let done = started.elapsed().div_duration_f64(self.task.budget);
            if done >= 1.0 {
                break;
            }
            self.report.progress(done)?;
        }
        for peer in 1..self.world.size() {
            Order::Stop.send(self.world, peer)?;
        }
        self.report.write(&Event::Samples {
            samples,
            floors: self.floors,
        })
    }

    /// One sample of each row.
    fn round(
        &mut self,
        workloads: &mut [Box<dyn Workload>],
        iterations: &mut [u64],
        samples: &mut [Vec<Sample>],
    ) -> anyhow::Result<()> {
        self.stream()?;
        let mut before = self.probe()?;
        for (row, workload) in workloads.iter_mut().enumerate() {
            self.warm_up(row, workload.as_mut(), iterations[row])?;
            let mut time = self.sample(row, workload.as_mut(), iterations[row])?;
            // Calibration met a bad moment: what was measured with so few iterations is no measure.
            while time < SAMPLE / 4 && iterations[row] < MOST_ITERATIONS {
                iterations[row] *= 4;
                samples[row].clear();
                time = self.sample(row, workload.as_mut(), iterations[row])?;
            }
            let after = self.probe()?;
            let messages = iterations[row] * workload.messages();
            samples[row].push(Sample {
                time: time.as_nanos() as f64 / messages as f64,
                floor: before
                    .zip(after)
                    .map(|(before, after)| f64::midpoint(before, after)),
            });
            before = after;
        }
        Ok(())
    }

    /// How many iterations last long enough for the clock and for what begins and ends a sample not to matter.
    fn calibrate(&self, row: usize, workload: &mut dyn Workload) -> anyhow::Result<u64> {
        match self.sample(row, workload, 1)? {
            time if time >= LONG => return Ok(1),
            // Ten times as much as is needed, even if all of it was the first touch.
            time if time >= 10 * SAMPLE => return Ok(FEWEST_ITERATIONS),
            _ => {}
        }
        let mut iterations = FEWEST_ITERATIONS;
        loop {
            // The shorter of two, because the first is cold and either may have lost its core for a while.
            let first = self.sample(row, workload, iterations)?;
            let time = self.sample(row, workload, iterations)?.min(first);
            if time >= SAMPLE || iterations >= MOST_ITERATIONS {
                return Ok(iterations);
            }
            let factor = SAMPLE.div_duration_f64(time.max(Duration::from_nanos(1)));
            // Too long rather than too short, and never on the word of one short trial alone.
            let factor = (1.2 * factor).ceil().clamp(2.0, 10.0);
            iterations *= factor as u64;
        }
    }

    /// The rows before have filled the caches with their own data, which is not what this one asks about.
    fn warm_up(
        &self,
        row: usize,
        workload: &mut dyn Workload,
        iterations: u64,
    ) -> anyhow::Result<()> {
        if iterations > 1 {
            self.sample(row, workload, (iterations / 4).max(WARM))?;
        }
        Ok(())
    }

    fn sample(
        &self,
        row: usize,
        workload: &mut dyn Workload,
        iterations: u64,
    ) -> anyhow::Result<Duration> {
        self.order(Order::Sample { row, iterations })?;
        let started = Instant::now();
        workload.lead(iterations)?;
        Ok(started.elapsed())
    }

    fn probe(&mut self) -> anyhow::Result<Option<f64>> {
        if !self.task.has_floor() {
            return Ok(None);
        }
        self.order(Order::Floor)?;
        let taken = self.probe.take(self.world, 1)?;
        let floor = taken.floor();
        self.floors.push(taken);
        Ok(floor)
    }

    /// What a stream of the network takes, beside the streams of the library.
    fn stream(&mut self) -> anyhow::Result<()> {
        if self.task.test == Test::Bandwidth && self.probe.has_stream() {
            self.order(Order::Stream)?;
            self.floors.stream.extend(self.probe.stream(self.world)?);
        }
        Ok(())
    }

    fn order(&self, order: Order) -> phalanx::Result<()> {
        (1..self.task.active()).try_for_each(|peer| order.send(self.world, peer))
    }
}

/// Beside it the 24 ns of reading the clock and the microsecond of an order are nothing.
const SAMPLE: Duration = Duration::from_micros(100);

/// The second message of several MiB still finds caches and translations that the first has only begun to fill.
const WARM: u64 = 2;

/// One iteration of this is a sample, and its cold beginning does not count: windows of large messages over a network.
const LONG: Duration = Duration::from_millis(20);

const FEWEST_ITERATIONS: u64 = 4;
const MOST_ITERATIONS: u64 = 1 << 20;

/// More samples say nothing more.
const MOST_ROUNDS: usize = 5000;
