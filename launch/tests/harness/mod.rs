//! Jobs of the real command, started by tests: their output, their processes, and their end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The command `phalanx run` with `arguments`, empty input and piped output.
pub(crate) fn phalanx_run(arguments: &[&str]) -> Command {
    // Whoever runs the tests may ignore SIGHUP, as `nohup` does, and the launcher respects that.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_phalanx"), "run"]);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// `ranks` ranks of a shell script, with more options of the launcher.
pub(crate) fn script(ranks: usize, options: &[&str], script: &str) -> Command {
    let ranks = ranks.to_string();
    let mut command = phalanx_run(&["-n", &ranks]);
    command.args(options).args(["--", "/bin/sh", "-c", script]);
    command
}

/// Runs a command to its end: its exit code, standard output and standard error.
pub(crate) fn finish(mut command: Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A launcher that runs. Its processes carry a mark in their environment, by which they are found; dropping it kills
/// those that are left.
pub(crate) struct Running {
    child: Child,
    mark: String,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) stderr: ChildStderr,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("LAUNCH_TEST_MARK={}.{number}.", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        let mut child = command.env(name, value).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = child.stderr.take().unwrap();
        Self {
            child,
            mark,
            stdout,
            stderr,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Reads `count` lines of standard output, sorted.
    pub(crate) fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines: Vec<_> = self
            .stdout
            .by_ref()
            .lines()
            .take(count)
            .map(Result::unwrap)
            .collect();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines.sort();
        lines
    }

    /// Waits for the launcher: its exit code, or `None` if a signal killed it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// What is left to read on standard error.
    pub(crate) fn errors(&mut self) -> String {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }

    /// The processes of the job, the launcher's among them while it lives.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").unwrap().map(Result::unwrap);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| self.is_marked(pid)).collect()
    }

    /// The processes of the job but for the launcher and its watcher, and for ranks that are still copies of the launcher.
    pub(crate) fn ranks(&self) -> Vec<i32> {
        let mut ranks = self.processes();
        ranks.retain(|&pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            pid != self.pid() && !["", "phalanx", "phalanx-watch"].contains(&name.trim())
        });
        ranks
    }

    fn is_marked(&self, pid: i32) -> bool {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|&byte| byte == 0)
            .any(|variable| variable == self.mark.as_bytes())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
        self.child.wait().ok();
    }
}

/// Waits for something that comes without telling; it fails if it has not come within a time that is far beyond any that a
/// loaded machine needs.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let bound = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < bound, "not within a minute: {what}");
        thread::yield_now();
    }
}

/// Names of the files in `folder` that mention Phalanx.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.retain(|name| name.contains("phalanx"));
    names
}

/// A reader for the place of one that has been closed.
pub(crate) fn empty_pipe() -> ChildStdout {
    let (reader, _) = std::io::pipe().unwrap();
    std::os::fd::OwnedFd::from(reader).into()
}
