//! Links that carry frames between ranks.

pub mod payload;

pub use payload::{AlignedBytes, Inline, Payload};
