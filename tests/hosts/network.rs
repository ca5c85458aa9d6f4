//! Hosts that are network namespaces of this machine, wired to each other: as far as ranks can tell, machines of their own.
//!
//! ```text
//!      host 0          the middle, a namespace too         host 1
//!   eth0 --- veth --- port0 == bridge or Forwarder == port1 --- veth --- eth0
//!   10.77.0.1                                                  10.77.0.2
//! ```
//!
//! No namespace has a name. Each belongs to a thread of the test, and the kernel takes it back, with all that is in it, when the thread
//! and the processes that it started have ended. These get SIGKILL when the thread ends, however that happens. So tests can run side by
//! side, and what is left of one that was killed is nothing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, gettid};

use super::forwarder::{Faults, Forwarder};

/// Some hosts with one interface each, and what is between them.
pub(crate) struct Network {
    // The order is that in which they go: the forwarder first, or it would find its ports gone.
    forwarder: Option<Forwarder>,
    hosts: Vec<Host>,
    middle: Host,
    family: Family,
}

/// Which addresses the hosts have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Network {
    /// `hosts` hosts at one switch.
    pub(crate) fn switched(hosts: usize, mtu: u32, family: Family) -> Self {
        let network = Self::unconnected(hosts, mtu, family, "");
        let mut script = String::from(
            "link add dev bridge type bridge forward_delay 0 mcast_snooping 0\nlink set dev bridge up\n",
        );
        for host in 0..hosts {
            writeln!(script, "link set dev port{host} master bridge up").unwrap();
        }
        network.middle.ip(&script);
        network.await_lines();
        network
    }

    /// Two hosts with a line between them that does to packets what `faults` says.
    pub(crate) fn faulty(mtu: u32, family: Family, faults: Faults) -> Self {
        // The kernel makes segments before they come to the line, so that no frame has more than it would on a real one.
        let mut network = Self::unconnected(2, mtu, family, "gso_max_segs 1");
        // Before there is traffic, of which the forwarder would miss the first.
        network
            .middle
            .ip("link set dev port0 up\nlink set dev port1 up\n");
        network.await_lines();
        let forwarder = network.middle.run(move || Forwarder::start(faults));
        network.forwarder = Some(forwarder);
        network
    }

    fn unconnected(hosts: usize, mtu: u32, family: Family, options: &str) -> Self {
        let middle = Host::new("middle");
        let hosts: Vec<_> = (0..hosts)
            .map(|number| Host::new(&format!("host {number}")))
            .collect();
        let mut script = String::new();
        for (number, host) in hosts.iter().enumerate() {
            let id = host.id;
            let port = format!("port{number}");
            writeln!(
                script,
                "link add dev {port} mtu {mtu} type veth peer name eth0 mtu {mtu} {options} netns {id}\n\
                 link set dev {port} addrgenmode none"
            )
            .unwrap();
        }
        middle.ip(&script);
        let network = Self {
            forwarder: None,
            hosts,
            middle,
            family,
        };
        for (number, host) in network.hosts.iter().enumerate() {
            let address = network.address(number);
            let prefix = match family {
                Family::V4 => "24",
                Family::V6 => "64",
            };
            // Nobody else has the address, so that it need not be asked for; that would take a second.
            let without_question = match family {
                Family::V4 => "",
                Family::V6 => "nodad",
            };
            host.ip(&format!(
                "link set dev lo up\nlink set dev eth0 up\naddress add {address}/{prefix} dev eth0 {without_question}\n"
            ));
        }
        network
    }

    /// Waits until every host sees that its line is plugged in, which the kernel tells a moment after it was.
    fn await_lines(&self) {
        for host in &self.hosts {
            host.run(|| {
                let is_running = |found: &InterfaceAddress| {
                    found.interface_name == "eth0"
                        && found.flags.contains(InterfaceFlags::IFF_RUNNING)
                };
                let began = Instant::now();
                while !getifaddrs().unwrap().any(|found| is_running(&found)) {
                    assert!(began.elapsed() < HANG, "the line of a host stays down");
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
    }

    /// The address of a host.
    pub(crate) fn address(&self, host: usize) -> IpAddr {
        let last = u8::try_from(host + 1).unwrap();
        match self.family {
            Family::V4 => IpAddr::from([10, 77, 0, last]),
            Family::V6 => IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, u16::from(last)]),
        }
    }

    pub(crate) fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// Pulls the plug of a host.
    pub(crate) fn cut(&self, host: usize) {
        self.middle.ip(&format!("link set dev port{host} down\n"));
    }

    /// What the line did.
    pub(crate) fn forwarder(&self) -> &Forwarder {
        self.forwarder.as_ref().expect("the line has a forwarder")
    }
}

/// A namespace, and the thread that lives in it.
pub(crate) struct Host {
    /// `None` when it is to end.
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
    id: Pid,
}

type Task = Box<dyn FnOnce() + Send>;

impl Host {
    fn new(name: &str) -> Self {
        let (tasks, todo) = mpsc::channel::<Task>();
        let (tell, told) = mpsc::channel();
        let live = move || {
            unshare(CloneFlags::CLONE_NEWNET)
                .unwrap_or_else(|error| panic!("no namespace: {error}; run these tests as root"));
            tell.send(gettid()).unwrap();
            for task in todo {
                task();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(live);
        let id = told.recv().expect("the thread has said what is wrong");
        Self {
            tasks: Some(tasks),
            thread: Some(thread.unwrap()),
            id,
        }
    }

    /// Runs `task` on this host.
    pub(crate) fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let task = move || {
            let result = task();
            tell.send(result).ok();
        };
        let tasks = self.tasks.as_ref().expect("it has not been told to end");
        tasks
            .send(Box::new(task))
            .unwrap_or_else(|_| panic!("an earlier task has failed"));
        told.recv().expect("the thread has said what is wrong")
    }

    /// Starts `command`, which is best a [`mortal`] one, on this host.
    pub(crate) fn start(&self, mut command: Command) -> Child {
        self.run(move || {
            command
                .spawn()
                .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
        })
    }

    /// Gives `ip` these commands, one in a line.
    fn ip(&self, script: &str) {
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.start(command);
        let mut input = child.stdin.take().unwrap();
        input.write_all(script.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip says: {said}of\n{script}");
    }
}

/// A command that runs `program` and is killed when the thread that starts it ends.
pub(crate) fn mortal(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has been noticed by whoever gave it the task.
            thread.join().ok();
        }
    }
}

/// Far longer than a line takes to come up.
const HANG: Duration = Duration::from_secs(60);
