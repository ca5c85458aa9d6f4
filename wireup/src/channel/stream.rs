//! Streams of bytes that can be waited for.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Anything with bytes to read and to write that has descriptors to wait at: a socket is one, a pair of pipes as
/// [`Halves`] too.
///
/// # Examples
/// ```
/// use std::os::fd::AsRawFd;
/// use std::os::unix::net::UnixStream;
/// use phalanx_wireup::Stream;
///
/// let (stream, _other) = UnixStream::pair()?;
/// assert_eq!(stream.input().as_raw_fd(), stream.output().as_raw_fd());
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Stream: Read + Write + Send {
    /// The descriptor that becomes readable.
    fn input(&self) -> BorrowedFd<'_>;

    /// The descriptor that becomes writable; the same for a socket.
    fn output(&self) -> BorrowedFd<'_>;
}

impl<S: Read + Write + AsFd + Send> Stream for S {
    fn input(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// Two streams as one: what is read comes from the first, what is written goes to the second. The pipes of an `ssh` for
/// example.
///
/// # Examples
/// ```
/// use phalanx_wireup::{Channel, Halves};
///
/// let (from_peer, _peer_writes) = std::io::pipe()?;
/// let (_peer_reads, to_peer) = std::io::pipe()?;
/// let channel = Channel::plain(Halves::new(from_peer, to_peer))?;
/// # drop(channel);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Halves<R, W> {
    reader: R,
    writer: W,
}

impl<R, W> Halves<R, W> {
    /// Reads from `reader` and writes to `writer`.
    #[must_use]
    pub const fn new(reader: R, writer: W) -> Self {
        Self { reader, writer }
    }
}

impl<R: Read, W> Read for Halves<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl<R, W: Write> Write for Halves<R, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl<R: Read + AsFd + Send, W: Write + AsFd + Send> Stream for Halves<R, W> {
    fn input(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}
