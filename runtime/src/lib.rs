//! Skeleton.

pub mod message;
