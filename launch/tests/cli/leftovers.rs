//! Nothing is left: processes and files after kills at random moments.

use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::harness::{Running, empty_pipe, eventually, files, phalanx_run, script};
use crate::stand_in::StandIn;

/// A small generator of pseudo-random numbers (xorshift), so that a failing round can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[derive(Debug)]
enum Victim {
    Launcher,
    Rank,
    All,
}

#[test]
fn nothing_is_left_after_kills_at_random_moments() {
    let shared_before = files(Path::new("/dev/shm"));
    let mut dice = Dice(0x5EED_0F1E_0217);
    for round in 0..24 {
        let folder = tempfile::tempdir().unwrap();
        let mut command = phalanx_run(&["-n", "5", "sleep", "1000"]);
        command.env("TMPDIR", folder.path());
        let mut job = Running::start(command);
        let victim = [Victim::Launcher, Victim::Rank, Victim::All][round % 3..]
            .first()
            .unwrap();
        match victim {
            Victim::Launcher => {}
            Victim::Rank => eventually("a rank has started", || !job.ranks().is_empty()),
            // A process that has only just become the launcher shows no environment yet, by which it is found.
            Victim::All => eventually("the job has started", || !job.processes().is_empty()),
        }
        // Not to wait for anything, but to hit another moment in each round.
        thread::sleep(Duration::from_micros(dice.below(6000)));
        let killed = kill_some(&job, victim, &mut dice);
        let code = job.wait();
        if matches!(victim, Victim::Rank) {
            assert_eq!(code, Some(137), "round {round}: {}", job.errors());
        }
        eventually(
            &format!("round {round}: {victim:?} {killed:?} killed, all gone"),
            || job.processes().is_empty(),
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "round {round}"
        );
    }
    eventually("no new file in /dev/shm", || {
        files(Path::new("/dev/shm"))
            .iter()
            .all(|name| shared_before.contains(name))
    });
}

/// The agents of a job and its launcher, without their watchers and what is about to become a rank.
fn agents(job: &Running) -> Vec<i32> {
    let mut agents = job.processes();
    agents.retain(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let process = Pid::from_raw(*pid);
        let leads = nix::unistd::getpgid(Some(process)) == Ok(process);
        command.ends_with(b"agent\0") && name.trim() == "phalanx" && leads
    });
    agents
}

#[test]
fn nothing_is_left_on_any_host_after_kills_at_random_moments() {
    let stand_in = StandIn::new();
    let mut dice = Dice(0xF00D_0F1E_0217);
    for round in 0..24 {
        let mut command = stand_in.job("localhost,b:2,c:2,d", &[], "sleep 1000 & exec sleep 1000");
        // One is reached through the other in every second round.
        command.env("PHALANX_FAN_OUT", ["16", "1"][round % 2]);
        let mut job = Running::start(command);
        let victim = match round % 3 {
            0 => {
                thread::sleep(Duration::from_micros(dice.below(60_000)));
                job.pid()
            }
            1 => {
                eventually("an agent has started", || !agents(&job).is_empty());
                thread::sleep(Duration::from_micros(dice.below(20_000)));
                one_of(&agents(&job), &mut dice)
            }
            _ => {
                eventually("a rank has started", || !sleepers(&job).is_empty());
                thread::sleep(Duration::from_micros(dice.below(20_000)));
                one_of(&sleepers(&job), &mut dice)
            }
        };
        kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
        let code = job.wait();
        let expected = [None, Some(125), Some(137)][round % 3];
        assert_eq!(code, expected, "round {round}: {}", job.errors());
        eventually(&format!("round {round}: all gone"), || {
            job.processes().is_empty()
        });
    }
}

/// Ranks that have become what they are to be: the leaders of their groups.
fn sleepers(job: &Running) -> Vec<i32> {
    let mut sleepers = job.processes();
    sleepers.retain(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let process = Pid::from_raw(*pid);
        name.trim() == "sleep" && nix::unistd::getpgid(Some(process)) == Ok(process)
    });
    sleepers
}

