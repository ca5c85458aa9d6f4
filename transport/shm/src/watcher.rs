//! A process that outlives its launcher by a moment, to kill what the launcher can no longer kill.
//!
//! The kernel kills the ranks of a launcher that is killed, but not what the ranks have started. The watcher does that: a fork of the
//! launcher which reads a socket and knows from it which process groups there are.
//!
//! ```text
//!   rank, before exec --- its group ------>|
//!   launcher, before it waits for a rank --|- forget it --> watcher ... end of the socket: kill the groups that are left
//! ```
//!
//! # Invariants
//! - A group is announced by its leader before that runs any code of the program, so there is none that the watcher does not know.
//! - A group is forgotten when everything in it has been sent SIGKILL and before its leader is waited for, so its number belongs to
//!   it as long as the launcher lives. When the launcher has died, the number could pass to strangers only if the whole group were
//!   gone and process ids had come round within the moment until the watcher acts.
//! - The watcher has a session of its own, so neither the terminal's signals nor one to the launcher's group reach it; all signals
//!   that can be blocked are. It holds no descriptor but its end of the socket, so nobody waits for it to close something.
//! - It is a copy of a process that may have had other threads, and obeys the rules of [`handoff`](crate::handoff): system calls and
//!   memory that was there before the fork, nothing else.

#![expect(
    unsafe_code,
    reason = "code in a forked child has no safe form; the rules are at the top of this file"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::unistd::{Pid, getpid, read, setsid};

/// The watcher of a job. Dropping it ends it without killing anything else.
///
/// # Examples
/// ```
/// use phalanx_shm::handoff::{Handoff, prepare};
/// use phalanx_shm::watcher::Watcher;
/// use std::os::unix::process::CommandExt;
/// use std::process::Command;
///
/// let watcher = Watcher::start(1)?;
/// let mut command = Command::new("true");
/// let watched = Some(watcher.line());
/// prepare(command.process_group(0), Handoff { watched, ..Handoff::default() })?;
/// let mut child = command.spawn()?;
/// // If this process were killed here, the watcher would kill the group of `child`.
/// watcher.line().forget(child.id());
/// child.wait()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Watcher {
    process: Child,
    line: Line,
}

/// What is told to a watcher. It lives as long as one of these is open in any process.
#[derive(Clone, Debug)]
pub struct Line(Arc<OwnedFd>);

impl Watcher {
    /// Starts a watcher with room for `groups` process groups at a time. Start it before anything that it should not keep in memory.
    ///
    /// # Errors
    /// If there can be no more processes or descriptors.
    pub fn start(groups: usize) -> io::Result<Self> {
        let (line, end) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let mut watch = Watch {
            end: end.as_raw_fd(),
            open_files: RawFd::try_from(open_files).unwrap_or(RawFd::MAX),
            groups: vec![0; groups],
        };
        let mut command = Command::new("phalanx-watch");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: the closure runs in the forked child, where only async-signal-safe work is sound. `Watch::run` makes system calls
        // through thin wrappers that neither allocate nor lock, works in memory that was allocated above, and does not return.
        unsafe { command.pre_exec(move || watch.run()) };
        // No program is ever executed: the child closes the pipe through which an error of `exec` would come, and goes on watching.
        let process = command.spawn()?;
        Ok(Self {
            process,
            line: Line(Arc::new(line)),
        })
    }

