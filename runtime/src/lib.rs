//! Skeleton.

pub mod config;
