//! A process that outlives its launcher by a moment, to kill what the launcher can no longer kill.
//!
//! The kernel kills the ranks of a launcher that is killed, but not what the ranks have started. The watcher does that: a fork of the
//! launcher that sleeps until its end of a pipe says that nobody holds the other, and then kills the process groups of a list.
//!
//! ```text
//!   rank, before exec ------------- its group -->|        |
//!   launcher, before it waits for a rank -- 0 -->| list --|--> watcher
//!   launcher, by being there ----- pipe -------------------|
//! ```
//!
//! The list is memory that all three share, so that nobody is woken, or waits, while a job starts: messages to the watcher cost a
//! job that was started on busy cores milliseconds.
//!
//! # Invariants
//! - A group stands in the list before its leader runs any code of the program, so there is none that the watcher does not know.
//! - It leaves the list when everything in it has been sent SIGKILL and before its leader is waited for, so its number belongs to
//!   it as long as the launcher lives. When the launcher has died, the number could pass to strangers only if the whole group were
//!   gone and process ids had come round within the moment until the watcher acts.
//! - The watcher has a process group of its own, so neither the terminal's signals nor one to the launcher's group reach it, and all
//!   signals that can be blocked are. It holds no descriptor but its end of the pipe, so nobody waits for it to close something.
//! - It is a copy of a process that may have had other threads, and obeys the rules of [`handoff`](crate::handoff): system calls and
//!   memory that was there before the fork, nothing else.

#![expect(
    unsafe_code,
    reason = "a fork and what it runs have no safe form; the rules are at the top of this file"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getpid, pipe2, setpgid};

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
/// let watched = Some(watcher.place(0));
/// prepare(command.process_group(0), Handoff { watched, ..Handoff::default() })?;
/// let mut child = command.spawn()?;
/// // If this process were killed here, the watcher would kill the group of `child`.
/// watcher.place(0).clear();
/// child.wait()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Watcher {
    process: Pid,
    list: Arc<List>,
    /// What tells the watcher of our death. Children hold it until they execute their program.
    _presence: OwnedFd,
}

/// A place in the list of a watcher, for one process group at a time.
#[derive(Clone, Debug)]
pub struct Place {
    list: Arc<List>,
    index: usize,
}

impl Watcher {
    /// Starts a watcher of `places` process groups. Start it before there is anything that a copy of this process should not keep.
    ///
    /// # Errors
    /// If there can be no more processes, descriptors or memory.
    pub fn start(places: usize) -> io::Result<Self> {
        let list = Arc::new(List::new(places)?);
        let (end, presence) = pipe2(OFlag::O_CLOEXEC)?;
        let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let watch = Watch {
            end: &end,
            open_files: RawFd::try_from(open_files).unwrap_or(RawFd::MAX),
            list: &list,
        };
        // No handler of this process runs in the copy, and nothing ends it before it has its own group.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: the child runs `Watch::run` alone, which makes system calls through thin wrappers that neither allocate nor lock,
        // reads memory that was there before, and never returns.
        let forked = unsafe { fork() };
        let watching = match forked {
            // By us, because the watcher may get a core only after somebody has sent a signal to our group.
            // It cannot fail for a child of ours that has executed nothing.
            Ok(ForkResult::Parent { child }) => setpgid(child, child).map(|()| child),
            Ok(ForkResult::Child) => watch.run(),
            Err(error) => Err(error),
        };
        mask.thread_set_mask()?;
        Ok(Self {
            process: watching?,
            list,
            _presence: presence,
        })
    }

    /// The place `index` of the list.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    pub fn place(&self, index: usize) -> Place {
        assert!(
            index < self.list.places,
            "a watcher has a place for each rank"
        );
        Place {
            list: Arc::clone(&self.list),
            index,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Both fail only for what is no child of ours any more.
        kill(self.process, Signal::SIGKILL).ok();
        while waitpid(self.process, None) == Err(Errno::EINTR) {}
    }
}

impl Place {
    /// Takes what stands here off the list. Call it when the whole group has been sent SIGKILL and before its leader is waited for.
    pub fn clear(&self) {
        self.list.group(self.index).store(0, Ordering::Release);
    }

    /// Puts the group that the calling process leads here; between fork and exec.
    pub(crate) fn fill(&self) {
        let group = getpid().as_raw();
        self.list.group(self.index).store(group, Ordering::Release);
    }
}

/// Process groups, zero where there is none, in memory that forks share.
#[derive(Debug)]
struct List {
    memory: MmapRaw,
    places: usize,
}

