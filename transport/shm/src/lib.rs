//! Skeleton.

pub mod handoff;
