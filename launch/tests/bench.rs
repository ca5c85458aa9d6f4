//! `phalanx bench` as its user sees it: what it prints, what it writes, what it refuses.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::process::{Command, Output};

use phalanx_bench::{Mode, Record, Test, Transport};

#[path = "bench/terminal.rs"]
mod terminal;

fn bench(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phalanx"));
    let Output {
        status,
        stdout,
        stderr,
    } = command.arg("bench").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_quick_run_prints_a_table_and_writes_an_object_for_each_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("figures.json");
    let (code, stdout, stderr) = bench(&[
        "latency",
        "rate",
        "--sizes",
        "8,64K",
        "--quick",
        "--json",
        path.to_str().unwrap(),
    ]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for begin in [
        "latency: ",
        "     8B ",
        "  64KiB ",
        "rate: ",
        "machine: ",
        "kernel: ",
        "floor: ",
    ] {
        assert!(
            stdout.lines().any(|line| line.starts_with(begin)),
            "{begin} in {stdout}"
        );
    }
    check(&fs::read_to_string(path).unwrap());
}

/// The file of `latency rate --sizes 8,64K`.
fn check(text: &str) {
    let records: Vec<Record> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let latency: Vec<_> = records
        .iter()
        .filter(|record| record.test == Test::Latency)
        .collect();
    let measured: Vec<_> = latency
        .iter()
        .map(|record| (record.bytes.unwrap(), record.mode.unwrap()))
        .collect();
    let expected: Vec<_> = [8, 65536]
        .into_iter()
        .flat_map(|bytes| Mode::ALL.map(|mode| (bytes, mode)))
        .collect();
    assert_eq!(measured, expected);
    for record in latency {
        assert!(
            record.samples > 0 && record.floor_ns.unwrap() > 0.0,
            "{record:?}"
        );
        assert!(
            record.min_ns.unwrap() <= record.p50_ns.unwrap(),
            "{record:?}"
        );
        assert!(
            record.p50_ns.unwrap() <= record.p99_ns.unwrap(),
            "{record:?}"
        );
    }
    assert_eq!(records.len(), expected.len() + 2);
    let rate = records.last().unwrap();
    assert!(
        rate.msgs_per_s.unwrap() > 0.0 && rate.p50_ns.is_none(),
        "{rate:?}"
    );
}

#[test]
fn transports_are_measured_in_turns_and_shown_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("figures.json");
    let (code, stdout, stderr) = bench(&[
        "latency",
        "oversubscribed",
        "startup",
        "--transport",
        "inproc,shm",
        "--sizes",
        "8,64K",
        "--quick",
        "--json",
        path.to_str().unwrap(),
    ]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for begin in [
        "     8B inproc ",
        "        shm ",
        "  64KiB inproc ",
        "  two on one core, one way, inproc ",
        "  a ring of 8, each hop, shm ",
        "  a process of 8 threads, inproc ",
        "  phalanx run -n 8, shm ",
    ] {
        let found = stdout.lines().any(|line| line.starts_with(begin));
        assert!(found, "{begin} in {stdout}");
    }
    let text = fs::read_to_string(path).unwrap();
    let records: Vec<Record> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for transport in Transport::ALL {
        let of_it = records.iter().filter(|one| one.transport == transport);
        let latency: Vec<_> = of_it
            .clone()
            .filter(|one| one.test == Test::Latency)
            .collect();
        assert_eq!(latency.len(), 2 * Mode::ALL.len(), "{transport}");
        // One at least in each of the four rounds.
        assert!(
            latency
                .iter()
                .all(|one| one.samples >= 4 && one.floor_ns.unwrap() > 0.0),
            "{latency:?}"
        );
        assert_eq!(of_it.count(), latency.len() + 3, "{transport}");
    }
}

#[test]
fn jobs_of_other_shapes_are_measured_too() {
    for arguments in [
        &["oversubscribed", "startup", "--quick"][..],
        &["latency", "-n", "5", "--sizes", "0", "--quick"],
        &[
            "rate",
            "idle-peers",
            "--transport",
            "inproc",
            "-n",
            "5",
            "--quick",
        ],
        &["bandwidth", "bibandwidth", "--sizes", "8,100K", "--quick"],
    ] {
        let (code, stdout, stderr) = bench(arguments);
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(stdout.contains("\nmachine: "), "{stdout}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_what_can() {
    for (arguments, words) in [
        (&["latncy"][..], "'latency'"),
        (&["--transport", "shmm"], "'shm'"),
        (&["--transport", "shm,inprok"], "'inproc'"),
        (&["--sizes", "8,lots"], "`lots` is not a size"),
        (&["-n", "1"], "2 ranks or more"),
    ] {
        let (code, stdout, stderr) = bench(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
    let (code, _, stderr) = bench(&["rate", "--quick", "--json", "/nonexistent/figures.json"]);
    assert_eq!(code, 125);
    assert!(
        stderr.starts_with("phalanx: cannot write the file /nonexistent/figures.json of --json"),
        "{stderr}"
    );
}

#[test]
fn a_rank_without_its_task_says_who_starts_it() {
    let (code, _, stderr) = bench(&["--as-rank", "nonsense"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("started by `phalanx bench`"), "{stderr}");
}
