//! What `phalanx bench` measures, and how it says so.
//!
//! ```text
//!   launcher                                   ranks of one job
//!   Selection --> Task, Task, ..  --- argument --->  rank(task): Leader, Follower
//!   Display   <------------------ pipe, a line each event ---|
//!      |--> table on standard output, bar on standard error, file of JSON lines
//! ```
//! The launcher starts the jobs; this crate decides what they do and never starts a process. Where ranks are threads, a job is one
//! process, which starts them. Rank 0 leads: it tells the others what
//! comes, measures, and reports. Every sample stands between two probes of the floor (a raw cache line between the same two cores, or
//! a datagram between the same two processes), and ratios are taken sample by sample, because cores of a virtual machine move.
#![forbid(unsafe_code)]

mod display;
mod floor;
mod floors;
mod leader;
mod machine;
mod network;
mod rank;
mod record;
mod report;
mod selection;
mod statistics;
mod table;
mod task;
mod threads;
mod workload;

pub use display::Display;
pub use floors::Floors;
pub use rank::rank;
pub use record::{Floor, Over, Record, Row, Sample};
pub use report::Event;
pub use selection::Selection;
pub use statistics::Summary;
pub use task::{Cores, Mode, Task, Test, Transport};
