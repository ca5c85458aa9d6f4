//! Handing a new process what a rank needs, between `fork` and `exec`.
//!
//! The launcher forbids unsafe code, but two things that it must do have no safe form: code that runs in the child
//! before `exec`, and a descriptor that tells of a child's death. Both live here.
//!
//! # Rules for the code in the child
//! The child of a program with several threads is a copy in which only the forking thread exists. A lock held by
//! another thread at that moment, the allocator's for example, stays locked for ever. So [`prepare`] computes everything
//! before the fork, and `Prepared::apply` makes system calls and nothing else: no allocation, no lock, no panic.

#![expect(
    unsafe_code,
    reason = "pre_exec and pidfd_open have no safe form; the rules are at the top of this file"
)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getpid, getppid};

use crate::watcher::Place;

/// What a child gets beside its arguments and environment.
#[derive(Clone, Debug, Default)]
pub struct Handoff {
    /// Descriptors that the child inherits, each under the number that it has here. All others above standard error
    /// are closed by `exec`, wherever the launcher got them from.
    ///
    /// The number stays because a chosen one could be in use in the child: the standard library keeps a pipe open
    /// there until `exec`, and overwriting it would lose the error of a program that does not exist.
    pub inherit: Vec<Arc<OwnedFd>>,
    /// The only processor that the child may run on; `None` leaves the affinity as it is.
    pub processor: Option<usize>,
    /// The place in a watcher's list for the process group of the child, which it has to lead.
    pub watched: Option<Place>,
}

/// Makes `command` apply `handoff` when it starts, and makes its process die with the calling *thread*.
///
/// The kernel sends SIGKILL to the child when the thread that spawned it ends, so spawn from a thread that lives as long
/// as the job. In the child no signal is blocked, and SIGINT, SIGQUIT and SIGTERM have their default action: a shell
/// starts background commands with the first two ignored, and a launcher, which blocks them to read them from a
/// descriptor, forwards them on purpose.
///
/// # Errors
/// If `handoff.processor` is beyond what the kernel's processor sets can name.
///
/// # Examples
/// ```
/// use phalanx_shm::handoff::{Handoff, prepare};
/// use std::process::Command;
///
/// let mut command = Command::new("true");
/// prepare(&mut command, Handoff::default())?;
/// assert!(command.status()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn prepare(command: &mut Command, handoff: Handoff) -> io::Result<()> {
    let prepared = Prepared {
        launcher: getpid(),
        processors: handoff.processor.map(only).transpose()?,
        inherit: handoff.inherit,
        watched: handoff.watched,
    };
    // SAFETY: the closure runs in the forked child, where only async-signal-safe work is sound. `Prepared::apply` makes
    // system calls through thin wrappers that neither allocate nor lock; errors are plain numbers. What it reads
    // was built above, before the fork, and is never written.
    unsafe { command.pre_exec(move || prepared.apply()) };
    Ok(())
}

/// A descriptor that becomes readable when the process `pid` has died, for `poll` beside pipes and timers.
///
/// `pid` should be a child that has not been waited for: then the number cannot have passed to another process.
///
/// # Errors
/// If there is no such process, or no descriptor is left.
///
/// # Examples
/// ```
/// let mut child = std::process::Command::new("true").spawn()?;
/// let death = phalanx_shm::handoff::watch(child.id())?;
/// # drop(death);
/// # child.wait()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn watch(pid: u32) -> io::Result<OwnedFd> {
    let flags: libc::c_uint = 0;
    // SAFETY: pidfd_open takes two integers and touches no memory of this process.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    let descriptor = RawFd::try_from(Errno::result(descriptor)?).expect("descriptors fit an int");
    // SAFETY: the kernel has just made this descriptor (close-on-exec) and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Takes over the descriptor `number` that this process inherited, and closes it to the programs that it starts.
///
/// The number must have been named by who started the process and be taken once: a program that passes a number which
/// something else of the process owns will see that descriptor closed under it.
///
/// # Errors
/// If no such descriptor is open.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_SETFD touches no memory and fails on a number that is not open.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open, and by the rule above nobody else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A [`Handoff`] with all that can fail or allocate already done.
struct Prepared {
    launcher: Pid,
    processors: Option<CpuSet>,
    inherit: Vec<Arc<OwnedFd>>,
    watched: Option<Place>,
}

