//! Hosts that cannot be used: what is said of them, and with which code the command ends.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Running, finish};
use crate::stand_in::StandIn;

/// Runs a job that cannot start: its code, and the lines that say why.
fn refused(command: Command) -> (i32, Vec<String>) {
    let (code, output, errors) = finish(command);
    assert_eq!(output, "");
    let lines = errors.lines();
    let lines = lines.map(|line| line.strip_prefix("phalanx: ").unwrap().to_owned());
    (code, lines.collect())
}

#[test]
fn a_program_that_a_host_has_not_is_named_with_the_host() {
    let stand_in = StandIn::new();
    for (program, code, said) in [
        (
            "no-such-program",
            127,
            "no-such-program was not found in PATH",
        ),
        ("/etc/passwd", 126, "/etc/passwd cannot be executed"),
    ] {
        let (got, lines) = refused(stand_in.command("b:2", &["--", program]));
        assert_eq!(got, code);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let begin = format!("host b: cannot start rank 0: {said}");
        assert!(lines[0].starts_with(&begin), "{lines:?}");
    }
}

#[test]
fn a_directory_that_a_host_has_not_is_named_with_the_host() {
    let stand_in = StandIn::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let reach = stand_in.script(
        "elsewhere",
        &format!(
            "rmdir {0}; exec {1}/reach \"$@\"",
            path.display(),
            stand_in.folder().display()
        ),
    );
    let mut command = stand_in.job("b", &[], "true");
    command
        .current_dir(&path)
        .env("PHALANX_LAUNCH_AGENT", reach);
    let (code, lines) = refused(command);
    assert_eq!(code, 125);
    let begin = format!(
        "host b: the directory {} cannot be entered there",
        path.display()
    );
    assert!(lines[0].starts_with(&begin), "{lines:?}");
}

#[test]
fn a_host_without_phalanx_is_named_with_the_cure() {
    let stand_in = StandIn::new();
    let options = ["--remote-phalanx", "/nowhere/phalanx"];
    let (code, lines) = refused(stand_in.job("b", &options, "true"));
    assert_eq!(code, 125);
    assert!(
        lines[0].starts_with("host b has no `phalanx`") && lines[0].ends_with("--remote-phalanx"),
        "{lines:?}"
    );
}

#[test]
fn phalanx_is_found_in_the_path_of_a_host_if_it_is_not_where_it_is_here() {
    let stand_in = StandIn::new();
    let real = env!("CARGO_BIN_EXE_phalanx");
    let path = stand_in.script("other-name", &format!("exec {real} \"$@\""));
    let options = ["--remote-phalanx", "other-name"];
    let (code, lines) = refused(stand_in.job("b", &options, "true"));
    assert_eq!(code, 125, "{lines:?}");
    let reach = stand_in.script(
        "with-path",
        &format!(
            "shift; export PATH={}:$PATH; exec /bin/sh -c \"$*\"",
            path.parent().unwrap().display()
        ),
    );
    let mut command = stand_in.job("b", &options, "true");
    command.env("PHALANX_LAUNCH_AGENT", reach);
    assert_eq!(finish(command), (0, String::new(), String::new()));
}

#[test]
fn another_version_is_named_with_both_versions() {
    let stand_in = StandIn::new();
    let path = stand_in.script(
        "old-phalanx",
        "printf '\\nphalanx agent 7 0.0.9\\n'; exec cat > /dev/null",
    );
    let options = ["--remote-phalanx", path.to_str().unwrap()];
    let (code, lines) = refused(stand_in.job("b", &options, "true"));
    assert_eq!(code, 125);
    let ours = env!("CARGO_PKG_VERSION");
    let said = format!("host b has phalanx 0.0.9 (protocol 7) and this host {ours} (protocol ");
    assert!(lines[0].starts_with(&said), "{lines:?}");
}

