//! The process group of a rank: the rank and all that it has started and that has not left on purpose.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use phalanx_shm::handoff;
use phalanx_shm::watcher::Place;

/// Sends `signal` to the group of `leader`, which has not been waited for.
pub(crate) fn signal(leader: &Child, signal: Signal) {
    // The only possible failure is a group whose last process has just ended, which is as good.
    killpg(group_of(leader), signal).ok();
}

/// Kills the group of `leader`, which the watcher has at `watched`, and waits until nothing of it runs.
///
/// In this order: until the leader is waited for, the number of the group cannot pass to another.
pub(crate) fn end(leader: &mut Child, watched: &Place) -> io::Result<ExitStatus> {
    let group = group_of(leader);
    signal(leader, Signal::SIGKILL);
    watched.clear();
    let status = leader.wait()?;
    // Seldom is anything left; then the signal is on its way, and who starts the next job wants it to have arrived.
    while killpg(group, None).is_ok() {
        let members = running_members(group);
        if members.is_empty() {
            break;
        }
        for member in members {
            wait_for_death(member)?;
        }
    }
    Ok(status)
}

fn group_of(leader: &Child) -> Pid {
    Pid::from_raw(i32::try_from(leader.id()).expect("process ids fit an int"))
}

/// Without those that have died and whose parent, `init` perhaps, has not waited for them.
fn running_members(group: Pid) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_running_member(*pid, group) == Some(true))
        .collect()
}

/// `None` if the process has gone.
fn is_running_member(pid: u32, group: Pid) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may contain anything, also parentheses; state, parent and group follow it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let number: i32 = fields.nth(1)?.parse().ok()?;
    Some(!is_dead && number == group.as_raw())
}

fn wait_for_death(pid: u32) -> io::Result<()> {
    let death = match handoff::watch(pid) {
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(()),
        death => death?,
    };
    let mut polled = [PollFd::new(death.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut polled, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop).map_err(io::Error::from),
        }
    }
}
