//! Jobs that nobody launched: each rank is a process of this very program, started on its host with nothing but the variables that
//! say who it is and where the ranks meet.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::network::{Network, mortal};
use crate::harness;

/// A job whose ranks are not started yet.
pub(crate) struct Job<'network> {
    network: &'network Network,
    /// The host of each rank.
    places: Vec<usize>,
    arguments: [String; 3],
    variables: Vec<(String, String)>,
    folder: TempDir,
}

impl<'network> Job<'network> {
    /// A job whose rank k runs `function` on host `places[k]`. Rank 0 keeps the rendezvous.
    pub(crate) fn new(network: &'network Network, places: &[usize], function: impl Fn()) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_token(&folder.path().join("token"), 0xa5);
        Self {
            network,
            places: places.to_vec(),
            arguments: harness::arguments(&function),
            variables: Vec::new(),
            folder,
        }
    }

    /// With a variable for all ranks.
    pub(crate) fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts all ranks.
    pub(crate) fn start(&self) -> Vec<Rank> {
        let ranks = 0..self.places.len();
        ranks.map(|rank| self.start_rank(rank, |_| ())).collect()
    }

    /// Runs the job, whose ranks are all to end well; what each has said.
    pub(crate) fn succeed(&self) -> Vec<String> {
        let ranks = self.start().into_iter().enumerate();
        ranks
            .map(|(number, rank)| {
                let end = rank.finish();
                assert!(end.status.success(), "rank {number}: {}", end.told());
                assert!(
                    end.said.contains("1 passed"),
                    "rank {number} ran nothing: {}",
                    end.said
                );
                end.said
            })
            .collect()
    }

    /// Starts one rank, with a command that `change` may still change.
    pub(crate) fn start_rank(&self, rank: usize, change: impl FnOnce(&mut Command)) -> Rank {
        self.start_rank_by(rank, mortal(program()), change)
    }

    /// As [`start_rank`](Self::start_rank), by a command that starts this program.
    pub(crate) fn start_rank_by(
        &self,
        rank: usize,
        mut command: Command,
        change: impl FnOnce(&mut Command),
    ) -> Rank {
        let places: Vec<_> = self.places.iter().map(usize::to_string).collect();
        command
            .args(&self.arguments)
            .env("PHALANX_RANK", rank.to_string())
            .env("PHALANX_SIZE", self.places.len().to_string())
            .env("PHALANX_RENDEZVOUS", self.rendezvous().to_string())
            .env("PHALANX_TOKEN_FILE", self.folder.path().join("token"))
            .env(PLACES, places.join(","))
            .env("RUST_BACKTRACE", "0")
            .env("RUST_TEST_THREADS", "2")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        change(&mut command);
        Rank::watch(rank, self.network.host(self.places[rank]).start(command))
    }

    /// Where the ranks meet: every test has its own network, so that the port is free.
    pub(crate) fn rendezvous(&self) -> SocketAddr {
        SocketAddr::new(self.network.address(self.places[0]), 7000)
    }

    /// A file with another token.
    pub(crate) fn wrong_token(&self) -> PathBuf {
        let path = self.folder.path().join("wrong");
        write_token(&path, 0x5a);
        path
    }
}

/// This program.
pub(crate) fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// The hosts of all ranks, for a rank.
pub(crate) fn places() -> Vec<usize> {
    let places = std::env::var(PLACES).unwrap();
    places
        .split(',')
        .map(|host| host.parse().unwrap())
        .collect()
}

const PLACES: &str = "HOSTS_OF_RANKS";

fn write_token(path: &Path, byte: u8) {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    writeln!(file, "{}", format!("{byte:02x}").repeat(32)).unwrap();
}

/// A process that runs. Dropping it kills it.
pub(crate) struct Rank {
    number: usize,
    child: Child,
    lines: Receiver<String>,
    said: String,
}

/// How a rank ended.
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// Both its outputs.
    pub(crate) said: String,
}

impl End {
    pub(crate) fn told(&self) -> String {
        format!("{}\n{}", self.status, self.said)
    }
}

impl Rank {
    fn watch(number: usize, mut child: Child) -> Self {
        let (sender, lines) = mpsc::channel();
        pass_on(child.stdout.take().unwrap(), sender.clone());
        pass_on(child.stderr.take().unwrap(), sender);
        Self {
            number,
            child,
            lines,
            said: String::new(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the rank says a line with `text` in it.
    pub(crate) fn await_line(&mut self, text: &str) {
        let bound = Instant::now() + HANG;
        loop {
            match self.next_line(bound) {
                Some(line) if line.contains(text) => return,
                Some(_) => {}
                None => panic!("rank {} ended without {text:?}: {}", self.number, self.said),
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> End {
        let bound = Instant::now() + HANG;
        while self.next_line(bound).is_some() {}
        End {
            status: self.child.wait().unwrap(),
            said: std::mem::take(&mut self.said),
        }
    }

    /// Ends it by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// The next line that it says; `None` when it has ended.
    fn next_line(&mut self, bound: Instant) -> Option<String> {
        let limit = bound.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(limit) {
            Ok(line) => {
                self.said += &line;
                self.said.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("rank {} hangs; it has said: {}", self.number, self.said)
            }
        }
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Passes on the lines of an output until it ends.
fn pass_on(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            lines.send(line).ok();
        }
    });
}

/// A rank that says nothing for so long is not slow: it hangs.
const HANG: Duration = Duration::from_secs(300);
