//! A group of ranks with a context of its own: what messages are sent and received on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use bytemuck::Pod;
use parking_lot::Mutex;
use phalanx_transport::{Buffer, Envelope, Inline};
use rustc_hash::FxHashMap;

use crate::engine::{Completed, Expected, Send, Wanted};
use crate::error::{Error, Result};
use crate::group::Group;
use crate::matching::Pattern;
use crate::message::{EncodeError, Message, Received};
use crate::pattern::{Source, Tag, TagPattern};
use crate::progress::{Landed, Limit, Progress};

/// Ranks that exchange messages, isolated from all other communicators.
///
/// Cheap to clone, and usable from several threads at once: they share one engine, and each blocking call drives it. Ranks are
/// numbered from 0 to [`size`](Self::size)` - 1`; messages from one rank to another never overtake each other.
///
/// Every blocking call waits at most as long as [`with_timeout`](Self::with_timeout) says, by default for ever; it ends with an error
/// when the peer that it needs leaves or dies.
///
/// # Examples
/// ```
/// phalanx_runtime::testing::run(2, |world| {
///     let peer = 1 - world.rank();
///     world.send(peer, 7, &[world.rank() as u64][..])?;
///     let got = world.recv::<[u64]>(peer, 7)?;
///     assert_eq!(*got, [peer as u64]);
///     Ok(())
/// });
/// ```
#[derive(Clone)]
pub struct Communicator {
    pub(crate) shared: Arc<Shared>,
    pub(crate) group: Group,
    pub(crate) context: u32,
    pub(crate) rank: usize,
    pub(crate) timeout: Option<Duration>,
}

/// What all communicators of a rank share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) progress: Progress,
    /// The next context that this rank knows to be free.
    pub(crate) next_context: AtomicU32,
    /// How large archives of a layout were last time: a buffer of the right size the first time.
    archive_sizes: Mutex<FxHashMap<u32, usize>>,
}

/// What a receive into a buffer received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    source: usize,
    tag: i32,
    len: usize,
}

impl Status {
    pub(crate) fn new(source: usize, tag: i32, len: usize) -> Self {
        Self { source, tag, len }
    }

    /// The rank that sent the message.
    #[must_use]
    pub fn source(&self) -> usize {
        self.source
    }

    /// The tag it was sent with.
    #[must_use]
    pub fn tag(&self) -> i32 {
        self.tag
    }

    /// How many elements it had; they are the first ones of the buffer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it had none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Communicator {
    pub(crate) fn world(progress: Progress, size: usize) -> Self {
        let rank = progress.rank();
        let shared = Shared {
            progress,
            next_context: AtomicU32::new(1),
            archive_sizes: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            group: Group::World(size),
            context: 0,
            rank,
            timeout: None,
        }
    }

