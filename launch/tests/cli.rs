//! `phalanx run` as its user sees it: every promise of docs/running.md.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/endings.rs"]
mod endings;
#[path = "cli/hosts.rs"]
mod hosts;
#[path = "cli/info.rs"]
mod info;
#[path = "cli/leftovers.rs"]
mod leftovers;
#[path = "cli/member.rs"]
mod member;
#[path = "cli/no_hosts.rs"]
mod no_hosts;
#[path = "cli/places.rs"]
mod places;
#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/server.rs"]
mod server;
#[path = "cli/ssh.rs"]
mod ssh;
#[path = "cli/stand_in.rs"]
mod stand_in;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/tree.rs"]
mod tree;
#[path = "cli/wireup.rs"]
mod wireup;
