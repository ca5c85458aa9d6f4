//! Borrowed memory that outlives no borrow: buffers of a scope, lent to operations that live elsewhere.
//!
//! An operation in flight must be able to reach a borrowed buffer without a lifetime in its type. A lease is such a reference that can
//! be *revoked*: [`lease`] revokes all leases of its call before it returns, by whatever way, so that afterwards every access finds
//! nothing. Accesses lock, so none is under way when the revocation returns. Forgetting a lease, or anything else, changes nothing:
//! the revocation runs in the frame of [`lease`] itself.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::primitive::Mutex;

/// Runs `body`, which may lend buffers that live for `'env`; afterwards no lease reaches them.
pub fn lease<'env, R>(body: impl for<'scope> FnOnce(&'scope Lessor<'scope, 'env>) -> R) -> R {
    let lessor = Lessor {
        granted: Mutex::default(),
        scope: PhantomData,
        env: PhantomData,
    };
    // Dropped on return and on panic alike.
    let revocation = Revocation(&lessor.granted);
    let result = body(&lessor);
    drop(revocation);
    result
}

/// Grants leases while [`lease`] runs.
pub struct Lessor<'scope, 'env: 'scope> {
    granted: Mutex<Vec<Arc<Grant>>>,
    // Invariant in both, as `std::thread::Scope` is: neither may be shrunk to smuggle in a shorter borrow.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Lessor<'scope, '_> {
    /// Lends bytes to be read.
    pub fn read(&self, bytes: &'scope [u8]) -> ReadLease {
        ReadLease(self.grant(NonNull::from(bytes)))
    }

    /// Lends bytes to be written.
    pub fn write(&self, bytes: &'scope mut [u8]) -> WriteLease {
        WriteLease(self.grant(NonNull::from(bytes)))
    }

    fn grant(&self, bytes: NonNull<[u8]>) -> Arc<Grant> {
        let grant = Arc::new(Grant {
            bytes: Mutex::new(Some(Pointer(bytes))),
        });
        self.granted.lock().push(Arc::clone(&grant));
        grant
    }
}

impl fmt::Debug for Lessor<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lessor")
            .field("granted", &self.granted.lock().len())
            .finish()
    }
}

/// Access to lent bytes, for reading.
#[derive(Debug)]
pub struct ReadLease(Arc<Grant>);

impl ReadLease {
    /// Calls `read` with the bytes, unless the lease has been revoked.
    pub fn with<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let bytes = self.0.bytes.lock();
        // SAFETY: not revoked, so the borrow is alive and the lock keeps it so; it was a shared borrow, and we only read.
        bytes
            .as_ref()
            .map(|pointer| read(unsafe { pointer.0.as_ref() }))
    }
}

/// Access to lent bytes, for writing.
#[derive(Debug)]
pub struct WriteLease(Arc<Grant>);

impl WriteLease {
    /// Calls `write` with the bytes, unless the lease has been revoked.
    pub fn with<R>(&mut self, write: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        let mut bytes = self.0.bytes.lock();
        // SAFETY: not revoked, so the borrow is alive and the lock keeps it so; it was an exclusive borrow, and this grant, locked,
        // is its only use.
        bytes
            .as_mut()
            .map(|pointer| write(unsafe { pointer.0.as_mut() }))
    }
}

#[derive(Debug)]
struct Grant {
    bytes: Mutex<Option<Pointer>>,
}

#[derive(Debug)]
struct Pointer(NonNull<[u8]>);

// SAFETY: it stands for a borrow of bytes, which may be used from any thread; the lock around it keeps uses apart.
unsafe impl Send for Pointer {}

struct Revocation<'a>(&'a Mutex<Vec<Arc<Grant>>>);

impl Drop for Revocation<'_> {
    fn drop(&mut self) {
        for grant in self.0.lock().drain(..) {
            *grant.bytes.lock() = None;
        }
    }
}
