//! Where the lines of all ranks come together: a descriptor of the launcher, memory, or frames for another host.
//!
//! The descriptor is shared with other processes, so it cannot be made non-blocking. Instead it is written only when
//! `poll` says that it takes more, and then no more than `PIPE_BUF` bytes, which it is sure to take. So a reader
//! that is slow, or stopped, never blocks the launcher.
//!
//! Standard output and standard error are often the same terminal or pipe. Then they share one queue: with two, a line that is
//! longer than such a portion would have the other's in its middle.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;

/// The end of one output stream, standard output or standard error, of all ranks.
#[derive(Debug)]
pub(crate) enum Sink {
    Descriptor(Funnel),
    /// One buffer for each rank.
    Memory(Vec<Vec<u8>>),
    Parcels(Parcels),
}

impl Sink {
    /// Takes a line of rank `rank`, or a piece of a line.
    pub(crate) fn push(&mut self, rank: usize, piece: &[u8]) {
        match self {
            Self::Descriptor(funnel) => funnel.queue.borrow_mut().push(Some(rank), piece),
            Self::Memory(buffers) => buffers[rank].extend_from_slice(piece),
            Self::Parcels(parcels) => parcels.push(rank, piece),
        }
    }

    /// Rank `rank` will write no more.
    pub(crate) fn end(&mut self, rank: usize) {
        if let Self::Parcels(parcels) = self {
            parcels.waiting.push((rank, Vec::new()));
        }
    }

    /// Takes a line of the launcher's own.
    pub(crate) fn notice(&mut self, text: &str) {
        if let Self::Descriptor(funnel) = self {
            let line = format!("phalanx: {text}\n");
            funnel.queue.borrow_mut().push(None, line.as_bytes());
        }
    }

    /// Whether it takes more now; if not, the ranks have to wait.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::Descriptor(funnel) => funnel.queue.borrow().bytes.len() < ROOM,
            Self::Memory(_) => true,
            Self::Parcels(parcels) => parcels.allowed > 0,
        }
    }

    /// The descriptor, if something waits to be written to it and this is the sink that writes.
    pub(crate) fn pending(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Descriptor(funnel)
                if funnel.writes && !funnel.queue.borrow().bytes.is_empty() =>
            {
                Some(funnel.descriptor.as_fd())
            }
            _ => None,
        }
    }

    /// Writes some of what waits. Call it when the descriptor is ready.
    ///
    /// # Errors
    /// Once, when the descriptor can no longer be written. What comes later is thrown away.
    pub(crate) fn write(&mut self) -> Result<(), Errno> {
        match self {
            Self::Descriptor(funnel) => funnel.write(),
            Self::Memory(_) | Self::Parcels(_) => Ok(()),
        }
    }
}

/// Output on its way to another host, which says how much may be under way.
#[derive(Debug)]
pub(crate) struct Parcels {
    /// From which rank, in order; an empty one is its end.
    waiting: Vec<(usize, Vec<u8>)>,
    /// How much may still come. One piece may go beyond it.
    allowed: i64,
    /// How large each may be.
    most: usize,
}

impl Parcels {
    /// None yet. `allowed` bytes may come, in parcels of at most `most`.
    pub(crate) const fn new(allowed: i64, most: usize) -> Self {
        Self {
            waiting: Vec::new(),
            allowed,
            most,
        }
    }

    /// So many bytes more may come.
    pub(crate) fn allow(&mut self, bytes: u32) {
        self.allowed = self.allowed.saturating_add(bytes.into());
    }

    /// Those that have come.
    pub(crate) fn take(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.waiting)
    }

    fn push(&mut self, rank: usize, piece: &[u8]) {
        self.allowed = self.allowed.saturating_sub_unsigned(piece.len() as u64);
        match self.waiting.last_mut() {
            Some((last, bytes))
                if *last == rank && !bytes.is_empty() && bytes.len() + piece.len() <= self.most =>
            {
                bytes.extend_from_slice(piece);
            }
            _ => {
                let pieces = piece.chunks(self.most);
                self.waiting
                    .extend(pieces.map(|piece| (rank, piece.to_vec())));
            }
        }
    }
}

/// Many ranks in, one descriptor out.
#[derive(Debug)]
pub(crate) struct Funnel {
    descriptor: Rc<OwnedFd>,
    queue: Rc<RefCell<Queue>>,
    /// How much can be written without blocking when `poll` says "ready".
    portion: usize,
    /// Of two that share a queue, one.
    writes: bool,
}

/// What waits to be written.
#[derive(Debug)]
struct Queue {
    tagged: bool,
    bytes: VecDeque<u8>,
    /// Whose unfinished line the output ends with.
    open: Option<Origin>,
    lost: bool,
}

/// A rank, or the launcher itself.
type Origin = Option<usize>;

impl Funnel {
    pub(crate) fn new(descriptor: OwnedFd, tagged: bool) -> Self {
        let kind = fstat(&descriptor).map_or(SFlag::empty(), |status| {
            SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
        });
        let portion = if kind == SFlag::S_IFREG {
            usize::MAX
        } else {
            nix::libc::PIPE_BUF
        };
        let queue = Queue {
            tagged,
            bytes: VecDeque::new(),
            open: None,
            lost: false,
        };
        Self {
            descriptor: Rc::new(descriptor),
            queue: Rc::new(RefCell::new(queue)),
            portion,
            writes: true,
        }
    }

