//! `phalanx bench` as its user sees it: what it prints, what it writes, what it refuses.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::process::{Command, Output};

use phalanx_bench::{Floor, Mode, Over, Record, Test, Transport};

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

/// What a quick run prints, and the objects that it writes. It has to end well and say nothing else.
fn quick(arguments: &[&str]) -> (String, Vec<Record>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("figures.json");
    let file = ["--quick", "--json", path.to_str().unwrap()];
    let (code, stdout, stderr) = bench(&[arguments, &file].concat());
    assert_eq!((code, stderr.as_str()), (0, ""));
    let text = fs::read_to_string(path).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (stdout, records.collect())
}

/// Requires a line for each of `begins`.
fn has_lines(stdout: &str, begins: &[&str]) {
    for begin in begins {
        let found = stdout.lines().any(|line| line.starts_with(begin));
        assert!(found, "{begin:?} in {stdout}");
    }
}

fn of(records: &[Record], test: Test, over: impl Into<Over>) -> Vec<&Record> {
    let over = over.into();
    let is_wanted = |record: &&Record| record.test == test && record.transport == over;
    records.iter().filter(is_wanted).collect()
}

/// Sizes and modes, in the order of the file.
fn measured(records: &[&Record]) -> Vec<(usize, Mode)> {
    let measured = records
        .iter()
        .map(|record| (record.bytes.unwrap(), record.mode.unwrap()));
    measured.collect()
}

#[test]
fn a_quick_run_shows_shared_memory_and_quic_beside_their_floors() {
    let (stdout, records) = quick(&["latency", "rate", "--sizes", "8,64K"]);
    let begins = [
        "latency: ",
        "     8B shm ",
        "        quic ",
        "  64KiB shm ",
        "rate: ",
        "machine: ",
        "kernel: ",
        "floor: a cache line one way",
        "floor of quic: 8B by UDP ",
    ];
    has_lines(&stdout, &begins);

    let latency = |over: Transport| of(&records, Test::Latency, over);
    let [shm, quic] = [Transport::Shm, Transport::Quic].map(latency);
    let all_modes = |bytes: usize| Mode::ALL.map(|mode| (bytes, mode));
    assert_eq!(measured(&shm), [8, 65536].map(all_modes).concat());
    assert_eq!(measured(&quic), [8, 65536].map(|bytes| (bytes, Mode::Copy)));
    for record in [shm, quic].concat() {
        let [min, p50, p99] = [record.min_ns, record.p50_ns, record.p99_ns].map(Option::unwrap);
        assert!(min <= p50 && p50 <= p99, "{record:?}");
        // One at least in each of the two turns.
        let floor = record.floor_ns.unwrap();
        assert!(record.samples >= 2 && floor > 0.0, "{record:?}");
    }
    for over in Transport::DEFAULT {
        let rates = of(&records, Test::Rate, over);
        assert_eq!(rates.len(), 2, "{over}");
        let is_rate = |one: &&Record| one.msgs_per_s.unwrap() > 0.0 && one.p50_ns.is_none();
        assert!(rates.iter().all(is_rate), "{rates:?}");
    }
    for floor in [Floor::Udp, Floor::Tcp] {
        let found = of(&records, Test::Latency, Over::Floor(floor));
        let [record] = found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((record.bytes, record.mode), (Some(8), None));
        // Before, between and after the samples, in each of the turns.
        assert!(
            record.samples >= 10 && record.p50_ns.unwrap() > 0.0,
            "{record:?}"
        );
    }
    assert_eq!(records.len(), 6 + 2 + 2 * 2 + 2);
}

#[test]
fn the_bandwidth_of_quic_stands_beside_that_of_tcp() {
    let arguments = ["bandwidth", "--transport", "quic", "--sizes", "8,1M"];
    let (stdout, records) = quick(&arguments);
    has_lines(&stdout, &["  TCP: ", "floor of quic: 8B by UDP "]);
    assert!(!stdout.contains("cache line"), "{stdout}");
    assert!(stdout.contains("quic at 1MiB: "), "{stdout}");
    let tcp = of(&records, Test::Bandwidth, Over::Floor(Floor::Tcp));
    let [record] = tcp[..] else {
        panic!("{tcp:?}");
    };
    assert!(record.mb_per_s.unwrap() > 0.0, "{record:?}");
    assert_eq!((record.bytes, record.p50_ns), (Some(1 << 20), None));
}

#[test]
fn transports_are_measured_in_turns_and_shown_together() {
    let arguments = [
        "latency",
        "oversubscribed",
        "startup",
        "--transport",
        "inproc,shm,quic",
        "--sizes",
        "8,64K",
    ];
    let (stdout, records) = quick(&arguments);
    let begins = [
        "     8B inproc ",
        "        shm ",
        "        quic ",
        "  64KiB inproc ",
        "  two on one core, one way, inproc ",
        "  a ring of 8, each hop, shm ",
        "  a ring of 8, each hop, quic ",
        "  a process of 8 threads, inproc ",
        "  phalanx run -n 8, shm ",
        "  phalanx run -n 8, quic ",
    ];
    has_lines(&stdout, &begins);
    for transport in Transport::ALL {
        let latency = of(&records, Test::Latency, transport);
        let modes = if transport == Transport::Quic { 1 } else { 3 };
        assert_eq!(latency.len(), 2 * modes, "{transport}");
        // One at least in each of the three turns.
        let is_whole = |one: &&Record| one.samples >= 3 && one.floor_ns.unwrap() > 0.0;
        assert!(latency.iter().all(is_whole), "{latency:?}");
        let other = [Test::Oversubscribed, Test::Startup].map(|test| of(&records, test, transport));
        assert_eq!(other.map(|rows| rows.len()), [2, 1], "{transport}");
    }
}

/// What is measured is what was asked for, whatever is set here for programs.
#[test]
fn a_setting_of_the_environment_does_not_change_what_is_measured() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phalanx"));
    let arguments = ["bench", "rate", "startup", "--quick"];
    let output = command
        .args(arguments)
        .env("PHALANX_TRANSPORT", "inproc")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
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
        (&["--transport", "quick"], "'quic'"),
        (&["--transport", "udp"], "shm, quic, inproc"),
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