#[test]
fn what_a_login_prints_is_skipped_and_what_is_no_agent_is_named() {
    let stand_in = StandIn::new();
    let folder = stand_in.folder().display();
    let polite = stand_in.script(
        "polite",
        &format!("echo Welcome to $1; printf unfinished; exec {folder}/reach \"$@\""),
    );
    let mut command = stand_in.job("b", &[], "echo on");
    command.env("PHALANX_LAUNCH_AGENT", polite);
    assert_eq!(finish(command), (0, "on\n".to_owned(), String::new()));

    let chatty = stand_in.script("chatty", "echo Go away; echo really >&2; exit 3");
    let mut command = stand_in.job("b", &[], "echo on");
    command.env("PHALANX_LAUNCH_AGENT", &chatty);
    let (code, lines) = refused(command);
    assert_eq!(code, 125);
    let said = format!(
        "host b did not answer: `{}` exited with code 3 after it had printed \"Go away\"",
        chatty.display()
    );
    assert_eq!(lines, ["b: really", &said]);

    let mad = stand_in.script(
        "mad",
        "printf 'phalanx agent 1 0.1.0\\n\\1\\0\\0\\0\\377'; exec cat > /dev/null",
    );
    let mut command = stand_in.job("b", &[], "echo on");
    command.env("PHALANX_LAUNCH_AGENT", mad);
    let (code, lines) = refused(command);
    assert_eq!(code, 125);
    assert!(
        lines[0].starts_with("host b sent what no agent sends"),
        "{lines:?}"
    );
}

#[test]
fn a_command_that_cannot_be_started_is_named() {
    let stand_in = StandIn::new();
    let mut command = stand_in.job("b", &[], "true");
    command.env("PHALANX_LAUNCH_AGENT", "/nowhere/ssh -v");
    let (code, lines) = refused(command);
    assert_eq!(code, 125);
    assert!(
        lines[0].starts_with("host b cannot be reached: `/nowhere/ssh -v` cannot be started"),
        "{lines:?}"
    );
}

#[test]
fn a_job_that_waits_for_a_host_can_be_ended_and_says_for_which() {
    let stand_in = StandIn::new();
    let folder = stand_in.folder().display().to_string();
    // Host c never answers.
    let deaf = stand_in.script(
        "deaf",
        &format!("[ $1 = c ] && exec sleep 1000; exec {folder}/reach \"$@\""),
    );
    let mut command = stand_in.job("b,c", &["--timeout", "1"], "exec sleep 1000");
    command.env("PHALANX_LAUNCH_AGENT", &deaf);
    let (code, lines) = refused(command);
    assert_eq!(code, 124);
    assert_eq!(
        lines,
        ["the time limit of 1 s has passed, while waiting for host c to start"]
    );

    let mut command = stand_in.job("b,c", &[], "echo on; exec sleep 1000");
    command.env("PHALANX_LAUNCH_AGENT", &deaf);
    let mut job = Running::start(command);
    job.lines(1);
    job.signal(Signal::SIGINT);
    assert_eq!(job.wait(), Some(130));
    assert_eq!(
        job.errors(),
        "phalanx: ended by signal 2 while waiting for host c to start\n"
    );
    assert_eq!(job.processes(), Vec::<i32>::new());
}

#[test]
fn ranks_that_run_already_are_ended_when_another_host_fails() {
    let stand_in = StandIn::new();
    let mut command = stand_in.command("localhost,b,c", &["-n", "2", "--", "sleep", "1000"]);
    command.args([":", "-n", "1", "/nonexistent"]);
    let mut job = Running::start(command);
    assert_eq!(job.wait(), Some(127));
    let errors = job.errors();
    assert!(
        errors.starts_with("phalanx: host c: cannot start rank 2: /nonexistent"),
        "{errors}"
    );
    assert_eq!(job.processes(), Vec::<i32>::new());
}

#[test]
fn without_hosts_the_number_of_ranks_has_to_be_given() {
    let (code, lines) = refused(crate::harness::phalanx_run(&["true"]));
    assert_eq!(code, 2);
    assert!(lines[0].contains("-n N"), "{lines:?}");
}