impl List {
    fn new(places: usize) -> io::Result<Self> {
        let bytes = places.max(1) * size_of::<AtomicI32>();
        let file = File::from(memfd_create(c"phalanx-watch", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(bytes as u64)?;
        let memory = MmapOptions::new().len(bytes).map_raw(&file)?;
        Ok(Self { memory, places })
    }

    fn group(&self, index: usize) -> &AtomicI32 {
        debug_assert!(index < self.places);
        let first = self.memory.as_mut_ptr().cast::<i32>();
        // SAFETY: the mapping has room for all places, and `Place` and `Watch` name no other.
        let group = unsafe { first.add(index) };
        // SAFETY: mapped as long as `self`, aligned as a page is and i32 within it, and reached by atomic accesses alone.
        unsafe { AtomicI32::from_ptr(group) }
    }
}

/// What the watcher has.
struct Watch<'a> {
    end: &'a OwnedFd,
    /// No descriptor is as high, on kernels that cannot close all at once.
    open_files: RawFd,
    list: &'a List,
}

impl Watch<'_> {
    /// Runs in the child, and ends it; see the invariants. What fails is left undone: there is nobody to tell.
    fn run(&self) -> ! {
        // What `ps` and `top` show of it.
        prctl::set_name(c"phalanx-watch").ok();
        self.close_all_others();
        // Nothing is ever written, so the only event is the end. Everything but SIGSTOP is blocked, and that only interrupts.
        let mut polled = [PollFd::new(self.end.as_fd(), PollFlags::empty())];
        while poll(&mut polled, PollTimeout::NONE) == Err(Errno::EINTR) {}
        for index in 0..self.list.places {
            // Partner: the Release stores of who fills and clears it, who has closed the pipe since.
            let group = self.list.group(index).load(Ordering::Acquire);
            if group > 0 {
                // Of a group that has ended by itself nothing is left to be killed.
                killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
            }
        }
        // SAFETY: ends this process at once; none of the parent's code at exit runs here.
        unsafe { libc::_exit(0) }
    }

    fn close_all_others(&self) {
        let end = self.end.as_raw_fd();
        let close = |first: RawFd, last: RawFd| {
            // SAFETY: this copy of the process uses none of these descriptors again, whoever owned them in the parent.
            first > last || unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
        };
        if !(close(0, end - 1) && close(end + 1, RawFd::MAX)) {
            for number in (0..self.open_files).filter(|&number| number != end) {
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
    use nix::sys::wait::WaitStatus;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, Stdio};

    /// A process that is the leader of a group of two.
    fn pair(watcher: &Watcher, place: usize) -> Child {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "sleep 1000 & echo started; wait"])
            .stdout(Stdio::piped())
            .process_group(0);
        let watched = Some(watcher.place(place));
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

    /// Lets the watcher believe that this process has died, and waits for its end.
    fn hang_up(mut watcher: Watcher) -> WaitStatus {
        watcher._presence = File::open("/dev/null").unwrap().into();
        let status = waitpid(watcher.process, None).unwrap();
        // It has been waited for, and its number may be another's.
        std::mem::forget(watcher);
        status
    }

    fn kill_group(leader: &Child) {
        let group = Pid::from_raw(leader.id().cast_signed());
        killpg(group, Signal::SIGKILL).unwrap();
    }

    #[test]
    fn when_nobody_is_left_it_kills_what_is_on_its_list() {
        let watcher = Watcher::start(4).unwrap();
        let mut pairs = [0, 1, 2].map(|place| pair(&watcher, place));
        watcher.place(1).clear();
        let process = watcher.process;
        assert_eq!(hang_up(watcher), WaitStatus::Exited(process, 0));
        assert_eq!(pairs[1].try_wait().unwrap(), None);
        kill_group(&pairs[1]);
        for pair in &mut pairs {
            let status = pair.wait().unwrap();
            assert_eq!(status.signal(), Some(libc::SIGKILL));
            // The other process of the group held it open.
            let mut rest = Vec::new();
            io::Read::read_to_end(pair.stdout.as_mut().unwrap(), &mut rest).unwrap();
        }
    }

    #[test]
    fn a_watcher_that_is_dropped_ends_and_kills_nothing() {
        let watcher = Watcher::start(1).unwrap();
        let mut pair = pair(&watcher, 0);
        let process = watcher.process;
        drop(watcher);
        assert_eq!(kill(process, None), Err(Errno::ESRCH));
        assert_eq!(pair.try_wait().unwrap(), None);
        kill_group(&pair);
        pair.wait().unwrap();
    }

    #[test]
    fn no_signal_that_can_be_blocked_ends_it() {
        let watcher = Watcher::start(1).unwrap();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGUSR1,
        ] {
            kill(watcher.process, signal).unwrap();
            killpg(watcher.process, signal).unwrap();
        }
        let mut pair = pair(&watcher, 0);
        hang_up(watcher);
        assert_eq!(pair.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
