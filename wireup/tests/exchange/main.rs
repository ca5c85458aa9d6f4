//! The exchange from outside: whole trees in one thread, with losses, aborts and frames that nobody of ours would send.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod departures;
mod frames;
mod meeting;
mod scale;
mod simulation;
