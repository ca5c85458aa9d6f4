//! The environment variables between launcher and rank: the names, in one place.
//!
//! The launcher writes them with [`Place::variables`](crate::Place::variables), a rank reads them with
//! [`Place::discover`](crate::Place::discover). Every other `PHALANX_*` variable is a setting, which belongs to the
//! configuration and passes through the launcher untouched.

/// The rank of this process, `0..size`.
pub const RANK: &str = "PHALANX_RANK";

/// The number of ranks in the job.
pub const SIZE: &str = "PHALANX_SIZE";

/// Where the node segment is: `fd:<number>` or `name:<name>`.
pub const SEGMENT: &str = "PHALANX_SEGMENT";

/// How to reach the wire-up: `fd:<number>` of a stream that the launcher left open, or `host:port` of a rendezvous.
/// Empty counts as not set, so that a launcher can hide the rendezvous of an outer job.
pub const RENDEZVOUS: &str = "PHALANX_RENDEZVOUS";

/// Path of the file with the token that all ranks of a job share and that secures the rendezvous.
pub const TOKEN_FILE: &str = "PHALANX_TOKEN_FILE";

/// The public number of the job, 32 hexadecimal digits, which keeps ranks of different jobs apart on the network. Who starts ranks
/// without a launcher need not set it: it follows from the token.
pub const JOB: &str = "PHALANX_JOB";

/// The address by which the launcher reached this host, to be offered to other ranks first. One of loopback means that all ranks are
/// on this host.
pub const REACHED: &str = "PHALANX_REACHED";

/// Path of the configuration file given to the launcher.
pub const CONFIG: &str = "PHALANX_CONFIG";
