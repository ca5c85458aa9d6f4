//! The exchange as a rank uses it: blocking calls with a time limit over one channel.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::channel::Channel;
use crate::exchange::{Card, ExchangeError, Failure, Loss, Member, RankSet, Scope};

/// A rank's way to all others' cards.
///
/// Calls block for at most the limit that they are given. Nothing happens in between: a rank that wants to hear of losses
/// while it does something else calls [`turn`](Self::turn) when [`input`](Self::input) is readable.
///
/// # Examples
/// Two ranks that meet at a [`Hub`](crate::Hub), each with its own thread:
/// ```
/// use std::os::unix::net::UnixStream;
/// use std::thread;
/// use std::time::Duration;
/// use phalanx_wireup::exchange::{Agent, Card, Scope, Shape, Who};
/// use phalanx_wireup::{Channel, Client, Hub};
///
/// const LIMIT: Duration = Duration::from_secs(60);
/// let mut hub = Hub::new(Agent::root(Shape::new(2).with_ranks(0..2))?);
/// let mut ranks = Vec::new();
/// for rank in 0..2 {
///     let (ours, theirs) = UnixStream::pair()?;
///     hub.attach(Who::Rank(rank), Channel::plain(ours)?);
///     ranks.push(thread::spawn(move || {
///         let channel = Channel::plain(theirs).expect("a socket");
///         let mut client = Client::join(channel, rank, 2, LIMIT)?;
///         client.put(Card::default())?;
///         client.fence(Scope::Job, LIMIT)?;
///         client.get(1 - rank, LIMIT)?;
///         client.leave(LIMIT)
///     }));
/// }
/// hub.serve(LIMIT)?;
/// for rank in ranks {
///     rank.join().expect("no panic")?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    member: Member,
    channel: Channel,
}

impl Client {
    /// Joins the exchange as rank `rank` of `size`, and waits until the agent at the other end has let it in.
    ///
    /// # Errors
    /// [`ClientError`] when it does not within `limit`, or the connection fails.
    ///
    /// # Panics
    /// If `rank` is not below `size`.
    pub fn join(
        channel: Channel,
        rank: u32,
        size: u32,
        limit: Duration,
    ) -> Result<Self, ClientError> {
        let member = Member::new(rank, size);
        let mut client = Self { member, channel };
        client.wait_until(Awaited::Welcome, limit, |member| {
            match member.host_ranks() {
                Some(_) => Poll::Ready(Ok(())),
                None => member
                    .end()
                    .map_or(Poll::Pending, |end| Poll::Ready(Err(end.clone()))),
            }
        })?;
        Ok(client)
    }

    /// Tells all others how this rank is reached. Does not block: the card goes out with the next call that does.
    ///
    /// # Errors
    /// [`ClientError`] when the card is too large, was put before, or the wire-up has ended.
    pub fn put(&mut self, card: Card) -> Result<(), ClientError> {
        self.member.put(card)?;
        self.turn()
    }

    /// Waits until all ranks of `scope` have come here.
    ///
    /// # Errors
    /// [`ClientError`] when they do not within `limit`, one of them is lost, or the wire-up has ended. After a time-out the
    /// fence is still being waited for: [`await_fence`](Self::await_fence) goes on.
    pub fn fence(&mut self, scope: Scope, limit: Duration) -> Result<(), ClientError> {
        self.member.start_fence(scope)?;
        self.await_fence(scope, limit)
    }

    /// Waits on, at the fence of `scope` that was come to last.
    ///
    /// # Errors
    /// As [`fence`](Self::fence).
    pub fn await_fence(&mut self, scope: Scope, limit: Duration) -> Result<(), ClientError> {
        self.wait_until(Awaited::Fence(scope), limit, |member| {
            member.poll_fence(scope)
        })
    }

    /// The card of `rank`: at once if it was fetched before, else when it is there.
    ///
    /// # Errors
    /// [`ClientError`] when it does not come within `limit`, the rank is lost or cannot be talked to, or the wire-up has
    /// ended.
    pub fn get(&mut self, rank: u32, limit: Duration) -> Result<Arc<Card>, ClientError> {
        self.member.start_get(rank)?;
        self.wait_until(Awaited::Card(rank), limit, |member| member.poll_get(rank))
    }

    /// Asks for the card of `rank`. Does not block: [`poll_get`](Self::poll_get) has it after some [`turn`](Self::turn).
    ///
    /// # Errors
    /// [`ClientError`] when there is no such rank, it is lost, or the wire-up has ended.
    pub fn start_get(&mut self, rank: u32) -> Result<(), ClientError> {
        self.member.start_get(rank)?;
        self.turn()
    }

    /// The card of a rank that was asked for, if it is here. Does not block.
    pub fn poll_get(&self, rank: u32) -> Poll<Result<Arc<Card>, Failure>> {
        self.member.poll_get(rank)
    }

    /// This rank's number.
    #[must_use]
    pub const fn rank(&self) -> u32 {
        self.member.rank()
    }

    /// The ranks at the same agent, this one included.
    #[must_use]
    pub fn host_ranks(&self) -> &RankSet {
        let ranks = self.member.host_ranks();
        ranks.expect("joining waits for the welcome, which has them")
    }

