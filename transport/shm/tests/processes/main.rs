//! Ranks as processes: traffic of all kinds, death at any moment, limits of the system.
//!
//! The test program starts itself again; a child runs the test [`child`], which plays the role that its environment names.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod limits;
mod memory;
mod traffic;

#[path = "../../src/exercise.rs"]
mod exercise;

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use phalanx_shm::{BlockMut, Borrowed, Descriptor, PoolError, Port, RankState, Segment, Words};

const ROLE: &str = "PHALANX_TEST_ROLE";
const SEGMENT: &str = "PHALANX_TEST_SEGMENT";
const ARGUMENT: &str = "PHALANX_TEST_ARGUMENT";

/// Plays a role when started by another test; has nothing to do otherwise.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    match role.as_str() {
        "rank" => traffic::rank(),
        "flood" => traffic::flood(),
        "borrower" => traffic::borrower(),
        "join" => traffic::join(),
        "files" => limits::files(),
        "file_size" => limits::file_size(),
        "address_space" => limits::address_space(),
        "memory_limit" => memory::fill(),
        "heap_limit" => memory::fill_heap(),
        "records" => limits::records(),
        "small_dev_shm" => limits::small_dev_shm(),
        other => panic!("no role {other}"),
    }
}

/// A child process, killed and reaped when dropped.
struct Child(std::process::Child);

impl Child {
    fn command(role: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]);
        command.env(ROLE, role).stdin(Stdio::null());
        command
    }

    fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Starts `role` with `segment` inherited.
    fn with_segment(role: &str, segment: &Segment, argument: u64) -> Self {
        Self::inheriting(Self::command(role), segment, argument)
    }

    /// As [`Self::with_segment`], with a variable that names the control group to join.
    fn in_group(
        role: &str,
        segment: &Segment,
        argument: u64,
        variable: &str,
        group: &std::path::Path,
    ) -> Self {
        let mut command = Self::command(role);
        command.env(variable, group);
        Self::inheriting(command, segment, argument)
    }

    fn inheriting(mut command: Command, segment: &Segment, argument: u64) -> Self {
        let file = segment.descriptor().unwrap().try_clone_to_owned().unwrap();
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        command.env(SEGMENT, file.as_raw_fd().to_string());
        command.env(ARGUMENT, argument.to_string());
        Self::start(command)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn succeeds(mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail when it has been reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn argument() -> u64 {
    std::env::var(ARGUMENT).unwrap().parse().unwrap()
}

fn inherited() -> OwnedFd {
    let number = std::env::var(SEGMENT).unwrap().parse().unwrap();
    phalanx_shm::handoff::take(number).unwrap()
}
