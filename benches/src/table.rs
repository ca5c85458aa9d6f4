//! Measured rows as text for a terminal of 80 columns.

use std::fmt::Write;

use phalanx::config::show_size;

use crate::record::{Over, Row};
use crate::task::{Mode, Test, Transport};

/// The table of the rows of one test, with its title; lines end with a newline. What several transports take for the same stands
/// in lines one below the other.
pub(crate) fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    match first.record.test {
        Test::Latency => {
            let title = "latency: one way in us, and as a multiple of the floor";
            let columns = if transports(rows).len() > 1 {
                LATENCIES
            } else {
                LATENCY
            };
            grid(title, columns, rows)
        }
        Test::Bandwidth => {
            let title = "bandwidth: GB/s one way, up to 64 messages at a time";
            grid(title, BANDWIDTH, rows)
        }
        Test::Bibandwidth => {
            let title = "bibandwidth: GB/s both ways together, up to 64 messages at a time";
            grid(title, BANDWIDTH, rows)
        }
        Test::Rate => grid("rate: million messages per second", RATE, rows),
        Test::Oversubscribed => lines("oversubscribed: ranks that share cores, 8B", rows, |row| {
            if row.record.ranks == 2 {
                "two on one core, one way".to_owned()
            } else {
                format!("a ring of {}, each hop", row.record.ranks)
            }
        }),
        Test::IdlePeers => idle_peers(rows),
        Test::Startup => lines("startup: from start to end", rows, |row| {
            let ranks = row.record.ranks;
            match row.record.transport {
                Over::Transport(Transport::Inproc) => format!("a process of {ranks} threads"),
                _ => format!("phalanx run -n {ranks}"),
            }
        }),
    }
}

/// Those of `rows`, in the order in which they were named.
fn transports(rows: &[Row]) -> Vec<Over> {
    let mut transports = Vec::new();
    for row in rows {
        if !transports.contains(&row.record.transport) {
            transports.push(row.record.transport);
        }
    }
    transports
}

/// A row for each size and transport and, side by side, the columns of each mode; the floor at the end.
type Grid = fn(Mode) -> &'static [Column];

