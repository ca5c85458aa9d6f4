//! Operations in flight, as a program holds them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::communicator::Communicator;
use crate::engine::{Completed, OpId, Outcome, Source};
use crate::error::{Error, Result};
use crate::group::Group;
use crate::progress::Limit;

/// A send or receive in flight; yields its result once.
///
/// Waiting, testing and `await` are the same request. Dropping it lets a send run to its end and cancels a receive that nothing has
/// matched; forgetting it only leaks its entry. Buffers belong to the operation, so neither can be unsound.
///
/// As a future it needs no reactor: each poll drives the rank's engine, and a pending poll asks to be polled again. Give it an executor
/// that has other work, or [`wait`](Self::wait), which sleeps.
pub struct Request<T> {
    communicator: Communicator,
    state: State<T>,
    /// A scope looks after the operation.
    scoped: bool,
}

enum State<T> {
    Ready(T),
    Pending(OpId, Finish<T>),
    Taken,
}

/// What to make of the outcome.
pub(crate) enum Finish<T> {
    /// The value was kept aside.
    Kept(T),
    /// The value is what the send owned.
    Sent(fn(Source) -> Result<T>),
    /// The value is what was received.
    Received(fn(Completed, &Group) -> Result<T>),
}

impl<T> Request<T> {
    pub(crate) fn ready(communicator: &Communicator, value: T) -> Self {
        Self {
            communicator: communicator.clone(),
            state: State::Ready(value),
            scoped: false,
        }
    }

    pub(crate) fn pending(communicator: &Communicator, id: OpId, finish: Finish<T>) -> Self {
        Self {
            communicator: communicator.clone(),
            state: State::Pending(id, finish),
            scoped: false,
        }
    }

    pub(crate) fn scoped(communicator: &Communicator, id: OpId, finish: Finish<T>) -> Self {
        let mut request = Self::pending(communicator, id, finish);
        request.scoped = true;
        request
    }

    /// Blocks until the operation has finished, at most for the time-out of its communicator.
    ///
    /// # Errors
    /// Those of the operation, or [`Error::Timeout`]; the operation is then given up as if dropped.
    pub fn wait(mut self) -> Result<T> {
        let timeout = self.communicator.timeout();
        match self.wait_up_to(timeout)? {
            Some(value) => Ok(value),
            None => Err(Error::Cancelled),
        }
    }

    /// Blocks until the operation has finished or `timeout` has passed; none in the latter case, and the request goes on.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<T>> {
        match self.wait_up_to(Some(timeout)) {
            Err(Error::Timeout(_)) => Ok(None),
            other => other,
        }
    }

    /// The result, if the operation has finished. Drives the engine for a moment; never waits.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn test(&mut self) -> Result<Option<T>> {
        if let State::Pending(id, _) = &self.state {
            let id = *id;
            let progress = self.communicator.progress();
            if !progress.enter(|core| core.engine.is_finished(id)) {
                progress.turn()?;
            }
        }
        self.take_if_finished()
    }

    /// Cancels a receive. None when nothing had matched it; otherwise the request, whose message is on its way or here. A send cannot
    /// be cancelled and comes back.
    #[must_use = "the request that could not be cancelled"]
    pub fn cancel(mut self) -> Option<Self> {
        if let State::Pending(id, Finish::Received(_)) = &self.state {
            let id = *id;
            if self
                .communicator
                .progress()
                .enter(|core| core.engine.withdraw_receive_if_unmatched(id))
            {
                self.state = State::Taken;
                return None;
            }
        }
        Some(self)
    }

    /// Whether the result is there to be taken.
    fn is_finished(&self) -> bool {
        match &self.state {
            State::Pending(id, _) => self
                .communicator
                .progress()
                .enter(|core| core.engine.is_finished(*id)),
            State::Ready(_) | State::Taken => true,
        }
    }

    fn wait_up_to(&mut self, timeout: Option<Duration>) -> Result<Option<T>> {
        if let State::Pending(id, _) = &self.state {
            let id = *id;
            let limit = Limit {
                timeout,
                what: &|| "an operation in flight to finish".to_owned(),
            };
            self.communicator
                .progress()
                .wait_until(limit, |engine| engine.is_finished(id))?;
        }
        self.take_if_finished()
    }

    fn take_if_finished(&mut self) -> Result<Option<T>> {
        let id = match &self.state {
            State::Pending(id, _) => *id,
            State::Ready(_) | State::Taken => {
                return match std::mem::replace(&mut self.state, State::Taken) {
                    State::Ready(value) => Ok(Some(value)),
                    _ => Err(Error::Cancelled),
                };
            }
        };
        let Some(outcome) = self
            .communicator
            .progress()
            .enter(|core| core.engine.take_finished(id))
        else {
            return Ok(None);
        };
        let State::Pending(_, finish) = std::mem::replace(&mut self.state, State::Taken) else {
            return Err(Error::Cancelled);
        };
        match (finish, outcome?) {
            (Finish::Kept(value), _) => Ok(Some(value)),
            (Finish::Sent(finish), Outcome::Sent(source)) => finish(source).map(Some),
            (Finish::Received(finish), Outcome::Received(completed)) => {
                finish(completed, self.communicator.group()).map(Some)
            }
            (Finish::Sent(_) | Finish::Received(_), _) => Err(Error::Cancelled),
        }
    }
}

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        if self.scoped {
            return;
        }
        match &self.state {
            State::Pending(id, Finish::Received(_)) => {
                let id = *id;
                self.communicator.progress().enter(|core| {
                    core.engine.withdraw_receive(id);
                    core.engine.detach(id);
                });
            }
            State::Pending(id, _) => {
                let id = *id;
                self.communicator
                    .progress()
                    .enter(|core| core.engine.detach(id));
            }
            State::Ready(_) | State::Taken => {}
        }
    }
}

