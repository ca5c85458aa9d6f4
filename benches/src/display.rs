//! The launcher's side: what ranks report becomes a bar, tables and a file.

use std::fs::File;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::floors::Floors;
use crate::machine;
use crate::record::{Record, Row, Sample};
use crate::report::Event;
use crate::table::table;
use crate::task::Task;

/// Shows a run: a bar on standard error while it lasts, when that is a terminal; a table for each test; an object for each row in a
/// file.
#[derive(Debug)]
pub struct Display<W> {
    out: W,
    json: Option<File>,
    bar: ProgressBar,
    /// Time planned for the tasks that are done, and for the current one.
    done: Duration,
    current: Duration,
    /// What was measured of the current test, which may take several tasks.
    measured: Vec<Measured>,
    /// Which of them the current task adds to.
    place: usize,
    floors: Floors,
}

/// Samples of a task, and of others that measured the same.
#[derive(Debug)]
struct Measured {
    task: Task,
    /// Row by row.
    samples: Vec<Vec<Sample>>,
}

impl<W: Write> Display<W> {
    /// Shows `tasks`, with tables on `out` and objects in `json`.
    pub fn new(tasks: &[Task], out: W, json: Option<File>) -> Self {
        let total: Duration = tasks.iter().map(|task| task.budget).sum();
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(milliseconds(total)), target);
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}");
        bar.set_style(style.expect("the template is a constant, and right"));
        Self {
            out,
            json,
            bar,
            done: Duration::ZERO,
            current: Duration::ZERO,
            measured: Vec::new(),
            place: 0,
            floors: Floors::default(),
        }
    }

    /// A task begins. The table of another test before it is printed, and its objects are written.
    ///
    /// # Errors
    /// When the table or the file cannot be written.
    pub fn begin(&mut self, task: &Task) -> anyhow::Result<()> {
        if self.measured.iter().any(|one| one.task.test != task.test) {
            self.end_test()?;
        }
        let known = |one: &Measured| one.task.measures_as(task);
        self.place = self.measured.iter().position(known).unwrap_or_else(|| {
            self.measured.push(Measured {
                task: task.clone(),
                samples: Vec::new(),
            });
            self.measured.len() - 1
        });
        self.done += self.current;
        self.current = task.budget;
        self.bar.set_message(task.test.name());
        self.bar.set_position(milliseconds(self.done));
        Ok(())
    }

    /// Shows all events of `report`, a line each; blocks until its end.
    ///
    /// # Errors
    /// When a line is no event.
    pub fn follow(&mut self, report: impl BufRead) -> anyhow::Result<()> {
        for line in report.lines() {
            let line = line.context("cannot read what the ranks report")?;
            let event = serde_json::from_str(&line)
                .with_context(|| format!("rank 0 reported what nobody understands: {line}"))?;
            self.show(event);
        }
        Ok(())
    }

    /// Shows one event of the task that began last.
    pub fn show(&mut self, event: Event) {
        match event {
            Event::Progress(part) => {
                let position = self.done + self.current.mul_f64(part.clamp(0.0, 1.0));
                self.bar.set_position(milliseconds(position));
            }
            Event::Samples { samples, floors } => {
                self.floors.extend(floors);
                if let Some(Measured { samples: all, .. }) = self.measured.get_mut(self.place) {
                    all.resize_with(samples.len().max(all.len()), Vec::new);
                    for (all, new) in all.iter_mut().zip(samples) {
                        all.extend(new);
                    }
                }
            }
        }
    }

    /// Prints the last table and, below it, what was measured on.
    ///
    /// # Errors
    /// When it, or the file, cannot be written.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.end_test()?;
        self.bar.finish_and_clear();
        for line in machine::describe() {
            writeln!(self.out, "{line}").context(NO_OUTPUT)?;
        }
        for line in self.floors.lines() {
            writeln!(self.out, "{line}").context(NO_OUTPUT)?;
        }
        let floors = self.floors.records();
        self.write_json(&floors)?;
        self.out.flush().context(NO_OUTPUT)
    }

    fn end_test(&mut self) -> anyhow::Result<()> {
        let measured = std::mem::take(&mut self.measured);
        let rows: Vec<Row> = measured
            .iter()
            .flat_map(|one| Row::all(&one.task, &one.samples))
            .collect();
        self.write_json(rows.iter().map(|row| &row.record))?;
        let text = table(&rows) + &self.floors.beside_quic(&rows).unwrap_or_default();
        if text.is_empty() {
            return Ok(());
        }
        let Self { bar, out, .. } = self;
        bar.suspend(|| writeln!(out, "{text}").and_then(|()| out.flush()))
            .context(NO_OUTPUT)
    }

    fn write_json<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> anyhow::Result<()> {
        let Some(file) = &mut self.json else {
            return Ok(());
        };
        records.into_iter().try_for_each(|record| {
            let line = serde_json::to_string(record)? + "\n";
            file.write_all(line.as_bytes())
                .context("cannot write the file of --json")
        })
    }
}

/// Also when something has failed: what is written next begins on a line of its own, where the bar was.
impl<W> Drop for Display<W> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const NO_OUTPUT: &str = "cannot write the table";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Sample};
    use crate::selection::Selection;
    use crate::task::Test;

    #[test]
    fn what_ranks_report_is_printed_by_test_and_written_by_row() {
        let tests = vec![Test::Rate, Test::Oversubscribed];
        let tasks = Selection::new(tests, 2, Vec::new(), true).tasks();
        let file = tempfile();
        let mut out = Vec::new();
        let mut display = Display::new(&tasks, &mut out, Some(file.try_clone().unwrap()));
        for task in &tasks {
            display.begin(task).unwrap();
            let sample = Sample {
                time: 40.0,
                floor: Some(50.0),
            };
            let event = Event::Samples {
                samples: vec![vec![sample]],
                floors: Floors {
                    line: vec![50.0, 60.0],
                    ..Floors::default()
                },
            };
            let report = format!(
                "{}\n{}\n",
                serde_json::to_string(&Event::Progress(0.5)).unwrap(),
                serde_json::to_string(&event).unwrap()
            );
            display.follow(report.as_bytes()).unwrap();
        }
        display.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        let paragraphs: Vec<_> = text.split("\n\n").collect();
        assert_eq!(paragraphs.len(), 3, "{text}");
        assert!(paragraphs[0].starts_with("rate: "), "{text}");
        assert!(paragraphs[1].starts_with("oversubscribed: "), "{text}");
        assert!(paragraphs[2].ends_with("between 50 and 60 ns\n"), "{text}");
        assert_eq!(lines(file).len(), tasks.len());
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        let mut display = Display::new(&[], Vec::new(), None);
        let error = display.follow(&b"{}\n"[..]).unwrap_err();
        assert!(error.to_string().ends_with("understands: {}"), "{error}");
    }

    fn tempfile() -> File {
        tempfile::tempfile().unwrap()
    }

    fn lines(mut file: File) -> Vec<Record> {
        use std::io::{BufReader, Seek};
        file.rewind().unwrap();
        BufReader::new(file)
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }
}
