//! Frames over a stream of bytes, sealed with the job's token where the stream is not private.
//!
//! ```text
//!   frame -> sealed (Noise message), or as it is -> length and bytes -> stream
//! ```
//!
//! A socket pair or a pipe that was inherited from the launcher, and the pipes of ssh, are private: they go plain. A stream
//! that anybody could have opened is sealed, and carries nothing before both sides have proved that they know the token.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

mod frames;
mod opening;
mod seal;
mod stream;
mod token;

use frames::Frames;
use opening::Opening;
use seal::{Opened, Seal};
pub use stream::{Halves, Stream};
pub use token::{Token, TokenError, TokenProblem};

/// Frames over a stream. Nothing blocks but [`wait`](Self::wait).
///
/// # Examples
/// ```
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
/// use phalanx_wireup::Channel;
///
/// let (here, there) = UnixStream::pair()?;
/// let (mut here, mut there) = (Channel::plain(here)?, Channel::plain(there)?);
/// here.queue(b"a frame".to_vec())?;
/// here.flush()?;
/// there.wait(Duration::from_secs(60))?;
/// there.fill()?;
/// assert_eq!(there.next_frame()?, Some(b"a frame".to_vec()));
/// assert_eq!(there.next_frame()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Channel {
    stream: Box<dyn Stream>,
    opening: Option<Opening>,
    incoming: Frames,
    outgoing: Vec<u8>,
    seal: Seal,
    has_ended: bool,
}

impl Channel {
    /// Frames as they are, over a `stream` that nobody else can reach. The descriptors are made non-blocking.
    ///
    /// # Errors
    /// When they cannot be.
    pub fn plain(stream: impl Stream + 'static) -> io::Result<Self> {
        set_nonblocking(stream.input())?;
        set_nonblocking(stream.output())?;
        Ok(Self {
            stream: Box::new(stream),
            opening: None,
            incoming: Frames::default(),
            outgoing: Vec::new(),
            seal: Seal::None,
            has_ended: false,
        })
    }

