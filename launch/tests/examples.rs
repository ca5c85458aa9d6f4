//! Every example, run as a job of 1, 2 and 4 ranks by the real command. Each checks its own result; here it is seen to end well and
//! to say something.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

#[test]
fn hello() {
    for ranks in RANKS {
        assert_eq!(run("hello", ranks).lines().count(), ranks);
    }
}

#[test]
fn ping_pong() {
    assert!(run("ping_pong", 1).contains("phalanx run -n 2"));
    for ranks in [2, 4] {
        assert_eq!(run("ping_pong", ranks).matches(" one way").count(), 5);
    }
}

#[test]
fn typed() {
    for ranks in RANKS {
        assert_eq!(
            run("typed", ranks).matches("`sky over rank ").count(),
            ranks
        );
    }
}

#[test]
fn loan() {
    for ranks in RANKS {
        assert_eq!(run("loan", ranks).matches("4194304 bytes").count(), ranks);
    }
}

#[test]
fn heat() {
    let results = RANKS.map(|ranks| run("heat", ranks));
    for (ranks, result) in RANKS.iter().zip(&results) {
        assert_eq!(*result, results[0].replacen('1', &ranks.to_string(), 1));
    }
}

#[test]
fn workers() {
    for ranks in RANKS {
        assert_eq!(run("workers", ranks), "9592 primes below 100000\n");
    }
}

#[test]
fn ring() {
    assert_eq!(
        run("ring", 1),
        "rank 0: the ranks from 0 to 0 add up to 0\n"
    );
    assert_eq!(run("ring", 2).matches("to 1 add up to 1\n").count(), 2);
    assert_eq!(run("ring", 4).matches("to 3 add up to 6\n").count(), 4);
}

#[test]
fn word_count() {
    let results = RANKS.map(|ranks| run("word_count", ranks));
    for result in &results {
        let words = result.split_once('\n').unwrap().1;
        assert_eq!(words.lines().count(), 5);
        assert_eq!(results[0].split_once('\n').unwrap().1, words);
    }
}

/// The test's own list must be the folder's, or an example would go unseen.
#[test]
fn no_example_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let sources = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = sources
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "heat",
            "hello",
            "loan",
            "ping_pong",
            "ring",
            "typed",
            "word_count",
            "workers"
        ]
    );
}

/// Runs an example as a job and returns what it printed.
fn run(example: &str, ranks: usize) -> String {
    let program = folder().join(example);
    assert!(
        program.exists(),
        "{} has not been built: `cargo test --workspace` does so, or run `cargo build --examples` first",
        program.display()
    );
    let output = Command::new(env!("CARGO_BIN_EXE_phalanx"))
        .args(["run", "-n", &ranks.to_string(), "--"])
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{example} on {ranks} ranks: {stderr}"
    );
    assert_eq!(stderr, "", "{example} on {ranks} ranks");
    String::from_utf8(output.stdout).unwrap()
}

/// Where cargo puts the examples: beside the folder of this test.
fn folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().with_file_name("examples")
}

const RANKS: [usize; 3] = [1, 2, 4];
