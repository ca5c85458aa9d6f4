//! Shared memory between the ranks of one host: segment, rings, blocks, doorbell. All of Phalanx's unsafe code lives in this crate.
//!
//! # Who may write which word, and when
//! `layout` draws the segment and says who writes each field. What is not an atomic is written under one of two rules:
//! - a **slot's body** belongs to the sender until it stores the slot's word, then to the receiver until that stores a consumed count
//!   above it;
//! - a **block** belongs to its owner until the descriptor is published, then to its readers until each has returned it.
//!
//! # Trust
//! Ranks of one job trust each other as threads of a program do: none is malicious, but any may be wrong or die at any instruction.
//! Lengths and offsets that a peer wrote are read once, checked, then used; positions are never taken from a peer. A peer that
//! scribbles over the segment can make a message wrong or a ring unusable (an error), but not this process undefined.
//!
//! # Crashes
//! A rank killed between any two instructions leaves a slot unpublished (invisible), a block lent (its owner takes it back by its own
//! record), or a gap in a return list (only its own). No lock lies in shared memory. The kernel frees an anonymous segment with its
//! last process.
//!
//! # Where to look
//! `segment` maps, `ring` carries frames, `pool` and `block` carry everything above a cache line, `returns` brings blocks
//! back, `bell` finds the ring that has mail and sleeps, `port` is the rank's end of all of them and the way in.

#![expect(
    unsafe_code,
    reason = "this is the crate where unsafe code is allowed; every block says why it is sound"
)]

pub(crate) mod layout;
pub(crate) mod orders;
pub(crate) mod prefetch;
pub(crate) mod primitive;

pub(crate) mod bell;
pub(crate) mod biased;
pub(crate) mod lease;
pub(crate) mod returns;
pub(crate) mod ring;

#[cfg(not(phalanx_loom))]
mod block;
#[cfg(not(phalanx_loom))]
mod budget;
#[cfg(not(phalanx_loom))]
mod cores;
#[cfg(not(phalanx_loom))]
mod footprint;
#[cfg(not(phalanx_loom))]
pub mod handoff;
#[cfg(not(phalanx_loom))]
mod inbox;
#[cfg(not(phalanx_loom))]
mod life;
#[cfg(not(phalanx_loom))]
mod named;
#[cfg(not(phalanx_loom))]
mod pool;
#[cfg(not(phalanx_loom))]
mod port;
#[cfg(not(phalanx_loom))]
mod probe;
#[cfg(not(phalanx_loom))]
mod segment;
#[cfg(not(phalanx_loom))]
pub mod watcher;

#[cfg(not(any(phalanx_loom, phalanx_shuttle)))]
mod system;
#[cfg(any(phalanx_loom, phalanx_shuttle))]
#[path = "system/model.rs"]
mod system;

#[cfg(all(test, phalanx_shuttle))]
mod exercise;
#[cfg(all(test, phalanx_loom))]
mod model;
#[cfg(all(test, phalanx_shuttle))]
mod schedules;

#[cfg(not(phalanx_loom))]
pub use {
    biased::{Biased, Guard},
    block::{BlockMut, BorrowError, Borrowed, Descriptor, Lending},
    footprint::{EXTENT_BYTES, PAIR_BYTES, idle_bytes},
    layout::MAX_RANKS,
    lease::{Lessor, ReadLease, WriteLease, lease},
    life::{Death, RankState},
    pool::{Pool, PoolError, PoolSettings},
    port::{Port, PortError, Sleeper},
    ring::{Corrupted, InSlot, Words},
    segment::{Segment, SegmentError, Shape},
    system::membarrier_is_available,
};
