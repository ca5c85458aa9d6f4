//! Non-blocking operations on borrowed buffers, none of which outlives the borrow.

use std::fmt;
use std::marker::PhantomData;

use bytemuck::Pod;
use parking_lot::Mutex;
use phalanx_shm::{Lessor, lease};

use crate::communicator::{Communicator, Status, status};
use crate::engine::{OpId, Sink, Source};
use crate::error::Result;
use crate::pattern::{Source as From, Tag, TagPattern};
use crate::request::{Finish, Request};

/// Begins operations on buffers that live longer than the scope; see [`Communicator::scope`].
pub struct Scope<'a, 'scope, 'env: 'scope> {
    communicator: &'a Communicator,
    lessor: &'scope Lessor<'scope, 'env>,
    operations: Mutex<Vec<OpId>>,
    env: PhantomData<&'env mut &'env ()>,
}

impl Communicator {
    /// Runs `body`, which may begin non-blocking operations on borrowed buffers; returns when all of them have finished.
    ///
    /// When `body` fails or panics, or the time-out passes, what has not finished is withdrawn: no buffer is touched after this
    /// returns, whatever was dropped or forgotten.
    ///
    /// # Errors
    /// That of `body`, or else the first one of an operation whose result `body` did not take.
    ///
    /// # Examples
    /// ```
    /// phalanx_runtime::testing::run(2, |world| {
    ///     let (peer, mine, mut theirs) = (1 - world.rank(), [world.rank() as f64; 100], [0.0; 100]);
    ///     world.scope(|s| {
    ///         s.isend(peer, 0, &mine)?;
    ///         s.irecv_into(peer, 0, &mut theirs)
    ///     })?;
    ///     assert_eq!(theirs, [peer as f64; 100]);
    ///     Ok(())
    /// });
    /// ```
    pub fn scope<'env, R>(
        &self,
        body: impl for<'a, 'scope> FnOnce(&Scope<'a, 'scope, 'env>) -> Result<R>,
    ) -> Result<R> {
        lease(|lessor| {
            let scope = Scope {
                communicator: self,
                lessor,
                operations: Mutex::default(),
                env: PhantomData,
            };
            let result = body(&scope)?;
            scope.complete()?;
            Ok(result)
        })
    }
}

impl<'scope> Scope<'_, 'scope, '_> {
    /// Begins to send `elements` to rank `to`. Never waits.
    ///
    /// # Errors
    /// When there is no such rank, the tag is negative or memory ran out.
    pub fn isend<T: Pod>(
        &self,
        to: usize,
        tag: impl Into<Tag>,
        elements: &'scope [T],
    ) -> Result<Request<()>> {
        let mut send = self
            .communicator
            .send_header::<[T]>(to, tag.into(), false)?;
        // A scope must be able to end at once, so nobody else reads its buffers.
        send.may_expose = false;
        let bytes = bytemuck::cast_slice(elements);
        let source = Source::Leased(self.lessor.read(bytes));
        let id = self
            .communicator
            .progress()
            .enter(|core| core.submit(&send, bytes.len(), source))
            .map_err(|(_, error)| error)?;
        self.operations.lock().push(id);
        Ok(Request::scoped(
            self.communicator,
            id,
            Finish::Sent(|_| Ok(())),
        ))
    }

    /// Begins to receive a message from `source` with `tag` into `buffer`. Never waits.
    ///
    /// # Errors
    /// When there is no such rank or the tag is negative. That the message is of another type or too long is told at the end.
    pub fn irecv_into<T: Pod>(
        &self,
        source: impl Into<From>,
        tag: impl Into<TagPattern>,
        buffer: &'scope mut [T],
    ) -> Result<Request<Status>> {
        let bytes = bytemuck::cast_slice_mut(buffer);
        let wanted = self
            .communicator
            .wanted::<[T]>(source.into(), tag.into(), bytes.len())?;
        let sink = Sink::Leased(self.lessor.write(bytes));
        let id = self
            .communicator
            .progress()
            .enter(|core| core.post(&wanted, sink));
        self.operations.lock().push(id);
        Ok(Request::scoped(
            self.communicator,
            id,
            Finish::Received(|completed, group| Ok(status::<T>(&completed.landed(), group))),
        ))
    }

    /// Waits for all operations; the first error of one that nobody waited for is returned.
    fn complete(&self) -> Result<()> {
        let operations = self.operations.lock().clone();
        let what = || format!("{} operations of a scope to finish", operations.len());
        let progress = self.communicator.progress();
        progress.wait_until(self.communicator.limit(&what), |engine| {
            operations.iter().all(|&id| engine.is_finished(id))
        })?;
        progress.enter(|core| {
            operations
                .iter()
                .try_for_each(|&id| core.engine.take_error(id).map_or(Ok(()), Err))
        })
    }
}

impl Drop for Scope<'_, '_, '_> {
    /// Whatever has not finished by now never will: the body or a wait failed.
    fn drop(&mut self) {
        self.communicator.progress().enter(|core| {
            for &id in self.operations.get_mut().iter() {
                core.engine.withdraw_unfinished(id);
            }
        });
    }
}

impl fmt::Debug for Scope<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("operations", &self.operations.lock().len())
            .finish_non_exhaustive()
    }
}