/// Nothing in a request is pinned: the engine holds what the operation needs.
impl<T> Unpin for Request<T> {}

impl<T> Future for Request<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.test() {
            Ok(Some(value)) => Poll::Ready(Ok(value)),
            Err(error) => Poll::Ready(Err(error)),
            Ok(None) => {
                if let State::Pending(id, _) = &this.state {
                    let id = *id;
                    this.communicator
                        .progress()
                        .enter(|core| core.engine.set_waker(id, context.waker()));
                }
                // No other thread need be driving the engine, so whoever polls has to come again.
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Request<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ready(_) => "ready",
            State::Pending(..) => "pending",
            State::Taken => "taken",
        };
        f.debug_struct("Request")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// Waits for all `requests`, which belong to one world, and returns their results in order.
///
/// # Errors
/// The first error among them; the rest are given up as if dropped.
///
/// # Examples
/// ```
/// use phalanx_runtime::wait_all;
///
/// phalanx_runtime::testing::run(2, |world| {
///     let peer = 1 - world.rank();
///     let receives = (0..3).map(|tag| world.irecv::<[i32]>(peer, tag)).collect::<Result<Vec<_>, _>>()?;
///     for tag in 0..3 {
///         world.send(peer, tag, &[tag][..])?;
///     }
///     for (tag, got) in wait_all(receives)?.iter().enumerate() {
///         assert_eq!(**got, [tag as i32]);
///     }
///     Ok(())
/// });
/// ```
pub fn wait_all<T>(requests: impl IntoIterator<Item = Request<T>>) -> Result<Vec<T>> {
    requests.into_iter().map(Request::wait).collect()
}

/// Waits until one of `requests`, which belong to one world, has finished; takes it out and returns its place and result.
///
/// # Errors
/// That of the request, which has been taken out; [`Error::Timeout`]; [`Error::Cancelled`] when there is no request.
pub fn wait_any<T>(requests: &mut Vec<Request<T>>) -> Result<(usize, T)> {
    let Some(index) = await_one(requests)? else {
        return Err(Error::Cancelled);
    };
    requests.remove(index).wait().map(|value| (index, value))
}

/// Waits until at least one of `requests`, which belong to one world, has finished; takes out all that have, and returns their places
/// at the time of the call and their results. Nothing when there is no request.
///
/// # Errors
/// The first error among those that finished, whose results are then lost; those that have not finished stay. [`Error::Timeout`].
pub fn wait_some<T>(requests: &mut Vec<Request<T>>) -> Result<Vec<(usize, T)>> {
    if await_one(requests)?.is_none() {
        return Ok(Vec::new());
    }
    take_finished(requests)
}

/// The results of all `requests` if all have finished; otherwise none, and the requests stay. Never waits.
///
/// # Errors
/// The first error among them.
pub fn test_all<T>(requests: &mut Vec<Request<T>>) -> Result<Option<Vec<T>>> {
    drive(requests)?;
    if requests.iter().all(Request::is_finished) {
        wait_all(requests.drain(..)).map(Some)
    } else {
        Ok(None)
    }
}

/// The place and result of one of `requests` that has finished, which is taken out, if there is one. Never waits.
///
/// # Errors
/// That of the request, which has been taken out.
pub fn test_any<T>(requests: &mut Vec<Request<T>>) -> Result<Option<(usize, T)>> {
    drive(requests)?;
    match requests.iter().position(Request::is_finished) {
        Some(index) => requests
            .remove(index)
            .wait()
            .map(|value| Some((index, value))),
        None => Ok(None),
    }
}

/// The places and results of those of `requests` that have finished, which are taken out; the others stay. Never waits.
///
/// # Errors
/// The first error among those that finished.
pub fn test_some<T>(requests: &mut Vec<Request<T>>) -> Result<Vec<(usize, T)>> {
    drive(requests)?;
    take_finished(requests)
}

fn take_finished<T>(requests: &mut Vec<Request<T>>) -> Result<Vec<(usize, T)>> {
    let all = std::mem::take(requests);
    let mut finished = Vec::new();
    for (index, request) in all.into_iter().enumerate() {
        if request.is_finished() {
            finished.push((index, request));
        } else {
            requests.push(request);
        }
    }
    finished
        .into_iter()
        .map(|(index, request)| Ok((index, request.wait()?)))
        .collect()
}

fn drive<T>(requests: &[Request<T>]) -> Result<()> {
    requests
        .first()
        .map_or(Ok(()), |request| request.communicator.progress().turn())
}

/// The place of a request that has finished; none when there are no requests.
fn await_one<T>(requests: &[Request<T>]) -> Result<Option<usize>> {
    let finished = || requests.iter().position(Request::is_finished);
    let Some(first) = requests.first() else {
        return Ok(None);
    };
    if let Some(index) = finished() {
        return Ok(Some(index));
    }
    let ids: Vec<OpId> = requests
        .iter()
        .filter_map(|request| match &request.state {
            State::Pending(id, _) => Some(*id),
            State::Ready(_) | State::Taken => None,
        })
        .collect();
    let limit = Limit {
        timeout: first.communicator.timeout(),
        what: &|| format!("one of {} operations in flight", ids.len()),
    };
    first
        .communicator
        .progress()
        .wait_until(limit, |engine| ids.iter().any(|&id| engine.is_finished(id)))?;
    Ok(finished())
}
