//! Settings of the launcher: from a file, from variables, from flags, and what is said of wrong ones.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{finish, phalanx_run, script};

/// Prints where the rank looks for its settings.
const REPORT: &str = "echo $PHALANX_CONFIG";

/// Prints the size of the job's segment.
const SEGMENT_SIZE: &str = "stat -Lc %s /proc/self/fd/${PHALANX_SEGMENT#fd:}";

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.toml");
    fs::write(&file, text).unwrap();
    (folder, file)
}

fn with_file(text: &str, options: &[&str], commands: &str) -> (i32, String, String) {
    let (_folder, file) = file(text);
    let mut options = options.to_vec();
    options.extend(["--config", file.to_str().unwrap()]);
    finish(script(1, &options, commands))
}

fn with_variable(name: &str, value: &str, mut command: Command) -> (i32, String, String) {
    command.env(name, value);
    finish(command)
}

#[test]
fn the_launcher_takes_its_settings_from_the_file() {
    let (code, stdout, _) = with_file("launch.tag_output = true", &[], "echo hello");
    assert_eq!((code, stdout.as_str()), (0, "[0] hello\n"));
    let (code, _, stderr) = with_file("launch.timeout = '1ms'", &[], "exec sleep 1000");
    assert_eq!(code, 124, "{stderr}");
}

#[test]
fn the_launcher_takes_its_settings_from_variables() {
    let tagged = with_variable("PHALANX_TAG_OUTPUT", "true", script(1, &[], "echo hello"));
    assert_eq!(tagged.1, "[0] hello\n");
    let late = with_variable("PHALANX_TIMEOUT", "1ms", script(1, &[], "exec sleep 1000"));
    assert_eq!(late.0, 124, "{}", late.2);
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let (_folder, file) = file("launch.tag_output = true\nlaunch.timeout = '1ms'");
    let options = ["--config", file.to_str().unwrap()];
    let command = script(1, &options, "echo hello");
    let mut quiet = script(
        1,
        &[&options[..], &["--tag-output=false"]].concat(),
        "echo hello",
    );
    quiet.env("PHALANX_TIMEOUT", "none");
    assert_eq!(finish(quiet), (0, "hello\n".to_owned(), String::new()));
    let mut tagged = command;
    tagged.env("PHALANX_TIMEOUT", "none");
    assert_eq!(finish(tagged).1, "[0] hello\n");
    let mut late = script(1, &["--timeout", "0.001"], "exec sleep 1000");
    late.env("PHALANX_TIMEOUT", "1h");
    assert_eq!(finish(late).0, 124);
}

#[test]
fn binding_follows_the_setting() {
    let list = "grep Cpus_allowed_list /proc/self/status";
    let bound = with_variable("PHALANX_BIND", "core", script(1, &[], list));
    let flag = finish(script(1, &["--bind", "core"], list));
    assert_eq!(bound, flag);
    let mut free = script(1, &["--bind", "none"], list);
    free.env("PHALANX_BIND", "core");
    assert_eq!(finish(free), finish(script(1, &[], list)));
}

#[test]
fn the_arena_of_each_rank_is_as_large_as_asked_for() {
    let size = |value| -> u64 {
        let (code, stdout, stderr) =
            with_variable("PHALANX_ARENA", value, script(1, &[], SEGMENT_SIZE));
        assert_eq!(code, 0, "{stderr}");
        stdout.trim_end().parse().unwrap()
    };
    assert_eq!(size("64MiB") - size("8MiB"), 56 << 20);
}

#[test]
fn the_file_that_a_variable_names_reaches_the_ranks_by_its_absolute_path() {
    let (folder, file) = file("");
    let mut command = script(1, &[], REPORT);
    command
        .current_dir(&folder)
        .env("PHALANX_CONFIG", "job.toml");
    let (code, stdout, _) = finish(command);
    let path = file.canonicalize().unwrap();
    assert_eq!((code, stdout.trim_end()), (0, path.to_str().unwrap()));
}

#[test]
fn all_mistakes_are_reported_before_anything_starts() {
    let (_folder, file) = file("launch.bind = 'cores'\nlaunch.timeuot = 3");
    let mut command = phalanx_run(&["-n", "2", "--config", file.to_str().unwrap()]);
    command
        .args(["--", "/bin/sh", "-c", "echo started"])
        .env("PHALANX_EAGER_LIMT", "1")
        .env("PHALANX_WAIT", "share");
    let (code, stdout, stderr) = finish(command);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    for said in [
        "job.toml:1: launch.bind: expected none or core, found `cores`; did you mean core?",
        "job.toml:2: launch.timeuot is not a setting; did you mean launch.timeout?",
        "PHALANX_EAGER_LIMT is not a setting; did you mean PHALANX_EAGER_LIMIT?",
        "PHALANX_WAIT: expected auto, dedicated or shared, found `share`; did you mean shared?",
    ] {
        assert!(stderr.contains(said), "{stderr}");
    }
    let lines: Vec<_> = stderr.lines().collect();
    assert!(
        lines.len() == 4 && lines.iter().all(|line| line.starts_with("phalanx: ")),
        "{stderr}"
    );
}

#[test]
fn a_time_limit_that_no_clock_can_keep_is_refused() {
    let (code, _, stderr) = finish(script(1, &["--timeout", "0.0001"], "true"));
    assert_eq!(code, 2);
    assert!(stderr.contains("from 1ms to 8760h"), "{stderr}");
}
