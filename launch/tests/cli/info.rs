//! `phalanx info`: what it says of machine, protocols, memory and settings, and what it does about a wrong configuration.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::finish;

fn info(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phalanx"));
    command.arg("info").args(arguments).stdin(Stdio::null());
    command
}

fn json(mut command: Command) -> (i32, Value, String) {
    let (code, stdout, stderr) = finish({
        command.arg("--json");
        command
    });
    (code, serde_json::from_str(&stdout).unwrap(), stderr)
}

fn setting<'a>(report: &'a Value, key: &str) -> &'a Value {
    let settings = report["settings"].as_array().unwrap();
    settings
        .iter()
        .find(|setting| setting["key"] == key)
        .unwrap()
}

#[test]
fn the_text_has_every_part_and_every_setting() {
    let (code, stdout, stderr) = finish(info(&[]));
    assert_eq!((code, stderr.as_str()), (0, ""));
    for part in [
        "Machine",
        "Limits",
        "Protocols between ranks",
        "Shared memory of a job",
        "Settings",
    ] {
        assert!(
            stdout.lines().any(|line| line.starts_with(part)),
            "{part}: {stdout}"
        );
    }
    for entry in phalanx::config::Config::default().entries() {
        let line = stdout
            .lines()
            .find(|line| line.contains(entry.key))
            .unwrap();
        assert!(
            line.contains(entry.variable) && line.contains(entry.meaning),
            "{line}"
        );
    }
}

#[test]
fn the_machine_is_the_one_that_runs_the_test() {
    let (code, report, _) = json(info(&[]));
    assert_eq!(code, 0);
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let allowed: Vec<_> = (0..nix::sched::CpuSet::count())
        .filter(|&core| allowed.is_set(core).unwrap())
        .collect();
    assert_eq!(
        report["machine"]["allowed_cores"],
        serde_json::json!(allowed)
    );
    let status = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total: u64 = status.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(report["limits"]["memory_total"], total * 1024);
    assert_eq!(report["memory"]["idle"][2]["bytes"], 65 * 4096);
    assert_eq!(report["memory"]["per_pair_in_use"], 16384);
}

#[test]
fn thresholds_follow_the_settings_and_cover_every_size() {
    let mut command = info(&[]);
    command.env("PHALANX_EAGER_LIMIT", "4KiB");
    let (_, report, _) = json(command);
    for table in ["send", "synchronous_send"] {
        let rows = report["protocols"][table].as_array().unwrap();
        assert_eq!(rows[0]["from_bytes"], 0);
        for pair in rows.windows(2) {
            assert_eq!(
                pair[0]["to_bytes"].as_u64().unwrap() + 1,
                pair[1]["from_bytes"]
            );
        }
        assert!(rows.last().unwrap()["to_bytes"].is_null());
    }
    let rows = report["protocols"]["send"].as_array().unwrap();
    let slices: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            (
                row["from_bytes"].as_u64().unwrap(),
                row["slice"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(
        slices.contains(&(0, "inline")) && slices.contains(&(4097, "chunked")),
        "{slices:?}"
    );
}

#[test]
fn each_value_comes_with_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.toml");
    std::fs::write(&file, "wait.sleep = '5ms'\nlaunch.bind = 'core'").unwrap();
    let file = file.to_str().unwrap();
    let mut command = info(&["--config", file]);
    command.env("PHALANX_BIND", "none");
    let (code, report, _) = json(command);
    assert_eq!(code, 0);
    for (key, value, origin) in [
        ("wait.sleep", "5ms", file),
        ("launch.bind", "none", "PHALANX_BIND"),
        ("checks.types", "true", "default"),
    ] {
        let setting = setting(&report, key);
        assert_eq!(
            (&setting["value"], &setting["origin"]),
            (&value.into(), &origin.into()),
            "{key}"
        );
    }
}

#[test]
fn a_wrong_configuration_is_reported_and_the_defaults_are_shown() {
    let mut command = info(&["--config", "/nonexistent.toml"]);
    command
        .env("PHALANX_EAGER_LIMT", "1")
        .env("PHALANX_WAIT", "shared");
    let (code, report, stderr) = json(command);
    assert_eq!(code, 2);
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{problems:?}");
    for problem in problems {
        assert!(stderr.contains(problem.as_str().unwrap()), "{stderr}");
    }
    assert_eq!(setting(&report, "wait.policy")["value"], "auto");
    let mut command = info(&[]);
    command.env("PHALANX_WAIT", "share");
    let (code, stdout, _) = finish(command);
    assert_eq!(code, 2);
    assert!(
        stdout.contains("Mistakes") && stdout.contains("did you mean shared?"),
        "{stdout}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let script = "\"$0\" info | read first; exit ${PIPESTATUS[0]}";
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_phalanx")]);
    let (code, _, stderr) = finish(command);
    assert_eq!((code, stderr.as_str()), (0, ""));
}
