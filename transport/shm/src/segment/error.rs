//! Why there is no segment, and what to do about it.

use std::io;

use crate::layout::MAX_RANKS;

/// Why there is no segment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The number of ranks is zero or too large.
    #[error("a segment holds 1 to {MAX_RANKS} ranks, not {0}: start fewer ranks on this host")]
    Ranks(usize),
    /// The arena does not fit into an address space.
    #[error(
        "an arena of {0} bytes for each rank does not fit into the address space: lower memory.arena (PHALANX_ARENA)"
    )]
    Arena(u64),
    /// Blocks of this size cannot be chunks.
    #[error(
        "chunks of {0} bytes cannot be: protocol.chunk_size (PHALANX_CHUNK_SIZE) must be a power of two, 64 or more"
    )]
    ChunkSize(usize),
    /// The kernel gave no anonymous file.
    #[error(
        "cannot create the shared segment ({0}): raise the limit on descriptors (ulimit -n) or file size (ulimit -f)"
    )]
    Create(#[source] io::Error),
    /// The inherited descriptor cannot be read.
    #[error(
        "cannot open the inherited segment ({0}): was the descriptor in PHALANX_SEGMENT closed by a wrapper script?"
    )]
    Attach(#[source] io::Error),
    /// The address space is too small.
    #[error(
        "cannot map the shared segment ({0}): raise the limit on address space (ulimit -v) or lower memory.arena (PHALANX_ARENA)"
    )]
    Map(#[source] io::Error),
    /// The named segment cannot be created or opened.
    #[error("cannot use the named segment {name:?} ({reason}): is /dev/shm mounted and writable?")]
    Name {
        /// The name asked for.
        name: String,
        /// What the system said.
        reason: String,
    },
    /// The creator of the named segment never finished.
    #[error(
        "the named segment {name:?} was begun but never finished: remove /dev/shm/{name} and choose a name of its own for each job"
    )]
    Unfinished {
        /// The name asked for.
        name: String,
    },
    /// The named segment is another job's.
    #[error(
        "the named segment {name:?} is of a job with {found} ranks, not {wanted}: choose a name of its own for each job"
    )]
    Shape {
        /// The name asked for.
        name: String,
        /// Ranks of the segment found.
        found: usize,
        /// Ranks asked for.
        wanted: usize,
    },
    /// The descriptor is something else.
    #[error(
        "the inherited descriptor ({size} bytes) is not a Phalanx segment: was PHALANX_SEGMENT set by hand or its descriptor reused?"
    )]
    NotASegment {
        /// Size of the file in bytes.
        size: u64,
    },
    /// Made by another version of Phalanx.
    #[error(
        "the segment has layout {found}/{found_layout:08x}, this program {own}/{own_layout:08x}: build launcher and program with the same version of phalanx"
    )]
    Version {
        /// Version found.
        found: u32,
        /// Layout hash found.
        found_layout: u32,
        /// Version of this build.
        own: u32,
        /// Layout hash of this build.
        own_layout: u32,
    },
    /// One process may use `membarrier` and another not.
    #[error(
        "this rank may not call membarrier but the creator of the segment could: give all ranks the same seccomp profile"
    )]
    Barrier,
    /// Memory ran out while the segment grew.
    #[error(
        "no memory for {bytes} more bytes of the shared segment ({source}): raise the memory limit of the container or the size of /dev/shm, or lower PHALANX_POOL_LIMIT"
    )]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// More memory would go beyond the limit of a control group, at which the kernel kills.
    #[error(
        "no memory for {wanted} more bytes of the shared segment: the limit in {file} is {limit} bytes, of which {used} are used: raise the memory limit of the container or job, start fewer ranks, or lower PHALANX_POOL_LIMIT"
    )]
    MemoryLimit {
        /// The file that holds the limit.
        file: String,
        /// The limit in bytes.
        limit: u64,
        /// Bytes used that cannot be given up.
        used: u64,
        /// Bytes asked for.
        wanted: usize,
    },
    /// Two processes claim to be the same rank.
    #[error(
        "rank {rank} is already attached to the segment (process {process}): was PHALANX_RANK given twice, or init called twice?"
    )]
    Taken {
        /// The rank.
        rank: usize,
        /// Who has it.
        process: u32,
    },
}
