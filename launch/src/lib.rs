//! The launcher: starts ranks, watches them, leaves nothing behind.
//!
//! The command `phalanx run` is a thin front of this library; a test harness can use it in its place.
//!
//! ```text
//!   arguments -> Plan -> Job -> processes (spawn) -> Supervisor -> Outcome -> ExitCode
//!                                                     |  one poll over all descriptors
//!                          deaths, signals, time --> Course --> orders: signal the ranks, tell the user
//!                          pipes of the ranks -----> Stream --> Lines --> Sink
//!                          standard input ---------> Pump ----> rank 0
//!                          wire-up of the ranks ---> Exchange
//!                          agents of other hosts --> Branches (module `hosts`)
//! ```
//!
//! # What it promises
//! - Each rank dies with the thread that started it, also when that is killed by SIGKILL.
//! - Each rank is a process group, which a watcher kills when this process has been killed.
//! - A rank has ended when its process has. What it left running in its group is killed before it is waited for.
//! - Ranks get the descriptors 0, 1, 2, that of the node segment and, where there is one, that of the wire-up, and no other.
//! - Memory is bounded whatever the ranks write: who writes too fast waits.
#![forbid(unsafe_code)]

mod console;
mod course;
mod crew;
mod exchange;
mod exit_code;
mod group;
mod hosts;
mod input;
mod interrupts;
mod job;
mod lines;
mod outcome;
mod output;
mod plan;
mod roster;
mod segment;
mod sink;
mod spawn;
mod supervise;

pub use exit_code::ExitCode;
pub use hosts::Hosts;
pub use hosts::agent::serve_as_agent;
pub use interrupts::Interrupts;
pub use job::{Input, Job, LaunchError, Output};
pub use outcome::{Ending, Exit, Outcome, RankOutcome};
pub use plan::{MAX_RANKS, Plan, PlanError, Program};
pub use spawn::allowed_processors;