impl Prepared {
    /// Runs in the child; see the rules at the top of this file.
    fn apply(&self) -> io::Result<()> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != self.launcher {
            // It died between fork and the line above, so no signal will come.
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        if let Some(place) = &self.watched {
            place.fill();
        }
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
            // SAFETY: SIG_DFL installs no handler, so no code of this process can run because of it.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        SigSet::empty().thread_set_mask()?;
        close_on_exec_above_stderr();
        for descriptor in &self.inherit {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        if let Some(processors) = &self.processors {
            sched_setaffinity(Pid::from_raw(0), processors)?;
        }
        Ok(())
    }
}

/// Keeps descriptors that some library opened without close-on-exec, or that the launcher itself inherited, away from
/// the ranks. Kernels before 5.11 refuse the flag: there only the descriptors made by Rust code are kept away.
fn close_on_exec_above_stderr() {
    let first: libc::c_uint = 3;
    // SAFETY: the call takes three integers; it marks descriptors and closes none, so no owner in this process loses
    // one before `exec` replaces the process.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
}

fn only(processor: usize) -> io::Result<CpuSet> {
    let mut processors = CpuSet::new();
    processors.set(processor)?;
    Ok(processors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::process::Stdio;

    fn output(script: &str, handoff: Handoff) -> String {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null());
        prepare(&mut command, handoff).unwrap();
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn only_the_handed_descriptors_arrive() {
        let kept = Arc::new(OwnedFd::from(File::open("/dev/null").unwrap()));
        let leaky = File::open("/dev/null").unwrap();
        fcntl(&leaky, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let handoff = Handoff {
            inherit: vec![Arc::clone(&kept)],
            ..Handoff::default()
        };
        // `ls` itself opens the directory, as the lowest free number.
        let listed = output("ls -l /proc/self/fd", handoff);
        let arrow = |number: RawFd| format!(" {number} -> /dev/null");
        assert!(listed.contains(&arrow(kept.as_raw_fd())), "{listed}");
        assert!(!listed.contains(&arrow(leaky.as_raw_fd())), "{listed}");
    }

    #[test]
    fn the_child_runs_where_it_was_told_to() {
        let allowed = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
        let processor = (0..CpuSet::count())
            .rfind(|&number| allowed.is_set(number).unwrap())
            .unwrap();
        let handoff = Handoff {
            processor: Some(processor),
            ..Handoff::default()
        };
        let listed = output("grep Cpus_allowed_list /proc/self/status", handoff);
        assert_eq!(
            listed.split_whitespace().last().unwrap(),
            processor.to_string()
        );
    }

    #[test]
    fn signals_blocked_here_reach_the_child() {
        let blocked = SigSet::from(Signal::SIGTERM);
        blocked.thread_block().unwrap();
        let listed = output("grep SigBlk /proc/self/status", Handoff::default());
        blocked.thread_unblock().unwrap();
        let mask = listed.split_whitespace().last().unwrap();
        assert_eq!(u64::from_str_radix(mask, 16), Ok(0));
    }

    #[test]
    fn a_program_that_does_not_exist_is_still_an_error() {
        let mut command = Command::new("/nonexistent/program");
        prepare(&mut command, Handoff::default()).unwrap();
        let error = command.spawn().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_processor_beyond_the_kernels_sets_is_an_error() {
        let handoff = Handoff {
            processor: Some(usize::MAX),
            ..Handoff::default()
        };
        assert!(prepare(&mut Command::new("true"), handoff).is_err());
    }

    #[test]
    fn the_child_dies_with_the_thread_that_started_it() {
        let child = std::thread::spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("1000");
            prepare(&mut command, Handoff::default()).unwrap();
            command.spawn().unwrap()
        });
        let mut child = child.join().unwrap();
        let status = child.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(libc::SIGKILL));
    }

    #[test]
    fn a_watched_death_is_seen() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let death = watch(child.id()).unwrap();
        let ready = |timeout: nix::poll::PollTimeout| {
            let mut polled = [nix::poll::PollFd::new(
                std::os::fd::AsFd::as_fd(&death),
                nix::poll::PollFlags::POLLIN,
            )];
            nix::poll::poll(&mut polled, timeout).unwrap() == 1
        };
        assert!(!ready(nix::poll::PollTimeout::ZERO));
        drop(child.stdin.take());
        assert!(ready(nix::poll::PollTimeout::NONE));
        assert!(child.wait().unwrap().success());
    }
}
