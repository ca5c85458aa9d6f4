//! What the tables look like, to the character.

use super::*;
use crate::record::Sample;
use crate::selection::Selection;
use crate::task::Task;

fn tasks(test: Test, sizes: &[usize]) -> Vec<Task> {
    let selection = Selection::new(vec![test], 2, sizes.to_vec(), true);
    selection.tasks()
}

/// Every row of every task over shared memory.
fn rows(test: Test, sizes: &[usize]) -> Vec<Row> {
    rows_of(&tasks(test, sizes))
}

/// The same over all transports, each once.
fn rows_of_all(test: Test, sizes: &[usize]) -> Vec<Row> {
    let of = |transport| {
        let selection = Selection::new(vec![test], 2, sizes.to_vec(), true);
        selection.transports(vec![transport]).tasks()
    };
    rows_of(&Transport::ALL.into_iter().flat_map(of).collect::<Vec<_>>())
}

/// Every row of every task, with a time that grows with its number, over a floor of 50 ns.
fn rows_of(tasks: &[Task]) -> Vec<Row> {
    let mut time = 20.0;
    let mut rows = Vec::new();
    for task in tasks {
        for row in task.rows() {
            time *= 3.7;
            let floor = task.has_floor().then_some(50.0);
            rows.push(Row::new(task, row, &[Sample { time, floor }]));
        }
    }
    rows
}

#[test]
fn latency_has_three_columns_for_each_mode() {
    let expected = "\
latency: one way in us, and as a multiple of the floor (shm, 2 ranks)
                         copy                shared                  loan  floor
   size     p50    p99      x     p50    p99      x     p50    p99      x     ns
     8B   0.074  0.074   1.48   0.274  0.274   5.48    1.01   1.01   20.3   50.0
  64KiB    3.75   3.75   75.0    13.9   13.9    277    51.3   51.3   1026   50.0
";
    assert_eq!(table(&rows(Test::Latency, &[8, 65536])), expected);
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    for test in Test::ALL {
        for rows in [
            rows(test, &[0, 16 << 20]),
            rows_of_all(test, &[0, 16 << 20]),
        ] {
            for line in table(&rows).lines() {
                assert!(line.len() <= 80, "{} columns: {line}", line.len());
            }
        }
    }
}

#[test]
fn transports_stand_one_below_the_other() {
    let expected = "\
latency: one way in us, and as a multiple of the floor (2 ranks)
                                 copy         shared           loan  floor
   size             p50    p99      x     p50      x     p50      x     ns
     8B shm       0.074  0.074   1.48   0.274   5.48    1.01   20.3   50.0
        quic       3.75   3.75   75.0                                 50.0
        inproc     13.9   13.9    277    51.3   1026     190   3797   50.0
";
    assert_eq!(table(&rows_of_all(Test::Latency, &[8])), expected);
    let text = table(&rows_of_all(Test::IdlePeers, &[]));
    let lines: Vec<_> = text.lines().skip(2).collect();
    assert_eq!(
        lines,
        [
            "  no idle peers, shm                  74.0 ns    74.0 ns    74.0 ns",
            "  255 idle peers, shm                  274 ns     274 ns     274 ns",
            "  no idle peers, quic                 1.01 us    1.01 us    1.01 us",
            "  30 idle peers, quic                 3.75 us    3.75 us    3.75 us",
            "  no idle peers, inproc               13.9 us    13.9 us    13.9 us",
            "  255 idle peers, inproc              51.3 us    51.3 us    51.3 us",
            "  shm: 1.48 x and 5.48 x the floor: the idle ones cost 270 %",
            "  quic: 1.01 us and 3.75 us: the idle ones cost 270 %",
            "  inproc: 277 x and 1026 x the floor: the idle ones cost 270 %",
        ]
    );
}

#[test]
fn a_mode_without_that_size_leaves_its_cells_empty() {
    let mut rows = rows(Test::Bandwidth, &[8, 1 << 20]);
    rows.remove(3);
    let expected = "\
bandwidth: GB/s one way, up to 64 messages at a time (shm, 2 ranks)
           copy  shared    loan  floor
   size    GB/s    GB/s    GB/s     ns
     8B   0.108   0.029   0.008   50.0
   1MiB            75.6    20.4   50.0
";
    assert_eq!(table(&rows), expected);
}

#[test]
fn ranks_that_share_cores_have_no_floor() {
    let expected = "\
oversubscribed: ranks that share cores, 8B
                                          p50        p99        min
  two on one core, one way            74.0 ns    74.0 ns    74.0 ns
  a ring of 8, each hop                274 ns     274 ns     274 ns
";
    assert_eq!(table(&rows(Test::Oversubscribed, &[])), expected);
}

#[test]
fn the_cost_of_idle_peers_is_told_in_percent() {
    let text = table(&rows(Test::IdlePeers, &[]));
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        "  1.48 x and 5.48 x the floor: the idle ones cost 270 %"
    );
}

#[test]
fn what_was_measured_on_cores_in_other_places_is_not_compared() {
    let mut rows = rows(Test::IdlePeers, &[]);
    rows[1].record.floor_ns = Some(20.0);
    let text = table(&rows);
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        "  the cores moved between the two, from 50 to 20 ns: compare nothing"
    );
}

#[test]
fn start_up_is_told_in_milliseconds() {
    let task = &tasks(Test::Startup, &[])[0];
    let expected = "\
startup: from start to end
                                          p50        p99        min
  phalanx run -n 8                    20.0 ms    30.0 ms    10.0 ms
";
    let runs = [2e7, 1e7, 3e7].map(|time| Sample { time, floor: None });
    assert_eq!(table(&Row::all(task, &[runs.to_vec()])), expected);
}

#[test]
fn digits_are_three() {
    let text = [
        0.0004, 0.0934, 0.9996, 1.6849, 9.996, 16.849, 99.96, 168.49, 16849.0,
    ];
    let text = text.map(|value| digits(Some(value)));
    assert_eq!(
        text,
        [
            "<0.001", "0.093", "1.00", "1.68", "10.0", "16.8", "100", "168", "16849"
        ]
    );
    assert_eq!(digits(None), "-");
}
