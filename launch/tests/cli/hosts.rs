//! Jobs over several hosts: where ranks run, what they get, what they say and how they end.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::endings::{INTERRUPTED, interrupt_twice};
use crate::harness::{Running, eventually, finish};
use crate::stand_in::StandIn;

/// The output of a job that ends well, by lines, sorted.
fn lines(command: std::process::Command) -> Vec<String> {
    let (code, output, errors) = finish(command);
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    let mut lines: Vec<_> = output.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

const WHERE: &str = "echo $PHALANX_RANK of $PHALANX_SIZE on ${FAKE_HOST-here}";

#[test]
fn ranks_are_numbered_over_all_hosts_and_this_one_needs_no_agent() {
    let stand_in = StandIn::new();
    let got = lines(stand_in.job("localhost:2,b:2,c", &[], WHERE));
    let expected = [
        "0 of 5 on here",
        "1 of 5 on here",
        "2 of 5 on b",
        "3 of 5 on b",
        "4 of 5 on c",
    ];
    assert_eq!(got, expected);
}

#[test]
fn this_host_is_known_by_each_of_its_names() {
    let stand_in = StandIn::new();
    let name = nix::unistd::gethostname().unwrap();
    let name = name.to_str().unwrap();
    let on = "echo $PHALANX_RANK ${FAKE_HOST-here} ${PHALANX_JOB:-none}";
    let got = lines(stand_in.job(&format!("localhost,{name},:1"), &[], on));
    assert_eq!(
        got,
        ["0 here none", "1 here none", "2 here none"],
        "one segment holds all"
    );
}

#[test]
fn hosts_take_ranks_up_to_their_slots_one_after_the_other_or_in_turn() {
    let stand_in = StandIn::new();
    let on = "echo $PHALANX_RANK $FAKE_HOST";
    let placed = |options: &[&str]| lines(stand_in.job("b:2,c:2", options, on));
    assert_eq!(placed(&["-n", "3"]), ["0 b", "1 b", "2 c"]);
    assert_eq!(placed(&["--map-by", "node"]), ["0 b", "1 c", "2 b", "3 c"]);
    let more = ["-n", "5", "--oversubscribe"];
    assert_eq!(placed(&more), ["0 b", "1 b", "2 b", "3 c", "4 c"]);
    let (code, _, errors) = finish(stand_in.job("b:2,c:2", &["-n", "5"], on));
    assert_eq!(code, 2);
    assert!(
        errors.contains("5 ranks do not fit into the 4 slots of 2 hosts"),
        "{errors}"
    );
}

#[test]
fn hostfiles_of_both_mpis_are_read() {
    let stand_in = StandIn::new();
    let path = stand_in.folder().join("hosts");
    fs::write(&path, "# two\nb slots=1\nc:2   # MPICH's\n").unwrap();
    let mut command = crate::harness::phalanx_run(&["--hostfile"]);
    command
        .arg(&path)
        .args(["--", "/bin/sh", "-c", "echo $PHALANX_RANK $FAKE_HOST"])
        .env("PHALANX_LAUNCH_AGENT", stand_in.folder().join("reach"));
    assert_eq!(lines(command), ["0 b", "1 c", "2 c"]);
    fs::write(&path, "b slots=one\n").unwrap();
    let mut command = crate::harness::phalanx_run(&["--hostfile"]);
    let (code, _, errors) = {
        command.arg(&path).args(["--", "true"]);
        finish(command)
    };
    assert_eq!(code, 2);
    assert!(
        errors.contains("line 1, column 9: \"one\" is no number of ranks"),
        "{errors}"
    );
}

#[test]
fn programs_after_colons_are_placed_after_the_first() {
    let stand_in = StandIn::new();
    let mut command = stand_in.command("b:2,c:2", &["-n", "1", "--", "/bin/sh", "-c"]);
    command.args([
        "echo first $FAKE_HOST",
        ":",
        "-n",
        "3",
        "/bin/sh",
        "-c",
        "echo then $FAKE_HOST",
    ]);
    assert_eq!(lines(command), ["first b", "then b", "then c", "then c"]);
}

#[test]
fn ranks_have_the_launchers_settings_directory_and_paths_and_not_the_hosts_own() {
    let stand_in = StandIn::new();
    let config = stand_in.folder().join("config.toml");
    fs::write(&config, "[protocol]\neager_limit = \"4KiB\"\n").unwrap();
    let body = "echo $PWD; echo $PATH; echo $LD_LIBRARY_PATH; echo $GIVEN $NAMED ${OTHER-none}
        echo $PHALANX_YIELDS $PHALANX_EAGER_LIMIT ${PHALANX_SPIN-none} ${PHALANX_CONFIG-none}";
    let path = std::env::var("PATH").unwrap();
    let options = [
        "--config",
        config.to_str().unwrap(),
        "-x",
        "GIVEN=a b",
        "-x",
        "NAMED",
    ];
    let mut command = stand_in.job("b", &options, body);
    command
        .current_dir(stand_in.folder())
        .env("LD_LIBRARY_PATH", "/some/libraries")
        .env("NAMED", "n")
        .env("OTHER", "o")
        .env("PHALANX_YIELDS", "3");
    let (code, output, errors) = finish(command);
    assert_eq!((code, errors.as_str()), (0, ""));
    let folder = stand_in.folder().canonicalize().unwrap();
    let expected = [
        folder.to_str().unwrap(),
        &path,
        "/some/libraries",
        "a b n none",
        "3 4KiB none none",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn arguments_arrive_as_they_are_however_long() {
    let stand_in = StandIn::new();
    let long = "x".repeat(100_000);
    let mut command = stand_in.job("b", &[], "printf '<%s>' \"$@\"");
    command.args(["sh", "", "a b\n'\"$(c)\\", &long]);
    let (code, output, _) = finish(command);
    assert_eq!(code, 0);
    assert_eq!(output, format!("<><a b\n'\"$(c)\\><{long}>"));
}

#[test]
fn a_variable_to_be_exported_has_to_be_there() {
    let stand_in = StandIn::new();
    let (code, _, errors) = finish(stand_in.job("b", &["-x", "NO_SUCH_VARIABLE"], "true"));
    assert_eq!(code, 2);
    assert!(
        errors.contains("-x NO_SUCH_VARIABLE: it is not set here"),
        "{errors}"
    );
}

#[test]
fn each_rank_of_a_host_may_be_bound_to_a_processor_of_that_host() {
    let stand_in = StandIn::new();
    let body = "grep Cpus_allowed_list /proc/self/status";
    let got = lines(stand_in.job("b:1,c:1", &["--bind", "core"], body));
    assert_eq!(got[0], got[1], "each is the first rank of its host");
}

#[test]
fn lines_of_ranks_of_all_hosts_stay_whole_and_in_order() {
    let stand_in = StandIn::new();
    let body = "i=0; while [ $i -lt 2000 ]; do echo line $i 0123456789abcdef end; i=$((i+1)); done";
    let (code, output, _) = finish(stand_in.job("localhost,b:3,c:3", &["--tag-output"], body));
    assert_eq!(code, 0);
    let mut next = [0; 7];
    for line in output.lines() {
        let (tag, text) = line.split_once(' ').unwrap();
        let rank: usize = tag.trim_matches(['[', ']']).parse().unwrap();
        assert_eq!(text, format!("line {} 0123456789abcdef end", next[rank]));
        next[rank] += 1;
    }
    assert_eq!(next, [2000; 7]);
}

#[test]
fn more_output_than_may_be_under_way_arrives_whole() {
    let stand_in = StandIn::new();
    let body = "head -c 3000000 /dev/zero | tr '\\0' $PHALANX_RANK; echo; head -c 3000000 /dev/zero | tr '\\0' e >&2";
    let (code, output, errors) = finish(stand_in.job("b,c", &[], body));
    assert_eq!(code, 0);
    for digit in ['0', '1'] {
        assert_eq!(output.matches(digit).count(), 3_000_000);
    }
    assert_eq!(errors.matches('e').count(), 6_000_000);
}

#[test]
fn input_goes_to_rank_0_wherever_it_is() {
    let stand_in = StandIn::new();
    let mut command = stand_in.job("b,c", &[], "md5sum; echo over");
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input: Vec<u8> = (0..3_000_000_u32)
        .map(|number| number.to_le_bytes()[1])
        .collect();
    // It is dropped after that, which is the end of the input.
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let mut expected = std::process::Command::new("md5sum");
    let mut expected = expected
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    expected.stdin.take().unwrap().write_all(&input).unwrap();
    let expected = String::from_utf8(expected.wait_with_output().unwrap().stdout).unwrap();
    let empty = "d41d8cd98f00b204e9800998ecf8427e";
    assert!(
        output.contains(expected.trim()) && output.contains(empty),
        "{output}"
    );
    assert_eq!(output.matches("over").count(), 2);
}

#[test]
fn a_rank_0_that_leaves_its_input_unread_does_not_keep_the_job() {
    let stand_in = StandIn::new();
    let mut command = stand_in.job("b", &[], "head -c 1; exec <&-; echo; echo on");
    command.stdin(Stdio::from(fs::File::open("/dev/zero").unwrap()));
    let (code, output, _) = finish(command);
    assert_eq!(code, 0);
    assert!(output.ends_with("on\n"));
}

#[test]
fn the_exit_code_is_that_of_the_first_rank_that_failed_wherever_it_ran() {
    let stand_in = StandIn::new();
    let body = "[ $PHALANX_RANK = 3 ] || exec sleep 1000; exit 42";
    let (code, _, errors) = finish(stand_in.job("localhost,b:2,c:2", &[], body));
    assert_eq!(code, 42);
    assert!(
        errors.starts_with("phalanx: rank 3 (pid ")
            && errors.ends_with(" on host c) exited with code 42\n"),
        "{errors}"
    );
}

#[test]
fn a_rank_that_fails_before_other_hosts_have_started_ends_the_job() {
    let stand_in = StandIn::new();
    let folder = stand_in.folder().display();
    // Host c never answers, so neither do ranks start here.
    let deaf = stand_in.script(
        "deaf",
        &format!("[ $1 = c ] && exec sleep 1000; exec {folder}/reach \"$@\""),
    );
    let mut command = stand_in.job("localhost,b,c", &[], "exit 42");
    command.env("PHALANX_LAUNCH_AGENT", deaf);
    let mut job = Running::start(command);
    assert_eq!(job.wait(), Some(42));
    let errors = job.errors();
    assert!(
        errors.contains(" on host b) exited with code 42"),
        "{errors}"
    );
    assert_eq!(job.processes(), Vec::<i32>::new());
}

#[test]
fn a_killed_rank_is_named_with_its_host_and_signal_and_nothing_is_left() {
    let stand_in = StandIn::new();
    let body = "echo $PHALANX_RANK $$; exec sleep 1000";
    let mut job = Running::start(stand_in.job("localhost,b,c", &[], body));
    let lines = job.lines(3);
    let pid: i32 = lines[1].strip_prefix("1 ").unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGSEGV).unwrap();
    assert_eq!(job.wait(), Some(139));
    let said = format!("phalanx: rank 1 (pid {pid} on host b) was killed by signal 11 (SIGSEGV)\n");
    assert_eq!(job.errors(), said);
    assert_eq!(job.processes(), Vec::<i32>::new());
}

#[test]
fn the_first_interrupt_is_forwarded_once_and_the_second_kills() {
    let stand_in = StandIn::new();
    interrupt_twice(Running::start(stand_in.job(
        "localhost,b,c",
        &[],
        INTERRUPTED,
    )));
}

#[test]
fn ranks_have_time_to_end_in_their_own_way() {
    let stand_in = StandIn::new();
    let body = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done";
    let mut job = Running::start(stand_in.job("b,c", &[], body));
    job.lines(2);
    job.signal(Signal::SIGTERM);
    assert_eq!(job.lines(2), ["saved", "saved"]);
    assert_eq!(job.wait(), Some(143));
    assert_eq!(job.processes(), Vec::<i32>::new());
}

fn is_stopped(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.starts_with('T')
}

#[test]
fn ranks_stop_and_go_on_with_the_launcher() {
    let stand_in = StandIn::new();
    let body = "trap 'echo continued; exit 0' CONT; echo $$; while :; do sleep 1000 & wait; done";
    let mut command = stand_in.job("b", &[], body);
    // A group of its own that this process could continue, as a shell does: no other is stopped by the kernel.
    command.process_group(0);
    let mut job = Running::start(command);
    let rank = job.lines(1).remove(0);
    job.signal(Signal::SIGTSTP);
    for pid in [rank, job.pid().to_string()] {
        eventually("the launcher and the rank have stopped", || {
            is_stopped(&pid)
        });
    }
    job.signal(Signal::SIGCONT);
    assert_eq!(job.lines(1), ["continued"]);
    assert_eq!(job.wait(), Some(0));
}

#[test]
fn the_time_limit_names_the_ranks_that_still_run() {
    let stand_in = StandIn::new();
    let body = "[ $PHALANX_RANK = 1 ] || exec sleep 1000";
    let (code, _, errors) = finish(stand_in.job("b:2,c:2", &["--timeout", "3"], body));
    assert_eq!(code, 124);
    assert_eq!(
        errors,
        "phalanx: the time limit of 3 s has passed, still running: ranks 0, 2-3\n"
    );
}

#[test]
fn a_launcher_that_is_killed_leaves_nothing_on_any_host() {
    let stand_in = StandIn::new();
    let body = "sleep 1000 & echo on; wait";
    let mut job = Running::start(stand_in.job("localhost:2,b:2,c:2", &[], body));
    job.lines(6);
    job.signal(Signal::SIGKILL);
    assert_eq!(job.wait(), None);
    eventually("all gone", || job.processes().is_empty());
}

/// The agent on the host `name`.
pub(crate) fn agent(job: &Running, name: &str) -> Option<i32> {
    job.processes().into_iter().find(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let host = format!("FAKE_HOST={name}");
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        command.ends_with(b"agent\0")
            && comm.trim() == "phalanx"
            && environment
                .split(|&byte| byte == 0)
                .any(|text| text == host.as_bytes())
    })
}

#[test]
fn an_agent_that_is_killed_ends_the_job_and_names_its_host() {
    let stand_in = StandIn::new();
    let body = "sleep 1000 & echo on; wait";
    let mut job = Running::start(stand_in.job("localhost,b:2,c:2", &[], body));
    job.lines(5);
    kill(Pid::from_raw(agent(&job, "b").unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(job.wait(), Some(125));
    let errors = job.errors();
    assert!(
        errors.starts_with("phalanx: host b was lost: ")
            && errors.ends_with("; with it went ranks 1-2\n"),
        "{errors}"
    );
    eventually("all gone", || job.processes().is_empty());
}
