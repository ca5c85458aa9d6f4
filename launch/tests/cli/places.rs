//! What a rank finds when it starts: its place, descriptors, processor and configuration.

use std::collections::BTreeSet;

use crate::harness::{finish, phalanx_run, script};

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn each_rank_finds_its_rank_and_the_size() {
    let (code, stdout, stderr) = finish(script(3, &[], "echo $PHALANX_RANK/$PHALANX_SIZE"));
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(sorted(&stdout), ["0/3", "1/3", "2/3"]);
}

#[test]
fn an_inner_job_replaces_the_place_of_the_outer_and_keeps_its_settings() {
    let inner = format!(
        "{} run -n 2 -- /bin/sh -c 'echo $PHALANX_RANK/$PHALANX_SIZE $PHALANX_EAGER_LIMIT $PHALANX_SEGMENT'",
        env!("CARGO_BIN_EXE_phalanx")
    );
    let mut command = script(1, &[], &inner);
    command
        .env("PHALANX_EAGER_LIMIT", "4096")
        .env("PHALANX_SEGMENT", "name:/of-somebody-else");
    let (code, stdout, _) = finish(command);
    assert_eq!(code, 0);
    let places: Vec<_> = sorted(&stdout)
        .into_iter()
        .map(|line| line.split_once(" fd:").unwrap().0)
        .collect();
    assert_eq!(places, ["0/2 4096", "1/2 4096"]);
}

#[test]
fn programs_are_separated_by_a_colon_and_ranks_count_through() {
    let mut command = phalanx_run(&["-n", "1", "/bin/sh", "-c", "echo head $PHALANX_RANK", ":"]);
    command.args([
        "-n",
        "2",
        "--",
        "/bin/sh",
        "-c",
        "echo $0 $PHALANX_RANK/$PHALANX_SIZE",
        "worker",
    ]);
    let (code, stdout, _) = finish(command);
    assert_eq!(
        (code, sorted(&stdout)),
        (0, vec!["head 0", "worker 1/3", "worker 2/3"])
    );
}

#[test]
fn no_descriptor_but_the_streams_and_the_segment_reaches_a_rank() {
    // The launcher itself is started with one more, as a careless parent does.
    let script = "exec 9</etc/passwd; exec \"$0\" run -n 2 -- /bin/ls -l /proc/self/fd";
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_phalanx")])
        .stdin(std::process::Stdio::null());
    let (code, stdout, _) = finish(command);
    assert_eq!(code, 0);
    let targets = stdout
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(_, target)| target);
    let kinds: Vec<_> = targets
        .map(|target| target.split([':', '(']).next().unwrap().trim())
        .filter(|target| !target.ends_with("/fd"))
        .collect();
    let expected: &[_] = &["/memfd", "pipe"];
    let others: BTreeSet<_> = kinds
        .iter()
        .copied()
        .filter(|kind| *kind != "/dev/null")
        .collect();
    assert_eq!(others.into_iter().collect::<Vec<_>>(), expected, "{stdout}");
    let segments = kinds.iter().filter(|kind| **kind == "/memfd").count();
    assert_eq!(segments, 2, "{stdout}");
}

#[test]
fn ranks_bound_to_cores_take_turns_on_the_allowed_ones() {
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let allowed = (0..nix::sched::CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap());
    let mut expected: Vec<_> = allowed
        .cycle()
        .take(4)
        .map(|core| core.to_string())
        .collect();
    expected.sort();
    let list = "while read name value; do [ $name = Cpus_allowed_list: ] && echo $value; done < /proc/self/status; true";
    let (code, stdout, _) = finish(script(4, &["--bind", "core"], list));
    assert_eq!(
        (code, sorted(&stdout)),
        (0, expected.iter().map(String::as_str).collect())
    );
}

#[test]
fn the_configuration_is_handed_on_by_its_absolute_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.toml");
    std::fs::write(&file, "").unwrap();
    let mut command = script(1, &["--config", "job.toml"], "echo $PHALANX_CONFIG");
    command.current_dir(&folder);
    let (code, stdout, _) = finish(command);
    let path = file.canonicalize().unwrap();
    assert_eq!((code, stdout.trim_end()), (0, path.to_str().unwrap()));
}

#[test]
fn what_is_wrong_with_a_command_line_is_said() {
    for (arguments, said) in [
        (&["-n", "0", "true"][..], "at least one"),
        (&["-n", "many", "true"], "--ranks <N>"),
        (&["-n", "1"], "PROGRAM"),
        (&["true"], "Write -n N, or name hosts"),
        (&["-n", "100000", "true"], "100000 ranks"),
        (
            &["-n", "1", "true", ":", "true"],
            "after a colon comes -n N PROGRAM ARGS, not \"true\"",
        ),
        (
            &["-n", "1", "true", ":", "-n", "0", "true"],
            "no rank for true",
        ),
        (
            &["-n", "1", ":", "-n", "1", "true"],
            "no program before a colon",
        ),
        (&["-n", "1", "--timeout", "0", "true"], "above 0"),
        (
            &["-n", "1", "--bind", "socket", "true"],
            "possible values: none, core",
        ),
        (
            &["-n", "1", "--config", "/nonexistent.toml", "true"],
            "cannot read /nonexistent.toml, which the command line names",
        ),
    ] {
        let (code, stdout, stderr) = finish(phalanx_run(arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