/// A head, and the cell below it.
type Column = (&'static str, fn(&Row) -> String);

const P50: Column = ("p50", |row| {
    digits(row.record.p50_ns.map(|time| time / 1e3))
});
const P99: Column = ("p99", |row| {
    digits(row.record.p99_ns.map(|time| time / 1e3))
});
const RATIO: Column = ("x", |row| digits(row.ratio));
const BYTES: Column = ("GB/s", |row| {
    digits(row.record.mb_per_s.map(|rate| rate / 1e3))
});
const MESSAGES: Column = ("M/s", |row| {
    digits(row.record.msgs_per_s.map(|rate| rate / 1e6))
});

const LATENCY: Grid = |_| &[P50, P99, RATIO];

/// Beside names of transports there is no room for three columns of all modes.
const LATENCIES: Grid = |mode| match mode {
    Mode::Copy => &[P50, P99, RATIO],
    _ => &[P50, RATIO],
};

const BANDWIDTH: Grid = |_| &[BYTES];

const RATE: Grid = |_| &[MESSAGES];

fn grid(title: &str, grid: Grid, rows: &[Row]) -> String {
    let has = |mode: Mode| rows.iter().any(|row| row.record.mode == Some(mode));
    let modes: Vec<Mode> = Mode::ALL.into_iter().filter(|&mode| has(mode)).collect();
    let transports = transports(rows);
    let ranks = rows[0].record.ranks;
    let (over, width) = match transports[..] {
        [one] => (format!("{one}, "), SIZE),
        _ => (String::new(), SIZE + NAME),
    };
    let mut text = format!("{title} ({over}{ranks} ranks)\n{:>width$}", "");
    for &mode in &modes {
        let width = CELL * grid(mode).len();
        let _ = write!(text, " {mode:>width$}");
    }
    let _ = write!(text, "{:>CELL$}\n{:>SIZE$}", "floor", "size");
    let _ = write!(text, "{:names$}", "", names = width - SIZE);
    for &mode in &modes {
        text.push(' ');
        for (head, _) in grid(mode) {
            let _ = write!(text, "{head:>CELL$}");
        }
    }
    let _ = writeln!(text, "{:>CELL$}", "ns");
    let mut sizes: Vec<usize> = rows.iter().filter_map(|row| row.record.bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for bytes in sizes {
        let mut size = show_size(bytes as u64);
        for &transport in &transports {
            let is_here =
                |row: &&Row| row.record.bytes == Some(bytes) && row.record.transport == transport;
            let rows: Vec<&Row> = rows.iter().filter(is_here).collect();
            if rows.is_empty() {
                continue;
            }
            let _ = write!(text, "{size:>SIZE$}");
            if transports.len() > 1 {
                let _ = write!(text, " {transport:<7}");
            }
            // Below it only other transports follow.
            size.clear();
            cells(&mut text, grid, &modes, &rows);
        }
    }
    text
}

/// The rest of a line: the cells of each mode that `rows` have, and the floor.
fn cells(text: &mut String, grid: Grid, modes: &[Mode], rows: &[&Row]) {
    for &mode in modes {
        let row = rows.iter().find(|row| row.record.mode == Some(mode));
        text.push(' ');
        for (_, cell) in grid(mode) {
            let cell = row.map_or_else(String::new, |row| cell(row));
            let _ = write!(text, "{cell:>CELL$}");
        }
    }
    let floor = rows.first().and_then(|row| row.record.floor_ns);
    let _ = writeln!(text, "{:>CELL$}", digits(floor));
}

/// One line for each row: what it is, median, 99th percentile and shortest.
fn lines(title: &str, rows: &[Row], name: impl Fn(&Row) -> String) -> String {
    let mut text = format!(
        "{title}\n{:>34}{:>11}{:>11}{:>11}\n",
        "", "p50", "p99", "min"
    );
    let is_one = transports(rows).len() == 1;
    for row in rows {
        let record = &row.record;
        let times = [record.p50_ns, record.p99_ns, record.min_ns].map(time);
        let [p50, p99, min] = times;
        let name = match is_one {
            true => name(row),
            false => format!("{}, {}", name(row), record.transport),
        };
        let _ = writeln!(text, "  {name:<32}{p50:>11}{p99:>11}{min:>11}");
    }
    text
}

/// As [`lines`], and what the idle peers cost.
fn idle_peers(rows: &[Row]) -> String {
    let title = "idle-peers: 8B one way while other ranks sleep";
    let mut text = lines(title, rows, |row| match row.record.ranks {
        2 => "no idle peers".to_owned(),
        ranks => format!("{} idle peers", ranks - 2),
    });
    let transports = transports(rows);
    for &transport in &transports {
        let of_it: Vec<_> = rows
            .iter()
            .filter(|row| row.record.transport == transport)
            .collect();
        let cost = match of_it[..] {
            [without, with] if transport == Transport::Quic.into() => cost_of_time(without, with),
            [without, with] => cost_of_ratio(without, with),
            _ => None,
        };
        let Some(cost) = cost else {
            continue;
        };
        let _ = match transports[..] {
            [_] => writeln!(text, "  {cost}"),
            _ => writeln!(text, "  {transport}: {cost}"),
        };
    }
    text
}

/// By ratios to the floor, since the two jobs ran at different times.
fn cost_of_ratio(without: &Row, with: &Row) -> Option<String> {
    let (one, other) = (without.record.floor_ns?, with.record.floor_ns?);
    if one.max(other) > MOST_APART * one.min(other) {
        return Some(format!(
            "the cores moved between the two, from {one:.0} to {other:.0} ns: compare nothing"
        ));
    }
    let (without, with) = (without.ratio?, with.ratio?);
    Some(format!(
        "{} x and {} x the floor: the idle ones cost {:.0} %",
        digits(Some(without)),
        digits(Some(with)),
        (with / without - 1.0) * 100.0
    ))
}

/// By times, since ranks that are idle over a network disturb a floor that goes through the kernel too.
fn cost_of_time(without: &Row, with: &Row) -> Option<String> {
    let (without, with) = (without.record.p50_ns?, with.record.p50_ns?);
    Some(format!(
        "{} and {}: the idle ones cost {:.0} %",
        time(Some(without)),
        time(Some(with)),
        (with / without - 1.0) * 100.0
    ))
}

/// Floors further apart than this are of cores in other places, where all else costs another multiple of them.
const MOST_APART: f64 = 1.3;

/// Three significant digits, and none beyond a thousandth: more would be noise. A dash for nothing.
pub(crate) fn digits(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 99.95 => format!("{value:.0}"),
        Some(value) if value >= 9.995 => format!("{value:.1}"),
        Some(value) if value >= 0.9995 => format!("{value:.2}"),
        Some(value) if value < 0.0005 => "<0.001".to_owned(),
        Some(value) => format!("{value:.3}"),
    }
}

/// With the unit in which it has one to three digits before the point.
pub(crate) fn time(nanoseconds: Option<f64>) -> String {
    let (value, unit) = match nanoseconds {
        Some(time) if time >= 1e6 => (Some(time / 1e6), "ms"),
        Some(time) if time >= 1e3 => (Some(time / 1e3), "us"),
        other => (other, "ns"),
    };
    format!("{} {unit}", digits(value))
}

/// Width of a cell, a blank before it included.
const CELL: usize = 7;
/// Width of the size of a message, and of the name of a transport beside it.
const SIZE: usize = 7;
const NAME: usize = 8;

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
