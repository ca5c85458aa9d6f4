//! Token files: who may read them, and what has to be in them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use phalanx_wireup::{Token, TokenProblem};

fn problem(path: &Path) -> (String, TokenProblem) {
    let error = Token::read(path).unwrap_err();
    (error.to_string(), error.problem)
}

fn file(folder: &Path, text: &str, mode: u32) -> PathBuf {
    let path = folder.join(format!("{mode:o}"));
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

#[test]
fn only_files_of_their_owner_alone_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o400, 0o700] {
        assert!(
            Token::read(&file(folder.path(), DIGITS, mode)).is_ok(),
            "{mode:o}"
        );
    }
    for mode in [0o640, 0o604, 0o644, 0o620, 0o602, 0o666, 0o410, 0o401] {
        let (text, problem) = problem(&file(folder.path(), DIGITS, mode));
        assert!(
            matches!(problem, TokenProblem::OpenToOthers { mode: found } if found == mode),
            "{text}"
        );
        assert!(
            text.contains("chmod 600") && text.contains(&format!("{mode:04o}")),
            "{text}"
        );
    }
}

#[test]
fn a_token_that_was_made_is_a_file_of_its_owner_alone_and_never_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    for path in &paths {
        Token::create(path).unwrap();
        Token::read(path).unwrap();
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert!(
            Token::create(path).is_err(),
            "a file that is there is not overwritten"
        );
    }
    assert_ne!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
}

#[test]
fn what_is_no_token_is_refused_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let other = DIGITS.replace('a', "g");
    for text in [
        "",
        "secret",
        &DIGITS[1..],
        &format!("{DIGITS}0"),
        &other,
        "\u{e9}",
    ] {
        let (shown, problem) = problem(&file(folder.path(), text, 0o600));
        let is_unreadable = matches!(problem, TokenProblem::NotAToken);
        assert!(
            is_unreadable && (text.is_empty() || !shown.contains(text)),
            "{shown}"
        );
    }
    let spaced = format!("  {DIGITS}\r\n");
    assert!(Token::read(&file(folder.path(), &spaced, 0o600)).is_ok());
}

#[test]
fn what_is_no_file_is_refused_without_waiting_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    for path in [pipe.as_path(), folder.path()] {
        assert!(matches!(problem(path).1, TokenProblem::NotAFile));
    }
    let (text, problem) = problem(&folder.path().join("absent"));
    assert!(matches!(problem, TokenProblem::Unreadable(_)));
    assert!(
        text.contains("absent") && text.contains("PHALANX_TOKEN_FILE"),
        "{text}"
    );
}

#[test]
fn all_who_have_a_token_come_to_one_job_and_the_token_is_not_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let read = |mode| Token::read(&file(folder.path(), DIGITS, mode)).unwrap();
    let job = read(0o600).job();
    assert_eq!(job, read(0o400).job());
    let other = Token::create(&folder.path().join("other")).unwrap();
    assert_ne!(job, other.job());
    let hex: String = job.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!DIGITS.to_lowercase().contains(&hex));
}
