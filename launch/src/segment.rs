//! The node segment: made here, inherited by every rank, and the place where a rank's end is written down for its peers.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use phalanx_shm::{Death, RankState, Segment, SegmentError, Shape};

use crate::outcome::Exit;

/// The segment of a job, held by its launcher.
#[derive(Debug)]
pub(crate) struct NodeSegment {
    memory: Segment,
    /// What the ranks inherit.
    descriptor: Arc<OwnedFd>,
}

impl NodeSegment {
    /// Makes the segment of a job of `ranks` ranks: anonymous, so that the kernel frees it with the last process.
    pub(crate) fn create(ranks: usize, arena_bytes: Option<u64>) -> Result<Self, SegmentError> {
        let roomy = Shape::roomy(ranks);
        let shape = Shape {
            arena_bytes: arena_bytes.unwrap_or(roomy.arena_bytes),
            ..roomy
        };
        let memory = Segment::create(&shape)?;
        let descriptor = memory
            .descriptor()
            .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
            .and_then(|descriptor| descriptor.try_clone_to_owned())
            .map_err(SegmentError::Create)?;
        Ok(Self {
            memory,
            descriptor: Arc::new(descriptor),
        })
    }

    pub(crate) fn descriptor(&self) -> &Arc<OwnedFd> {
        &self.descriptor
    }

    /// Tells the peers of `rank` that its process has ended. One that left the job before has said so itself.
    pub(crate) fn record_exit(&self, rank: usize, exit: Exit) {
        let death = match exit {
            Exit::Code(code) => Death::Exit(u8::try_from(code).unwrap_or(u8::MAX)),
            Exit::Signal(signal) => Death::Signal(u8::try_from(signal).unwrap_or(u8::MAX)),
        };
        self.memory.depart(rank, RankState::Dead(death));
    }
}
