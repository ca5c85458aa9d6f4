//! Hosts that are this machine: a command in the place of `ssh` that runs what it is given, with the environment of a bare login.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::phalanx_run;

/// A folder with the command.
pub(crate) struct StandIn {
    folder: TempDir,
}

impl StandIn {
    pub(crate) fn new() -> Self {
        let stand_in = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        stand_in.script("reach", REACH);
        stand_in
    }

    /// A place for files of the test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a shell script that can be run.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The launcher with `options`, for a job on `hosts`.
    pub(crate) fn command(&self, hosts: &str, options: &[&str]) -> Command {
        let mut command = phalanx_run(&["--host", hosts]);
        command
            .args(options)
            .env("PHALANX_LAUNCH_AGENT", self.folder.path().join("reach"));
        command
    }

    /// A job of a shell script on `hosts`.
    pub(crate) fn job(&self, hosts: &str, options: &[&str], script: &str) -> Command {
        let mut command = self.command(hosts, options);
        command.args(["--", "/bin/sh", "-c", script]);
        command
    }

    /// A job on `hosts` whose ranks are this program, told to run one of its functions. They ignore SIGTERM, with which the launcher ends
    /// those that a dead one leaves behind.
    pub(crate) fn members(&self, hosts: &str, function: impl Fn()) -> Command {
        let mut command = self.command(hosts, &["--", "/bin/sh"]);
        command
            .args(["-c", "trap '' TERM; exec \"$@\"", "sh"])
            .arg(env::current_exe().unwrap())
            .args(crate::member::arguments(&function));
        command
    }
}

/// `env -i` takes away what no login on another host would have.
const REACH: &str = r#"host=$1; shift
exec env -i HOME=/ PATH=/usr/bin:/bin FAKE_HOST="$host" LAUNCH_TEST_MARK="$LAUNCH_TEST_MARK" PHALANX_SPIN=7us /bin/sh -c "$*""#;
