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

/// Path of the configuration file given to the launcher.
pub const CONFIG: &str = "PHALANX_CONFIG";
