//! An SSH server of the test's own, on two addresses of loopback that pass for two hosts.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::harness::{eventually, phalanx_run};

/// The server, with keys of its own for itself and its only user. Dropping it ends it.
pub(crate) struct Server {
    folder: TempDir,
    server: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for key in ["host_key", "user_key"] {
            make_key(&folder.path().join(key));
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::copy(at("user_key.pub"), at("authorized_keys")).unwrap();
        // A server of root's insists on this place, which belongs to the package and to a running service.
        if Uid::effective().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = free_port();
        let listen = HOSTS.map(|(_, address)| format!("ListenAddress {address}:{port}\n"));
        let config = format!(
            "{}HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nAcceptEnv LAUNCH_TEST_MARK\n\
             MaxStartups 100\n",
            listen.concat(),
            at("host_key"),
            at("authorized_keys")
        );
        fs::write(at("sshd_config"), config).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let server = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &at("sshd_config")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("these tests need Debian's openssh-server");
        let mut started = Self { folder, server };
        started.write_client_files(port);
        eventually("the SSH server answers", || {
            let ended = started.server.try_wait().unwrap();
            assert!(ended.is_none(), "{}", started.log());
            HOSTS
                .iter()
                .all(|(_, address)| TcpStream::connect((*address, port)).is_ok())
        });
        started
    }

    fn write_client_files(&self, port: u16) {
        let key = fs::read_to_string(self.path("host_key.pub")).unwrap();
        let known = HOSTS.map(|(_, address)| format!("[{address}]:{port} {key}"));
        fs::write(self.path("known_hosts"), known.concat()).unwrap();
        fs::write(self.path("no_known_hosts"), "").unwrap();
        let user = User::from_uid(Uid::effective()).unwrap().unwrap().name;
        for (file, known) in [
            ("ssh_config", "known_hosts"),
            ("strange_config", "no_known_hosts"),
        ] {
            let hosts = HOSTS.map(|(name, address)| format!("Host {name}\n  HostName {address}\n"));
            let config = format!(
                "{}Host *\n  Port {port}\n  User {user}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  \
                 GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  SendEnv LAUNCH_TEST_MARK\n",
                hosts.concat(),
                self.path("user_key").display(),
                self.path(known).display()
            );
            fs::write(self.path(file), config).unwrap();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The launcher with `options`, for a job on `hosts`, which it reaches by `ssh` with this configuration.
    pub(crate) fn command_with(&self, config: &str, hosts: &str, options: &[&str]) -> Command {
        let mut command = phalanx_run(&["--host", hosts, "--launch-agent"]);
        command
            .arg(format!("ssh -F '{}'", self.path(config).display()))
            .args(options);
        command
    }

    pub(crate) fn command(&self, hosts: &str, options: &[&str]) -> Command {
        self.command_with("ssh_config", hosts, options)
    }

    /// A job of a shell script on `hosts`.
    pub(crate) fn job(&self, hosts: &str, script: &str) -> Command {
        let mut command = self.command(hosts, &["--", "/bin/sh", "-c"]);
        command.arg(script);
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// Names and addresses of the hosts.
const HOSTS: [(&str, &str); 2] = [("alpha", "127.0.0.2"), ("beta", "127.0.0.3")];

fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .expect("these tests need Debian's openssh-client");
    assert!(made.success());
}

/// One that is free on both addresses at this moment.
fn free_port() -> u16 {
    loop {
        let first = TcpListener::bind((HOSTS[0].1, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        if TcpListener::bind((HOSTS[1].1, port)).is_ok() {
            return port;
        }
    }
}