    /// Another way into the same queue, which this one writes.
    pub(crate) fn beside(&self) -> Self {
        Self {
            descriptor: Rc::clone(&self.descriptor),
            queue: Rc::clone(&self.queue),
            portion: self.portion,
            writes: false,
        }
    }

    fn write(&self) -> Result<(), Errno> {
        let mut queue = self.queue.borrow_mut();
        let (front, _) = queue.bytes.as_slices();
        let portion = &front[..front.len().min(self.portion)];
        match write(&self.descriptor, portion) {
            Ok(written) => {
                queue.bytes.drain(..written);
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(error) => {
                queue.lost = true;
                queue.bytes = VecDeque::new();
                Err(error)
            }
        }
    }
}

impl Queue {
    fn push(&mut self, origin: Origin, piece: &[u8]) {
        if self.lost {
            return;
        }
        if self.open != Some(origin) {
            if self.open.is_some() {
                self.bytes.push_back(b'\n');
            }
            if let Some(rank) = origin.filter(|_| self.tagged) {
                write!(self.bytes, "[{rank}] ").expect("memory takes every byte");
            }
        }
        self.bytes.extend(piece);
        self.open = (!piece.ends_with(b"\n")).then_some(origin);
    }
}

/// Whether both are the same terminal, pipe or file.
pub(crate) fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let identity = |descriptor| fstat(descriptor).map(|status| (status.st_dev, status.st_ino));
    identity(one).is_ok_and(|one| identity(other) == Ok(one))
}

/// How much may wait for a slow reader before the ranks have to wait too.
const ROOM: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read, pipe};

    fn sink(tagged: bool) -> (Sink, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        (Sink::Descriptor(Funnel::new(writer.into(), tagged)), reader)
    }

    fn text(mut sink: Sink, mut reader: PipeReader) -> String {
        while sink.pending().is_some() {
            sink.write().unwrap();
        }
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn lines_pass_unchanged_or_tagged() {
        for (tagged, expected) in [(false, "a\nb\n"), (true, "[0] a\n[12] b\n")] {
            let (mut sink, reader) = sink(tagged);
            sink.push(0, b"a\n");
            sink.push(12, b"b\n");
            assert_eq!(text(sink, reader), expected);
        }
    }

    #[test]
    fn an_unfinished_line_is_continued_by_its_own_rank_alone() {
        let (mut sink, reader) = sink(true);
        sink.push(0, b"begin ");
        sink.push(0, b"end\n");
        sink.push(0, b"cut");
        sink.push(1, b"other\n");
        sink.push(1, b"last");
        sink.notice("rank 1 exited");
        assert_eq!(
            text(sink, reader),
            "[0] begin end\n[0] cut\n[1] other\n[1] last\nphalanx: rank 1 exited\n"
        );
    }

    #[test]
    fn a_last_line_of_one_rank_stays_without_a_newline() {
        let (mut sink, reader) = sink(false);
        sink.push(0, b"no newline");
        assert_eq!(text(sink, reader), "no newline");
    }

    #[test]
    fn two_that_share_a_queue_keep_their_lines_apart() {
        let (reader, writer) = pipe().unwrap();
        assert!(is_same(writer.as_fd(), writer.try_clone().unwrap().as_fd()));
        assert!(!is_same(writer.as_fd(), pipe().unwrap().1.as_fd()));
        let funnel = Funnel::new(writer.into(), true);
        let (mut other, mut sink) = (Sink::Descriptor(funnel.beside()), Sink::Descriptor(funnel));
        sink.push(0, b"cut");
        other.push(1, b"other\n");
        sink.push(0, b"end\n");
        other.notice("rank 1 exited");
        assert!(other.pending().is_none() && sink.pending().is_some());
        drop(other);
        assert_eq!(
            text(sink, reader),
            "[0] cut\n[1] other\n[0] end\nphalanx: rank 1 exited\n"
        );
    }

    #[test]
    fn parcels_hold_neighbouring_pieces_of_a_rank_up_to_their_size() {
        let mut sink = Sink::Parcels(Parcels::new(10, 4));
        for (rank, piece) in [(0, "ab"), (0, "cd"), (0, "e"), (1, "f"), (0, "ghijk")] {
            assert!(sink.has_room());
            sink.push(rank, piece.as_bytes());
        }
        sink.end(0);
        sink.push(1, b"l");
        assert!(!sink.has_room());
        let Sink::Parcels(parcels) = &mut sink else {
            panic!("it is made of parcels")
        };
        let taken = parcels.take();
        let taken: Vec<_> = taken
            .iter()
            .map(|(rank, bytes)| (*rank, str::from_utf8(bytes).unwrap()))
            .collect();
        let expected = [
            (0, "abcd"),
            (0, "e"),
            (1, "f"),
            (0, "ghij"),
            (0, "k"),
            (0, ""),
            (1, "l"),
        ];
        assert_eq!(taken, expected);
        parcels.allow(3);
        assert!(sink.has_room());
    }

    #[test]
    fn a_full_queue_has_no_room_until_it_is_written() {
        let (mut sink, reader) = sink(false);
        sink.push(0, &vec![b'x'; ROOM]);
        assert!(!sink.has_room());
        sink.write().unwrap();
        assert!(sink.has_room());
        drop(reader);
    }

    #[test]
    fn a_closed_reader_is_told_once_and_then_everything_is_thrown_away() {
        let (mut sink, reader) = sink(false);
        drop(reader);
        sink.push(0, b"a\n");
        assert_eq!(sink.write(), Err(Errno::EPIPE));
        sink.push(0, b"b\n");
        assert!(sink.pending().is_none() && sink.has_room());
    }
}
