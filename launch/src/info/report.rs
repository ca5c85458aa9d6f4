//! What `phalanx info` has to say, before it becomes text or JSON.

use phalanx::config::Config;
use phalanx::describe::{Band, Carrier, Distance, Protocol, bands};
use phalanx_shm::{EXTENT_BYTES, PAIR_BYTES, idle_bytes};
use serde::Serialize;

use super::machine::{Limits, Machine};

/// Everything. Field names are those of the JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: &'static str,
    pub(super) problems: Vec<String>,
    pub(super) machine: Machine,
    pub(super) limits: Limits,
    pub(super) protocols: Protocols,
    pub(super) memory: Memory,
    pub(super) settings: Vec<Setting>,
}

/// The ways of messages between ranks of this host.
#[derive(Debug, Serialize)]
pub(super) struct Protocols {
    pub(super) transport: &'static str,
    pub(super) chunk_bytes: u64,
    pub(super) window_bytes: u64,
    pub(super) unexpected_bytes: u64,
    pub(super) send: Vec<Row>,
    pub(super) synchronous_send: Vec<Row>,
}

/// A band of message sizes.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) from_bytes: u64,
    /// `None` in the last one.
    pub(super) to_bytes: Option<u64>,
    pub(super) slice: &'static str,
    pub(super) shared_vector: &'static str,
    pub(super) loan_or_archive: &'static str,
}

/// What the shared segment of a job takes of memory, in bytes.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) idle: Vec<Idle>,
    pub(super) per_pair_in_use: u64,
    pub(super) per_rank_that_sends_blocks: u64,
}

/// A job whose ranks have not talked.
#[derive(Debug, Serialize)]
pub(super) struct Idle {
    pub(super) ranks: usize,
    pub(super) bytes: u64,
}

/// One setting.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) variable: &'static str,
    pub(super) value: String,
    pub(super) origin: String,
    pub(super) meaning: &'static str,
}

impl Report {
    pub(super) fn new(config: &Config, problems: Vec<String>) -> Self {
        let settings = config.entries().map(|entry| Setting {
            key: entry.key,
            variable: entry.variable,
            value: entry.value,
            origin: entry.origin.to_string(),
            meaning: entry.meaning,
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            problems,
            machine: Machine::here(),
            limits: Limits::here(),
            protocols: Protocols::new(config),
            memory: Memory::new(),
            settings: settings.collect(),
        }
    }
}

impl Protocols {
    fn new(config: &Config) -> Self {
        let carrier = Carrier::between(config, Distance::SameHost);
        let protocol = config.protocol();
        Self {
            transport: carrier.name(),
            chunk_bytes: protocol.chunk_size,
            window_bytes: protocol.chunk_window,
            unexpected_bytes: protocol.unexpected_limit,
            send: rows(config, carrier, false),
            synchronous_send: rows(config, carrier, true),
        }
    }
}

impl Row {
    fn new(band: &Band) -> Self {
        Self {
            from_bytes: *band.bytes.start(),
            to_bytes: Some(*band.bytes.end()).filter(|&end| end != u64::MAX),
            slice: name(band.private),
            shared_vector: name(band.shared),
            loan_or_archive: name(band.lent),
        }
    }
}

impl Memory {
    fn new() -> Self {
        let idle = [2, 8, 64].map(|ranks| Idle {
            ranks,
            bytes: idle_bytes(ranks),
        });
        Self {
            idle: idle.into(),
            per_pair_in_use: PAIR_BYTES,
            per_rank_that_sends_blocks: EXTENT_BYTES,
        }
    }
}

/// The bands of sizes, as [`bands`] has them.
pub(super) fn rows(config: &Config, carrier: Carrier, synchronous: bool) -> Vec<Row> {
    let bands = bands(config, carrier, synchronous);
    bands.iter().map(Row::new).collect()
}

pub(super) fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Inline => "inline",
        Protocol::Eager => "eager",
        Protocol::Handover => "handover",
        Protocol::Pulled => "pulled",
        Protocol::Chunked => "chunked",
        _ => "other",
    }
}
