//! Output in whole lines, input for rank 0, and readers that are slow, stuck or gone.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::{Running, empty_pipe, eventually, finish, phalanx_run, script};

/// Prints `$1` lines that show whether anything got between their bytes.
const MANY_LINES: &str = "i=0; while [ $i -lt 3000 ]; do echo $PHALANX_RANK line $i 0123456789abcdef end; i=$((i+1)); done";

#[test]
fn lines_of_many_ranks_stay_whole_and_in_order() {
    for tagged in [false, true] {
        let options: &[_] = if tagged { &["--tag-output"] } else { &[] };
        let (code, stdout, _) = finish(script(8, options, MANY_LINES));
        assert_eq!(code, 0);
        let mut next = [0; 8];
        for line in stdout.lines() {
            let rank: usize = line.trim_start_matches('[')[..1].parse().unwrap();
            let tag = if tagged {
                format!("[{rank}] ")
            } else {
                String::new()
            };
            assert_eq!(
                line,
                format!("{tag}{rank} line {} 0123456789abcdef end", next[rank])
            );
            next[rank] += 1;
        }
        assert_eq!(next, [3000; 8]);
    }
}

/// Both streams of a job into one pipe: what comes out, and the exit code.
fn finish_as_one(mut command: Command) -> (i32, Vec<u8>) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    // It holds the writing ends.
    drop(command);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    (child.wait().unwrap().code().unwrap(), bytes)
}

#[test]
fn long_lines_stay_whole_also_where_output_and_errors_go_to_the_same_place() {
    // Half a line of 300,000 digits at a time, so that those of all ranks come in pieces and in turns.
    let body = "half() { head -c 150000 /dev/zero | tr '\\0' $PHALANX_RANK; }
        for i in 1 2 3; do half; half; echo; half >&2; half >&2; echo >&2; echo short; done";
    let (code, bytes) = finish_as_one(script(4, &[], body));
    assert_eq!(code, 0);
    let text = String::from_utf8(bytes).unwrap();
    let mut long = [0; 4];
    for line in text.lines().filter(|&line| line != "short") {
        let rank = line[..1].parse::<usize>().unwrap();
        assert!(line.len() == 300_000 && line.bytes().all(|byte| byte == line.as_bytes()[0]));
        long[rank] += 1;
    }
    assert_eq!(long, [6; 4]);
    assert_eq!(text.lines().filter(|&line| line == "short").count(), 12);
}

#[test]
fn pieces_of_a_line_that_is_too_long_have_their_tag_and_no_other_line_in_them() {
    const LENGTH: usize = 3_000_000;
    let body = format!("head -c {LENGTH} /dev/zero | tr '\\0' $PHALANX_RANK; echo");
    let (code, stdout, _) = finish(script(3, &["--tag-output"], &body));
    assert_eq!(code, 0);
    let mut lengths = [0; 3];
    for line in stdout.lines() {
        let (rank, digits) = line.strip_prefix('[').unwrap().split_once("] ").unwrap();
        assert!(digits.bytes().all(|byte| byte == rank.as_bytes()[0]));
        lengths[rank.parse::<usize>().unwrap()] += digits.len();
    }
    assert_eq!(lengths, [LENGTH; 3]);
}

#[test]
fn standard_error_stays_apart() {
    let (code, stdout, stderr) = finish(script(2, &["--tag-output"], "echo out; echo err >&2"));
    assert_eq!(code, 0);
    for (text, word) in [(stdout, "out"), (stderr, "err")] {
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, [format!("[0] {word}"), format!("[1] {word}")]);
    }
}

#[test]
fn a_last_line_without_newline_is_not_lost_and_not_joined_to_another() {
    let (_, stdout, _) = finish(script(3, &[], "printf end-$PHALANX_RANK"));
    let mut lines: Vec<_> = stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["end-0", "end-1", "end-2"]);
    assert!(!stdout.ends_with('\n'), "nothing is added at the end");
}

#[test]
fn bytes_of_a_single_rank_pass_unchanged_from_end_to_end() {
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut command = phalanx_run(&["-n", "1", "cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let written = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&written).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    assert!(
        output.stdout == bytes,
        "{} bytes came back",
        output.stdout.len()
    );
}

#[test]
fn a_prompt_of_a_single_rank_shows_before_its_answer_is_given() {
    let mut command = script(1, &[], "printf 'name? '; read name; echo hello $name");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut prompt = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut prompt)
        .unwrap();
    assert_eq!(&prompt, b"name? ");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"Leonidas\n")
        .unwrap();
    assert_eq!(
        child.wait_with_output().unwrap().stdout,
        b"hello Leonidas\n"
    );
}

#[test]
fn standard_input_goes_to_rank_0_alone() {
    let mut command = script(3, &["--tag-output"], "cat; echo end");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"for rank 0\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[0] end", "[0] for rank 0", "[1] end", "[2] end"]);
}

#[test]
fn input_that_nobody_reads_or_closes_does_not_keep_the_launcher() {
    let mut command = phalanx_run(&["-n", "2", "true"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    assert!(child.wait().unwrap().success());
    drop(stdin);
    let mut command = phalanx_run(&["-n", "2", "true"]);
    command.stdin(fs::File::open("/dev/zero").unwrap());
    assert_eq!(finish(command).0, 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_job_quietly() {
    let mut job = Running::start(phalanx_run(&["-n", "4", "yes"]));
    assert_eq!(job.lines(2), ["y", "y"]);
    drop(std::mem::replace(
        &mut job.stdout,
        std::io::BufReader::new(empty_pipe()),
    ));
    assert_eq!(job.wait(), Some(141));
    assert_eq!(job.errors(), "");
    assert_eq!(job.processes(), Vec::<i32>::new());
}

#[test]
fn a_reader_that_stands_still_holds_the_ranks_but_not_the_launcher() {
    let mut job = Running::start(phalanx_run(&["-n", "4", "yes"]));
    assert_eq!(job.lines(1), ["y"]);
    job.signal(Signal::SIGTERM);
    eventually("the ranks have ended", || job.ranks().is_empty());
    job.signal(Signal::SIGTERM);
    assert_eq!(job.wait(), Some(143));
}

#[test]
fn a_time_limit_ends_also_the_wait_for_a_reader_that_stands_still() {
    let mut job = Running::start(phalanx_run(&["-n", "2", "--timeout", "0.2", "yes"]));
    assert_eq!(job.wait(), Some(124));
    assert_eq!(job.processes(), Vec::<i32>::new());
}

#[test]
fn memory_stays_bounded_while_ranks_write_without_end() {
    let mut job = Running::start(script(4, &[], "exec cat /dev/zero"));
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..64 {
        job.stdout.read_exact(&mut buffer).unwrap();
    }
    let status = fs::read_to_string(format!("/proc/{}/status", job.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(
        kilobytes < 32 << 10,
        "{kilobytes} kB after 64 MiB of output"
    );
}

#[test]
fn output_to_a_full_device_is_an_error_that_says_so() {
    let mut command = phalanx_run(&["-n", "2", "echo", "hello"]);
    let device = fs::File::options().write(true).open("/dev/full").unwrap();
    command.stdout(device);
    let (code, _, stderr) = finish(command);
    assert_eq!(code, 125, "{stderr}");
    assert!(
        stderr.starts_with("phalanx: cannot write standard output: ENOSPC"),
        "{stderr}"
    );
}