    /// Who is lost, as far as it was heard.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        self.member.losses()
    }

    /// Who has left in good order, as far as it was heard.
    #[must_use]
    pub const fn left(&self) -> &RankSet {
        self.member.left()
    }

    /// Why nothing more can be learned, once that is so.
    #[must_use]
    pub const fn end(&self) -> Option<&Failure> {
        self.member.end()
    }

    /// The descriptor that becomes readable when there is something to hear.
    #[must_use]
    pub fn input(&self) -> BorrowedFd<'_> {
        self.channel.input()
    }

    /// Takes in what is there and writes what the stream takes. Does not block.
    ///
    /// # Errors
    /// When the agent sends what no agent does. That the connection has ended is no error here: it is the
    /// [`end`](Self::end), and the error of calls that need more.
    pub fn turn(&mut self) -> Result<(), ClientError> {
        if matches!(self.member.end(), Some(Failure::Disconnected { .. })) {
            return Ok(());
        }
        let sent = self.send();
        // What was said before the connection broke is worth more than that it did: it may be why.
        let heard = self.channel.fill().map_err(|error| error.to_string());
        loop {
            match self.channel.next_frame() {
                Ok(Some(frame)) => {
                    if let Err(error) = self.member.handle_frame(&frame) {
                        self.member.handle_closed(&error.to_string());
                        return Err(error.into());
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.member.handle_closed(&error.to_string());
                    return Ok(());
                }
            }
        }
        // A handshake that went on has made room for what was waiting.
        if let Err(cause) = sent.and(heard).and_then(|()| self.send()) {
            self.member.handle_closed(&cause);
        }
        Ok(())
    }

    /// Ends the job for all ranks. Blocks until this is on its way, for at most `limit`.
    ///
    /// # Errors
    /// [`ClientError`] when the wire-up has ended before, or it cannot be said within `limit`.
    pub fn abort(mut self, code: i32, text: &str, limit: Duration) -> Result<(), ClientError> {
        self.member.abort(code, text)?;
        self.send_all(limit)
    }

    /// Says farewell, so that the end of the connection is no loss. Blocks until this is on its way, for at most `limit`.
    ///
    /// # Errors
    /// [`ClientError`] when it cannot be said within `limit`, or the wire-up has ended in another way.
    pub fn leave(mut self, limit: Duration) -> Result<(), ClientError> {
        self.member.leave();
        self.send_all(limit)
    }

    fn send(&mut self) -> Result<(), String> {
        while let Some(frame) = self.member.poll_frame() {
            let queued = self.channel.queue(frame);
            queued.map_err(|error| error.to_string())?;
        }
        let flushed = self.channel.flush();
        flushed.map(drop).map_err(|error| error.to_string())
    }

    fn send_all(&mut self, limit: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now().checked_add(limit);
        loop {
            self.send().map_err(|cause| Failure::Disconnected {
                rank: self.member.rank(),
                cause,
            })?;
            if !self.channel.has_more_to_write() {
                return Ok(());
            }
            self.wait(Awaited::Farewell, limit, deadline)?;
        }
    }

    fn wait_until<T>(
        &mut self,
        awaited: Awaited,
        limit: Duration,
        poll: impl Fn(&Member) -> Poll<Result<T, Failure>>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now().checked_add(limit);
        loop {
            self.turn()?;
            if let Poll::Ready(result) = poll(&self.member) {
                return Ok(result?);
            }
            self.wait(awaited, limit, deadline)?;
        }
    }

    /// Waits for the stream until `deadline`; without one, which lies beyond all time, as long as it takes.
    fn wait(
        &self,
        awaited: Awaited,
        limit: Duration,
        deadline: Option<Instant>,
    ) -> Result<(), ClientError> {
        let left = deadline.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        });
        if left.is_zero() {
            let rank = self.member.rank();
            return Err(ClientError::TimedOut {
                rank,
                awaited,
                limit,
            });
        }
        self.channel.wait(left).map_err(|error| {
            let (rank, cause) = (self.member.rank(), error.to_string());
            Failure::Disconnected { rank, cause }.into()
        })
    }
}

/// What a rank was waiting for.
///
/// # Examples
/// ```
/// use phalanx_wireup::Awaited;
///
/// assert_eq!(Awaited::Card(3).to_string(), "the card of rank 3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaited {
    /// To be let in.
    Welcome,
    /// All ranks of the scope.
    Fence(Scope),
    /// The card of this rank.
    Card(u32),
    /// The stream to take its last words.
    Farewell,
}

impl std::fmt::Display for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Welcome => f.write_str("its agent's welcome"),
            Self::Fence(scope) => write!(f, "{scope} to come to a fence"),
            Self::Card(rank) => write!(f, "the card of rank {rank}"),
            Self::Farewell => f.write_str("its last words to be taken"),
        }
    }
}

/// Why a call of [`Client`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The exchange cannot give the result.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The agent sent what no agent does.
    #[error(transparent)]
    Frame(#[from] ExchangeError),
    /// The time is over.
    #[error(
        "rank {rank} waited {limit:?} for {awaited}, in vain: were all ranks started, and does none of them hang? (or wait longer)"
    )]
    TimedOut {
        /// This rank.
        rank: u32,
        /// What it waited for.
        awaited: Awaited,
        /// For how long.
        limit: Duration,
    },
}