    /// The line to this watcher.
    #[must_use]
    pub fn line(&self) -> Line {
        self.line.clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Both can only fail if it has been waited for, which nobody else can do.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Line {
    /// Forgets the group that process `leader` leads. Call it when the whole group has been sent SIGKILL and before `leader` is
    /// waited for.
    pub fn forget(&self, leader: u32) {
        self.tell(-i64::from(leader));
    }

    /// Announces the group that the calling process leads; between fork and exec.
    pub(crate) fn announce(&self) {
        self.tell(getpid().as_raw().into());
    }

    /// A watcher that somebody killed is no reason for a job to fail, and the only reason for this to.
    fn tell(&self, group: i64) {
        let bytes = group.to_le_bytes();
        while send(self.0.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL) == Err(Errno::EINTR) {}
    }
}

/// What the watcher knows.
struct Watch {
    end: RawFd,
    /// No descriptor is as high, on kernels that cannot close all at once.
    open_files: RawFd,
    /// The groups to be killed; zero where there is none.
    groups: Vec<i32>,
}

impl Watch {
    /// Runs in the child, and ends it; see the invariants.
    fn run(&mut self) -> io::Result<()> {
        setsid()?;
        SigSet::all().thread_set_mask()?;
        // What `ps` and `top` show of it.
        prctl::set_name(c"phalanx-watch")?;
        self.close_all_others();
        // SAFETY: the parent made the descriptor for this process, which uses it under this name alone.
        let end = unsafe { OwnedFd::from_raw_fd(self.end) };
        let mut message = [0; 8];
        loop {
            match read(&end, &mut message) {
                Ok(8) => self.learn(i64::from_le_bytes(message)),
                Err(Errno::EINTR) => {}
                _ => break,
            }
        }
        for &group in self.groups.iter().filter(|&&group| group > 0) {
            // Of a group that has ended by itself nothing is left to be killed.
            killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
        }
        // SAFETY: ends this process at once; none of the parent's code at exit runs here.
        unsafe { libc::_exit(0) }
    }

    fn learn(&mut self, message: i64) {
        let Ok(group) = i32::try_from(message.abs()) else {
            return;
        };
        let (old, new) = if message > 0 { (0, group) } else { (group, 0) };
        if let Some(place) = self.groups.iter_mut().find(|place| **place == old) {
            *place = new;
        }
    }

    /// Also the pipe on which the parent waits for news of `exec`: it goes on when that is closed.
    fn close_all_others(&self) {
        let close = |first: RawFd, last: libc::c_uint| {
            let first = libc::c_uint::try_from(first).unwrap_or(0);
            // SAFETY: this copy of the process uses none of these descriptors again, whoever owned them in the parent.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
        };
        let below = libc::c_uint::try_from(self.end - 1).unwrap_or(0);
        let is_closed =
            (self.end == 3 || close(3, below)) && close(self.end + 1, libc::c_uint::MAX);
        if !is_closed {
            for number in (3..self.open_files).filter(|&number| number != self.end) {
                // SAFETY: as above.
                unsafe { libc::close(number) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::{Handoff, prepare};
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;

    /// A process that is the leader of a group of two.
    fn pair(watcher: &Watcher) -> Child {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "sleep 1000 & echo started; wait"])
            .stdout(Stdio::piped())
            .process_group(0);
        let watched = Some(watcher.line());
        let handoff = Handoff {
            watched,
            ..Handoff::default()
        };
        prepare(&mut command, handoff).unwrap();
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        child
    }

    /// Closes all lines to the watcher and waits for its end.
    fn hang_up(mut watcher: Watcher) -> std::process::ExitStatus {
        let (unconnected, _) = std::os::unix::net::UnixStream::pair().unwrap();
        watcher.line = Line(Arc::new(unconnected.into()));
        watcher.process.wait().unwrap()
    }

    #[test]
    fn when_nobody_can_tell_it_anything_it_kills_what_it_knows() {
        let watcher = Watcher::start(3).unwrap();
        let mut pairs = [pair(&watcher), pair(&watcher), pair(&watcher)];
        let forgotten = &mut pairs[1];
        watcher.line().forget(forgotten.id());
        assert!(hang_up(watcher).success());
        assert_eq!(forgotten.try_wait().unwrap(), None);
        let group = Pid::from_raw(forgotten.id().cast_signed());
        killpg(group, Signal::SIGKILL).unwrap();
        for pair in &mut pairs {
            let status = pair.wait().unwrap();
            assert_eq!(status.signal(), Some(libc::SIGKILL));
            // The other process of the group held it open.
            let mut rest = Vec::new();
            io::Read::read_to_end(pair.stdout.as_mut().unwrap(), &mut rest).unwrap();
        }
    }

    #[test]
    fn a_place_is_used_again() {
        let watcher = Watcher::start(1).unwrap();
        for _ in 0..3 {
            let mut pair = pair(&watcher);
            let group = Pid::from_raw(pair.id().cast_signed());
            killpg(group, Signal::SIGKILL).unwrap();
            watcher.line().forget(pair.id());
            pair.wait().unwrap();
        }
        let mut last = pair(&watcher);
        hang_up(watcher);
        assert_eq!(last.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_watcher_that_is_dropped_ends_and_kills_nothing() {
        let watcher = Watcher::start(1).unwrap();
        let mut pair = pair(&watcher);
        let process = watcher.process.id();
        drop(watcher);
        assert!(!std::path::Path::new(&format!("/proc/{process}/stat")).exists());
        assert_eq!(pair.try_wait().unwrap(), None);
        let group = Pid::from_raw(pair.id().cast_signed());
        killpg(group, Signal::SIGKILL).unwrap();
        pair.wait().unwrap();
    }

    #[test]
    fn who_tells_something_to_a_dead_watcher_goes_on() {
        let mut watcher = Watcher::start(1).unwrap();
        watcher.process.kill().unwrap();
        watcher.process.wait().unwrap();
        let mut pair = pair(&watcher);
        watcher.line().forget(pair.id());
        let group = Pid::from_raw(pair.id().cast_signed());
        killpg(group, Signal::SIGKILL).unwrap();
        pair.wait().unwrap();
    }
}
