//! Named segments, for ranks that no common parent started. The only user of the `shared_memory` crate.
//!
//! The name is a rendezvous, not a place to live: the last rank to attach unlinks it, and from then on the memory is as anonymous as
//! a `memfd`. A job that dies before all have attached leaves the name behind; the error of the next job with that name says so.

use std::fmt;
use std::ptr::NonNull;

use shared_memory::{Shmem, ShmemConf, ShmemError};

use crate::segment::SegmentError;

/// A mapping of a named segment.
pub(crate) struct Named {
    memory: Shmem,
    name: String,
}

impl Named {
    /// Creates the segment, or opens it if another rank was first; tells which.
    pub(crate) fn create_or_open(name: &str, size: usize) -> Result<(Self, bool), SegmentError> {
        let (memory, created) = match ShmemConf::new().os_id(name).size(size).create() {
            Ok(memory) => (memory, true),
            Err(ShmemError::MappingIdExists) => (open(name, size)?, false),
            Err(error) => return Err(refused(name, &error)),
        };
        let mut named = Self {
            memory,
            name: name.to_owned(),
        };
        named.memory.set_owner(false);
        Ok((named, created))
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        NonNull::new(self.memory.as_ptr()).expect("a mapping is never at address zero")
    }

    /// Removes the name; every mapping stays.
    pub(crate) fn unlink(&self) {
        // The crate unlinks when an owner is dropped. A name that is already gone is as good.
        if let Ok(mut second) = ShmemConf::new().os_id(&self.name).open() {
            second.set_owner(true);
        }
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The creator sizes the file after it made the name; who comes between the two sees an empty file and looks again.
fn open(name: &str, size: usize) -> Result<Shmem, SegmentError> {
    let started = std::time::Instant::now();
    loop {
        match ShmemConf::new().os_id(name).open() {
            Ok(memory) if memory.len() >= size => return Ok(memory),
            Ok(_) | Err(_) if started.elapsed() < std::time::Duration::from_secs(2) => {
                std::thread::yield_now()
            }
            Ok(memory) => {
                let reason = format!("it has {} bytes instead of {size}", memory.len());
                return Err(SegmentError::Name {
                    name: name.to_owned(),
                    reason,
                });
            }
            Err(error) => return Err(refused(name, &error)),
        }
    }
}

fn refused(name: &str, error: &ShmemError) -> SegmentError {
    SegmentError::Name {
        name: name.to_owned(),
        reason: error.to_string(),
    }
}
