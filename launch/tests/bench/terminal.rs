//! `phalanx bench` on a terminal: what stays on the screen when the progress bar has gone, however the command ends.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A command on a pseudo-terminal, and what has come from it.
struct Terminal {
    child: Child,
    screen: fs::File,
    bytes: Vec<u8>,
}

impl Terminal {
    fn run(arguments: &[&str]) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let ends = openpty(&size, None).unwrap();
        let end = || OwnedFd::try_clone(&ends.slave).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_phalanx"))
            .arg("bench")
            .args(arguments)
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self {
            child,
            screen: ends.master.into(),
            bytes: Vec::new(),
        }
    }

    /// Whether more came.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // When nobody has the other end any more it is an error.
        let count = self.screen.read(&mut buffer).unwrap_or(0);
        self.bytes.extend(&buffer[..count]);
        count > 0
    }

    /// Waits until the bar shows a part that is done.
    fn bar(&mut self) {
        while !String::from_utf8_lossy(&self.bytes).contains('█') {
            assert!(self.read(), "there was no bar");
        }
    }

    /// Waits for the end: the exit code and the lines on the screen.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        while self.read() {}
        let code = self.child.wait().unwrap().code();
        (code, lines(&String::from_utf8(self.bytes).unwrap()))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

/// What a terminal that scrolls for ever shows after `text`.
fn lines(text: &str) -> Vec<String> {
    let mut lines = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                let rest = characters.as_str().strip_prefix('[').unwrap();
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let number: usize = rest[..end].parse().unwrap_or(1);
                match &rest[end..=end] {
                    "A" => row -= number,
                    "K" => lines[row].clear(),
                    other => panic!("no terminal of this test knows {other}"),
                }
                characters = rest[end + 1..].chars();
            }
            _ => {
                if column == usize::from(COLUMNS) {
                    (row, column) = (row + 1, 0);
                    lines.resize_with((row + 1).max(lines.len()), Vec::new);
                }
                let line: &mut Vec<char> = &mut lines[row];
                line.resize((column + 1).max(line.len()), ' ');
                line[column] = character;
                column += 1;
            }
        }
        lines.resize_with((row + 1).max(lines.len()), Vec::new);
    }
    let text = lines.into_iter().map(|line| line.into_iter().collect());
    text.map(|line: String| line.trim_end().to_owned())
        .collect()
}

#[test]
fn tables_stay_and_nothing_else() {
    let mut terminal = Terminal::run(&["rate", "startup", "--quick"]);
    terminal.bar();
    let (code, lines) = terminal.end();
    assert_eq!(code, Some(0));
    let begins: Vec<_> = lines
        .iter()
        .map(|line| line.split([':', ' ']).next().unwrap())
        .collect();
    // Lines of a table are indented.
    let expected = [
        "rate", "", "", "", "", "", "startup", "", "", "", "", "machine", "kernel", "floor",
        "floor", "",
    ];
    assert_eq!(begins, expected, "{lines:#?}");
}

#[test]
fn an_interrupt_takes_the_bar_away() {
    for test in ["rate", "startup"] {
        let mut terminal = Terminal::run(&[test]);
        terminal.bar();
        kill(terminal.pid(), Signal::SIGINT).unwrap();
        let (code, lines) = terminal.end();
        assert_eq!((code, lines), (Some(130), vec![String::new()]), "{test}");
    }
}

#[test]
fn what_a_failure_says_stands_where_the_bar_was() {
    let mut terminal = Terminal::run(&["rate"]);
    terminal.bar();
    kill(rank_of(terminal.pid()), Signal::SIGKILL).unwrap();
    let (code, lines) = terminal.end();
    assert!(code.is_some_and(|code| code != 0));
    let (last, lines) = lines.split_last().unwrap();
    assert_eq!(last, "");
    let killed = |line: &String| line.contains("was killed by signal 9");
    assert!(lines.iter().any(killed), "{lines:?}");
    let is_said = |line: &String| line.starts_with("phalanx: ");
    assert!(lines.iter().all(is_said), "{lines:?}");
}

/// A rank of the measurement whose launcher is `launcher`.
fn rank_of(launcher: Pid) -> Pid {
    let children = fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children"));
    let children = children.unwrap();
    let mut pids = children.split_whitespace();
    let is_rank = |pid: &&str| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.contains("--as-rank")
    };
    Pid::from_raw(pids.find(is_rank).unwrap().parse().unwrap())
}

const COLUMNS: u16 = 100;
