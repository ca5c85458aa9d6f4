//! Jobs over hosts that are reached by the real `ssh`, at a server of the test's own.

use std::env;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Running, eventually, finish};
use crate::member::{arguments, loses_rank_0, meets_all, said};
use crate::server::Server;

const BUSY: &str = "sleep 1000 & echo $PHALANX_RANK $$; wait";

/// Processes of the job whose command line begins and ends like this.
fn named(job: &Running, begin: &str, end: &str) -> Vec<i32> {
    let mut named = job.processes();
    named.retain(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let command = command.trim();
        command.starts_with(begin) && command.ends_with(end)
    });
    named
}

/// Those of both hosts, without their watchers.
fn agents(job: &Running) -> Vec<i32> {
    let mut agents = named(job, env!("CARGO_BIN_EXE_phalanx"), "agent");
    agents.retain(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "phalanx"
    });
    agents
}

#[test]
fn ranks_on_two_hosts_meet_and_know_by_which_address_they_were_reached() {
    let server = Server::start();
    let mut command = server.command("localhost:1,alpha:2,beta:1", &["--"]);
    command
        .arg(env::current_exe().unwrap())
        .args(arguments(&meets_all));
    let (code, output, errors) = finish(command);
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    let said = said(&output);
    let (_, job) = said[0].rsplit_once(' ').unwrap();
    let ranks = [
        "1 127.0.0.2 ranks 1-2",
        "2 127.0.0.2 ranks 1-2",
        "3 127.0.0.3 rank 3",
    ];
    for (got, expected) in said[1..].iter().zip(ranks) {
        assert_eq!(*got, format!("{expected} {job}"));
    }
    // The launcher's own address is that from which its connection came.
    assert!(said[0].starts_with("0 127.0.0."), "{said:?}");
}

#[test]
fn input_output_and_exit_code_pass_through_ssh() {
    let server = Server::start();
    let mut command = server.job(
        "alpha,beta",
        "cat; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo err >&2",
    );
    command.stdin(fs::File::open("/etc/passwd").unwrap());
    let (code, output, errors) = finish(command);
    assert_eq!((code, errors.as_str()), (0, "err\nerr\n"));
    let input = fs::read_to_string("/etc/passwd").unwrap();
    assert!(output.contains(&input));
    assert_eq!(output.len(), input.len() + 2_000_002);
    let (code, _, errors) = finish(server.job(
        "alpha,beta",
        "[ $PHALANX_RANK = 0 ] || exit 7; exec sleep 1000",
    ));
    assert_eq!(code, 7, "{errors}");
    assert!(
        errors.contains(" on host beta) exited with code 7"),
        "{errors}"
    );
}

#[test]
fn a_rank_that_is_killed_is_named_with_its_host_and_told_to_the_others() {
    let server = Server::start();
    let mut command = server.command("alpha,beta", &["--", "/bin/sh"]);
    command
        .args(["-c", "trap '' TERM; exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args(arguments(&loses_rank_0));
    let (code, output, errors) = finish(command);
    assert_eq!(code, 137, "{errors}");
    assert!(
        errors.contains(" on host alpha) was killed by signal 9 (SIGKILL)"),
        "{errors}"
    );
    assert_eq!(said(&output), ["rank 0 was lost: killed by signal 9"]);
}

#[test]
fn an_interrupt_reaches_the_ranks_and_a_second_kills_them() {
    let server = Server::start();
    let body = "trap 'echo interrupted' INT; echo ready; while :; do sleep 1000 & wait; done";
    let mut job = Running::start(server.job("alpha,beta", body));
    job.lines(2);
    job.signal(Signal::SIGINT);
    assert_eq!(job.lines(2), ["interrupted"; 2]);
    job.signal(Signal::SIGINT);
    assert_eq!(job.wait(), Some(130));
    eventually("all gone", || job.processes().is_empty());
}

#[test]
fn nothing_is_left_on_the_hosts_of_a_launcher_that_is_killed() {
    let server = Server::start();
    let mut job = Running::start(server.job("alpha:2,beta:2", BUSY));
    job.lines(4);
    job.signal(Signal::SIGKILL);
    assert_eq!(job.wait(), None);
    eventually("all gone", || job.processes().is_empty());
}

#[test]
fn a_host_whose_agent_is_killed_is_named_and_nothing_is_left() {
    let server = Server::start();
    let mut job = Running::start(server.job("alpha:2,beta:2", BUSY));
    job.lines(4);
    let agents = agents(&job);
    assert_eq!(agents.len(), 2, "{agents:?}");
    kill(Pid::from_raw(agents[0]), Signal::SIGKILL).unwrap();
    assert_eq!(job.wait(), Some(125));
    let errors = job.errors();
    assert!(errors.starts_with("phalanx: host "), "{errors}");
    assert!(errors.contains(" was lost: "), "{errors}");
    eventually("all gone", || job.processes().is_empty());
}

#[test]
fn a_host_whose_connection_is_cut_is_named_and_nothing_is_left() {
    let server = Server::start();
    let mut job = Running::start(server.job("alpha:2,beta:2", BUSY));
    job.lines(4);
    let clients: Vec<_> = ["alpha", "beta"]
        .iter()
        .map(|host| {
            let mut clients = named(&job, "ssh ", "'phalanx'");
            clients.retain(|pid| {
                let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                command
                    .split(|&byte| byte == 0)
                    .any(|word| word == host.as_bytes())
            });
            clients
        })
        .collect();
    assert_eq!(clients[1].len(), 1, "{clients:?}");
    kill(Pid::from_raw(clients[1][0]), Signal::SIGKILL).unwrap();
    assert_eq!(job.wait(), Some(125));
    let errors = job.errors();
    assert!(
        errors.starts_with("phalanx: host beta was lost: ")
            && errors.ends_with("; with it went ranks 2-3\n"),
        "{errors}"
    );
    eventually("all gone", || job.processes().is_empty());
}

#[test]
fn a_host_with_an_unknown_key_is_named_with_what_ssh_says_and_nobody_is_asked() {
    let server = Server::start();
    let (code, output, errors) =
        finish(server.command_with("strange_config", "alpha", &["--", "true"]));
    assert_eq!((code, output.as_str()), (125, ""));
    assert!(
        errors.contains("phalanx: alpha: Host key verification failed."),
        "{errors}"
    );
    assert!(
        errors.contains("phalanx: host alpha cannot be reached: "),
        "{errors}"
    );
}

#[test]
fn programs_that_a_host_has_not_are_named() {
    let server = Server::start();
    let (code, _, errors) = finish(server.command("alpha", &["--", "./no-such-program"]));
    assert_eq!(code, 127);
    assert_eq!(
        errors,
        "phalanx: host alpha: cannot start rank 0: ./no-such-program was not found\n"
    );
    let options = ["--remote-phalanx", "/nowhere/phalanx", "--", "true"];
    let (code, _, errors) = finish(server.command("alpha", &options));
    assert_eq!(code, 125);
    assert!(
        errors.starts_with("phalanx: host alpha has no `phalanx`"),
        "{errors}"
    );
}
