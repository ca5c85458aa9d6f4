//! The token of a job: the secret that all its ranks share where nobody of ours started them.
//!
//! It is read from a file and nowhere else. Arguments and environment are seen by every process of the user and end in logs;
//! a file can be kept to its owner, and this one has to be.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use snow::params::HashChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};
use zeroize::Zeroizing;

/// The token of a job. It is wiped from memory when dropped, and `Debug` does not show it.
///
/// # Examples
/// ```
/// use phalanx_wireup::Token;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("token");
/// Token::create(&path)?;
/// let token = Token::read(&path)?;
/// assert_eq!(format!("{token:?}"), "Token(..)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Token(Zeroizing<[u8; BYTES]>);

impl Token {
    /// Reads the token in the file at `path`: 64 hexadecimal digits, which `openssl rand -hex 32` makes.
    ///
    /// The secret has to be random, all of it: who records a connection could otherwise guess it at leisure.
    ///
    /// # Errors
    /// When the file cannot be read, anybody but its owner may read or write it, its owner is neither this user nor root, or
    /// it has something else in it. No error shows what is in it.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let error = |problem| TokenError {
            path: path.to_owned(),
            problem,
        };
        // What was opened is what is checked, so that nobody can swap the file in between. A pipe in its place does not block.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options
            .open(path)
            .map_err(|source| error(TokenProblem::Unreadable(source)))?;
        check(&file).map_err(error)?;
        let mut text = Zeroizing::new(String::with_capacity(MOST_TEXT));
        file.take(MOST_TEXT as u64)
            .read_to_string(&mut text)
            .map_err(|source| error(TokenProblem::Unreadable(source)))?;
        Self::parse(text.trim()).ok_or_else(|| error(TokenProblem::NotAToken))
    }

    /// Makes a new token and writes it to a new file at `path`, which only its owner may read.
    ///
    /// # Errors
    /// When the file is there already or cannot be written, or the system has no randomness to give.
    pub fn create(path: &Path) -> Result<Self, TokenError> {
        let write = || -> io::Result<Self> {
            let mut secret = Zeroizing::new([0; BYTES]);
            File::open("/dev/urandom")?.read_exact(secret.as_mut_slice())?;
            let mut text = Zeroizing::new(String::with_capacity(MOST_TEXT));
            for byte in secret.iter() {
                text.extend(
                    [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])),
                );
            }
            text.push('\n');
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            options.open(path)?.write_all(text.as_bytes())?;
            Ok(Self(secret))
        };
        write().map_err(|source| TokenError {
            path: path.to_owned(),
            problem: TokenProblem::Unwritable(source),
        })
    }

    /// A public number for the job that has this token: every rank comes to the same, and nobody comes from it to the token.
    #[must_use]
    pub fn job(&self) -> [u8; 16] {
        let hash = DefaultResolver.resolve_hash(&HashChoice::Blake2s);
        let mut hash = hash.expect("the resolver has the hash of our handshake");
        hash.input(b"phalanx: number of the job");
        hash.input(self.secret());
        let mut digest = [0; 32];
        hash.result(&mut digest);
        let (number, _) = digest.split_first_chunk().expect("a digest is longer");
        *number
    }

    pub(super) fn secret(&self) -> &[u8; BYTES] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let mut secret = Zeroizing::new([0; BYTES]);
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        if pairs.len() != BYTES {
            return None;
        }
        for (byte, pair) in secret.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            *byte = u8::try_from(high? << 4 | low?).ok()?;
        }
        Some(Self(secret))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Why a token file is of no use.
///
/// # Examples
/// ```
/// use phalanx_wireup::Token;
///
/// let error = Token::read("/absent/token".as_ref()).unwrap_err();
/// assert!(error.to_string().starts_with("token file /absent/token: it cannot be read"));
/// ```
#[derive(Debug, thiserror::Error)]
#[error("token file {}: {problem}", path.display())]
#[non_exhaustive]
pub struct TokenError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: TokenProblem,
}

/// What can be wrong with a token file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenProblem {
    /// It cannot be read.
    #[error("it cannot be read ({0}): check PHALANX_TOKEN_FILE")]
    Unreadable(#[source] io::Error),
    /// It cannot be made.
    #[error("it cannot be made ({0}): name a new file in a folder that you may write to")]
    Unwritable(#[source] io::Error),
    /// It is no file.
    #[error("it is no regular file: name a file that has the token in it")]
    NotAFile,
    /// Others may read or write it.
    #[error(
        "its mode {mode:04o} lets others than its owner at the secret: run `chmod 600` on it (in Kubernetes: defaultMode: \
         0400)"
    )]
    OpenToOthers {
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error(
        "it belongs to user {owner}, who could change it: make it belong to user {user}, who runs this rank"
    )]
    OfAnotherUser {
        /// Its owner.
        owner: u32,
        /// The user that runs this process.
        user: u32,
    },
    /// It has no token in it.
    #[error("it has not 64 hexadecimal digits in it: make a token with `openssl rand -hex 32`")]
    NotAToken,
}

fn check(file: &File) -> Result<(), TokenProblem> {
    let status = file.metadata().map_err(TokenProblem::Unreadable)?;
    let (mode, owner, user) = (status.mode() & 0o7777, status.uid(), geteuid().as_raw());
    if !status.is_file() {
        return Err(TokenProblem::NotAFile);
    }
    if mode & 0o077 != 0 {
        return Err(TokenProblem::OpenToOthers { mode });
    }
    if owner != user && owner != 0 {
        return Err(TokenProblem::OfAnotherUser { owner, user });
    }
    Ok(())
}

const BYTES: usize = 32;

/// Room for the digits and the white space around them.
const MOST_TEXT: usize = 128;

const DIGITS: [u8; 16] = *b"0123456789abcdef";