    /// This process's number in the communicator.
    #[must_use]
    #[inline]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many ranks the communicator has.
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        self.group.size()
    }

    /// The same communicator, on which no blocking call waits longer than `timeout`; requests inherit it.
    ///
    /// A blocking send from a shared vector is then copied twice as from any other memory: a send that gives up hands the memory back
    /// to the program, and a peer must not be reading it any more.
    ///
    /// # Examples
    /// ```
    /// use phalanx_runtime::Error;
    /// use std::time::Duration;
    ///
    /// phalanx_runtime::testing::run(2, |world| {
    ///     let error = world.with_timeout(Duration::from_millis(1)).recv::<[u8]>(1 - world.rank(), 0).unwrap_err();
    ///     assert!(matches!(error, Error::Timeout(_)));
    ///     world.barrier()
    /// });
    /// ```
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self.clone()
        }
    }

    /// Sends `value` to rank `to` and returns when `value` may be changed again: at once for messages up to the eager limit, when the
    /// receiver has the bytes for larger ones. Drives other operations of this rank while it waits.
    ///
    /// # Errors
    /// When there is no such rank, the tag is negative, the peer has gone, the value cannot be archived, memory ran out, or the
    /// time-out passed.
    #[inline]
    pub fn send<T: Message + ?Sized>(
        &self,
        to: usize,
        tag: impl Into<Tag>,
        value: &T,
    ) -> Result<()> {
        self.send_as(to, tag.into(), value, false)
    }

    /// As [`send`](Self::send), but returns only when a receive has matched the message.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn ssend<T: Message + ?Sized>(
        &self,
        to: usize,
        tag: impl Into<Tag>,
        value: &T,
    ) -> Result<()> {
        self.send_as(to, tag.into(), value, true)
    }

    /// Receives the next message from `source` with `tag`; blocks until it is here. What is returned reads the message where it lies
    /// and gives the memory back when dropped.
    ///
    /// # Errors
    /// When the message is of another type (it then stays), its bytes are invalid, nobody can send it any more, or the time-out
    /// passed.
    #[inline]
    pub fn recv<T: Message + ?Sized>(
        &self,
        source: impl Into<Source>,
        tag: impl Into<TagPattern>,
    ) -> Result<Received<T>> {
        let completed = self.receive::<T>(source.into(), tag.into())?;
        received(completed, &self.group)
    }

    /// Receives the next message from `source` with `tag` into `buffer`, which may be longer than the message; blocks until it is
    /// there.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and when the message is longer than the buffer (it then stays).
    #[inline]
    pub fn recv_into<T: Pod>(
        &self,
        source: impl Into<Source>,
        tag: impl Into<TagPattern>,
        buffer: &mut [T],
    ) -> Result<Status> {
        let bytes = bytemuck::cast_slice_mut(buffer);
        let wanted = self.wanted::<[T]>(source.into(), tag.into(), bytes.len())?;
        let limit_text = || self.describe(&wanted);
        let landed = self
            .progress()
            .receive_into(&wanted, bytes, self.limit(&limit_text))?;
        Ok(status::<T>(&landed, &self.group))
    }

    /// Sends `value` to rank `to` and receives a message from `source` into `buffer`, whichever comes first: ranks that exchange
    /// messages of any size by this call do not wait for each other in a circle.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`recv_into`](Self::recv_into); the other half is then withdrawn.
    pub fn sendrecv<S: Message + ?Sized, T: Pod>(
        &self,
        (to, send_tag): (usize, impl Into<Tag>),
        value: &S,
        (source, tag): (impl Into<Source>, impl Into<TagPattern>),
        buffer: &mut [T],
    ) -> Result<Status> {
        let (send_tag, source, tag) = (send_tag.into(), source.into(), tag.into());
        self.scope(|scope| {
            let received = scope.irecv_into(source, tag, buffer)?;
            self.send(to, send_tag, value)?;
            received.wait()
        })
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.shared.progress
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    #[inline]
    pub(crate) fn limit<'a>(&self, what: &'a dyn Fn() -> String) -> Limit<'a> {
        Limit {
            timeout: self.timeout,
            what,
        }
    }

    pub(crate) fn describe(&self, wanted: &Wanted) -> String {
        let any = || "any".to_owned();
        let source = wanted
            .pattern
            .source
            .map_or_else(|| "any rank".to_owned(), |source| format!("rank {source}"));
        let tag = wanted.pattern.tag.map_or_else(any, |tag| tag.to_string());
        format!(
            "`{}` from {source} with tag {tag}",
            (wanted.expected.name)()
        )
    }

    pub(crate) fn describe_send(&self, send: &Send) -> String {
        format!(
            "rank {} to take `{}` with tag {}",
            send.peer,
            (send.name)(),
            send.envelope.tag()
        )
    }

    #[inline]
    pub(crate) fn wanted<T: Message + ?Sized>(
        &self,
        source: Source,
        tag: TagPattern,
        capacity: usize,
    ) -> Result<Wanted> {
        Ok(self.wanted_from::<T>(self.pattern(source, tag)?, capacity))
    }

    #[inline]
    pub(crate) fn wanted_from<T: Message + ?Sized>(
        &self,
        pattern: Pattern,
        capacity: usize,
    ) -> Wanted {
        Wanted {
            pattern,
            expected: Expected {
                layout: T::layout().hash(),
                capacity,
                name: T::type_name,
            },
        }
    }

    #[inline]
    pub(crate) fn pattern(
        &self,
        Source(source): Source,
        TagPattern(tag): TagPattern,
    ) -> Result<Pattern> {
        let source = source
            .map(|rank| self.world_rank(rank))
            .transpose()?
            .map(|rank| rank as u32);
        let tag = tag.map(Tag::checked).transpose()?;
        Ok(Pattern {
            context: self.context,
            source,
            tag,
        })
    }

    #[inline]
    pub(crate) fn send_header<T: Message + ?Sized>(
        &self,
        to: usize,
        tag: Tag,
        synchronous: bool,
    ) -> Result<Send> {
        let envelope = Envelope::new(self.context, tag.checked()?, T::layout().hash());
        Ok(Send {
            peer: self.world_rank(to)?,
            envelope,
            synchronous,
            may_expose: true,
            name: T::type_name,
        })
    }

    /// Archives a value into a buffer of the link, of the right size as far as one can know.
    pub(crate) fn archive<T: Message + ?Sized>(&self, value: &T) -> Result<Buffer> {
        let layout = T::layout().hash();
        let mut size = self
            .shared
            .archive_sizes
            .lock()
            .get(&layout)
            .copied()
            .unwrap_or(2 * Inline::CAPACITY);
        loop {
            // The lock is not held while the program's own code serialises.
            let mut buffer = self.progress().enter(|core| core.reserve(size))?;
            match value.archive_into(&mut buffer) {
                Ok(len) => {
                    buffer.truncate(len);
                    self.shared.archive_sizes.lock().insert(layout, len);
                    return Ok(buffer);
                }
                Err(EncodeError::BufferTooSmall { needed }) if needed > size => size = needed,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives a whole message of which only type and size have been checked.
    #[inline]
    pub(crate) fn receive<T: Message + ?Sized>(
        &self,
        source: Source,
        tag: TagPattern,
    ) -> Result<Completed> {
        let wanted = self.wanted::<T>(source, tag, usize::MAX)?;
        self.progress()
            .receive(&wanted, self.limit(&|| self.describe(&wanted)))
    }

    #[inline]
    fn send_as<T: Message + ?Sized>(
        &self,
        to: usize,
        tag: Tag,
        value: &T,
        synchronous: bool,
    ) -> Result<()> {
        let send = self.send_header::<T>(to, tag, synchronous)?;
        match value.as_plain() {
            Some(bytes) => {
                self.progress()
                    .send(&send, bytes, self.limit(&|| self.describe_send(&send)))
            }
            None => self.send_archive(&send, value),
        }
    }

    fn send_archive<T: Message + ?Sized>(&self, send: &Send, value: &T) -> Result<()> {
        let limit_text = || self.describe_send(send);
        let mut small = [0_u128; Inline::CAPACITY / size_of::<u128>()];
        let may_be_small = size_of_val(value) <= Inline::CAPACITY;
        if may_be_small && let Ok(len) = value.archive_into(bytemuck::cast_slice_mut(&mut small)) {
            return self.progress().send(
                send,
                &bytemuck::cast_slice(&small)[..len],
                self.limit(&limit_text),
            );
        }
        let buffer = self.archive(value)?;
        self.progress()
            .send_buffer(send, buffer, self.limit(&limit_text))
    }

    #[inline]
    pub(crate) fn world_rank(&self, rank: usize) -> Result<usize> {
        self.group
            .world_rank(rank)
            .ok_or_else(|| Error::NoSuchRank {
                rank,
                size: self.size(),
            })
    }
}

impl fmt::Debug for Communicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Communicator")
            .field("rank", &self.rank)
            .field("size", &self.size())
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// Makes a typed message of a finished receive.
#[inline]
pub(crate) fn received<T: Message + ?Sized>(
    completed: Completed,
    group: &Group,
) -> Result<Received<T>> {
    let Completed {
        from, tag, payload, ..
    } = completed;
    let payload = payload.ok_or(Error::Cancelled)?;
    Received::new(payload, group.local_rank(from), tag).map_err(|reason| Error::InvalidMessage {
        from,
        tag,
        reason,
    })
}

/// What is said of a receive into a buffer of `T`.
#[inline]
pub(crate) fn status<T>(landed: &Landed, group: &Group) -> Status {
    Status::new(
        group.local_rank(landed.from),
        landed.tag,
        landed.len / size_of::<T>().max(1),
    )
}
