//! Measured rows as text for a terminal of 80 columns.

use std::fmt::Write;

use phalanx::config::show_size;

use crate::record::Row;
use crate::task::{Mode, Test};

/// The table of the rows of one test over one transport, with its title; lines end with a newline.
pub(crate) fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let (test, transport, ranks) = (
        first.record.test,
        first.record.transport,
        first.record.ranks,
    );
    match test {
        Test::Latency => {
            let title = "latency: one way in us, and as a multiple of the floor";
            grid(&titled(title, transport.name(), ranks), LATENCY, rows)
        }
        Test::Bandwidth | Test::Bibandwidth => {
            let ways = if test == Test::Bandwidth {
                "one way"
            } else {
                "both ways together"
            };
            let title = format!("{test}: GB/s {ways}, 64 messages at a time");
            grid(&titled(&title, transport.name(), ranks), BANDWIDTH, rows)
        }
        Test::Rate => {
            let title = titled("rate: million messages per second", transport.name(), ranks);
            grid(&title, RATE, rows)
        }
        Test::Oversubscribed => lines("oversubscribed: ranks that share cores, 8B", rows, |row| {
            if row.record.ranks == 2 {
                "two on one core, one way".to_owned()
            } else {
                format!("a ring of {}, each hop", row.record.ranks)
            }
        }),
        Test::IdlePeers => idle_peers(rows),
        Test::Startup => lines("startup: from start to end", rows, |row| {
            format!("phalanx run -n {}", row.record.ranks)
        }),
    }
}

/// A row for each size and, side by side, the cells of each mode; the floor at the end.
struct Grid {
    heads: &'static [&'static str],
    cells: fn(&Row) -> Vec<String>,
}

const LATENCY: Grid = Grid {
    heads: &["p50", "p99", "x"],
    cells: |row| {
        let us = |time: Option<f64>| digits(time.map(|time| time / 1e3));
        vec![
            us(row.record.p50_ns),
            us(row.record.p99_ns),
            digits(row.ratio),
        ]
    },
};

const BANDWIDTH: Grid = Grid {
    heads: &["GB/s"],
    cells: |row| vec![digits(row.record.mb_per_s.map(|rate| rate / 1e3))],
};

const RATE: Grid = Grid {
    heads: &["M/s"],
    cells: |row| vec![digits(row.record.msgs_per_s.map(|rate| rate / 1e6))],
};

fn grid(title: &str, grid: Grid, rows: &[Row]) -> String {
    let has = |mode: Mode| rows.iter().any(|row| row.record.mode == Some(mode));
    let modes: Vec<Mode> = Mode::ALL.into_iter().filter(|&mode| has(mode)).collect();
    let mut text = format!("{title}\n{:>7}", "");
    for mode in &modes {
        let _ = write!(
            text,
            " {:>width$}",
            mode.name(),
            width = CELL * grid.heads.len()
        );
    }
    let _ = write!(text, "{:>CELL$}\n{:>7}", "floor", "size");
    for _ in &modes {
        text.push(' ');
        for head in grid.heads {
            let _ = write!(text, "{head:>CELL$}");
        }
    }
    let _ = writeln!(text, "{:>CELL$}", "ns");
    for rows in rows.chunk_by(|one, next| one.record.bytes == next.record.bytes) {
        let bytes = rows[0].record.bytes.unwrap_or(0);
        let _ = write!(text, "{:>7}", show_size(bytes as u64));
        for &mode in &modes {
            let row = rows.iter().find(|row| row.record.mode == Some(mode));
            let cells = row.map_or_else(
                || vec![String::new(); grid.heads.len()],
                |row| (grid.cells)(row),
            );
            text.push(' ');
            for cell in cells {
                let _ = write!(text, "{cell:>CELL$}");
            }
        }
        let _ = writeln!(text, "{:>CELL$}", digits(rows[0].record.floor_ns));
    }
    text
}

fn titled(title: &str, transport: &str, ranks: usize) -> String {
    format!("{title} ({transport}, {ranks} ranks)")
}

/// One line for each row: what it is, median, 99th percentile and shortest.
fn lines(title: &str, rows: &[Row], name: impl Fn(&Row) -> String) -> String {
    let mut text = format!(
        "{title}\n{:>34}{:>11}{:>11}{:>11}\n",
        "", "p50", "p99", "min"
    );
    for row in rows {
        let record = &row.record;
        let times = [record.p50_ns, record.p99_ns, record.min_ns].map(time);
        let [p50, p99, min] = times;
        let _ = writeln!(text, "  {:<32}{p50:>11}{p99:>11}{min:>11}", name(row));
    }
    text
}

/// As [`lines`], and what the idle peers cost: by ratios to the floor, since the two jobs ran at different times.
fn idle_peers(rows: &[Row]) -> String {
    let title = "idle-peers: 8B one way while other ranks sleep";
    let mut text = lines(title, rows, |row| match row.record.ranks {
        2 => "no idle peers".to_owned(),
        ranks => format!("{} idle peers", ranks - 2),
    });
    if let [Some(without), Some(with)] = rows.iter().map(|row| row.ratio).collect::<Vec<_>>()[..] {
        let cost = (with / without - 1.0) * 100.0;
        let _ = writeln!(
            text,
            "  {} x and {} x the floor: the idle ones cost {cost:.0} %",
            digits(Some(without)),
            digits(Some(with)),
        );
    }
    text
}

/// Three significant digits: more would be noise. A dash for nothing.
fn digits(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 99.95 => format!("{value:.0}"),
        Some(value) if value >= 9.995 => format!("{value:.1}"),
        Some(value) if value >= 0.9995 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

/// With the unit in which it has one to three digits before the point.
fn time(nanoseconds: Option<f64>) -> String {
    let (value, unit) = match nanoseconds {
        Some(time) if time >= 1e6 => (Some(time / 1e6), "ms"),
        Some(time) if time >= 1e3 => (Some(time / 1e3), "us"),
        other => (other, "ns"),
    };
    format!("{} {unit}", digits(value))
}

/// Width of a cell, a blank before it included.
const CELL: usize = 7;

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
