//! Ranks and agents with real streams between them: sockets, pipes, connections.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod channels;
mod door;
mod streams;
mod tokens;

use std::time::Duration;

/// Far longer than any machine needs: it catches a hang.
const LIMIT: Duration = Duration::from_secs(120);
