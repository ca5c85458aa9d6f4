//! `phalanx run` as its user sees it: every promise of docs/running.md.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/endings.rs"]
mod endings;
#[path = "cli/info.rs"]
mod info;
#[path = "cli/leftovers.rs"]
mod leftovers;
#[path = "cli/member.rs"]
mod member;
#[path = "cli/places.rs"]
mod places;
#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/wireup.rs"]
mod wireup;
