//! Phalanx from outside: ranks that are processes, started by the launcher, using the public API and nothing else.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod configuration;
mod departures;
mod examples;
mod harness;
mod hosts;
mod huge;
mod leftovers;
mod named;
mod order;
mod scale;
mod sizes;
mod threads;
mod tidy;
mod types;