fn one_of(processes: &[i32], dice: &mut Dice) -> i32 {
    processes[usize::try_from(dice.below(processes.len() as u64)).unwrap()]
}

fn kill_some(job: &Running, victim: &Victim, dice: &mut Dice) -> Vec<i32> {
    let victims = match victim {
        Victim::Launcher => vec![job.pid()],
        Victim::Rank => {
            let ranks = job.ranks();
            vec![ranks[usize::try_from(dice.below(ranks.len() as u64)).unwrap()]]
        }
        Victim::All => {
            let mut all = job.processes();
            let first = usize::try_from(dice.below(all.len() as u64)).unwrap();
            all.rotate_left(first);
            all
        }
    };
    for &pid in &victims {
        // Of all, some may already have died of the others' death.
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
    victims
}

#[test]
fn what_ranks_have_started_ends_with_a_launcher_that_is_killed() {
    let mut dice = Dice(0xC0DE_0F1E_0217);
    for round in 0..40 {
        let mut job = Running::start(script(
            4,
            &[],
            "sleep 1000 & (sleep 1000 & sleep 1000) & echo on; wait",
        ));
        if round % 2 == 0 {
            // Every rank has started something by then.
            job.lines(4);
        } else {
            // Not to wait for anything, but to hit another moment in each round: before, between and after the starts.
            thread::sleep(Duration::from_micros(dice.below(12_000)));
        }
        job.signal(Signal::SIGKILL);
        assert_eq!(job.wait(), None);
        eventually(&format!("round {round}: all gone"), || {
            job.processes().is_empty()
        });
    }
}

#[test]
fn a_signal_to_the_group_of_the_launcher_spares_what_clears_up_after_it() {
    use std::os::unix::process::CommandExt;
    let mut command = script(3, &[], "sleep 1000 & echo on; wait");
    command.process_group(0);
    let mut job = Running::start(command);
    job.lines(3);
    killpg(Pid::from_raw(job.pid()), Signal::SIGKILL).unwrap();
    assert_eq!(job.wait(), None);
    eventually("all gone", || job.processes().is_empty());
}

#[test]
fn a_job_goes_on_without_its_watcher() {
    let mut job = Running::start(script(2, &[], "echo on; exec sleep 1000"));
    job.lines(2);
    let watcher = |pid: &i32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name == "phalanx-watch\n")
    };
    let watchers: Vec<_> = job.processes().into_iter().filter(watcher).collect();
    assert_eq!(watchers.len(), 1, "{watchers:?}");
    kill(Pid::from_raw(watchers[0]), Signal::SIGKILL).unwrap();
    job.signal(Signal::SIGTERM);
    assert_eq!(job.wait(), Some(143));
    assert_eq!(job.processes(), Vec::<i32>::new());
}

#[test]
fn what_a_rank_leaves_running_in_its_group_ends_with_it() {
    let mut job = Running::start(script(2, &[], "sleep 1000 & echo left"));
    assert_eq!(job.lines(2), ["left", "left"]);
    assert_eq!(job.wait(), Some(0));
    assert_eq!(job.processes(), Vec::<i32>::new());
}

#[test]
fn a_process_that_leaves_the_group_does_not_keep_the_launcher() {
    // It holds the pipe of the rank's output open; the rank waits only until it has left.
    let body = "mkfifo \"$0/left\"; setsid sh -c 'echo > \"$0/left\"; exec yes' \"$0\" & read line < \"$0/left\"";
    let folder = tempfile::tempdir().unwrap();
    let mut command = phalanx_run(&["-n", "1", "/bin/sh", "-c", body]);
    command
        .arg(folder.path())
        .stdout(std::process::Stdio::piped());
    let mut job = Running::start(command);
    let reader = std::mem::replace(&mut job.stdout, std::io::BufReader::new(empty_pipe()));
    let reader =
        thread::spawn(move || std::io::copy(&mut { reader }, &mut std::io::sink()).unwrap());
    assert_eq!(job.wait(), Some(0));
    reader.join().unwrap();
}