    /// Has a line of text on both sides come before all frames. `ours` is sent; what arrives is thrown away up to a line that begins
    /// with `mark`, for others may write into the stream before the program does that is to answer.
    ///
    /// # Examples
    /// ```
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use phalanx_wireup::Channel;
    ///
    /// let (here, mut there) = UnixStream::pair()?;
    /// let mut channel = Channel::plain(here)?.opening("asker 1", "answerer ");
    /// there.write_all(b"Welcome to this machine!\nanswerer 2\n")?;
    /// channel.fill()?;
    /// assert_eq!(channel.opened(), Some("2"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn opening(mut self, ours: &str, mark: &'static str) -> Self {
        self.outgoing.extend_from_slice(ours.as_bytes());
        self.outgoing.push(b'\n');
        self.opening = Some(Opening::new(mark));
        self
    }

    /// What the other side's line says after the mark, once it is there.
    #[must_use]
    pub fn opened(&self) -> Option<&str> {
        self.opening.as_ref()?.line()
    }

    /// What came before the other side's line.
    #[must_use]
    pub fn noise(&self) -> String {
        let opening = self.opening.as_ref();
        opening.map(Opening::noise).unwrap_or_default()
    }

    /// Sealed frames, for the side that opened the connection.
    ///
    /// # Errors
    /// When the descriptors cannot be made non-blocking, or the system has no randomness.
    pub fn calling(stream: impl Stream + 'static, token: &Token) -> Result<Self, ChannelError> {
        let mut channel = Self::plain(stream)?;
        let (seal, greeting) = Seal::calling(token)?;
        channel.seal = seal;
        frames::append(&mut channel.outgoing, &greeting);
        Ok(channel)
    }

    /// Sealed frames, for the side that accepted the connection.
    ///
    /// # Errors
    /// When the descriptors cannot be made non-blocking.
    pub fn answering(stream: impl Stream + 'static, token: &Token) -> Result<Self, ChannelError> {
        let mut channel = Self::plain(stream)?;
        channel.seal = Seal::answering(token)?;
        Ok(channel)
    }

    /// Puts `frame` behind what is to be sent.
    ///
    /// # Errors
    /// When the other side does not know the token.
    pub fn queue(&mut self, frame: Vec<u8>) -> Result<(), ChannelError> {
        if let Some(sealed) = self.seal.close(frame)? {
            frames::append(&mut self.outgoing, &sealed);
        }
        Ok(())
    }

    /// Writes what the stream takes. Returns whether that was all.
    ///
    /// # Errors
    /// When the stream cannot be written to.
    pub fn flush(&mut self) -> Result<bool, ChannelError> {
        let mut written = 0;
        while written < self.outgoing.len() {
            match self.stream.write(&self.outgoing[written..]) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.outgoing.drain(..written);
        Ok(self.outgoing.is_empty())
    }

    /// Reads what is there, up to some hundred kilobytes, for [`next_frame`](Self::next_frame).
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn fill(&mut self) -> Result<(), ChannelError> {
        let mut buffer = [0; PART];
        for _ in 0..PARTS {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.has_ended = true;
                    break;
                }
                Ok(count) => self.take(&buffer[..count])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        match &mut self.opening {
            Some(opening) if opening.line().is_none() => {
                if let Some(frames) = opening.push(bytes)? {
                    self.incoming.push(&frames);
                }
            }
            _ => self.incoming.push(bytes),
        }
        Ok(())
    }

    /// The next frame that is there whole.
    ///
    /// # Errors
    /// When what arrived is no frame, the other side does not know the token, or the stream has ended and there is no more.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        if self.seal.is_broken() {
            return Err(ChannelError::WrongToken);
        }
        while let Some(sealed) = self.incoming.next()? {
            match self.seal.open(sealed)? {
                Opened::Frame(frame) => return Ok(Some(frame)),
                Opened::Replies(replies) => {
                    for reply in &replies {
                        frames::append(&mut self.outgoing, reply);
                    }
                }
            }
        }
        match self.has_ended {
            false => Ok(None),
            true if self.seal.is_greeting() => Err(ChannelError::EndedInGreeting),
            true if self.incoming.is_within_frame() => Err(ChannelError::EndedInFrame),
            true => Err(ChannelError::Ended),
        }
    }

    /// Blocks until there may be something to read, or room to write if something is to be written, for at most `limit`.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub fn wait(&self, limit: Duration) -> io::Result<()> {
        let mut descriptors = self.interests().collect::<Vec<_>>();
        wait(&mut descriptors, limit)
    }

    /// The descriptor that becomes readable when a frame arrives, for an own loop.
    #[must_use]
    pub fn input(&self) -> BorrowedFd<'_> {
        self.stream.input()
    }

    /// Whether something waits to be written.
    #[must_use]
    pub const fn has_more_to_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The descriptors that [`wait`](Self::wait) waits at, for an own loop.
    pub fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let reading = PollFd::new(self.stream.input(), PollFlags::POLLIN);
        let writing = self.has_more_to_write();
        let writing = writing.then(|| PollFd::new(self.stream.output(), PollFlags::POLLOUT));
        [reading].into_iter().chain(writing)
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("input", &self.stream.input())
            .field("seal", &self.seal)
            .field("to_write", &self.outgoing.len())
            .finish_non_exhaustive()
    }
}

/// Why a channel is of no more use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Stream(#[from] io::Error),
    /// The other side closed the stream.
    #[error("the connection was closed")]
    Ended,
    /// The other side closed the stream within a frame.
    #[error("the connection was closed in the middle of a frame")]
    EndedInFrame,
    /// The other side closed the stream before it had proved to know the token.
    #[error(
        "the connection was closed before both sides had proved to know the token: is the token file the same on all hosts?"
    )]
    EndedInGreeting,
    /// The other side does not know the token.
    #[error(
        "the other side does not know the job's token, or its bytes were changed: is the token file the same on all hosts?"
    )]
    WrongToken,
    /// What arrives is not ours.
    #[error(
        "a frame of {length} bytes was announced, more than any has: something else speaks here"
    )]
    TooLong {
        /// The length.
        length: usize,
    },
    /// The line that comes first did not come.
    #[error("what arrives is no word of ours: something else speaks here")]
    NoOpening,
    /// The cipher cannot be used.
    #[error("the cipher of the channel failed: {0}")]
    Cipher(String),
}

/// Waits for one of `descriptors`, for at most `limit`.
pub(crate) fn wait(descriptors: &mut [PollFd<'_>], limit: Duration) -> io::Result<()> {
    // A remainder of a millisecond is waited for whole, for else the wait would end early and be repeated without pause.
    let milliseconds = limit.as_nanos().div_ceil(1_000_000);
    let limit = i32::try_from(milliseconds).unwrap_or(i32::MAX);
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    match poll(descriptors, limit) {
        // A signal ends the wait early; the caller looks again.
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn set_nonblocking(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
    fcntl(descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Read at once.
const PART: usize = 16 * 1024;

/// Parts read before others have their turn.
const PARTS: usize = 16;
