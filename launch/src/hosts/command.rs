//! The command that starts an agent on another host.
//!
//! `ssh` hands its command to the user's shell there, whichever that is. Words in single quotes mean the same to all of them, and what
//! happens inside is the business of `/bin/sh`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

use super::errand::Reach;

/// The local command that starts an agent on `host`.
pub(crate) fn to(host: &str, reach: &Reach) -> Command {
    let (program, arguments) = reach
        .agent
        .split_first()
        .expect("a command line has a program, or it is refused when it is read");
    let mut command = Command::new(program);
    if is_ssh(program) {
        command.args(SSH_OPTIONS);
    }
    command
        .args(arguments)
        .arg(host)
        .arg(remote_command(&reach.candidates))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // They say how this host was reached, and the agent must not take them for its own.
    for variable in ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"] {
        command.env_remove(variable);
    }
    command
}

/// How an error names the command.
pub(crate) fn shown(reach: &Reach) -> String {
    let words = reach.agent.iter().map(|word| word.to_string_lossy());
    words.collect::<Vec<_>>().join(" ")
}

/// Whether it is OpenSSH's or speaks its language, and is to be told never to ask.
pub(crate) fn is_ssh(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new("ssh"))
}

fn remote_command(candidates: &[OsString]) -> OsString {
    let mut command = b"exec /bin/sh -c ".to_vec();
    command.extend(quoted(SCRIPT.as_bytes()));
    command.extend(b" phalanx");
    for candidate in candidates {
        command.push(b' ');
        command.extend(quoted(candidate.as_bytes()));
    }
    OsString::from_vec(command)
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in text {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// Runs the first of its arguments that is there. 127 is what shells say of a program that is not.
const SCRIPT: &str = r#"for phalanx in "$@"; do path=$(command -v "$phalanx") && exec "$path" agent; done; exit 127"#;

/// Never ask for a password or about a key, for nobody can answer; notice within a minute that the other host is gone.
const SSH_OPTIONS: [&str; 6] = [
    "-o",
    "BatchMode=yes",
    "-o",
    "ServerAliveInterval=15",
    "-o",
    "ServerAliveCountMax=3",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(agent: &[&str], candidates: &[&str]) -> Reach {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect();
        Reach {
            agent: words(agent),
            candidates: words(candidates),
        }
    }

    fn arguments(command: &Command) -> Vec<String> {
        let arguments = command.get_args();
        arguments
            .map(|argument| argument.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn ssh_never_asks_and_other_commands_are_taken_as_they_are() {
        let command = to("b", &reach(&["/usr/bin/ssh", "-F", "my config"], &["p"]));
        let got = arguments(&command);
        assert_eq!(got[..2], ["-o", "BatchMode=yes"]);
        assert_eq!(got[6..9], ["-F", "my config", "b"]);
        let command = to("b", &reach(&["rsh", "-q"], &["p"]));
        assert_eq!(arguments(&command)[..2], ["-q", "b"]);
    }

    /// What a shell makes of the remote command, with a `phalanx` that shows its arguments.
    fn run(candidates: &[&str], shell: &str) -> (Option<i32>, String) {
        let command = remote_command(&candidates.iter().map(OsString::from).collect::<Vec<_>>());
        let mut shell = Command::new(shell);
        let output = shell.arg("-c").arg(command).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    #[test]
    fn the_first_candidate_that_is_there_is_run() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it's a $HOME \"place\"");
        std::fs::write(&path, "#!/bin/sh\necho \"$0\" \"$@\"\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = path.to_str().unwrap();
        for shell in ["/bin/sh", "/bin/bash"] {
            assert_eq!(
                run(&["/nowhere/phalanx", path], shell),
                (Some(0), format!("{path} agent\n"))
            );
            assert_eq!(
                run(&["/nowhere/phalanx", "no-such-phalanx"], shell),
                (Some(127), String::new())
            );
        }
    }
}
